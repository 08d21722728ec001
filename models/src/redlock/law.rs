//! What has to be true of tokens and of holders.

use crate::redlock::round::Verdict;
use crate::redlock::{Clocks, Phase, Redlock, State};
use stateright::Property;

/// S2: no token is reported twice.
pub const UNIQUE: &str = "S2 tokens are unique";
/// S2: a grant whose claim began after another grant was reported has the higher token.
pub const RISING: &str = "S2 tokens rise";
/// A reported token is on a quorum: no later claim can miss it.
pub const ON_QUORUM: &str = "S2 the token is on a quorum";
/// S4, where clocks are sane: two never believe at once that they hold.
pub const ONE_BELIEVER: &str = "S4 one believer";
/// S2, where clocks are sane: tokens rise in the order of the reports, overlapping claims too.
pub const IN_ORDER: &str = "S2 tokens rise in the order of reports";
/// A round that waits, waits for an answer that can come.
pub const NOT_STUCK: &str = "L2 no round is stuck";
/// The mark: a token was written back, and then reported.
pub const REPORTED: &str = "three tokens were reported";
/// The mark: a claim was refused although nobody held the lock (a split vote).
pub const SPLIT: &str = "two clients share the votes";

/// What was found wrong at the moment of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wrong {
    /// A token was reported before.
    pub repeated: bool,
    /// A token is not above one that was reported before its claim began.
    pub not_above: bool,
    /// A token is not above one that was reported before.
    pub out_of_order: bool,
    /// A token is on fewer servers than a majority.
    pub not_on_quorum: bool,
}

/// The laws, and the marks that have to be reached.
pub fn properties(model: &Redlock) -> Vec<Property<Redlock>> {
    let mut laws = vec![
        Property::always(UNIQUE, |_, state: &State| !state.wrong.repeated),
        Property::always(RISING, |_, state: &State| !state.wrong.not_above),
        Property::always(NOT_STUCK, |_, state: &State| !is_stuck(state)),
        Property::sometimes(SPLIT, |_, state: &State| is_split(state)),
    ];
    if model.amnesia == 0 {
        laws.push(Property::always(ON_QUORUM, |_, state: &State| !state.wrong.not_on_quorum));
    }
    if model.clocks == Clocks::Sane {
        laws.push(Property::always(ONE_BELIEVER, |_, state: &State| state.believers() <= 1));
        laws.push(Property::always(IN_ORDER, |_, state: &State| !state.wrong.out_of_order));
    }
    if model.claims.iter().sum::<u8>() >= 3 {
        laws.push(Property::sometimes(REPORTED, |_, state: &State| state.reported.len() >= 3));
    }
    laws
}

/// A client waits for a verdict, and nothing of its round is on its way.
fn is_stuck(state: &State) -> bool {
    (0..).zip(&state.clients).any(|(me, client)| {
        let Phase::Claiming(round, _) = &client.phase else { return false };
        let id = (me, client.claim);
        round.verdict() == Verdict::Open
            && !state.requests.iter().any(|(other, ..)| *other == id)
            && !state.replies.iter().any(|(other, ..)| *other == id)
    })
}

/// Two claims keep keys of servers at once.
fn is_split(state: &State) -> bool {
    let mut keepers = state.servers.iter().filter_map(|server| server.key);
    keepers.next().is_some_and(|first| keepers.any(|key| key.claim != first.claim))
}
