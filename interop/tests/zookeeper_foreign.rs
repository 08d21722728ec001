//! Foreign clients among themselves: what the tests with cotter stand on.
//!
//! If Curator and kazoo did not exclude each other where they should, or did where they should
//! not, the tests beside this one would prove nothing. The last test is the reason for a warning
//! of `cotter doctor`: it is true.

mod common;

use common::{NOT_AT_ALL, Place, SESSION, SOON, curator, granted, kazoo, seat, turn};
use cotter_interop::{Reply, Result};

#[tokio::test]
async fn curator_and_kazoo_with_curators_names_exclude_each_other() -> Result<()> {
    let place = Place::new("exclude").await?;
    let java = seat(curator()?, "exclude").await?;
    let python = seat(kazoo()?, "exclude").await?;
    let path = place.lasting("x").await?;

    let first = granted(java.lock("mutex", &path, SOON).await?)?;
    assert_eq!(python.lock("curator", &path, NOT_AT_ALL).await?, None);
    java.unlock("mutex", &path).await?;
    let second = granted(python.lock("curator", &path, SOON).await?)?;
    assert_eq!(java.lock("mutex", &path, NOT_AT_ALL).await?, None);
    python.unlock("curator", &path).await?;
    let third = granted(java.lock("mutex", &path, SOON).await?)?;
    assert!(first.token < second.token && second.token < third.token);
    Ok(())
}

#[tokio::test]
async fn curator_and_kazoo_wait_in_one_line() -> Result<()> {
    let place = Place::new("line").await?;
    let java = curator()?.session("line", SESSION).await?;
    let python = kazoo()?.session("line", SESSION).await?;
    let (holder, path) = (java.seat("holder"), place.lasting("x").await?);
    let seats = [
        (python.seat("b"), "curator"),
        (java.seat("c"), "mutex"),
        (python.seat("d"), "curator"),
        (java.seat("e"), "mutex"),
    ];
    let first = granted(holder.lock("mutex", &path, SOON).await?)?;
    let mut replies = Vec::new();
    for (index, (seat, kind)) in seats.iter().enumerate() {
        replies.push(seat.begin_lock(kind, &path, SOON));
        place.line_is(&path, index + 2).await?;
    }
    holder.unlock("mutex", &path).await?;
    let mut last = first.token;
    for (seat, kind) in &seats {
        let grant = turn(replies.remove(0)).await?;
        assert!(replies.iter().all(Reply::is_pending), "only one has its turn");
        assert!(last < grant.token, "{last} before {grant:?}");
        last = grant.token;
        seat.unlock(kind, &path).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_revoked_holder_of_curator_hears_it() -> Result<()> {
    let place = Place::new("revoked").await?;
    let java = curator()?.session("revoked", SESSION).await?;
    let (holder, path) = (java.seat("holder"), place.at("x"));
    let grant = granted(holder.lock("revocable", &path, SOON).await?)?;
    java.seat("asks").ask(&format!("revoke {}", grant.node)).await?;
    curator()?.news(&format!("revoked/holder asked {path}")).await?;
    holder.unlock("revocable", &path).await
}

#[tokio::test]
async fn curator_and_kazoos_own_lock_do_not_exclude_each_other() -> Result<()> {
    let place = Place::new("mixed").await?;
    let java = seat(curator()?, "mixed").await?;
    let python = seat(kazoo()?, "mixed").await?;

    let (first, second) = (place.at("x"), place.at("y"));
    granted(java.lock("mutex", &first, SOON).await?)?;
    granted(python.lock("default", &first, SOON).await?)?;
    granted(python.lock("default", &second, SOON).await?)?;
    granted(java.lock("mutex", &second, SOON).await?)?;
    Ok(())
}

#[tokio::test]
async fn kazoos_own_lock_with_extra_patterns_waits_for_curator_but_not_the_other_way_round()
-> Result<()> {
    let place = Place::new("extra").await?;
    let java = seat(curator()?, "extra").await?;
    let python = seat(kazoo()?, "extra").await?;

    let (first, second) = (place.at("x"), place.at("y"));
    granted(java.lock("mutex", &first, SOON).await?)?;
    assert_eq!(python.lock("extra", &first, NOT_AT_ALL).await?, None);
    granted(python.lock("extra", &second, SOON).await?)?;
    granted(java.lock("mutex", &second, SOON).await?)?;
    Ok(())
}
