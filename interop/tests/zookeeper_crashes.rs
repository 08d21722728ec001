//! Each client's death frees the others.
//!
//! A process is killed while it holds the lock, or while it waits in the middle of the line. Its
//! session ends on the server some time later, and the next in line has its turn.

mod common;

use std::path::PathBuf;

use common::{Place, SHORT_SESSION, SOON, curator, granted, kazoo, seat, server, turn};
use cotter_interop::{Client, Program, Result, Seat, Session, within};

fn peer() -> Client {
    Client::Cotter(PathBuf::from(env!("CARGO_BIN_EXE_interop-peer")))
}

/// A program that is going to be killed, and the kind of its lock.
fn victim(client: &Client) -> Result<(Program, &'static str)> {
    let kind = if *client == Client::Kazoo { "curator" } else { "mutex" };
    Ok((Program::start(client, &server()?)?, kind))
}

async fn short_session<'p>(
    client: &Client,
    program: &'p Program,
    place: &Place,
) -> Result<Session<'p>> {
    if matches!(client, Client::Cotter(_)) {
        let options = format!("timeout={}ms", SHORT_SESSION.as_millis());
        program.session_at("victim", place.path(), &options).await
    } else {
        program.session("victim", SHORT_SESSION).await
    }
}

/// The holder is killed; a waiter of each other client has its turn, in order.
async fn a_dead_holder_is_followed(test: &str, client: Client) -> Result<()> {
    let place = Place::new(test).await?;
    let (cotter, path) = (place.cotter("").await?, place.lasting("x").await?);
    let (program, kind) = victim(&client)?;
    let session = short_session(&client, &program, &place).await?;
    let holds = granted(session.seat("a").lock(kind, &path, SOON).await?)?;

    let java = seat(curator()?, test).await?;
    let python = seat(kazoo()?, test).await?;
    let second = java.begin_lock("mutex", &path, SOON);
    place.line_is(&path, 2).await?;
    let lock = cotter.lock("x");
    let third = cotter.env().spawn(async move { lock.acquire().within(SOON).await });
    place.line_is(&path, 3).await?;
    let fourth = python.begin_lock("curator", &path, SOON);
    place.line_is(&path, 4).await?;

    program.kill()?;
    let second = turn(second).await?;
    assert!(second.token > holds.token);
    assert!(!third.is_finished() && fourth.is_pending());
    java.unlock("mutex", &path).await?;
    let third = within("the turn of cotter", third).await???;
    assert!(third.token().number() > second.token && fourth.is_pending());
    third.release().await?;
    turn(fourth).await?;
    Ok(())
}

#[tokio::test]
async fn a_dead_curator_is_followed() -> Result<()> {
    a_dead_holder_is_followed("dead-curator", Client::Curator).await
}

#[tokio::test]
async fn a_dead_kazoo_is_followed() -> Result<()> {
    a_dead_holder_is_followed("dead-kazoo", Client::Kazoo).await
}

#[tokio::test]
async fn a_dead_cotter_is_followed() -> Result<()> {
    a_dead_holder_is_followed("dead-cotter", peer()).await
}

/// A waiter is killed: the one behind it waits for the holder, and has its turn after it.
async fn a_dead_waiter_is_passed(test: &str, client: Client, behind: Seat<'_>) -> Result<()> {
    let place = Place::new(test).await?;
    let (cotter, path) = (place.cotter("").await?, place.lasting("x").await?);
    let held = cotter.lock("x").acquire().within(SOON).await?;
    let (program, kind) = victim(&client)?;
    let session = short_session(&client, &program, &place).await?;
    // Its answer never comes.
    drop(session.seat("a").begin_lock(kind, &path, SOON));
    place.line_is(&path, 2).await?;
    let kind = "mutex";
    let waits = behind.begin_lock(kind, &path, SOON);
    place.line_is(&path, 3).await?;
    program.kill()?;
    place.line_is(&path, 2).await?;
    assert!(waits.is_pending(), "cotter holds the lock");
    held.check()?;
    held.release().await?;
    turn(waits).await?;
    behind.unlock(kind, &path).await
}

#[tokio::test]
async fn a_dead_waiter_of_cotter_is_passed() -> Result<()> {
    let behind = seat(curator()?, "passed-cotter").await?;
    a_dead_waiter_is_passed("passed-cotter", peer(), behind).await
}

#[tokio::test]
async fn a_dead_waiter_of_kazoo_is_passed_by_cotter() -> Result<()> {
    let place = Place::new("passed-kazoo").await?;
    let (cotter, path) = (place.cotter("").await?, place.lasting("x").await?);
    let java = seat(curator()?, "passed-kazoo").await?;
    granted(java.lock("mutex", &path, SOON).await?)?;
    let (program, kind) = victim(&Client::Kazoo)?;
    let session = short_session(&Client::Kazoo, &program, &place).await?;
    drop(session.seat("a").begin_lock(kind, &path, SOON));
    place.line_is(&path, 2).await?;
    let lock = cotter.lock("x");
    let waits = cotter.env().spawn(async move { lock.acquire().within(SOON).await });
    place.line_is(&path, 3).await?;
    program.kill()?;
    place.line_is(&path, 2).await?;
    assert!(!waits.is_finished(), "Curator holds the lock");
    java.unlock("mutex", &path).await?;
    drop(within("the turn of cotter", waits).await???);
    Ok(())
}

#[tokio::test]
async fn what_a_dead_curator_wrote_led_and_had_permits_of_is_free() -> Result<()> {
    let place = Place::new("dead-recipes").await?;
    let cotter = place.cotter("").await?;
    let (program, _) = victim(&Client::Curator)?;
    let session = short_session(&Client::Curator, &program, &place).await?;
    let (writes, leads, has_one) = (place.at("w"), place.at("e"), place.at("s"));
    granted(session.seat("w").lock("write", &writes, SOON).await?)?;
    let seat = session.seat("e");
    seat.ask(&format!("latch {leads} java")).await?;
    seat.ask(&format!("await {leads} {}", SOON.as_millis())).await?;
    seat.ask(&format!("permit {has_one} 1 {}", SOON.as_millis())).await?;

    let (lock, election) = (cotter.rw_lock("w"), cotter.election("e"));
    let semaphore = cotter.semaphore("s", 1);
    let env = cotter.env();
    let reading = env.spawn(async move { lock.read().within(SOON).await });
    let leading = env.spawn(async move { election.campaign("rust").within(SOON).await });
    let permit = env.spawn(async move { semaphore.acquire().within(SOON).await });
    for line in [&writes, &leads] {
        place.line_is(line, 2).await?;
    }
    place.line_is(&place.at("s/locks"), 1).await?;
    assert!(!reading.is_finished() && !leading.is_finished() && !permit.is_finished());

    program.kill()?;
    drop(within("the turn to read", reading).await???);
    drop(within("the turn to lead", leading).await???);
    drop(within("the permit", permit).await???);
    Ok(())
}
