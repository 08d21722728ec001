//! gRPC by hand on one connection: the least there is between a client and etcd.
//!
//! No limits, no second attempts, no pings: a raw client that meets a fault fails the bench.

use bytes::{BufMut, Bytes, BytesMut};
use cotter::env::Env;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::Request;
use prost::Message;
use tokio::net::TcpStream;

use crate::drive::tasks::Try;

/// What the server may send before it is told to go on: more than it ever does here.
const WINDOW: u32 = 4 << 20;
/// A flag and a length stand before each message.
const HEAD_LEN: usize = 5;

#[derive(Clone)]
pub(super) struct Channel {
    send: SendRequest<Bytes>,
    server: String,
}

impl Channel {
    pub(super) async fn open(server: &str) -> Try<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let mut client = h2::client::Builder::new();
        client.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (send, driver) = client.handshake(stream).await?;
        // It ends with the last clone of the channel.
        drop(Env::system()?.spawn(async move { drop(driver.await) }));
        Ok(Self { send, server: server.to_owned() })
    }

    /// A request with one answer.
    pub(super) async fn call<A: Message + Default>(
        &self,
        path: &str,
        request: &impl Message,
    ) -> Try<A> {
        let (answer, _) = self.begin(path, request, true).await?;
        let mut answers = Answers { answer: Some(answer), from: None, bytes: BytesMut::new() };
        let message = answers.next().await?;
        // How it ended stands behind the message.
        if let Some(mut from) = answers.from {
            while from.data().await.transpose()?.is_some() {}
            if let Some(trailers) = from.trailers().await? {
                check(&trailers)?;
            }
        }
        Ok(message)
    }

    /// Begins a stream of answers. It goes on as long as the half that sends is there.
    pub(super) async fn stream(
        &self,
        path: &str,
        request: &impl Message,
    ) -> Try<(SendStream<Bytes>, Answers)> {
        let (answer, to) = self.begin(path, request, false).await?;
        Ok((to, Answers { answer: Some(answer), from: None, bytes: BytesMut::new() }))
    }

    async fn begin(
        &self,
        path: &str,
        request: &impl Message,
        is_last: bool,
    ) -> Try<(ResponseFuture, SendStream<Bytes>)> {
        let head = Request::post(format!("http://{}{path}", self.server));
        let head = head.header("content-type", "application/grpc").header("te", "trailers");
        let mut send = self.send.clone().ready().await?;
        let (answer, mut to) = send.send_request(head.body(())?, false)?;
        to.send_data(framed(request)?, is_last)?;
        Ok((answer, to))
    }
}

pub(super) fn framed(message: &impl Message) -> Try<Bytes> {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(HEAD_LEN + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length)?);
    message.encode(&mut bytes)?;
    Ok(bytes.freeze())
}

/// What comes back on a stream.
pub(super) struct Answers {
    answer: Option<ResponseFuture>,
    from: Option<RecvStream>,
    bytes: BytesMut,
}

impl Answers {
    pub(super) async fn next<A: Message + Default>(&mut self) -> Try<A> {
        if let Some(answer) = &mut self.answer {
            let (head, body) = answer.await?.into_parts();
            check(&head.headers)?;
            (self.answer, self.from) = (None, Some(body));
        }
        let from = self.from.as_mut().ok_or("the stream is over")?;
        loop {
            if let Some(head) = self.bytes.first_chunk::<HEAD_LEN>() {
                let [_, length @ ..] = *head;
                let end = HEAD_LEN + usize::try_from(u32::from_be_bytes(length))?;
                if self.bytes.len() >= end {
                    let message = self.bytes.split_to(end).split_off(HEAD_LEN);
                    return Ok(A::decode(message.freeze())?);
                }
            }
            let bytes = from.data().await.ok_or("the stream has ended")??;
            from.flow_control().release_capacity(bytes.len())?;
            self.bytes.extend_from_slice(&bytes);
        }
    }
}

/// Fails if the headers say that a call failed.
fn check(headers: &http::HeaderMap) -> Try<()> {
    let Some(status) = headers.get("grpc-status").filter(|status| *status != "0") else {
        return Ok(());
    };
    let words = headers.get("grpc-message").and_then(|words| words.to_str().ok()).unwrap_or("");
    Err(format!("the server answered {status:?}: {words}").into())
}
