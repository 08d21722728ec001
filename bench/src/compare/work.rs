//! What a driver is told to do, and what it says it did.
//!
//! All drivers, in all languages, say the same: for every hold who had it, when they asked, when
//! they had it, when they began to give it back and when that was done. The clock is the one that
//! all processes of the machine share (`CLOCK_MONOTONIC`, which is `System.nanoTime` in Java and
//! `time.monotonic_ns` in Python), so everything else is computed here, alike for all of them: the
//! rate, the latencies, who took over from whom, and the proof that no two held a lock at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Count;
use crate::Outcome;
use crate::measure::{Figures, now_nanos};

/// What a driver is told, in one line.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// Host and port; several with commas between them.
    pub(crate) server: String,
    /// What the locks are named below; it is there already, where a store wants that.
    pub(crate) path: String,
    /// Sessions. Task number n uses session n modulo this.
    pub(crate) clients: u32,
    pub(crate) tasks: u32,
    /// Locks, named `0`, `1`, … Task number n takes lock n modulo this.
    pub(crate) names: u32,
    /// How often all tasks meet and then ask at once; 0: everybody asks on and on, for `millis`.
    pub(crate) rounds: u32,
    pub(crate) millis: u32,
    /// How long each hold lasts. Below a millisecond it is busy, because a timer is not that exact.
    pub(crate) hold_micros: u32,
}

/// Longer than a request is on its way, during which nobody has a place in the line.
const CLEARLY_NANOS: u64 = 1_000_000;
/// From here on a hold sleeps.
const SLEEP_MICROS_MIN: u32 = 1_000;

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Work { server, path, clients, tasks, names, rounds, millis, hold_micros } = self;
        write!(f, "{server} {path} {clients} {tasks} {names} {rounds} {millis} {hold_micros}")
    }
}

impl Work {
    /// Holds for a moment that is not worth a sleep. Whether that was the whole hold.
    pub(crate) fn hold_busily(&self) -> bool {
        let end = now_nanos() + u64::from(self.hold_micros) * 1_000;
        let is_short = self.hold_micros < SLEEP_MICROS_MIN;
        while is_short && now_nanos() < end {
            std::hint::spin_loop();
        }
        is_short
    }

    pub(crate) fn parse(line: &str) -> Outcome<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [server, path, clients, tasks, names, rounds, millis, hold_micros] = words[..] else {
            return Err(format!("not a piece of work: {line:?}").into());
        };
        Ok(Self {
            server: server.into(),
            path: path.into(),
            clients: clients.parse()?,
            tasks: tasks.parse()?,
            names: names.parse()?,
            rounds: rounds.parse()?,
            millis: millis.parse()?,
            hold_micros: hold_micros.parse()?,
        })
    }
}

/// One hold, in nanoseconds on the shared clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    pub(crate) task: u32,
    pub(crate) asked: u64,
    pub(crate) acquired: u64,
    pub(crate) releasing: u64,
    pub(crate) released: u64,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hold { task, asked, acquired, releasing, released } = self;
        write!(f, "{task} {asked} {acquired} {releasing} {released}")
    }
}

impl Hold {
    pub(crate) fn parse(line: &str) -> Outcome<Self> {
        let numbers: Result<Vec<u64>, _> = line.split(' ').map(str::parse).collect();
        match numbers?[..] {
            [task, asked, acquired, releasing, released] => {
                Ok(Self { task: u32::try_from(task)?, asked, acquired, releasing, released })
            }
            _ => Err(format!("not a hold: {line:?}").into()),
        }
    }
}

/// What came of one piece of work.
#[derive(Debug)]
pub(crate) struct Run {
    names: u32,
    tasks: u32,
    holds: Vec<Hold>,
    /// Of the driver's process, all its threads.
    cpu_micros: f64,
    /// What the servers say they had to do meanwhile.
    count: Count,
}

impl Run {
    /// # Errors
    /// If there are no holds, or two held one lock at once.
    pub(crate) fn new(
        work: &Work,
        mut holds: Vec<Hold>,
        cpu_micros: f64,
        count: Count,
    ) -> Outcome<Self> {
        holds.sort_by_key(|hold| hold.acquired);
        if holds.is_empty() {
            return Err("nobody held the lock".into());
        }
        let run = Self { names: work.names, tasks: work.tasks, holds, cpu_micros, count };
        for holds in run.by_name() {
            if holds.windows(2).any(|pair| pair[1].acquired < pair[0].releasing) {
                return Err("TWO HELD THE LOCK AT ONCE".into());
            }
        }
        Ok(run)
    }

