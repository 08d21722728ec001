//! Clients on blocking sockets: a thread for each task, with a connection of its own.

use std::sync::Barrier;

use rustix::thread::{NanosleepRelativeResult, Timespec, nanosleep};

use super::{Driver, give_up};
use crate::Outcome;
use crate::compare::work::{Hold, Work};
use crate::measure::now_nanos;

/// A lock on a connection that nobody else uses.
pub(crate) trait Blocking: Send + Sized {
    /// What is known of a lock that is held.
    type Held;

    fn open(work: &Work) -> Outcome<Self>;
    fn acquire(&mut self, name: &str) -> Outcome<Self::Held>;
    fn release(&mut self, name: &str, held: Self::Held) -> Outcome<()>;
    fn close(self) -> Outcome<()>;
}

/// All threads of one kind of client.
#[derive(Debug, Default)]
pub(crate) struct Threads<B> {
    open: Option<(Vec<B>, Work)>,
}

impl<B> Threads<B> {
    pub(crate) fn new() -> Self {
        Self { open: None }
    }
}

impl<B: Blocking> Driver for Threads<B> {
    fn open(&mut self, work: &Work) -> Outcome<()> {
        if work.clients != work.tasks {
            return Err("a raw lock is alone on its connection".into());
        }
        let sessions: Outcome<Vec<B>> = (0..work.clients).map(|_| B::open(work)).collect();
        self.open = Some((sessions?, work.clone()));
        Ok(())
    }

    fn run(&mut self) -> Outcome<Vec<Hold>> {
        let (sessions, work) = self.open.as_mut().ok_or("no session is open")?;
        let work = &*work;
        let barrier = Barrier::new(sessions.len());
        std::thread::scope(|scope| {
            let tasks: Vec<_> = sessions
                .iter_mut()
                .zip(0..)
                .map(|(session, task)| {
                    let barrier = &barrier;
                    scope.spawn(move || {
                        take_turns(session, work, task, barrier)
                            .unwrap_or_else(|error| give_up(error.as_ref()))
                    })
                })
                .collect();
            let mut holds = Vec::new();
            for task in tasks {
                holds.extend(task.join().map_err(|_| "a thread panicked")?);
            }
            Ok(holds)
        })
    }

    fn close(&mut self) -> Outcome<()> {
        let open = self.open.take().into_iter();
        open.flat_map(|(sessions, _)| sessions).try_for_each(Blocking::close)
    }
}

fn take_turns(
    session: &mut impl Blocking,
    work: &Work,
    task: u32,
    barrier: &Barrier,
) -> Outcome<Vec<Hold>> {
    let name = format!("{}/{}", work.path, task % work.names);
    barrier.wait();
    let end = now_nanos() + u64::from(work.millis) * 1_000_000;
    let mut holds = Vec::new();
    for round in 0.. {
        let is_over = if work.rounds > 0 { round == work.rounds } else { now_nanos() >= end };
        if is_over {
            break;
        }
        if work.rounds > 0 {
            barrier.wait();
        }
        let asked = now_nanos();
        let held = session.acquire(&name)?;
        let acquired = now_nanos();
        if !work.hold_busily() {
            sleep(work.hold_micros);
        }
        let releasing = now_nanos();
        session.release(&name, held)?;
        holds.push(Hold { task, asked, acquired, releasing, released: now_nanos() });
    }
    Ok(holds)
}

fn sleep(micros: u32) {
    let mut rest = Timespec {
        tv_sec: i64::from(micros / 1_000_000),
        tv_nsec: i64::from(micros % 1_000_000) * 1_000,
    };
    while let NanosleepRelativeResult::Interrupted(left) = nanosleep(&rest) {
        rest = left;
    }
}
