//! Where a URL says that the servers are.

use std::path::Path;

use cotter_core::Result;

use super::{AUTH_VARIABLE, Node, Place, wrong};
use crate::link::{Endpoint, Login};
use crate::percent::decoded;

/// Redis's usual port.
const PORT: u16 = 6379;
/// The usual port of its sentinels.
const SENTINEL_PORT: u16 = 26379;
/// More servers than this are a mistake, in a list of any kind.
const SERVERS_MAX: usize = 64;

pub(super) fn single_place(place: &str, database: Option<u32>) -> Result<(Place, bool)> {
    let Some((scheme, rest)) = place.split_once("://") else {
        return Err(wrong(
            "a URL of this store is redis://host:port, rediss://host:port, redis+unix:///path, \
             redis-sentinel://host:port/name, redis-cluster://host:port or \
             redlock:redis://host:port,redis://host:port,redis://host:port"
                .into(),
        ));
    };
    if scheme == "redis+unix" {
        let (login, path) = split_login(rest)?;
        let path = decoded(path).filter(|path| Path::new(path).is_absolute()).ok_or_else(|| {
            wrong("a socket's URL has its absolute path, as in redis+unix:///run/redis.sock".into())
        })?;
        let endpoint = Endpoint::Unix(path.into());
        let node = Node { endpoint, database: database.unwrap_or(0), login };
        return Ok((Place::Single(node), false));
    }
    let (family, is_tls) = match scheme {
        "redis" | "redis-sentinel" | "redis-cluster" => (&scheme[5..], false),
        "rediss" | "rediss-sentinel" | "rediss-cluster" => (&scheme[6..], true),
        _ => return Err(wrong("the URL's scheme is not one of this store's".into())),
    };
    let (login, rest) = split_login(rest)?;
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let place = match family {
        "" => {
            if database.is_some() && !path.is_empty() {
                return Err(wrong("the database is named twice".into()));
            }
            let database = match database {
                Some(database) => database,
                None => parse_database(path)?,
            };
            if hosts.contains(',') {
                return Err(wrong(
                    "redis:// names one server; several are a cluster (redis-cluster://), \
                     sentinels (redis-sentinel://) or independent (redlock:)"
                        .into(),
                ));
            }
            Place::Single(Node { endpoint: endpoint(hosts, PORT)?, database, login })
        }
        "-sentinel" => {
            let primary = decoded(path).filter(|name| !name.is_empty()).ok_or_else(|| {
                wrong(
                    "sentinels know the primary by a name: redis-sentinel://host:port/name".into(),
                )
            })?;
            let sentinels = endpoints(hosts, SENTINEL_PORT)?;
            Place::Sentinel { sentinels, primary, database: database.unwrap_or(0), login }
        }
        _ => {
            if database.is_some() || !matches!(path, "" | "0") {
                return Err(wrong("a cluster has no database but 0".into()));
            }
            Place::Cluster { seeds: endpoints(hosts, PORT)?, login }
        }
    };
    Ok((place, is_tls))
}

/// `redis://a,redis://b,redis://c`
pub(super) fn redlock(servers: &str) -> Result<(Place, bool)> {
    let mut nodes = Vec::new();
    let mut kinds = Vec::new();
    for server in servers.split(',') {
        let (place, is_tls) = single_place(server, None).map_err(|error| {
            wrong(format!("{}; redlock: lists whole URLs with commas between", error.message()))
        })?;
        let Place::Single(node) = place else {
            return Err(wrong("redlock: needs servers that are independent of each other".into()));
        };
        kinds.push(is_tls);
        nodes.push(node);
    }
    if kinds.iter().any(|kind| *kind != kinds[0]) {
        return Err(wrong("redlock: all servers with TLS (rediss://), or none".into()));
    }
    let count = nodes.len();
    if count < 3 || count % 2 == 0 || count > SERVERS_MAX {
        return Err(wrong(format!(
            "redlock: needs an odd number of servers, 3 or more, and these are {count}: an even \
             one survives no more failures than one less; one server is redis://host:port"
        )));
    }
    let mut places: Vec<_> = nodes.iter().map(|node| (&node.endpoint, node.database)).collect();
    places.sort();
    if places.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(wrong("redlock: the same server is named twice, and would vote twice".into()));
    }
    Ok((Place::Redlock(nodes), kinds[0]))
}

/// `user:password@rest`. Only what stands before the last `@` can be a login.
fn split_login(rest: &str) -> Result<(Option<Login>, &str)> {
    // A path may hold an `@`; a host may not.
    let hosts_end = if rest.starts_with('/') { 0 } else { rest.find('/').unwrap_or(rest.len()) };
    let Some(at) = rest[..hosts_end].rfind('@') else { return Ok((None, rest)) };
    let (user, password) = rest[..at].split_once(':').unwrap_or((&rest[..at], ""));
    let not_encoded = || wrong("the user and the password must be percent-encoded".into());
    let user = decoded(user).ok_or_else(not_encoded)?;
    let password = decoded(password).ok_or_else(not_encoded)?;
    if password.is_empty() {
        return Err(wrong(format!(
            "the URL has a user and no password; write user:password, or give both by \
             auth-file=/path or the variable {AUTH_VARIABLE}"
        )));
    }
    let user = Some(user).filter(|user| !user.is_empty());
    Ok((Some(Login { user, password }), &rest[at + 1..]))
}

pub(super) fn parse_database(path: &str) -> Result<u32> {
    if path.is_empty() {
        return Ok(0);
    }
    let number = path.parse().ok().filter(|_| path.bytes().all(|byte| byte.is_ascii_digit()));
    number.ok_or_else(|| wrong("behind the server stands the number of a database, as /0".into()))
}

fn endpoints(hosts: &str, port: u16) -> Result<Vec<Endpoint>> {
    let endpoints =
        hosts.split(',').map(|host| endpoint(host, port)).collect::<Result<Vec<_>>>()?;
    if endpoints.len() > SERVERS_MAX {
        return Err(wrong(format!("more than {SERVERS_MAX} servers are named")));
    }
    Ok(endpoints)
}

/// `host`, `host:port`, `[::1]:port`.
fn endpoint(text: &str, usual: u16) -> Result<Endpoint> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = !host.is_empty()
        && (bracketed.is_some() || !host.contains(':'))
        && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._[]:%".contains(c));
    let port = port.map_or(Some(usual), |port| port.parse().ok().filter(|port| *port > 0));
    match port {
        Some(port) if is_host => Ok(Endpoint::Tcp(bracketed.unwrap_or(host).to_owned(), port)),
        // What it is instead is not shown: it may be a part of a password.
        _ => Err(wrong(
            "the URL names no server where one should be; write host:port, and percent-encode \
             what is special in a password"
                .into(),
        )),
    }
}
