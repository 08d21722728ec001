//! The floors: what a client on a blocking socket with commands made by hand can reach.
//!
//! * [`Floor`] sets a key and deletes it: what every lock on Redis must pay, and no line. Many
//!   tasks on one connection are pipelined.
//! * [`Queue`] is the least lock with a line: two scripts, the second of which hands over and
//!   tells the next one alone, on the same connection.
//! * [`Pop`] takes the one element of a list and puts it back: the server's own line. It has no
//!   lease and no token, so it is a bound and not a lock.

use std::collections::VecDeque;

use super::session::{Reply, Session};
use crate::Outcome;
use crate::compare::work::{Hold, Work};
use crate::drive::Driver;
use crate::drive::threads::Blocking;
use crate::measure::now_nanos;

pub(super) const LEAVE: &str = include_str!("scripts/leave.lua");
const QUEUE_ASK: &str = include_str!("scripts/queue_ask.lua");
const QUEUE_LEAVE: &str = include_str!("scripts/queue_leave.lua");

/// Longer than any piece of work, so that nobody has to renew.
pub(super) const LEASE_MS: &str = "60000";

#[derive(Debug)]
pub(crate) struct Floor {
    open: Option<(Session, String, Work)>,
}

impl Floor {
    pub(crate) fn new() -> Self {
        Self { open: None }
    }
}

/// A command that is not answered, and when its task asked for the lock.
enum Asked {
    Set { asked: u64 },
    Delete { asked: u64, acquired: u64 },
}

impl Driver for Floor {
    fn open(&mut self, work: &Work) -> Outcome<()> {
        let mut session = Session::open(&work.server)?;
        let leave = session.load(LEAVE)?;
        self.open = Some((session, leave, work.clone()));
        Ok(())
    }

    /// Every task's next command leaves with all others that are due at that moment.
    fn run(&mut self) -> Outcome<Vec<Hold>> {
        let (session, leave, work) = self.open.as_mut().ok_or("no session is open")?;
        let end = now_nanos() + u64::from(work.millis) * 1_000_000;
        let names = (0..work.tasks).map(|task| format!("{}/{}", work.path, task % work.names));
        let names: Vec<String> = names.collect();
        let mut holds = Vec::new();
        let mut unanswered = VecDeque::new();
        let ask = |session: &mut Session, unanswered: &mut VecDeque<_>, task: u32| {
            unanswered.push_back((task, Asked::Set { asked: now_nanos() }));
            session.gather(&["SET", &names[task as usize], "me", "NX", "PX", LEASE_MS]);
        };
        (0..work.tasks).for_each(|task| ask(session, &mut unanswered, task));
        while let Some((task, what)) = unanswered.pop_front() {
            if !session.has_reply() {
                session.send()?;
            }
            match (what, session.reply()?) {
                (Asked::Set { asked }, Reply::Text(_)) => {
                    session.gather(&["EVALSHA", leave, "1", &names[task as usize], "me"]);
                    unanswered.push_back((task, Asked::Delete { asked, acquired: now_nanos() }));
                }
                (Asked::Delete { asked, acquired }, Reply::Integer(1)) => {
                    let (releasing, released) = (acquired, now_nanos());
                    holds.push(Hold { task, asked, acquired, releasing, released });
                    if released < end {
                        ask(session, &mut unanswered, task);
                    }
                }
                (_, other) => return Err(format!("somebody else is there: {other:?}").into()),
            }
        }
        Ok(holds)
    }

    fn close(&mut self) -> Outcome<()> {
        self.open = None;
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    session: Session,
    /// The scripts for asking and leaving.
    ask: String,
    leave: String,
    /// Also the name of its channel.
    own: String,
}

impl Queue {
    fn call(&mut self, script: &str, name: &str) -> Outcome<Reply> {
        let (line, counter) = (format!("{name}:line"), format!("{name}:counter"));
        let keys = [name, &line, &counter];
        let words = ["EVALSHA", script, "3", keys[0], keys[1], keys[2], &self.own, LEASE_MS];
        self.session.ask(&words)
    }
}

impl Blocking for Queue {
    /// The token.
    type Held = String;

    fn open(work: &Work) -> Outcome<Self> {
        let mut session = Session::open(&work.server)?;
        let (ask, leave) = (session.load(QUEUE_ASK)?, session.load(QUEUE_LEAVE)?);
        let Reply::Integer(id) = session.ask(&["CLIENT", "ID"])? else {
            return Err("the server gave no number".into());
        };
        let own = format!("bench-wake-{id}");
        session.gather(&["SUBSCRIBE", &own]);
        session.send()?;
        session.push()?;
        Ok(Self { session, ask, leave, own })
    }

    fn acquire(&mut self, name: &str) -> Outcome<String> {
        let ask = self.ask.clone();
        match self.call(&ask, name)? {
            Reply::Integer(0) => match self.session.push()?.pop() {
                Some(Reply::Text(token)) => Ok(token),
                other => Err(format!("no token but {other:?}").into()),
            },
            Reply::Integer(token) => Ok(token.to_string()),
            other => Err(format!("no place in the line but {other:?}").into()),
        }
    }

    fn release(&mut self, name: &str, _token: String) -> Outcome<()> {
        let leave = self.leave.clone();
        match self.call(&leave, name)? {
            Reply::Integer(1) => Ok(()),
            other => Err(format!("a lock was released, and it had been lost: {other:?}").into()),
        }
    }

    fn close(self) -> Outcome<()> {
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Pop(Session);

impl Blocking for Pop {
    type Held = ();

    fn open(work: &Work) -> Outcome<Self> {
        let mut session = Session::open(&work.server)?;
        for name in 0..work.names {
            let name = format!("{}/{name}", work.path);
            // Once, and by one of them; it stays when they close.
            let is_first = session.ask(&["SET", &format!("{name}:made"), "1", "NX"])?;
            if is_first != Reply::Nil {
                session.ask(&["RPUSH", &name, "the lock"])?;
            }
        }
        Ok(Self(session))
    }

    fn acquire(&mut self, name: &str) -> Outcome<()> {
        match self.0.ask(&["BLPOP", name, "30"])? {
            Reply::Parts(_) => Ok(()),
            other => Err(format!("no element but {other:?}").into()),
        }
    }

    fn release(&mut self, name: &str, (): ()) -> Outcome<()> {
        self.0.ask(&["RPUSH", name, "the lock"])?;
        Ok(())
    }

    fn close(self) -> Outcome<()> {
        Ok(())
    }
}
