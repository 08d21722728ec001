//! `cotter run LOCK... -- COMMAND`: the command runs only while the locks are held.
//!
//! ```text
//!   fork the guard ─► open the store ─► held by a run around us? ── all ──► become the command
//!                                              │ some or none
//!                                              ▼
//!                                           acquire ── busy, signal ──► leave
//!                                              ▼
//!                                     start the command (its group known to the guard)
//!                                              ▼
//!                                          supervise until nothing of it is left
//!                                              ▼
//!                                     --at-least-for ─► release ─► dismiss the guard ─► exit
//! ```
//!
//! Promises: the command's first instruction runs after the grant, and the release comes after its
//! last process is gone; whatever kills this process kills the command too; where a lease ends, the
//! command is dead before that.
//!
//! Not promised: that nobody else holds the lock until the command is dead, if the lock was *taken
//! away*. After an eviction the store may grant the lock to the next at once, and we hear of it
//! only then (with the local store that is always so): the command is stopped, but for as long as
//! that takes both run. That, and what a paused *machine* does, only a fencing token catches, so
//! the command is given it in `COTTER_TOKEN`.

mod acquire;
mod child;
mod command;
mod events;
mod guard_process;
pub(crate) mod held;
mod hold;
mod lease;
pub(crate) mod signals;
mod supervise;
mod survivors;
mod sys;
mod task;
mod terminal;
mod under;
mod voice;

use std::io;
use std::os::unix::process::CommandExt;

pub(crate) use acquire::{claimant, holders};
use cotter::contract::{Failover, TokenStrength};
use cotter::env::wall_clock;
use cotter::{Client, Kind, LockName, Mode};
use rustix::process::{
    DumpableBehavior, Signal, getpid, kill_current_process_group, kill_process,
    set_dumpable_behavior,
};

use self::acquire::{Outcome, Report};
use self::child::Earlier;
use self::events::{Event, Events};
use self::guard_process::GuardProcess;
use self::held::{Held, Nested, Told};
use self::signals::Signals;
use self::sys::Mask;
pub(crate) use self::task::Task;
use self::terminal::Terminal;
use self::voice::{Loudness, Voice};
use crate::exit::{Exit, Failure};
use crate::store;

/// Runs a command under locks. To be called while this process has one thread.
pub(crate) fn run(task: &Task<'_>) -> Exit {
    let how = task.how;
    let loudness = match (how.quiet, how.verbose) {
        (true, _) => Loudness::Quiet,
        (_, true) => Loudness::Verbose,
        _ => Loudness::Normal,
    };
    let mut voice = Voice::new(loudness);
    let earlier = Earlier::look();
    let prepared = refuse_nonsense(task).and_then(|()| {
        let events = Events::open(how.json_events.as_deref())?;
        Ok((events, GuardProcess::start().map_err(|error| at_a_limit(&error))?))
    });
    let (events, guard) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => {
            voice.say(Loudness::Quiet, &failure.message);
            return failure.exit;
        }
    };
    // The terminal is given and taken from the background, which SIGTTOU would stop us for.
    let mask = Mask::of(&[Signal::TTOU.as_raw()]).block();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            guard.dismiss();
            voice.say(Loudness::Quiet, &at_a_limit(&error).message);
            return Exit::UNAVAILABLE;
        }
    };
    let (end, decided_by) = (End::Code, "cotter");
    let mut runner = Runner { task, guard: &guard, mask, earlier, voice, events, end, decided_by };
    let exit = runtime.block_on(runner.run());
    let end = runner.end;
    // What still blocks in another thread must not keep the shell waiting.
    runtime.shutdown_background();
    guard.dismiss();
    end.follow();
    exit
}

/// In which way this process ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// With an exit code.
    Code,
    /// Of this signal, for a shell to see.
    Alone(Signal),
    /// The same, together with the rest of our process group.
    WithGroup(Signal),
}

