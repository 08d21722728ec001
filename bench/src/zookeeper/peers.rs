//! Those who are compared: a process for each kind of client, started when it is first needed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::drive::{CLIENT, CRATE, CRATE_CONFIRMED, FLOOR, FLOOR_LISTED, ONE_WATCH, TWO_WATCHES};
use super::foreign;
use super::server::Server;
use super::session::Session;
use super::work::{Hold, Run, Work};
use crate::Outcome;

pub(crate) const CURATOR: &str = "curator";
pub(crate) const KAZOO: &str = "kazoo";

/// No piece of work takes longer, by far; one that does hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Everything is made below this node, and stays there; the locks' own nodes do not.
const ROOT: &str = "/cotter-bench";

/// What stands in the tables.
pub(crate) fn title(kind: &str) -> &str {
    match kind {
        FLOOR => "raw create + delete",
        FLOOR_LISTED => "raw, with a list too",
        ONE_WATCH => "raw lock, one watch",
        TWO_WATCHES => "raw lock, two watches",
        CLIENT => "cotter-zk by hand",
        CRATE => "zookeeper-client 0.11",
        CRATE_CONFIRMED => "the same, confirmed",
        CURATOR => "Curator",
        other => other,
    }
}

#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) server: Server,
    started: BTreeMap<&'static str, Outcome<Process>>,
}

impl Peers {
    pub(crate) fn new(server: Server) -> Self {
        Self { server, started: BTreeMap::new() }
    }

    /// The node below which one kind's locks are, in one part of the bench.
    pub(crate) fn make_path(&self, part: &str, kind: &str) -> Outcome<String> {
        let path = format!("{ROOT}/{part}-{kind}");
        let mut session = Session::open(&self.server.address)?;
        session.make_path(&path)?;
        session.close()?;
        Ok(path)
    }

    /// Lets one kind do a piece of work. `None`, and a word about it, if it cannot: then it is not
    /// asked again.
    pub(crate) fn run(&mut self, kind: &'static str, work: &Work) -> Option<Run> {
        let server = &self.server;
        let started = self.started.entry(kind).or_insert_with(|| Process::start(kind));
        let outcome = started.as_mut().ok()?.run(server, work);
        match outcome {
            Ok(run) => Some(run),
            Err(error) => {
                println!("  {}: NOT MEASURED: {error}", title(kind));
                *started = Err(error);
                None
            }
        }
    }

    /// Whom it could not measure, and why.
    pub(crate) fn missing(&self) -> Vec<String> {
        let missing = self.started.iter().filter_map(|(kind, process)| {
            let error = process.as_ref().err()?;
            Some(format!("{}: {error}", title(kind)))
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
    fn start(kind: &str) -> Outcome<Self> {
        let started = Self::start_driver(kind);
        if let Err(error) = &started {
            println!("  {}: NOT MEASURED: {error}", title(kind));
        }
        started
    }

    fn start_driver(kind: &str) -> Outcome<Self> {
        let mut command = match kind {
            CURATOR => foreign::curator()?,
            KAZOO => foreign::kazoo()?,
            _ => Command::new(std::env::current_exe()?),
        };
        if kind != CURATOR && kind != KAZOO {
            command.args(["drive-zookeeper", kind]);
        }
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

    fn run(&mut self, server: &Server, work: &Work) -> Outcome<Run> {
        self.say(&work.to_string())?;
        self.hear_word("ready")?;
        let before = server.received()?;
        self.say("go")?;
        let mut holds = Vec::new();
        let cpu_micros = loop {
            let line = self.hear()?;
            match line.strip_prefix("cpu ") {
                Some(micros) => break micros.parse()?,
                None => holds.push(Hold::parse(&line)?),
            }
        };
        let requests = server.received_since(before)?;
        self.say("close")?;
        self.hear_word("closed")?;
        Run::new(work, holds, cpu_micros, requests)
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
