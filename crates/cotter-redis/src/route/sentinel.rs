//! The primary that sentinels name.
//!
//! ```text
//!   link ── dial ──► Sentinels::locate ── SENTINEL MASTER name ──► all sentinels, side by side
//!    │                     └── of a majority's answers, the one of the latest epoch
//!    ├── greet: a server that says it is a replica is refused, and asked for again
//!    └◄── ended ◄── News ◄── +switch-master ◄── sentinels
//! ```
//!
//! Who the primary is, is asked at each dial and never remembered. A sentinel that was cut off from
//! the others answers as things were; those who elected another primary have a later epoch. That
//! is why more than one is asked, and the first answer is not believed.
//!
//! A primary that fails is noticed by requests that are not answered. One that was replaced while
//! it is still reachable answers on, and what it grants is forgotten; so sentinels are listened to.
//! That is a hint: between the election and the hint both may grant, which is what the profile's
//! `MayForget` says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use cotter_core::env::Env;
use cotter_core::{Error, Kind, Result};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::single::dialer;
use crate::config::{Config, Place};
use crate::link::{Boxed, Ear, Endpoint, Fault, Link, Locate, Reply, Terms};

/// Where sentinels tell of a new primary.
const NEWS_CHANNEL: &[u8] = b"+switch-master";

/// The link to the primary that sentinels name, whoever it is at the time of the dial.
pub(crate) fn link(env: &Env, config: &Config, ear: Arc<dyn Ear>) -> Result<Arc<Link>> {
    let Place::Sentinel { sentinels, primary, database, login } = &config.place else {
        return Err(Error::new(Kind::Config, "no sentinels are named"));
    };
    let dialer = dialer(config)?;
    let to_sentinels = Terms {
        login: config.sentinel_login()?,
        database: 0,
        limit: config.limit(),
        wants_primary: false,
        wants_cluster: None,
    };
    let news = Arc::new(News { primary: primary.clone(), link: OnceLock::new() });
    let ask = |endpoint: &Endpoint| {
        let (locate, ear) = (Box::new(endpoint.clone()), Arc::clone(&news) as Arc<dyn Ear>);
        let link = Link::new(env, locate, dialer.clone(), to_sentinels.clone(), ear);
        Sentinel { link, is_heard: AtomicBool::new(false) }
    };
    let locate =
        Sentinels { sentinels: sentinels.iter().map(ask).collect(), primary: primary.clone() };
    let to_primary = Terms {
        login: config.login(login.as_ref())?,
        database: *database,
        limit: config.limit(),
        wants_primary: true,
        wants_cluster: Some(false),
    };
    let link = Link::new(env, Box::new(locate), dialer, to_primary, ear);
    // It is set here alone.
    let _ = news.link.set(Arc::downgrade(&link));
    Ok(link)
}

/// All sentinels that are named.
struct Sentinels {
    sentinels: Vec<Sentinel>,
    primary: String,
}

struct Sentinel {
    link: Arc<Link>,
    /// Whether it was asked for its news.
    is_heard: AtomicBool,
}

/// What a sentinel says of the primary.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    /// Rises with each primary that was elected.
    epoch: i64,
    endpoint: Endpoint,
}

impl Locate for Sentinels {
    fn locate(&self) -> Boxed<'_, Result<Endpoint>> {
        Box::pin(self.ask_all())
    }
}

impl Sentinels {
    async fn ask_all(&self) -> Result<Endpoint> {
        let asking = self.sentinels.iter().map(|sentinel| sentinel.ask(&self.primary));
        let mut answers: FuturesUnordered<_> = asking.collect();
        let majority = self.sentinels.len() / 2 + 1;
        let (mut found, mut refused, mut count) = (None::<Named>, None, 0);
        // Each ends within the limits of its link.
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(named) => {
                    count += 1;
                    if found.as_ref().is_none_or(|before| before.epoch < named.epoch) {
                        found = Some(named);
                    }
                }
                Err(fault) => refused = Some(fault),
            }
            if count >= majority {
                break;
            }
        }
        match (found, refused) {
            (Some(named), _) => Ok(named.endpoint),
            (None, Some(Fault::Refused(refusal))) if refusal.text().starts_with("No such") => {
                Err(Error::new(
                    Kind::Config,
                    format!(
                        "the sentinels know no primary named {:?}: the URL ends with the name that \
                         their configuration has behind `sentinel monitor`",
                        self.primary
                    ),
                ))
            }
            (None, Some(fault)) => Err(fault.into_error("asking the sentinels for the primary")),
            (None, None) => Err(Error::new(Kind::Config, "no sentinels are named")),
        }
    }
}

