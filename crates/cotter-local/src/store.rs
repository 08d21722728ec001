//! The store: a directory, and opening a session with it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use cotter_core::contract::{
    Bearer, Failover, Line, Loss, Modes, Profile, Store, TokenScope, TokenStrength, Trips,
};
use cotter_core::env::Env;
use cotter_core::names::NAME_LEN_MAX;
use cotter_core::{Error, Kind, Result};
use rustix::process::{Resource, getrlimit};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::files::Root;
use crate::lines::Ground;
use crate::session::LocalSession;
use crate::sessions::Sessions;
use crate::shared::{Shared, State};
use crate::tokens::Tokens;
use crate::wake::Mouth;
use crate::{faults, wake};

/// The longest note: what a slot has room for, less a little for a later version.
const NOTE_LEN_MAX: usize = 400;
/// Between two renewals, which make up for everything that notifications may lose.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// Line files a session keeps open: a share of what the process may have, within reason.
const OPEN_SHARE: u64 = 4;
const OPEN_MIN: u64 = 16;
const OPEN_MAX: u64 = 4096;

/// The one-machine store: locks of many processes in a directory, freed by the kernel.
#[derive(Clone, Debug)]
pub struct LocalStore {
    config: Config,
    profile: Profile,
}

impl LocalStore {
    /// The store that a URL names: `local:`, `local:/directory`, `local:/directory?option=value`.
    ///
    /// # Errors
    /// [`Kind::Config`] says what is wrong with the URL.
    ///
    /// ```
    /// let store = cotter_local::LocalStore::from_url("local:/run/lock/cotter")?;
    /// assert_eq!(store.directory(), std::path::Path::new("/run/lock/cotter"));
    /// # Ok::<(), cotter_core::Error>(())
    /// ```
    pub fn from_url(url: &str) -> Result<Self> {
        Ok(Self::with(Config::from_url(url)?))
    }

    /// The store in this directory, without options.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self::with(Config::at(directory.into()))
    }

    /// Where the locks are kept.
    pub fn directory(&self) -> &Path {
        &self.config.directory
    }

    fn with(config: Config) -> Self {
        let with_flock = config.flock.is_some();
        let profile = Profile {
            store: "local",
            line: Line::Fifo,
            modes: Modes { shared: true, permits: !with_flock },
            loss: Loss::Behind(RENEW_EVERY),
            token: TokenStrength::Durable,
            token_scope: if with_flock { TokenScope::CotterOnly } else { TokenScope::Everyone },
            failover: Failover::Keeps,
            crash_to_free: RENEW_EVERY,
            name_len_max: NAME_LEN_MAX,
            note_len_max: NOTE_LEN_MAX,
            renew_every: RENEW_EVERY,
            trips: Trips { claim: 0, withdraw: 0 },
        };
        Self { config, profile }
    }

    fn open_session(&self, env: &Env, bearer: &Bearer) -> Result<LocalSession> {
        let root = Root::open(&self.config)?;
        let boot = boot_id()?;
        let sessions = Sessions::open(&root)?;
        let tokens = Tokens::open(&root, boot)?;
        let mut profile = self.profile.clone();
        if root.is_volatile {
            profile.token = TokenStrength::Volatile;
        }
        let taken = sessions.sit(&root, env.random(), bearer)?;
        // Whoever died on this seat may have left its socket.
        wake::remove(&root, taken.before);
        let may_open = getrlimit(Resource::Nofile).current.unwrap_or(OPEN_MAX * OPEN_SHARE);
        Ok(LocalSession::new(Shared {
            env: env.clone(),
            profile,
            config: self.config.clone(),
            ground: Arc::new(Ground {
                root,
                tokens,
                boot,
                sessions,
                me: taken.me,
                open: AtomicUsize::new(0),
            }),
            me: taken.me,
            ears: OnceLock::new(),
            ears_turn: Mutex::new(()),
            mouth: Mouth::default(),
            news: Notify::new(),
            state: Mutex::new(State::default()),
            slow_looks: Mutex::new(JoinSet::new()),
            needs_trim: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            has_left: AtomicBool::new(false),
            uses: AtomicU64::new(0),
            stood_at: AtomicU64::new(env.now().as_nanos()),
            // Between 16 and 4,096, which fits.
            open_max: AtomicUsize::new((may_open / OPEN_SHARE).clamp(OPEN_MIN, OPEN_MAX) as usize),
        }))
    }
}

impl Store for LocalStore {
    type Session = LocalSession;

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn address(&self) -> String {
        self.config.address()
    }

    fn set_lease(&mut self, _lease: Duration) -> Result<()> {
        Err(Error::new(
            Kind::Unsupported,
            "this store keeps a lock for as long as its holder lives, so there is no lease to set; \
             leave it out",
        ))
    }

    async fn open(&self, env: &Env, bearer: &Bearer) -> Result<LocalSession> {
        // It may wait for the disk, once a start of the machine.
        let (store, env_of_session, bearer) = (self.clone(), env.clone(), bearer.clone());
        let opened = env.spawn_blocking(move || store.open_session(&env_of_session, &bearer));
        opened.await.unwrap_or_else(|error| {
            Err(Error::new(Kind::ShutDown, "the runtime is shutting down").with_source(error))
        })
    }
}

/// The start of the machine, as the kernel numbers it.
pub(crate) fn boot_id() -> Result<u128> {
    if let Some(boot) = faults::boot() {
        return Ok(boot);
    }
    let path = "/proc/sys/kernel/random/boot_id";
    let failed = |why: String| {
        Error::new(
            Kind::Unsupported,
            format!(
                "cannot tell one start of the machine from another by {path}: {why}; /proc \
                     must be mounted"
            ),
        )
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let digits = text.trim().replace('-', "");
    u128::from_str_radix(&digits, 16).map_err(|error| failed(error.to_string()))
}
