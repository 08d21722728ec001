//! Semaphores, as Curator's `InterProcessSemaphoreV2` keeps them.
//!
//! ```text
//!   <lock>/locks     a line like a mutex's: who is first in it may take permits
//!   <lock>/leases    one child for each permit that is taken, whatever it is called
//!
//!   claim ─► create in locks ─► first there? ─► room in leases? ─► multi: create the leases,
//!            and list all           │ no            │ no                  delete from locks
//!            (one flight)           ▼               ▼                     (one exchange, all
//!                              wait in line    wait for a child           or nothing)
//!                                              of leases to go
//! ```
//!
//! Only the first of `locks` may add to `leases`, and everybody else only takes from it. So if
//! there was room in a list that was made while we were first, there still is. The first stays
//! first while it waits for room: a claim for many permits is not overtaken by claims for few.
//!
//! Curator keeps nowhere how many permits there are. cotter writes it into the names of its nodes,
//! so two of its clients that do not agree find out, and so does one that uses the name as a lock.

use cotter_core::contract::{Answer, Claim, ClaimId, Grant, Mode, Patience, Why};
use cotter_core::{Error, Kind, Result};
use cotter_zk::{Answered, Code, CreateKind, Op, OpResult, Outcome, Pending, Stat, Watch};

use crate::fault::{failed, found, is_no_node};
use crate::layout::{Contender, lease_prefix, line};
use crate::line::Seat;
use crate::place::{Place, Spot};
use crate::record;
use crate::shared::{PARENTS_MADE_MAX, Shared, below};

/// The node under a semaphore that is its line.
pub(crate) const LOCKS: &str = "locks";
/// The node under a semaphore whose children are the permits that are taken.
pub(crate) const LEASES: &str = "leases";

/// The most permits of one claim: each is a node, and all are made in one request, which servers
/// take up to a megabyte of.
const COUNT_MAX: u32 = 256;

/// A claim for permits.
pub(crate) struct Permits {
    id: ClaimId,
    count: u32,
    limit: u32,
    data: Vec<u8>,
    /// `<lock>/locks`, `<lock>/leases`, `<lock>`.
    dirs: [String; 3],
    pub(crate) seat: Seat,
    /// Whether it was looked at how others use the name.
    is_checked: bool,
    is_first: bool,
    /// The permits it has.
    pub(crate) leases: Vec<String>,
    /// A request that would have changed where it stands has had no answer: it must be looked for.
    pub(crate) is_unsure: bool,
}

type Listing = Pending<(Vec<String>, Stat)>;
type Listed = Result<Answered<(Vec<String>, Stat)>, cotter_zk::Error>;

/// Whether a node with these children is used as a semaphore, or was.
pub(crate) fn may_be_semaphore(children: &[String]) -> bool {
    children.iter().any(|child| child == LOCKS || child == LEASES)
}

/// The children of a directory that may not be there.
fn children_of(listed: Listed) -> Result<Vec<String>> {
    let listed = found("looking at the semaphore", listed)?;
    Ok(listed.map(|answered| answered.value.0).unwrap_or_default())
}

/// Whether these nodes use the name as this mode does. Those of other clients do not say.
fn agree<'a>(nodes: impl IntoIterator<Item = &'a String>, own: &str, mode: Mode) -> Result<()> {
    for node in nodes.into_iter().filter(|node| *node != own) {
        let said = Contender::parse(node).and_then(|contender| contender.permits());
        if let Some((count, limit)) = said {
            cotter_core::queue::agree(Some(Mode::Permits { count, limit }), mode)?;
        }
    }
    Ok(())
}

impl Shared {
    /// Fails if this lock's name is in use as a semaphore.
    pub(crate) async fn refuse_semaphore(&self, lock: &str, mode: Mode) -> Result<()> {
        let locks = self.client.children(&below(lock, LOCKS));
        let leases = self.client.children(&below(lock, LEASES));
        let (locks, leases) = (children_of(locks.await)?, children_of(leases.await)?);
        if locks.is_empty() && leases.is_empty() {
            return Ok(());
        }
        agree(locks.iter().chain(&leases), "", mode)?;
        Err(Error::new(
            Kind::Incompatible,
            "others use this name as a semaphore, this claim as a lock; agree on one, or use \
             another name",
        ))
    }

