//! cotter's own layout and clients that set a string if there is none, on one key: redis-py,
//! pottery and node-redlock.
//!
//! They look whether the key is there, and tell nobody when they let go. So cotter waits for them
//! by looking, and they have no token: what a resource is to be protected against is told by
//! cotter's tokens among cotter's holders only.

mod redis;

use std::time::Duration;

use cotter::{Cotter, Kind, Left};
use cotter_interop::{Client, Program, Result, Seat, eventually};
use redis::{
    LEASE, NOT_AT_ALL, Place, SHORT_LEASE, SOON, granted, node, python, seat, server, turn,
};

/// A cotter with its own layout.
async fn cotter(lease: Duration) -> Result<Cotter> {
    let url = format!("redis://{}?lease={}ms", server()?, lease.as_millis());
    Ok(Cotter::connect(&url).await?)
}

/// The clients, each with the kind of its lock and the key for a name: pottery puts a word before.
async fn others(test: &str, lease: Duration) -> Result<Vec<(Seat<'static>, &'static str)>> {
    let python = python()?.session(test, lease).await?;
    Ok(vec![
        (python.seat("redis-py"), "redis-py"),
        (python.seat("pottery"), "pottery"),
        (seat(node()?, test, lease).await?, "redlock"),
    ])
}

fn key(place: &Place, kind: &str) -> String {
    format!("redlock:{}", place.at(kind))
}

#[tokio::test]
async fn each_excludes_the_other() -> Result<()> {
    let (place, cotter) = (Place::new("exclude")?, cotter(LEASE).await?);
    for (other, kind) in others("exclude", LEASE).await? {
        let key = key(&place, kind);
        let guard = cotter.lock(&key).acquire().within(SOON).await?;
        assert_eq!(other.lock(kind, &key, NOT_AT_ALL).await?, None, "{kind}");
        assert_eq!(guard.release().await?, Left::Released);
        granted(other.lock(kind, &key, SOON).await?)?;
        assert!(cotter.lock(&key).try_acquire().await?.is_none(), "{kind}");
        assert!(cotter.rw_lock(&key).try_read().await?.is_none(), "{kind}");
        assert!(cotter.semaphore(&key, 3).try_acquire().await?.is_none(), "{kind}");
        other.unlock(kind, &key).await?;
        cotter.lock(&key).acquire().within(SOON).await?.release().await?;
    }
    Ok(())
}

#[tokio::test]
async fn readers_and_permits_of_cotter_stop_the_others() -> Result<()> {
    let (place, cotter) = (Place::new("readers")?, cotter(LEASE).await?);
    for (other, kind) in others("readers", LEASE).await? {
        let key = key(&place, kind);
        let one = cotter.rw_lock(&key).read().within(SOON).await?;
        let two = cotter.rw_lock(&key).read().within(SOON).await?;
        assert_eq!(other.lock(kind, &key, NOT_AT_ALL).await?, None, "{kind}");
        one.release().await?;
        assert_eq!(other.lock(kind, &key, NOT_AT_ALL).await?, None, "{kind}: one is left");
        two.release().await?;
        granted(other.lock(kind, &key, SOON).await?)?;
        other.unlock(kind, &key).await?;
        let permit = cotter.semaphore(&key, 2).acquire().within(SOON).await?;
        assert_eq!(other.lock(kind, &key, NOT_AT_ALL).await?, None, "{kind}");
        permit.release().await?;
        granted(other.lock(kind, &key, SOON).await?)?;
        other.unlock(kind, &key).await?;
    }
    Ok(())
}

/// Nobody's time ends here before the test does: each notices that the other lets go.
#[tokio::test]
async fn each_notices_that_the_other_lets_go() -> Result<()> {
    let (place, cotter) = (Place::new("notice")?, cotter(LEASE).await?);
    for (other, kind) in others("notice", LEASE).await? {
        let key = key(&place, kind);
        let guard = cotter.lock(&key).acquire().within(SOON).await?;
        let waits = other.begin_lock(kind, &key, SOON);
        assert!(waits.is_pending());
        guard.release().await?;
        turn(waits).await?;

        let lock = cotter.lock(&key);
        let first = async { lock.acquire().within(SOON).await?.release().await };
        let release = async {
            let has_waiter = async || Ok(lock.line_up().await?.waiters.len() == 1);
            eventually("cotter waits", has_waiter).await?;
            other.unlock(kind, &key).await
        };
        let (first, released) = tokio::join!(first, release);
        released?;
        assert_eq!(first?, Left::Released, "{kind}");
    }
    Ok(())
}

