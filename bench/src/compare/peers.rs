//! Those who are compared: a process for each kind of client, started when it is first needed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::work::{Hold, Run, Work};
use super::{Count, Field};
use crate::Outcome;

/// No piece of work takes longer, by far; one that does hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Peers<F> {
    pub(crate) field: F,
    started: BTreeMap<&'static str, Outcome<Process>>,
}

impl<F: Field> Peers<F> {
    pub(crate) fn new(field: F) -> Self {
        Self { field, started: BTreeMap::new() }
    }

    /// Lets one kind do a piece of work. `None`, and a word about it, if it cannot: then it is not
    /// asked again.
    pub(crate) fn run(&mut self, kind: &'static str, work: &Work) -> Option<Run> {
        let field = &self.field;
        let say = |error: &dyn std::error::Error| {
            println!("  {}: NOT MEASURED: {error}", field.title(kind))
        };
        let started = self.started.entry(kind).or_insert_with(|| {
            let started = field.driver(kind).and_then(Process::start);
            if let Err(error) = &started {
                say(error.as_ref());
            }
            started
        });
        match started.as_mut().ok()?.run(field, kind, work) {
            Ok(run) => Some(run),
            Err(error) => {
                say(error.as_ref());
                *started = Err(error);
                None
            }
        }
    }

    /// Whom it could not measure, and why.
    pub(crate) fn missing(&self) -> Vec<String> {
        let missing = self.started.iter().filter_map(|(kind, process)| {
            let error = process.as_ref().err()?;
            Some(format!("{}: {error}", self.field.title(kind)))
        });
        missing.collect()
    }
}

#[derive(Debug)]
struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    fn start(mut command: Command) -> Outcome<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("the driver has no input")?;
        let output = child.stdout.take().ok_or("the driver has no output")?;
        let (heard, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if heard.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, input, lines })
    }

    fn run(&mut self, field: &impl Field, kind: &'static str, work: &Work) -> Outcome<Run> {
        self.say(&work.to_string())?;
        self.hear_word("ready")?;
        let before = field.count(kind)?;
        self.say("go")?;
        let mut holds = Vec::new();
        let cpu_micros = loop {
            let line = self.hear()?;
            match line.strip_prefix("cpu ") {
                Some(micros) => break micros.parse()?,
                None => holds.push(Hold::parse(&line)?),
            }
        };
        let count: Count = field.count(kind)?.less(before).less(field.own_count());
        self.say("close")?;
        self.hear_word("closed")?;
        Run::new(work, holds, cpu_micros, count)
    }

    fn say(&mut self, line: &str) -> Outcome<()> {
        writeln!(self.input, "{line}").map_err(|_| self.last_words())?;
        Ok(())
    }

    fn hear_word(&mut self, word: &str) -> Outcome<()> {
        let heard = self.hear()?;
        if heard == word { Ok(()) } else { Err(format!("{heard:?} in place of {word:?}").into()) }
    }

    fn hear(&mut self) -> Outcome<String> {
        let line = self.lines.recv_timeout(ANSWER_WITHIN).map_err(|_| self.last_words())?;
        match line.strip_prefix("failed: ") {
            Some(why) => Err(why.into()),
            None => Ok(line),
        }
    }

    /// Why a process has stopped talking.
    fn last_words(&mut self) -> String {
        let failed = self.lines.try_iter().find(|line| line.starts_with("failed: "));
        failed.unwrap_or_else(|| format!("the driver is silent: {:?}", self.child.try_wait()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It would end by itself when its input does, unless it hangs.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
