//! A client that speaks gRPC by hand, and nothing more than the tests need.

use std::io;

use bytes::Bytes;
use cotter_core::env::Env;
use h2::{RecvStream, SendStream};
use http::Request;
use tokio::net::TcpStream;

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The server refused, with this status.
    Refused(String),
    /// The connection is gone.
    Gone,
}

/// A method and its request.
pub(crate) struct Call(&'static str, Vec<u8>);

/// A field with bytes in it.
fn part(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("short");
    [&[number << 3 | 2, length][..], bytes].concat()
}

pub(crate) fn put(key: &str) -> Call {
    Call("KV/Put", part(1, key.as_bytes()))
}

/// With a lease that there is not.
pub(crate) fn put_with_no_lease(key: &str) -> Call {
    Call("KV/Put", [part(1, key.as_bytes()), vec![3 << 3, 77]].concat())
}

pub(crate) fn range(key: &str) -> Call {
    Call("KV/Range", part(1, key.as_bytes()))
}

/// Deletes a key in a transaction without conditions.
pub(crate) fn delete(key: &str) -> Call {
    Call("KV/Txn", part(2, &part(3, &part(1, key.as_bytes()))))
}

/// Begins to watch a key.
pub(crate) fn watch(key: &str) -> Call {
    Call("Watch/Watch", part(1, &part(1, key.as_bytes())))
}

#[derive(Clone)]
pub(crate) struct Client {
    sender: h2::client::SendRequest<Bytes>,
}

/// A call that is under way.
pub(crate) struct Stream {
    from: Option<RecvStream>,
    answer: Option<h2::client::ResponseFuture>,
    to: SendStream<Bytes>,
    bytes: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(env: &Env, server: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = h2::client::handshake(stream).await.map_err(io::Error::other)?;
        drop(env.spawn(async move { drop(driver.await) }));
        Ok(Self { sender })
    }

    /// Sends a request; its stream stays open for more if it is one of many.
    pub(crate) async fn begin(&self, call: &Call) -> Result<Stream, Failed> {
        let uri = format!("http://etcd/etcdserverpb.{}", call.0);
        let head = Request::post(uri).header("content-type", "application/grpc");
        let head = head.header("te", "trailers").body(()).expect("a request");
        let mut sender = self.sender.clone().ready().await.map_err(|_| Failed::Gone)?;
        let (answer, mut to) = sender.send_request(head, false).map_err(|_| Failed::Gone)?;
        let length = u32::try_from(call.1.len()).expect("short").to_be_bytes();
        let message = [&[0], &length[..], &call.1].concat();
        let is_last = call.0 != "Watch/Watch";
        to.send_data(message.into(), is_last).map_err(|_| Failed::Gone)?;
        Ok(Stream { from: None, answer: Some(answer), to, bytes: Vec::new() })
    }

    pub(crate) async fn ask(&self, call: &Call) -> Result<Vec<u8>, Failed> {
        self.begin(call).await?.message().await
    }

    pub(crate) async fn is_there(&self, key: &str) -> bool {
        // A range's answer has its keys in field 2.
        let answer = self.ask(&range(key)).await.expect("an answer");
        answer.windows(key.len()).any(|part| part == key.as_bytes())
    }
}

impl Stream {
    /// The next message.
    pub(crate) async fn message(&mut self) -> Result<Vec<u8>, Failed> {
        if let Some(answer) = &mut self.answer {
            let answer = answer.await.map_err(|_| Failed::Gone)?;
            self.answer = None;
            if let Some(status) = answer.headers().get("grpc-status") {
                return Err(Failed::Refused(status.to_str().expect("a number").to_owned()));
            }
            self.from = Some(answer.into_body());
        }
        let from = self.from.as_mut().expect("it was answered");
        loop {
            if let Some(length) = self.bytes.get(1..5) {
                let length = u32::from_be_bytes(length.try_into().expect("four"));
                let end = 5 + usize::try_from(length).expect("short");
                if self.bytes.len() >= end {
                    return Ok(self.bytes.drain(..end).skip(5).collect());
                }
            }
            let bytes = from.data().await.ok_or(Failed::Gone)?.map_err(|_| Failed::Gone)?;
            from.flow_control().release_capacity(bytes.len()).expect("it was given");
            self.bytes.extend_from_slice(&bytes);
        }
    }

    /// Gives it up.
    pub(crate) fn cancel(mut self) {
        self.to.send_reset(h2::Reason::CANCEL);
    }
}
