//! A place in a line, and the way to its front.
//!
//! ```text
//!            create + list, one flight
//!   claim ──────────────────────────────► nobody ahead: holds
//!                 │ somebody ahead
//!                 ▼
//!              ┌ Arm ──► watch `nearest` and `before`, one flight ──► Watch
//!     list     │                                                      │  │  │
//!   ┌───────── Look ◄─── `nearest` went, but `before` was ahead too ──┘  │  │
//!   │           ▲ └───── `before` went ─────────────────────────────────┘  │
//!   │ nobody    └─────── a renewal says: look again                         │
//!   ▼ ahead                                                                 ▼
//!   holds ◄────────── `nearest` went, and nobody else was ahead of us ◄─────┘
//! ```
//!
//! A line only grows at its end: a node's number is higher than all that were given before it. So
//! once a list has shown that one node alone is in our way, its deletion *is* our turn, and the
//! hand-over costs the time in which a delete goes up and an event comes down. To know it in time,
//! a waiter also watches the node before that one: when that goes, it lists again, while somebody
//! else still holds the lock. `models/` has this with waiters that leave and sessions that end.
//!
//! One client makes the first sentence untrue: a writer of Curator's may also read, and then puts a
//! node with *its own number* behind its writer's node before it deletes that one. So a foreign
//! writer's deletion is never a writer's turn by itself: the line is listed again.
//!
//! Watches are set by reading a node's data: on a node that is gone that leaves no watch behind,
//! and tells. Each waiter has two watches, however long the line is, besides the one on its own
//! node (`own`).
//!
//! That nobody is ahead in the view of *our* server is enough: it has applied our own create, so
//! all that were ahead and are gone from it are gone from the store's own order as well. What our
//! server may not know is that our session has ended; that is what the lease is for.

use cotter_core::contract::{Answer, Claim, ClaimId, Grant, Mode, Patience, Why};
use cotter_core::{Error, Kind, Result};
use cotter_zk::{Answered, CreateKind, Created, State, Watch, WatchEventKind};

use crate::fault::{failed, found, is_no_node};
use crate::layout::{self, Contender, Rank, Role, Way, way};
use crate::permits;
use crate::place::{Place, Spot};
use crate::record::{self, Said};
use crate::shared::{PARENTS_MADE_MAX, Shared, below, node_of};
use crate::trail::{Guard, Trail};

/// A node in a line.
pub(crate) struct Seat {
    /// The line: the node that the contenders are children of.
    pub(crate) dir: String,
    /// Our own node in it.
    pub(crate) node: String,
    pub(crate) czxid: i64,
    rank: Rank,
    is_shared: bool,
    /// Whether the first look was taken: at its number, and at how others use the name.
    is_checked: bool,
    /// While we wait, our own node is watched from here; it is asked for before the others are.
    own: Option<Watch>,
    stage: Stage,
    /// What we knew of the line when we came.
    trail: Option<Trail>,
    /// Whether it has come to hold: nobody was ahead then.
    has_held: bool,
    leaves_no_trail: bool,
}

enum Stage {
    /// Who is in the way is not known. One of them may be watched already.
    Look { kept: Option<Watched> },
    /// These are in the way, and are to be watched.
    Arm { nearest: String, before: Option<String> },
    /// They are watched.
    Watch { nearest: Watched, before: Option<Watched> },
}

type Reading = cotter_zk::Pending<(Vec<u8>, cotter_zk::Stat, Watch)>;

/// Tells whether the connection was another one in between.
type Connection = tokio::sync::watch::Receiver<State>;

struct Watched {
    node: String,
    watch: Watch,
    /// Whether nothing can stand where it stood once it is gone.
    leaves_room: bool,
    /// Unchanged for as long as it is the connection on which the watch was set. Another one
    /// brings what was missed in an order of its own: that our own node is gone may come last.
    connection: Connection,
}

impl Seat {
    /// The seat that a created node is. It knows nothing of the line yet.
    pub(crate) fn new(dir: &str, created: &Created) -> Result<Self> {
        let node = node_of(&created.path);
        let Some(Contender { rank, role, .. }) = Contender::parse(node) else {
            let what = format!("the server made {:?}, which is no place in a line", created.path);
            return Err(Error::new(Kind::Store, what).maybe_applied());
        };
        Ok(Self {
            dir: dir.to_owned(),
            node: node.to_owned(),
            czxid: created.stat.czxid,
            rank,
            is_shared: role == Role::Shared,
            is_checked: false,
            own: None,
            stage: Stage::Look { kept: None },
            trail: None,
            has_held: false,
            leaves_no_trail: false,
        })
    }