impl End {
    /// Ends this process, where it is to end of a signal; where that fails, there is the exit code.
    fn follow(self) {
        let (End::Alone(signal) | End::WithGroup(signal)) = self else { return };
        if !sys::let_end_us(signal) {
            return;
        }
        // That the command was told to quit is no reason to write down our memory.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        let _ = match self {
            End::WithGroup(_) => kill_current_process_group(signal),
            _ => kill_process(getpid(), signal),
        };
    }
}

fn refuse_nonsense(task: &Task<'_>) -> Result<(), Failure> {
    if task.locks.len() > 1 && task.mode() != Mode::Exclusive {
        let message = "several locks are taken exclusively only; leave --shared or --slots out";
        return Err(Failure::new(Exit::USAGE, message));
    }
    Ok(())
}

fn at_a_limit(error: &io::Error) -> Failure {
    Failure::new(Exit::UNAVAILABLE, format!("this process is at a limit: {error}"))
}

/// One run.
struct Runner<'a> {
    task: &'a Task<'a>,
    guard: &'a GuardProcess,
    mask: Mask,
    earlier: Earlier,
    voice: Voice,
    events: Events,
    end: End,
    /// Whose the exit code is: `cotter` or `command`.
    decided_by: &'static str,
}

impl Runner<'_> {
    async fn run(&mut self) -> Exit {
        let exit = match self.run_or_fail().await {
            Ok(exit) => exit,
            Err(failure) => {
                self.fail(Loudness::Quiet, &failure);
                failure.exit
            }
        };
        self.events.emit(&Event::Finished { exit: exit.0, decided_by: self.decided_by });
        exit
    }

    fn fail(&mut self, at_least: Loudness, failure: &Failure) {
        let Failure { exit, message } = failure;
        self.events.emit(&Event::Failed { exit: exit.0, message });
        self.voice.say(at_least, message);
    }

    async fn run_or_fail(&mut self) -> Result<Exit, Failure> {
        let mut signals = Signals::hear_ending().map_err(|error| at_a_limit(&error))?;
        let how = self.task.how;
        let url = how.store.url()?;
        let client = store::connect_with(&url, command::shown(how), how.lease).await?;
        self.voice.say(Loudness::Verbose, &format!("the store is {}", client.address()));
        let (reentered, missing) = self.split_by_nesting(&client).await?;
        if missing.is_empty() {
            return self.become_the_command(&client, &reentered).await;
        }
        self.say_what_is_not_promised(&client).await?;
        let asked_at = client.env().now();
        let hold = match self.acquire(&client, &missing, &mut signals).await? {
            Outcome::Held(hold) => hold,
            Outcome::Busy => {
                let busy = self.busy(&client, &missing).await;
                // That a lock is busy is what -q asks not to hear of; the exit code says it.
                self.fail(Loudness::Normal, &busy);
                return Ok(busy.exit);
            }
            Outcome::Cancelled(signal) => {
                self.close(&client).await;
                return Ok(self.cancelled(signal));
            }
        };
        let waited = client.env().now().since(asked_at);
        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        let mut holds = hold.held(client.address(), &missing);
        self.events.emit(&Event::Acquired { holds: &holds, waited_ms });
        self.voice
            .say(Loudness::Verbose, &format!("acquired {} after {waited:.1?}", names(&holds)));
        holds.extend(reentered);
        let place =
            |held: &Held| self.task.locks.iter().position(|lock| lock.as_str() == held.lock);
        holds.sort_by_key(place);
        let exit = self.under(&client, hold, &holds, &mut signals).await;
        self.close(&client).await;
        exit
    }

    /// Of a store on other machines people must know what it may forget. Once: the runs inside this
    /// one do not say it again.
    async fn say_what_is_not_promised(&mut self, client: &Client) -> Result<(), Failure> {
        let profile = client.profile().await?;
        if ["local", "memory"].contains(&profile.store) || !held::told().is_empty() {
            return Ok(());
        }
        let weakness = match (profile.failover, profile.token) {
            (Failover::MayForget, _) => {
                "a fail-over of this store may forget who holds a lock; two can hold it then, and \
                 only the token tells them apart"
            }
            (Failover::Keeps, TokenStrength::Volatile) => {
                "this store keeps its locks in memory; once its server was restarted another may \
                 hold them too"
            }
            _ => return Ok(()),
        };
        self.voice.say(Loudness::Normal, &format!("note: {weakness}"));
        Ok(())
    }

    /// A signal ended the wait. `^C` has reached our whole group; a shell's loop goes on all the
    /// same unless we die of it.
    fn cancelled(&mut self, signal: Signal) -> Exit {
        let exit = Exit::by_signal(signal.as_raw());
        let name = signals::name(signal.as_raw());
        self.events.emit(&Event::Cancelled { signal: &name, exit: exit.0 });
        self.voice.say(Loudness::Verbose, &format!("stopped waiting: SIG{name}"));
        let is_key = [Signal::INT, Signal::QUIT].contains(&signal);
        if is_key && Terminal::controlling().is_some_and(|tty| tty.hears_keys_for_us()) {
            self.end = End::Alone(signal);
        }
        exit
    }

    async fn acquire(
        &mut self,
        client: &Client,
        missing: &[LockName],
        signals: &mut Signals,
    ) -> Result<Outcome, Failure> {
        let report = Report::new(&mut self.voice, &mut self.events);
        match acquire::acquire(client, self.task, missing, signals, report).await {
            Ok(outcome) => Ok(outcome),
            Err(error) if error.kind() == Kind::TimedOut => Ok(Outcome::Busy),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells the locks that a run around us holds from those that must be claimed.
    async fn split_by_nesting(
        &mut self,
        client: &Client,
    ) -> Result<(Vec<Held>, Vec<LockName>), Failure> {
        let told = held::told();
        let (mut reentered, mut missing) = (Vec::new(), Vec::new());
        for lock in self.task.locks {
            if missing.contains(lock)
                || reentered.iter().any(|held: &Held| held.lock == lock.as_str())
            {
                continue;
            }
            let mut about = held::about(&told, client.address(), lock).peekable();
            if about.peek().is_none() {
                missing.push(lock.clone());
                continue;
            }
            let line_up = client.lock(lock.as_str()).line_up().await?;
            match held::compare(about, &line_up, self.task.mode())? {
                Nested::Reenter(held) => reentered.push(held),
                Nested::Claim => missing.push(lock.clone()),
            }
        }
        if !reentered.is_empty() {
            self.events.emit(&Event::Reentered { holds: &reentered });
        }
        Ok((reentered, missing))
    }

    /// All locks are held by a run around us, which also waits for us and stops us: nothing is left
    /// to do here but the command.
    async fn become_the_command(
        &mut self,
        client: &Client,
        holds: &[Held],
    ) -> Result<Exit, Failure> {
        let mut command = command::of(self.task.how);
        let store = &self.task.how.store.told(client.address());
        Told { holds, store, acquired_at: wall_clock(), lease: None, value: None }
            .put_into(&mut command);
        self.voice.say(Loudness::Verbose, &format!("{} is held by a run around", names(holds)));
        self.close(client).await;
        self.guard.dismiss();
        self.mask.restore();
        Err(command::not_started(self.task.how, &command.exec()))
    }

    /// Ends the session, so that no claim of ours is left.
    async fn close(&self, client: &Client) {
        store::close(client).await;
    }

    async fn busy(&self, client: &Client, missing: &[LockName]) -> Failure {
        let mut message = match self.task.how.try_only {
            true => "busy".to_owned(),
            false => format!("not acquired within {:.1?}", self.task.how.wait.unwrap_or_default()),
        };
        for lock in missing {
            // Who it is, is a courtesy.
            let line_up = client.lock(lock.as_str()).line_up().await.ok();
            let holder = line_up.as_ref().and_then(|line_up| holders(&line_up.holders));
            if let Some(holder) = holder {
                message.push_str(&format!(": {lock} is held by {holder}"));
                break;
            }
        }
        self.close(client).await;
        Failure::new(self.conflict_exit(), message)
    }

    fn conflict_exit(&self) -> Exit {
        self.task.how.conflict_exit_code.map_or(Exit::BUSY, Exit)
    }
}

fn names(holds: &[Held]) -> String {
    holds.iter().map(|held| held.lock.as_str()).collect::<Vec<_>>().join(", ")
}
