//! One connection through the proxy.
//!
//! ```text
//!            ┌─ reader ─► queue ─► writer ─┐      reader: frames, faults, when each is due
//!   client ──┤        up                   ├── server
//!            └─ writer ◄─ queue ◄─ reader ─┘      writer: waits (due, held, silence), writes
//!                         down
//!   all four end when one of them resets the connection
//! ```
//!
//! A writer takes its queue in order and waits for each item in turn, so nothing overtakes. A reset
//! that a fault asks for stands in the queue as an item of its own: what came before it is
//! delivered.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cotter_core::env::Moment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};

use crate::frame::Dialect;
use crate::plan::{Fault, Hold, Rule};
use crate::proxy::{Link, Way};

/// How many frames may be under way in one direction. With 10 ms one way it allows a million
/// requests a second, more than one connection carries.
const UNDER_WAY_MAX: usize = 10_000;
/// How much is read at a time.
const READ_LEN: usize = 64 << 10;

/// What a writer is to do next.
enum Item {
    Bytes {
        bytes: Vec<u8>,
        due: Moment,
        hold: Option<Hold>,
        is_reply: bool,
    },
    /// The connection ends here.
    Reset,
}

/// What is to happen to a reply, and the rule that says so.
enum Fate {
    Lose(Rule),
    Late(Duration),
    Hold(Hold, Rule),
}

/// What the four parts of a connection share.
struct Connection {
    link: Arc<Link>,
    dialect: Dialect,
    /// Replies that something happens to, by the id they will have.
    fates: Mutex<VecDeque<(i64, Fate)>>,
    is_reset: watch::Sender<bool>,
    /// How many resets of all connections were before it.
    resets_before: u64,
    /// Whether one of the sides has closed.
    is_left: AtomicBool,
}

impl Connection {
    /// One of the sides has closed.
    fn leave(&self) {
        if !self.is_left.swap(true, Ordering::SeqCst) {
            self.link.left();
        }
    }

    fn reset(&self) {
        self.is_reset.send_replace(true);
    }

    /// Waits until the connection is reset, by itself, with all others, or with the proxy.
    async fn until_reset(&self) {
        let mut own = self.is_reset.subscribe();
        let mut all = self.link.resets.clone();
        tokio::select! {
            // That a sender is gone is a reset too.
            _ = own.wait_for(|is_reset| *is_reset) => {}
            _ = all.wait_for(|resets| *resets != self.resets_before) => self.reset(),
        }
    }

    fn take_fate(&self, id: i64) -> Option<Fate> {
        let mut fates = self.fates.lock().unwrap_or_else(PoisonError::into_inner);
        let at = fates.iter().position(|(of, _)| *of == id)?;
        fates.remove(at).map(|(_, fate)| fate)
    }

    fn add_fate(&self, id: i64, fate: Fate) {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner).push_back((id, fate));
    }
}

/// Carries one client's connection to its server and back, until either ends.
pub(crate) async fn run(client: TcpStream, server: String, link: Arc<Link>) {
    let _counted = link.opened();
    let connection = Arc::new(Connection {
        link: Arc::clone(&link),
        dialect: Dialect::new(link.protocol),
        fates: Mutex::default(),
        is_reset: watch::Sender::new(false),
        resets_before: *link.resets.borrow(),
        is_left: AtomicBool::new(false),
    });
    let _ = client.set_nodelay(true);
    let (client_reader, client_writer) = client.into_split();
    let (up, up_queue) = mpsc::channel(UNDER_WAY_MAX);
    let (down, down_queue) = mpsc::channel(UNDER_WAY_MAX);
    let serve = async {
        // The requests are read from the start, so that a client that goes is noticed.
        let dialed = tokio::select! {
            dialed = dial(&connection, &server) => dialed,
            () = connection.until_reset() => None,
        };
        let Some(server) = dialed else {
            connection.reset();
            return reset_close(client_writer);
        };
        let (server_reader, server_writer) = server.into_split();
        tokio::join!(
            write(&connection, up_queue, server_writer),
            read(&connection, server_reader, down, Direction::Down),
            write(&connection, down_queue, client_writer),
        );
    };
    tokio::join!(read(&connection, client_reader, up, Direction::Up), serve);
}

