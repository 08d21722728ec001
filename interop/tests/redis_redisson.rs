//! cotter with `dialect=redisson` and the real Redisson on one lock: mutual exclusion in both
//! directions, each woken by the other, tokens that rise over both, readers and writers.
//!
//! Nobody is granted a lock by the end of somebody's time here, unless a test says so: the leases
//! are longer than what is waited for.

mod redis;

use std::time::Duration;

use cotter::{Cotter, FencingToken, Kind, Left};
use cotter_interop::{Client, Program, Result, eventually};
use redis::{LEASE, NOT_AT_ALL, Place, SHORT_LEASE, SOON, granted, redisson, seat, server, turn};

/// A cotter whose locks are Redisson's.
async fn cotter(lease: Duration) -> Result<Cotter> {
    let lease_ms = lease.as_millis();
    let url = format!("redis://{}?dialect=redisson&lease={lease_ms}ms", server()?);
    Ok(Cotter::connect(&url).await?)
}

/// Waits until somebody of Redisson's listens for the release of a lock: it waits in earnest.
async fn until_listened_to(place: &Place, channel: &str) -> Result<()> {
    let is_so = async || {
        let answer = place.ask(&["PUBSUB", "NUMSUB", channel])?;
        Ok(answer.parts().get(1).and_then(|count| count.number()).unwrap_or(0) > 0)
    };
    eventually(&format!("somebody listens to {channel}"), is_so).await
}

#[tokio::test]
async fn a_lock_of_cotters_stops_every_lock_of_redissons() -> Result<()> {
    let (place, cotter) = (Place::new("stops")?, cotter(LEASE).await?);
    let java = seat(redisson()?, "stops", LEASE).await?;
    let key = place.at("x");
    let guard = cotter.lock(&key).acquire().within(SOON).await?;
    for kind in ["lock", "fenced", "fair", "read", "write"] {
        assert_eq!(java.lock(kind, &key, NOT_AT_ALL).await?, None, "{kind}");
    }
    assert_eq!(guard.release().await?, Left::Released);
    for kind in ["lock", "fenced", "fair", "read", "write"] {
        granted(java.lock(kind, &key, SOON).await?)?;
        java.unlock(kind, &key).await?;
    }
    // Nothing is left but the counter.
    assert_eq!(place.number(&["EXISTS", &key])?, 0);
    assert_eq!(place.number(&["EXISTS", &format!("redisson_lock_token:{{{key}}}")])?, 1);
    Ok(())
}

#[tokio::test]
async fn every_lock_of_redissons_stops_cotter() -> Result<()> {
    let (place, cotter) = (Place::new("stopped")?, cotter(LEASE).await?);
    let java = seat(redisson()?, "stopped", LEASE).await?;
    let key = place.at("x");
    for kind in ["lock", "fenced", "fair", "read", "write"] {
        granted(java.lock(kind, &key, SOON).await?)?;
        assert!(cotter.lock(&key).try_acquire().await?.is_none(), "{kind}");
        assert!(cotter.rw_lock(&key).try_write().await?.is_none(), "{kind}");
        let reader = cotter.rw_lock(&key).try_read().await?;
        assert_eq!(reader.is_some(), kind == "read", "readers share, and nobody else: {kind}");
        if let Some(reader) = reader {
            reader.release().await?;
        }
        java.unlock(kind, &key).await?;
        cotter.lock(&key).acquire().within(SOON).await?.release().await?;
    }
    Ok(())
}