    pub(crate) fn path(&self) -> String {
        below(&self.dir, &self.node)
    }

    /// Looks at the children of the line. `true`: nobody is ahead.
    pub(crate) fn is_first(&mut self, children: &[String]) -> Result<bool> {
        match way(children, &self.node, self.rank, self.is_shared) {
            Way::Free => Ok(true),
            Way::Gone => Err(Error::lost(Why::Vanished)),
            Way::Barred { nearest, before } => {
                self.stage = self.keep_watching(nearest, before);
                Ok(false)
            }
        }
    }

    /// The next stage. Whoever is watched already needs no other watch.
    fn keep_watching(&mut self, nearest: String, before: Option<String>) -> Stage {
        match std::mem::replace(&mut self.stage, Stage::Look { kept: None }) {
            Stage::Look { kept: Some(kept) } if kept.node == nearest && before.is_none() => {
                Stage::Watch { nearest: kept, before: None }
            }
            _ => Stage::Arm { nearest, before },
        }
    }

    /// What is next after news that are not the turn. Whose watch has not fired is still watched.
    fn hear(&mut self, news: Option<WatchEventKind>, whose: Whose) -> Result<()> {
        if whose == Whose::Own {
            self.own = None;
            if news == Some(WatchEventKind::Deleted) {
                return Err(Error::lost(Why::Vanished));
            }
        }
        let Stage::Watch { nearest, before } =
            std::mem::replace(&mut self.stage, Stage::Look { kept: None })
        else {
            return Ok(());
        };
        self.stage = match (whose, news) {
            (Whose::Nearest | Whose::Before, Some(kind)) if kind != WatchEventKind::DataChanged => {
                let kept = (whose == Whose::Before).then_some(nearest);
                Stage::Look { kept }
            }
            // Somebody wrote to a node that is still there; or a renewal wants us to look, and
            // whether the two are still there costs less than the whole line.
            _ => Stage::Arm { nearest: nearest.node, before: before.map(|before| before.node) },
        };
        Ok(())
    }

    fn number(&self) -> i64 {
        self.rank.sequence
    }

    /// What is known of the line once this seat's deletion is answered.
    pub(crate) fn into_trail(self) -> Option<(String, Trail)> {
        let is_known = self.has_held && !self.is_shared && !self.leaves_no_trail;
        is_known.then(|| (self.dir, Trail::after(self.trail, self.rank.sequence)))
    }

    /// A number that is nearly the last one is not stood on.
    pub(crate) fn check_number(&self, max: i64) -> Result<()> {
        if (0..max).contains(&self.rank.sequence) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Store,
            format!(
                "the numbers of {} are nearly used up ({} of 2147483647): past the last one \
                 ZooKeeper gives all nodes the same, and several clients would hold the lock at \
                 once. Stop those who use it and delete {0}: it is made anew and counts from 0 \
                 (tokens go on rising)",
                self.dir, self.rank.sequence
            ),
        ))
    }
}

impl Shared {
    /// Asks for a place in a lock's own line.
    pub(crate) async fn claim_seat(&self, claim: &Claim) -> Result<Answer<Place>> {
        let dir = self.lock_path(&claim.name)?;
        if let Some(path) = self.own.path(claim.id) {
            return self.claim_again(claim, &dir, &path).await;
        }
        let prefix = below(&dir, &self.config.layout.prefix(claim));
        let data = record::written(claim, &self.bearer, self.config.layout);
        let mut trail = self.trails.take(&dir);
        if claim.mode != Mode::Exclusive {
            // Readers share: their numbers say nothing of who is there.
            trail = None;
        }
        for _ in 0..PARENTS_MADE_MAX {
            let kind = CreateKind::EphemeralSequential;
            let connection = self.client.states();
            let creating = self.client.create(&prefix, &data, kind, &self.acl);
            // Whatever is known already is not asked for.
            let is_guess = trail.as_ref().is_some_and(Trail::is_promising);
            let listing = (!is_guess).then(|| self.client.children(&dir));
            let watches = trail.as_ref().is_some_and(Trail::wants_guard);
            let guarding = watches.then(|| self.client.data_watched(&dir));
            let created = match creating.await {
                Ok(created) => created,
                Err(error) if is_no_node(&error) => {
                    trail = None;
                    self.make_parents(&dir).await?;
                    continue;
                }
                Err(error) => return Err(failed("taking a place in line", error)),
            };
            let mut seat = Seat::new(&dir, &created.value)?;
            self.own.enter(claim.id, vec![created.value.path], seat.czxid, created.sent_at);
            if is_guess && trail.as_ref().is_some_and(|trail| trail.leads_to(seat.number())) {
                return self.known_first(claim, seat, trail).await;
            }
            let listed = match listing {
                Some(listing) => listing.await,
                None => self.client.children(&dir).await,
            };
            if let (Some(trail), Some(guarding)) = (&mut trail, guarding)
                && let Ok(answered) = guarding.await
            {
                trail.set_guard(Guard::new(answered.value.2, connection));
            }
            seat.trail = trail;
            return self.seated(claim, seat, listed).await;
        }
        Err(Error::new(Kind::Store, format!("{dir} vanished {PARENTS_MADE_MAX} times in a row")))
    }

