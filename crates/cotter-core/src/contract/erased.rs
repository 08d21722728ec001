//! Sessions behind a pointer, so that public types are not generic over the store.
//!
//! Authors write [`Session`] with native async functions; the engine holds an [`AnySession`]. Every
//! call takes the session and the claim by `Arc` and gives a future that borrows nothing, because a
//! caller may go away and leave the rest of the call to a task (`engine::unstoppable`).

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::claim::{Bearer, Claim, ClaimId};
use super::event::Event;
use super::lease::Grant;
use super::line_up::LineUp;
use super::profile::Profile;
use super::session::{Answer, Evicted, Left, Renewal, Session, Store};
use super::token::FencingToken;
use crate::env::Env;
use crate::error::{Error, Kind, Result};
use crate::names::LockName;

pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(crate) type Borrowed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A store's own record of a place, behind a pointer.
pub(crate) type AnyPlace = Box<dyn Any + Send>;

pub(crate) trait AnyStore: Send + Sync {
    fn profile(&self) -> &Profile;
    fn address(&self) -> String;
    fn open<'a>(
        &'a self,
        env: &'a Env,
        bearer: &'a Bearer,
    ) -> Borrowed<'a, Result<Arc<dyn AnySession>>>;
}

pub(crate) trait AnySession: Send + Sync {
    fn profile(&self) -> &Profile;
    fn claim(self: Arc<Self>, claim: Arc<Claim>) -> Boxed<Result<Answer<AnyPlace>>>;
    fn wait<'a>(&'a self, claim: &'a Claim, place: &'a mut AnyPlace)
    -> Borrowed<'a, Result<Grant>>;
    fn withdraw(self: Arc<Self>, claim: Arc<Claim>, place: Option<AnyPlace>)
    -> Boxed<Result<Left>>;
    fn renew(self: Arc<Self>, live: Vec<ClaimId>) -> Boxed<Result<Renewal>>;
    fn event(&self) -> Borrowed<'_, Event>;
    fn inspect(self: Arc<Self>, name: LockName) -> Boxed<Result<LineUp>>;
    fn changed(self: Arc<Self>, name: LockName) -> Boxed<()>;
    fn names(self: Arc<Self>, prefix: String) -> Boxed<Result<Vec<LockName>>>;
    fn evict(
        self: Arc<Self>,
        name: LockName,
        expected: FencingToken,
        words: String,
    ) -> Boxed<Result<Evicted>>;
    fn close(self: Arc<Self>) -> Boxed<()>;
    /// The store's own session, for those who know which store it is.
    fn native(&self) -> &dyn Any;
}

/// Finds the store's own session through the layers around it.
pub(crate) trait Innermost: Session {
    fn innermost(&self) -> &dyn Any;
}

struct Erased<T>(T);

/// Puts a store behind a pointer.
pub(crate) fn erase<S: Store<Session: Innermost>>(store: S) -> Arc<dyn AnyStore> {
    Arc::new(Erased(store))
}

impl<S: Store<Session: Innermost>> AnyStore for Erased<S> {
    fn profile(&self) -> &Profile {
        self.0.profile()
    }

    fn address(&self) -> String {
        self.0.address()
    }

    fn open<'a>(
        &'a self,
        env: &'a Env,
        bearer: &'a Bearer,
    ) -> Borrowed<'a, Result<Arc<dyn AnySession>>> {
        Box::pin(async move {
            let session = self.0.open(env, bearer).await?;
            let session: Arc<dyn AnySession> = Arc::new(Erased(session));
            Ok(session)
        })
    }
}

fn own_place<S: Session>(place: AnyPlace) -> Option<S::Place> {
    place.downcast().ok().map(|place| *place)
}

impl<S: Innermost> AnySession for Erased<S> {
    fn profile(&self) -> &Profile {
        self.0.profile()
    }

    fn claim(self: Arc<Self>, claim: Arc<Claim>) -> Boxed<Result<Answer<AnyPlace>>> {
        Box::pin(async move {
            Ok(match self.0.claim(&claim).await? {
                Answer::Granted(grant, place) => {
                    Answer::Granted(grant, Box::new(place) as AnyPlace)
                }
                Answer::Queued(place) => Answer::Queued(Box::new(place) as AnyPlace),
                Answer::Busy => Answer::Busy,
            })
        })
    }

    fn wait<'a>(
        &'a self,
        claim: &'a Claim,
        place: &'a mut AnyPlace,
    ) -> Borrowed<'a, Result<Grant>> {
        Box::pin(async move {
            let Some(place) = place.downcast_mut::<S::Place>() else {
                return Err(Error::new(Kind::Store, "a place of another session was waited with"));
            };
            self.0.wait(claim, place).await
        })
    }

    fn withdraw(
        self: Arc<Self>,
        claim: Arc<Claim>,
        place: Option<AnyPlace>,
    ) -> Boxed<Result<Left>> {
        Box::pin(async move {
            let place = place.and_then(own_place::<S>);
            self.0.withdraw(&claim, place).await
        })
    }

    fn renew(self: Arc<Self>, live: Vec<ClaimId>) -> Boxed<Result<Renewal>> {
        Box::pin(async move { self.0.renew(&live).await })
    }

    fn event(&self) -> Borrowed<'_, Event> {
        Box::pin(self.0.event())
    }

    fn inspect(self: Arc<Self>, name: LockName) -> Boxed<Result<LineUp>> {
        Box::pin(async move { self.0.inspect(&name).await })
    }

    fn changed(self: Arc<Self>, name: LockName) -> Boxed<()> {
        Box::pin(async move { self.0.changed(&name).await })
    }

    fn names(self: Arc<Self>, prefix: String) -> Boxed<Result<Vec<LockName>>> {
        Box::pin(async move { self.0.names(&prefix).await })
    }

    fn evict(
        self: Arc<Self>,
        name: LockName,
        expected: FencingToken,
        words: String,
    ) -> Boxed<Result<Evicted>> {
        Box::pin(async move { self.0.evict(&name, expected, &words).await })
    }

    fn close(self: Arc<Self>) -> Boxed<()> {
        Box::pin(async move { self.0.close().await })
    }

    fn native(&self) -> &dyn Any {
        self.0.innermost()
    }
}
