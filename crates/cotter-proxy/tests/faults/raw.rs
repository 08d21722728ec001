//! A client that speaks ZooKeeper's bytes, and nothing more than the tests need.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the client saw of its connection's end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Reset,
    End,
}

/// The head of a reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) xid: i32,
    pub(crate) error: i32,
}

/// An opcode and what follows it.
pub(crate) struct Body(i32, Vec<u8>);

fn text(text: &str) -> Vec<u8> {
    let length = i32::try_from(text.len()).expect("short");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// An ephemeral node that everybody may use.
pub(crate) fn create(path: &str) -> Body {
    let mut body = text(path);
    body.extend(text(""));
    body.extend([1i32, 31].map(i32::to_be_bytes).concat());
    body.extend([text("world"), text("anyone"), 1i32.to_be_bytes().to_vec()].concat());
    Body(1, body)
}

pub(crate) fn delete(path: &str) -> Body {
    Body(2, [text(path), (-1i32).to_be_bytes().to_vec()].concat())
}

pub(crate) fn exists(path: &str, watch: bool) -> Body {
    Body(3, [text(path), vec![u8::from(watch)]].concat())
}

pub(crate) fn ping() -> Body {
    Body(11, Vec::new())
}

#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    xid: i32,
}

impl Client {
    /// A session of its own.
    pub(crate) async fn connect(server: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        // Version, last seen zxid, time-out in ms, session, password; and that it may not be a
        // read-only server.
        let mut body = [0i32.to_be_bytes().to_vec(), 0i64.to_be_bytes().to_vec()].concat();
        body.extend([10_000i32.to_be_bytes().to_vec(), 0i64.to_be_bytes().to_vec()].concat());
        body.extend([16i32.to_be_bytes().to_vec(), vec![0; 17]].concat());
        write(&mut stream, &body).await?;
        read(&mut stream).await?;
        Ok(Self { stream, xid: 0 })
    }

    /// Sends a request and tells its xid.
    pub(crate) async fn send(&mut self, body: &Body) -> i32 {
        let xid = if body.0 == 11 { -2 } else { self.xid + 1 };
        self.xid = self.xid.max(xid);
        let head = [xid, body.0].map(i32::to_be_bytes).concat();
        // A reset is seen where the reply is read.
        let _ = write(&mut self.stream, &[head, body.1.clone()].concat()).await;
        xid
    }

    /// The next reply or event.
    pub(crate) async fn reply(&mut self) -> io::Result<Reply> {
        let body = read(&mut self.stream).await?;
        let int = |at: usize| i32::from_be_bytes(body[at..at + 4].try_into().expect("four"));
        Ok(Reply { xid: int(0), error: int(12) })
    }

    pub(crate) async fn ask(&mut self, body: &Body) -> io::Result<Reply> {
        let xid = self.send(body).await;
        let reply = self.reply().await?;
        assert_eq!(reply.xid, xid, "the reply of another request");
        Ok(reply)
    }

    /// Reads until there is no more.
    pub(crate) async fn until_reset(&mut self) -> Seen {
        loop {
            match self.reply().await {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Seen::Reset,
                Err(_) => return Seen::End,
            }
        }
    }

    /// Goes without a word.
    pub(crate) fn close(self) {
        self.stream.set_zero_linger().expect("it is a socket");
    }
}

async fn write(stream: &mut TcpStream, body: &[u8]) -> io::Result<()> {
    let length = i32::try_from(body.len()).expect("short");
    stream.write_all(&[&length.to_be_bytes(), body].concat()).await
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::try_from(stream.read_i32().await?).expect("a length");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// What the server answers to a four-letter word.
pub(crate) async fn word(server: &str, word: &str) -> String {
    let mut stream = TcpStream::connect(server).await.expect("the server");
    stream.write_all(word.as_bytes()).await.expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}
