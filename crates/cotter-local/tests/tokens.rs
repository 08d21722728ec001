//! Fencing tokens rise over everything, and sweeping up is safe beside those who open.
#![allow(clippy::expect_used, reason = "what a test expects it says so")]

mod common;

use common::{Actor, claim, files, granted, session};
use cotter_core::contract::{Answer, Mode, Patience, Session};
use cotter_local::{Gc, gc};

/// Not a test: what a process does that the tests below have started.
#[test]
fn the_other_processes() {
    common::actor::main();
}

#[test]
fn and_all_of_it_in_shared_directories() {
    common::again_in_shared_directories();
}

#[tokio::test]
async fn tokens_rise_over_close_gc_and_forgotten_files() {
    let dir = common::dir();
    let mut last = None;
    for round in 0..20 {
        let (env, session) = session(dir.path()).await;
        for name in ["a", "b"] {
            let one = claim(&env, name, Mode::Exclusive, Patience::Try);
            let (grant, place) = granted(&session, &one).await;
            if name == "a" {
                assert!(last < Some(grant.token));
                last = Some(grant.token);
            }
            session.withdraw(&one, Some(place)).await.expect("answer");
        }
        match round % 3 {
            0 => session.close().await,
            1 => drop(session),
            // As a killed process leaves it: the file stays, and gc removes it.
            _ => {
                let report = gc(dir.path(), Gc::Look).expect("report");
                assert_eq!((report.removed.len(), report.failed.len()), (2, 0));
                let report = gc(dir.path(), Gc::Remove).expect("report");
                assert_eq!(report.removed.len(), 2);
                assert_eq!(files(dir.path(), "lines"), Vec::<String>::new());
            }
        }
    }
}

#[tokio::test]
async fn who_has_a_removed_file_open_finds_out() {
    let dir = common::dir();
    let (env, one) = session(dir.path()).await;
    let (_, two) = session(dir.path()).await;
    let first = claim(&env, "l", Mode::Exclusive, Patience::Try);
    let (old, place) = granted(&one, &first).await;
    one.withdraw(&first, Some(place)).await.expect("answer");
    assert_eq!(gc(dir.path(), Gc::Remove).expect("report").removed, ["l"]);
    let second = claim(&env, "l", Mode::Exclusive, Patience::Try);
    let (new, _place) = granted(&two, &second).await;
    assert!(new.token > old.token);
    let third = claim(&env, "l", Mode::Exclusive, Patience::Try);
    assert!(matches!(one.claim(&third).await.expect("answer"), Answer::Busy));
}

#[test]
fn tokens_rise_over_a_new_start_of_the_machine() {
    let dir = common::dir();
    let mut last = 0;
    for boot in ["1", "2", "3"] {
        let mut command = common::actor_command(dir.path());
        let mut actor = Actor::start_with(command.env("COTTER_TEST_BOOT", boot));
        for round in 0..3 {
            // Whoever held it before the start is gone with it, and so is what it wrote.
            let (_, token) = actor.hold(&format!("kept{round}"));
            let (id, old) = actor.hold("old");
            assert!(old > last, "{old} after {last}");
            last = old.max(token);
            actor.ask(&format!("withdraw {id}"), "released");
        }
        let answer = actor.ask("try old", "granted|busy");
        assert!(answer.starts_with("granted"), "{answer}");
        actor.kill();
    }
}

/// A line must not give a token that the disk does not cover.
#[tokio::test]
async fn the_ceiling_is_raised_before_it_is_reached() {
    let dir = common::dir();
    let (env, session) = session(dir.path()).await;
    let one = claim(&env, "l", Mode::Exclusive, Patience::Wait);
    let (_, place) = granted(&session, &one).await;
    session.withdraw(&one, Some(place)).await.expect("answer");
    let ceiling = || {
        let bytes = std::fs::read(dir.path().join("tokens")).expect("tokens");
        u64::from_le_bytes(bytes[32..40].try_into().expect("eight"))
    };
    let before = ceiling();
    // The line is near the ceiling: as it would be after a million tickets.
    common::set_counter(&dir.path().join("lines/l"), before - 3);
    let mut last = None;
    for _ in 0..10 {
        let one = claim(&env, "l", Mode::Exclusive, Patience::Wait);
        let (grant, place) = granted(&session, &one).await;
        assert!(last < Some(grant.token) && grant.token.number() < ceiling());
        last = Some(grant.token);
        session.withdraw(&one, Some(place)).await.expect("answer");
    }
    assert!(ceiling() > before);
}

/// Where a process dies that opens the directory for the first time: before each of its writes.
#[tokio::test]
async fn who_opens_makes_up_for_one_that_died_opening() {
    for (write, synced_by_the_dead) in [("2", 0), ("3", 0), ("4", 1 << 20)] {
        let dir = tempfile::tempdir().expect("dir");
        let mut command = common::actor_command(dir.path());
        let mut dead = Actor::start_unready(command.env("COTTER_TEST_ABORT_AT", write));
        assert_eq!(dead.hear("ready|ended"), "ended");
        let synced = || {
            let bytes = std::fs::read(dir.path().join("tokens")).expect("tokens");
            bytes
                .get(40..48)
                .map_or(0, |synced| u64::from_le_bytes(synced.try_into().expect("eight")))
        };
        assert_eq!(synced(), synced_by_the_dead, "before write {write}");
        let (env, session) = session(dir.path()).await;
        assert_eq!(synced(), 1 << 20, "before write {write}");
        let one = claim(&env, "l", Mode::Exclusive, Patience::Try);
        let (grant, _place) = granted(&session, &one).await;
        assert!(grant.token.number() < synced());
    }
}

#[test]
fn gc_races_with_those_who_open() {
    let dir = common::dir();
    let mut actors: Vec<Actor> = (0..4).map(|_| Actor::start(dir.path())).collect();
    let logs: Vec<_> = ["a", "b"].map(|name| dir.path().join(format!("{name}.log"))).into();
    for actor in &mut actors {
        for (name, log) in ["a", "b"].iter().zip(&logs) {
            for _ in 0..5 {
                actor.tell(&format!("log {} {name} 100", log.display()));
            }
        }
    }
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sweeper = scope.spawn(|| {
            let mut removed = 0;
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                let report = gc(dir.path(), Gc::Remove).expect("report");
                assert_eq!(report.failed, Vec::<String>::new());
                removed += report.removed.len();
            }
            removed
        });
        for actor in &mut actors {
            for _ in 0..10 {
                assert_eq!(actor.hear("cycled|ended"), "cycled");
            }
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(sweeper.join().expect("swept") > 0, "nothing was ever removed");
    });
    for log in logs {
        let text = std::fs::read_to_string(log).expect("log");
        let tokens: Vec<u64> = text.lines().map(|line| line.parse().expect("a number")).collect();
        assert_eq!(tokens.len(), 2_000);
        assert!(tokens.is_sorted_by(|one, two| one < two), "in order of grants");
    }
}
