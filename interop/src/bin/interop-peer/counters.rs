//! What a stress protects: counters and rooms, written by other means than the lock.
//!
//! In ZooKeeper a counter is a node's data, and a room a node whose children are those inside. In
//! Redis a counter is a string, and a room a set. In etcd a counter is a key, and a room what the
//! keys of those inside begin with.

use cotter::env::Env;
use cotter_etcd::client::stubs::{DeleteRangeRequest, PutRequest, RangeRequest};
use cotter_interop::{Failure, Result};
use cotter_zk::{Acl, CreateKind};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// A connection of its own to the server whose locks are stressed.
pub(crate) enum Counters {
    ZooKeeper(cotter_zk::Client),
    Redis(Redis),
    Etcd(cotter_etcd::client::Client),
}

impl Counters {
    /// The text of a counter.
    pub(crate) async fn text(&self, counter: &str) -> Result<String> {
        match self {
            Counters::ZooKeeper(client) => {
                Ok(String::from_utf8(client.data(counter).await?.value.0)?)
            }
            Counters::Redis(redis) => {
                let text = redis.ask(&["GET", counter]).await?.pop();
                text.ok_or(Failure::new("there is no such counter"))
            }
            Counters::Etcd(client) => {
                let key = counter.as_bytes().to_vec().into();
                let answer = client.call(&RangeRequest { key, ..Default::default() }).await?;
                let found = answer.value.kvs.into_iter().next();
                let found = found.ok_or(Failure::new("there is no such counter"))?;
                Ok(String::from_utf8(found.value.to_vec())?)
            }
        }
    }

    /// Writes it, whatever it was meanwhile.
    pub(crate) async fn set(&self, counter: &str, text: &str) -> Result<()> {
        match self {
            Counters::ZooKeeper(client) => {
                client.set_data(counter, text.as_bytes(), None).await?;
            }
            Counters::Redis(redis) => drop(redis.ask(&["SET", counter, text]).await?),
            Counters::Etcd(client) => put(client, counter, text).await?,
        }
        Ok(())
    }

    /// Steps into a room in this role. Gives what it is there under.
    pub(crate) async fn enter(&self, env: &Env, room: &str, role: &str) -> Result<String> {
        match self {
            Counters::ZooKeeper(client) => {
                let kind = CreateKind::EphemeralSequential;
                let node = format!("{room}/{role}");
                Ok(client.create(&node, b"", kind, &[Acl::open()]).await?.value.path)
            }
            Counters::Redis(redis) => {
                let own = format!("{role}{:016x}", env.random());
                redis.ask(&["SADD", room, &own]).await?;
                Ok(own)
            }
            Counters::Etcd(client) => {
                let own = format!("{role}{:016x}", env.random());
                put(client, &format!("{room}/{own}"), "").await?;
                Ok(own)
            }
        }
    }

    /// Those inside; each begins with its role.
    pub(crate) async fn inside(&self, room: &str) -> Result<Vec<String>> {
        match self {
            Counters::ZooKeeper(client) => Ok(client.children(room).await?.value.0),
            Counters::Redis(redis) => redis.ask(&["SMEMBERS", room]).await,
            Counters::Etcd(client) => {
                let [start, end] = [format!("{room}/"), format!("{room}0")];
                let (key, range_end) = (start.clone().into(), end.into());
                let request = RangeRequest { key, range_end, ..Default::default() };
                let found = client.call(&request).await?.value.kvs.into_iter();
                let names = found.map(|kv| kv.key.get(start.len()..).unwrap_or_default().to_vec());
                Ok(names.map(String::from_utf8).collect::<std::result::Result<_, _>>()?)
            }
        }
    }

    /// Steps out again.
    pub(crate) async fn leave(&self, room: &str, own: &str) -> Result<()> {
        match self {
            Counters::ZooKeeper(client) => client.delete(own, None).await.map(drop)?,
            Counters::Redis(redis) => drop(redis.ask(&["SREM", room, own]).await?),
            Counters::Etcd(client) => {
                let key = format!("{room}/{own}").into();
                client.call(&DeleteRangeRequest { key, ..Default::default() }).await?;
            }
        }
        Ok(())
    }
}

async fn put(client: &cotter_etcd::client::Client, key: &str, text: &str) -> Result<()> {
    let (key, value) = (key.to_owned().into(), text.to_owned().into());
    client.call(&PutRequest { key, value, ..Default::default() }).await?;
    Ok(())
}

/// As much of a client of Redis as the counters need.
pub(crate) struct Redis {
    stream: Mutex<BufStream<TcpStream>>,
}

impl Redis {
    pub(crate) async fn connect(server: &str) -> Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Mutex::new(BufStream::new(stream)) })
    }

    /// The texts of the answer: of a list its elements, of nothing none.
    async fn ask(&self, words: &[&str]) -> Result<Vec<String>> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let mut stream = self.stream.lock().await;
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let first = line(&mut stream).await?;
        let (kind, rest) = first.split_at_checked(1).unwrap_or(("", ""));
        match kind {
            "+" | ":" => Ok(vec![rest.to_owned()]),
            "$" => Ok(text(&mut stream, rest).await?.into_iter().collect()),
            "*" => {
                let mut all = Vec::new();
                for _ in 0..rest.parse::<usize>()? {
                    let head = line(&mut stream).await?;
                    all.extend(text(&mut stream, head.get(1..).unwrap_or("")).await?);
                }
                Ok(all)
            }
            _ => Err(Failure::new(format!("{words:?}: the server says {first}"))),
        }
    }
}

async fn line(stream: &mut BufStream<TcpStream>) -> Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}

async fn text(stream: &mut BufStream<TcpStream>, length: &str) -> Result<Option<String>> {
    if length == "-1" {
        return Ok(None);
    }
    let mut bytes = vec![0; length.parse::<usize>()? + 2];
    stream.read_exact(&mut bytes).await?;
    bytes.truncate(bytes.len() - 2);
    Ok(Some(String::from_utf8(bytes)?))
}
