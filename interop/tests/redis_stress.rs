//! All clients at once take one lock again and again, and add one to a counter that only the lock
//! protects. Not one increment may be lost, and the tokens of those who have one must rise.

mod redis;

use std::path::PathBuf;
use std::time::Duration;

use cotter_interop::{Client, Program, Reply, Result, Session};
use redis::{LEASE, Place, node, python, redisson, server};

/// No stress takes this long, on whatever machine, unless it hangs.
const ALL_TURNS: Duration = Duration::from_secs(240);

/// Who takes part: the session, the kind of lock, how many at once.
struct Team<'p> {
    session: Session<'p>,
    kind: &'static str,
    seats: usize,
}

impl Team<'_> {
    fn begin(&self, order: &str) -> Vec<Reply> {
        (0..self.seats)
            .map(|seat| self.session.seat(&format!("{}-{seat}", self.kind)).begin(order))
            .collect()
    }
}

/// Each does what it can until the counter stands at the goal: then it was counted up exactly as
/// often. Who had which part in it is answered: without one line for all nobody is promised any.
async fn nothing_is_lost(
    place: &Place,
    key: &str,
    goal: u64,
    teams: &[Team<'_>],
) -> Result<Vec<u64>> {
    let counter = place.text("counter", "0 0")?;
    let order = |kind: &str| format!("stress {kind} {key} {counter} {goal}");
    let replies: Vec<_> = teams.iter().map(|team| team.begin(&order(team.kind))).collect();
    let mut shares = Vec::new();
    for team in replies {
        let mut share = 0u64;
        for reply in team {
            let answer = reply.heard_within(ALL_TURNS).await?;
            share += answer.strip_prefix("done ").unwrap_or(&answer).parse::<u64>()?;
        }
        shares.push(share);
    }
    let (counted, _token) = place.counted(&counter)?;
    println!("{goal} grants: {shares:?}");
    assert_eq!((shares.iter().sum::<u64>(), counted), (goal, goal), "{shares:?}");
    assert_eq!(place.number(&["EXISTS", key])?, 0, "and the lock is free");
    Ok(shares)
}

/// But nobody is shut out.
fn everybody_had_a_part(shares: &[u64]) {
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
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
    Program::start(&Client::Cotter(path), &format!("redis:{}", server()?))
}

/// Clients that set a string look whether it is there now and then, so one of cotter's holds the
/// lock at a time here: a line of cotter's would pass it on among themselves, and never leave it
/// free to be found.
#[tokio::test]
async fn cotter_and_clients_that_set_strings_lose_no_increment_in_10_000_grants() -> Result<()> {
    let (place, rust) = (Place::new("stress-strings")?, peer()?);
    let teams = [
        Team {
            session: rust.session_at("stress", "-", "lease=60s").await?,
            kind: "mutex",
            seats: 1,
        },
        Team { session: python()?.session("stress-py", LEASE).await?, kind: "redis-py", seats: 1 },
        Team { session: python()?.session("stress-po", LEASE).await?, kind: "pottery", seats: 1 },
        Team { session: node()?.session("stress", LEASE).await?, kind: "redlock", seats: 2 },
    ];
    let key = format!("redlock:{}", place.at("x"));
    everybody_had_a_part(&nothing_is_lost(&place, &key, 10_000, &teams).await?);
    Ok(())
}

/// The same with a line of cotter's. The others get a turn when they look while it is empty.
#[tokio::test]
async fn a_line_of_cotters_and_clients_that_set_strings_lose_no_increment() -> Result<()> {
    let (place, rust) = (Place::new("stress-line")?, peer()?);
    let teams = [
        Team { session: rust.session_at("line", "-", "lease=60s").await?, kind: "mutex", seats: 1 },
        Team {
            session: rust.session_at("hasty", "-", "lease=60s").await?,
            kind: "impatient",
            seats: 2,
        },
        Team { session: node()?.session("line", LEASE).await?, kind: "redlock", seats: 2 },
    ];
    nothing_is_lost(&place, &place.at("x"), 2_000, &teams).await.map(drop)
}

/// Without its line cotter leaves the lock free for whoever comes.
#[tokio::test]
async fn without_a_line_of_cotters_everybody_has_a_part() -> Result<()> {
    let (place, rust) = (Place::new("stress-unfair")?, peer()?);
    let teams = [
        Team {
            session: rust.session_at("unfair", "-", "fair=false").await?,
            kind: "mutex",
            seats: 2,
        },
        Team { session: node()?.session("unfair", LEASE).await?, kind: "redlock", seats: 2 },
    ];
    everybody_had_a_part(&nothing_is_lost(&place, &place.at("x"), 2_000, &teams).await?);
    Ok(())
}

#[tokio::test]
async fn cotter_and_redisson_lose_no_increment_in_10_000_grants() -> Result<()> {
    let (place, rust) = (Place::new("stress-redisson")?, peer()?);
    let teams = [
        Team {
            session: rust.session_at("stress", "-", "dialect=redisson").await?,
            kind: "mutex",
            seats: 2,
        },
        Team {
            session: redisson()?.session("stress-fenced", LEASE).await?,
            kind: "fenced",
            seats: 2,
        },
        Team { session: redisson()?.session("stress", LEASE).await?, kind: "lock", seats: 2 },
    ];
    everybody_had_a_part(&nothing_is_lost(&place, &place.at("x"), 10_000, &teams).await?);
    Ok(())
}

#[tokio::test]
async fn writers_of_cotter_and_of_redisson_lose_no_increment() -> Result<()> {
    let (place, rust) = (Place::new("stress-write")?, peer()?);
    let teams = [
        Team {
            session: rust.session_at("write", "-", "dialect=redisson").await?,
            kind: "write",
            seats: 2,
        },
        Team { session: redisson()?.session("write", LEASE).await?, kind: "write", seats: 2 },
    ];
    nothing_is_lost(&place, &place.at("x"), 2_000, &teams).await.map(drop)
}

#[tokio::test]
async fn waiters_of_cotter_that_come_and_go_disturb_redisson_not() -> Result<()> {
    let (place, rust) = (Place::new("impatient")?, peer()?);
    let teams = [
        Team {
            session: rust.session_at("impatient", "-", "dialect=redisson").await?,
            kind: "impatient",
            seats: 4,
        },
        Team { session: redisson()?.session("impatient", LEASE).await?, kind: "fenced", seats: 2 },
    ];
    nothing_is_lost(&place, &place.at("x"), 2_000, &teams).await.map(drop)
}

#[tokio::test]
async fn readers_and_writers_of_cotter_and_redisson_keep_apart() -> Result<()> {
    let (place, rust) = (Place::new("mingle")?, peer()?);
    let cotter = rust.session_at("mingle", "-", "dialect=redisson").await?;
    let java = redisson()?.session("mingle", LEASE).await?;
    let (key, room) = (place.at("x"), place.at("room"));
    let mut replies = Vec::new();
    for (index, kind) in ["read", "write", "read", "write"].into_iter().enumerate() {
        let order = format!("mingle {kind} {key} {room} 150");
        replies.push(cotter.seat(&index.to_string()).begin(&order));
        replies.push(java.seat(&index.to_string()).begin(&order));
    }
    all_done(replies).await?;
    assert_eq!(place.number(&["EXISTS", &key])?, 0);
    Ok(())
}
