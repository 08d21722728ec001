//! A process that does with locks what its standard input says, a line a command, and says on its
//! standard output what came of it. The tests kill it, stop it and read it.
//!
//! ```text
//!   try NAME [shared|permits COUNT LIMIT]     -> granted ID TOKEN | busy | error KIND WORDS
//!   claim NAME [...]                          -> granted ID TOKEN | queued ID; turn ID TOKEN
//!   withdraw ID                               -> released | gone
//!   renew                                     -> renewed GONE
//!   inspect NAME                              -> line HOLDERS WAITERS
//!   evict NAME TOKEN WORDS                    -> done | not
//!   close                                     -> closed
//! ```
//!
//! Like the engine it listens for events all the time, and renews once a second if told `beat`.

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;

use cotter_core::contract::{
    Answer, Bearer, Claim, Evicted, FencingToken, Left, Mode, Patience, Recipe, Session, Store,
};
use cotter_core::env::Env;
use cotter_core::{Error, LockName, Result};
use cotter_local::{LocalSession, LocalStore, Place};

fn failed(error: std::io::Error) -> Error {
    Error::new(cotter_core::Kind::Store, error.to_string())
}

/// Writes zeros until the disk is full.
fn fill(path: &str) -> Result<()> {
    let mut file = std::fs::File::create(path).map_err(failed)?;
    for len in [65_536, 4096, 512, 1] {
        while std::io::Write::write_all(&mut file, &vec![0; len]).is_ok() {}
    }
    say("filled");
    Ok(())
}

struct Actor {
    env: Env,
    session: Arc<LocalSession>,
    claims: HashMap<u32, Arc<Claim>>,
    places: HashMap<u32, Place>,
    count: u32,
    turns: tokio::sync::mpsc::UnboundedSender<(u32, Result<u64>, Place)>,
}

/// Where the actor's locks are: a directory or a URL.
pub(crate) const TARGET: &str = "COTTER_TEST_TARGET";

/// In a process that was started as an actor: what it does until it is told to end.
pub(crate) fn main() {
    let Ok(target) = std::env::var(TARGET) else { return };
    // The test harness has begun a line and not ended it.
    say("");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    if let Err(error) = runtime.expect("a runtime").block_on(run(&target)) {
        say(&format!("error {:?} {error}", error.kind()));
    }
}

fn say(words: &str) {
    // Nobody listens any more: the test is over.
    if std::io::Write::write_all(&mut std::io::stdout(), format!("{words}\n").as_bytes()).is_err() {
        std::process::exit(0);
    }
}

