//! What a store author implements: a [`Store`] that opens a [`Session`], and the session's few
//! calls about one [`Claim`].
//!
//! Not key-value primitives (too slow, and wire compatibility would be impossible), not a whole
//! lock per store (everything hard would be written again for each). A store knows no guard, no
//! timer, no task and no retry: it does one native exchange per call and says truly what came of
//! it. [`crate::engine`] does the rest, once.
//!
//! # The seven laws of a store
//!
//! 1. **A claim is idempotent by its id.** Sent twice it makes one place.
//! 2. **Withdraw is idempotent by id, works when the claim's outcome is unknown, and never touches
//!    another claim.** It says whether anything was there. It is sent after the claim's call has
//!    ended; a claim that failed and is still on its way must not make a place once its withdrawal
//!    has been answered (send it on the same ordered path, or leave a mark that refuses the claim).
//! 3. **Only [`Session::wait`], [`Session::event`] and [`Session::changed`] may be dropped.** All
//!    other calls are bounded exchanges that the engine runs to their end. Whatever cleanup needs
//!    lives in [`Session::Place`].
//! 4. **A lease counts from before the request left**, minus the store's own margin (drift,
//!    election, probe). Stamp the clock first, then send.
//! 5. **The token rises with every exclusive grant of a name, and is remembered by the store
//!    before the grant is reported.** It survives release, expiry, eviction, restart.
//! 6. **Renew covers waiters as well as holders** and names those that are gone, and those that it
//!    could not ask about.
//! 7. **Say no rather than nearly.** A mode, a name or a patience that the store cannot honour is
//!    [`Kind::Unsupported`](crate::Kind::Unsupported), and its [`Profile`] says so first.
//!
//! # What the engine promises in return
//!
//! * [`Session::event`] is polled for as long as the session lives, from one task, also while other
//!   calls are under way. A session may use it as its pump (reading its socket, waking its
//!   waiters).
//! * [`Session::renew`] is called at [`Profile::renew_every`] while claims live, sooner after a
//!   failure, with all live claims, one call at a time. It should answer or fail within that time:
//!   no other renewal is sent while it is under way.
//! * [`Session::withdraw`] is called for every claim that may have left something: unless it
//!   answered `Busy`, failed without [`is_maybe_applied`](crate::Error::is_maybe_applied), or the
//!   session is over. So say `maybe_applied` wherever you are not sure.
//! * [`Session::close`] is called once; no call is begun after it, and those under way are waited
//!   for, for a second. What they wanted to give back, `close` gives back; a claim that is still on
//!   its way must come to nothing. A session that is dropped without `close` frees what it can
//!   without waiting.
//! * An error of [`Kind::SessionOver`](crate::Kind::SessionOver) from any call ends the session.
//!
//! # What ends how
//!
//! Every call ends as done, not done, or unknown. Unknown is an [`Error`](crate::Error) with
//! [`is_maybe_applied`](crate::Error::is_maybe_applied); the engine then withdraws by id until the
//! store has answered, or the session is known to be over.

mod claim;
mod erased;
mod event;
mod lease;
mod line_up;
mod profile;
mod session;
mod token;

pub use claim::{Bearer, Claim, ClaimId, Mode, Patience, Recipe};
pub(crate) use erased::{AnyPlace, AnySession, AnyStore, Boxed, Innermost, erase};
pub use event::{Event, Why};
pub use lease::{Grant, Lease};
pub use line_up::{LineUp, Waiter};
pub use profile::{Failover, Line, Loss, Modes, Profile, TokenScope, TokenStrength, Trips};
pub use session::{Answer, Evicted, Left, Renewal, Session, Store};
pub use token::FencingToken;
