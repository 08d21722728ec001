//! Where the workers act: starts them, hears them, gives them their words.

use std::process::Stdio;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::worker::Task;
use crate::{Failure, Outcome};

/// A worker in a process of its own. It is killed if the stage goes first.
pub(crate) struct Worker {
    child: Child,
    words: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts one.
    pub(crate) fn start(task: &Task) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("worker").args(task.to_words());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (Some(words), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a worker was started without pipes".into());
        };
        Ok(Self { child, words, lines: BufReader::new(output).lines() })
    }

    /// What it says next, which begins with this word; the rest of the line.
    pub(crate) async fn hear(&mut self, word: &str) -> Outcome<String> {
        let line = self.lines.next_line().await?.unwrap_or_else(|| "nothing, and ended".into());
        match line.strip_prefix(word) {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => Err(Failure::Other(format!("expected {word:?}, but a worker said: {line}"))),
        }
    }

    /// Lets it write.
    pub(crate) async fn let_write(&mut self) -> Outcome<()> {
        Ok(self.words.write_all(b"write\n").await?)
    }

    /// Waits until it is done, and done well.
    pub(crate) async fn finish(mut self) -> Outcome<()> {
        let status = self.child.wait().await?;
        if status.success() { Ok(()) } else { Err(Failure::Other(format!("a worker: {status}"))) }
    }

    /// Waits until it has been stopped by a signal.
    pub(crate) async fn stopped(&self) -> Outcome<()> {
        let pid = self.pid()?;
        // Its end would be news as well, and is left for `finish` to collect.
        let news = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let waited = tokio::task::spawn_blocking(move || waitid(WaitId::Pid(pid), news));
        let status = waited.await.map_err(|error| Failure::Other(error.to_string()))??;
        match status.is_some_and(|status| status.stopped()) {
            true => Ok(()),
            false => Err("a worker ended instead of being stopped".into()),
        }
    }

    /// Wakes it up.
    pub(crate) fn wake(&self) -> Outcome<()> {
        Ok(kill_process(self.pid()?, Signal::CONT)?)
    }

    fn pid(&self) -> Outcome<Pid> {
        let number = self.child.id().and_then(|id| i32::try_from(id).ok());
        number.and_then(Pid::from_raw).ok_or_else(|| "a worker has ended".into())
    }
}
