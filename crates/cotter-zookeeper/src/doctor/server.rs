//! What each server of the URL says of itself: its version, and its part in the ensemble.
//!
//! It is asked by `srvr` on the client port, the one word that servers answer without being set up
//! for it. Under TLS, or where the word is switched off, it is not told, which is a note.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::ready;
use std::time::Duration;

use cotter_zk::{Dial, Stream, Tcp};
use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Examination, Severity};
use crate::shared::Shared;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// As much of an answer as is read.
const ANSWER_MAX: usize = 16 * 1024;
/// The oldest version with all that is used: nodes that say who made them when (3.5.0), and
/// containers (3.5.3).
const OLDEST: [u32; 3] = [3, 5, 3];

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    version: Option<String>,
    mode: Option<String>,
}

impl Shared {
    pub(super) async fn examine_servers(&self, found: &mut Examination) {
        let servers = &self.config.servers;
        if self.config.tls.is_on {
            let what = "versions and modes are not told under TLS";
            found.add((Severity::Note, "server"), &servers.join(","), what, "");
            return;
        }
        let answers = join_all(servers.iter().map(|server| self.ask(server))).await;
        let mut modes = Vec::new();
        let mut versions: Vec<String> = Vec::new();
        for (server, answer) in servers.iter().zip(answers) {
            match answer {
                Ok(text) => {
                    let told = told(&text);
                    judge(server, &text, &told, found);
                    modes.extend(told.mode);
                    versions.extend(told.version);
                }
                Err(error) => {
                    let what = format!("this server does not answer: {error}");
                    let advice = "start it, or take it out of the URL";
                    found.add((Severity::Warning, "server"), server, what, advice);
                }
            }
        }
        judge_all(&servers.join(","), servers.len(), &modes, &mut versions, found);
    }

    async fn ask(&self, server: &str) -> io::Result<String> {
        tokio::select! {
            biased;
            answer = asked(server) => answer,
            () = self.env.sleep(PATIENCE) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within 2 s"))
            }
        }
    }
}

