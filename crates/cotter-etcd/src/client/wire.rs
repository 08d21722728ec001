//! One HTTP/2 connection to one member, and gRPC on it: requests with one answer, and streams.
//!
//! A task of its own, the driver, reads and writes the socket. It ends when the connection does, or
//! when nobody has the wire any more; then all that is under way on it ends too. The driver also
//! asks for a sign of life when nothing has come for a while, and gives the connection up if none
//! comes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use cotter_core::env::{Env, Moment};
use h2::client::SendRequest;
use h2::{Ping, PingPong, RecvStream, SendStream};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method as HttpMethod, Request, Uri, Version};
use prost::Message;
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;

use super::dial::Stream;
use super::error::Error;

/// The longest answer that is taken. A server's own limit for requests is 1.5 MiB; a list of names
/// is asked for in parts.
const ANSWER_LEN_MAX: usize = 64 * 1024 * 1024;
/// What a server may send ahead on one stream, and on all of them together.
const WINDOW: u32 = 4 * 1024 * 1024;
/// A flag and a length stand before each message.
const FRAME_HEAD_LEN: usize = 5;

/// When a silent connection is asked for a sign of life, and how long that may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touch {
    pub(crate) every: Duration,
    pub(crate) limit: Duration,
}

/// A connection.
pub(crate) struct Wire {
    send: SendRequest<Bytes>,
    authority: Authority,
    scheme: &'static str,
    /// The token of the login.
    token: Mutex<Option<HeaderValue>>,
    alive: Arc<Alive>,
    driver: JoinHandle<()>,
}

/// What the driver and the others tell each other.
struct Alive {
    env: Env,
    /// Why it is over, once it is.
    over: channel::Sender<Option<Arc<str>>>,
    /// Why nothing new is to be sent on it.
    retired: channel::Sender<Option<Arc<str>>>,
    /// When something last came from the server, in nanoseconds of [`Moment`].
    heard_at: AtomicU64,
}

impl Alive {
    fn hear(&self) {
        self.heard_at.fetch_max(self.env.now().as_nanos(), Ordering::Relaxed);
    }

    fn end(&self, why: &str) {
        say_once(&self.over, why);
        say_once(&self.retired, why);
    }
}

