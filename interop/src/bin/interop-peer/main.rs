//! cotter behind the line protocol of the foreign programs (`README.md`), for tests that kill it or
//! let it work beside them. It ends with its input.
//!
//! A session is a [`Cotter`] and, for the counter of a stress, a client of its own: what the lock
//! protects is written by other means than the lock. The server is a ZooKeeper's address, or
//! `redis:` or `etcd:` and the address of one of those.
//!
//! ```text
//!   stdin ── "7 s a lock mutex /t/x 1000" ──► obey, a task each ──► "7 ok granted 42 -" ── stdout
//!                     │ session s, seat a        guards by session, seat, kind and path
//! ```
#![forbid(unsafe_code)]

mod counters;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cotter::env::Env;
use cotter::{Cotter, FencingToken, LockGuard, ReadGuard, WriteGuard};
use cotter_interop::{Failure, Result};
use counters::{Counters, Redis};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

/// How long one turn of a stress may take; a line that stands still is a failure.
const TURN_MAX: Duration = Duration::from_secs(60);

/// How long somebody impatient waits at most: about as long as a few grants take, so that some of
/// its waits end with the lock and most do not.
const IMPATIENT_MAX_US: u64 = 20_000;

/// What an open session has.
#[derive(Clone)]
struct Session {
    cotter: Cotter,
    counters: Arc<Counters>,
    /// What stands before the names of its locks in their paths.
    root: String,
}

/// A lock of any kind that is held.
enum Held {
    Mutex(LockGuard),
    Read(ReadGuard),
    Write(WriteGuard),
}

struct Peer {
    server: String,
    env: Env,
    sessions: Mutex<HashMap<String, Session>>,
    held: Mutex<HashMap<String, Held>>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let server = std::env::args()
        .nth(1)
        .ok_or(Failure::new("usage: interop-peer [redis:|etcd:]HOST:PORT"))?;
    let peer = Arc::new(Peer {
        server,
        env: Env::system()?,
        sessions: Mutex::default(),
        held: Mutex::default(),
    });
    let mut orders = BufReader::new(stdin()).lines();
    while let Some(order) = orders.next_line().await? {
        let own = Arc::clone(&peer);
        // Orders are carried out side by side, so that one may wait in line while others go on.
        drop(peer.env.spawn(async move {
            let (number, order) = order.split_once(' ').unwrap_or((&order, ""));
            match own.obey(order).await {
                Ok(answer) => println!("{number} ok {answer}"),
                Err(failure) => println!("{number} failed {failure}"),
            }
        }));
    }
    Ok(())
}

impl Peer {
    async fn obey(&self, order: &str) -> Result<String> {
        let words: Vec<&str> = order.split(' ').collect();
        match words[..] {
            [session, _, "open", path, options] => self.open(session, path, options).await,
            [session, seat, "lock", kind, path, limit_ms] => {
                let limit = Duration::from_millis(limit_ms.parse()?);
                let Some(held) = self.session(session)?.take(kind, path, limit).await? else {
                    return Ok("busy".to_owned());
                };
                let token = held.token();
                locked(&self.held).insert(key(session, seat, kind, path), held);
                // Which node it is, tests read from the line.
                Ok(format!("granted {token} -"))
            }
            [session, seat, "unlock", kind, path] => {
                let held = locked(&self.held).remove(&key(session, seat, kind, path));
                held.ok_or(Failure::new("it is not held here"))?.give_back().await?;
                Ok("released".to_owned())
            }
            [session, _, "stress", kind, path, counter, goal] => {
                self.session(session)?.stress(kind, path, counter, goal.parse()?).await
            }
            [session, _, "mingle", kind, path, room, rounds] => {
                self.session(session)?.mingle(kind, path, room, rounds.parse()?).await
            }
            [session, _, "mingle-permits", count, path, limit, room, rounds] => {
                let many = (count.parse()?, limit.parse()?);
                self.session(session)?.mingle_permits(many, path, room, rounds.parse()?).await
            }
            _ => Err(Failure::new(format!("there is no order {order:?}"))),
        }
    }

    async fn open(&self, name: &str, path: &str, options: &str) -> Result<String> {
        let (redis, etcd) = (self.server.strip_prefix("redis:"), self.server.strip_prefix("etcd:"));
        let root = format!("{path}/");
        let (url, counters, root) = match (redis, etcd) {
            // A path is a key, and a key a name.
            (Some(server), _) => {
                let counters = Counters::Redis(Redis::connect(server).await?);
                (format!("redis://{server}?{options}"), counters, String::new())
            }
            (_, Some(server)) => {
                let settings = cotter_etcd::client::Settings::new(vec![server.to_owned()]);
                let client = cotter_etcd::client::Client::connect(&self.env, settings).await?;
                (format!("etcd://{server}{path}?{options}"), Counters::Etcd(client), root)
            }
            _ => {
                let servers = self.server.split(',').map(str::to_owned).collect();
                let config = cotter_zk::Config::new(servers, Duration::from_secs(10));
                let client = cotter_zk::Client::connect(&self.env, config).await?;
                let url = format!("zookeeper://{}{path}?{options}", self.server);
                (url, Counters::ZooKeeper(client), root)
            }
        };
        let cotter = Cotter::connect(&url).await?;
        let session = Session { cotter, counters: Arc::new(counters), root };
        locked(&self.sessions).insert(name.to_owned(), session);
        Ok("open".to_owned())
    }

    fn session(&self, name: &str) -> Result<Session> {
        let session = locked(&self.sessions).get(name).cloned();
        session.ok_or_else(|| Failure::new(format!("session {name} is not open")))
    }
}