    fn by_name(&self) -> Vec<Vec<Hold>> {
        let mut by_name: BTreeMap<u32, Vec<Hold>> = BTreeMap::new();
        for hold in &self.holds {
            by_name.entry(hold.task % self.names).or_default().push(*hold);
        }
        by_name.into_values().collect()
    }

    /// Acquired and released, in a second.
    pub(crate) fn rate(&self) -> f64 {
        let start = self.holds.iter().map(|hold| hold.asked).min().unwrap_or(0);
        let end = self.holds.iter().map(|hold| hold.released).max().unwrap_or(0);
        self.holds.len() as f64 * 1e9 / end.saturating_sub(start) as f64
    }

    /// Microseconds from asking to having.
    pub(crate) fn acquires(&self) -> Figures {
        self.holds.iter().map(|hold| micros(hold.asked, hold.acquired)).collect()
    }

    /// Microseconds from giving back to knowing that it is given back.
    pub(crate) fn releases(&self) -> Figures {
        self.holds.iter().map(|hold| micros(hold.releasing, hold.released)).collect()
    }

    pub(crate) fn cpu_micros(&self) -> f64 {
        self.cpu_micros / self.holds.len() as f64
    }

    pub(crate) fn requests(&self) -> f64 {
        self.count.requests / self.holds.len() as f64
    }

    /// The time that the servers say they spent on a hold.
    pub(crate) fn server_micros(&self) -> f64 {
        self.count.micros / self.holds.len() as f64
    }

    /// Milliseconds from the first who asked to the last who was done.
    pub(crate) fn span_ms(&self) -> f64 {
        self.holds.len() as f64 * 1e3 / self.rate()
    }

    /// Microseconds of both: what a cycle takes, without what is done between.
    pub(crate) fn cycles(&self) -> Figures {
        let both =
            |hold: &Hold| micros(hold.asked, hold.acquired) + micros(hold.releasing, hold.released);
        self.holds.iter().map(both).collect()
    }

    /// Of one lock: how much oftener the one who had it most had it than the one who had it least.
    pub(crate) fn unfairness(&self) -> f64 {
        let mut counts = vec![0u32; self.tasks as usize];
        for hold in &self.holds {
            counts[hold.task as usize] += 1;
        }
        let most = counts.iter().max().copied().unwrap_or(0);
        f64::from(most - counts.iter().min().copied().unwrap_or(0))
    }

    /// Of one lock: of a hundred holds, how many were waited for while somebody had the lock who
    /// had asked for it clearly later.
    pub(crate) fn overtaken_percent(&self) -> f64 {
        let (mut latest, mut overtaken) = (0, 0u32);
        // They are in the order in which they were had.
        for hold in &self.holds {
            overtaken += u32::from(latest > hold.asked + CLEARLY_NANOS);
            latest = latest.max(hold.asked);
        }
        f64::from(overtaken) * 100.0 / self.holds.len() as f64
    }

    /// Of one lock: changes of holder in a second, over all of the run.
    pub(crate) fn all_changes(&self) -> f64 {
        let changes = self.holds.windows(2).filter(|pair| pair[0].task != pair[1].task).count();
        changes as f64 * 1e3 / self.span_ms()
    }

    /// Microseconds from the holder giving back to the next one having it, where the next one was
    /// waiting when the holder began to give back.
    pub(crate) fn hand_overs(&self) -> Figures {
        let mut found = Figures::default();
        for holds in self.by_name() {
            for pair in holds.windows(2).filter(|pair| pair[1].asked < pair[0].releasing) {
                found.add(micros(pair[0].releasing, pair[1].acquired));
            }
        }
        found
    }

