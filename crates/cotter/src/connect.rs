//! From a URL to a client.

use std::ops::Deref;

use crate::bearer::this_process;
use crate::contract::Store;
use crate::{Client, Error, Kind, Options, Result};

/// A client of the store at a URL. It derefs to [`Client`], where the locks are.
///
/// | URL | store | feature |
/// |---|---|---|
/// | `local:` | this machine, in the user's own directory | `local` (default) |
/// | `local:/srv/locks?flock=/var/lock` | the same, in that directory | `local` |
/// | `memory:NAME` | this process, for tests | `memory` |
/// | `etcd://host:port,host:port/prefix?lease=10s` | an etcd cluster | `etcd` |
/// | `zookeeper://host:port,host:port/root?timeout=10s` | a ZooKeeper ensemble | `zookeeper` |
/// | `redis://host:port/0?lease=10s`, `rediss://`, `redis+unix:///path` | a Redis or Valkey server | `redis` |
/// | `redis-sentinel://host:port,host:port/name` | the primary that sentinels name | `redis` |
/// | `redis-cluster://host:port,host:port` | a Redis cluster | `redis` |
/// | `redis://host:port?dialect=redisson` | a Redis server whose locks Redisson shares | `redis` |
/// | `redlock:redis://a,redis://b,redis://c` | a majority of independent Redis servers | `redis` |
#[derive(Clone, Debug)]
pub struct Cotter {
    client: Client,
}

impl Cotter {
    /// Connects to the store at the URL, as this process.
    ///
    /// # Errors
    /// [`Config`](Kind::Config) if the URL is not understood, or its store is not compiled in; else
    /// what the store said on opening.
    ///
    /// # Cancel safety
    /// A session that was being opened is closed behind.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(url, Self::options()).await
    }

    /// Connects to the store at the URL, presenting itself as the options say.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// A session that was being opened is closed behind.
    pub async fn connect_with(url: &str, options: Options) -> Result<Self> {
        let Some((scheme, _rest)) = url.split_once(':') else {
            return Err(Error::new(
                Kind::Config,
                format!("{:?} is not a store's URL; write {}", shown(url), known()),
            ));
        };
        match scheme {
            #[cfg(feature = "local")]
            "local" => Self::open(cotter_local::LocalStore::from_url(url)?, options).await,
            #[cfg(feature = "memory")]
            "memory" => Self::open(cotter_memory::MemoryStore::named(_rest), options).await,
            #[cfg(feature = "etcd")]
            "etcd" | "etcds" => Self::open(cotter_etcd::EtcdStore::from_url(url)?, options).await,
            #[cfg(feature = "zookeeper")]
            "zookeeper" => {
                Self::open(cotter_zookeeper::ZooKeeperStore::from_url(url)?, options).await
            }
            #[cfg(feature = "redis")]
            "redlock" => Self::open(cotter_redis::RedlockStore::from_url(url)?, options).await,
            #[cfg(feature = "redis")]
            _ if cotter_redis::RedissonStore::is_meant_by(url) => {
                Self::open(cotter_redis::RedissonStore::from_url(url)?, options).await
            }
            #[cfg(feature = "redis")]
            "redis" | "rediss" | "redis+unix" | "redis-sentinel" | "rediss-sentinel"
            | "redis-cluster" | "rediss-cluster" => {
                Self::open(cotter_redis::RedisStore::from_url(url)?, options).await
            }
            #[allow(unreachable_patterns, reason = "reached for the features that are off")]
            "local" | "memory" | "zookeeper" | "etcd" => Err(Error::new(
                Kind::Config,
                format!("the store {scheme}: is not compiled in; add the feature `{scheme}`"),
            )),
            #[allow(unreachable_patterns, reason = "reached for the features that are off")]
            "redis" | "rediss" | "redis+unix" | "redis-sentinel" | "rediss-sentinel"
            | "redis-cluster" | "rediss-cluster" | "redlock" => Err(Error::new(
                Kind::Config,
                format!("the store {scheme}: is not compiled in; add the feature `redis`"),
            )),
            _ => Err(Error::new(
                Kind::Config,
                format!("there is no store {:?}; write {}", shown(scheme), known()),
            )),
        }
    }

    /// Opens a store that was made by hand.
    ///
    /// # Errors
    /// What the store said on opening.
    ///
    /// # Cancel safety
    /// A session that was being opened is closed behind.
    pub async fn open<S: Store>(store: S, options: Options) -> Result<Self> {
        Ok(Self { client: Client::open(store, options).await? })
    }

    /// This process's name, number, user and program, and the defaults for the rest.
    pub fn options() -> Options {
        Options { bearer: this_process(), ..Options::default() }
    }
}

impl Deref for Cotter {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// What of a URL may be shown: nothing behind the scheme, where a password might stand.
fn shown(url: &str) -> String {
    let end = url.find([':', '/', '@', '?']).unwrap_or(url.len());
    url[..end].chars().take(40).collect()
}

fn known() -> String {
    let mut urls = vec!["local:", "local:/DIRECTORY"];
    if cfg!(feature = "memory") {
        urls.push("memory:NAME");
    }
    if cfg!(feature = "etcd") {
        urls.push("etcd://HOST:PORT/PREFIX");
    }
    if cfg!(feature = "zookeeper") {
        urls.push("zookeeper://HOST:PORT/ROOT");
    }
    if cfg!(feature = "redis") {
        urls.push("redis://HOST:PORT");
        urls.push("redlock:redis://HOST:PORT,redis://HOST:PORT,redis://HOST:PORT");
    }
    let last = urls.pop().unwrap_or_default();
    format!("{} or {last}", urls.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_a_url_is_told_with_what_to_write() {
        for url in ["", "local", "/tmp/x", "ftp://user:secret@host/x", "memory"] {
            let error = Cotter::connect(url).await.expect_err("must be refused");
            assert_eq!(error.kind(), Kind::Config, "{url}");
            assert!(error.to_string().contains("local:"), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
