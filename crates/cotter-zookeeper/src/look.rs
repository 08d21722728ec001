//! Looking: who holds and waits, which names are in use, when something changes.
//!
//! Nodes of other clients are shown as well as they can be: by their session and by what they wrote
//! into them. A look is several requests in two flights, not one moment: a node that vanished
//! between the two is left out.

use std::time::{Duration, UNIX_EPOCH};

use cotter_core::contract::{ClaimId, FencingToken, LineUp, Mode, Waiter};
use cotter_core::env::wall_clock;
use cotter_core::queue::admitted;
use cotter_core::{LockName, Result};
use cotter_zk::{Stat, Watch};

use crate::fault::{failed, found};
use crate::layout::{Contender, line};
use crate::path::Names;
use crate::permits::{LEASES, LOCKS, may_be_semaphore};
use crate::record::read;
use crate::shared::{Shared, below};

/// Nodes that are read in one flight.
const FLIGHT: usize = 512;

/// With `names=path`: how deep locks may lie, and how many nodes are looked at. It is a walk.
const DEPTH_MAX: usize = 16;
const NODES_MAX: usize = 100_000;

/// One node of a line, as it was read.
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) data: Vec<u8>,
    pub(crate) stat: Stat,
    mode: Mode,
    id: Option<ClaimId>,
    /// How many permits of how many, if its name tells.
    permits: Option<(u32, u32)>,
}

/// The nodes of a lock, in the order of their lines.
#[derive(Default)]
pub(crate) struct Lines {
    /// Its own line.
    pub(crate) line: Vec<Seen>,
    /// The line for permits.
    pub(crate) locks: Vec<Seen>,
    /// The permits that are taken.
    pub(crate) leases: Vec<Seen>,
}

impl Lines {
    /// A client of Curator's makes its lease before there is room for it, while it is the first of
    /// those who wait. Where it is known how many permits there are, it does not hold one yet.
    fn leave_out_waiting_leases(&mut self) {
        let all = self.leases.iter().chain(&self.locks);
        let limit = all.filter_map(|seen| seen.permits).map(|(_, limit)| limit).max();
        if let Some(limit) = limit
            && !self.locks.is_empty()
        {
            self.leases.truncate(limit as usize);
        }
    }

    /// How many at the front of the lock's own line hold it.
    pub(crate) fn holding(&self) -> usize {
        admitted(self.line.iter().map(|seen| seen.mode))
    }

    /// The nodes that hold: of the line, and the permits.
    pub(crate) fn holders(&self) -> impl Iterator<Item = &Seen> {
        self.line[..self.holding()].iter().chain(&self.leases)
    }
}

impl Shared {
    pub(crate) async fn inspect(&self, name: &LockName) -> Result<LineUp> {
        let lines = self.lines(name).await?;
        let holding = lines.holding();
        let mut holders: Vec<Waiter> = Vec::new();
        let mut waiters = Vec::new();
        for (index, seen) in lines.line.into_iter().enumerate() {
            let to = if index < holding { &mut holders } else { &mut waiters };
            to.push(seen.shown());
        }
        for seen in lines.leases {
            let shown = seen.shown();
            // A claim for several permits is several nodes.
            if holders.last().is_none_or(|last| last.id != shown.id) {
                holders.push(shown);
            }
        }
        waiters.extend(lines.locks.into_iter().map(Seen::shown));
        Ok(LineUp { name: name.clone(), holders, waiters })
    }

