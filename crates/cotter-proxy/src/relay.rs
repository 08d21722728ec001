//! What stands behind the bytes where the protocol is gRPC: HTTP/2 on both sides, stream by stream.
//!
//! ```text
//!   client ══ bytes: delay, silence, cut ══ relay ══ HTTP/2 ══ server
//!              (pipe)                         │
//!                             one task for each stream, two ways in it
//!                  up     message ─► plan ─► lost, late, or on; its fate waits for its reply
//!                  down   message ─► event? its request's fate? ─► lost, late, held, or on
//! ```
//!
//! On one connection, streams answer beside each other, so a fault that holds a message up holds up
//! its own stream alone. A fault that loses something resets the whole connection, as networks do.
//! Bytes that were already under way when it is reset may be lost with it.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::etcd::{Answer, EtcdOp, Messages};
use crate::plan::{Fault, Hold, Rule};
use crate::proxy::Link;
use crate::what::Kind;

/// How much either side may send before it is told to go on: more than any test does.
const WINDOW: u32 = 16 << 20;
/// How many streams one connection may have.
const STREAMS_MAX: u32 = 100_000;

type Sender = h2::client::SendRequest<Bytes>;

/// Listens for what comes out of the bytes, for one server. Gives back where.
pub(crate) async fn listen(server: String, link: Arc<Link>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    // It ends with the proxy, whose sender it looks at.
    drop(link.env.clone().spawn(accept(listener, server, link)));
    Ok(address)
}

async fn accept(listener: TcpListener, server: String, link: Arc<Link>) {
    let mut resets = link.resets.clone();
    loop {
        tokio::select! {
            gone = resets.changed() => if gone.is_err() { return },
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let connection = connect(client, server.clone(), Arc::clone(&link));
                // It ends with the client's connection.
                drop(link.env.spawn(async move { drop(connection.await) }));
            }
        }
    }
}

/// One client's connection, and the server's behind it.
struct Connection {
    link: Arc<Link>,
    is_reset: watch::Sender<bool>,
}

async fn connect(client: TcpStream, server: String, link: Arc<Link>) -> io::Result<()> {
    // However it ends, the other side is to see that it did not end in good order.
    client.set_zero_linger()?;
    client.set_nodelay(true)?;
    let server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    let mut up = h2::client::Builder::new();
    up.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
    up.initial_max_send_streams(STREAMS_MAX as usize);
    let (sender, driver) = up.handshake(server).await.map_err(io::Error::other)?;
    let connection =
        Arc::new(Connection { link: Arc::clone(&link), is_reset: watch::Sender::new(false) });
    let ended = Arc::clone(&connection);
    // It ends with the server's connection, or when nobody has a stream on it any more.
    drop(link.env.spawn(async move {
        let _ = driver.await;
        ended.is_reset.send_replace(true);
    }));
    let mut down = h2::server::Builder::new();
    down.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
    down.max_concurrent_streams(STREAMS_MAX);
    // On a busy machine many a client gives up before its stream was taken.
    down.max_pending_accept_reset_streams(STREAMS_MAX as usize);
    let mut client = down.handshake(client).await.map_err(io::Error::other)?;
    let mut reset = connection.is_reset.subscribe();
    loop {
        let accepted = tokio::select! {
            _ = reset.wait_for(|is_reset| *is_reset) => return Ok(()),
            accepted = client.accept() => accepted,
        };
        let Some(Ok((request, respond))) = accepted else { return Ok(()) };
        let (connection, sender) = (Arc::clone(&connection), sender.clone());
        // It ends with the stream, which ends with either connection.
        drop(
            link.env.spawn(async move { drop(connection.stream(request, respond, sender).await) }),
        );
    }
}

/// A message's fate, decided when its request came.
enum Fate {
    Lose(Rule),
    Late(Duration),
    Hold(Hold, Rule),
}

/// The requests of one stream that have no reply yet, in order, each with what is planned for it.
struct Waiting {
    path: String,
    /// Whether a request was held up on its way: it arrives even if its client has gone.
    is_late: AtomicBool,
    requests: Mutex<VecDeque<(EtcdOp, Option<Fate>)>>,
}

impl Waiting {
    fn add(&self, op: EtcdOp, fate: Option<Fate>) {
        self.locked().push_back((op, fate));
    }

    fn is_late(&self) -> bool {
        self.is_late.load(Ordering::SeqCst)
    }

    fn take(&self) -> Option<(EtcdOp, Option<Fate>)> {
        self.locked().pop_front()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, VecDeque<(EtcdOp, Option<Fate>)>> {
        // What is behind it is whole at every step.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn reset(&self) {
        self.is_reset.send_replace(true);
    }

    async fn stream(
        &self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        sender: Sender,
    ) -> Result<(), h2::Error> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let is_late = AtomicBool::new(false);
        let waiting = Waiting { path, is_late, requests: Mutex::default() };
        let mut sender = sender.ready().await?;
        let (response, to) = sender.send_request(Request::from_parts(head, ()), false)?;
        // The ways end each other through the streams they share: one that fails resets its own.
        let (up, down) =
            tokio::join!(self.up(&waiting, body, to), self.down(&waiting, response, respond));
        up.and(down)
    }

