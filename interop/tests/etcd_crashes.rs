//! Each client's death frees the others.
//!
//! A process is killed while it holds the lock, or while it waits in the middle of the line. Its
//! lease runs out on the server some time later, and the next in line has its turn.

mod etcd;

use std::path::PathBuf;

use cotter_interop::{Client, Program, Result, Session, within};
use etcd::{Place, Running, SHORT_LEASE, SOON, granted, seat, server, turn};

/// A program that is going to be killed, by a lease that is soon over.
fn victim(client: &Client) -> Result<Program> {
    match client {
        Client::Cotter(_) => Program::start(client, &format!("etcd:{}", server()?)),
        _ => Program::start(client, &server()?),
    }
}

fn peer() -> Client {
    Client::Cotter(PathBuf::from(env!("CARGO_BIN_EXE_interop-peer")))
}

async fn short_session<'p>(
    client: &Client,
    program: &'p Program,
    place: &Place,
) -> Result<Session<'p>> {
    if matches!(client, Client::Cotter(_)) {
        let options = format!("lease={}s", SHORT_LEASE.as_secs());
        program.session_at("victim", place.prefix(), &options).await
    } else {
        program.session("victim", SHORT_LEASE).await
    }
}

/// The holder is killed; a waiter of each other client has its turn, in order.
async fn a_dead_holder_is_followed(test: &str, client: Client) -> Result<()> {
    let place = Place::new(test).await?;
    let (cotter, path) = (place.cotter("").await?, place.at("x"));
    let program = victim(&client)?;
    let session = short_session(&client, &program, &place).await?;
    let holds = granted(session.seat("a").lock("mutex", &path, SOON).await?)?;

    let foreign = seat(test).await?;
    let second = foreign.begin_lock("mutex", &path, SOON);
    place.line_is(&path, 2).await?;
    let lock = cotter.lock("x");
    let third = cotter.env().spawn(async move { lock.acquire().within(SOON).await });
    place.line_is(&path, 3).await?;
    let ctl = Running::start(&["lock", &path])?;
    place.line_is(&path, 4).await?;

    program.kill()?;
    let second = turn(second).await?;
    assert!(second.token > holds.token);
    assert!(!third.is_finished());
    foreign.unlock("mutex", &path).await?;
    let third = within("the turn of cotter", third).await???;
    assert!(third.token().number() > second.token);
    third.release().await?;
    place.line_is(&path, 1).await?;
    // Killed as well, by its lease of ten seconds: nobody waits for that here.
    ctl.kill()
}

#[tokio::test]
async fn a_dead_go_is_followed() -> Result<()> {
    a_dead_holder_is_followed("dead-go", Client::Go).await
}

#[tokio::test]
async fn a_dead_cotter_is_followed() -> Result<()> {
    a_dead_holder_is_followed("dead-cotter", peer()).await
}

/// A waiter is killed: the one behind it waits for the holder, and has its turn after it.
async fn a_dead_waiter_is_passed(test: &str, client: Client) -> Result<()> {
    let place = Place::new(test).await?;
    let (cotter, path) = (place.cotter("").await?, place.at("x"));
    let held = cotter.lock("x").acquire().within(SOON).await?;
    let program = victim(&client)?;
    let session = short_session(&client, &program, &place).await?;
    // Its answer never comes.
    drop(session.seat("a").begin_lock("mutex", &path, SOON));
    place.line_is(&path, 2).await?;
    let behind = seat(test).await?;
    let waits = behind.begin_lock("mutex", &path, SOON);
    place.line_is(&path, 3).await?;
    let lock = cotter.lock("x");
    let last = cotter.env().spawn(async move { lock.acquire().within(SOON).await });
    place.line_is(&path, 4).await?;
    program.kill()?;
    place.line_is(&path, 3).await?;
    assert!(waits.is_pending(), "cotter holds the lock");
    held.check()?;
    held.release().await?;
    turn(waits).await?;
    assert!(!last.is_finished(), "Go holds the lock");
    behind.unlock("mutex", &path).await?;
    drop(within("the turn of cotter", last).await???);
    Ok(())
}

#[tokio::test]
async fn a_dead_waiter_of_go_is_passed() -> Result<()> {
    a_dead_waiter_is_passed("passed-go", Client::Go).await
}

#[tokio::test]
async fn a_dead_waiter_of_cotter_is_passed() -> Result<()> {
    a_dead_waiter_is_passed("passed-cotter", peer()).await
}