    pub(crate) async fn claim_permits(
        &self,
        claim: &Claim,
        (count, limit): (u32, u32),
    ) -> Result<Answer<Place>> {
        if count > COUNT_MAX {
            return Err(Error::new(
                Kind::Unsupported,
                format!("{count} permits were asked for at once, {COUNT_MAX} are allowed"),
            ));
        }
        if self.own.path(claim.id).is_some() {
            // The same claim once more. What it has may be in two directories: it begins anew.
            self.withdraw_unknown(claim).await?;
        }
        let lock = self.lock_path(&claim.name)?;
        let dirs = [below(&lock, LOCKS), below(&lock, LEASES), lock];
        let [locks, leases, lock] = &dirs;
        let prefix = below(locks, &self.config.layout.prefix(claim));
        let data = record::written(claim, &self.bearer, self.config.layout);
        for _ in 0..PARENTS_MADE_MAX {
            let kind = CreateKind::EphemeralSequential;
            let creating = self.client.create(&prefix, &data, kind, &self.acl);
            let listing = self.list_all(&dirs);
            let created = match creating.await {
                Ok(created) => created,
                Err(error) if is_no_node(&error) => {
                    self.make_parents(locks).await?;
                    self.make_parents(leases).await?;
                    continue;
                }
                Err(error) => return Err(failed("taking a place in line", error)),
            };
            let seat = Seat::new(locks, &created.value)?;
            self.own.enter(claim.id, vec![created.value.path], seat.czxid, created.sent_at);
            let permits = Permits {
                id: claim.id,
                count,
                limit,
                data,
                dirs: dirs.clone(),
                seat,
                is_checked: false,
                is_first: false,
                leases: Vec::new(),
                is_unsure: false,
            };
            return self.queued(claim, permits, listing).await;
        }
        Err(Error::new(Kind::Store, format!("{lock} vanished {PARENTS_MADE_MAX} times in a row")))
    }

    async fn queued(
        &self,
        claim: &Claim,
        mut permits: Permits,
        listing: [Listing; 3],
    ) -> Result<Answer<Place>> {
        let grant = match self.first_look(&mut permits, listing).await {
            Ok(grant) => grant,
            // The place is ours; whose turn it is can be asked again.
            Err(error)
                if error.kind() == Kind::Unreachable
                    && !permits.is_unsure
                    && claim.patience == Patience::Wait =>
            {
                None
            }
            // An unknown outcome is looked for by id.
            Err(error) if permits.is_unsure => return Err(error.maybe_applied()),
            Err(error) => {
                self.take_back(claim, &permits.seat).await?;
                return Err(error);
            }
        };
        match grant {
            Some(grant) => Ok(Answer::Granted(grant, Place::of(Spot::Permits(permits)))),
            None if claim.patience == Patience::Wait => {
                Ok(Answer::Queued(Place::of(Spot::Permits(permits))))
            }
            None => {
                self.take_back(claim, &permits.seat).await?;
                Ok(Answer::Busy)
            }
        }
    }

    fn list_all(&self, dirs: &[String; 3]) -> [Listing; 3] {
        dirs.each_ref().map(|dir| self.client.children(dir))
    }

    async fn first_look(
        &self,
        permits: &mut Permits,
        listing: [Listing; 3],
    ) -> Result<Option<Grant>> {
        let [locks, leases, lock] = listing;
        let (locks, leases) = (children_of(locks.await)?, children_of(leases.await)?);
        let lock = children_of(lock.await)?;
        permits.seat.check_number(self.config.sequence_max)?;
        let mode = permits.mode();
        agree(locks.iter().chain(&leases), &permits.seat.node, mode)?;
        if let Some(other) = line(&lock).first() {
            cotter_core::queue::agree(Some(other.mode()), mode)?;
        }
        permits.is_checked = true;
        permits.is_first = match permits.seat.is_first(&locks) {
            // It vanished since: whoever waits will see, and claims anew.
            Err(error) if error.kind() == Kind::Lost => return Ok(None),
            other => other?,
        };
        if !permits.is_first || !permits.fits(leases.len()) {
            return Ok(None);
        }
        for _ in 0..PARENTS_MADE_MAX {
            // Only the first of the line makes leases, and they were made for us to take.
            if let Some(grant) = self.take(permits).await? {
                return Ok(Some(grant));
            }
        }
        Ok(None)
    }

