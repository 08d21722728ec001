//! From the command's first instruction to the end of the last process it left.
//!
//! ```text
//!              ends, something of it runs on                    all gone
//!   Running ─────────────────────────────────► Leaving ───────────────────────► done
//!      │                                          │                               ▲
//!      │ lost, lease about to end, max hold       │ the same                      │
//!      ▼                                          ▼                               │
//!   Stopping: TERM to all ── grace ──► KILL to all ───────────────────────────────┘
//! ```
//!
//! The lock is released after "done" and never before. While it is held nothing but a loss, a limit
//! or somebody's signal ends what the command left: as with flock(1), a background process keeps
//! it.

use std::time::Duration;

use cotter::Why;
use cotter::env::{Env, Moment};
use rustix::process::Signal;
use tokio::signal::unix::Signal as SignalStream;

use super::child::{Change, Child, Ending, Left};
use super::events::{Event, Events};
use super::guard_process::GuardProcess;
use super::hold::Hold;
use super::lease;
use super::signals::{self, Signals};
use super::terminal::{Terminal, stop_own_group};
use super::voice::{Loudness, Voice};
use crate::args::{HowArgs, IfLost};

/// How often processes are looked for whose end nobody tells us.
const LOOK_FOR_STRANGERS: Duration = Duration::from_millis(50);
/// A command's leftovers that are gone by then are not worth a word.
const SAY_LEFT_AFTER: Duration = Duration::from_secs(1);
/// The guard process kills this long before another may hold the lock: after our own KILL, so that
/// it only acts when we cannot.
const GUARD_MARGIN: Duration = Duration::from_millis(100);

/// What a run is watched with and told through.
pub(super) struct Supervisor<'a> {
    pub(super) how: &'a HowArgs,
    pub(super) env: &'a Env,
    pub(super) hold: &'a Hold,
    pub(super) child: &'a Child,
    pub(super) guard: &'a GuardProcess,
    pub(super) terminal: Option<&'a Terminal>,
    pub(super) signals: &'a mut Signals,
    pub(super) voice: &'a mut Voice,
    pub(super) events: &'a mut Events,
    /// How long the command has between TERM and KILL.
    pub(super) grace: Duration,
    /// When the locks were acquired.
    pub(super) since: Moment,
    /// Whether the command has the terminal.
    pub(super) has_terminal: bool,
}

/// How it all went.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// How the command ended.
    pub(super) ending: Option<Ending>,
    /// Whether a lock was lost before everything was over.
    pub(super) is_lost: bool,
    /// Whether the command, or what it left, was stopped for that or for a limit.
    pub(super) was_stopped: bool,
    /// The signal of `^C` or `^\`, if the command died of it while it had the terminal.
    pub(super) interrupted: Option<Signal>,
}

/// Where it stands.
#[derive(Default)]
struct State {
    course: Course,
    ended_at: Option<Moment>,
    said_left: bool,
    left: Option<Left>,
    kill_at: Option<Moment>,
    is_killed: bool,
    /// When the guard process kills the command unless we tell it another time.
    guard_kills_at: Option<Moment>,
}

