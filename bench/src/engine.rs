//! What the front and the engine add to a store that is called directly.
//!
//! Two stores: one that does nothing at all, so that nothing hides the difference, and the one in
//! memory. The direct caller makes a claim with an id and a moment too, as it must.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cotter::contract::{
    Answer, Bearer, Claim, ClaimId, Event, Evicted, Failover, FencingToken, Grant, Lease, Left,
    Line, LineUp, Loss, Mode, Modes, Patience, Profile, Recipe, Renewal, Session, Store,
    TokenScope, TokenStrength, Trips,
};
use cotter::env::Env;
use cotter::memory::MemoryStore;
use cotter::{Client, Error, Kind, LockName, Result};

use crate::Outcome;
use crate::measure::{Alone, Figures, line, now_nanos, target};

const ROUNDS: u32 = 31;
const PAIRS: u32 = 20_000;
const ADDED_NANOS_MAX: f64 = 1_000.0;

pub(crate) fn bench() -> Outcome<()> {
    println!("engine: acquire and release, {ROUNDS} rounds of {PAIRS} pairs on one worker");
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let nothing = runtime.block_on(compare("a store that does nothing", Nothing::default()))?;
    runtime.block_on(compare("the store in memory", MemoryStore::new()))?;
    target(
        "nanoseconds added to a pair at most",
        nothing,
        ADDED_NANOS_MAX,
        nothing <= ADDED_NANOS_MAX,
    );
    println!();
    Ok(())
}

/// Prints both ways of one store, and gives the nanoseconds that the engine adds.
async fn compare<S: Store + Clone>(what: &str, store: S) -> Outcome<f64> {
    let env = Env::system()?;
    let session = store.open(&env, &Bearer::default()).await?;
    let client = Client::open(store, cotter::Options::default()).await?;
    let alone = Alone::default();
    let (mut direct, mut front) = (Figures::default(), Figures::default());
    for _ in 0..ROUNDS {
        direct.add(direct_pairs(&env, &session, &alone).await?);
        front.add(front_pairs(&client, &alone).await?);
    }
    println!("  {what}");
    line("  called directly", &direct, "ns", 0);
    line("  through the front and the engine", &front, "ns", 0);
    let added = front.less(&direct);
    line("  difference", &added, "ns", 0);
    session.close().await;
    client.shutdown(Duration::from_secs(1)).await?;
    Ok(added.median())
}

async fn direct_pairs<S: Session>(env: &Env, session: &S, alone: &Alone) -> Outcome<f64> {
    let name = LockName::new("bench")?;
    let start = now_nanos();
    for _ in 0..PAIRS {
        let claim = Claim {
            id: env.claim_id(),
            name: name.clone(),
            mode: Mode::Exclusive,
            recipe: Recipe::Lock,
            patience: Patience::Wait,
            note: Arc::from(""),
            asked_at: env.now(),
        };
        let Answer::Granted(_, place) = session.claim(&claim).await? else {
            return Err("nobody else is here, and the claim was not granted".into());
        };
        alone.enter();
        alone.leave();
        session.withdraw(&claim, Some(place)).await?;
    }
    Ok((now_nanos() - start) as f64 / f64::from(PAIRS))
}

async fn front_pairs(client: &Client, alone: &Alone) -> Outcome<f64> {
    let lock = client.lock("bench");
    let start = now_nanos();
    for _ in 0..PAIRS {
        let guard = lock.acquire().await?;
        alone.enter();
        alone.leave();
        guard.release().await?;
    }
    Ok((now_nanos() - start) as f64 / f64::from(PAIRS))
}

/// A store for one caller at a time: whoever asks has it.
#[derive(Clone)]
struct Nothing {
    profile: Profile,
}

struct NothingSession {
    profile: Profile,
    tokens: AtomicU64,
}

impl Default for Nothing {
    fn default() -> Self {
        Self {
            profile: Profile {
                store: "nothing",
                line: Line::Fifo,
                modes: Modes { shared: false, permits: false },
                loss: Loss::Ahead,
                token: TokenStrength::Volatile,
                token_scope: TokenScope::Everyone,
                failover: Failover::Keeps,
                crash_to_free: Duration::ZERO,
                name_len_max: 255,
                note_len_max: 0,
                renew_every: Duration::from_secs(3600),
                trips: Trips { claim: 0, withdraw: 0 },
            },
        }
    }
}

impl Store for Nothing {
    type Session = NothingSession;

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn address(&self) -> String {
        "nothing:".into()
    }

    fn set_lease(&mut self, _lease: Duration) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "nothing has no lease"))
    }

    async fn open(&self, _env: &Env, _bearer: &Bearer) -> Result<NothingSession> {
        Ok(NothingSession { profile: self.profile.clone(), tokens: AtomicU64::new(0) })
    }
}

impl NothingSession {
    fn grant(&self) -> Grant {
        let number = self.tokens.fetch_add(1, Ordering::Relaxed) + 1;
        Grant { token: FencingToken::new(number), lease: Lease::WhileAlive }
    }
}

impl Session for NothingSession {
    type Place = ();

    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn claim(&self, _claim: &Claim) -> Result<Answer<()>> {
        Ok(Answer::Granted(self.grant(), ()))
    }

    async fn wait(&self, _claim: &Claim, _place: &mut ()) -> Result<Grant> {
        Ok(self.grant())
    }

    async fn withdraw(&self, _claim: &Claim, _place: Option<()>) -> Result<Left> {
        Ok(Left::Released)
    }

    async fn renew(&self, _live: &[ClaimId]) -> Result<Renewal> {
        Ok(Renewal { lease: Lease::WhileAlive, gone: Vec::new(), unproven: Vec::new() })
    }

    async fn event(&self) -> Event {
        std::future::pending().await
    }

    async fn inspect(&self, name: &LockName) -> Result<LineUp> {
        Ok(LineUp { name: name.clone(), holders: Vec::new(), waiters: Vec::new() })
    }

    async fn changed(&self, _name: &LockName) {
        std::future::pending().await
    }

    async fn names(&self, _prefix: &str) -> Result<Vec<LockName>> {
        Ok(Vec::new())
    }

    async fn evict(&self, _name: &LockName, _: FencingToken, _words: &str) -> Result<Evicted> {
        Ok(Evicted::NotHolder(Vec::new()))
    }

    async fn close(&self) {}
}
