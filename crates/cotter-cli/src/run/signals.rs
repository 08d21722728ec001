//! Signals to the runner: which it hears, and what it passes on.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// Those that end a wait, and are passed to a running command.
const ENDING: [Signal; 6] =
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2];

/// Those that are only passed on. While no command runs, they do what they do to any process.
const STEERING: [Signal; 3] = [Signal::WINCH, Signal::CONT, Signal::TSTP];

/// The signals that this process hears.
pub(super) struct Signals {
    heard: Vec<(Signal, Stream)>,
    ignored: u64,
    interrupts: u32,
}

impl Signals {
    /// Begins to hear the signals that end a wait. What our parent had ignored (`nohup`, a shell's
    /// background job) stays ignored, for us and for the command.
    pub(super) fn hear_ending() -> io::Result<Self> {
        let mut signals = Self { heard: Vec::new(), ignored: ignored(), interrupts: 0 };
        signals.hear(&ENDING)?;
        Ok(signals)
    }

    /// Begins to hear those that steer a running command, too.
    pub(super) fn hear_steering(&mut self) -> io::Result<()> {
        self.hear(&STEERING)
    }

    fn hear(&mut self, signals: &[Signal]) -> io::Result<()> {
        for wanted in signals {
            if self.ignored & (1 << (wanted.as_raw() - 1)) == 0 {
                self.heard.push((*wanted, signal(SignalKind::from_raw(wanted.as_raw()))?));
            }
        }
        Ok(())
    }

    /// The next signal. May be dropped and called again; none is lost, repeated ones may merge.
    pub(super) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.heard {
                if let Poll::Ready(Some(())) = stream.poll_recv(context) {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// The next signal that ends a wait. May be dropped and called again.
    pub(super) async fn next_ending(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if ENDING.contains(&signal) {
                return signal;
            }
        }
    }

    /// What to pass on for a signal: itself, but something stronger for each further interrupt, as
    /// somebody presses `^C` again.
    pub(super) fn escalated(&mut self, signal: Signal) -> Signal {
        if signal != Signal::INT {
            return signal;
        }
        self.interrupts += 1;
        match self.interrupts {
            1 => Signal::INT,
            2 => Signal::TERM,
            _ => Signal::KILL,
        }
    }
}

/// The set of signals that this process was started with as ignored, one bit for each.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        // Without /proc none counts as ignored, which is what most processes find.
        .unwrap_or(0)
}

/// Reads a signal's name (`TERM`, `SIGTERM`) or number.
pub(crate) fn parse(text: &str) -> Result<Signal, String> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, signal)| *signal);
    named
        .or_else(|| Signal::from_named_raw(text.parse().ok()?))
        .ok_or_else(|| format!("no signal {text:?}; write a name like TERM or USR1, or a number"))
}

/// The signal's name without `SIG`, or its number.
pub(super) fn name(number: i32) -> String {
    NAMES
        .iter()
        .find(|(_, signal)| signal.as_raw() == number)
        .map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

const NAMES: [(&str, Signal); 25] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("ILL", Signal::ILL),
    ("TRAP", Signal::TRAP),
    ("ABRT", Signal::ABORT),
    ("BUS", Signal::BUS),
    ("FPE", Signal::FPE),
    ("KILL", Signal::KILL),
    ("USR1", Signal::USR1),
    ("SEGV", Signal::SEGV),
    ("USR2", Signal::USR2),
    ("PIPE", Signal::PIPE),
    ("ALRM", Signal::ALARM),
    ("TERM", Signal::TERM),
    ("CONT", Signal::CONT),
    ("STOP", Signal::STOP),
    ("TSTP", Signal::TSTP),
    ("TTIN", Signal::TTIN),
    ("TTOU", Signal::TTOU),
    ("URG", Signal::URG),
    ("XCPU", Signal::XCPU),
    ("XFSZ", Signal::XFSZ),
    ("WINCH", Signal::WINCH),
    ("SYS", Signal::SYS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_named_in_the_usual_ways() {
        for text in ["TERM", "term", "SIGTERM", "sigterm", "15"] {
            assert_eq!(parse(text), Ok(Signal::TERM), "{text}");
        }
        for text in ["", "0", "-15", "999", "TERMINATE", "SIG"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!([name(9), name(200)], ["KILL", "200"]);
    }
}
