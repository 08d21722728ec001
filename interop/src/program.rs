//! A running program, and the numbers by which answers find those who asked.
//!
//! ```text
//!   begin ── number, waiter into the map ──► one line to stdin
//!   reader thread: "N ok …" / "N failed …" ──► waiter N     "! …" ──► news, kept
//!   end of output ──► every waiter is told that the program ended
//! ```
//!
//! The reader is a thread and not a task, so that one program can serve many tests, each of which
//! has a runtime of its own.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use cotter::env::Env;
use tokio::sync::oneshot;

use crate::failure::{Failure, Result};
use crate::prepare::{Ready, prepare};
use crate::seat::Session;
use crate::wait::{LONG, eventually};

/// Which client a program is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// Apache Curator, on the JVM.
    Curator,
    /// kazoo, on Python.
    Kazoo,
    /// Redisson, on the JVM.
    Redisson,
    /// redis-py and pottery, on Python.
    RedisPython,
    /// node-redlock, on Node.
    RedisNode,
    /// etcd's own client and its package concurrency, on Go.
    Go,
    /// cotter, in the program at this path: `interop-peer`.
    Cotter(PathBuf),
}

/// A program that runs. Dropping it kills it.
pub struct Program {
    child: Child,
    orders: Mutex<ChildStdin>,
    heard: Arc<Heard>,
    numbers: AtomicU64,
    log: PathBuf,
}

/// What the program has said and who waits for more.
#[derive(Default)]
struct Heard {
    /// `None` once it says nothing any more.
    waiting: Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>,
    news: Mutex<Vec<String>>,
}

type Answer = std::result::Result<String, String>;

/// An answer that is to come.
#[must_use = "an answer that nobody reads may be a failure"]
pub struct Reply {
    order: String,
    answer: oneshot::Receiver<Answer>,
    log: PathBuf,
}

impl Program {
    /// Starts a program that talks to the server at this address, host:port.
    ///
    /// # Errors
    /// It cannot be built or started.
    pub fn start(client: &Client, server: &str) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let run = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let Ready { mut command, log } = prepare(client, &run)?;
        command.arg(server).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(File::create(&log)?).spawn()?;
        let (Some(orders), Some(news)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new("the program was started without its pipes"));
        };
        let heard = Arc::new(Heard::default());
        *locked(&heard.waiting) = Some(HashMap::new());
        let reader = Arc::clone(&heard);
        // It ends with the program's output, and so with the program.
        thread::Builder::new()
            .name(format!("hears {run}"))
            .spawn(move || reader.read(BufReader::new(news)))?;
        Ok(Self { child, orders: Mutex::new(orders), heard, numbers: AtomicU64::new(1), log })
    }

    /// Opens a session of this name with the server.
    ///
    /// # Errors
    /// The program could not connect.
    ///
    /// # Cancel safety
    /// The session may be open all the same.
    pub async fn session(&self, name: &str, timeout: Duration) -> Result<Session<'_>> {
        Session::open(self, name, timeout.as_millis().to_string()).await
    }

    /// The same for the program of cotter, whose session also has a path that its names are below
    /// and the options of its URL: `layout=kazoo&timeout=10s`.
    ///
    /// # Errors
    /// The program could not connect.
    ///
    /// # Cancel safety
    /// The session may be open all the same.
    pub async fn session_at(&self, name: &str, path: &str, options: &str) -> Result<Session<'_>> {
        Session::open(self, name, format!("{path} {options}")).await
    }

    /// Gives an order, in words, to a seat of a session. It is on its way when this returns.
    pub(crate) fn begin(&self, session: &str, seat: &str, order: &str) -> Reply {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (waiter, answer) = oneshot::channel();
        let line = format!("{number} {session} {seat} {order}\n");
        // A waiter that cannot be entered, or whose order cannot be written, is dropped: the
        // program has ended, and so the answer says.
        if let Some(waiting) = locked(&self.heard.waiting).as_mut() {
            waiting.insert(number, waiter);
        }
        if locked(&self.orders).write_all(line.as_bytes()).is_err() {
            self.heard.end();
        }
        Reply { order: order.to_owned(), answer, log: self.log.clone() }
    }

    /// Waits until the program has told this of its own accord.
    ///
    /// # Errors
    /// It does not.
    ///
    /// # Cancel safety
    /// Safe; the next call finds it.
    pub async fn news(&self, what: &str) -> Result<()> {
        let is_there = async || Ok(locked(&self.heard.news).iter().any(|news| news == what));
        eventually(&format!("news {what:?}"), is_there).await
    }

    /// The number of its process, for signals.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, without a chance to do anything, and waits until it is dead.
    ///
    /// # Errors
    /// It was dead already.
    pub fn kill(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(Failure::new(format!("the program had ended already: {status}")));
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only for a program that has been waited for.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Reply {
    /// The answer.
    ///
    /// # Errors
    /// The order failed, the program ended, or no answer came.
    ///
    /// # Cancel safety
    /// The order is carried out all the same.
    pub async fn heard(self) -> Result<String> {
        self.heard_within(LONG).await
    }

    /// The answer to an order that takes longer than anything else does.
    ///
    /// # Errors
    /// The order failed, the program ended, or no answer came.
    ///
    /// # Cancel safety
    /// The order is carried out all the same.
    pub async fn heard_within(mut self, limit: Duration) -> Result<String> {
        let env = Env::system()?;
        let answer = tokio::select! {
            answer = &mut self.answer => answer,
            () = env.sleep(limit) => {
                return Err(Failure::new(format!("{:?}: no answer within {limit:?}", self.order)));
            }
        };
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(why)) => Err(Failure::new(format!("{:?} failed: {why}", self.order))),
            Err(_ended) => Err(Failure::new(format!(
                "{:?}: the program has ended. Its log ends with:\n{}",
                self.order,
                end_of(&self.log)
            ))),
        }
    }

    /// Whether the answer has not come yet.
    pub fn is_pending(&self) -> bool {
        self.answer.is_empty() && !self.answer.is_terminated()
    }
}

impl Heard {
    fn read(&self, mut news: impl BufRead) {
        let mut line = String::new();
        while news.read_line(&mut line).is_ok_and(|length| length > 0) {
            self.line(line.trim_end());
            line.clear();
        }
        self.end();
    }

    fn line(&self, line: &str) {
        if let Some(news) = line.strip_prefix("! ") {
            locked(&self.news).push(news.to_owned());
            return;
        }
        let mut words = line.splitn(3, ' ');
        let number = words.next().and_then(|number| number.parse().ok());
        let (is_ok, rest) = (words.next() == Some("ok"), words.next().unwrap_or("").to_owned());
        let waiting =
            locked(&self.waiting).as_mut().zip(number).and_then(|(all, n)| all.remove(&n));
        if let Some(waiter) = waiting {
            // One that does not listen any more is fine.
            drop(waiter.send(if is_ok { Ok(rest) } else { Err(rest) }));
        }
    }

    fn end(&self) {
        *locked(&self.waiting) = None;
    }
}

fn end_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these; should it, what they guard is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