async fn asked(server: &str) -> io::Result<String> {
    let mut stream = Tcp.dial(server).await?;
    write(&mut *stream, b"srvr").await?;
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    while answer.len() < ANSWER_MAX {
        match read(&mut *stream, &mut chunk).await {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&chunk[..length]),
            // Some servers reset what they have answered.
            Err(_) if !answer.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn write(stream: &mut dyn Stream, mut bytes: &[u8]) -> io::Result<()> {
    poll_fn(|context| {
        while !bytes.is_empty() {
            let written = ready!(AsyncWrite::poll_write(Pin::new(&mut *stream), context, bytes))?;
            if written == 0 {
                return std::task::Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            bytes = &bytes[written..];
        }
        AsyncWrite::poll_flush(Pin::new(&mut *stream), context)
    })
    .await
}

async fn read(stream: &mut dyn Stream, into: &mut [u8]) -> io::Result<usize> {
    poll_fn(|context| {
        let mut buffer = ReadBuf::new(into);
        ready!(AsyncRead::poll_read(Pin::new(&mut *stream), context, &mut buffer))?;
        std::task::Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}

/// What the answer to `srvr` says.
fn told(text: &str) -> Told {
    let after = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let word = line.trim().split([',', '-', ' ']).next()?;
        (!word.is_empty()).then(|| word.to_owned())
    };
    // A mode has a dash in it: read-only.
    let mode = text.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::trim);
    Told { version: after("Zookeeper version: "), mode: mode.map(str::to_owned) }
}

fn number(version: &str) -> Vec<u32> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}

fn judge(server: &str, text: &str, told: &Told, found: &mut Examination) {
    let kind = "server";
    let (Some(version), Some(mode)) = (&told.version, &told.mode) else {
        if text.contains("not currently serving") {
            let what = "this server is up but serves nobody: it does not find a quorum";
            let advice = "look at its log and at the other servers";
            return found.add((Severity::Problem, kind), server, what, advice);
        }
        let what = "version and mode are not told: srvr is switched off there, or what answers is \
                    no ZooKeeper";
        return found.add((Severity::Note, kind), server, what, "");
    };
    if number(version).as_slice() < OLDEST.as_slice() {
        let what = format!("ZooKeeper {version} is too old: there are no containers before 3.5.3");
        return found.add((Severity::Problem, kind), server, what, "upgrade it");
    }
    if mode == "read-only" {
        let what = format!("ZooKeeper {version} is read-only: it has lost the other servers");
        let advice = "look at its connection to the others";
        return found.add((Severity::Problem, kind), server, what, advice);
    }
    found.add((Severity::Note, kind), server, format!("ZooKeeper {version}, {mode}"), "");
}

/// What only all of them together show.
fn judge_all(
    place: &str,
    count: usize,
    modes: &[String],
    versions: &mut Vec<String>,
    found: &mut Examination,
) {
    let kind = "server";
    versions.sort();
    versions.dedup();
    if versions.len() > 1 {
        let what = format!("the servers have different versions: {}", versions.join(", "));
        let advice = "finish the upgrade";
        found.add((Severity::Warning, kind), place, what, advice);
    }
    let count_of = |mode: &str| modes.iter().filter(|other| *other == mode).count();
    if count_of("standalone") > 0 && count > 1 {
        let what = "a server of the URL is standalone: it knows nothing of the others, so a lock \
                    can be held once on each side";
        let advice = "name the servers of one ensemble only";
        found.add((Severity::Problem, "two-stores"), place, what, advice);
    }
    if count_of("leader") > 1 {
        let what = "two servers of the URL say that they lead: they are of two ensembles, or one \
                    has just been replaced";
        let advice = "name the servers of one ensemble only; if it is one, look again";
        found.add((Severity::Problem, "two-stores"), place, what, advice);
    }
    if count == 1 && count_of("leader") + count_of("follower") + count_of("observer") > 0 {
        let what = "the URL names one server of an ensemble: while it is down no other is tried";
        found.add((Severity::Warning, kind), place, what, "name all of them in the URL");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SRVR: &str = "Zookeeper version: 3.8.0-${mvngit.commit.id}, built on 2023-02-24\n\
                        Latency min/avg/max: 0/0.0/0\nMode: follower\nNode count: 5\n";

    fn judged(text: &str) -> Vec<Severity> {
        let mut found = Examination::default();
        judge("h:1", text, &told(text), &mut found);
        found.findings.iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn an_answer_is_read() {
        let told = told(SRVR);
        assert_eq!(told.version.as_deref(), Some("3.8.0"));
        assert_eq!(told.mode.as_deref(), Some("follower"));
        assert_eq!(judged(SRVR), [Severity::Note]);
        assert_eq!(judged(&SRVR.replace("follower", "read-only")), [Severity::Problem]);
        assert_eq!(judged(&SRVR.replace("3.8.0", "3.4.14")), [Severity::Problem]);
        assert_eq!(judged(&SRVR.replace("3.8.0", "3.10.0")), [Severity::Note]);
        for text in ["", "srvr is not executed because it is not in the whitelist.\n", "\u{fffd}"] {
            assert_eq!(judged(text), [Severity::Note], "{text:?}");
        }
        let text = "This ZooKeeper instance is not currently serving requests\n";
        assert_eq!(judged(text), [Severity::Problem]);
    }

    #[test]
    fn servers_that_are_not_one_ensemble_are_told() {
        let judged = |count, modes: &[&str], versions: &[&str]| {
            let mut found = Examination::default();
            let modes: Vec<_> = modes.iter().map(|mode| (*mode).to_owned()).collect();
            let mut versions = versions.iter().map(|version| (*version).to_owned()).collect();
            judge_all("h", count, &modes, &mut versions, &mut found);
            found.findings.iter().map(|finding| finding.severity).collect::<Vec<_>>()
        };
        assert_eq!(judged(3, &["leader", "follower", "follower"], &["3.8.0", "3.8.0"]), []);
        assert_eq!(judged(1, &["standalone"], &["3.8.0"]), []);
        assert_eq!(judged(2, &["standalone", "standalone"], &[]), [Severity::Problem]);
        assert_eq!(judged(2, &["leader", "leader"], &[]), [Severity::Problem]);
        assert_eq!(judged(1, &["follower"], &[]), [Severity::Warning]);
        assert_eq!(judged(2, &[], &["3.8.0", "3.9.1"]), [Severity::Warning]);
    }
}