    /// Of one lock: changes of holder in a second, and how much oftener the one who had it most
    /// had it than the one who had it least. Both from the moment on at which everybody has had it
    /// once, for before that not everybody was in line.
    pub(crate) fn changes(&self) -> Outcome<(f64, f64)> {
        let mut seen = BTreeSet::new();
        let mut first = 0;
        for (at, hold) in self.holds.iter().enumerate() {
            if seen.insert(hold.task) {
                first = at;
            }
        }
        let line = &self.holds[first..];
        let (Some(start), Some(end)) = (line.first(), line.last()) else {
            return Err("nobody held the lock".into());
        };
        let changes = line.windows(2).filter(|pair| pair[0].task != pair[1].task).count();
        if changes == 0 {
            return Err("the lock never changed its holder after everybody had had it".into());
        }
        let seconds = (end.acquired - start.acquired) as f64 / 1e9;
        let mut counts: BTreeMap<u32, u32> = seen.into_iter().map(|task| (task, 0)).collect();
        for hold in line {
            *counts.entry(hold.task).or_default() += 1;
        }
        let most = counts.values().max().copied().unwrap_or(0);
        let least = counts.values().min().copied().unwrap_or(0);
        Ok((changes as f64 / seconds, f64::from(most - least)))
    }
}

fn micros(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: Count = Count { requests: 12.0, micros: 6.0 };

    fn work(names: u32) -> Work {
        Work::parse(&format!("h:1 /p 2 2 {names} 0 100 0")).expect("work")
    }

    /// Each hold is asked for, had, and given back, by whom.
    fn run(names: u32, holds: &[(u32, u64, u64, u64)]) -> Outcome<Run> {
        let hold = |(task, asked, acquired, releasing)| {
            let released = releasing + 1_000;
            Hold { task, asked, acquired, releasing, released }
        };
        Run::new(&work(names), holds.iter().copied().map(hold).collect(), 8.0, COUNT)
    }

    #[test]
    fn what_is_said_is_understood() {
        assert_eq!(work(3).to_string(), "h:1 /p 2 2 3 0 100 0");
        let said = "1 20 30 40 50";
        assert_eq!(Hold::parse(said).expect("a hold").to_string(), said);
        for wrong in ["", "1 2 3 4", "1 2 3 4 5 6", "1 2 3 4 x"] {
            assert!(Hold::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn two_who_held_one_lock_at_once_are_found() {
        let holds = [(0, 0, 10, 20), (2, 5, 19, 30)];
        assert!(run(1, &holds).expect_err("both held it").to_string().contains("AT ONCE"));
        assert!(run(2, &holds).is_err(), "0 and 2 have lock 0");
        run(3, &holds).expect("they have locks of their own");
        run(1, &[(2, 5, 20, 30), (0, 0, 10, 20)]).expect("one after the other");
        assert!(run(1, &[]).is_err());
    }

    #[test]
    fn a_hand_over_is_to_one_who_waited() {
        let run =
            run(1, &[(0, 0, 1, 10_000), (1, 9_999, 15_000, 16_000), (0, 20_000, 25_000, 26_000)]);
        let run = run.expect("a run");
        assert_eq!(run.hand_overs().at(0.0), 5.0);
        assert_eq!(run.hand_overs().at(1.0), 5.0);
        assert_eq!(run.acquires().at(0.0), 0.001);
        assert_eq!((run.cpu_micros(), run.requests(), run.server_micros()), (8.0 / 3.0, 4.0, 2.0));
        assert_eq!(run.span_ms(), 0.027);
        assert_eq!(run.all_changes(), 2e9 / 27_000.0);
    }

    #[test]
    fn fairness_counts_from_when_all_are_in_line() {
        let at = |task, turn: u64| (task, 0, turn * 1_000_000_000, turn * 1_000_000_000 + 1);
        let turns = [0, 0, 0, 1, 0, 1, 1].into_iter().zip(1..).map(|(task, turn)| at(task, turn));
        let turns: Vec<_> = turns.collect();
        let (rate, difference) = run(1, &turns).expect("a run").changes().expect("changes");
        assert_eq!(difference, 2.0);
        assert!((rate - 2.0 / 3.0).abs() < 1e-9, "{rate}");
        let one = run(1, &turns[..3]).expect("a run");
        assert!(one.changes().is_err(), "it was always the same one");
        assert_eq!(one.unfairness(), 3.0);
    }

    #[test]
    fn who_asked_later_and_had_it_earlier_has_overtaken() {
        let ms = 1_000_000;
        let holds = [(0, 0, 1, 2), (1, 3 * ms, 4 * ms, 4 * ms), (0, 2, 5 * ms, 5 * ms)];
        assert_eq!(run(1, &holds).expect("a run").overtaken_percent(), 100.0 / 3.0);
        let holds = [(0, 0, 1, 2), (1, 5, 6, 7), (0, 2, 8, 9)];
        assert_eq!(run(1, &holds).expect("a run").overtaken_percent(), 0.0, "that is their way");
    }
}