    /// Reads all nodes of a lock.
    pub(crate) async fn lines(&self, name: &LockName) -> Result<Lines> {
        let lock = self.lock_path(name)?;
        if !self.config.is_fair {
            return self.alone(&lock).await;
        }
        let listed = found("looking at the line", self.client.children(&lock).await)?;
        let Some(listed) = listed else { return Ok(Lines::default()) };
        let children = listed.value.0;
        let mut lines = Lines { line: self.read_all(&lock, &children).await?, ..Lines::default() };
        if may_be_semaphore(&children) {
            let (locks, leases) = (below(&lock, LOCKS), below(&lock, LEASES));
            let (first, second) = (self.client.children(&locks), self.client.children(&leases));
            if let Some(listed) = found("looking at the line", first.await)? {
                lines.locks = self.read_all(&locks, &listed.value.0).await?;
            }
            if let Some(listed) = found("looking at the permits", second.await)? {
                lines.leases = self.read_all(&leases, &listed.value.0).await?;
            }
            lines.leave_out_waiting_leases();
        }
        Ok(lines)
    }

    /// The one node of a lock without a line.
    async fn alone(&self, path: &str) -> Result<Lines> {
        let node = found("looking at the lock's node", self.client.data(path).await)?;
        let line = node.filter(|node| node.value.1.ephemeral_owner != 0).map(|node| {
            let (data, stat) = node.value;
            let mode = Mode::Exclusive;
            let id = match read(&data) {
                crate::record::Said::Ours(record) => record.id(),
                _ => None,
            };
            Seen { path: path.to_owned(), data, stat, mode, id, permits: None }
        });
        Ok(Lines { line: line.into_iter().collect(), ..Lines::default() })
    }

    async fn read_all(&self, dir: &str, children: &[String]) -> Result<Vec<Seen>> {
        let mut all = Vec::with_capacity(children.len());
        for flight in line(children).chunks(FLIGHT) {
            let reading: Vec<_> = flight
                .iter()
                .map(|contender| {
                    let path = below(dir, contender.name);
                    (self.client.data(&path), path, contender)
                })
                .collect();
            for (read, path, contender) in reading {
                let Some(answered) = found("reading the line", read.await)? else { continue };
                let (data, stat) = answered.value;
                let (mode, id) = (contender.mode(), contender.id());
                let permits = contender.permits();
                all.push(Seen { path, data, stat, mode, id, permits });
            }
        }
        Ok(all)
    }

    /// The names that somebody holds or waits for.
    pub(crate) async fn names(&self, prefix: &str) -> Result<Vec<LockName>> {
        let mut names = match self.config.root.names {
            Names::Flat => self.flat_names(prefix).await?,
            Names::Path => self.path_names(prefix).await?,
        };
        names.sort();
        Ok(names)
    }

    async fn flat_names(&self, prefix: &str) -> Result<Vec<LockName>> {
        let root = self.config.root.node();
        let listed = found("listing the locks", self.client.children(root).await)?;
        let Some(listed) = listed else { return Ok(Vec::new()) };
        let candidates: Vec<(LockName, String)> = listed
            .value
            .0
            .iter()
            .filter_map(|child| Some((self.config.root.name_of(child)?, below(root, child))))
            .filter(|(name, _)| name.as_str().starts_with(prefix))
            .collect();
        let mut names = Vec::new();
        for flight in candidates.chunks(FLIGHT) {
            let paths: Vec<&str> = flight.iter().map(|(_, path)| path.as_str()).collect();
            let used = self.are_used(&paths).await?;
            let both = flight.iter().zip(used);
            names.extend(both.filter(|(_, used)| used.is_used).map(|((name, _), _)| name.clone()));
        }
        Ok(names)
    }

    async fn path_names(&self, prefix: &str) -> Result<Vec<LockName>> {
        let root = self.config.root.node().to_owned();
        let mut names = Vec::new();
        let mut looked_at = 0;
        let mut level = vec![(String::new(), root)];
        for _ in 0..DEPTH_MAX {
            let mut next = Vec::new();
            for flight in level.chunks(FLIGHT) {
                let paths: Vec<&str> = flight.iter().map(|(_, path)| path.as_str()).collect();
                for ((name, path), used) in flight.iter().zip(self.are_used(&paths).await?) {
                    if used.is_used && name.starts_with(prefix) {
                        names.extend(LockName::new(name));
                    }
                    next.extend(used.others.into_iter().map(|child| {
                        let below_it = below(path, &child);
                        let name = if name.is_empty() { child } else { format!("{name}/{child}") };
                        (name, below_it)
                    }));
                }
            }
            looked_at += next.len();
            if next.is_empty() || looked_at > NODES_MAX {
                break;
            }
            level = next;
        }
        Ok(names)
    }

