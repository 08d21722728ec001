//! What must survive: killed, stopped and deaf processes, in every role.
#![allow(clippy::expect_used, reason = "what a test expects it says so")]

mod common;

use common::{Actor, files};
use rustix::process::Signal;

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
fn the_line_is_in_order_over_processes_and_tasks() {
    let dir = common::dir();
    let (mut one, mut two) = (Actor::start(dir.path()), Actor::start(dir.path()));
    let (mut id, mut token) = one.hold("l");
    let queue: Vec<(bool, u32)> = [true, false, false, true, false, true]
        .into_iter()
        .map(|is_one| (is_one, if is_one { one.queue("l") } else { two.queue("l") }))
        .collect();
    let mut holder_is_one = true;
    for (is_one, queued) in queue {
        let holder = if holder_is_one { &mut one } else { &mut two };
        assert_eq!(holder.ask(&format!("withdraw {id}"), "released|gone"), "released");
        let next = if is_one { &mut one } else { &mut two };
        let (turn, next_token) = next.turn();
        assert_eq!(turn, queued, "first come, first served");
        assert!(next_token > token);
        (holder_is_one, id, token) = (is_one, turn, next_token);
    }
}

#[test]
fn a_killed_holder_frees_its_lock() {
    let dir = common::dir();
    let (mut one, mut two) = (Actor::start(dir.path()), Actor::start(dir.path()));
    let (_, first) = one.hold("l");
    two.queue("l");
    one.kill();
    assert!(two.turn().1 > first);
}

#[test]
fn a_try_after_a_kill_is_granted_and_a_refused_try_leaves_no_trace() {
    let dir = common::dir();
    let (mut one, mut two) = (Actor::start(dir.path()), Actor::start(dir.path()));
    one.hold("l");
    assert_eq!(two.ask("try l", "granted|busy"), "busy");
    let line = two.ask("inspect l", "line");
    assert_eq!(line, format!("line {} / ", one.child.id()));
    one.kill();
    assert!(two.ask("try l", "granted|busy").starts_with("granted"));
}

#[test]
fn a_killed_head_of_the_queue_is_passed_over() {
    let dir = common::dir();
    let mut actors: Vec<Actor> = (0..3).map(|_| Actor::start(dir.path())).collect();
    let (id, _) = actors[0].hold("l");
    actors[1].queue("l");
    actors[2].queue("l");
    actors[1].kill();
    actors[0].ask(&format!("withdraw {id}"), "released");
    actors[2].turn();
}

#[test]
fn the_holder_and_the_head_die_at_once() {
    let dir = common::dir();
    let mut actors: Vec<Actor> = (0..4).map(|_| Actor::start(dir.path())).collect();
    actors[0].hold("l");
    for actor in &mut actors[1..] {
        actor.queue("l");
    }
    for dead in [1, 0, 2] {
        actors[dead].kill();
    }
    actors[3].turn();
}

#[test]
fn every_second_of_a_hundred_waiters_dies() {
    let dir = common::dir();
    let mut actors: Vec<Actor> = (0..101).map(|_| Actor::start(dir.path())).collect();
    let (mut id, mut token) = actors[0].hold("l");
    for actor in &mut actors[1..] {
        actor.queue("l");
    }
    for actor in actors[1..].iter_mut().step_by(2) {
        actor.kill();
    }
    let mut holder = 0;
    for next in (2..=100).step_by(2) {
        actors[holder].ask(&format!("withdraw {id}"), "released");
        let (turn, next_token) = actors[next].turn();
        assert!(next_token > token);
        (holder, id, token) = (next, turn, next_token);
    }
}

#[test]
fn a_stopped_holder_keeps_its_lock() {
    let dir = common::dir();
    let (mut one, mut two) = (Actor::start(dir.path()), Actor::start(dir.path()));
    let (id, _) = one.hold("l");
    one.signal(Signal::STOP);
    two.queue("l");
    assert_eq!(two.ask("renew", "renewed"), "renewed []");
    assert_eq!(two.ask("try l", "granted|busy"), "busy");
    one.signal(Signal::CONT);
    one.ask(&format!("withdraw {id}"), "released");
    two.turn();
}

#[test]
fn a_waiter_that_leaves_hands_its_watch_on() {
    let dir = common::dir();
    let mut actors: Vec<Actor> = (0..3).map(|_| Actor::start(dir.path())).collect();
    actors[0].hold("l");
    let middle = actors[1].queue("l");
    actors[2].queue("l");
    // The last one watched the middle one, and must now watch the holder.
    actors[1].ask(&format!("withdraw {middle}"), "released");
    actors[0].kill();
    actors[2].turn();
}

#[test]
fn any_of_several_holders_may_die() {
    for dead in 0..3 {
        let dir = common::dir();
        let mut actors: Vec<Actor> = (0..4).map(|_| Actor::start(dir.path())).collect();
        for actor in &mut actors[..3] {
            let answer = actor.ask("claim s permits 1 3", "granted|queued");
            assert!(answer.starts_with("granted"), "{answer}");
        }
        actors[3].queue("s permits 1 3");
        actors[dead].kill();
        actors[3].turn();
    }
}

#[test]
fn a_new_head_watches_all_holders() {
    let dir = common::dir();
    let mut actors: Vec<Actor> = (0..4).map(|_| Actor::start(dir.path())).collect();
    let answer = actors[0].ask("claim s permits 1 2", "granted|queued");
    let id: u32 = answer.split(' ').nth(1).and_then(|id| id.parse().ok()).expect("granted");
    actors[1].ask("claim s permits 1 2", "granted");
    actors[2].queue("s permits 1 2");
    // It watches its neighbour only, until that is let in.
    actors[3].queue("s permits 1 2");
    actors[0].ask(&format!("withdraw {id}"), "released");
    actors[2].turn();
    actors[3].ask("inspect s", "line");
    actors[1].kill();
    actors[3].turn();
}

