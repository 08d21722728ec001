//! How much of the machine others had while something was measured.
//!
//! Ours are this process and all that descend from it: drivers and servers. What else the
//! processors did in the meantime is somebody else's, and above a bound the figures are not to be
//! trusted; then the bench says so beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::Outcome;

/// The share of all processors that others may have. Compilers beside a bench have half or more.
const SHARE_MAX: f64 = 0.10;

/// The processors' time up to a moment, in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise {
    busy: u64,
    all: u64,
    ours: u64,
}

impl Noise {
    pub(crate) fn now() -> Outcome<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let total = stat.lines().next().unwrap_or_default();
        // user nice system idle iowait irq softirq steal; guests are in user already.
        let ticks: Vec<u64> =
            total.split_whitespace().skip(1).take(8).filter_map(|word| word.parse().ok()).collect();
        let all: u64 = ticks.iter().sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        Ok(Self { busy: all - idle, all, ours: ours()? })
    }

    /// Says what share others had since then.
    pub(crate) fn tell(&self) -> Outcome<()> {
        let now = Self::now()?;
        let others = (now.busy - self.busy).saturating_sub(now.ours.saturating_sub(self.ours));
        let share = others as f64 / (now.all - self.all).max(1) as f64;
        let words = if share > SHARE_MAX { ": TOO NOISY, do not trust this part" } else { "" };
        println!("  others had {:.0} % of the machine{words}", share * 100.0);
        Ok(())
    }
}

/// What this process and its descendants have used, those included that have ended.
fn ours() -> Outcome<u64> {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // It may have ended in the meantime.
        if let Ok(stat) = fs::read_to_string(entry.path().join("stat"))
            && let Some(process) = parse(&stat)
        {
            processes.insert(pid, process);
        }
    }
    let mut family = BTreeSet::from([std::process::id()]);
    // A child may have a lower number than its parent, so once through is not enough.
    loop {
        let before = family.len();
        let children = processes.iter().filter(|(_, process)| family.contains(&process.0));
        let children: Vec<u32> = children.map(|(pid, _)| *pid).collect();
        family.extend(children);
        if family.len() == before {
            break;
        }
    }
    Ok(family.iter().filter_map(|pid| Some(processes.get(pid)?.1)).sum())
}

/// The parent, and the ticks of the process and of its children that have ended.
fn parse(stat: &str) -> Option<(u32, u64)> {
    // The name of the program is in parentheses, and may have some itself.
    let (_, rest) = stat.rsplit_once(") ")?;
    let words: Vec<&str> = rest.split(' ').collect();
    let ticks = words.get(11..15)?.iter().filter_map(|word| word.parse::<u64>().ok()).sum();
    Some((words.get(1)?.parse().ok()?, ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_its_line() {
        let line = "7 (a) b (c) S 3 7 7 0 -1 4 1 2 3 4 100 20 3 1 20 0 1 0 5";
        assert_eq!(parse(line), Some((3, 124)));
        assert_eq!(parse("7 (a"), None);
    }

    #[test]
    fn what_we_do_ourselves_is_ours() {
        let before = ours().expect("the system's own files");
        while ours().expect("the system's own files") < before + 5 {}
    }
}