impl Session {
    /// Waits for a lock this long.
    async fn take(&self, kind: &str, path: &str, limit: Duration) -> Result<Option<Held>> {
        let name = self.name(path)?;
        let pair = self.cotter.rw_lock(name);
        let taken = match kind {
            "mutex" => self.cotter.lock(name).acquire().within(limit).await.map(Held::Mutex),
            "read" => pair.read().within(limit).await.map(Held::Read),
            "write" => pair.write().within(limit).await.map(Held::Write),
            _ => return Err(Failure::new(format!("there is no kind of lock {kind:?}"))),
        };
        match taken {
            Ok(held) => Ok(Some(held)),
            Err(error) if error.kind() == cotter::Kind::TimedOut => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for a lock, or asks for it again and again with little patience, which leaves the line
    /// in the middle of whatever is under way.
    async fn take_at_last(&self, kind: &str, path: &str) -> Result<Held> {
        let env = self.cotter.env();
        let until = env.now().after(TURN_MAX);
        while env.now() < until {
            let (kind, limit) = match kind {
                "impatient" => ("mutex", Duration::from_micros(env.random() % IMPATIENT_MAX_US)),
                _ => (kind, TURN_MAX),
            };
            if let Some(held) = self.take(kind, path, limit).await? {
                return Ok(held);
            }
        }
        Err(Failure::new(format!("no turn within {TURN_MAX:?}")))
    }

    /// Takes the lock again and again until the counter it protects has reached the goal.
    async fn stress(&self, kind: &str, path: &str, counter: &str, goal: u64) -> Result<String> {
        for own in 0u64.. {
            let held = self.take_at_last(kind, path).await?;
            let goes_on = self.increment(counter, goal, held.token()).await;
            held.give_back().await?;
            if !goes_on? {
                return Ok(format!("done {own}"));
            }
        }
        Err(Failure::new("nobody counts that far"))
    }

    /// Reads or writes again and again, in a room where that shows.
    async fn mingle(&self, kind: &str, path: &str, room: &str, rounds: u64) -> Result<String> {
        let role = if kind == "read" { "r" } else { "w" };
        for _ in 0..rounds {
            let held = self.take_at_last(kind, path).await?;
            self.show(room, role, 1, 0).await?;
            held.give_back().await?;
        }
        Ok(format!("done {rounds}"))
    }

    /// Takes so many of all permits again and again, in a room where that shows.
    async fn mingle_permits(
        &self,
        (count, limit): (u32, u32),
        path: &str,
        room: &str,
        rounds: u64,
    ) -> Result<String> {
        let semaphore = self.cotter.semaphore(self.name(path)?, limit);
        for _ in 0..rounds {
            let permits = semaphore.acquire_many(count).within(TURN_MAX).await?;
            self.show(room, "p", count, limit).await?;
            if permits.release().await? != cotter::Left::Released {
                return Err(Failure::new("the permits were gone"));
            }
        }
        Ok(format!("done {rounds}"))
    }

    /// Steps into a room in which a holder shows itself while it holds: a reader as "r", a writer
    /// as "w", each permit as "p"; and out of it. Fails if those who are there may not be there
    /// together. The list is not old: the own entries were made after all that was done before
    /// the grant.
    async fn show(&self, room: &str, role: &str, count: u32, permits: u32) -> Result<()> {
        let mut own = Vec::new();
        for _ in 0..count {
            own.push(self.counters.enter(self.cotter.env(), room, role).await?);
        }
        let inside = self.counters.inside(room).await?;
        let has_writer = inside.iter().any(|name| name.starts_with('w'));
        let is_crowded = role == "p" && inside.len() > permits as usize;
        if is_crowded || (has_writer && inside.len() > 1) {
            return Err(Failure::new(format!("together in {room}: {inside:?}")));
        }
        for entry in own {
            self.counters.leave(room, &entry).await?;
        }
        Ok(())
    }

    /// The name of the lock at a path.
    fn name<'p>(&self, path: &'p str) -> Result<&'p str> {
        path.strip_prefix(&self.root).ok_or(Failure::new("a path below the session's"))
    }

    /// Adds one to a counter in the way that loses increments where two hold the lock: read, then
    /// write without asking for the version. Beside the count stands the token of the last holder.
    /// False if the goal was reached already.
    async fn increment(&self, counter: &str, goal: u64, token: FencingToken) -> Result<bool> {
        let text = self.counters.text(counter).await?;
        let (count, last) = text.split_once(' ').ok_or(Failure::new("a count and a token"))?;
        let (count, last): (u64, FencingToken) = (count.parse()?, last.parse()?);
        if token <= last {
            return Err(Failure::new(format!("token {token} after {last}")));
        }
        if count >= goal {
            return Ok(false);
        }
        self.counters.set(counter, &format!("{} {token}", count + 1)).await?;
        Ok(true)
    }
}

impl Held {
    fn token(&self) -> FencingToken {
        match self {
            Held::Mutex(guard) => guard.token(),
            Held::Read(guard) => guard.token(),
            Held::Write(guard) => guard.token(),
        }
    }

    async fn give_back(self) -> Result<()> {
        let left = match self {
            Held::Mutex(guard) => guard.release().await?,
            Held::Read(guard) => guard.release().await?,
            Held::Write(guard) => guard.release().await?,
        };
        match left {
            cotter::Left::Released => Ok(()),
            gone => Err(Failure::new(format!("when it was given back: {gone:?}"))),
        }
    }
}

fn key(session: &str, seat: &str, kind: &str, path: &str) -> String {
    format!("{session} {seat} {kind} {path}")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these; should it, what they guard is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
