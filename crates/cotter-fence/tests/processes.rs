//! One file register and many processes: they race, they are killed, they run out of disk.
//!
//! A child is this same program with [`CHILD`] in its environment. It takes its orders from there
//! and from its standard input, and reports on its standard output.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is a test")]

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use cotter_fence::{FencingToken, FileRegister, RegisterError};
use libtest_mimic::{Arguments, Failed, Trial};

/// What a child is to do. Its register is the file `register` in its working directory.
const CHILD: &str = "COTTER_FENCE_TEST_CHILD";
const RACERS: u64 = 8;
const ROUNDS: u64 = 40;
const KILLS: u64 = 60;

fn main() -> ExitCode {
    if let Ok(task) = std::env::var(CHILD) {
        child(&task);
        return ExitCode::SUCCESS;
    }
    let tests = vec![
        trial("many_processes_write_and_tokens_never_fall", many_processes_write),
        trial("many_processes_of_one_holder_lose_no_update", one_holder_in_many_processes),
        trial("a_killed_writer_leaves_a_whole_register", killed_writers),
        trial("a_full_disk_changes_nothing_and_forgets_nothing", full_disk),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn trial(name: &str, test: fn(&Path)) -> Trial {
    Trial::test(name, move || {
        let dir = tempfile::tempdir().map_err(|error| Failed::from(error.to_string()))?;
        test(dir.path());
        Ok(())
    })
}

fn child(task: &str) {
    match task.split_whitespace().collect::<Vec<_>>()[..] {
        ["race", number] => race(number.parse().expect("number")),
        ["count", token] => count(FencingToken::new(token.parse().expect("token"))),
        ["write-on", from] => write_on(from.parse().expect("token")),
        ["fill"] => fill_the_disk(),
        _ => panic!("an unknown task: {task}"),
    }
}

fn command(program: impl AsRef<std::ffi::OsStr>, dir: &Path, task: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).env(CHILD, task).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn start(dir: &Path, task: &str) -> Child {
    let myself = std::env::current_exe().expect("own path");
    command(myself, dir, task).spawn().expect("a child starts")
}

/// Lets all children begin at once, and gives the numbers that each of them reports.
fn release(mut children: Vec<Child>) -> Vec<u64> {
    children.iter_mut().for_each(|child| drop(child.stdin.take()));
    let mut reported = Vec::new();
    for child in children {
        let output = child.wait_with_output().expect("a child ends");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        reported.extend(text.lines().map(|line| line.parse::<u64>().expect("number")));
    }
    reported
}

fn wait_for_release() {
    let waited = std::io::stdin().read_to_end(&mut Vec::new());
    waited.expect("the parent closes our input");
}

fn open(dir: &Path) -> FileRegister {
    FileRegister::open(dir.join("register")).expect("the register opens")
}

/// The value is the list of accepted tokens, so it is the register's history.
fn many_processes_write(dir: &Path) {
    let racers = (0..RACERS).map(|number| start(dir, &format!("race {number}"))).collect();
    let mut accepted = release(racers);
    let value = open(dir).read().expect("read").expect("somebody wrote").value;
    let text = String::from_utf8(value).expect("text");
    let mut history: Vec<u64> =
        text.split_whitespace().map(|token| token.parse().expect("token")).collect();
    assert!(history.is_sorted(), "an old holder wrote after a new one: {history:?}");
    history.sort_unstable();
    accepted.sort_unstable();
    assert_eq!(history, accepted, "accepted means written, refused means not");
    assert!(accepted.contains(&(RACERS * ROUNDS - 1)), "the highest token is never refused");
}

fn race(number: u64) {
    let register = open(Path::new("."));
    wait_for_release();
    for round in 0..ROUNDS {
        let token = round * RACERS + number;
        let appended = register.update(FencingToken::new(token), |old| {
            let old = String::from_utf8_lossy(old.unwrap_or_default());
            format!("{old} {token}").into_bytes()
        });
        match appended {
            Ok(_) => println!("{token}"),
            Err(RegisterError::Refused(refused)) => assert!(refused.seen.number() > token),
            Err(other) => panic!("{other}"),
        }
    }
}

fn one_holder_in_many_processes(dir: &Path) {
    release((0..RACERS).map(|_| start(dir, "count 7")).collect());
    let entry = open(dir).read().expect("read").expect("somebody counted");
    let count = String::from_utf8(entry.value).expect("text");
    assert_eq!(count, (RACERS * ROUNDS).to_string());
}

fn count(token: FencingToken) {
    let register = open(Path::new("."));
    wait_for_release();
    for _ in 0..ROUNDS {
        let counted = register.update(token, |old| {
            let old = String::from_utf8_lossy(old.unwrap_or(b"0")).parse::<u64>();
            (old.expect("a count") + 1).to_string().into_bytes()
        });
        counted.expect("everybody has the same token");
    }
}

/// A writer is killed wherever it is, again and again. What it has reported stays; what it was at
/// is there whole or not at all; and the next one is never held up.
fn killed_writers(dir: &Path) {
    let mut reported = 0;
    for kill in 0..KILLS {
        let mut writer = start(dir, &format!("write-on {}", reported + 1));
        let mut lines = BufReader::new(writer.stdout.take().expect("output")).lines();
        // A different number of reports each time, so that the kill comes at different steps.
        for _ in 0..=kill % 7 {
            let line = lines.next().expect("the writer goes on").expect("line");
            reported = line.parse().expect("token");
        }
        writer.kill().expect("killed");
        writer.wait().expect("dead");
        // Reported before it died, but not read by us yet.
        let rest = lines.map_while(Result::ok).filter_map(|line| line.parse().ok());
        reported = rest.fold(reported, u64::max);

        let register = open(dir);
        let entry = register.read().expect("whole").expect("written");
        let seen = register.seen().expect("whole").expect("seen");
        assert!(seen.number() >= reported, "{reported} was reported, {seen} is there");
        assert_eq!(entry.value, value_for(entry.token.number()));
        let late = register.write(FencingToken::new(reported - 1), b"late");
        assert!(matches!(late, Err(RegisterError::Refused(_))), "{late:?}");
        reported = seen.number();
    }
    let left = std::fs::read_dir(dir).expect("list").count();
    assert!(left <= 3, "{left} files are left after {KILLS} kills");
}

fn write_on(from: u64) {
    let register = open(Path::new("."));
    for token in from.. {
        register.write(FencingToken::new(token), &value_for(token)).expect("write");
        println!("{token}");
    }
}

/// Long enough that a write is often cut in the middle, and different for each token.
fn value_for(token: u64) -> Vec<u8> {
    token.to_le_bytes().repeat(8_000 + (token % 8_000) as usize)
}

/// A real file system with no room, in a name space of its own.
fn full_disk(dir: &Path) {
    let disk = dir.join("disk");
    std::fs::create_dir(&disk).expect("directory");
    let mut unshare = command("unshare", dir, "fill");
    unshare.arg("--mount");
    if !is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let mount = "mount -t tmpfs -o size=256k none \"$1\" && cd \"$1\" && exec \"$0\"";
    let myself = std::env::current_exe().expect("own path");
    let output = unshare
        .args(["sh", "-c", mount])
        .args([myself, disk])
        .output()
        .expect("unshare(1) of util-linux is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the child failed; it mounts a file system of its own (root, or user name spaces): {said}"
    );
}

fn is_root() -> bool {
    // The second number is the effective user.
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("Uid:")).expect("a Uid line");
    line.split_whitespace().nth(2) == Some("0")
}

fn fill_the_disk() {
    let register = open(Path::new("."));
    let before = vec![1; 20_000];
    register.write(FencingToken::new(5), &before).expect("there is room");
    let ballast = PathBuf::from("ballast");
    let mut file = File::create(&ballast).expect("ballast");
    while file.write_all(&[0; 4096]).is_ok() {}

    for attempt in
        [register.write(FencingToken::new(6), &[2; 40_000]), register.observe(FencingToken::new(6))]
    {
        let error = attempt.expect_err("no room");
        let RegisterError::Io { source, maybe_applied: false, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(source.kind(), ErrorKind::StorageFull);
    }
    assert!(!Path::new("register.new").exists(), "nothing is left behind");
    assert_eq!(register.read().expect("read").map(|entry| entry.value), Some(before));
    let late = register.write(FencingToken::new(4), b"late");
    assert!(matches!(late, Err(RegisterError::Refused(_))), "{late:?}");

    drop(file);
    std::fs::remove_file(ballast).expect("remove");
    register.write(FencingToken::new(6), &[2; 40_000]).expect("there is room again");
}
