//! Deaths and stops inside a line's critical section, wherever in it.
#![allow(clippy::expect_used, reason = "what a test expects it says so")]

mod common;

use std::os::unix::fs::FileExt;
use std::path::Path;

use common::Actor;
use rustix::process::{Signal, WaitOptions, waitpid};

/// Not a test: what a process does that the tests below have started.
#[test]
fn the_other_processes() {
    common::actor::main();
}

#[test]
fn and_all_of_it_in_shared_directories() {
    common::again_in_shared_directories();
}

#[test]
fn a_line_is_mapped_where_nobody_else_may_write() {
    let dir = common::dir();
    let mut one = Actor::start(dir.path());
    one.hold("l");
    let expected = if common::is_shared() { b'C' } else { b'M' };
    assert_eq!(common::way(dir.path(), "l"), expected);
}

/// What a file was made as it stays, whatever becomes of the directory.
#[test]
fn a_line_keeps_its_way_when_the_directory_is_shared_later() {
    let dir = common::dir();
    let mut one = Actor::start(dir.path());
    let (_, first) = one.hold("l");
    common::share(dir.path());
    let mut two = Actor::start(dir.path());
    two.queue("l");
    one.kill();
    assert!(two.turn().1 > first);
    two.hold("m");
    assert_eq!(common::way(dir.path(), "m"), b'C');
}

/// A process dies before each of its stores in turn, with others in the line: one that holds, and
/// enough behind it for the slots of the page to be used up and packed.
#[test]
fn a_death_at_any_store_leaves_a_line_of_those_who_live() {
    let dir = common::dir();
    let mut last = 0;
    for store in 1..420 {
        let mut holder = Actor::start(dir.path());
        let (id, token) = holder.hold("l");
        assert!(token > last, "{token} after {last}, death before store {store}");
        last = token;
        let mut command = common::actor_command(dir.path());
        command.env("COTTER_TEST_ABORT_AT", store.to_string());
        let mut doomed = Actor::start_unready(&mut command);
        if doomed.hear("ready|ended") != "ended" {
            let _ = doomed.try_tell("claim l\nclaim l\nwithdraw 0\nclaim l\nclaim l\nwithdraw 1");
            let _ = doomed.try_tell(&format!("evict l {token} by the doomed"));
            let _ = doomed.try_tell("claim l\nclaim l\nclaim l\nwithdraw 2\ninspect m");
            while doomed.hear("line|ended").starts_with("error") {}
            let _ = doomed.child.kill();
        }
        doomed.child.wait().expect("it has ended");
        let mut next = Actor::start(dir.path());
        let answer = next.ask("claim l", "granted|queued");
        // Thrown out or not, it has left after this.
        holder.ask(&format!("withdraw {id}"), "released|gone");
        let (id, token) =
            if answer.starts_with("granted") { common::numbers(&answer) } else { next.turn() };
        assert!(token > last, "{token} after {last}, death before store {store}");
        last = token;
        assert_eq!(next.ask("inspect l", "line"), format!("line {} / ", next.child.id()));
        assert_eq!(next.ask(&format!("withdraw {id}"), "released|gone"), "released");
    }
}

/// Who is stopped inside a line stops that line and no other, until it goes on or dies.
#[test]
fn who_is_stopped_inside_a_line_is_waited_for() {
    for signal in [Signal::CONT, Signal::KILL] {
        let dir = common::dir();
        let mut command = common::actor_command(dir.path());
        let mut stopped = Actor::start_with(command.env("COTTER_TEST_STOP_AT", "20"));
        stopped.tell("cycle l 20");
        let (_, status) = waitpid(Some(stopped.pid()), WaitOptions::UNTRACED)
            .expect("it is a child")
            .expect("it was waited for");
        assert!(status.stopped(), "{status:?}");
        let (mut one, mut two) = (Actor::start(dir.path()), Actor::start(dir.path()));
        let mut free = Actor::start(dir.path());
        one.tell("claim l");
        two.tell("claim l");
        for _ in 0..200 {
            let (id, _) = free.hold("m");
            assert_eq!(free.ask(&format!("withdraw {id}"), "released"), "released");
        }
        assert!(one.has_not_said("granted|queued") && two.has_not_said("granted|queued"));
        stopped.signal(signal);
        let answers = [&mut one, &mut two].map(|actor| actor.hear("granted|queued"));
        let first = usize::from(answers[0].starts_with("queued"));
        let mut actors = [one, two];
        actors[first].kill();
        actors[1 - first].turn();
        actors[1 - first].kill();
        if signal == Signal::CONT {
            assert_eq!(stopped.hear("cycled|ended"), "cycled");
        }
    }
}

/// A machine that stops may leave a mapped page with a header that was not written wholly.
#[test]
fn a_torn_header_of_an_earlier_start_costs_nothing_and_one_of_this_start_is_damage() {
    let dir = common::dir();
    let booted = |boot: &str| {
        let mut command = common::actor_command(dir.path());
        Actor::start_with(command.env("COTTER_TEST_BOOT", boot))
    };
    let mut one = booted("1");
    let (id, _) = one.hold("l");
    one.ask(&format!("withdraw {id}"), "released");
    let (_, last) = one.hold("l");
    one.kill();
    let path = dir.path().join("lines/l");
    let file = std::fs::File::options().write(true).open(&path);
    let at = common::header_at(&path);
    file.expect("it is there").write_all_at(&[0xaa; 8], at + 16).expect("written");
    let refused = booted("1").ask("try l", "granted|busy");
    assert!(refused.starts_with("error Store") && refused.contains("damaged"), "{refused}");
    let answer = booted("2").ask("try l", "granted|busy");
    if common::is_shared() {
        // It has one header, in one sector of the disk, which is not torn.
        assert!(answer.contains("damaged"), "{answer}");
    } else {
        assert!(answer.starts_with("granted") && common::numbers(&answer).1 > last, "{answer}");
    }
}

fn last_token(path: &Path) -> u64 {
    let mut bytes = [0; 8];
    let file = std::fs::File::open(path).expect("it is there");
    file.read_exact_at(&mut bytes, 0).expect("eight bytes");
    u64::from_le_bytes(bytes)
}

/// Processes that take and give back one lock as fast as they can are killed at any instant.
#[test]
fn deaths_at_any_instant_break_nothing() {
    let dir = common::dir();
    let path = dir.path().join("last");
    std::fs::write(&path, [0; 8]).expect("room");
    let start = || {
        let mut actor = Actor::start(dir.path());
        actor.tell(&format!("storm {} l", path.display()));
        assert_eq!(actor.hear("storms"), "storms");
        actor
    };
    let mut actors: Vec<Actor> = (0..3).map(|_| start()).collect();
    for round in 0..150u64 {
        // Some turns and some instructions later, different ones each time.
        let until = last_token(&path) + 1 + round * 7 % 23;
        common::until(|| last_token(&path) >= until, "the line goes on");
        for _ in 0..round * 7919 % 4001 {
            std::hint::spin_loop();
        }
        let mut doomed = actors.remove(0);
        doomed.kill();
        assert!(doomed.said_all().iter().all(|line| !line.starts_with("wrong")), "round {round}");
        actors.push(start());
    }
    let until = last_token(&path) + 1000;
    common::until(|| last_token(&path) >= until, "the line goes on");
    for mut actor in actors {
        actor.kill();
        let said = actor.said_all();
        let is_bad = |line: &&String| line.starts_with("wrong") || line.starts_with("error");
        assert_eq!(said.iter().find(is_bad), None);
    }
}