#[tokio::test]
async fn a_dead_foreign_holder_is_waited_for_until_its_time_ends() -> Result<()> {
    let (place, cotter) = (Place::new("dead")?, cotter(LEASE).await?);
    for (client, kind) in [
        (Client::RedisPython, "redis-py"),
        (Client::RedisPython, "pottery"),
        (Client::RedisNode, "redlock"),
    ] {
        let key = key(&place, kind);
        let dying = Program::start(&client, &server()?)?;
        let holder = dying.session("dead", SHORT_LEASE).await?.seat("a");
        granted(holder.lock(kind, &key, SOON).await?)?;
        dying.kill()?;
        assert_eq!(place.number(&["EXISTS", &key])?, 1, "{kind}");
        cotter.lock(&key).acquire().within(SOON).await?.release().await?;
    }
    Ok(())
}

/// redis-py's lock has no time to live unless it is asked for one.
#[tokio::test]
async fn an_immortal_lock_is_waited_for_as_long_as_it_takes() -> Result<()> {
    let (place, cotter) = (Place::new("immortal")?, cotter(SHORT_LEASE).await?);
    let other = seat(python()?, "immortal", LEASE).await?;
    let key = place.at("x");
    granted(other.lock("immortal", &key, SOON).await?)?;
    assert_eq!(place.number(&["PTTL", &key])?, -1);
    let refused = cotter.lock(&key).acquire().within(SHORT_LEASE * 2).await;
    assert_eq!(refused.expect_err("it is held").kind(), Kind::TimedOut);
    let holders = cotter.lock(&key).line_up().await?.holders;
    assert_eq!((holders.len(), holders[0].token), (1, None), "{holders:?}");
    let lock = cotter.lock(&key);
    let (taken, released) =
        tokio::join!(lock.acquire().within(SOON).into_future(), other.unlock("immortal", &key));
    released?;
    taken?.release().await?;
    Ok(())
}

#[tokio::test]
async fn those_of_cotter_who_wait_for_a_foreign_holder_come_in_order() -> Result<()> {
    let (place, cotter) = (Place::new("order")?, cotter(LEASE).await?);
    let other = seat(node()?, "order", LEASE).await?;
    let key = place.at("x");
    granted(other.lock("redlock", &key, SOON).await?)?;
    let env = cotter.env().clone();
    let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
    let lock = cotter.lock(&key);
    let mut waiting = Vec::new();
    for number in 0..4usize {
        let (lock, told) = (lock.clone(), told.clone());
        waiting.push(env.spawn(async move {
            let guard = lock.acquire().within(SOON).await?;
            let _ = told.send((number, guard.token()));
            guard.release().await
        }));
        let is_in_line = async || Ok(lock_line(&cotter, &key).await? == number + 1);
        eventually("it is in line", is_in_line).await?;
    }
    other.unlock("redlock", &key).await?;
    let mut last = None;
    for expected in 0..4 {
        let (number, token) = order.recv().await.expect("one of them");
        assert_eq!(number, expected);
        assert!(last < Some(token), "{last:?} {token}");
        last = Some(token);
    }
    for task in waiting {
        task.await??;
    }
    Ok(())
}

async fn lock_line(cotter: &Cotter, key: &str) -> Result<usize> {
    Ok(cotter.lock(key).line_up().await?.waiters.len())
}

/// A client that is too late with giving back takes nothing from cotter.
#[tokio::test]
async fn a_late_foreign_release_takes_nothing_from_cotter() -> Result<()> {
    let (place, cotter) = (Place::new("late")?, cotter(LEASE).await?);
    for (other, kind) in others("late", SHORT_LEASE).await? {
        let key = key(&place, kind);
        granted(other.lock(kind, &key, SOON).await?)?;
        let guard = cotter.lock(&key).acquire().within(SOON).await?;
        assert_eq!(other.ask(&format!("unlock {kind} {key}")).await?, "gone", "{kind}");
        guard.check()?;
        assert_eq!(guard.release().await?, Left::Released, "{kind}");
    }
    Ok(())
}
