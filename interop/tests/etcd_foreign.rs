//! Foreign clients of etcd among themselves: what the tests with cotter stand on.
//!
//! If they did not exclude each other where they should, or did where they should not, the tests
//! beside this one would prove nothing.

mod etcd;

use cotter_interop::{Client, Program, Result, eventually};
use etcd::{
    LEASE, NOT_AT_ALL, Place, Running, SHORT_LEASE, SOON, ctl, go, granted, seat, server, turn,
};

#[tokio::test]
async fn two_of_go_exclude_each_other_and_their_tokens_rise() -> Result<()> {
    let place = Place::new("go-go").await?;
    let (a, b, path) = (seat("go-go-a").await?, seat("go-go-b").await?, place.at("x"));
    let first = granted(a.lock("mutex", &path, SOON).await?)?;
    assert_eq!(b.lock("mutex", &path, NOT_AT_ALL).await?, None);
    assert_eq!(b.lock("try", &path, SOON).await?, None);
    place.line_is(&path, 1).await?;
    assert_eq!(a.ask(&format!("is-owner {path}")).await?, "owner true");
    let waits = b.begin_lock("mutex", &path, SOON);
    place.line_is(&path, 2).await?;
    a.unlock("mutex", &path).await?;
    let second = turn(waits).await?;
    assert!(second.token > first.token);
    assert!(second.node.starts_with(&format!("{path}/")), "{second:?}");
    b.unlock("mutex", &path).await
}

#[tokio::test]
async fn etcdctl_and_go_exclude_each_other() -> Result<()> {
    let place = Place::new("ctl-go").await?;
    let (a, path) = (seat("ctl-go-a").await?, place.at("x"));
    granted(a.lock("mutex", &path, SOON).await?)?;
    let ctl = Running::start(&["lock", &path])?;
    place.line_is(&path, 2).await?;
    a.unlock("mutex", &path).await?;
    place.line_is(&path, 1).await?;
    assert_eq!(a.lock("mutex", &path, NOT_AT_ALL).await?, None);
    ctl.interrupt()?;
    granted(a.lock("mutex", &path, SOON).await?)?;
    a.unlock("mutex", &path).await
}

/// What `etcdctl` tells its command is the revision of the grant, which after a wait is not that of
/// its key: the two kinds of token must not be mixed.
#[tokio::test]
async fn etcdctls_token_is_not_the_create_revision_after_a_wait() -> Result<()> {
    let place = Place::new("ctl-token").await?;
    let (a, path, seen) = (seat("ctl-token-a").await?, place.at("x"), place.at("seen"));
    granted(a.lock("mutex", &path, SOON).await?)?;
    let tells = format!("etcdctl put {seen} \"$ETCD_LOCK_KEY $ETCD_LOCK_REV\"");
    let _waits = Running::start(&["lock", &path, "--", "sh", "-c", &tells])?;
    place.line_is(&path, 2).await?;
    // Something else is written while it waits.
    place.key("other", "text").await?;
    let ctl = ctl()?;
    let created = ctl.run(&["get", &format!("{path}/"), "--prefix", "--write-out=json"])?;
    a.unlock("mutex", &path).await?;
    eventually("etcdctl's turn", async || Ok(!place.text(&seen).await?.is_empty())).await?;
    let said = place.text(&seen).await?;
    let (key, revision) = said.split_once(' ').unwrap_or_default();
    assert!(key.starts_with(&format!("{path}/")), "{said}");
    let is_create = created.contains(&format!("\"create_revision\":{revision},"));
    assert!(!is_create && revision.parse::<u64>().is_ok(), "{said} of {created}");
    Ok(())
}

/// A lock `a` waits for the holder of `a/b`, although nobody holds `a`: why cotter encodes names.
#[tokio::test]
async fn go_takes_nested_names_for_one_line() -> Result<()> {
    let place = Place::new("nested").await?;
    let (a, b) = (seat("nested-a").await?, seat("nested-b").await?);
    granted(a.lock("mutex", &place.at("x/y"), SOON).await?)?;
    assert_eq!(b.lock("mutex", &place.at("x"), NOT_AT_ALL).await?, None);
    Ok(())
}

#[tokio::test]
async fn an_observer_sees_each_leader_of_go() -> Result<()> {
    let place = Place::new("leaders").await?;
    let (session, path) = (go()?.session("leaders", LEASE).await?, place.at("x"));
    session.seat("o").ask(&format!("observe {path}")).await?;
    let leads = seat("leads").await?;
    granted(leads.lock("election", &path, SOON).await?)?;
    go()?.news(&format!("leaders/o leads {path} leads/a")).await?;
    leads.ask(&format!("proclaim {path} again")).await?;
    go()?.news(&format!("leaders/o leads {path} again")).await?;
    leads.unlock("election", &path).await
}

#[tokio::test]
async fn a_dead_go_is_followed_when_its_lease_is_over() -> Result<()> {
    let place = Place::new("dead-go").await?;
    let path = place.at("x");
    let dying = Program::start(&Client::Go, &server()?)?;
    let holder = dying.session("dead", SHORT_LEASE).await?.seat("a");
    granted(holder.lock("mutex", &path, SOON).await?)?;
    let waits = seat("dead-go-b").await?;
    let waiting = waits.begin_lock("mutex", &path, SOON);
    place.line_is(&path, 2).await?;
    dying.kill()?;
    turn(waiting).await?;
    waits.unlock("mutex", &path).await
}
