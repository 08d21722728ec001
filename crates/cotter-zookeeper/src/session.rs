//! A session with the store: the calls of the contract.

use std::fmt;
use std::time::Duration;

use cotter_core::contract::{
    Answer, Claim, ClaimId, Event, Evicted, FencingToken, Grant, Left, LineUp, Mode, Profile,
    Renewal, Session, Why,
};
use cotter_core::{Error, Kind, LockName, Result};
use cotter_zk::{Client, Code};
use tokio::sync::Mutex;

use crate::fault::{failed, is_no_node};
use crate::own::Pump;
use crate::place::{Place, Spot};
use crate::shared::Shared;

/// How long closing waits for the server's word. Without it the server frees everything when the
/// session times out.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// A live tie to ZooKeeper: one session of the server's.
pub struct ZooKeeperSession {
    pub(crate) shared: Shared,
    pump: Mutex<Pump>,
}

impl fmt::Debug for ZooKeeperSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.shared.client.session_id();
        f.debug_struct("ZooKeeperSession").field("id", &id).finish_non_exhaustive()
    }
}

impl ZooKeeperSession {
    pub(crate) fn new(shared: Shared) -> Self {
        let pump = Mutex::new(Pump::new(&shared.client));
        Self { shared, pump }
    }

    /// The client underneath: the same session, for requests of one's own.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// The node that a claim of this session is, while it lives.
    pub fn node(&self, id: ClaimId) -> Option<String> {
        self.shared.own.path(id)
    }

    /// Asks the holder with this token for the lock, as Curator's `Revoker` does: by writing
    /// `__REVOKE__` into its node. A Java holder that is revocable is told, and so is a holder of
    /// cotter's. `false` if nobody holds the lock with that token.
    ///
    /// # Errors
    /// What the store said.
    ///
    /// # Cancel safety
    /// The holder may be asked although the call was dropped.
    pub async fn ask_to_release(&self, name: &LockName, token: FencingToken) -> Result<bool> {
        self.shared.ask_to_release(name, token).await
    }
}

impl Session for ZooKeeperSession {
    type Place = Place;

    fn profile(&self) -> &Profile {
        &self.shared.profile
    }

    async fn claim(&self, claim: &Claim) -> Result<Answer<Place>> {
        let shared = &self.shared;
        shared.check(claim)?;
        match claim.mode {
            _ if !shared.config.is_fair => shared.claim_alone(claim).await,
            Mode::Permits { .. } | Mode::Shared if !shared.has(claim.mode) => Err(Error::new(
                Kind::Unsupported,
                format!(
                    "the layout {} has no locks in mode {}; leave layout out",
                    shared.config.layout.word(),
                    claim.mode
                ),
            )),
            Mode::Permits { count, limit } => shared.claim_permits(claim, (count, limit)).await,
            Mode::Exclusive | Mode::Shared => shared.claim_seat(claim).await,
        }
    }

    async fn wait(&self, claim: &Claim, place: &mut Place) -> Result<Grant> {
        match &mut place.spot {
            Spot::Seat(seat) => self.shared.wait_seat(claim, seat).await,
            Spot::Permits(permits) => self.shared.wait_permits(claim, permits).await,
            Spot::Alone(alone) => self.shared.wait_alone(claim, alone).await,
        }
    }

    async fn withdraw(&self, claim: &Claim, place: Option<Place>) -> Result<Left> {
        self.shared.withdraw(claim, place).await
    }

    async fn renew(&self, live: &[ClaimId]) -> Result<Renewal> {
        let shared = &self.shared;
        let asked = shared.own.one_of(live);
        let path = asked.as_ref().map_or("/", |(_, path)| path.as_str());
        let answer = shared.client.check(path, None).await;
        let mut gone = Vec::new();
        if let Err(error) = answer {
            // A refusal of the leader's is ordered with the grants as any write is, so it proves
            // the session's life as well. One of the server's front door does not.
            if !error.code().is_some_and(Code::is_from_quorum) {
                return Err(failed("proving that the session lives", error));
            }
            if is_no_node(&error)
                && let Some((id, path)) = asked
                && shared.own.path(id).as_ref() == Some(&path)
            {
                gone.push((id, Why::Vanished));
            }
        }
        shared.note_renewal();
        let lease = shared.lease(shared.client.proven_at());
        Ok(Renewal { lease, gone, unproven: Vec::new() })
    }

    async fn event(&self) -> Event {
        let mut pump = self.pump.lock().await;
        pump.next(&self.shared.client, &self.shared.own, &self.shared.env).await
    }

    async fn inspect(&self, name: &LockName) -> Result<LineUp> {
        self.shared.inspect(name).await
    }

    async fn changed(&self, name: &LockName) {
        self.shared.changed(name).await;
    }

    async fn names(&self, prefix: &str) -> Result<Vec<LockName>> {
        self.shared.names(prefix).await
    }

    async fn evict(&self, name: &LockName, expected: FencingToken, words: &str) -> Result<Evicted> {
        self.shared.evict(name, expected, words).await
    }

    async fn close(&self) {
        tokio::select! {
            biased;
            () = self.shared.client.close() => {}
            () = self.shared.env.sleep(CLOSE_WAIT) => {}
        }
    }
}