    /// Nobody has made a node in the line since we were the first in it.
    async fn known_first(
        &self,
        claim: &Claim,
        mut seat: Seat,
        trail: Option<Trail>,
    ) -> Result<Answer<Place>> {
        if let Err(error) = seat.check_number(self.config.sequence_max) {
            self.take_back(claim, &seat).await?;
            return Err(error);
        }
        seat.is_checked = true;
        seat.trail = trail;
        Ok(self.granted(seat))
    }

    fn granted(&self, mut seat: Seat) -> Answer<Place> {
        seat.has_held = true;
        Answer::Granted(self.grant(seat.czxid), Place::of(Spot::Seat(seat)))
    }

    /// The same claim once more: it has a place already (law 1).
    async fn claim_again(&self, claim: &Claim, dir: &str, path: &str) -> Result<Answer<Place>> {
        let reading = self.client.exists(path);
        let listing = self.client.children(dir);
        let read = reading.await.map_err(|error| failed("looking at the place", error))?;
        let Some(stat) = read.value else {
            self.own.forget(claim.id);
            return Err(Error::lost(Why::Vanished));
        };
        let seat = Seat::new(dir, &Created { path: path.to_owned(), stat })?;
        self.seated(claim, seat, listing.await).await
    }

    async fn seated(
        &self,
        claim: &Claim,
        mut seat: Seat,
        listed: Result<Answered<(Vec<String>, cotter_zk::Stat)>, cotter_zk::Error>,
    ) -> Result<Answer<Place>> {
        let outcome = match listed {
            Ok(listed) => match self.look(claim.mode, &mut seat, &listed.value.0).await {
                // It vanished since: whoever waits will see, and claims anew.
                Err(error) if error.kind() == Kind::Lost => Ok(false),
                other => other,
            },
            // The place is ours; whose turn it is can be asked again.
            Err(_) if claim.patience == Patience::Wait => Ok(false),
            Err(error) => Err(failed("looking at the line", error)),
        };
        let is_free = match outcome {
            Ok(is_free) => is_free,
            Err(error) => {
                self.take_back(claim, &seat).await?;
                return Err(error);
            }
        };
        if is_free {
            return Ok(self.granted(seat));
        }
        if claim.patience == Patience::Wait {
            return Ok(Answer::Queued(Place::of(Spot::Seat(seat))));
        }
        self.take_back(claim, &seat).await?;
        Ok(Answer::Busy)
    }

    /// Looks at the line. `true`: nobody is ahead. The first time, whether the claim may stand here
    /// at all.
    async fn look(&self, mode: Mode, seat: &mut Seat, children: &[String]) -> Result<bool> {
        if !seat.is_checked && !matches!(mode, Mode::Permits { .. }) {
            seat.check_number(self.config.sequence_max)?;
            if permits::may_be_semaphore(children) {
                // Its use may change without a new child here.
                seat.trail = None;
                seat.leaves_no_trail = true;
                self.refuse_semaphore(&seat.dir, mode).await?;
            }
            seat.is_checked = true;
        }
        seat.is_first(children)
    }

    /// Deletes the node of a claim that comes to nothing.
    pub(crate) async fn take_back(&self, claim: &Claim, seat: &Seat) -> Result<()> {
        let deleted = self.client.delete(&seat.path(), None).await;
        // It was made, so whatever went wrong here, it may still be there.
        found("leaving the line", deleted).map_err(Error::maybe_applied)?;
        self.own.forget(claim.id);
        Ok(())
    }

