//! A cluster: primaries that share the slots, each with a replica if wanted.

use std::time::Duration;

use super::config::{Options, Part, Ports};
use super::server::line;
use super::watched::settled;
use super::{Server, addresses, secure_addresses, start_all, started};
use crate::folder::Folder;
use crate::{Error, Result};

/// How many slots there are.
const SLOTS: usize = 16_384;
/// How long a node may be silent before the others take it for down.
const SILENCE: Duration = Duration::from_millis(1000);
/// How many keys are moved at a time.
const MOVED_MAX: &str = "100";

/// Nodes of one cluster. Dropping it kills them and removes their data.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Server>,
    primaries: usize,
    // After the nodes: their processes write into it.
    _folder: Folder,
}

impl Cluster {
    /// So many primaries, of which each has an equal part of the slots, and with `has_replicas` as
    /// many replicas again, each up to date: that of node 0 is node `primaries`, and so on.
    ///
    /// # Errors
    /// The package is missing, or they do not come to serve.
    pub fn start(primaries: usize, has_replicas: bool, options: &Options) -> Result<Self> {
        let count = if has_replicas { primaries * 2 } else { primaries };
        let silence_ms = u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX);
        started(options, |folder| {
            let mut nodes = Vec::new();
            for number in 0..count {
                let home = folder.path().join(number.to_string());
                let ports = Ports::free(options)?;
                nodes.push(Server::prepare(home, number, options, ports, Part::Node(silence_ms))?);
            }
            start_all(&nodes)?;
            let new = Self { nodes, primaries, _folder: folder };
            new.join()?;
            Ok(new)
        })
    }

    /// Its nodes, primaries first.
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// The node with this number, which counts from 0.
    ///
    /// # Panics
    /// There is none.
    pub fn node(&self, number: usize) -> &Server {
        &self.nodes[number]
    }

    /// The addresses of its nodes, with commas between them.
    pub fn address(&self) -> String {
        addresses(&self.nodes)
    }

    /// The same for clients that use TLS.
    pub fn secure_address(&self) -> String {
        secure_addresses(&self.nodes)
    }

    /// The slot of a key, as a node says.
    ///
    /// # Errors
    /// The node does not answer.
    pub fn slot(&self, key: &str) -> Result<u16> {
        let slot = self.nodes[0].ask(&["CLUSTER", "KEYSLOT", key])?.number();
        let slot = slot.and_then(|slot| u16::try_from(slot).ok());
        slot.ok_or_else(|| Error::new("that is no slot"))
    }

    /// The node that serves a slot, as the nodes say that answer.
    pub fn owner(&self, slot: u16) -> Option<&Server> {
        let port = self.nodes.iter().find_map(|node| owner_port(node, slot))?;
        self.nodes.iter().find(|node| node.address().port() == port)
    }

    /// The first half of a slot's move: from now on the old node sends who asks for a key that it
    /// does not have to the new one, with ASK, and all keys there are have moved.
    ///
    /// # Errors
    /// A node refuses or does not answer.
    pub fn begin_move(&self, slot: u16, to: &Server) -> Result<()> {
        let from = self.owner(slot).ok_or_else(|| Error::new("nobody has this slot"))?;
        let slot = slot.to_string();
        to.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)?])?;
        from.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)?])?;
        let (host, port) = (to.address().ip().to_string(), to.port_for_servers().to_string());
        loop {
            let keys = from.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, MOVED_MAX])?;
            let keys: Vec<&str> = keys.parts().iter().filter_map(|key| key.text()).collect();
            if keys.is_empty() {
                return Ok(());
            }
            let words = ["MIGRATE", &host, &port, "", "0", "5000", "KEYS"];
            from.ask(&[&words[..], &keys].concat())?;
        }
    }

    /// The second half: the slot is the new node's, and who asks the old one is told so with MOVED.
    ///
    /// # Errors
    /// A node refuses or does not answer.
    pub fn end_move(&self, slot: u16, to: &Server) -> Result<()> {
        let (number, new) = (slot.to_string(), id(to)?);
        let from = self.owner(slot).ok_or_else(|| Error::new("nobody has this slot"))?;
        // The new owner first: if only the old one had let go, nobody would have it.
        for node in [to, from] {
            node.ask(&["CLUSTER", "SETSLOT", &number, "NODE", &new])?;
        }
        settled(
            || self.nodes.iter().all(|node| owner_port(node, slot) == Some(to.address().port())),
            "the nodes do not agree on the move",
        )
    }

    /// Waits until a replica serves the slots that this node had.
    ///
    /// # Errors
    /// It does not come to that within the limit.
    pub fn until_replaced(&self, before: &Server, slot: u16) -> Result<&Server> {
        let others = || self.nodes.iter().filter(|node| node.number() != before.number());
        // All of those who live know, and the new one serves.
        let new = || {
            let mut ports = others().map(|node| owner_port(node, slot));
            let port = ports.next()??;
            (ports.all(|other| other == Some(port)) && port != before.address().port())
                .then_some(port)
        };
        settled(|| new().is_some() && others().all(is_ok), "no replica took over")?;
        self.owner_among(others(), new())
    }

    fn owner_among<'a>(
        &self,
        mut nodes: impl Iterator<Item = &'a Server>,
        port: Option<u16>,
    ) -> Result<&'a Server> {
        let found = nodes.find(|node| Some(node.address().port()) == port);
        found.ok_or_else(|| Error::new("the new owner is gone again"))
    }

    fn join(&self) -> Result<()> {
        let (primaries, replicas) = self.nodes.split_at(self.primaries);
        for (number, node) in primaries.iter().enumerate() {
            let from = (SLOTS * number / self.primaries).to_string();
            let to = (SLOTS * (number + 1) / self.primaries - 1).to_string();
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", &from, &to])?;
        }
        let first = self.nodes[0].address();
        let meet = self.nodes[0].port_for_servers().to_string();
        let host = first.ip().to_string();
        let bus = self.nodes[0].bus_port().to_string();
        for (number, node) in self.nodes.iter().enumerate() {
            // Each its own, so that none has to be told apart later.
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
            node.ask(&["CLUSTER", "MEET", &host, &meet, &bus])?;
        }
        let count = self.nodes.len().to_string();
        let knows = |node: &Server| info(node, "cluster_known_nodes").as_deref() == Some(&count);
        settled(|| self.nodes.iter().all(knows), "the nodes did not find each other")?;
        for (replica, primary) in replicas.iter().zip(primaries) {
            let primary = id(primary)?;
            // It is refused until this one has heard of that one by its real name.
            settled(
                || replica.ask(&["CLUSTER", "REPLICATE", &primary]).is_ok(),
                "a replica was refused",
            )?;
        }
        let is_linked = |node: &Server| node.info("master_link_status").as_deref() == Some("up");
        settled(|| replicas.iter().all(is_linked), "a replica does not reach its primary")?;
        let owns = |node: &Server| {
            (0..self.primaries).all(|at| {
                let slot = u16::try_from(SLOTS * at / self.primaries).unwrap_or(0);
                owner_port(node, slot) == Some(self.nodes[at].address().port())
            })
        };
        settled(
            || self.nodes.iter().all(|node| is_ok(node) && owns(node)),
            "the cluster did not come to serve",
        )
    }
}

fn is_ok(node: &Server) -> bool {
    info(node, "cluster_state").as_deref() == Some("ok")
}

fn info(node: &Server, name: &str) -> Option<String> {
    line(node.ask(&["CLUSTER", "INFO"]).ok()?.text()?, name)
}

fn id(node: &Server) -> Result<String> {
    let id = node.ask(&["CLUSTER", "MYID"])?.text().map(str::to_owned);
    id.ok_or_else(|| Error::new("that is no node's name"))
}

/// The port of the primary that has a slot, as this node sees it.
fn owner_port(node: &Server, slot: u16) -> Option<u16> {
    let slots = node.ask(&["CLUSTER", "SLOTS"]).ok()?;
    let slot = i64::from(slot);
    let of_slot = slots.parts().iter().find(|range| {
        let end = |at: usize| range.parts().get(at).and_then(|end| end.number());
        end(0).is_some_and(|from| from <= slot) && end(1).is_some_and(|to| slot <= to)
    })?;
    let port = of_slot.parts().get(2)?.parts().get(1)?.number()?;
    u16::try_from(port).ok()
}
