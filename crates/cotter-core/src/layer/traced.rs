//! A layer that puts a span around every call of a store and measures it.

use std::any::Any;
use std::future::Future;
use std::time::Duration;

use tracing::Instrument;

use super::telemetry;
use crate::contract::{
    Answer, Bearer, Claim, ClaimId, Event, Evicted, FencingToken, Grant, Innermost, Left, LineUp,
    Profile, Renewal, Session, Store,
};
use crate::env::Env;
use crate::error::Result;
use crate::names::LockName;

/// A store whose calls are traced and measured.
pub struct Traced<S>(S);

impl<S: Store> Traced<S> {
    /// Puts the layer around a store.
    pub fn around(store: S) -> Self {
        Self(store)
    }
}

impl<S: Store> Store for Traced<S> {
    type Session = TracedSession<S::Session>;

    fn profile(&self) -> &Profile {
        self.0.profile()
    }

    fn address(&self) -> String {
        self.0.address()
    }

    fn set_lease(&mut self, lease: Duration) -> Result<()> {
        self.0.set_lease(lease)
    }

    async fn open(&self, env: &Env, bearer: &Bearer) -> Result<Self::Session> {
        let span = tracing::debug_span!("cotter.open", store = self.0.profile().store);
        let inner = self.0.open(env, bearer).instrument(span).await?;
        let store = inner.profile().store;
        Ok(TracedSession { inner, env: env.clone(), store })
    }
}

/// A session whose calls are traced and measured.
pub struct TracedSession<S> {
    inner: S,
    env: Env,
    store: &'static str,
}

impl<S> TracedSession<S> {
    async fn measured<T>(&self, call: &'static str, request: impl Future<Output = T>) -> T {
        if cfg!(not(feature = "metrics")) && !tracing::enabled!(tracing::Level::TRACE) {
            return request.await;
        }
        let asked_at = self.env.now();
        let answer = request.await;
        telemetry::answered(self.store, call, self.env.now().since(asked_at));
        answer
    }
}

/// A span for one claim's call: its lock and its id.
macro_rules! claim_span {
    ($session:expr, $name:literal, $claim:expr) => {
        tracing::debug_span!(
            $name,
            store = $session.store,
            lock = %$claim.name,
            claim = %$claim.id,
        )
    };
}

impl<S: Innermost> Innermost for TracedSession<S> {
    fn innermost(&self) -> &dyn Any {
        self.inner.innermost()
    }
}

impl<S: Session> Session for TracedSession<S> {
    type Place = S::Place;

    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn claim(&self, claim: &Claim) -> Result<Answer<Self::Place>> {
        let span = claim_span!(self, "cotter.claim", claim);
        self.measured("claim", self.inner.claim(claim)).instrument(span).await
    }

    async fn wait(&self, claim: &Claim, place: &mut Self::Place) -> Result<Grant> {
        let span = claim_span!(self, "cotter.wait", claim);
        self.inner.wait(claim, place).instrument(span).await
    }

    async fn withdraw(&self, claim: &Claim, place: Option<Self::Place>) -> Result<Left> {
        let span = claim_span!(self, "cotter.withdraw", claim);
        self.measured("withdraw", self.inner.withdraw(claim, place)).instrument(span).await
    }

    async fn renew(&self, live: &[ClaimId]) -> Result<Renewal> {
        let span = tracing::debug_span!("cotter.renew", store = self.store, claims = live.len());
        self.measured("renew", self.inner.renew(live)).instrument(span).await
    }

    async fn event(&self) -> Event {
        self.inner.event().await
    }

    async fn inspect(&self, name: &LockName) -> Result<LineUp> {
        let span = tracing::debug_span!("cotter.inspect", store = self.store, lock = %name);
        self.measured("inspect", self.inner.inspect(name)).instrument(span).await
    }

    async fn changed(&self, name: &LockName) {
        self.inner.changed(name).await;
    }

    async fn names(&self, prefix: &str) -> Result<Vec<LockName>> {
        let span = tracing::debug_span!("cotter.names", store = self.store, prefix);
        self.measured("names", self.inner.names(prefix)).instrument(span).await
    }

    async fn evict(&self, name: &LockName, expected: FencingToken, words: &str) -> Result<Evicted> {
        let span = tracing::debug_span!("cotter.evict", store = self.store, lock = %name);
        let answer = self
            .measured("evict", self.inner.evict(name, expected, words))
            .instrument(span)
            .await?;
        if answer == Evicted::Done {
            telemetry::evicted(self.store, name, expected, words);
        }
        Ok(answer)
    }

    async fn close(&self) {
        let span = tracing::debug_span!("cotter.close", store = self.store);
        self.inner.close().instrument(span).await;
    }
}
