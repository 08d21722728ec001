//! What happens while the locks are held: the command is started, supervised, and its end told.

use std::time::Duration;

use cotter::Client;
use cotter::env::wall_clock;
use rustix::process::{getpid, set_child_subreaper};
use tokio::signal::unix::{SignalKind, signal};

use super::child::{Child, Ending, Launch};
use super::events::Event;
use super::held::{Held, Told};
use super::hold::Hold;
use super::signals::Signals;
use super::supervise::{Course, Supervisor};
use super::terminal::Terminal;
use super::voice::Loudness;
use super::{End, Runner, at_a_limit, command, lease};
use crate::args::IfLost;
use crate::exit::{Exit, Failure};

impl Runner<'_> {
    /// The command runs here, and the locks are given back here.
    pub(super) async fn under(
        &mut self,
        client: &Client,
        hold: Hold,
        holds: &[Held],
        signals: &mut Signals,
    ) -> Result<Exit, Failure> {
        let env = client.env().clone();
        let since = env.now();
        let course = match self.start_and_watch(client, &hold, holds, signals).await {
            Ok(course) => course,
            Err(failure) => {
                // The failure is what matters now; the session's end frees what this could not.
                let _ = hold.release().await;
                return Err(failure);
            }
        };
        if let (Some(least), false) = (self.task.how.at_least_for, course.is_lost) {
            tokio::select! {
                () = env.sleep_until(since.after(least)) => {}
                _ = signals.next_ending() => {}
                _ = hold.lost() => {}
            }
        }
        let was_lost = course.is_lost;
        let left = hold.release().await;
        let held_ms = u64::try_from(env.now().since(since).as_millis()).unwrap_or(u64::MAX);
        match left {
            Ok(_) if was_lost => {}
            Ok(cotter::Left::Released) => self.events.emit(&Event::Released { held_ms }),
            Ok(cotter::Left::WasGone) => {
                let message = "the lock was gone already when it was given back";
                self.voice.say(Loudness::Quiet, message);
                if self.task.how.if_lost == IfLost::Kill || self.task.how.lost_exit_code.is_some() {
                    return Ok(self.lost_exit());
                }
            }
            Err(error) => self.voice.say(Loudness::Quiet, &format!("on giving back: {error}")),
        }
        Ok(self.exit(&course))
    }

    async fn start_and_watch(
        &mut self,
        client: &Client,
        hold: &Hold,
        holds: &[Held],
        signals: &mut Signals,
    ) -> Result<Course, Failure> {
        let since = client.env().now();
        let grace = self.grace(client, hold).await?;
        let inherited = if self.task.how.close_hold_fd { Vec::new() } else { hold.descriptors() };
        let mut command = command::of(self.task.how);
        let store = &self.task.how.store.told(client.address());
        let lease = hold.valid_for();
        let value = self.task.value(client);
        let value = value.as_deref();
        Told { holds, store, acquired_at: wall_clock(), lease, value }.put_into(&mut command);
        let mut children = signal(SignalKind::child()).map_err(|error| at_a_limit(&error))?;
        signals.hear_steering().map_err(|error| at_a_limit(&error))?;
        // Without it, orphans of the command are not ours to wait for; the group still is.
        let _ = set_child_subreaper(Some(getpid()));
        let terminal = Terminal::controlling();
        let given = terminal.as_ref().filter(|terminal| terminal.is_for_the_command());
        let has_terminal = given.is_some();
        if !self.guard.is_alive() {
            let message = "the guard process was killed; the command was not started";
            return Err(Failure::new(Exit::NOT_STARTED, message));
        }
        if let Some(claim) = hold.claim() {
            self.guard.watch_claim(claim);
        }
        let (guard, mask, earlier) = (self.guard, self.mask, self.earlier.clone());
        let launch = Launch { guard, terminal: given, inherited, mask, earlier };
        let child = Child::start(command, launch).map_err(|error| {
            if let Some(terminal) = given {
                terminal.take_back();
            }
            command::not_started(self.task.how, &error)
        })?;
        self.events.emit(&Event::Started { pid: child.group().as_raw_nonzero().get() });
        let supervisor = Supervisor {
            how: self.task.how,
            env: client.env(),
            hold,
            child: &child,
            guard: self.guard,
            terminal: terminal.as_ref(),
            signals,
            voice: &mut self.voice,
            events: &mut self.events,
            grace,
            since,
            has_terminal,
        };
        Ok(supervisor.watch(&mut children).await)
    }

    /// How long the command is given to end.
    async fn grace(&self, client: &Client, hold: &Hold) -> Result<Duration, Failure> {
        let (asked, valid_for) = (self.task.how.grace, hold.valid_for());
        if self.task.how.if_lost != IfLost::Kill {
            return Ok(asked.unwrap_or(lease::USUAL_GRACE));
        }
        let renew_every = client.profile().await?.renew_every;
        lease::grace(asked, valid_for, renew_every).ok_or_else(|| {
            let valid_for = valid_for.unwrap_or_default();
            let message = format!(
                "the hold stands for {valid_for:.1?} without word from the store, which leaves no \
                 time to stop the command before another may have the lock; use a longer --lease \
                 or a shorter --grace"
            );
            Failure::new(Exit::UNSAFE, message)
        })
    }

    fn lost_exit(&self) -> Exit {
        self.task.how.lost_exit_code.map_or(Exit::LOST, Exit)
    }

    /// What the whole course means to a script.
    fn exit(&mut self, course: &Course) -> Exit {
        let tells_loss =
            course.was_stopped || (course.is_lost && self.task.how.lost_exit_code.is_some());
        if tells_loss {
            return self.lost_exit();
        }
        self.decided_by = "command";
        if let Some(signal) = course.interrupted {
            self.end = End::WithGroup(signal);
        }
        match course.ending {
            Some(Ending::Code(code)) => Exit(code),
            Some(Ending::Signal(signal)) => Exit::by_signal(signal),
            // The course ends only after the command.
            None => Exit::NOT_STARTED,
        }
    }
}
