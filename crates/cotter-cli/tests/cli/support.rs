//! A private store, the binary, and ways to wait for what should become true.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long a condition may take: far more than it does, so that a loaded machine is no failure.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Gives a process the signals as a person's shell would: whoever started these tests may have had
/// some ignored (a shell does so for what it runs in the background), and cotter keeps to that.
#[allow(unsafe_code, reason = "signals can be set only in the child, before it runs a program")]
pub(crate) fn with_signals_of_a_shell(command: &mut Command) -> &mut Command {
    // SAFETY: system calls, none of which allocates or locks.
    unsafe {
        command.pre_exec(|| {
            for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTERM] {
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        })
    }
}

/// Waits until something is true, looking again and again; fails if it does not become true.
pub(crate) fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    wait_for(what, || is_true().then_some(()));
}

/// Waits until something is there.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..PATIENCE.as_millis() / LOOK_EVERY.as_millis() {
        if let Some(found) = look() {
            return found;
        }
        // Not a wait for the condition, only a pause between two looks at it.
        std::thread::park_timeout(LOOK_EVERY);
    }
    panic!("waited in vain until {what}");
}

/// A store of its own, and a directory for what a test writes.
pub(crate) struct World {
    directory: TempDir,
    url: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self::on("");
        let store = world.path("store");
        fs::create_dir(&store).expect("a directory in it");
        Self { url: format!("local:{}", store.display()), ..world }
    }

    /// The same on another store.
    pub(crate) fn on(url: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { directory, url: url.to_owned() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The binary with these arguments, on this store, in this directory.
    pub(crate) fn cotter(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cotter"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("COTTER_") {
                command.env_remove(name);
            }
        }
        with_signals_of_a_shell(&mut command)
            .args(arguments)
            .env("COTTER_STORE", self.url())
            .env("SHELL", "/bin/sh")
            .env("COTTER", env!("CARGO_BIN_EXE_cotter"))
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.cotter(arguments).output().expect("the binary runs")
    }

    /// Runs it to its end: exit code, standard output, standard error.
    pub(crate) fn ends(&self, arguments: &[&str]) -> (i32, String, String) {
        told(self.output(arguments))
    }

    /// Starts `cotter run FLAGS LOCK -- sh -c SCRIPT`, with a pipe to the script's standard input.
    pub(crate) fn start(&self, flags: &[&str], lock: &str, script: &str) -> Run {
        self.start_verb("run", flags, lock, script)
    }

    /// The same for `run` or `elect`.
    pub(crate) fn start_verb(&self, verb: &str, flags: &[&str], lock: &str, script: &str) -> Run {
        let mut arguments = vec![verb];
        arguments.extend_from_slice(flags);
        arguments.extend_from_slice(&[lock, "--", "sh", "-c", script]);
        let mut command = self.cotter(&arguments);
        Run::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// A run that holds the lock until it is let go; the file `ready` says that it does.
    pub(crate) fn hold(&self, flags: &[&str], lock: &str) -> Run {
        let run =
            self.start(flags, lock, "echo $$ > held.tmp; mv held.tmp held; read line; exit 0");
        self.pid_in("held");
        fs::remove_file(self.path("held")).expect("the file is there");
        run
    }

    /// The number that a script writes to a file, once it is there.
    pub(crate) fn pid_in(&self, name: &str) -> Pid {
        let path = self.path(name);
        wait_for(&format!("a pid is in {name}"), || {
            Pid::from_raw(fs::read_to_string(&path).ok()?.trim().parse().ok()?)
        })
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// What a command prints as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.output(arguments);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error} in the output of {arguments:?}: {output:?}"))
    }

    pub(crate) fn queue(&self, lock: &str) -> Value {
        self.json(&["queue", lock, "--json"])
    }

    pub(crate) fn waiters(&self, lock: &str) -> usize {
        self.queue(lock)["waiters"].as_array().map_or(0, Vec::len)
    }

    pub(crate) fn is_free(&self, lock: &str) -> bool {
        self.output(&["status", lock]).status.code() == Some(0)
    }

    pub(crate) fn token(&self, lock: &str) -> String {
        self.queue(lock)["holders"][0]["token"].to_string()
    }
}

/// A `cotter run` under way. Killed when dropped.
pub(crate) struct Run {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Run {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let stdin = child.stdin.take();
        Self { child, stdin }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the run is there");
    }

    /// The pipe from its standard output.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("it was asked for")
    }

    /// The guard process: the runner's child with that name.
    pub(crate) fn guard(&self) -> Pid {
        let is_guard = |pid: &Pid| {
            let path = format!("/proc/{}/comm", pid.as_raw_nonzero());
            fs::read_to_string(path).is_ok_and(|name| name.trim() == "cotter-guard")
        };
        wait_for("the guard has its name", || children(self.pid()).into_iter().find(is_guard))
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Closes the command's standard input, which lets `hold` end.
    pub(crate) fn let_go(&mut self) {
        self.stdin = None;
    }

    /// Waits for the end: exit code, standard output, standard error.
    pub(crate) fn ends(mut self) -> (i32, String, String) {
        self.let_go();
        self.result()
    }

    /// The same, with standard input left open.
    pub(crate) fn result(mut self) -> (i32, String, String) {
        let mut out = String::new();
        let mut error = String::new();
        if let Some(mut stream) = self.child.stdout.take() {
            stream.read_to_string(&mut out).expect("text");
        }
        if let Some(mut stream) = self.child.stderr.take() {
            stream.read_to_string(&mut error).expect("text");
        }
        let status = self.child.wait().expect("it ends");
        (code(status), out, error)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // One that has ended is no longer there to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
}

/// Exit code, standard output, standard error.
pub(crate) fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (code(output.status), text(output.stdout), text(output.stderr))
}

/// The children of a process.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let pid = pid.as_raw_nonzero();
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|child| Pid::from_raw(child.parse().ok()?)).collect()
}

/// The parent of a process.
pub(crate) fn parent(pid: Pid) -> Pid {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).expect("one");
    // After the name in brackets: state, parent.
    let fields = stat.rsplit(')').next().expect("a last part");
    let number = fields.split_whitespace().nth(1).and_then(|field| field.parse().ok());
    number.and_then(Pid::from_raw).expect("a parent")
}

/// Whether a process runs: it is there and not a zombie.
pub(crate) fn lives(pid: Pid) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// What the kernel says a process does: `S`, `T` (stopped), `Z`, ...
pub(crate) fn state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    stat.rsplit(')').next()?.trim().chars().next()
}

/// Writes a script that everybody may run. Another process does the writing: a test that forks just
/// then would inherit our descriptor, and a file that is open for writing cannot be run.
pub(crate) fn script(path: &Path, text: &str) {
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut stdin = writer.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("written");
    drop(stdin);
    assert!(writer.wait().expect("it ends").success());
}
