//! The accounts, as text in a file: `name balance`, a line for each.

use std::fmt;

/// What is taken from each account, in hundredths.
const FEE_PERCENT: u64 = 3;

/// Names and balances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accounts(Vec<(String, u64)>);

impl Accounts {
    /// What everybody starts with.
    pub(crate) fn opening() -> Self {
        let balances = [("alice", 1_000_000), ("bob", 250_000), ("carol", 40_000)];
        Self(balances.map(|(name, balance)| (name.to_owned(), balance)).to_vec())
    }

    /// After the fee was taken this many times, one after another.
    #[must_use]
    pub(crate) fn after_fees(&self, count: u32) -> Self {
        let after = |balance: u64| (0..count).fold(balance, |left, _| left - fee_of(left));
        Self(self.0.iter().map(|(name, balance)| (name.clone(), after(*balance))).collect())
    }

    /// Reads the file's text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let account = |line: &str| {
            let (name, balance) = line.split_once(' ')?;
            Some((name.to_owned(), balance.parse().ok()?))
        };
        text.lines().map(account).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Prints what was expected beside what came of it.
    pub(crate) fn print_beside(&self, expected: &Self) {
        println!("  {:<8}{:>12}{:>12}{:>12}", "account", "expected", "actual", "lost fees");
        for ((name, actual), (_, expected)) in self.0.iter().zip(&expected.0) {
            println!("  {name:<8}{expected:>12}{actual:>12}{:>12}", actual.abs_diff(*expected));
        }
    }
}

fn fee_of(balance: u64) -> u64 {
    balance * FEE_PERCENT / 100
}

impl fmt::Display for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, balance)| writeln!(f, "{name} {balance}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_are_taken_one_after_another() {
        let twice = Accounts::opening().after_fees(2);
        assert_eq!(twice.to_string(), "alice 940900\nbob 235225\ncarol 37636\n");
        assert_eq!(Accounts::parse(&twice.to_string()), Some(twice));
        assert_eq!(Accounts::parse("alice many\n"), None);
    }
}
