//! What `cotter run` adds to the command it runs, beside the command alone and flock(1).

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::local::directory;
use crate::measure::{Figures, finish, line, now_nanos, target};

const RUNS: u32 = 200;
const ADDED_MS_MAX: f64 = 10.0;

pub(crate) fn bench() -> Outcome<()> {
    println!("run: around true(1), {RUNS} runs of each, in turns");
    let program = directory()?.join("cotter");
    let dir = tempfile::tempdir_in(directory()?)?;
    let store = format!("local:{}", dir.path().join("locks").display());
    let flocked = dir.path().join("flocked");
    fs::write(&flocked, "")?;

    let mut figures = [(); 3].map(|()| Figures::default());
    for _ in 0..RUNS {
        figures[0].add(wall_ms(&mut Command::new("true"))?);
        figures[1].add(wall_ms(Command::new("flock").arg(&flocked).arg("true"))?);
        let mut run = Command::new(&program);
        figures[2].add(wall_ms(run.args(["run", "--store", &store, "bench", "--", "true"]))?);
    }
    let [alone, flock, cotter] = &figures;
    line("true", alone, "ms", 2);
    line("flock FILE true", flock, "ms", 2);
    line("cotter run LOCK -- true", cotter, "ms", 2);
    let added = cotter.less(alone);
    line("cotter run adds", &added, "ms", 2);
    line("flock adds", &flock.less(alone), "ms", 2);
    line("cotter run over flock", &cotter.over(flock), "", 2);
    println!("  {:<46} {:.2} MiB", "size of the program", size_mib(&program)?);
    target("ms added at most", added.median(), ADDED_MS_MAX, added.median() <= ADDED_MS_MAX);
    println!();
    Ok(())
}

/// How long a command takes from being started to having ended well.
fn wall_ms(command: &mut Command) -> Outcome<f64> {
    let start = now_nanos();
    let mut child = command.stdin(Stdio::null()).spawn()?;
    finish(&mut child)?;
    Ok((now_nanos() - start) as f64 / 1e6)
}

fn size_mib(program: &Path) -> Outcome<f64> {
    Ok(fs::metadata(program)?.len() as f64 / f64::from(1 << 20))
}
