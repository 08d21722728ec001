//! One server's process as a test sees it: started, killed, frozen, thawed and started again,
//! always with the same words, so that it comes back as what it was.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::process::{Process, Signal};
use crate::wait::Waited;
use crate::{Error, Result};

/// A server that may run or not.
#[derive(Debug)]
pub(crate) struct Running {
    /// What it is, in words, for errors.
    what: String,
    program: PathBuf,
    words: Vec<String>,
    log: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Running {
    /// One that does not run yet.
    pub(crate) fn new(what: String, program: &Path, words: Vec<String>, log: PathBuf) -> Self {
        Self { what, program: program.to_owned(), words, log, process: Mutex::new(None) }
    }

    /// The number of its process, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process().as_ref().map(Process::id)
    }

    /// Starts it, if it does not run.
    pub(crate) fn start(&self) -> Result<()> {
        let mut process = self.process();
        if process.as_mut().is_some_and(|running| running.ended().is_none()) {
            return Ok(());
        }
        *process = Some(Process::start(&self.program, &self.words, &self.log)?);
        Ok(())
    }

    /// Kills it, if it runs.
    pub(crate) fn kill(&self) {
        let process = self.process().take();
        process.into_iter().for_each(Process::kill);
    }

    /// Asks it to end and waits for that, if it runs.
    pub(crate) fn stop(&self) {
        let process = self.process().take();
        process.into_iter().for_each(Process::stop);
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let not_there = || self.complaint("does not run");
        self.process().as_mut().ok_or_else(not_there)?.signal(signal)
    }

    /// Waits until it serves, which `serves` tells.
    pub(crate) fn until(&self, limit: Duration, serves: impl FnMut() -> bool) -> Result<()> {
        let process = self.process();
        let Some(process) = process.as_ref() else {
            return Err(self.complaint("does not run"));
        };
        let what = match process.until(limit, serves) {
            Waited::Done => return Ok(()),
            Waited::Over => "ended before it served".to_owned(),
            Waited::TooLong => format!("does not serve within {limit:?}"),
        };
        Err(self.complaint(&format!("{what}; it says:\n{}", process.log_tail())))
    }

    fn complaint(&self, what: &str) -> Error {
        Error::new(format!("{} {what}", self.what))
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        // What is behind it is whole at every step: a process or none.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
