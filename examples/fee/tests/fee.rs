//! The example does what it says, in every mode, to the last cent.

#![allow(clippy::expect_used, reason = "all of it is a test")]

use std::process::{Command, Output};

fn fee(words: &[&str]) -> Output {
    let fee = Command::new(env!("CARGO_BIN_EXE_fee")).args(words).output();
    fee.expect("the example starts")
}

/// The columns of one account in each table that was printed: expected, actual, lost.
fn alice(output: &Output) -> Vec<[u64; 3]> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    let rows = text.lines().filter_map(|line| line.trim().strip_prefix("alice "));
    let numbers = rows.map(|row| row.split_whitespace().map(|n| n.parse().expect("number")));
    numbers.map(|row| row.collect::<Vec<u64>>().try_into().expect("three columns")).collect()
}

#[test]
fn without_a_lock_all_fees_but_one_are_lost() {
    assert_eq!(alice(&fee(&["--unlocked"])), [[858_735, 970_000, 111_265]]);
    assert_eq!(alice(&fee(&["--unlocked", "--processes", "2"])), [[940_900, 970_000, 29_100]]);
}

#[test]
fn under_the_lock_no_fee_is_lost() {
    assert_eq!(alice(&fee(&["--locked"])), [[858_735, 858_735, 0]]);
    assert_eq!(alice(&fee(&["--locked", "--processes", "2"])), [[940_900, 940_900, 0]]);
}

#[test]
fn a_paused_holder_undoes_a_fee_unless_it_is_fenced_off() {
    let output = fee(&["--pause-holder"]);
    assert_eq!(alice(&output), [[940_900, 970_000, 29_100], [940_900, 940_900, 0]]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("is refused: a later holder"), "{text}");
}

#[test]
fn a_wrong_word_is_told_how_to_be_right() {
    for words in [&["--both"][..], &[], &["--locked", "--processes", "1"], &["--processes"]] {
        let output = fee(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage: fee"), "{words:?}");
    }
}
