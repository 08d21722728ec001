//! cotter's read/write lock, semaphore and election with those of Curator and kazoo.

mod common;

use common::{NOT_AT_ALL, Place, SESSION, SOON, curator, granted, kazoo, seat, turn};
use cotter::{FencingToken, Kind, Left, RwLock};
use cotter_interop::{Program, Result, eventually, within};

async fn no_read(lock: &RwLock) -> Result<bool> {
    match lock.read().within(NOT_AT_ALL).await {
        Ok(_guard) => Ok(false),
        Err(error) if error.kind() == Kind::TimedOut => Ok(true),
        Err(error) => Err(error.into()),
    }
}

async fn no_write(lock: &RwLock) -> Result<bool> {
    match lock.write().within(NOT_AT_ALL).await {
        Ok(_guard) => Ok(false),
        Err(error) if error.kind() == Kind::TimedOut => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Readers of both clients read together, and a writer of either is alone.
async fn read_together_write_alone(
    test: &str,
    options: &str,
    program: &'static Program,
) -> Result<()> {
    let place = Place::new(test).await?;
    let (cotter, path) = (place.cotter(options).await?, place.lasting("x").await?);
    let foreign = seat(program, test).await?;
    let lock = cotter.rw_lock("x");

    let reading = lock.read().within(SOON).await?;
    granted(foreign.lock("read", &path, SOON).await?)?;
    assert!(no_write(&lock).await?, "two read");
    foreign.unlock("read", &path).await?;
    assert_eq!(foreign.lock("write", &path, NOT_AT_ALL).await?, None, "cotter reads");
    assert_eq!(reading.release().await?, Left::Released);

    let first = granted(foreign.lock("write", &path, SOON).await?)?;
    assert!(no_read(&lock).await? && no_write(&lock).await?, "the other one writes");
    foreign.unlock("write", &path).await?;

    let writing = lock.write().within(SOON).await?;
    assert!(first.token < writing.token().number());
    assert_eq!(foreign.lock("read", &path, NOT_AT_ALL).await?, None, "cotter writes");
    assert_eq!(foreign.lock("write", &path, NOT_AT_ALL).await?, None, "cotter writes");
    assert_eq!(writing.release().await?, Left::Released);
    granted(foreign.lock("read", &path, SOON).await?)?;
    assert!(!no_read(&lock).await?);
    Ok(())
}

#[tokio::test]
async fn curators_read_write_lock_is_cotters() -> Result<()> {
    read_together_write_alone("rw-curator", "", curator()?).await
}

#[tokio::test]
async fn kazoos_read_and_write_locks_are_cotters_in_its_layout() -> Result<()> {
    read_together_write_alone("rw-kazoo", "&layout=kazoo", kazoo()?).await
}

#[tokio::test]
async fn a_reader_does_not_pass_a_writer_that_waits() -> Result<()> {
    let place = Place::new("rw-line").await?;
    let (cotter, path) = (place.cotter("").await?, place.lasting("x").await?);
    let java = curator()?.session("rw-line", SESSION).await?;
    let (writer, reader) = (java.seat("writer"), java.seat("reader"));
    let lock = cotter.rw_lock("x");

    // cotter reads, Curator waits to write, cotter and Curator want to read.
    let reading = lock.read().within(SOON).await?;
    let to_write = writer.begin_lock("write", &path, SOON);
    place.line_is(&path, 2).await?;
    assert!(no_read(&lock).await?, "a writer is before it");
    assert_eq!(reader.lock("read", &path, NOT_AT_ALL).await?, None);
    let behind = lock.clone();
    let to_read = cotter.env().spawn(async move { behind.read().await });
    place.line_is(&path, 3).await?;
    reading.release().await?;
    turn(to_write).await?;
    assert!(!to_read.is_finished(), "Curator writes");
    writer.unlock("write", &path).await?;
    let reading = within("the turn to read", to_read).await???;

    // Curator waits to write, then cotter does, then Curator wants to read: in this order.
    let first = writer.begin_lock("write", &path, SOON);
    place.line_is(&path, 2).await?;
    let second = cotter.env().spawn(async move { lock.write().await });
    place.line_is(&path, 3).await?;
    let third = reader.begin_lock("read", &path, SOON);
    place.line_is(&path, 4).await?;
    reading.release().await?;
    let first = turn(first).await?;
    assert!(!second.is_finished() && third.is_pending());
    writer.unlock("write", &path).await?;
    let second = within("the turn to write", second).await???;
    assert!(third.is_pending() && second.token().number() > first.token);
    second.release().await?;
    turn(third).await?;
    Ok(())
}

#[tokio::test]
async fn readers_come_in_when_a_writer_of_curator_goes_on_as_a_reader() -> Result<()> {
    let place = Place::new("rw-down").await?;
    let (cotter, path) = (place.cotter("").await?, place.lasting("x").await?);
    let java = seat(curator()?, "rw-down").await?;
    let lock = cotter.rw_lock("x");
    granted(java.lock("write", &path, SOON).await?)?;
    granted(java.lock("read", &path, SOON).await?)?;
    assert!(no_read(&lock).await?, "Curator writes");
    java.unlock("write", &path).await?;
    let reading = lock.read().within(SOON).await?;
    assert!(no_write(&lock).await?, "both read");
    java.unlock("read", &path).await?;
    assert!(no_write(&lock).await?, "cotter reads");
    reading.release().await?;
    assert!(!no_write(&lock).await?);
    Ok(())
}

#[tokio::test]
async fn a_writer_behind_one_of_curator_that_reads_as_well_waits_for_both() -> Result<()> {
    let place = Place::new("rw-down-line").await?;
    let (cotter, path) = (place.cotter("").await?, place.lasting("x").await?);
    let java = seat(curator()?, "rw-down-line").await?;
    granted(java.lock("write", &path, SOON).await?)?;
    let lock = cotter.rw_lock("x");
    let waits = cotter.env().spawn(async move { lock.write().within(SOON).await });
    place.line_is(&path, 2).await?;
    // Curator's node for this reading has the writer's number: it comes into the line *before* a
    // waiter that knew the writer alone to be ahead.
    granted(java.lock("read", &path, SOON).await?)?;
    place.line_is(&path, 3).await?;
    java.unlock("write", &path).await?;
    place.line_is(&path, 2).await?;
    // The line has moved, and whoever took that for a turn would have it by now or soon.
    assert!(no_write(&cotter.rw_lock("x")).await?, "Curator reads");
    assert!(!waits.is_finished(), "Curator reads");
    java.unlock("read", &path).await?;
    drop(within("the turn to write", waits).await???);
    Ok(())
}

#[tokio::test]
async fn curators_semaphore_is_cotters() -> Result<()> {
    let place = Place::new("permits").await?;
    let (cotter, path) = (place.cotter("").await?, place.at("s"));
    let java = seat(curator()?, "permits").await?;
    let semaphore = cotter.semaphore("s", 3);
    let take = |limit: std::time::Duration| format!("permit {path} 3 {}", limit.as_millis());

    let first = semaphore.acquire().within(SOON).await?;
    let second = granted(cotter_interop::Grant::parse(&java.ask(&take(SOON)).await?)?)?;
    let third = semaphore.acquire().within(SOON).await?;
    assert!(semaphore.try_acquire().await?.is_none(), "three are out");
    assert_eq!(java.ask(&take(NOT_AT_ALL)).await?, "busy");
    assert!(second.token < third.token().number());

    // Each one's permit is of use to the other.
    let waits = java.begin(&take(SOON));
    place.line_is(&place.at("s/locks"), 1).await?;
    assert!(waits.is_pending());
    assert_eq!(first.release().await?, Left::Released);
    turn(waits).await?;
    let behind = semaphore.clone();
    let waits = cotter.env().spawn(async move { behind.acquire().within(SOON).await });
    place.line_is(&place.at("s/locks"), 1).await?;
    assert!(!waits.is_finished());
    java.ask(&format!("return {path}")).await?;
    drop(within("a permit", waits).await???);
    Ok(())
}

#[tokio::test]
async fn several_permits_at_once_count_for_curator_too() -> Result<()> {
    let place = Place::new("several").await?;
    let (cotter, path) = (place.cotter("").await?, place.at("s"));
    let java = seat(curator()?, "several").await?;
    let semaphore = cotter.semaphore("s", 3);
    let two = semaphore.acquire_many(2).within(SOON).await?;
    let take = |limit: std::time::Duration| format!("permit {path} 3 {}", limit.as_millis());
    assert!(java.ask(&take(SOON)).await?.starts_with("granted"));
    assert_eq!(java.ask(&take(NOT_AT_ALL)).await?, "busy");
    assert!(semaphore.try_acquire().await?.is_none());
    two.release().await?;
    assert!(semaphore.try_acquire_many(3).await?.is_none());
    let two = semaphore.acquire_many(2).within(SOON).await?;
    java.ask(&format!("return {path}")).await?;
    drop(two);
    drop(semaphore.acquire_many(3).within(SOON).await?);
    Ok(())
}

#[tokio::test]
async fn a_claim_for_many_permits_is_not_overtaken_by_curator() -> Result<()> {
    let place = Place::new("many").await?;
    let (cotter, path) = (place.cotter("").await?, place.at("s"));
    let java = curator()?.session("many", SESSION).await?;
    let (has_one, wants_one) = (java.seat("has"), java.seat("wants"));
    let take = format!("permit {path} 3 {}", SOON.as_millis());
    turn(has_one.begin(&take)).await?;
    let semaphore = cotter.semaphore("s", 3);
    let three = cotter.env().spawn(async move { semaphore.acquire_many(3).within(SOON).await });
    place.line_is(&place.at("s/locks"), 1).await?;
    let one = wants_one.begin(&take);
    place.line_is(&place.at("s/locks"), 2).await?;
    assert!(one.is_pending() && !three.is_finished());
    has_one.ask(&format!("return {path}")).await?;
    let three = within("three permits", three).await???;
    place.line_is(&place.at("s/locks"), 1).await?;
    assert!(one.is_pending(), "all three are out");
    three.release().await?;
    turn(one).await?;
    Ok(())
}

#[tokio::test]
async fn a_line_up_of_a_semaphore_shows_those_of_curator() -> Result<()> {
    let place = Place::new("permits-shown").await?;
    let (cotter, path) = (place.cotter("").await?, place.at("s"));
    let java = curator()?.session("permits-shown", SESSION).await?;
    let (has_one, wants_one) = (java.seat("has"), java.seat("wants"));
    let take = format!("permit {path} 2 {}", SOON.as_millis());
    let semaphore = cotter.semaphore("s", 2);
    let held = semaphore.acquire().within(SOON).await?;
    let one = turn(has_one.begin(&take)).await?;
    let line_up = semaphore.line_up().await?;
    let tokens: Vec<_> = line_up.holders.iter().filter_map(|holder| holder.token).collect();
    assert_eq!(tokens, [held.token(), FencingToken::new(one.token)]);
    assert!(line_up.waiters.is_empty(), "{line_up:?}");
    // Curator's waiter makes the node of its permit before there is room for it.
    let waits = wants_one.begin(&take);
    place.line_is(&place.at("s/leases"), 3).await?;
    let line_up = semaphore.line_up().await?;
    assert_eq!((line_up.holders.len(), line_up.waiters.len()), (2, 1), "{line_up:?}");
    assert!(waits.is_pending());
    held.release().await?;
    turn(waits).await?;
    Ok(())
}

#[tokio::test]
async fn leaders_of_curators_latch_and_of_cotters_election_follow_each_other() -> Result<()> {
    let place = Place::new("latch").await?;
    let (cotter, path) = (place.cotter("").await?, place.at("e"));
    let java = seat(curator()?, "latch").await?;
    let limit = SOON.as_millis();
    let election = cotter.election("e");

    let first = election.campaign("rust:1").within(SOON).await?;
    java.ask(&format!("latch {path} java:1")).await?;
    place.line_is(&path, 2).await?;
    let participants = java.ask(&format!("participants {path}")).await?;
    assert_eq!(participants, "participants *rust:1 java:1");
    let waits = java.begin(&format!("await {path} {limit}"));
    let again = election.clone();
    let second = cotter.env().spawn(async move { again.campaign("rust:2").await });
    place.line_is(&path, 3).await?;
    assert!(waits.is_pending());

    assert_eq!(first.release().await?, Left::Released);
    let java_leads = turn(waits).await?;
    let is_java = async || Ok(election.leader().await?.is_some_and(|it| it.value == "java:1"));
    eventually("cotter to see Curator lead", is_java).await?;
    let leader = election.leader().await?;
    let token = leader.and_then(|leader| leader.token);
    assert_eq!(token, Some(FencingToken::new(java_leads.token)));
    assert!(!second.is_finished());

    java.ask(&format!("unlatch {path}")).await?;
    let second = within("the second term", second).await???;
    assert!(second.token().number() > java_leads.token);
    Ok(())
}