#[tokio::test]
async fn each_is_woken_by_the_other() -> Result<()> {
    let (place, cotter) = (Place::new("woken")?, cotter(LEASE).await?);
    let java = redisson()?.session("woken", LEASE).await?;
    let (holder, waiter) = (java.seat("holder"), java.seat("waiter"));
    for (kind, channel) in [
        ("lock", "redisson_lock__channel"),
        ("fenced", "redisson_lock__channel"),
        ("write", "redisson_rwlock"),
        ("read", "redisson_rwlock"),
    ] {
        let key = place.at(kind);
        let guard = cotter.lock(&key).acquire().within(SOON).await?;
        let waits = waiter.begin_lock(kind, &key, LEASE);
        until_listened_to(&place, &format!("{channel}:{{{key}}}")).await?;
        assert!(waits.is_pending());
        guard.release().await?;
        turn(waits).await?;
        waiter.unlock(kind, &key).await?;

        granted(holder.lock(kind, &key, SOON).await?)?;
        let request = cotter.lock(&key);
        let waits = request.acquire().within(SOON);
        let woken = async {
            until_listened_to(&place, &format!("{channel}:{{{key}}}")).await?;
            holder.unlock(kind, &key).await
        };
        let (guard, woken) = tokio::join!(waits, woken);
        woken?;
        guard?.release().await?;
    }
    Ok(())
}

/// The one that is waited for in a fair lock's line listens to itself alone.
#[tokio::test]
async fn the_first_in_a_fair_locks_line_is_woken_by_cotter() -> Result<()> {
    let (place, cotter) = (Place::new("fair")?, cotter(LEASE).await?);
    let java = seat(redisson()?, "fair", LEASE).await?;
    let key = place.at("x");
    let guard = cotter.lock(&key).acquire().within(SOON).await?;
    let waits = java.begin_lock("fair", &key, LEASE);
    let queue = format!("redisson_lock_queue:{{{key}}}");
    let is_queued = async || Ok(place.number(&["LLEN", &queue])? == 1);
    eventually("it is in the line", is_queued).await?;
    assert_eq!(cotter.lock(&key).line_up().await?.waiters.len(), 1);
    guard.release().await?;
    turn(waits).await?;
    java.unlock("fair", &key).await
}

#[tokio::test]
async fn tokens_rise_over_redissons_fenced_locks_and_cotters() -> Result<()> {
    let (place, cotter) = (Place::new("tokens")?, cotter(LEASE).await?);
    let java = seat(redisson()?, "tokens", LEASE).await?;
    let key = place.at("x");
    // A counter that Java began from 1.
    let mut last = FencingToken::new(granted(java.lock("fenced", &key, SOON).await?)?.token);
    assert_eq!(last.number(), 1);
    java.unlock("fenced", &key).await?;
    for _ in 0..5 {
        let guard = cotter.lock(&key).acquire().within(SOON).await?;
        assert!(guard.token() > last, "{} after {last}", guard.token());
        last = guard.token();
        guard.release().await?;
        let grant = granted(java.lock("fenced", &key, SOON).await?)?;
        assert_eq!(grant.token, last.number() + 1, "Java counts on from there");
        last = FencingToken::new(grant.token);
        java.unlock("fenced", &key).await?;
    }
    Ok(())
}

#[tokio::test]
async fn readers_of_both_share_and_a_writer_waits_for_the_last_of_them() -> Result<()> {
    let (place, cotter) = (Place::new("readers")?, cotter(LEASE).await?);
    let java = redisson()?.session("readers", LEASE).await?;
    let (reader, writer, key) = (java.seat("reader"), java.seat("writer"), place.at("x"));
    for cotter_leaves_last in [true, false] {
        let ours = cotter.rw_lock(&key).read().within(SOON).await?;
        granted(reader.lock("read", &key, SOON).await?)?;
        let also_ours = cotter.rw_lock(&key).read().within(SOON).await?;
        let holders = cotter.lock(&key).line_up().await?.holders;
        assert_eq!(holders.len(), 3, "{holders:?}");
        also_ours.release().await?;
        let waits = writer.begin_lock("write", &key, LEASE);
        until_listened_to(&place, &format!("redisson_rwlock:{{{key}}}")).await?;
        if cotter_leaves_last {
            reader.unlock("read", &key).await?;
            assert!(place.number(&["EXISTS", &key])? == 1, "Java leaves cotter's reader alone");
            ours.check()?;
            assert!(cotter.lock(&key).try_acquire().await?.is_none());
            assert!(waits.is_pending());
            ours.release().await?;
        } else {
            ours.release().await?;
            assert!(place.number(&["EXISTS", &key])? == 1, "cotter leaves Java's reader alone");
            assert!(waits.is_pending());
            reader.unlock("read", &key).await?;
        }
        turn(waits).await?;
        assert!(cotter.rw_lock(&key).try_read().await?.is_none());
        writer.unlock("write", &key).await?;
        assert_eq!(place.number(&["EXISTS", &key])?, 0);
    }
    Ok(())
}

