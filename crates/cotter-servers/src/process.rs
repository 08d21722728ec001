//! A server's process: it dies with us, and can be killed, frozen and stopped meanwhile.
//!
//! ```text
//!   any thread ──► spawner thread ──► setpriv --pdeathsig KILL ──(exec)──► server
//!                  lives as long as                                          │ stdout, stderr
//!                  this process                                              ▼
//!                                      ear thread ◄── end of stdout         log file
//! ```
//!
//! The kernel sends the death signal when the *thread* that forked ends, not the process
//! (prctl(2)). Test runners start and end threads all the time, so every server is forked by one
//! thread that never ends. A server that was already told to die by hand is unaffected.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::wait::{Waited, until};
use crate::{Error, Result};

/// How long a server may take to end after it was asked to.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long the kernel may take to end a process that was killed.
const KILL_LIMIT: Duration = Duration::from_secs(30);
/// How much of a log an error shows.
const LOG_TAIL_LINES: usize = 15;

/// A signal that tests send to servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: end in good order.
    Terminate,
    /// SIGSTOP: stand still.
    Freeze,
    /// SIGCONT: go on.
    Thaw,
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    over: Receiver<()>,
    log: PathBuf,
}

impl Process {
    /// Starts a program, with what it says in a log file, to which it is appended.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(program: &Path, words: &[String], log: &Path) -> Result<Self> {
        let said = || {
            let file = File::options().create(true).append(true).open(log);
            file.map_err(|error| Error::io(format!("{} cannot be written", log.display()), error))
        };
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said()?);
        let started = spawn(command);
        let mut child = started
            .map_err(|error| Error::io(format!("{} cannot start", program.display()), error))?;
        let (ear, over) = channel();
        if let Some(mut stdout) = child.stdout.take() {
            let mut copy = said()?;
            // It ends with the server, whose end closes the pipe.
            std::thread::spawn(move || {
                let _ear: Sender<()> = ear;
                // A server that closed its output would be taken for one that has ended; none does.
                // A log that cannot be written must not stop the server at a full pipe.
                let _ = std::io::copy(&mut stdout, &mut copy);
                let _ = stdout.read_to_end(&mut Vec::new());
            });
        }
        Ok(Self { child, over, log: log.to_owned() })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until something is so, or the server is over, or the time is.
    pub fn until(&self, limit: Duration, is_so: impl FnMut() -> bool) -> Waited {
        until(limit, &self.over, is_so)
    }

    /// Its status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills it, without a chance to do anything, and waits until it is gone.
    pub fn kill(mut self) {
        self.end_now();
    }

    /// Asks it to end and waits for that; kills it if it does not.
    pub fn stop(mut self) {
        if self.signal(Signal::Terminate).is_ok() {
            // A process that was frozen hears nothing before it is thawed.
            let _ = self.signal(Signal::Thaw);
            let child = &mut self.child;
            until(STOP_LIMIT, &self.over, || matches!(child.try_wait(), Ok(Some(_))));
        }
        self.end_now();
    }

    fn end_now(&mut self) {
        // It may be gone already, and that is all that is wanted.
        let _ = self.child.kill();
        let child = &mut self.child;
        until(KILL_LIMIT, &self.over, || !matches!(child.try_wait(), Ok(None)));
        let _ = self.child.wait();
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.ended() {
            return Err(Error::new(format!("the server has ended ({status})")));
        }
        let name = match signal {
            Signal::Terminate => "-TERM",
            Signal::Freeze => "-STOP",
            Signal::Thaw => "-CONT",
        };
        // By number, and the number is still ours: nobody has waited for the child yet.
        let words = ["-c", "kill \"$1\" \"$2\"", "sh", name, &self.id().to_string()];
        let sent = Command::new("sh").args(words).status();
        match sent {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Error::new(format!("kill {name} failed ({status})"))),
            Err(error) => Err(Error::io("a shell is needed for its kill", error)),
        }
    }

    /// The last lines it said.
    pub fn log_tail(&self) -> String {
        let said = fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end_now();
    }
}

type Order = (Command, Sender<std::io::Result<Child>>);

/// Forks on the one thread that lives as long as this process.
fn spawn(command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, ordered) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in ordered {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, answered) = channel();
    let gone = || std::io::Error::other("the thread that starts servers is gone");
    let orders = spawner.lock().unwrap_or_else(PoisonError::into_inner);
    orders.send((command, answer)).map_err(|_| gone())?;
    drop(orders);
    answered.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    fn start(script: &str, log: &Path) -> Process {
        let words = ["-c".to_owned(), script.to_owned()];
        Process::start(Path::new("sh"), &words, log).expect("a shell")
    }

    fn state(id: u32) -> Option<String> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let state = status.lines().find_map(|line| line.strip_prefix("State:"))?;
        Some(state.trim().chars().take(1).collect())
    }

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn it_is_frozen_thawed_and_killed_by_its_number() {
        let folder = Folder::new("process").expect("a folder");
        // It keeps its output: one that is closed is taken for its end.
        let mut server = start("echo ready; exec sleep 1000", &folder.path().join("log"));
        let id = server.id();
        assert_eq!(server.until(SOON, || server.log_tail().contains("ready")), Waited::Done);
        server.signal(Signal::Freeze).expect("it lives");
        assert_eq!(server.until(SOON, || state(id).as_deref() == Some("T")), Waited::Done);
        server.signal(Signal::Thaw).expect("it lives");
        assert_eq!(server.until(SOON, || state(id).as_deref() != Some("T")), Waited::Done);
        server.kill();
        assert_eq!(state(id), None);
    }

    #[test]
    fn its_end_is_heard_and_its_last_words_are_kept() {
        let folder = Folder::new("process").expect("a folder");
        let mut server = start("echo out; echo last words >&2; exit 3", &folder.path().join("log"));
        assert_eq!(server.until(SOON, || false), Waited::Over);
        assert!(server.log_tail().contains("last words"), "{}", server.log_tail());
        let mut status = None;
        server.child.wait().map(|ended| status = Some(ended)).expect("it has ended");
        assert_eq!(status.and_then(|status| status.code()), Some(3));
        assert!(server.signal(Signal::Freeze).is_err());
    }

    #[test]
    fn it_outlives_the_thread_that_asked_for_it() {
        let folder = Folder::new("process").expect("a folder");
        let log = folder.path().join("log");
        let asked = std::thread::spawn(move || start("echo ready; exec sleep 100", &log));
        let mut server = asked.join().expect("started");
        assert_eq!(server.until(SOON, || server.log_tail().contains("ready")), Waited::Done);
        assert_eq!(server.until(Duration::from_millis(100), || false), Waited::TooLong);
        assert!(server.ended().is_none());
    }
}
