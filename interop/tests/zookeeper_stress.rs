//! All clients at once take one lock again and again, and add one to a counter that only the lock
//! protects. Not one increment may be lost, and the token of each holder must be above the token
//! of the one before, which stands beside the count.

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::{Place, SESSION, curator, kazoo, server};
use cotter_interop::{Client, Program, Reply, Result, Seat};

/// No stress takes this long, on whatever machine, unless it hangs.
const ALL_TURNS: Duration = Duration::from_secs(240);

/// Who takes part: the program, the session's name, the kind of lock, how many at once.
struct Team<'p> {
    session: cotter_interop::Session<'p>,
    kind: &'static str,
    seats: usize,
}

impl Team<'_> {
    fn begin(&self, path: &str, counter: &str, goal: u64) -> Vec<Reply> {
        let order = format!("stress {} {path} {counter} {goal}", self.kind);
        (0..self.seats).map(|seat| self.session.seat(&seat.to_string()).begin(&order)).collect()
    }
}

/// Each does what it can until the counter stands at the goal: then it was counted up exactly as
/// often, and everybody had a part in it.
async fn nothing_is_lost(place: &Place, goal: u64, teams: &[Team<'_>]) -> Result<()> {
    let (path, counter) = (place.lasting("x").await?, place.node("counter", "0 0").await?);
    let mut shares = Vec::new();
    let replies: Vec<_> = teams.iter().map(|team| team.begin(&path, &counter, goal)).collect();
    for team in replies {
        let mut share = 0u64;
        for reply in team {
            let answer = reply.heard_within(ALL_TURNS).await?;
            share += answer.strip_prefix("done ").unwrap_or(&answer).parse::<u64>()?;
        }
        shares.push(share);
    }
    let text = place.text(&counter).await?;
    let counted: u64 = text.split(' ').next().unwrap_or("").parse()?;
    assert_eq!((shares.iter().sum::<u64>(), counted), (goal, goal), "{shares:?}");
    // First come, first served: nobody is left out while others count thousands.
    assert!(shares.iter().all(|share| *share > goal / 20), "{shares:?}");
    println!("{goal} grants: {shares:?}");
    // And nobody left a node behind.
    place.line_is(&path, 0).await
}

/// Everybody carries out an order to its end.
async fn all_done(replies: impl IntoIterator<Item = Reply>) -> Result<()> {
    for reply in replies {
        let answer = reply.heard_within(ALL_TURNS).await?;
        assert!(answer.starts_with("done"), "{answer}");
    }
    Ok(())
}

fn peer() -> Result<Program> {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_interop-peer"));
    Program::start(&Client::Cotter(path), &server()?)
}

#[tokio::test]
async fn cotter_curator_and_kazoo_lose_no_increment_in_10_000_grants() -> Result<()> {
    let (place, rust) = (Place::new("stress").await?, peer()?);
    let teams = [
        Team {
            session: rust.session_at("stress", place.path(), "timeout=10s").await?,
            kind: "mutex",
            seats: 2,
        },
        Team { session: curator()?.session("stress", SESSION).await?, kind: "mutex", seats: 2 },
        Team { session: kazoo()?.session("stress", SESSION).await?, kind: "curator", seats: 2 },
    ];
    nothing_is_lost(&place, 10_000, &teams).await
}

#[tokio::test]
async fn cotter_and_kazoo_with_extra_patterns_lose_no_increment() -> Result<()> {
    let (place, rust) = (Place::new("stress-extra").await?, peer()?);
    let teams = [
        Team {
            session: rust.session_at("stress-extra", place.path(), "timeout=10s").await?,
            kind: "mutex",
            seats: 2,
        },
        Team { session: kazoo()?.session("stress-extra", SESSION).await?, kind: "extra", seats: 2 },
    ];
    nothing_is_lost(&place, 2_000, &teams).await
}

#[tokio::test]
async fn writers_of_cotter_and_of_curator_lose_no_increment() -> Result<()> {
    let (place, rust) = (Place::new("stress-write").await?, peer()?);
    let teams = [
        Team {
            session: rust.session_at("stress-write", place.path(), "timeout=10s").await?,
            kind: "write",
            seats: 2,
        },
        Team {
            session: curator()?.session("stress-write", SESSION).await?,
            kind: "write",
            seats: 2,
        },
    ];
    nothing_is_lost(&place, 2_000, &teams).await
}

#[tokio::test]
async fn waiters_of_cotter_that_come_and_go_disturb_nobody() -> Result<()> {
    let (place, rust) = (Place::new("stress-impatient").await?, peer()?);
    let options = "timeout=10s";
    let cotter = rust.session_at("impatient", place.path(), options).await?;
    let java = curator()?.session("impatient", SESSION).await?;
    let python = kazoo()?.session("impatient", SESSION).await?;
    let (path, counter) = (place.lasting("x").await?, place.node("counter", "0 0").await?);
    let goal = 2_000;
    let begin =
        |seat: Seat<'_>, kind: &str| seat.begin(&format!("stress {kind} {path} {counter} {goal}"));
    let mut replies = vec![
        begin(cotter.seat("patient"), "mutex"),
        begin(java.seat("a"), "mutex"),
        begin(python.seat("a"), "curator"),
    ];
    for seat in ["a", "b", "c"] {
        replies.push(begin(cotter.seat(seat), "impatient"));
    }
    let mut sum = 0;
    for reply in replies {
        let answer = reply.heard_within(ALL_TURNS).await?;
        sum += answer.strip_prefix("done ").unwrap_or(&answer).parse::<u64>()?;
    }
    assert_eq!(sum, goal);
    place.line_is(&path, 0).await
}

#[tokio::test]
async fn readers_and_writers_of_cotter_and_curator_keep_apart() -> Result<()> {
    let (place, rust) = (Place::new("mingle").await?, peer()?);
    let cotter = rust.session_at("mingle", place.path(), "timeout=10s").await?;
    let java = curator()?.session("mingle", SESSION).await?;
    let (path, room) = (place.lasting("x").await?, place.lasting("room").await?);
    let begin =
        |seat: Seat<'_>, kind: &str| seat.begin(&format!("mingle {kind} {path} {room} 150"));
    let mut replies = vec![begin(java.seat("downgrade"), "downgrade")];
    for (index, kind) in ["read", "write", "read", "write"].into_iter().enumerate() {
        replies.push(begin(cotter.seat(&index.to_string()), kind));
        replies.push(begin(java.seat(&index.to_string()), kind));
    }
    all_done(replies).await?;
    place.line_is(&path, 0).await
}

#[tokio::test]
async fn readers_and_writers_of_cotter_and_kazoo_keep_apart() -> Result<()> {
    let (place, rust) = (Place::new("mingle-kazoo").await?, peer()?);
    let options = "timeout=10s&layout=kazoo";
    let cotter = rust.session_at("mingle-kazoo", place.path(), options).await?;
    let python = kazoo()?.session("mingle-kazoo", SESSION).await?;
    let (path, room) = (place.lasting("x").await?, place.lasting("room").await?);
    let begin =
        |seat: Seat<'_>, kind: &str| seat.begin(&format!("mingle {kind} {path} {room} 150"));
    let mut replies = Vec::new();
    for (index, kind) in ["read", "write", "read"].into_iter().enumerate() {
        replies.push(begin(cotter.seat(&index.to_string()), kind));
        replies.push(begin(python.seat(&index.to_string()), kind));
    }
    all_done(replies).await?;
    place.line_is(&path, 0).await
}

#[tokio::test]
async fn no_more_permits_are_out_than_there_are() -> Result<()> {
    let (place, rust) = (Place::new("mingle-permits").await?, peer()?);
    let cotter = rust.session_at("mingle-permits", place.path(), "timeout=10s").await?;
    let java = curator()?.session("mingle-permits", SESSION).await?;
    let (path, room) = (place.at("s"), place.lasting("room").await?);
    let mut replies = Vec::new();
    for count in [1, 2, 1, 3] {
        let seat = cotter.seat(&replies.len().to_string());
        replies.push(seat.begin(&format!("mingle-permits {count} {path} 3 {room} 100")));
        let seat = java.seat(&replies.len().to_string());
        replies.push(seat.begin(&format!("mingle-permits {path} 3 {room} 100")));
    }
    all_done(replies).await?;
    place.line_is(&format!("{path}/leases"), 0).await?;
    place.line_is(&format!("{path}/locks"), 0).await
}