/// A reader of cotter's outlives its first lease, and the leaving of a reader of Java's.
#[tokio::test]
async fn readers_are_kept_alive_by_renewals() -> Result<()> {
    let (place, cotter) = (Place::new("renewed")?, cotter(SHORT_LEASE).await?);
    let java = seat(redisson()?, "renewed", LEASE).await?;
    let key = place.at("x");
    let reader = cotter.rw_lock(&key).read().within(SOON).await?;
    granted(java.lock("read", &key, SOON).await?)?;
    let env = cotter.env().clone();
    let first_lease_ends = env.now().after(SHORT_LEASE);
    eventually("its first lease is over", async || Ok(env.now() > first_lease_ends)).await?;
    java.unlock("read", &key).await?;
    assert_eq!(place.number(&["EXISTS", &key])?, 1);
    reader.check()?;
    assert_eq!(reader.release().await?, Left::Released);
    Ok(())
}

#[tokio::test]
async fn a_watchdogs_lock_is_waited_for_and_a_dead_holders_ends_with_its_time() -> Result<()> {
    let (place, cotter) = (Place::new("dead")?, cotter(LEASE).await?);
    let key = place.at("x");
    let dying = Program::start(&Client::Redisson, &server()?)?;
    let holder = dying.session("dead", SHORT_LEASE).await?.seat("a");
    granted(holder.lock("lock", &key, SOON).await?)?;
    // Longer than the lock lasts if the watchdog does not prolong it.
    let refused = cotter.lock(&key).acquire().within(SHORT_LEASE + SHORT_LEASE / 2).await;
    assert_eq!(refused.expect_err("held all the time").kind(), Kind::TimedOut);
    dying.kill()?;
    cotter.lock(&key).acquire().within(SOON).await?.release().await?;
    Ok(())
}

#[tokio::test]
async fn a_string_of_the_same_name_is_told_and_not_overwritten() -> Result<()> {
    let (place, cotter) = (Place::new("string")?, cotter(LEASE).await?);
    let key = place.text("x", "somebody's")?;
    let error = cotter.lock(&key).try_acquire().await.expect_err("not a lock of Redisson's");
    assert_eq!(error.kind(), Kind::Incompatible, "{error}");
    assert!(error.to_string().contains("string"), "{error}");
    assert_eq!(place.ask(&["GET", &key])?.text(), Some("somebody's"));
    Ok(())
}

#[tokio::test]
async fn java_holders_are_shown_and_listed() -> Result<()> {
    let (place, cotter) = (Place::new("shown")?, cotter(LEASE).await?);
    let java = seat(redisson()?, "shown", LEASE).await?;
    let key = place.at("x");
    let grant = granted(java.lock("lock", &key, SOON).await?)?;
    let line = cotter.lock(&key).line_up().await?;
    let [holder] = &line.holders[..] else { panic!("{line:?}") };
    assert!(holder.note.contains(&grant.node), "{holder:?}");
    assert_eq!(holder.token, None);
    let ours = cotter.lock(place.at("y")).acquire().within(SOON).await?;
    let names: Vec<_> = cotter.names(&place.at("")).await?;
    let names: Vec<_> = names.iter().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(names, [place.at("x"), place.at("y")]);
    ours.release().await?;
    java.unlock("lock", &key).await
}
