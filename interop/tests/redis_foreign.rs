//! Foreign clients of Redis among themselves: what the tests with cotter stand on.
//!
//! If they did not exclude each other where they should, or did where they should not, the tests
//! beside this one would prove nothing.

mod redis;

use cotter_interop::{Result, Seat};
use redis::{
    LEASE, NOT_AT_ALL, Place, SHORT_LEASE, SOON, granted, node, python, redisson, seat, turn,
};

/// Clients that set a string if there is none: each holds, and none of the others gets it.
#[tokio::test]
async fn clients_that_set_a_string_exclude_each_other() -> Result<()> {
    let place = Place::new("strings")?;
    // pottery puts this before its names.
    let key = format!("redlock:{}", place.at("x"));
    let session = python()?.session("strings", LEASE).await?;
    let seats: [(Seat<'_>, &str); 3] = [
        (session.seat("redis-py"), "redis-py"),
        (session.seat("pottery"), "pottery"),
        (seat(node()?, "strings", LEASE).await?, "redlock"),
    ];
    for (holder, kind) in &seats {
        granted(holder.lock(kind, &key, SOON).await?)?;
        for (other, other_kind) in seats.iter().filter(|(_, other)| other != kind) {
            assert_eq!(other.lock(other_kind, &key, NOT_AT_ALL).await?, None, "{other_kind}");
        }
        holder.unlock(kind, &key).await?;
    }
    Ok(())
}

#[tokio::test]
async fn redissons_lock_and_its_fenced_lock_are_one_lock_and_only_one_counts() -> Result<()> {
    let place = Place::new("fenced")?;
    let session = redisson()?.session("fenced", LEASE).await?;
    let (a, b, key) = (session.seat("a"), session.seat("b"), place.at("x"));

    let first = granted(a.lock("fenced", &key, SOON).await?)?;
    assert_eq!(b.lock("lock", &key, NOT_AT_ALL).await?, None);
    a.unlock("fenced", &key).await?;
    granted(b.lock("lock", &key, SOON).await?)?;
    assert_eq!(a.lock("fenced", &key, NOT_AT_ALL).await?, None);
    b.unlock("lock", &key).await?;
    let second = granted(a.lock("fenced", &key, SOON).await?)?;
    assert_eq!((first.token, second.token), (1, 2));
    Ok(())
}

/// The reason why cotter waits for both.
#[tokio::test]
async fn redissons_lock_and_its_read_write_lock_do_not_exclude_each_other() -> Result<()> {
    let place = Place::new("both")?;
    let session = redisson()?.session("both", LEASE).await?;
    let (a, b, key) = (session.seat("a"), session.seat("b"), place.at("x"));
    granted(a.lock("lock", &key, SOON).await?)?;
    granted(b.lock("write", &key, SOON).await?)?;
    Ok(())
}

#[tokio::test]
async fn redissons_readers_share_and_its_writers_do_not() -> Result<()> {
    let place = Place::new("readers")?;
    let session = redisson()?.session("readers", LEASE).await?;
    let (a, b, c) = (session.seat("a"), session.seat("b"), session.seat("c"));
    let key = place.at("x");
    granted(a.lock("read", &key, SOON).await?)?;
    granted(b.lock("read", &key, SOON).await?)?;
    assert_eq!(c.lock("write", &key, NOT_AT_ALL).await?, None);
    a.unlock("read", &key).await?;
    let waits = c.begin_lock("write", &key, SOON);
    b.unlock("read", &key).await?;
    turn(waits).await?;
    assert_eq!(a.lock("read", &key, NOT_AT_ALL).await?, None);
    Ok(())
}

/// The two families do not mix on one name, but nobody is let in beside the other.
#[tokio::test]
async fn a_string_stops_redisson_and_redissons_hash_stops_the_others() -> Result<()> {
    let place = Place::new("types")?;
    let java = seat(redisson()?, "types", LEASE).await?;
    let script = seat(node()?, "types", LEASE).await?;
    let (string, hash) = (place.at("string"), place.at("hash"));

    granted(script.lock("redlock", &string, SOON).await?)?;
    let refused = java.lock("lock", &string, NOT_AT_ALL).await;
    let words = refused.map_or_else(|failure| failure.to_string(), |grant| format!("{grant:?}"));
    assert!(words.contains("WRONGTYPE"), "{words}");

    granted(java.lock("lock", &hash, SOON).await?)?;
    assert_eq!(script.lock("redlock", &hash, NOT_AT_ALL).await?, None);
    Ok(())
}

#[tokio::test]
async fn the_lock_of_a_dead_redisson_lasts_as_long_as_its_watchdog_says() -> Result<()> {
    let place = Place::new("dead")?;
    let key = place.at("x");
    let dying =
        cotter_interop::Program::start(&cotter_interop::Client::Redisson, &redis::server()?)?;
    let holder = dying.session("dead", SHORT_LEASE).await?.seat("a");
    granted(holder.lock("lock", &key, SOON).await?)?;
    dying.kill()?;
    let left_ms = place.number(&["PTTL", &key])?;
    assert!(left_ms > 0 && left_ms <= 3_000, "{left_ms}");
    let waits = seat(redisson()?, "dead", LEASE).await?;
    granted(waits.lock("lock", &key, SOON).await?)?;
    Ok(())
}
