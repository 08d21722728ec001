//! Real processes with real sessions, for the tests to command, kill and stop.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod actor;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use cotter_core::LockName;
use cotter_core::contract::{Answer, Bearer, Claim, Grant, Mode, Patience, Session, Store};
use cotter_core::env::Env;
use cotter_local::{LocalSession, LocalStore, Place};
use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes on a busy machine. Nothing waits for it to pass.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A process of this very test program that is an actor: it runs the one test of that name, which
/// every file of tests has.
pub(crate) fn actor_command(target: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test has a path"));
    command.args(["the_other_processes", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(actor::TARGET, target);
    command
}

pub(crate) struct Actor {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    said: Receiver<String>,
    kept: Vec<String>,
}

impl Actor {
    pub(crate) fn start(target: &Path) -> Self {
        Self::start_with(&mut actor_command(target))
    }

    pub(crate) fn start_with(command: &mut Command) -> Self {
        let mut actor = Self::start_unready(command);
        let ready = actor.hear("ready");
        assert!(ready.starts_with("ready"), "{ready}");
        actor
    }

    pub(crate) fn start_unready(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the actor starts");
        let output = child.stdout.take().expect("piped");
        let (says, said) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if says.send(line).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take();
        Self { child, input, said, kept: Vec::new() }
    }

    pub(crate) fn tell(&mut self, command: &str) {
        let input = self.input.as_mut().expect("it listens");
        writeln!(input, "{command}").expect("it lives");
    }

    /// The next line that begins with one of the words (separated by `|`), or with `error`.
    pub(crate) fn hear(&mut self, words: &str) -> String {
        let fits = |line: &str| {
            words.split('|').any(|word| line.starts_with(word)) || line.starts_with("error")
        };
        if let Some(place) = self.kept.iter().position(|line| fits(line)) {
            return self.kept.remove(place);
        }
        loop {
            match self.said.recv_timeout(LONG) {
                Ok(line) if fits(&line) => return line,
                Ok(line) => self.kept.push(line),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("waited for {words:?}, heard {:?}", self.kept)
                }
                Err(RecvTimeoutError::Disconnected) => return "ended".into(),
            }
        }
    }

    pub(crate) fn ask(&mut self, command: &str, words: &str) -> String {
        self.tell(command);
        self.hear(words)
    }

    /// Claims, and gives id and token, at once or after its turn has come.
    pub(crate) fn hold(&mut self, name: &str) -> (u32, u64) {
        let answer = self.ask(&format!("claim {name}"), "granted|queued");
        if answer.starts_with("granted") { numbers(&answer) } else { self.turn() }
    }

    pub(crate) fn queue(&mut self, claim: &str) -> u32 {
        let answer = self.ask(&format!("claim {claim}"), "granted|queued");
        let id = answer.strip_prefix("queued ").unwrap_or_else(|| panic!("queued, not {answer}"));
        id.parse().expect("an id")
    }

    pub(crate) fn turn(&mut self) -> (u32, u64) {
        let answer = self.hear("turn|lost|ended");
        assert!(answer.starts_with("turn"), "{answer}");
        numbers(&answer)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it has ended");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it lives");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn numbers(answer: &str) -> (u32, u64) {
    let mut words = answer.split(' ').skip(1);
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).expect(answer);
    (u32::try_from(number()).expect(answer), number())
}

pub(crate) async fn session(dir: &Path) -> (Env, LocalSession) {
    let env = Env::system().expect("a clock");
    let session = LocalStore::at(dir).open(&env, &Bearer::default()).await.expect("a session");
    (env, session)
}

pub(crate) fn claim(env: &Env, name: &str, mode: Mode, patience: Patience) -> Claim {
    Claim {
        id: env.claim_id(),
        name: LockName::new(name).expect("a name"),
        mode,
        patience,
        note: "".into(),
        asked_at: env.now(),
    }
}

pub(crate) async fn granted(session: &LocalSession, claim: &Claim) -> (Grant, Place) {
    match session.claim(claim).await.expect("an answer") {
        Answer::Granted(grant, place) => (grant, place),
        other => panic!("granted, not {other:?}"),
    }
}

pub(crate) async fn queued(session: &LocalSession, claim: &Claim) -> Place {
    match session.claim(claim).await.expect("an answer") {
        Answer::Queued(place) => place,
        other => panic!("queued, not {other:?}"),
    }
}

/// What is in the directory of lines, or of sockets.
pub(crate) fn files(dir: &Path, sub: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join(sub)).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into()).collect();
    names.sort();
    names
}

/// Sets the counter of a line file that nobody stands in.
pub(crate) fn set_counter(path: &Path, counter: u64) {
    let mut bytes = std::fs::read(path).expect("a line file");
    bytes[976..984].copy_from_slice(&counter.to_le_bytes());
    bytes[984..992].copy_from_slice(&(counter + 1).to_le_bytes());
    let sum = bytes[960..1016].chunks_exact(8).fold(0x0063_6f74_7465_7221_u64, |sum, word| {
        (sum ^ u64::from_le_bytes(word.try_into().expect("eight")))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    });
    bytes[1016..1024].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(path, bytes).expect("written");
}