impl Sentinel {
    async fn ask(&self, primary: &str) -> Result<Named, Fault> {
        if !self.is_heard.swap(true, Ordering::Relaxed)
            && let Err(Fault::Refused(_)) = self.link.subscribe(NEWS_CHANNEL).await
        {
            // News are a hint, and an access list may keep them from us.
            let _ = self.link.unsubscribe(NEWS_CHANNEL).await;
        }
        let answered = self.link.command(&[b"SENTINEL", b"MASTER", primary.as_bytes()]).await?;
        named(&answered.reply)
            .ok_or_else(|| Fault::Unknown(format!("a sentinel's answer: {:?}", answered.reply)))
    }
}

fn named(reply: &Reply) -> Option<Named> {
    let host = reply.of_key("ip")?.str()?.to_owned();
    let port = u16::try_from(reply.of_key("port")?.int()?).ok()?;
    // Sentinels of all versions that are supported say it; without it all are alike.
    let epoch = reply.of_key("config-epoch").and_then(Reply::int).unwrap_or(0);
    Some(Named { epoch, endpoint: Endpoint::Tcp(host, port) })
}

/// Hears of new primaries, and ends the connection to the old one.
struct News {
    primary: String,
    link: OnceLock<Weak<Link>>,
}

impl Ear for News {
    fn heard(&self, channel: &[u8], message: &[u8]) {
        let Some(next) = switched(channel, message, &self.primary) else { return };
        let Some(link) = self.link.get().and_then(Weak::upgrade) else { return };
        let now = link.server().map(|server| server.endpoint);
        if let Some(wire) = link.live_wire().filter(|_| now.as_ref() != Some(&next)) {
            wire.end("the sentinels have made another server the primary");
        }
    }
}

/// Who is the primary of this name now, by a message `name old-host old-port host port`.
fn switched(channel: &[u8], message: &[u8], primary: &str) -> Option<Endpoint> {
    if channel != NEWS_CHANNEL {
        return None;
    }
    let words: Vec<&str> = std::str::from_utf8(message).ok()?.rsplitn(5, ' ').collect();
    let [port, host, _, _, name] = words[..] else { return None };
    if name != primary {
        return None;
    }
    Some(Endpoint::Tcp(host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_of_one_name() {
        let at = Endpoint::Tcp("10.0.0.2".into(), 7002);
        let news = |channel: &str, message: &str| {
            switched(channel.as_bytes(), message.as_bytes(), "my name")
        };
        assert_eq!(news("+switch-master", "my name 10.0.0.1 7001 10.0.0.2 7002"), Some(at));
        assert_eq!(news("+switch-master", "other 10.0.0.1 7001 10.0.0.2 7002"), None);
        assert_eq!(news("+sdown", "my name 10.0.0.1 7001 10.0.0.2 7002"), None);
        assert_eq!(news("+switch-master", "my name 10.0.0.2 x"), None);
    }

    #[test]
    fn a_sentinels_answer_is_read() {
        let text = |text: &str| Reply::Text(text.as_bytes().to_vec());
        let pairs = ["name", "n", "ip", "::1", "port", "7", "config-epoch", "12"].map(text);
        let named = named(&Reply::List(pairs.to_vec())).expect("it names one");
        assert_eq!(named, Named { epoch: 12, endpoint: Endpoint::Tcp("::1".into(), 7) });
        assert_eq!(super::named(&Reply::Nil), None);
    }
}
