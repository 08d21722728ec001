//! The register at the points where it can die, and beside files that are not what they should be.
//! Whole processes are in `tests/processes.rs`.

use std::cell::Cell;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::MemoryRegister;

thread_local! {
    /// The point at which this thread's process dies, in its place: unwinding closes its files as
    /// the kernel would, and nothing else in the register cleans up behind itself.
    static DIES_AT: Cell<Option<&'static str>> = const { Cell::new(None) };
}

pub(super) fn crash_point(passed: &str) {
    if DIES_AT.get() == Some(passed) {
        DIES_AT.set(None);
        std::panic::panic_any("killed");
    }
}

fn token(number: u64) -> FencingToken {
    FencingToken::new(number)
}

fn register() -> (TempDir, FileRegister) {
    let dir = tempfile::tempdir().expect("directory");
    let register = FileRegister::open(dir.path().join("register")).expect("register");
    (dir, register)
}

fn value_of(register: &FileRegister) -> Option<(u64, Vec<u8>)> {
    register.read().expect("read").map(|entry| (entry.token.number(), entry.value))
}

fn damage_of(result: Result<impl std::fmt::Debug, RegisterError>) -> String {
    let error = result.expect_err("must be refused");
    assert!(matches!(error, RegisterError::Damaged { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn an_old_holder_is_refused_from_the_moment_a_new_one_is_seen() {
    let (_dir, register) = register();
    assert_eq!(register.seen().expect("seen"), None);
    assert_eq!(register.write(token(1), b"one").expect("write").seen_before, None);
    assert_eq!(register.observe(token(2)).expect("observe").seen_before, Some(token(1)));
    let refused = register.write(token(1), b"late").expect_err("refused");
    assert!(matches!(refused, RegisterError::Refused(refused) if refused.seen == token(2)));
    assert!(register.observe(token(1)).is_err() && register.read_as(token(1)).is_err());
    assert_eq!(value_of(&register), Some((1, b"one".to_vec())));
    register.write(token(2), b"two").expect("the same holder again");
    register.write(token(2), b"three").expect("and again");
    assert_eq!(value_of(&register), Some((2, b"three".to_vec())));
}

#[test]
fn a_refusal_is_a_lost_lock_to_the_rest_of_cotter() {
    let (_dir, register) = register();
    register.observe(token(5)).expect("observe");
    let error = cotter_core::Error::from(register.write(token(4), b"").expect_err("refused"));
    assert_eq!(error.kind(), cotter_core::Kind::Lost);
    assert!(error.to_string().contains("token 4 is refused"), "{error}");
    assert!(!error.is_maybe_applied());
}

/// Whatever step a process dies at, the register is the old one or the new one, whole, and a
/// token that was seen before stays seen.
#[test]
fn a_death_at_any_step_leaves_one_whole_register() {
    let steps = ["created", "half written", "written", "synced", "renamed", "directory synced"];
    for (index, step) in steps.into_iter().enumerate() {
        let (dir, register) = register();
        for round in 1..=3 {
            register.write(token(10 * round), b"old").expect("write");
            DIES_AT.set(Some(step));
            let death =
                catch_unwind(AssertUnwindSafe(|| register.write(token(10 * round + 5), b"new")));
            assert!(death.is_err(), "the step {step:?} was not reached");

            let next = FileRegister::open(dir.path().join("register")).expect("opens again");
            let is_applied = index >= 4;
            let expected = if is_applied { (10 * round + 5, b"new") } else { (10 * round, b"old") };
            assert_eq!(value_of(&next), Some((expected.0, expected.1.to_vec())), "{step}");
            assert!(next.write(token(10 * round - 1), b"late").is_err(), "{step}");
            next.write(token(10 * round + 5), b"again").expect("the next one is not held up");
        }
        let names = std::fs::read_dir(dir.path()).expect("list").count();
        assert_eq!(names, 2, "the register and its lock, and nothing else: {step}");
    }
}

#[test]
fn other_files_are_never_taken_for_an_empty_register() {
    let (dir, register) = register();
    let path = dir.path().join("register");
    let contents: [(&[u8], &str); 4] = [
        (b"", "empty"),
        (b"account 7: 1,000\n", "not a register"),
        (b"cotter-register 1\nseen 9\n", "not a register"),
        (b"cotter-register 7\nseen 9\n\n", "another version"),
    ];
    for (bytes, reason) in contents {
        std::fs::write(&path, bytes).expect("write");
        for said in [
            damage_of(FileRegister::open(&path)),
            damage_of(register.write(token(1), b"x")),
            damage_of(register.observe(token(1))),
            damage_of(register.read()),
        ] {
            assert!(said.contains(reason), "{said}");
        }
        assert_eq!(std::fs::read(&path).expect("read"), bytes, "it was left as it is");
    }
}

#[test]
fn names_that_get_round_the_lock_are_refused() {
    let (dir, register) = register();
    let path = |name: &str| dir.path().join(name);
    register.write(token(1), b"x").expect("write");

    std::os::unix::fs::symlink(path("register"), path("link")).expect("link");
    assert!(damage_of(FileRegister::open(path("link"))).contains("symbolic link"));
    std::fs::hard_link(path("register"), path("twin")).expect("twin");
    assert!(damage_of(register.write(token(2), b"y")).contains("hard link"));
    std::fs::remove_file(path("twin")).expect("remove");
    register.write(token(2), b"y").expect("one name again");

    std::fs::create_dir(path("directory")).expect("directory");
    assert!(damage_of(FileRegister::open(path("directory"))).contains("regular file"));
    // A pipe would be opened for ever if it were opened like a file.
    rustix::fs::mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RWXU, 0).expect("pipe");
    assert!(damage_of(FileRegister::open(path("pipe"))).contains("regular file"));
    std::os::unix::fs::symlink(path("elsewhere"), path("register.new")).expect("planted");
    register.write(token(3), b"z").expect("a planted .new is removed, not followed");
    assert!(!path("elsewhere").exists());
}

#[test]
fn a_register_that_was_deleted_does_not_begin_again() {
    let (dir, register) = register();
    let path = dir.path().join("register");
    register.write(token(9), b"x").expect("write");
    std::fs::remove_file(&path).expect("remove");
    assert!(damage_of(register.write(token(1), b"old")).contains("has been removed"));
    assert!(damage_of(FileRegister::open(&path)).contains("has been removed"));
    std::fs::remove_file(dir.path().join("register.lock")).expect("remove");
    register.write(token(1), b"anew").expect("both were removed, so it was meant");
}

#[test]
fn a_directory_that_is_gone_or_may_not_be_written_is_an_error() {
    let (dir, register) = register();
    let missing = FileRegister::open(dir.path().join("none/register")).expect_err("no directory");
    assert!(missing.to_string().contains("open the directory"), "{missing}");
    assert!(FileRegister::open("..").is_err());
    drop(dir);
    let error = register.write(token(1), b"x").expect_err("deleted underneath");
    assert!(matches!(error, RegisterError::Io { maybe_applied: false, .. }), "{error:?}");
}

#[test]
fn permissions_are_kept_and_a_value_has_a_limit() {
    let (dir, register) = register();
    let path = dir.path().join("register");
    register.write(token(1), b"x").expect("write");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("chmod");
    register.write(token(2), b"y").expect("write");
    let mode = std::fs::metadata(&path).expect("stat").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);

    let longest = vec![7; VALUE_LEN_MAX];
    register.write(token(3), &longest).expect("the longest");
    assert_eq!(value_of(&register), Some((3, longest.clone())));
    let error = register.write(token(4), &[longest, vec![7]].concat()).expect_err("too long");
    assert!(matches!(error, RegisterError::TooLong { .. }), "{error:?}");
    assert_eq!(register.seen().expect("seen"), Some(token(3)));
}

#[test]
fn a_change_that_panics_changes_nothing_and_blocks_nobody() {
    let (_dir, register) = register();
    register.write(token(1), b"x").expect("write");
    let panic = catch_unwind(AssertUnwindSafe(|| register.update(token(2), |_| panic!("mine"))));
    assert!(panic.is_err());
    assert_eq!(register.seen().expect("seen"), Some(token(1)));
    register.write(token(1), b"y").expect("not held up");
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Append(u64, u8),
    Observe(u64),
    ReadAs(u64),
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    // Few tokens, so that equal, lower and higher ones all come up.
    let number = 0u64..6;
    prop_oneof![
        (number.clone(), proptest::collection::vec(any::<u8>(), 0..8))
            .prop_map(|(token, value)| Step::Write(token, value)),
        (number.clone(), any::<u8>()).prop_map(|(token, byte)| Step::Append(token, byte)),
        number.clone().prop_map(Step::Observe),
        number.prop_map(Step::ReadAs),
        Just(Step::Reopen),
    ]
}

fn appended(old: Option<&[u8]>, byte: u8) -> Vec<u8> {
    [old.unwrap_or_default(), &[byte]].concat()
}

/// A file's answer, comparable with the one from memory.
fn answer<T>(result: Result<T, RegisterError>) -> Result<T, crate::Refused> {
    result.map_err(|error| match error {
        RegisterError::Refused(refused) => refused,
        other => panic!("not a refusal: {other}"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The file, opened again and again, answers like the register in memory; and both keep the
    /// rule as said over the whole history: accepted if and only if no higher token was before.
    #[test]
    fn the_file_the_memory_and_the_rule_agree(
        steps in proptest::collection::vec(any_step(), 1..20)
    ) {
        let (dir, mut file) = register();
        let memory = MemoryRegister::<Vec<u8>>::new();
        let mut accepted: Vec<u64> = Vec::new();
        for step in steps {
            let (offered, is_accepted) = match step {
                Step::Write(number, value) => {
                    let answered = answer(file.write(token(number), &value));
                    prop_assert_eq!(&answered, &memory.write(token(number), value));
                    (number, answered.is_ok())
                }
                Step::Append(number, byte) => {
                    let answered = answer(file.update(token(number), |old| appended(old, byte)));
                    let expected = memory
                        .update(token(number), |old| appended(old.map(Vec::as_slice), byte));
                    prop_assert_eq!(&answered, &expected);
                    (number, answered.is_ok())
                }
                Step::Observe(number) => {
                    let answered = answer(file.observe(token(number)));
                    prop_assert_eq!(&answered, &memory.observe(token(number)));
                    (number, answered.is_ok())
                }
                Step::ReadAs(number) => {
                    let answered = answer(file.read_as(token(number)));
                    prop_assert_eq!(&answered, &memory.read_as(token(number)));
                    (number, answered.is_ok())
                }
                Step::Reopen => {
                    file = FileRegister::open(dir.path().join("register")).expect("opens");
                    continue;
                }
            };
            prop_assert_eq!(is_accepted, accepted.iter().all(|earlier| *earlier <= offered));
            if is_accepted {
                accepted.push(offered);
            }
            let seen = file.seen().expect("seen").map(FencingToken::number);
            prop_assert_eq!(seen, accepted.last().copied());
            prop_assert_eq!(file.read().expect("read"), memory.read());
        }
    }
}