    /// Waits for a seat to be the first in its line.
    pub(crate) async fn wait_first(&self, claim: &Claim, seat: &mut Seat) -> Result<()> {
        let (id, mode) = (claim.id, claim.mode);
        let mut rounds = self.rounds.subscribe();
        loop {
            match &mut seat.stage {
                Stage::Look { .. } => {
                    let listed = self.client.children(&seat.dir).await;
                    let Some(listed) = found("looking at the line", listed)? else {
                        return Err(Error::lost(Why::Vanished));
                    };
                    if self.look(mode, seat, &listed.value.0).await? {
                        return Ok(());
                    }
                }
                Stage::Arm { nearest, before } => {
                    let (nearest, before) = (nearest.clone(), before.clone());
                    // In one flight, our own node first.
                    let own = self.watch_own(id, seat);
                    let stage = self.arm(&seat.dir, nearest, before).await;
                    if let Some(own) = own {
                        let seen = found("watching our place", own.await)?;
                        let Some(seen) = seen else { return Err(Error::lost(Why::Vanished)) };
                        seat.own = Some(seen.value.2);
                    }
                    seat.stage = stage?;
                }
                Stage::Watch { nearest, before } => {
                    let (news, whose) = tokio::select! {
                        biased;
                        event = own_fired(&mut seat.own) => (Some(event), Whose::Own),
                        event = &mut nearest.watch => (Some(event.kind), Whose::Nearest),
                        event = fired(before) => (Some(event), Whose::Before),
                        _ = rounds.changed() => (None, Whose::Nobody),
                    };
                    let is_alone = before.is_none();
                    let is_turn = whose == Whose::Nearest
                        && is_alone
                        && (nearest.leaves_room || seat.is_shared)
                        && nearest.connection.has_changed().is_ok_and(|changed| !changed);
                    if news == Some(WatchEventKind::Deleted) && is_turn {
                        return Ok(());
                    }
                    seat.hear(news, whose)?;
                }
            }
        }
    }

    /// Asks for a watch of our own node, unless there is one. It has to be asked for before those
    /// in the way are: events come in the order in which things happened, so a waiter whose node
    /// was deleted then hears of that before it takes its turn. (`models/`: asked for in another
    /// order, it may hold without a node.)
    fn watch_own(&self, id: ClaimId, seat: &Seat) -> Option<Reading> {
        if seat.own.is_some() {
            return None;
        }
        self.own.watched_elsewhere(id);
        Some(self.client.data_watched(&seat.path()))
    }

    /// Watches those in the way. Where one of them is gone already, the line is listed again.
    async fn arm(&self, dir: &str, nearest: String, before: Option<String>) -> Result<Stage> {
        let connection = self.client.states();
        let first = before.map(|node| (self.client.data_watched(&below(dir, &node)), node));
        let second = self.client.data_watched(&below(dir, &nearest));
        let is_alone = first.is_none();
        let before = match first {
            Some((reading, node)) => armed(node, reading.await, &connection)?,
            None => None,
        };
        let nearest = armed(nearest, second.await, &connection)?;
        Ok(match (nearest, before) {
            (Some(nearest), before) if is_alone || before.is_some() => {
                Stage::Watch { nearest, before }
            }
            (kept, _) => Stage::Look { kept },
        })
    }
}

/// A node that is watched now; `None` if it was gone.
fn armed(
    node: String,
    answer: Result<Answered<(Vec<u8>, cotter_zk::Stat, Watch)>, cotter_zk::Error>,
    connection: &Connection,
) -> Result<Option<Watched>> {
    let answered = found("watching those ahead", answer)?;
    Ok(answered.map(|Answered { value: (data, _, watch), .. }| {
        // The words of an eviction are ours, the node under them need not be.
        let is_ours = matches!(record::read(&data), Said::Ours(record) if !record.is_marked());
        let leaves_room = is_ours || !layout::may_be_followed(&node);
        Watched { node, watch, leaves_room, connection: connection.clone() }
    }))
}

/// Whose watch has fired.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own,
    Nearest,
    Before,
    Nobody,
}

/// The event of our own node.
async fn own_fired(own: &mut Option<Watch>) -> WatchEventKind {
    match own {
        Some(watch) => watch.await.kind,
        None => std::future::pending().await,
    }
}

/// The event of the one before, if one is watched.
async fn fired(before: &mut Option<Watched>) -> WatchEventKind {
    match before {
        Some(watched) => (&mut watched.watch).await.kind,
        None => std::future::pending().await,
    }
}

/// The wait of a claim for a lock.
impl Shared {
    pub(crate) async fn wait_seat(&self, claim: &Claim, seat: &mut Seat) -> Result<Grant> {
        self.wait_first(claim, seat).await?;
        seat.has_held = true;
        // From here on its node is watched where those of holders are.
        self.own.enter(claim.id, vec![seat.path()], seat.czxid, self.env.now());
        Ok(self.grant(seat.czxid))
    }
}