    async fn up(
        &self,
        waiting: &Waiting,
        mut from: RecvStream,
        mut to: SendStream<Bytes>,
    ) -> Result<(), h2::Error> {
        let mut messages = Messages::default();
        while let Some(bytes) = from.data().await {
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(_) if waiting.is_late() => break,
                Err(error) => {
                    to.send_reset(Reason::CANCEL);
                    return Err(error);
                }
            };
            from.flow_control().release_capacity(bytes.len())?;
            messages.add(&bytes);
            while let Some(message) = messages.next() {
                if !self.request(waiting, message, &mut to).await? {
                    return Ok(());
                }
            }
        }
        to.send_data(Bytes::new(), true)
    }

    /// What becomes of a request. Whether the stream goes on.
    async fn request(
        &self,
        waiting: &Waiting,
        message: Vec<u8>,
        to: &mut SendStream<Bytes>,
    ) -> Result<bool, h2::Error> {
        let link = &self.link;
        let op = EtcdOp::of(&waiting.path, Messages::body(&message));
        if op.is_waited_for() {
            link.asked();
        }
        let about = String::from_utf8_lossy(&message);
        let fate = match link.plan.meet(Kind::Etcd(op), &about) {
            None => None,
            Some((rule, hold)) => match rule.fault {
                Fault::LoseRequest => {
                    self.reset();
                    return Ok(false);
                }
                Fault::Reset => {
                    to.send_data(message.into(), false)?;
                    self.reset();
                    return Ok(true);
                }
                Fault::DelayRequest(late) => {
                    waiting.is_late.store(true, Ordering::SeqCst);
                    link.env.sleep(late).await;
                    None
                }
                Fault::LoseReply => Some(Fate::Lose(rule)),
                Fault::DelayReply(late) => Some(Fate::Late(late)),
                Fault::HoldReply => Some(Fate::Hold(hold, rule)),
            },
        };
        // Before it is sent: its reply finds it there.
        waiting.add(op, fate);
        to.send_data(message.into(), false)?;
        Ok(true)
    }

    async fn down(
        &self,
        waiting: &Waiting,
        mut response: ResponseFuture,
        mut respond: SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        let response = tokio::select! {
            response = &mut response => response,
            gone = std::future::poll_fn(|context| respond.poll_reset(context)) => {
                if waiting.is_late() {
                    return response.await.map(drop);
                }
                // Dropping the future tells the server that nobody waits any more.
                return gone.map(drop);
            }
        };
        let response = response.inspect_err(|error| {
            respond.send_reset(error.reason().unwrap_or(Reason::INTERNAL_ERROR));
        })?;
        let (head, body) = response.into_parts();
        let is_over = body.is_end_stream();
        if is_over {
            // All there is is a status: the request was refused.
            self.refused(waiting);
        }
        let mut to = respond.send_response(Response::from_parts(head, ()), is_over)?;
        if is_over {
            return Ok(());
        }
        let sent = self.messages(waiting, body, &mut to).await;
        sent.inspect_err(|error| to.send_reset(error.reason().unwrap_or(Reason::CANCEL)))
    }

    async fn messages(
        &self,
        waiting: &Waiting,
        mut from: RecvStream,
        to: &mut SendStream<Bytes>,
    ) -> Result<(), h2::Error> {
        let mut messages = Messages::default();
        loop {
            let bytes = tokio::select! {
                bytes = from.data() => bytes,
                gone = std::future::poll_fn(|context| to.poll_reset(context)) => {
                    return gone.map(drop);
                }
            };
            let Some(bytes) = bytes.transpose()? else { break };
            from.flow_control().release_capacity(bytes.len())?;
            messages.add(&bytes);
            while let Some(message) = messages.next() {
                if self.reply(waiting, &message).await {
                    to.send_data(message.into(), false)?;
                }
            }
        }
        match from.trailers().await? {
            Some(trailers) => {
                if trailers.get("grpc-status").is_some_and(|status| status != "0") {
                    self.refused(waiting);
                }
                to.send_trailers(trailers)
            }
            None => to.send_data(Bytes::new(), true),
        }
    }

    /// What becomes of a message from the server. Whether it passes, and it has waited until then.
    async fn reply(&self, waiting: &Waiting, message: &[u8]) -> bool {
        let link = &self.link;
        match Answer::of(&waiting.path, Messages::body(message)) {
            Answer::Event => return !link.plan.has_lost_events(),
            Answer::Progress => return true,
            Answer::Reply => {}
        }
        let Some((op, fate)) = waiting.take() else { return true };
        match fate {
            None => {}
            Some(Fate::Late(late)) => link.env.sleep(late).await,
            Some(Fate::Hold(hold, _)) => hold.until_let_go().await,
            Some(Fate::Lose(_)) => {
                self.reset();
                return false;
            }
        }
        if op.is_waited_for() {
            self.answered();
        }
        true
    }

    /// The client has its answer when the answer has come down to it.
    fn answered(&self) {
        let link = Arc::clone(&self.link);
        let due = link.env.now().after(link.delay());
        if link.delay().is_zero() {
            return link.answered();
        }
        // It ends when the answer arrives.
        drop(self.link.env.spawn(async move {
            link.env.sleep_until(due).await;
            link.answered();
        }));
    }

    /// The requests that wait were refused: what was planned for their replies is for the next.
    fn refused(&self, waiting: &Waiting) {
        while let Some((op, fate)) = waiting.take() {
            match fate {
                Some(Fate::Lose(rule)) => self.link.plan.give_back(rule),
                Some(Fate::Hold(hold, rule)) if !hold.is_over() => self.link.plan.give_back(rule),
                _ => {}
            }
            if op.is_waited_for() {
                self.answered();
            }
        }
    }
}
