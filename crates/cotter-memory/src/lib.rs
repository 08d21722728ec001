//! The reference store of cotter: locks in the memory of one process.
//!
//! It is three things. It is the model that every other store is compared with: the contract said
//! in the fewest words. It is a lock for the tasks of one process (`memory:`), with everything a
//! distributed one has. And it is a tool for users who want to know how *their* program behaves
//! when a lock is lost, late or out of reach: [`Control`] makes that happen on order, and on a
//! [`VirtualClock`](cotter_core::env::VirtualClock) hours pass at once.
//!
//! # What it does
//!
//! A [`MemoryStore`] is a server; its clones are further connections to the same one. Each session
//! has a lease, like one of a real leased store:
//!
//! ```text
//!   proof sent          the client stops here (2/3)     the server frees it here (ttl)
//!   ├───────────────────────────────┤───────────────────┤
//!   proof = a claim, a renewal, an admission; sent no later than it is applied
//! ```
//!
//! A session that proves nothing for its ttl is ended by the server when anybody next looks, and
//! whoever waits looks when the next lease ends. Tokens count up per name and never start again.
//! There is one line per name, first come first served, in all modes.
//!
//! # Test your own handling of loss
//!
//! The clock is virtual and the fault is ordered, so this runs in no time and always the same way:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use cotter_core::env::{Clock, Env, VirtualClock};
//! use cotter_core::front::{Client, Options};
//! use cotter_memory::{MemoryStore, Reach, Whom};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), cotter_core::Error> {
//! let clock = VirtualClock::new();
//! let env = Env::with_clock(Arc::clone(&clock) as Arc<dyn Clock>, 1);
//! let store = MemoryStore::new();
//! let options = Options { env: Some(env), ..Options::default() };
//! let client = Client::open(store.clone(), options).await?;
//! let guard = client.lock("orders/42").acquire().await?;
//!
//! // Nobody answers any more, and nobody says so. The work must stop by itself.
//! store.control().cut(Whom::All, Reach::Silent);
//! let work = guard.run(std::future::pending::<()>());
//! clock.advance(Duration::from_secs(10));
//! let error = work.await.expect_err("the lease ran out");
//! assert!(error.why().is_some());
//! # Ok(())
//! # }
//! ```
//!
//! Authors of stores can do the same one floor below, by the contract:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use cotter_core::contract::{
//!     Answer, Bearer, Claim, Event, Mode, Patience, Recipe, Session, Store, Why,
//! };
//! use cotter_core::env::{Clock, Env, VirtualClock};
//! use cotter_core::LockName;
//! use cotter_memory::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), cotter_core::Error> {
//! let clock = VirtualClock::new();
//! let env = Env::with_clock(Arc::clone(&clock) as Arc<dyn Clock>, 1);
//! let store = MemoryStore::new().with_ttl(Duration::from_secs(10));
//! let session = store.open(&env, &Bearer::default()).await?;
//!
//! let claim = Claim {
//!     id: env.claim_id(),
//!     name: LockName::new("orders/42")?,
//!     mode: Mode::Exclusive,
//!     recipe: Recipe::Lock,
//!     patience: Patience::Wait,
//!     note: "".into(),
//!     asked_at: env.now(),
//! };
//! assert!(matches!(session.claim(&claim).await?, Answer::Granted(..)));
//!
//! // No renewal for a whole lease: the server takes the lock away and says so.
//! clock.advance(Duration::from_secs(10));
//! assert!(matches!(session.event().await, Event::SessionOver(Why::SessionOver(_))));
//! assert!(store.control().holders(&claim.name).is_empty());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod control;
mod faults;
mod line;
mod server;
mod session;
mod store;

pub use control::{Control, Delay, Whom};
pub use faults::{Call, Fault, Reach, Side};
pub use server::SessionId;
pub use session::{MemoryPlace, MemorySession};
pub use store::{LEASE_TTL, MemoryStore};
