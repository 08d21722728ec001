//! One server.

use std::sync::Arc;

use cotter_core::Result;
use cotter_core::env::Env;

use crate::config::{Config, Node};
use crate::link::{Dialer, Ear, Link, Terms};

/// The link to a server that is named with all it takes.
pub(crate) fn link(
    env: &Env,
    config: &Config,
    node: &Node,
    ear: Arc<dyn Ear>,
) -> Result<Arc<Link>> {
    let terms = Terms {
        login: config.login(node.login.as_ref())?,
        database: node.database,
        limit: config.limit(),
        wants_primary: true,
        wants_cluster: Some(false),
    };
    let locate = Box::new(node.endpoint.clone());
    Ok(Link::new(env, locate, dialer(config)?, terms, ear))
}

/// How streams are made, as a configuration says.
pub(crate) fn dialer(config: &Config) -> Result<Dialer> {
    if !config.tls.is_on {
        return Ok(Dialer::default());
    }
    with_tls(config)
}

#[cfg(feature = "tls")]
fn with_tls(config: &Config) -> Result<Dialer> {
    Ok(Dialer { tls: Some(crate::link::tls::Tls::from_files(&config.tls)?) })
}

#[cfg(not(feature = "tls"))]
fn with_tls(_: &Config) -> Result<Dialer> {
    use cotter_core::{Error, Kind};
    Err(Error::new(Kind::Config, "TLS is not compiled in; add the feature `tls`"))
}
