//! Whether this session may do what locks need: list, make and delete.
//!
//! An ACL names identities, and which ones a session has only the server knows. So it is tried: a
//! transaction that makes a node, deletes it and then checks one that does not exist. The last
//! operation fails in any case, nothing is carried out, and the number of the one that failed tells
//! what is allowed.

use cotter_core::Result;
use cotter_zk::{Code, CreateKind, Error, Op};

use super::{Examination, Severity};
use crate::fault::{failed, is_no_node};
use crate::shared::{Shared, below};

/// What a session may do under a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rights {
    /// Make and delete.
    Both,
    /// Make only.
    MakeOnly,
    /// Not even make.
    None,
    /// The node is not there.
    NoNode,
    /// It is an ephemeral one, which has no children.
    NoChildren,
    /// The ACL of our own nodes is not accepted.
    BadAcl,
}

/// Says that something may not be read.
pub(super) fn no_read(path: &str, what: &str, found: &mut Examination) {
    let what = format!("this session has no READ here: {what}");
    found.add((Severity::Problem, "no-permission"), path, what, ADVICE);
}

/// Says that something can have no children.
pub(super) fn no_children(path: &str, found: &mut Examination) {
    let what = "this is an ephemeral node, which cannot have children: no lock can be taken under \
                it";
    let advice = "choose another root or name; a lock of fair=false is such a node";
    found.add((Severity::Problem, "ephemeral-parent"), path, what, advice);
}

const ADVICE: &str = "give the credentials of whoever made these nodes (auth=digest or auth=sasl), \
                      or change the ACL there";

impl Shared {
    /// Looks at the root. `false`: its locks cannot be listed.
    pub(super) async fn examine_root(&self, found: &mut Examination) -> Result<bool> {
        let root = self.config.root.node();
        match self.client.children(root).await {
            Ok(_) => {
                self.examine_rights(root, found).await?;
                Ok(true)
            }
            Err(error) if is_no_node(&error) => {
                let what = "the root is not there yet: no lock was ever made in it";
                let advice = "nothing, if the store is new: the first lock makes it; else look \
                              whether the URL names the right path";
                found.add((Severity::Warning, "root-missing"), root, what, advice);
                let above = self.nearest_above(root).await?;
                self.examine_rights(&above, found).await?;
                Ok(false)
            }
            Err(error) if error.code() == Some(Code::NoAuth) => {
                no_read(root, "locks cannot be listed", found);
                self.examine_rights(root, found).await?;
                Ok(false)
            }
            Err(error) => Err(failed("looking at the root", error)),
        }
    }

    /// The lowest node above this one that is there.
    async fn nearest_above(&self, path: &str) -> Result<String> {
        let mut path = path;
        while let Some((above, _)) = path.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
            let seen = self.client.exists(above).await;
            if seen.map_err(|error| failed("looking above the root", error))?.value.is_some() {
                return Ok(above.to_owned());
            }
            path = above;
        }
        Ok("/".to_owned())
    }

    /// Looks at what may be done under a node.
    pub(super) async fn examine_rights(&self, dir: &str, found: &mut Examination) -> Result<()> {
        let kind = "no-permission";
        match self.try_rights(dir).await? {
            Rights::Both | Rights::NoNode => {}
            // Under the root only the server deletes, unless locks are nodes without a line.
            Rights::MakeOnly if dir == self.config.root.node() && self.config.is_fair => {}
            Rights::MakeOnly => {
                let what = "this session has no DELETE here: a lock could be taken, and given back \
                            only by ending the session";
                found.add((Severity::Problem, kind), dir, what, ADVICE);
            }
            Rights::None => {
                let what = "this session has no CREATE here: no lock can be taken";
                found.add((Severity::Problem, kind), dir, what, ADVICE);
            }
            Rights::NoChildren => no_children(dir, found),
            Rights::BadAcl => {
                let what = "the server does not accept the ACL of our nodes: this session has no \
                            identity that it knows";
                let advice = "check auth=... and the credentials, or use acl=open";
                found.add((Severity::Problem, kind), dir, what, advice);
            }
        }
        Ok(())
    }

    async fn try_rights(&self, dir: &str) -> Result<Rights> {
        // The session's number makes the name one that nobody has.
        let trial = below(dir, &format!("cotter-doctor-{}", self.client.session_id()));
        let absent = format!("{trial}-absent");
        let ops = [
            Op::Create { path: &trial, data: b"", kind: CreateKind::Ephemeral, acl: &self.acl },
            Op::Delete { path: &trial, version: None },
            Op::Check { path: &absent, version: None },
        ];
        match self.client.multi(&ops).await {
            // It cannot succeed; if it did, nothing would be left either.
            Ok(_) | Err(Error::Multi { index: 2, .. }) => Ok(Rights::Both),
            Err(Error::Multi { index: 1, code: Code::NoAuth }) => Ok(Rights::MakeOnly),
            Err(Error::Multi { index: 0, code: Code::NoAuth }) => Ok(Rights::None),
            Err(Error::Multi { index: 0, code: Code::NoNode }) => Ok(Rights::NoNode),
            Err(Error::Multi { index: 0, code: Code::InvalidAcl }) => Ok(Rights::BadAcl),
            Err(Error::Multi { index: 0, code: Code::NoChildrenForEphemerals }) => {
                Ok(Rights::NoChildren)
            }
            Err(error) => Err(failed("trying what is allowed", error)),
        }
    }
}