#[test]
fn readers_share_and_a_waiting_writer_holds_up_later_readers() {
    let dir = common::dir();
    let mut actors: Vec<Actor> = (0..4).map(|_| Actor::start(dir.path())).collect();
    for reader in [0, 1] {
        let answer = actors[reader].ask("claim r shared", "granted|queued");
        assert!(answer.starts_with("granted"), "{answer}");
    }
    actors[2].queue("r");
    actors[3].queue("r shared");
    actors[0].kill();
    actors[1].kill();
    let (writer, _) = actors[2].turn();
    actors[2].ask(&format!("withdraw {writer}"), "released");
    actors[3].turn();
}

#[test]
fn disagreement_on_a_limit_is_refused_and_the_dead_do_not_disagree() {
    let dir = common::dir();
    let (mut one, mut two) = (Actor::start(dir.path()), Actor::start(dir.path()));
    one.ask("claim s permits 1 3", "granted");
    let answer = two.ask("claim s permits 1 4", "granted|queued");
    assert!(answer.starts_with("error Incompatible"), "{answer}");
    one.kill();
    assert!(two.ask("claim s permits 1 4", "granted|queued").starts_with("granted"));
}

#[test]
fn lost_messages_cost_a_second_at_most() {
    let dir = common::dir();
    let mut deaf = common::actor_command(dir.path());
    let mut one = Actor::start_with(deaf.env("COTTER_TEST_DEAF", "1"));
    let mut two = Actor::start(dir.path());
    two.ask("beat", "beats");
    let (id, _) = one.hold("l");
    two.queue("l");
    one.ask(&format!("withdraw {id}"), "released");
    two.turn();
}

#[test]
fn an_evicted_holder_is_told_and_the_next_goes_on() {
    let dir = common::dir();
    let mut actors: Vec<Actor> = (0..3).map(|_| Actor::start(dir.path())).collect();
    let (id, token) = actors[0].hold("l");
    // A session that never waited and never renewed has no socket: it finds out by its renewal.
    actors[0].ask("beat", "beats");
    actors[1].queue("l");
    assert_eq!(actors[2].ask(&format!("evict l {} for x", token + 1), "done|not"), "not");
    assert_eq!(actors[2].ask(&format!("evict l {token} by hand"), "done|not"), "done");
    assert!(actors[1].turn().1 > token);
    let event = actors[0].hear("event");
    assert!(event.contains("Evicted(\"by hand\")"), "{event}");
    assert_eq!(actors[0].ask(&format!("withdraw {id}"), "released|gone"), "gone");
}

#[test]
fn a_stopped_victim_is_told_when_it_goes_on() {
    let dir = common::dir();
    let (mut one, mut two) = (Actor::start(dir.path()), Actor::start(dir.path()));
    let (_, token) = one.hold("l");
    one.ask("renew", "renewed");
    one.signal(Signal::STOP);
    two.queue("l");
    assert_eq!(two.ask(&format!("evict l {token} it sleeps"), "done|not"), "done");
    let (mut id, mut token) = two.turn();
    // The line lives on while the victim's slot waits for it.
    for _ in 0..300 {
        two.ask(&format!("withdraw {id}"), "released");
        let (next, next_token) = two.hold("l");
        assert!(next_token > token);
        (id, token) = (next, next_token);
    }
    one.signal(Signal::CONT);
    let event = one.hear("event");
    assert!(event.contains("Evicted(\"it sleeps\")"), "{event}");
}

#[test]
fn nothing_is_left_behind_by_those_who_close() {
    let dir = common::dir();
    let (mut one, mut two) = (Actor::start(dir.path()), Actor::start(dir.path()));
    one.hold("a");
    one.hold("b");
    two.queue("a");
    assert_eq!(one.ask("close", "closed"), "closed");
    two.turn();
    assert_eq!(two.ask("close", "closed"), "closed");
    assert_eq!(files(dir.path(), "lines"), Vec::<String>::new());
    assert_eq!(files(dir.path(), "wake"), Vec::<String>::new());
}

#[test]
fn who_ends_without_a_word_is_noticed_too() {
    let dir = common::dir();
    let (mut one, mut two) = (Actor::start(dir.path()), Actor::start(dir.path()));
    one.hold("l");
    two.queue("l");
    one.signal(Signal::TERM);
    two.turn();
}

/// A process dies before each of its writes and stores in turn. Nobody is blocked by it, and no
/// token is given twice.
#[test]
fn a_death_between_any_two_writes_blocks_nobody_and_repeats_no_token() {
    let dir = common::dir();
    let mut last = 0;
    for write in 1..200 {
        let mut command = common::actor_command(dir.path());
        command.env("COTTER_TEST_ABORT_AT", write.to_string());
        let mut doomed = Actor::start_unready(&mut command);
        let mut tokens = Vec::new();
        if doomed.hear("ready|ended") != "ended" {
            doomed.tell("cycle l 12");
            loop {
                let heard = doomed.hear("token|cycled|ended");
                let Some(token) = heard.strip_prefix("token ") else { break };
                tokens.push(token.parse::<u64>().expect("a number"));
            }
        }
        for token in tokens {
            assert!(token > last, "{token} after {last}, death before write {write}");
            last = token;
        }
        let mut after = Actor::start(dir.path());
        let (id, token) = after.hold("l");
        assert!(token > last, "{token} after {last}, death before write {write}");
        last = token;
        after.ask(&format!("withdraw {id}"), "released");
    }
}
