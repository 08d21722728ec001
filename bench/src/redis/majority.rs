//! The floor of Redlock: on a socket to each of five servers a key is set and deleted, and either
//! is over when a majority has answered. No token, no line, and nothing for when it goes wrong.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::raw::{LEASE_MS, LEAVE};
use super::session::{Reply, Session};
use crate::Outcome;
use crate::compare::work::Work;
use crate::drive::threads::Blocking;

/// An answer that takes longer does not come.
const SILENCE_MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Majority {
    servers: Vec<Way>,
    leave: String,
}

#[derive(Debug)]
struct Way {
    session: Session,
    /// Answers to earlier commands that a majority did not need.
    owed: u32,
    has_answered: bool,
}

impl Majority {
    /// Everybody is asked, and those who answer first are enough.
    fn ask(&mut self, words: &[&str]) -> Outcome<()> {
        for way in &mut self.servers {
            way.session.gather(words);
            way.session.send()?;
            way.has_answered = false;
        }
        let mut missing = self.servers.len() / 2 + 1;
        while missing > 0 {
            let mut ways: Vec<PollFd<'_>> = Vec::new();
            for way in &self.servers {
                // One that has answered is left alone: its socket has nothing to say.
                let wanted = if way.has_answered { PollFlags::empty() } else { PollFlags::IN };
                ways.push(PollFd::new(&way.session.stream, wanted));
            }
            if poll(&mut ways, Some(&Timespec::try_from(SILENCE_MAX)?))? == 0 {
                return Err("no majority has answered".into());
            }
            let ready: Vec<bool> = ways.iter().map(|way| !way.revents().is_empty()).collect();
            for (way, _) in self.servers.iter_mut().zip(ready).filter(|(_, is_ready)| *is_ready) {
                missing -= usize::from(missing > 0 && way.hear()?);
            }
        }
        for way in self.servers.iter_mut().filter(|way| !way.has_answered) {
            way.owed += 1;
        }
        Ok(())
    }
}

impl Way {
    /// Reads an answer that is there. Whether it is to what was asked last, and a good one.
    fn hear(&mut self) -> Outcome<bool> {
        loop {
            let reply = self.session.reply()?;
            if reply == Reply::Nil || reply == Reply::Integer(0) {
                return Err("somebody else is there".into());
            }
            if self.owed == 0 {
                self.has_answered = true;
                return Ok(true);
            }
            self.owed -= 1;
            if !self.session.has_reply() {
                return Ok(false);
            }
        }
    }
}

impl Blocking for Majority {
    type Held = ();

    fn open(work: &Work) -> Outcome<Self> {
        let mut leave = String::new();
        let mut servers = Vec::new();
        for server in work.server.split(',') {
            let mut session = Session::open(server)?;
            leave = session.load(LEAVE)?;
            servers.push(Way { session, owed: 0, has_answered: true });
        }
        Ok(Self { servers, leave })
    }

    fn acquire(&mut self, name: &str) -> Outcome<()> {
        self.ask(&["SET", name, "me", "NX", "PX", LEASE_MS])
    }

    fn release(&mut self, name: &str, (): ()) -> Outcome<()> {
        let leave = self.leave.clone();
        self.ask(&["EVALSHA", &leave, "1", name, "me"])
    }

    fn close(mut self) -> Outcome<()> {
        for way in &mut self.servers {
            for _ in 0..way.owed {
                way.session.reply()?;
            }
        }
        Ok(())
    }
}