fn say_once(to: &channel::Sender<Option<Arc<str>>>, why: &str) {
    to.send_if_modified(|said| {
        let is_first = said.is_none();
        if is_first {
            *said = Some(Arc::from(why));
        }
        is_first
    });
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Wire {
    /// Speaks HTTP/2 on a stream.
    pub(crate) async fn new(
        env: &Env,
        io: Box<dyn Stream>,
        server: &str,
        scheme: &'static str,
        touch: Touch,
    ) -> Result<Self, Error> {
        let authority = Authority::try_from(server)
            .map_err(|error| Error::Invalid(format!("{server:?} is no server: {error}")))?;
        let (send, mut connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(64 * 1024)
            .handshake(io)
            .await
            .map_err(|error| Error::NotSent(error.to_string()))?;
        let alive = Arc::new(Alive {
            env: env.clone(),
            over: channel::Sender::new(None),
            retired: channel::Sender::new(None),
            heard_at: AtomicU64::new(env.now().as_nanos()),
        });
        let ping = connection.ping_pong();
        let driver = env.spawn({
            let alive = Arc::clone(&alive);
            async move {
                let why = tokio::select! {
                    ended = connection => match ended {
                        Ok(()) => "the server closed the connection".to_owned(),
                        Err(error) => format!("the connection broke: {error}"),
                    },
                    () = stay_in_touch(&alive, ping, touch) => {
                        format!("no sign of life for {:?}", touch.every + touch.limit)
                    }
                };
                alive.end(&why);
            }
        });
        Ok(Self { send, authority, scheme, token: Mutex::new(None), alive, driver })
    }

    /// Says that another one is to be used from now on. What is under way on it may yet be
    /// answered; it is closed when nobody has it any more.
    pub(crate) fn retire(&self, why: &str) {
        say_once(&self.alive.retired, why);
    }

    /// Resolves when the wire is retired or broken, with the reason.
    pub(crate) async fn retired(&self) -> Arc<str> {
        let mut retired = self.alive.retired.subscribe();
        let why = retired.wait_for(Option::is_some).await;
        why.ok().and_then(|why| why.clone()).unwrap_or_else(|| Arc::from("it was dropped"))
    }

    pub(crate) fn set_token(&self, token: Option<HeaderValue>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    fn request(&self, path: &'static str) -> Result<Request<()>, Error> {
        let uri = Uri::builder()
            .scheme(self.scheme)
            .authority(self.authority.clone())
            .path_and_query(PathAndQuery::from_static(path))
            .build()
            .map_err(|error| Error::Invalid(error.to_string()))?;
        let mut request = Request::new(());
        *request.method_mut() = HttpMethod::POST;
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        let headers = request.headers_mut();
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        // A member that knows no leader says so at once, instead of keeping us waiting.
        headers.insert("hasleader", HeaderValue::from_static("true"));
        if let Some(token) = &*self.token.lock().unwrap_or_else(PoisonError::into_inner) {
            headers.insert("token", token.clone());
        }
        Ok(request)
    }

    /// Opens a stream for a request. What fails here did not leave.
    async fn open(
        &self,
        path: &'static str,
    ) -> Result<(h2::client::ResponseFuture, SendStream<Bytes>), Error> {
        let unsent = |error: h2::Error| Error::NotSent(error.to_string());
        let request = self.request(path)?;
        let mut send = self.send.clone().ready().await.map_err(unsent)?;
        send.send_request(request, false).map_err(unsent)
    }

    /// A request with one answer. The moment is when it left.
    pub(crate) async fn unary<A: Message + Default>(
        &self,
        path: &'static str,
        request: &impl Message,
    ) -> Result<(A, Moment), Error> {
        let message = framed(request);
        if let Some(why) = &*self.alive.over.borrow() {
            return Err(Error::NotSent(why.to_string()));
        }
        let sent_at = self.alive.env.now();
        let (response, mut body) = self.open(path).await?;
        body.send_data(message, true).map_err(|error| unknown(&error))?;
        // It ends with the connection: the driver drops that, and all its streams end.
        let mut incoming = Incoming::new(response, Arc::clone(&self.alive));
        let Some(answer) = incoming.message::<A>().await? else {
            return Err(Error::Unknown("the server ended the call without an answer".into()));
        };
        // What stands in the trailers counts, not that a message came.
        match incoming.message::<A>().await? {
            None => Ok((answer, sent_at)),
            Some(_) => Err(Error::Unknown("the server answered twice".into())),
        }
    }

    /// A stream in both directions.
    pub(crate) async fn stream(&self, path: &'static str) -> Result<(Outgoing, Incoming), Error> {
        let (response, body) = self.open(path).await?;
        Ok((Outgoing { body }, Incoming::new(response, Arc::clone(&self.alive))))
    }
}

fn unknown(error: &h2::Error) -> Error {
    let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
    if is_refused { Error::NotSent(error.to_string()) } else { Error::Unknown(error.to_string()) }
}

/// A message as gRPC sends it.
fn framed(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut frame = BytesMut::with_capacity(FRAME_HEAD_LEN + len);
    frame.put_u8(0);
    // A request of 4 GiB is refused by any server, whatever length is said.
    frame.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    // The buffer grows as needed, so this does not fail.
    let _ = message.encode(&mut frame);
    frame.freeze()
}

/// Asks for a sign of life whenever nothing came for a while. Ends when none comes.
async fn stay_in_touch(alive: &Alive, ping: Option<PingPong>, touch: Touch) {
    // It is there unless somebody took it before us.
    let Some(mut ping) = ping else { return std::future::pending().await };
    loop {
        let heard_at = Moment::from_nanos(alive.heard_at.load(Ordering::Relaxed));
        let due_at = heard_at.after(touch.every);
        if alive.env.now() < due_at {
            alive.env.sleep_until(due_at).await;
            continue;
        }
        tokio::select! {
            biased;
            pong = ping.ping(Ping::opaque()) => match pong {
                Ok(_) => alive.hear(),
                // The connection says more of it.
                Err(_) => std::future::pending().await,
            },
            () = alive.env.sleep(touch.limit) => return,
        }
    }
}

/// The half of a stream that we send on.
pub(crate) struct Outgoing {
    body: SendStream<Bytes>,
}

impl Outgoing {
    pub(crate) fn send(&mut self, message: &impl Message) -> Result<(), Error> {
        self.body.send_data(framed(message), false).map_err(|error| unknown(&error))
    }
}

/// What comes back on a stream.
pub(crate) struct Incoming {
    alive: Arc<Alive>,
    response: Option<h2::client::ResponseFuture>,
    body: Option<RecvStream>,
    buffer: BytesMut,
}

impl Incoming {
    fn new(response: h2::client::ResponseFuture, alive: Arc<Alive>) -> Self {
        Self { alive, response: Some(response), body: None, buffer: BytesMut::new() }
    }

    /// The next message; `None` at a good end. May be dropped and called again.
    pub(crate) async fn message<A: Message + Default>(&mut self) -> Result<Option<A>, Error> {
        loop {
            if let Some(response) = &mut self.response {
                let response = response.await.map_err(|error| unknown(&error))?;
                self.response = None;
                self.alive.hear();
                if response.status() != http::StatusCode::OK {
                    let what = format!("HTTP status {}, so it is not etcd", response.status());
                    return Err(Error::Unknown(what));
                }
                // Without a message its status stands in the headers.
                if let Some(status) = status(response.headers()) {
                    return status.map(|()| None);
                }
                self.body = Some(response.into_body());
            }
            if let Some(message) = self.buffered()? {
                return Ok(Some(message));
            }
            let Some(body) = &mut self.body else { return Ok(None) };
            match body.data().await {
                Some(chunk) => {
                    let chunk = chunk.map_err(|error| unknown(&error))?;
                    self.alive.hear();
                    // It fails for a stream that is over, which the next read tells.
                    let _ = body.flow_control().release_capacity(chunk.len());
                    self.buffer.extend_from_slice(&chunk);
                }
                None => {
                    let trailers = body.trailers().await.map_err(|error| unknown(&error))?;
                    self.body = None;
                    let status = trailers.as_ref().and_then(status);
                    let lost = || Err(Error::Unknown("the stream ended without a status".into()));
                    return status.unwrap_or_else(lost).map(|()| None);
                }
            }
        }
    }

    fn buffered<A: Message + Default>(&mut self) -> Result<Option<A>, Error> {
        if self.buffer.len() < FRAME_HEAD_LEN {
            return Ok(None);
        }
        let mut head = &self.buffer[..FRAME_HEAD_LEN];
        let is_compressed = head.get_u8() != 0;
        let len = head.get_u32() as usize;
        if is_compressed || len > ANSWER_LEN_MAX {
            let what = format!("an answer of {len} bytes that cannot be read");
            return Err(Error::Unknown(what));
        }
        if self.buffer.len() < FRAME_HEAD_LEN + len {
            return Ok(None);
        }
        self.buffer.advance(FRAME_HEAD_LEN);
        let message = self.buffer.split_to(len).freeze();
        A::decode(message)
            .map(Some)
            .map_err(|error| Error::Unknown(format!("an answer that is not etcd's: {error}")))
    }
}

/// What the headers say of how it ended, if they do.
fn status(headers: &HeaderMap) -> Option<Result<(), Error>> {
    let number = headers.get("grpc-status")?.to_str().ok().and_then(|text| text.parse().ok());
    let Some(number) = number else {
        return Some(Err(Error::Unknown("a status that is no number".into())));
    };
    if number == 0 {
        return Some(Ok(()));
    }
    let message = headers.get("grpc-message").map(|message| {
        let text = String::from_utf8_lossy(message.as_bytes()).into_owned();
        crate::key::decoded(&text).unwrap_or(text)
    });
    Some(Err(Error::from_status(number, message.unwrap_or_default())))
}
