//! `etcdctl lock`: a process for each hold, which ends when it is interrupted.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use cotter_servers::etcd::Ctl as Words;
use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;
use crate::compare::work::Work;
use crate::drive::threads::Blocking;

pub(crate) struct Ctl(Words);

/// A process that holds, and its output: it would end where it writes to one that is closed. It is
/// killed if it is not released.
pub(crate) struct Held(Child, BufReader<ChildStdout>);

impl Blocking for Ctl {
    type Held = Held;

    fn open(work: &Work) -> Outcome<Self> {
        let endpoints = format!("http://{}", work.server);
        Ok(Self(Words { endpoints, tls: None, user: None }))
    }

    fn acquire(&mut self, name: &str) -> Outcome<Held> {
        let mut command: Command = self.0.command();
        command.args(["lock", name]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let said = child.stdout.take().ok_or("etcdctl has no output")?;
        let mut held = Held(child, BufReader::new(said));
        // It tells its key when it holds.
        let mut key = String::new();
        held.1.read_line(&mut key)?;
        if !key.trim().starts_with(name) {
            return Err(format!("etcdctl said {key:?}").into());
        }
        Ok(held)
    }

    fn release(&mut self, _name: &str, mut held: Held) -> Outcome<()> {
        let pid = Pid::from_child(&held.0);
        kill_process(pid, Signal::INT)?;
        held.0.wait()?;
        Ok(())
    }

    fn close(self) -> Outcome<()> {
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Both fail for one that was released.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
