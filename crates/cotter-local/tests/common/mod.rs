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
use cotter_core::contract::{Answer, Bearer, Claim, Grant, Mode, Patience, Recipe, Session, Store};
use cotter_core::env::Env;
use cotter_local::{LocalSession, LocalStore, Place};
use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes on a busy machine. Nothing waits for it to pass.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Set where the tests are to run in directories that everybody may write in, in which lines are
/// entered by flock(2) and not by the mutex in a mapped page.
const SHARED: &str = "COTTER_TEST_SHARED_DIRECTORIES";

pub(crate) fn is_shared() -> bool {
    std::env::var_os(SHARED).is_some()
}

/// A directory for locks.
pub(crate) fn dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("dir");
    if is_shared() {
        share(dir.path());
    }
    dir
}

pub(crate) fn share(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(dir, everybody).expect("it is ours");
}

/// Looks until it is so.
pub(crate) fn until(is_so: impl Fn() -> bool, what: &str) {
    let clock = cotter_core::env::wall_clock;
    let end = clock() + LONG;
    while !is_so() {
        assert!(clock() < end, "waited for: {what}");
        std::thread::yield_now();
    }
}

/// Runs all tests of this program again, with directories that everybody may write in.
pub(crate) fn again_in_shared_directories() {
    if is_shared() {
        return;
    }
    let mut again = Command::new(std::env::current_exe().expect("a test has a path"));
    again.env(SHARED, "yes").args(["--skip", "shared_directories", "--test-threads=2"]);
    let ended = again.output().expect("it starts");
    assert!(
        ended.status.success(),
        "in shared directories:\n{}{}",
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr)
    );
}

/// How the file of a lock says that it is entered: `C` by calls, `M` mapped.
pub(crate) fn way(dir: &Path, name: &str) -> u8 {
    std::fs::read(dir.join("lines").join(name)).expect("a line file")[7]
}

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

    /// As [`Self::tell`], to one that may have died.
    pub(crate) fn try_tell(&mut self, commands: &str) -> std::io::Result<()> {
        writeln!(self.input.as_mut().expect("it listens"), "{commands}")
    }

    /// Whether none of the words has been said yet.
    pub(crate) fn has_not_said(&mut self, words: &str) -> bool {
        self.kept.extend(self.said.try_iter());
        !self.kept.iter().any(|line| words.split('|').any(|word| line.starts_with(word)))
    }

    /// What one that has ended has said and nobody heard.
    pub(crate) fn said_all(&mut self) -> Vec<String> {
        self.kept.extend(self.said.iter());
        std::mem::take(&mut self.kept)
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

pub(crate) fn numbers(answer: &str) -> (u32, u64) {
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
        recipe: Recipe::Lock,
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

/// Where the header that counts is.
pub(crate) fn header_at(path: &Path) -> u64 {
    let bytes = std::fs::read(path).expect("a line file");
    let sequence = u64::from_ne_bytes(bytes[520..528].try_into().expect("eight"));
    if sequence % 2 == 1 { 896 } else { 960 }
}

/// Sets the counter of a line file that nobody stands in.
pub(crate) fn set_counter(path: &Path, counter: u64) {
    use std::os::unix::fs::FileExt;
    let bytes = std::fs::read(path).expect("a line file");
    let at = header_at(path);
    let mut header = bytes[at as usize..at as usize + 64].to_vec();
    header[16..24].copy_from_slice(&counter.to_le_bytes());
    header[24..32].copy_from_slice(&(counter + 1).to_le_bytes());
    let sum = header[..56].chunks_exact(8).fold(0x0063_6f74_7465_7221_u64, |sum, word| {
        (sum ^ u64::from_le_bytes(word.try_into().expect("eight")))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    });
    header[56..].copy_from_slice(&sum.to_le_bytes());
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("it is there");
    file.write_all_at(&header, at).expect("written");
}
