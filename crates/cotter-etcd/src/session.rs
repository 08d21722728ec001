//! A session with the store: the calls of the contract.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cotter_core::contract::{
    Answer, Claim, ClaimId, Event, Evicted, FencingToken, Grant, Left, LineUp, Profile, Renewal,
    Session, Why,
};
use cotter_core::{LockName, Result};
use tokio::sync::Mutex;

use crate::client::stubs::{LeaseRevokeRequest, TxnRequest};
use crate::client::{Client, Standing};
use crate::own::Pump;
use crate::place::Place;
use crate::shared::Shared;
use crate::txn;

/// How long closing waits for the server's word. Without it the server frees everything when the
/// lease runs out.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Keys that one renewal looks at. A server takes 128 operations in one transaction as it comes; of
/// more claims others have their turn the next time, and their own watches meanwhile.
const RENEWED_MAX: usize = 100;

/// A live tie to etcd: one lease.
pub struct EtcdSession {
    pub(crate) shared: Shared,
    pump: Mutex<Pump>,
}

impl fmt::Debug for EtcdSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdSession")
            .field("lease", &format_args!("{:x}", self.shared.lease.id()))
            .finish_non_exhaustive()
    }
}

/// Without a word its locks would be held until the lease runs out.
impl Drop for EtcdSession {
    fn drop(&mut self) {
        if self.shared.standing().why_over().is_none() {
            let (client, id) = (self.shared.client.clone(), self.shared.lease.id());
            // It ends with the request.
            drop(self.shared.env.spawn(async move {
                let _ = client.call(&LeaseRevokeRequest { id }).await;
            }));
        }
    }
}

impl EtcdSession {
    pub(crate) fn new(shared: Shared) -> Self {
        let pump = Mutex::new(Pump::new(shared.client.connections()));
        Self { shared, pump }
    }

    /// The client underneath, for requests of one's own.
    #[doc(hidden)]
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// From when on the lease is known to live, and whether it does.
    #[doc(hidden)]
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(self.shared.lease.standing())
    }

    /// The lease that all keys of this session hang on.
    pub fn lease(&self) -> i64 {
        self.shared.lease.id()
    }

    /// How long the servers keep the lease without hearing from us.
    pub fn lease_ttl(&self) -> Duration {
        self.shared.lease.ttl()
    }

    /// The key that a claim of this session is, and the revision that made it, while it lives. A
    /// transaction that compares the key's create revision with it is carried out only while the
    /// claim stands.
    pub fn key(&self, id: ClaimId) -> Option<(Vec<u8>, i64)> {
        self.shared.own.key(id).map(|(key, created)| (key.to_vec(), created))
    }
}

impl Session for EtcdSession {
    type Place = Place;

    fn profile(&self) -> &Profile {
        &self.shared.profile
    }

    async fn claim(&self, claim: &Claim) -> Result<Answer<Place>> {
        self.shared.claim(claim).await
    }

    async fn wait(&self, claim: &Claim, place: &mut Place) -> Result<Grant> {
        self.shared.wait(claim, place).await
    }

    async fn withdraw(&self, claim: &Claim, place: Option<Place>) -> Result<Left> {
        self.shared.withdraw(claim, place).await
    }

    async fn renew(&self, live: &[ClaimId]) -> Result<Renewal> {
        let shared = &self.shared;
        let asked = shared.own.some_of(live, RENEWED_MAX);
        // Whatever is read, a quorum has to agree to it; a session whose keys are all on their way
        // out reads its mark.
        let mark = txn::bytes(&shared.config.root.mark(shared.lease.id()));
        let keys = asked.iter().map(|(_, key, _)| key).chain([&mark]);
        let request = TxnRequest { success: keys.map(txn::read).collect(), ..Default::default() };
        // It ends, one way or the other, before the next one is due.
        let limit = shared.profile.renew_every;
        let doing = "proving that the lease lives";
        let mut answered = shared.call_within(doing, &request, limit).await?;
        let mut gone = Vec::new();
        for ((id, key, created), response) in asked.into_iter().zip(&mut answered.value.responses) {
            let seen = txn::found(Some(response)).pop();
            let stands = seen.is_some_and(|kv| kv.create_revision == created);
            // It may have been given back meanwhile.
            if !stands && shared.own.key(id) == Some((key, created)) {
                gone.push((id, Why::Vanished));
            }
        }
        shared.note_renewal();
        Ok(Renewal { lease: shared.until(), gone, unproven: Vec::new() })
    }

    async fn event(&self) -> Event {
        self.pump.lock().await.next(&self.shared).await
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
            // What cannot be said now, the end of the lease says.
            _ = self.shared.lease.revoke() => {}
            () = self.shared.env.sleep(CLOSE_WAIT) => {}
        }
    }
}
