//! cotter's lock on etcd, that of Go's `concurrency` package and `etcdctl` on one prefix: they
//! exclude each other, wait in one line, draw from one row of tokens, and see each other.

mod etcd;

use std::collections::VecDeque;

use cotter::{Cotter, Evicted, FencingToken, Kind, Left, LockGuard};
use cotter_interop::{Reply, Result, Seat, eventually, within};
use etcd::{LEASE, NOT_AT_ALL, Place, Running, SOON, go, granted, seat, turn};
use tokio::task::JoinHandle;

async fn is_busy(cotter: &Cotter, name: &str) -> Result<bool> {
    match cotter.lock(name).acquire().within(NOT_AT_ALL).await {
        Ok(_guard) => Ok(false),
        Err(error) if error.kind() == Kind::TimedOut => Ok(true),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn cotter_and_go_exclude_each_other_and_see_the_same_token() -> Result<()> {
    let place = Place::new("locks").await?;
    let (cotter, path) = (place.cotter("").await?, place.at("x"));
    let foreign = seat("locks").await?;

    let guard = cotter.lock("x").acquire().within(SOON).await?;
    let first = guard.token();
    assert_eq!(foreign.lock("mutex", &path, NOT_AT_ALL).await?, None, "cotter holds it");
    assert_eq!(foreign.lock("try", &path, SOON).await?, None, "cotter holds it");
    // What Go reads of cotter's key is cotter's token.
    let key = place.line(&path).await?.remove(0);
    assert_eq!(place.created(&format!("{path}/{key}")).await?, first.number());
    assert_eq!(guard.release().await?, Left::Released);

    let second = granted(foreign.lock("mutex", &path, SOON).await?)?;
    assert!(is_busy(&cotter, "x").await?, "Go holds it");
    assert!(cotter.lock("x").try_acquire().await?.is_none());
    // What cotter reads of Go's key is what Go calls its create revision.
    let line_up = cotter.lock("x").line_up().await?;
    assert_eq!(line_up.holders[0].token, Some(FencingToken::new(second.token)), "{line_up:?}");
    assert_eq!(foreign.ask(&format!("is-owner {path}")).await?, "owner true");
    foreign.unlock("mutex", &path).await?;

    let third = cotter.lock("x").acquire().within(SOON).await?.token();
    assert!(first.number() < second.token && second.token < third.number());
    Ok(())
}

#[tokio::test]
async fn cotter_and_etcdctl_exclude_each_other() -> Result<()> {
    let place = Place::new("ctl").await?;
    let (cotter, path) = (place.cotter("").await?, place.at("x"));
    let guard = cotter.lock("x").acquire().within(SOON).await?;
    let token = guard.token();
    let ctl = Running::start(&["lock", &path])?;
    place.line_is(&path, 2).await?;
    guard.release().await?;
    place.line_is(&path, 1).await?;
    assert!(is_busy(&cotter, "x").await?, "etcdctl holds it");
    let lock = cotter.lock("x");
    let waits = cotter.env().spawn(async move { lock.acquire().within(SOON).await });
    place.line_is(&path, 2).await?;
    ctl.interrupt()?;
    let next = within("the turn of cotter", waits).await???;
    assert!(next.token() > token);
    Ok(())
}

/// The other number that is called a token: that of the answer that granted it. Go programs use it,
/// and `etcdctl` gives it to its command.
#[tokio::test]
async fn tokens_may_be_the_revisions_of_grants() -> Result<()> {
    let place = Place::new("grants").await?;
    let (cotter, path) = (place.cotter("&token=grant_revision").await?, place.at("x"));
    let foreign = seat("grants").await?;
    let revision = async || -> Result<u64> {
        let answer = foreign.ask(&format!("revision {path}")).await?;
        Ok(answer.strip_prefix("revision ").unwrap_or("").parse()?)
    };
    let mut last = 0;
    for _ in 0..3 {
        granted(foreign.lock("mutex", &path, SOON).await?)?;
        let of_go = revision().await?;
        assert!(last < of_go, "{last} before {of_go}");
        let lock = cotter.lock("x");
        let waits = cotter.env().spawn(async move { lock.acquire().within(SOON).await });
        place.line_is(&path, 2).await?;
        // Its key is made before this, and its grant comes behind it.
        place.key("beside", "written").await?;
        let behind = place.created(&place.at("beside")).await?;
        foreign.unlock("mutex", &path).await?;
        let guard = within("the turn of cotter", waits).await???;
        assert!(guard.token().number() > of_go, "{} after {of_go}", guard.token());
        assert!(guard.token().number() > behind, "it is the grant's, not the key's");
        last = guard.token().number();
        guard.release().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_name_may_be_the_prefix_that_others_use() -> Result<()> {
    let place = Place::new("paths").await?;
    let foreign = seat("paths").await?;
    let cotter = place.cotter("&names=raw").await?;
    granted(foreign.lock("mutex", &place.at("a/b"), SOON).await?)?;
    assert!(is_busy(&cotter, "a/b").await?);
    // That is what Go does, too: `a` waits for whoever holds `a/b`.
    assert!(is_busy(&cotter, "a").await?);
    // By default a slash is a part of the name, so that no lock is under another one.
    let flat = place.cotter("").await?;
    let outer = flat.lock("a/b").acquire().within(SOON).await?;
    let inner = flat.lock("c").acquire().within(SOON).await?;
    assert!(!is_busy(&flat, "a/b/c").await?);
    assert_eq!(foreign.lock("mutex", &place.at("a%2Fb"), NOT_AT_ALL).await?, None);
    drop((outer, inner));
    Ok(())
}

/// One who waits in a line, of whichever client.
enum Waiting {
    Cotter(JoinHandle<cotter::Result<LockGuard>>),
    Foreign(Seat<'static>, Reply),
}

impl Waiting {
    fn has_a_turn(&self) -> bool {
        match self {
            Self::Cotter(task) => task.is_finished(),
            Self::Foreign(_, reply) => !reply.is_pending(),
        }
    }
}

#[tokio::test]
async fn all_clients_wait_in_one_line() -> Result<()> {
    let place = Place::new("line").await?;
    let (cotter, path) = (place.cotter("").await?, place.at("x"));
    let first = cotter.lock("x").acquire().within(SOON).await?;
    let mut line = VecDeque::new();
    for (index, client) in "gcgccgcccgg".chars().enumerate() {
        line.push_back(if client == 'g' {
            // Those of one session share a place.
            let seat = seat(&format!("line-{index}")).await?;
            let reply = seat.begin_lock("mutex", &path, SOON);
            Waiting::Foreign(seat, reply)
        } else {
            let lock = cotter.lock("x");
            Waiting::Cotter(cotter.env().spawn(async move { lock.acquire().within(SOON).await }))
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
            Waiting::Foreign(seat, reply) => (turn(reply).await?.token, Held::Foreign(seat)),
        };
        assert!(!line.iter().any(Waiting::has_a_turn), "{} still wait", line.len());
        assert!(last < token, "{last} before {token}");
        last = token;
        match held {
            Held::Cotter(guard) => assert_eq!(guard.release().await?, Left::Released),
            Held::Foreign(seat) => seat.unlock("mutex", &path).await?,
        }
    }
    Ok(())
}

enum Held {
    Cotter(LockGuard),
    Foreign(Seat<'static>),
}

#[tokio::test]
async fn a_waiter_that_is_dropped_leaves_no_gap() -> Result<()> {
    let place = Place::new("gap").await?;
    let (cotter, path) = (place.cotter("").await?, place.at("x"));
    let (holder, behind) = (seat("gap-holder").await?, seat("gap-behind").await?);
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
async fn an_observer_of_go_sees_leaders_of_cotter_and_the_other_way_round() -> Result<()> {
    let place = Place::new("leads").await?;
    let (cotter, path) = (place.cotter("").await?, place.at("e"));
    let session = go()?.session("leads-observer", LEASE).await?;
    session.seat("o").ask(&format!("observe {path}")).await?;
    let election = cotter.election("e");
    let leads = election.campaign("rust").within(SOON).await?;
    go()?.news(&format!("leads-observer/o leads {path} rust")).await?;
    let told = session.seat("p").ask(&format!("leader {path}")).await?;
    assert!(told.ends_with(" rust"), "{told}");

    let rival = seat("leads-rival").await?;
    let campaign = rival.begin_lock("election", &path, SOON);
    place.line_is(&path, 2).await?;
    assert!(campaign.is_pending());
    leads.release().await?;
    let next = turn(campaign).await?;
    let leader = election.leader().await?;
    let leader = leader.ok_or(cotter_interop::Failure::new("somebody leads"))?;
    assert_eq!(leader.value, "leads-rival/a", "{leader:?}");
    assert_eq!(leader.token, Some(FencingToken::new(next.token)), "{leader:?}");
    go()?.news(&format!("leads-observer/o leads {path} leads-rival/a")).await?;
    rival.unlock("election", &path).await
}

#[tokio::test]
async fn a_holder_of_cotter_whose_key_is_removed_is_told() -> Result<()> {
    let place = Place::new("removed").await?;
    let (cotter, path) = (place.cotter("").await?, place.at("x"));
    let foreign = seat("removed").await?;
    let guard = cotter.lock("x").acquire().within(SOON).await?;
    let key = place.line(&path).await?.remove(0);
    foreign.ask(&format!("rm {path}/{key}")).await?;
    within("the loss", guard.lost()).await?;
    assert_eq!(guard.check().map_err(|error| error.kind()), Err(Kind::Lost));
    granted(foreign.lock("mutex", &path, SOON).await?)?;
    Ok(())
}

#[tokio::test]
async fn evicting_takes_the_lock_from_a_foreign_holder() -> Result<()> {
    let place = Place::new("evicted").await?;
    let (cotter, path) = (place.cotter("").await?, place.at("x"));
    let foreign = seat("evicted").await?;
    let holder = granted(foreign.lock("mutex", &path, SOON).await?)?;
    let wrong = FencingToken::new(holder.token - 1);
    let lock = cotter.lock("x");
    let token = FencingToken::new(holder.token);
    assert_eq!(lock.evict(wrong, "not this one").await?, Evicted::NotHolder(vec![token]));
    assert_eq!(lock.evict(token, "by the test").await?, Evicted::Done);
    let is_free = async || Ok(place.line(&path).await?.is_empty());
    eventually("the key to go", is_free).await?;
    let guard = lock.acquire().within(SOON).await?;
    assert!(guard.token() > token);
    // A Go program that asks before it writes is refused.
    assert_eq!(foreign.ask(&format!("is-owner {path}")).await?, "owner false");
    Ok(())
}
