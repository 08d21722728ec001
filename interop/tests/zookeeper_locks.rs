//! cotter's lock, Curator's and kazoo's on one path: they exclude each other, wait in one line,
//! draw from one row of tokens, see each other, and can ask each other for the lock.

mod common;

use std::collections::VecDeque;

use common::{NOT_AT_ALL, Place, SESSION, SOON, curator, granted, kazoo, seat, turn};
use cotter::zookeeper::ZooKeeperSession;
use cotter::{Cotter, Evicted, FencingToken, Kind, Left, LockGuard, LockName};
use cotter_interop::{Failure, Program, Reply, Result, Seat, eventually, within};
use tokio::task::JoinHandle;

async fn is_busy(cotter: &Cotter, name: &str) -> Result<bool> {
    match cotter.lock(name).acquire().within(NOT_AT_ALL).await {
        Ok(_guard) => Ok(false),
        Err(error) if error.kind() == Kind::TimedOut => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// One after the other holds the lock, and the other one does not get it meanwhile.
async fn exclude_each_other(
    test: &str,
    options: &str,
    (program, kind): (&'static Program, &str),
) -> Result<()> {
    let place = Place::new(test).await?;
    let (cotter, path) = (place.cotter(options).await?, place.lasting("x").await?);
    let foreign = seat(program, test).await?;

    let guard = cotter.lock("x").acquire().within(SOON).await?;
    let first = guard.token();
    assert_eq!(foreign.lock(kind, &path, NOT_AT_ALL).await?, None, "cotter holds it");
    assert_eq!(guard.release().await?, Left::Released);

    let second = granted(foreign.lock(kind, &path, SOON).await?)?;
    assert!(is_busy(&cotter, "x").await?, "the other one holds it");
    assert!(cotter.lock("x").try_acquire().await?.is_none());
    foreign.unlock(kind, &path).await?;

    let third = cotter.lock("x").acquire().within(SOON).await?.token();
    assert!(first.number() < second.token && second.token < third.number());
    Ok(())
}

#[tokio::test]
async fn cotter_and_curator_exclude_each_other() -> Result<()> {
    exclude_each_other("curator", "", (curator()?, "mutex")).await
}

#[tokio::test]
async fn cotter_and_kazoo_with_curators_names_exclude_each_other() -> Result<()> {
    exclude_each_other("kazoo-curator", "", (kazoo()?, "curator")).await
}

#[tokio::test]
async fn cotter_and_kazoo_with_extra_patterns_exclude_each_other() -> Result<()> {
    exclude_each_other("kazoo-extra", "", (kazoo()?, "extra")).await
}

#[tokio::test]
async fn cotter_in_kazoos_layout_and_kazoo_as_it_comes_exclude_each_other() -> Result<()> {
    exclude_each_other("kazoo-default", "&layout=kazoo", (kazoo()?, "default")).await
}

#[tokio::test]
async fn cotter_in_the_plain_layout_and_curator_exclude_each_other() -> Result<()> {
    exclude_each_other("plain-curator", "&layout=plain", (curator()?, "mutex")).await
}

#[tokio::test]
async fn cotter_in_the_plain_layout_and_kazoo_with_extra_patterns_exclude_each_other() -> Result<()>
{
    exclude_each_other("plain-kazoo", "&layout=plain", (kazoo()?, "extra")).await
}

#[tokio::test]
async fn a_name_may_be_the_path_that_others_use() -> Result<()> {
    let place = Place::new("paths").await?;
    let foreign = seat(curator()?, "paths").await?;
    let cotter = place.cotter("&names=path").await?;
    granted(foreign.lock("mutex", &place.at("a/b"), SOON).await?)?;
    assert!(is_busy(&cotter, "a/b").await?);
    // By default a slash is a part of the name, so that no lock is under another one.
    let flat = place.cotter("").await?;
    let guard = flat.lock("a/b").acquire().within(SOON).await?;
    assert_eq!(foreign.lock("mutex", &place.at("a%2Fb"), NOT_AT_ALL).await?, None);
    guard.release().await?;
    Ok(())
}

/// One who waits in a line, of whichever client.
enum Waiting {
    Cotter(JoinHandle<cotter::Result<LockGuard>>),
    Foreign(Seat<'static>, &'static str, Reply),
}

impl Waiting {
    fn cotter(cotter: &Cotter, name: &str) -> Self {
        let lock = cotter.lock(name);
        Self::Cotter(cotter.env().spawn(async move { lock.acquire().within(SOON).await }))
    }

    fn foreign(seat: Seat<'static>, kind: &'static str, path: &str) -> Self {
        let reply = seat.begin_lock(kind, path, SOON);
        Self::Foreign(seat, kind, reply)
    }

    fn has_a_turn(&self) -> bool {
        match self {
            Self::Cotter(task) => task.is_finished(),
            Self::Foreign(_, _, reply) => !reply.is_pending(),
        }
    }
}

#[tokio::test]
async fn all_clients_wait_in_one_line() -> Result<()> {
    let place = Place::new("line").await?;
    let (cotter, path) = (place.cotter("").await?, place.lasting("x").await?);
    let java = curator()?.session("line", SESSION).await?;
    let python = kazoo()?.session("line", SESSION).await?;
    let first = cotter.lock("x").acquire().within(SOON).await?;

    let mut line = VecDeque::new();
    for (index, client) in "jcpcjpjcpcc".chars().enumerate() {
        line.push_back(match client {
            'j' => Waiting::foreign(java.seat(&index.to_string()), "mutex", &path),
            'p' => Waiting::foreign(python.seat(&index.to_string()), "curator", &path),
            _ => Waiting::cotter(&cotter, "x"),
        });
        place.line_is(&path, line.len() + 1).await?;
    }

    let mut last = first.token().number();
    assert_eq!(first.release().await?, Left::Released);
    while let Some(next) = line.pop_front() {
        let (token, held) = match next {
            Waiting::Cotter(task) => {
                let guard = within("a turn", task).await???;
                (guard.token().number(), Held::Cotter(guard))
            }
            Waiting::Foreign(seat, kind, reply) => {
                (turn(reply).await?.token, Held::Foreign(seat, kind))
            }
        };
        assert!(!line.iter().any(Waiting::has_a_turn), "{} still wait", line.len());
        assert!(last < token, "{last} before {token}");
        last = token;
        match held {
            Held::Cotter(guard) => assert_eq!(guard.release().await?, Left::Released),
            Held::Foreign(seat, kind) => seat.unlock(kind, &path).await?,
        }
    }
    Ok(())
}

enum Held {
    Cotter(LockGuard),
    Foreign(Seat<'static>, &'static str),
}

#[tokio::test]
async fn a_waiter_that_is_dropped_leaves_no_gap() -> Result<()> {
    let place = Place::new("gap").await?;
    let (cotter, path) = (place.cotter("").await?, place.lasting("x").await?);
    let java = curator()?.session("gap", SESSION).await?;
    let (holder, behind) = (java.seat("holder"), java.seat("behind"));
    granted(holder.lock("mutex", &path, SOON).await?)?;
    let lock = cotter.lock("x");
    let between = cotter.env().spawn(async move { lock.acquire().await.map(drop) });
    place.line_is(&path, 2).await?;
    let behind_it = behind.begin_lock("mutex", &path, SOON);
    place.line_is(&path, 3).await?;

    between.abort();
    place.line_is(&path, 2).await?;
    // One that gives up after a while behind all of them.
    assert!(is_busy(&cotter, "x").await?);
    place.line_is(&path, 2).await?;
    assert!(behind_it.is_pending(), "the first one holds the lock");
    holder.unlock("mutex", &path).await?;
    turn(behind_it).await?;
    behind.unlock("mutex", &path).await?;
    assert!(!is_busy(&cotter, "x").await?);
    Ok(())
}

#[tokio::test]
async fn a_line_up_shows_foreign_clients_and_their_tokens() -> Result<()> {
    let place = Place::new("line-up").await?;
    let (cotter, path) = (place.cotter("").await?, place.lasting("x").await?);
    let java = seat(curator()?, "line-up").await?;
    let python = seat(kazoo()?, "line-up").await?;
    let holder = granted(java.lock("mutex", &path, SOON).await?)?;
    let second = python.begin_lock("curator", &path, SOON);
    place.line_is(&path, 2).await?;
    let lock = cotter.lock("x");
    let third = cotter.env().spawn(async move { lock.acquire().note("third").await });
    place.line_is(&path, 3).await?;

    let line_up = cotter.lock("x").line_up().await?;
    assert_eq!(line_up.holders.len(), 1, "{line_up:?}");
    assert_eq!(line_up.holders[0].token, Some(FencingToken::new(holder.token)));
    let notes: Vec<&str> = line_up.waiters.iter().map(|waiter| waiter.note.as_str()).collect();
    assert_eq!(notes, ["curator", "third"], "kazoo says the kind of its lock: {line_up:?}");

    java.unlock("mutex", &path).await?;
    let second = turn(second).await?;
    let line_up = cotter.lock("x").line_up().await?;
    assert_eq!(line_up.holders[0].token, Some(FencingToken::new(second.token)));
    python.unlock("curator", &path).await?;
    let third = third.await??;
    assert!(third.token().number() > second.token);
    // And kazoo can read what cotter writes.
    let contenders = python.ask(&format!("contenders curator {path}")).await?;
    assert!(contenders.contains("third"), "{contenders}");
    Ok(())
}

#[tokio::test]
async fn curators_revoker_asks_cotter_for_the_lock() -> Result<()> {
    let place = Place::new("asked").await?;
    let (cotter, path) = (place.cotter("").await?, place.at("x"));
    let java = seat(curator()?, "asked").await?;
    let guard = cotter.lock("x").acquire().within(SOON).await?;
    let node = place.children(&path).await?.remove(0);
    java.ask(&format!("revoke {path}/{node}")).await?;
    within("the request to release", guard.asked_back()).await?;
    guard.check()?;
    assert_eq!(guard.release().await?, Left::Released);
    Ok(())
}

#[tokio::test]
async fn cotter_asks_a_holder_of_curator_for_the_lock() -> Result<()> {
    let place = Place::new("asks").await?;
    let (cotter, path) = (place.cotter("").await?, place.at("x"));
    let java = seat(curator()?, "asks").await?;
    let holder = granted(java.lock("revocable", &path, SOON).await?)?;
    // Any guard of the client leads to its session.
    let other = cotter.lock("y").acquire().within(SOON).await?;
    let session = other.native::<ZooKeeperSession>().ok_or(Failure::new("ZooKeeper's session"))?;
    let (name, token) = (LockName::new("x")?, FencingToken::new(holder.token));
    assert!(!session.ask_to_release(&name, other.token()).await?, "it does not hold this lock");
    assert!(session.ask_to_release(&name, token).await?);
    curator()?.news(&format!("asks/a asked {path}")).await?;
    java.unlock("revocable", &path).await
}

#[tokio::test]
async fn a_holder_of_cotter_whose_node_is_removed_is_told() -> Result<()> {
    let place = Place::new("removed").await?;
    let (cotter, path) = (place.cotter("").await?, place.lasting("x").await?);
    let java = seat(curator()?, "removed").await?;
    let guard = cotter.lock("x").acquire().within(SOON).await?;
    let node = place.children(&path).await?.remove(0);
    java.ask(&format!("rm {path}/{node}")).await?;
    within("the loss", guard.lost()).await?;
    assert_eq!(guard.check().map_err(|error| error.kind()), Err(Kind::Lost));
    granted(java.lock("mutex", &path, SOON).await?)?;
    Ok(())
}

#[tokio::test]
async fn evicting_takes_the_lock_from_a_foreign_holder() -> Result<()> {
    let place = Place::new("evicted").await?;
    let (cotter, path) = (place.cotter("").await?, place.at("x"));
    let java = seat(curator()?, "evicted").await?;
    let holder = granted(java.lock("mutex", &path, SOON).await?)?;
    let wrong = FencingToken::new(holder.token - 1);
    let lock = cotter.lock("x");
    let token = FencingToken::new(holder.token);
    assert_eq!(lock.evict(wrong, "not this one").await?, Evicted::NotHolder(vec![token]));
    assert_eq!(lock.evict(token, "by the test").await?, Evicted::Done);
    let is_free = async || Ok(place.children(&path).await?.is_empty());
    eventually("the node to go", is_free).await?;
    let guard = lock.acquire().within(SOON).await?;
    assert!(guard.token() > token);
    Ok(())
}
