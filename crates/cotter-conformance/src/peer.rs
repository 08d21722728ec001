//! Another process that uses the store: `conformance-peer`, and how a case speaks with it.
//!
//! ```text
//!   case ── "acquire orders" ──► stdin   conformance-peer   stdout ──► "granted orders 7"
//!   case ── SIGSTOP, SIGCONT, SIGKILL ──► the process
//! ```

use std::path::PathBuf;
use std::process::Stdio;

use cotter_core::contract::FencingToken;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How to start a peer.
#[derive(Clone, Debug)]
pub struct PeerCommand {
    /// The program.
    pub program: PathBuf,
    /// The store it connects to.
    pub url: String,
}

impl PeerCommand {
    /// Starts it. It ends with its standard input, and so with the case.
    pub fn start(&self) -> Peer {
        let mut child = Command::new(&self.program)
            .arg(&self.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the helper program starts");
        let orders = child.stdin.take().expect("its input is piped");
        let news = child.stdout.take().expect("its output is piped");
        Peer { child, orders, news: BufReader::new(news).lines() }
    }
}

/// A process that holds locks or waits for them. Dropping it kills it.
pub struct Peer {
    child: Child,
    orders: ChildStdin,
    news: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Tells it to do something, without waiting for the answer.
    pub async fn tell(&mut self, order: &str) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.expect("the peer listens");
    }

    /// The next thing it says.
    pub async fn hears(&mut self) -> String {
        self.news.next_line().await.expect("readable").expect("the peer still speaks")
    }

    /// Tells it to do something and gives its answer.
    pub async fn ask(&mut self, order: &str) -> String {
        self.tell(order).await;
        self.hears().await
    }

    /// Lets it take a lock that is free, or waits for its turn. Gives the token.
    pub async fn acquire(&mut self, name: &str) -> FencingToken {
        self.tell(&format!("acquire {name}")).await;
        self.granted(name).await
    }

    /// Waits until it says that it holds the lock. Gives the token.
    pub async fn granted(&mut self, name: &str) -> FencingToken {
        let said = self.hears().await;
        let token = said.strip_prefix(&format!("granted {name} "));
        let token = token.unwrap_or_else(|| panic!("the peer should hold {name}, it says: {said}"));
        token.parse().expect("a token")
    }

    /// Kills it, without a chance to do anything, and waits until it is dead.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it was alive");
    }

    /// Freezes it.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let number = self.child.id().and_then(|id| i32::try_from(id).ok());
        let pid = number.and_then(Pid::from_raw).expect("the peer lives");
        kill_process(pid, signal).expect("it is ours");
    }
}