async fn run(target: &str) -> Result<()> {
    let env = Env::system()?;
    let store = match target.starts_with("local:") {
        true => LocalStore::from_url(target)?,
        false => LocalStore::at(target),
    };
    let bearer = Bearer {
        host: "here".into(),
        pid: std::process::id(),
        user: "tester".into(),
        command: "actor".into(),
    };
    let session = Arc::new(store.open(&env, &bearer).await?);
    let (turns, mut turned) = tokio::sync::mpsc::unbounded_channel();
    let claims = HashMap::new();
    let mut actor = Actor { env, session, claims, places: HashMap::new(), count: 0, turns };
    let (lines, mut line) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(std::io::Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    let mut beats = false;
    let mut next_beat = actor.env.now();
    say(&format!("ready {}", std::process::id()));
    loop {
        let session = Arc::clone(&actor.session);
        let at = if beats { next_beat } else { cotter_core::env::Moment::NEVER };
        tokio::select! {
            said = line.recv() => match said.as_deref() {
                None => return Ok(()),
                Some("beat") => { beats = true; say("beats"); }
                Some("close") => { session.close().await; say("closed"); }
                Some(said) => {
                    let words: Vec<&str> = said.split(' ').collect();
                    if let Err(error) = actor.obey(&words).await {
                        say(&format!("error {:?} {error}", error.kind()));
                    }
                }
            },
            Some((id, turn, place)) = turned.recv() => {
                actor.places.insert(id, place);
                match turn {
                    Ok(token) => say(&format!("turn {id} {token}")),
                    Err(error) => say(&format!("lost {id} {:?} {error}", error.kind())),
                }
            }
            event = session.event() => say(&format!("event {event:?}")),
            () = actor.env.sleep_until(at) => {
                next_beat = actor.env.now().after(Duration::from_secs(1));
                let live: Vec<_> = actor.claims.values().map(|claim| claim.id).collect();
                session.renew(&live).await?;
            }
        }
    }
}

fn mode(words: &[&str]) -> Mode {
    let number = |at: usize| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(1);
    match words.first() {
        Some(&"shared") => Mode::Shared,
        Some(&"permits") => Mode::Permits { count: number(1), limit: number(2) },
        _ => Mode::Exclusive,
    }
}

impl Actor {
    async fn obey(&mut self, words: &[&str]) -> Result<()> {
        match words {
            ["try", name, rest @ ..] => self.claim(name, mode(rest), Patience::Try).await,
            ["claim", name, rest @ ..] => self.claim(name, mode(rest), Patience::Wait).await,
            ["withdraw", id] => self.withdraw(id.parse().unwrap_or(0)).await,
            ["renew"] => {
                let live: Vec<_> = self.claims.values().map(|claim| claim.id).collect();
                let renewal = self.session.renew(&live).await?;
                say(&format!("renewed {:?}", renewal.gone));
                Ok(())
            }
            ["inspect", name] => {
                let line = self.session.inspect(&LockName::new(name)?).await?;
                let who = |side: &[cotter_core::contract::Waiter]| {
                    let pids: Vec<_> = side.iter().map(|one| one.bearer.pid.to_string()).collect();
                    pids.join(",")
                };
                say(&format!("line {} / {}", who(&line.holders), who(&line.waiters)));
                Ok(())
            }
            ["names", prefix @ ..] => {
                let names = self.session.names(prefix.first().copied().unwrap_or("")).await?;
                say(&format!("names {names:?}"));
                Ok(())
            }
            ["evict", name, token, words @ ..] => {
                let token = FencingToken::new(token.parse().unwrap_or(0));
                let name = LockName::new(name)?;
                let done = self.session.evict(&name, token, &words.join(" ")).await?;
                say(if done == Evicted::Done { "done" } else { "not" });
                Ok(())
            }
            ["cycle", name, times] => self.cycle(name, times.parse().unwrap_or(1), None).await,
            ["log", path, name, times] => {
                self.cycle(name, times.parse().unwrap_or(1), Some(path)).await
            }
            ["storm", path, name] => self.storm(name, path).await,
            ["fill", path] => fill(path),
            ["remove", path] => {
                std::fs::remove_file(path).map_err(failed)?;
                say("removed");
                Ok(())
            }
            ["bequeath"] => self.bequeath(),
            _ => {
                say("what?");
                Ok(())
            }
        }
    }

    fn new_claim(&self, name: &str, mode: Mode, patience: Patience) -> Result<Claim> {
        Ok(Claim {
            id: self.env.claim_id(),
            name: LockName::new(name)?,
            mode,
            recipe: Recipe::Lock,
            patience,
            note: "a note".into(),
            asked_at: self.env.now(),
        })
    }

    async fn claim(&mut self, name: &str, mode: Mode, patience: Patience) -> Result<()> {
        let claim = Arc::new(self.new_claim(name, mode, patience)?);
        let answer = self.session.claim(&claim).await?;
        self.count += 1;
        let id = self.count;
        match answer {
            Answer::Busy => say("busy"),
            Answer::Granted(grant, place) => {
                self.places.insert(id, place);
                self.claims.insert(id, claim);
                say(&format!("granted {id} {}", grant.token));
            }
            Answer::Queued(mut place) => {
                self.claims.insert(id, Arc::clone(&claim));
                say(&format!("queued {id}"));
                let (session, turns) = (Arc::clone(&self.session), self.turns.clone());
                self.env.spawn(async move {
                    let turn = session.wait(&claim, &mut place).await;
                    // The actor may be closed by now.
                    let _ = turns.send((id, turn.map(|grant| grant.token.number()), place));
                });
            }
        }
        Ok(())
    }

    async fn withdraw(&mut self, id: u32) -> Result<()> {
        let Some(claim) = self.claims.remove(&id) else {
            return Err(Error::new(cotter_core::Kind::Store, "no such claim in the actor"));
        };
        let left = self.session.withdraw(&claim, self.places.remove(&id)).await?;
        say(if left == Left::Released { "released" } else { "gone" });
        Ok(())
    }

    /// Starts a process that inherits the session's descriptor.
    fn bequeath(&self) -> Result<()> {
        let hold = self.session.hold_fd();
        rustix::io::fcntl_setfd(hold, rustix::io::FdFlags::empty())
            .map_err(|errno| failed(errno.into()))?;
        let mut command = std::process::Command::new("sleep");
        let heir = command.arg("600").stdin(std::process::Stdio::null()).spawn().map_err(failed)?;
        say(&format!("heir {}", heir.id()));
        Ok(())
    }

    /// Takes and gives back a lock so many times, and says each token, or appends it to a file.
    /// Takes and gives back the lock until it is killed. What it guards is the last token that was
    /// given: whoever is in here with another sees that.
    async fn storm(&mut self, name: &str, path: &str) -> Result<()> {
        use std::os::unix::fs::FileExt;
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        let last = || {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, 0).map(|()| u64::from_le_bytes(bytes)).map_err(failed)
        };
        say("storms");
        loop {
            let claim = self.new_claim(name, Mode::Exclusive, Patience::Wait)?;
            let (token, place) = self.taken(&claim).await?;
            if last()? >= token {
                say(&format!("wrong: {token} after {}", last()?));
            }
            file.write_all_at(&token.to_le_bytes(), 0).map_err(failed)?;
            std::thread::yield_now();
            if last()? != token {
                say(&format!("wrong: {} beside {token}", last()?));
            }
            self.session.withdraw(&claim, Some(place)).await?;
        }
    }

    async fn taken(&self, claim: &Claim) -> Result<(u64, Place)> {
        match self.session.claim(claim).await? {
            Answer::Granted(grant, place) => Ok((grant.token.number(), place)),
            Answer::Queued(mut place) => loop {
                tokio::select! {
                    grant = self.session.wait(claim, &mut place) => {
                        return Ok((grant?.token.number(), place));
                    }
                    _ = self.session.event() => {}
                }
            },
            Answer::Busy => Err(Error::new(cotter_core::Kind::Store, "it waits")),
        }
    }

    async fn cycle(&mut self, name: &str, times: u32, log: Option<&str>) -> Result<()> {
        let note = |token: FencingToken| {
            let Some(path) = log else {
                say(&format!("token {token}"));
                return Ok(());
            };
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
            std::io::Write::write_all(&mut file, format!("{token}\n").as_bytes())
        };
        for _ in 0..times {
            let claim = self.new_claim(name, Mode::Exclusive, Patience::Wait)?;
            let place = match self.session.claim(&claim).await? {
                Answer::Granted(grant, place) => {
                    note(grant.token).map_err(failed)?;
                    place
                }
                Answer::Queued(mut place) => {
                    let session = Arc::clone(&self.session);
                    let grant = loop {
                        tokio::select! {
                            grant = session.wait(&claim, &mut place) => break grant?,
                            _ = session.event() => {}
                        }
                    };
                    note(grant.token).map_err(failed)?;
                    place
                }
                Answer::Busy => continue,
            };
            self.session.withdraw(&claim, Some(place)).await?;
        }
        say("cycled");
        Ok(())
    }
}