impl Supervisor<'_> {
    /// Watches until nothing of the command is left.
    pub(super) async fn watch(mut self, children: &mut SignalStream) -> Course {
        let mut state = State::default();
        let hold = self.hold;
        loop {
            for change in self.child.reap() {
                self.note(&mut state, change);
            }
            if state.course.ending.is_some() && self.is_all_gone(&mut state) {
                self.look_back(&mut state);
                return state.course;
            }
            self.act_on_time(&mut state);
            let alarm = self.alarm(&state);
            let listens = !state.course.is_lost;
            tokio::select! {
                biased;
                (lock, why) = hold.lost(), if listens => self.lose(&mut state, lock.as_str(), &why),
                _ = children.recv() => {}
                signal = self.signals.next() => self.pass_on(signal),
                () = self.env.sleep_until(alarm) => {}
            }
        }
    }

    /// Looks at what the command has left.
    fn is_all_gone(&mut self, state: &mut State) -> bool {
        let left = self.child.left();
        state.left = Some(left);
        if self.child.group_is_gone() {
            self.guard.forget_group();
            self.take_terminal_back();
        }
        if state.is_killed {
            // Orphans that became ours by that very KILL have not had it.
            self.child.signal_all(Signal::KILL);
        }
        left == Left::Nothing
    }

    /// Everything is gone, but was the lock ours until now? If this process did not run for a
    /// while, the guard may have killed the command, and nobody has told us yet.
    fn look_back(&mut self, state: &mut State) {
        let is_past_guard = state.guard_kills_at.is_some_and(|at| at <= self.env.now());
        if is_past_guard && state.course.ending == Some(Ending::Signal(Signal::KILL.as_raw())) {
            state.course.was_stopped = true;
            let what = "this process stood still until the lease was about to end; the guard \
                        process has killed the command";
            self.voice.say(Loudness::Quiet, what);
        }
        let Err(error) = self.hold.check() else { return };
        if state.course.is_lost {
            return;
        }
        state.course.is_lost = true;
        state.course.was_stopped |= self.how.if_lost == IfLost::Kill;
        let lock = error.lock().unwrap_or_default();
        let reason = error.why().map(Why::to_string).unwrap_or_default();
        self.events.emit(&Event::Lost { lock, reason: &reason });
        let message = format!("lost {lock} before the command had ended: {reason}");
        self.voice.say(Loudness::Quiet, &message);
    }

    /// A child ended or stopped.
    fn note(&mut self, state: &mut State, change: Change) {
        match change {
            Change::Ended(ending) => {
                state.course.ending = Some(ending);
                state.ended_at = Some(self.env.now());
                let (code, signal) = match ending {
                    Ending::Code(code) => (Some(code), None),
                    Ending::Signal(signal) => (None, Some(signals::name(signal))),
                };
                let died_of = |signal: &Signal| ending == Ending::Signal(signal.as_raw());
                state.course.interrupted = [Signal::INT, Signal::QUIT]
                    .into_iter()
                    .find(died_of)
                    .filter(|_| self.has_terminal);
                self.events.emit(&Event::Exited { code, signal });
            }
            Change::Stopped(signal) => self.follow_stop(state, signal),
            Change::GuardEnded => self.voice.say(
                Loudness::Quiet,
                "the guard process was killed; should this one be too, the command may run on",
            ),
        }
    }

    /// Passes a signal on to the command.
    fn pass_on(&mut self, signal: Signal) {
        let signal = self.signals.escalated(signal);
        self.events.emit(&Event::Signalled { signal: &signals::name(signal.as_raw()) });
        self.child.signal(signal);
    }

    /// A lock is lost.
    fn lose(&mut self, state: &mut State, lock: &str, why: &Why) {
        state.course.is_lost = true;
        let reason = why.to_string();
        self.events.emit(&Event::Lost { lock, reason: &reason });
        match self.how.if_lost {
            IfLost::Kill => {
                // Past its deadline another may hold the lock already: there is no time to give.
                let grace = if *why == Why::Expired { Duration::ZERO } else { self.grace };
                self.stop(state, "lost", grace);
                let message = format!("lost {lock}: {reason}; stopping the command");
                self.voice.say(Loudness::Quiet, &message);
            }
            IfLost::Warn => {
                self.voice
                    .say(Loudness::Quiet, &format!("lost {lock}: {reason}; the command runs on"));
            }
            IfLost::Signal(signal) => {
                self.child.signal_all(signal);
                let name = signals::name(signal.as_raw());
                self.voice.say(Loudness::Quiet, &format!("lost {lock}: {reason}; sent SIG{name}"));
            }
        }
    }

    /// Does what is due.
    fn act_on_time(&mut self, state: &mut State) {
        let now = self.env.now();
        if state.kill_at.is_some_and(|at| at <= now) && !state.is_killed {
            state.is_killed = true;
            self.child.signal_all(Signal::KILL);
        }
        if self.max_hold_at().is_some_and(|at| at <= now) && state.kill_at.is_none() {
            self.stop(state, "max_hold", lease::time_to_end(self.hold.valid_for(), self.grace));
            let what = "the lock was held for --max-hold; stopping the command";
            self.voice.say(Loudness::Quiet, what);
        }
        if self.how.if_lost == IfLost::Kill && !state.course.is_lost {
            self.mind_the_lease(state);
        }
        if state.ended_at.is_some_and(|at| at.after(SAY_LEFT_AFTER) <= now) && !state.said_left {
            state.said_left = true;
            let what = "the command has ended, but something it started runs on; waiting for that";
            self.voice.say(Loudness::Normal, what);
        }
    }

    /// Compares the lease with the time that stopping takes, and has the guard do the same.
    fn mind_the_lease(&mut self, state: &mut State) {
        let valid_for = self.hold.valid_for();
        let Some(valid) = valid_for else { return };
        let last = self.env.now().after(valid.saturating_sub(GUARD_MARGIN));
        self.guard.watch_until(last);
        state.guard_kills_at = Some(last);
        if lease::until_stop(valid_for, self.grace) == Some(Duration::ZERO)
            && state.kill_at.is_none()
        {
            self.stop(state, "lease_ends", lease::time_to_end(valid_for, self.grace));
            let what = "the store has not answered and the lease is about to end; stopping the \
                        command";
            self.voice.say(Loudness::Quiet, what);
        }
    }

    /// Tells the command and all it left to end, and sets the time at which they are killed.
    fn stop(&mut self, state: &mut State, reason: &str, grace: Duration) {
        let kill_at = self.env.now().after(grace);
        if state.kill_at.is_some_and(|earlier| earlier <= kill_at) {
            return;
        }
        state.kill_at = Some(kill_at);
        state.course.was_stopped = true;
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.events.emit(&Event::Stopping { reason, grace_ms });
        if grace.is_zero() {
            return; // The next look at the time kills at once.
        }
        self.child.signal_all(Signal::TERM);
        // A stopped process takes its TERM only when it goes on.
        self.child.signal_all(Signal::CONT);
    }

    /// The next moment at which something is due.
    fn alarm(&self, state: &State) -> Moment {
        let now = self.env.now();
        let mut alarm = Moment::NEVER;
        let mut due = |at: Option<Moment>| alarm = alarm.min(at.unwrap_or(Moment::NEVER));
        due(state.kill_at.filter(|_| !state.is_killed));
        due(self.max_hold_at().filter(|_| state.kill_at.is_none()));
        due(state.ended_at.map(|at| at.after(SAY_LEFT_AFTER)).filter(|_| !state.said_left));
        due((state.left == Some(Left::Strangers)).then(|| now.after(LOOK_FOR_STRANGERS)));
        if self.how.if_lost == IfLost::Kill && !state.course.is_lost && state.kill_at.is_none() {
            let valid_for = self.hold.valid_for();
            let stop = lease::until_stop(valid_for, self.grace);
            due(stop.map(|stop| now.after(stop)));
            due(valid_for.map(|valid_for| now.after(lease::look_every(valid_for))));
        }
        alarm
    }

    fn max_hold_at(&self) -> Option<Moment> {
        self.how.max_hold.map(|limit| self.since.after(limit))
    }

    /// The command was stopped: the shell above must get the terminal and see us stopped too.
    fn follow_stop(&mut self, state: &mut State, signal: i32) {
        // Off a terminal, whoever stopped the command will continue it.
        let Some(terminal) = self.terminal else { return };
        let wants_terminal = [Signal::TTIN, Signal::TTOU].map(Signal::as_raw).contains(&signal);
        if wants_terminal && !self.has_terminal && terminal.is_ours() {
            return self.go_on(terminal);
        }
        self.take_terminal_back();
        if stop_own_group() {
            self.return_from_stop(state, terminal);
        } else if signal == Signal::TSTP.as_raw() {
            // Nobody could ever continue it, and without us the kernel would not have stopped it.
            self.go_on(terminal);
        }
    }

    /// Somebody continued us. The lock may have been lost in the meantime; then the command must
    /// not make another step.
    fn return_from_stop(&mut self, state: &mut State, terminal: &Terminal) {
        if self.how.if_lost == IfLost::Kill && self.hold.check().is_err() {
            self.stop(state, "lost", Duration::ZERO);
            self.act_on_time(state);
        } else {
            self.go_on(terminal);
        }
    }

    /// Lets a stopped command go on, in the foreground if we are.
    fn go_on(&mut self, terminal: &Terminal) {
        if terminal.is_ours() {
            terminal.give(self.child.group());
            self.has_terminal = true;
        }
        self.child.signal(Signal::CONT);
    }

    fn take_terminal_back(&mut self) {
        if let (Some(terminal), true) = (self.terminal, self.has_terminal) {
            terminal.take_back();
            self.has_terminal = false;
        }
    }
}
