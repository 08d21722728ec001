//! A wall clock that is set back, by ten years, while commands hold and wait.
//!
//! The programs under test see another wall clock through a library that is loaded before the
//! system's own; the machine's clock is left alone. Nothing may be decided by what they see.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{Run, World, wait_until};

/// Adds what is in a file, in seconds, to the time of day; every look reads the file anew.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void) {
    char text[32] = {0};
    const char *path = getenv("WALL_SHIFT_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    ssize_t count = read(file, text, sizeof text - 1);
    close(file);
    return count > 0 ? atol(text) : 0;
}

int clock_gettime(clockid_t id, struct timespec *at) {
    int failed = (int)syscall(SYS_clock_gettime, id, at);
    if (!failed && id == CLOCK_REALTIME) at->tv_sec += shift();
    return failed;
}

int gettimeofday(struct timeval *at, void *zone) {
    int failed = (int)syscall(SYS_gettimeofday, at, zone);
    if (!failed) at->tv_sec += shift();
    return failed;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"#;

const TEN_YEARS_BACK: &str = "-315360000";

fn build_shim(world: &World) -> PathBuf {
    let (source, library) = (world.path("shim.c"), world.path("shim.so"));
    fs::write(&source, SHIM).expect("written");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .output()
        .expect("a C compiler, cc, which building this project needs too");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
}

fn under_shim(world: &World, shim: &Path, flags: &[&str], script: &str) -> Run {
    let mut arguments = vec!["run"];
    arguments.extend_from_slice(flags);
    arguments.extend_from_slice(&["a", "-c", script]);
    let mut command = world.cotter(&arguments);
    command.env("LD_PRELOAD", shim).env("WALL_SHIFT_FILE", world.path("shift"));
    command.stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    Run::start(&mut command)
}

#[test]
fn a_clock_set_back_changes_neither_order_nor_tokens_nor_time_limits() {
    let world = World::new();
    let shim = build_shim(&world);
    fs::write(world.path("shift"), "0").expect("written");
    let told = "echo $COTTER_TOKEN $COTTER_ACQUIRED_AT >> told";
    let holder = under_shim(&world, &shim, &[], &format!("{told}; read line; exit 0"));
    wait_until("it holds", || world.exists("told"));
    let mut waiting = Vec::new();
    for number in 0..3 {
        waiting.push(under_shim(&world, &shim, &["-q", "-w", "60"], told));
        wait_until("it stands in line", || world.waiters("a") == number + 1);
    }

    fs::write(world.path("shift"), TEN_YEARS_BACK).expect("written");

    // A limit that was set before is not prolonged by ten years, and one that is set now ends.
    let late = under_shim(&world, &shim, &["-q", "-w", "0.2"], "touch late").result();
    assert_eq!(late.0, 75, "{}", late.2);
    assert!(!world.exists("late"));
    assert_eq!(world.waiters("a"), 3, "nobody lost a place");
    assert_eq!(holder.ends().0, 0);
    for run in waiting {
        let (code, _, error) = run.ends();
        assert_eq!(code, 0, "{error}");
    }
    let told = world.read("told");
    let (tokens, years): (Vec<u64>, Vec<&str>) = told
        .lines()
        .map(|line| line.split_once(' ').expect("a token and a time"))
        .map(|(token, time)| (token.parse::<u64>().expect("a number"), &time[..4]))
        .unzip();
    assert_eq!(tokens.len(), 4);
    assert!(tokens.is_sorted_by(|one, two| one < two), "tokens rise: {tokens:?}");
    let first: u32 = years[0].parse().expect("a year");
    let last: u32 = years[3].parse().expect("a year");
    assert!((9..=11).contains(&(first - last)), "they saw the clock that was set: {years:?}");
}