/// A connection to the server, once the way is open. A client that has left by then left in
/// silence: its server never hears of it.
async fn dial(connection: &Connection, server: &str) -> Option<TcpStream> {
    let had_to_wait = connection.link.until_not_silent().await;
    let is_shut = *connection.link.way.borrow() == Way::Cut;
    if is_shut || had_to_wait && connection.is_left.load(Ordering::SeqCst) {
        return None;
    }
    let server = TcpStream::connect(server).await.ok()?;
    let _ = server.set_nodelay(true);
    Some(server)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// Reads from one side and queues for the other, until that side closes or all is reset.
async fn read(
    connection: &Connection,
    mut from: OwnedReadHalf,
    queue: mpsc::Sender<Item>,
    direction: Direction,
) {
    let mut splitter = match direction {
        Direction::Up => connection.dialect.requests(),
        Direction::Down => connection.dialect.replies(),
    };
    let mut is_first = true;
    loop {
        splitter.buffer().reserve(READ_LEN);
        let length = tokio::select! {
            length = from.read_buf(splitter.buffer()) => length,
            () = connection.until_reset() => return,
        };
        match length {
            Ok(0) => return connection.leave(),
            Ok(_) => {}
            Err(_) => {
                connection.leave();
                // It goes the way of what was sent before it. A queue that is gone was reset.
                let _ = queue.send(Item::Reset).await;
                return;
            }
        }
        while let Some(bytes) = splitter.next() {
            let items = match direction {
                _ if splitter.is_raw() => [Some(plain(connection, bytes)), None],
                Direction::Up => up(connection, bytes, is_first),
                Direction::Down => down(connection, bytes, is_first),
            };
            is_first = false;
            for item in items.into_iter().flatten() {
                let sent = tokio::select! {
                    sent = queue.send(item) => sent.is_ok(),
                    () = connection.until_reset() => false,
                };
                if !sent {
                    return;
                }
            }
        }
    }
}

fn plain(connection: &Connection, bytes: Vec<u8>) -> Item {
    later(connection, bytes, Duration::ZERO, false)
}

fn later(connection: &Connection, bytes: Vec<u8>, extra: Duration, is_reply: bool) -> Item {
    let link = &connection.link;
    let due = link.env.now().after(link.delay()).after(extra);
    Item::Bytes { bytes, due, hold: None, is_reply }
}

/// What becomes of a request.
fn up(connection: &Connection, bytes: Vec<u8>, is_first: bool) -> [Option<Item>; 2] {
    let link = &connection.link;
    let Some(request) = connection.dialect.request(&bytes, is_first) else {
        return [Some(plain(connection, bytes)), None];
    };
    if request.is_waited_for {
        link.asked();
    }
    let fate = match link.plan.meet(request.kind, request.about.as_deref().unwrap_or("")) {
        None => None,
        Some((rule, hold)) => match rule.fault {
            Fault::LoseRequest => return [Some(Item::Reset), None],
            Fault::Reset => return [Some(plain(connection, bytes)), Some(Item::Reset)],
            Fault::DelayRequest(extra) => {
                return [Some(later(connection, bytes, extra, false)), None];
            }
            Fault::LoseReply => Some(Fate::Lose(rule)),
            Fault::DelayReply(extra) => Some(Fate::Late(extra)),
            Fault::HoldReply => Some(Fate::Hold(hold, rule)),
        },
    };
    if let Some(fate) = fate {
        connection.add_fate(request.id, fate);
    }
    [Some(plain(connection, bytes)), None]
}

/// What becomes of a reply.
fn down(connection: &Connection, bytes: Vec<u8>, is_first: bool) -> [Option<Item>; 2] {
    let Some(reply) = connection.dialect.reply(&bytes, is_first) else {
        return [Some(plain(connection, bytes)), None];
    };
    let bytes = connection.dialect.at_home(bytes, &connection.link.places);
    let plan = &connection.link.plan;
    if reply.is_event && plan.has_lost_events() {
        return [None, None];
    }
    let extra = match connection.take_fate(reply.id) {
        Some(Fate::Lose(rule)) if reply.is_refusal => {
            plan.give_back(rule);
            Duration::ZERO
        }
        Some(Fate::Hold(hold, rule)) if reply.is_refusal => {
            if !hold.is_over() {
                plan.give_back(rule);
            }
            Duration::ZERO
        }
        Some(Fate::Lose(_)) => return [Some(Item::Reset), None],
        Some(Fate::Late(extra)) => extra,
        Some(Fate::Hold(hold, _)) => {
            let due = connection.link.env.now().after(connection.link.delay());
            let item = Item::Bytes { bytes, due, hold: Some(hold), is_reply: reply.ends_wait };
            return [Some(item), None];
        }
        None => Duration::ZERO,
    };
    [Some(later(connection, bytes, extra, reply.ends_wait)), None]
}

/// Writes what is queued to one side, each when it is time, until the queue ends or all is reset.
async fn write(connection: &Connection, mut queue: mpsc::Receiver<Item>, mut to: OwnedWriteHalf) {
    let deliver = async {
        while let Some(item) = queue.recv().await {
            if !deliver(connection, item, &mut to).await? {
                connection.reset();
                return Ok(());
            }
        }
        // That the other side has closed is news, and it travels like any other.
        if connection.link.until_not_silent().await {
            connection.reset();
        }
        to.shutdown().await
    };
    let delivered: Option<io::Result<()>> = tokio::select! {
        biased;
        () = connection.until_reset() => None,
        delivered = deliver => Some(delivered),
    };
    if !matches!(delivered, Some(Ok(()))) || *connection.is_reset.borrow() {
        connection.reset();
        reset_close(to);
    }
}

/// Writes one item when it is time. `false`: the connection is to be reset instead.
async fn deliver(connection: &Connection, item: Item, to: &mut OwnedWriteHalf) -> io::Result<bool> {
    let link = &connection.link;
    let Item::Bytes { bytes, due, hold, is_reply } = item else { return Ok(false) };
    link.env.sleep_until(due).await;
    if let Some(hold) = hold {
        hold.until_let_go().await;
    }
    let was_silent = link.until_not_silent().await;
    if was_silent && connection.is_left.load(Ordering::SeqCst) {
        return Ok(false);
    }
    if is_reply {
        // Before it is written: the client may ask again before this task runs again.
        link.answered();
    }
    to.write_all(&bytes).await?;
    Ok(true)
}

/// Ends one side in the way that the other sees as an error and not as an end.
fn reset_close(side: OwnedWriteHalf) {
    // If it fails the other side sees an end, which ends the connection too.
    let _ = side.as_ref().set_zero_linger();
    // It is closed with its other half. Dropped here, it would announce an orderly end first.
    side.forget();
}