    async fn are_used(&self, paths: &[&str]) -> Result<Vec<Used>> {
        let listing: Vec<_> = paths.iter().map(|path| self.client.children(path)).collect();
        let mut all = Vec::with_capacity(paths.len());
        for (path, listed) in paths.iter().zip(listing) {
            let listed = match listed.await {
                // A node that we may not read is not one of our locks.
                Err(error) if error.code() == Some(cotter_zk::Code::NoAuth) => None,
                other => found("listing the locks", other)?,
            };
            let Some(listed) = listed else {
                all.push(Used { is_used: false, others: Vec::new() });
                continue;
            };
            let (children, stat) = listed.value;
            let (line, others): (Vec<_>, Vec<_>) =
                children.into_iter().partition(|child| Contender::parse(child).is_some());
            let mut is_used =
                !line.is_empty() || (!self.config.is_fair && stat.ephemeral_owner != 0);
            if !is_used && may_be_semaphore(&others) {
                let (locks, leases) = (below(path, LOCKS), below(path, LEASES));
                let (first, second) = (self.client.exists(&locks), self.client.exists(&leases));
                for seen in [first.await, second.await] {
                    let stat = seen.map_err(|error| failed("listing the locks", error))?.value;
                    is_used |= stat.is_some_and(|stat| stat.num_children > 0);
                }
            }
            let others = others.into_iter().filter(|child| child != LOCKS && child != LEASES);
            all.push(Used { is_used, others: others.collect() });
        }
        Ok(all)
    }

    /// Resolves when the line may have changed.
    pub(crate) async fn changed(&self, name: &LockName) {
        let Ok(lock) = self.lock_path(name) else { return };
        let (locks, leases) = (below(&lock, LOCKS), below(&lock, LEASES));
        let watching = [&lock, &locks, &leases].map(|dir| self.client.children_watched(dir));
        let mut watches: Vec<Watch> = Vec::new();
        for (index, watching) in watching.into_iter().enumerate() {
            match watching.await {
                Ok(answered) => watches.push(answered.value.2),
                // Nobody uses it yet: wait until it is made.
                Err(_) if index == 0 => {
                    if let Ok(answered) = self.client.exists_watched(&lock).await {
                        watches.push(answered.value.1);
                    }
                    break;
                }
                Err(_) => {}
            }
        }
        if watches.is_empty() {
            // No news will come from here; whoever asked looks again by himself.
            return std::future::pending().await;
        }
        futures_util::future::select_all(watches).await;
    }
}

/// What the children of a node say of it as a lock.
struct Used {
    is_used: bool,
    /// Children that are no contenders.
    others: Vec<String>,
}

impl Seen {
    /// The token of its grant, held or to come.
    pub(crate) fn token(&self) -> FencingToken {
        FencingToken::new(self.stat.czxid.unsigned_abs())
    }

    /// As people see it.
    fn shown(self) -> Waiter {
        let id = self.id.or_else(|| match read(&self.data) {
            crate::record::Said::Ours(record) => record.id(),
            _ => None,
        });
        // Of a stranger the transaction is as good an id as any: nobody else has it.
        let id = id.unwrap_or_else(|| ClaimId::new(u128::from(self.token().number())));
        let token = Some(self.token());
        // For display: the server's clock and ours may differ.
        let made = UNIX_EPOCH + Duration::from_millis(self.stat.ctime.unsigned_abs());
        let age = wall_clock().duration_since(made).ok();
        let (bearer, note) = read(&self.data).shown(self.stat.ephemeral_owner);
        Waiter { id, token, mode: self.mode, bearer, note, age }
    }
}