    pub(crate) async fn wait_permits(&self, claim: &Claim, permits: &mut Permits) -> Result<Grant> {
        if permits.is_unsure {
            return Err(Error::lost(Why::Vanished));
        }
        if !permits.is_checked {
            let listing = self.list_all(&permits.dirs);
            if let Some(grant) = self.first_look(permits, listing).await? {
                return Ok(grant);
            }
        }
        if !permits.is_first {
            self.wait_first(claim, &mut permits.seat).await?;
            permits.is_first = true;
            let (path, czxid) = (permits.seat.path(), permits.seat.czxid);
            self.own.enter(claim.id, vec![path], czxid, self.env.now());
        }
        let mut rounds = self.rounds.subscribe();
        loop {
            let listed = self.client.children_watched(&permits.dirs[1]).await;
            let room: Option<Watch> = match found("looking at the permits", listed)? {
                Some(Answered { value: (children, _, watch), .. }) => {
                    (!permits.fits(children.len())).then_some(watch)
                }
                None => None,
            };
            let Some(watch) = room else {
                if let Some(grant) = self.take(permits).await? {
                    return Ok(grant);
                }
                continue;
            };
            tokio::select! {
                biased;
                _ = watch => {}
                _ = rounds.changed() => {}
            }
        }
    }

    /// Takes the permits and leaves the line, in one transaction. `None`: the directory was gone,
    /// and is there again.
    async fn take(&self, permits: &mut Permits) -> Result<Option<Grant>> {
        let leases = &permits.dirs[1];
        let prefix = below(leases, &lease_prefix(permits.id, permits.count, permits.limit));
        let own = permits.seat.path();
        let create = Op::Create {
            path: &prefix,
            data: &permits.data,
            kind: CreateKind::EphemeralSequential,
            acl: &self.acl,
        };
        let mut steps = vec![create; permits.count as usize];
        steps.push(Op::Delete { path: &own, version: None });
        permits.is_unsure = true;
        // Its place in line ends with this: what is heard of it from here on is our own doing.
        self.own.enter(permits.id, Vec::new(), permits.seat.czxid, self.env.now());
        let answer = self.client.multi(&steps).await;
        permits.is_unsure = answer.as_ref().is_err_and(|error| error.outcome() == Outcome::Unknown);
        let answered = match answer {
            Ok(answered) => answered,
            Err(error) => {
                if !permits.is_unsure {
                    let czxid = permits.seat.czxid;
                    self.own.enter(permits.id, vec![own.clone()], czxid, self.env.now());
                }
                return match error {
                    cotter_zk::Error::Multi { index, code: Code::NoNode } => {
                        if index == steps.len() - 1 {
                            return Err(Error::lost(Why::Vanished));
                        }
                        self.make_parents(leases).await?;
                        Ok(None)
                    }
                    error => Err(failed("taking the permits", error)),
                };
            }
        };
        permits.leases = answered
            .value
            .into_iter()
            .filter_map(|step| match step {
                OpResult::Created { path, .. } => Some(path),
                _ => None,
            })
            .collect();
        let leases = permits.leases.clone();
        self.own.enter(permits.id, leases, answered.zxid, answered.sent_at);
        // The servers of 3.8 give no usable Stat for a node made in a multi; its transaction is
        // the answer's.
        Ok(Some(self.grant(answered.zxid)))
    }
}

impl Permits {
    fn mode(&self) -> Mode {
        Mode::Permits { count: self.count, limit: self.limit }
    }

    /// Whether there is room beside so many permits that are taken.
    fn fits(&self, taken: usize) -> bool {
        taken.saturating_add(self.count as usize) <= self.limit as usize
    }

    /// The nodes that it is made of now.
    pub(crate) fn nodes(&self) -> Vec<String> {
        if self.leases.is_empty() { vec![self.seat.path()] } else { self.leases.clone() }
    }
}
