//! A request with one answer: on the wire that stands, within the limit.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cotter_core::env::Moment;
use http::HeaderValue;

use super::error::Error;
use super::method::Method;
use super::stubs::{AuthenticateRequest, ResponseHeader};
use super::wire::Wire;
use super::{Core, Login};

/// How often a request is sent again because its login was too old: every change of any right makes
/// all logins so.
const LOGINS_MAX: u32 = 8;

/// An answer, and when its request left.
#[derive(Clone, Debug)]
pub struct Answered<T> {
    /// The answer.
    pub value: T,
    /// Before its request was sent.
    pub sent_at: Moment,
    /// The revision of the store when the answer was made.
    pub revision: i64,
    /// The term of the last entry that the answering member had applied.
    pub term: u64,
}

impl Core {
    pub(crate) async fn call<M: Method>(&self, request: &M) -> Result<Answered<M::Answer>, Error> {
        self.call_within(request, self.settings.limit).await
    }

    pub(crate) async fn call_within<M: Method>(
        &self,
        request: &M,
        limit: Duration,
    ) -> Result<Answered<M::Answer>, Error> {
        let until = self.env.now().after(limit);
        let wire = self.wire(until).await?;
        let mut answer = self.call_on(&wire, request, until).await;
        for _ in 0..LOGINS_MAX {
            match answer {
                Err(error) if error.is_old_login() && self.settings.login.is_some() => {}
                answer => return answer,
            }
            self.log_in(&wire, until).await.map_err(Error::unsent)?;
            answer = self.call_on(&wire, request, until).await;
        }
        answer
    }

    /// On this wire, until this moment.
    pub(crate) async fn call_on<M: Method>(
        &self,
        wire: &Arc<Wire>,
        request: &M,
        until: Moment,
    ) -> Result<Answered<M::Answer>, Error> {
        let began_at = self.env.now();
        let outcome = tokio::select! {
            biased;
            outcome = wire.unary::<M::Answer>(M::PATH, request) => outcome,
            () = self.env.sleep_until(until) => {
                let limit = until.since(began_at);
                Err(Error::Unknown(format!("nothing came within {limit:?}")))
            }
        };
        match outcome {
            Ok((value, sent_at)) => {
                let ResponseHeader { revision, raft_term, .. } =
                    M::header(&value).copied().unwrap_or_default();
                Ok(Answered { value, sent_at, revision, term: raft_term })
            }
            Err(error) => {
                self.doubt(wire, &error);
                Err(error)
            }
        }
    }

    /// Looks for another wire, if this one's member may be the reason of an error and there are
    /// others. Where there are none, the pings find out whether the connection is dead: dialing the
    /// same server again would only add to what it has to do.
    pub(crate) fn doubt(&self, wire: &Wire, error: &Error) {
        if error.is_of_the_member() && self.settings.servers.len() > 1 {
            wire.retire(&error.to_string());
        }
    }

    /// Gets a token for this wire.
    pub(crate) async fn log_in(&self, wire: &Arc<Wire>, until: Moment) -> Result<(), Error> {
        let Some(Login { user, password }) = &self.settings.login else { return Ok(()) };
        // An old token beside the request would be refused as such.
        wire.set_token(None);
        let asking = AuthenticateRequest { name: user.clone(), password: password.clone() };
        let answer = self.call_on(wire, &asking, until).await?;
        let mut token = HeaderValue::from_maybe_shared(Bytes::from(answer.value.token))
            .map_err(|_| Error::Unknown("a token that no header can hold".into()))?;
        token.set_sensitive(true);
        wire.set_token(Some(token));
        Ok(())
    }
}
