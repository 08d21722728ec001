//! The steps, through this crate's client.

use cotter_zk::{
    Acl, Answered, Auth, Client, Code, Config, CreateKind, Error, Op, OpResult, Perms, Stat,
};

use super::common::{config, connect, within};
use super::step::{Kind, Outcome, Rights, Seen, Step, TTL};
use super::{PASSWORD, USER};

pub(crate) struct Ours {
    pub(crate) client: Client,
}

impl Ours {
    pub(crate) async fn connect() -> Self {
        let auth = vec![Auth::digest(USER, PASSWORD)];
        Self { client: connect(Config { auth, ..config() }).await }
    }

    /// Does it below this root. Nodes there are made by the session `maker`.
    pub(crate) async fn run(&self, root: &str, maker: i64, step: &Step) -> Outcome {
        let at = |path: &str| format!("{root}{path}");
        let seen = |stat: Stat| seen(stat, maker);
        let client = &self.client;
        match step {
            Step::Create { path, data, kind, rights } => {
                let made = client.create(&at(path), data, kind_of(*kind), &acl(*rights));
                said(within(made).await, |made| {
                    Outcome::Created(relative(root, &made.path), Some(seen(made.stat)))
                })
            }
            Step::Delete { path, version } => {
                said(within(client.delete(&at(path), *version)).await, |()| Outcome::Done)
            }
            Step::Set { path, data, version } => {
                let set = within(client.set_data(&at(path), data, *version)).await;
                said(set, |stat| Outcome::Stat(seen(stat)))
            }
            Step::Data { path } => {
                let read = within(client.data(&at(path))).await;
                said(read, |(data, stat)| Outcome::Data(data, seen(stat)))
            }
            Step::Exists { path } => said(within(client.exists(&at(path))).await, |stat| {
                stat.map_or(Outcome::Missing, |stat| Outcome::Stat(seen(stat)))
            }),
            Step::Children { path } => {
                let listed = within(client.children(&at(path))).await;
                said(listed, |(mut names, stat)| {
                    names.sort();
                    Outcome::Children(names, seen(stat))
                })
            }
            Step::Acl { path } => said(within(client.acl(&at(path))).await, |(acl, stat)| {
                let lines = acl.into_iter().map(|line| (line.perms.bits(), line.scheme, line.id));
                Outcome::Acl(lines.collect(), seen(stat))
            }),
            Step::SetAcl { path, rights, version } => {
                let set = within(client.set_acl(&at(path), &acl(*rights), *version)).await;
                said(set, |stat| Outcome::Stat(seen(stat)))
            }
            Step::Check { path, version } => {
                said(within(client.check(&at(path), *version)).await, |()| Outcome::Done)
            }
            Step::Multi(steps) => self.multi(root, maker, steps).await,
            Step::Sync { path } => said(within(client.sync(&at(path))).await, |()| Outcome::Done),
        }
    }

    async fn multi(&self, root: &str, maker: i64, steps: &[Step]) -> Outcome {
        let at = |path: &str| format!("{root}{path}");
        let parts: Vec<(String, Vec<Acl>)> = steps.iter().map(|step| parts(step, at)).collect();
        let ops: Vec<Op<'_>> =
            steps.iter().zip(&parts).map(|(step, (path, acl))| op(step, path, acl)).collect();
        said(within(self.client.multi(&ops)).await, |results| {
            let one = |result: OpResult| match result {
                // The public client gives no `Stat` here either that could be compared.
                OpResult::Created { path, .. } => Outcome::Created(relative(root, &path), None),
                OpResult::DataSet(stat) => Outcome::Stat(seen(stat, maker)),
                OpResult::Deleted | OpResult::Checked => Outcome::Done,
                other => Outcome::Other(format!("{other:?}")),
            };
            Outcome::Multi(results.into_iter().map(one).collect())
        })
    }
}

fn parts(step: &Step, at: impl Fn(&str) -> String) -> (String, Vec<Acl>) {
    match step {
        Step::Create { path, rights, .. } => (at(path), acl(*rights)),
        Step::Delete { path, .. } | Step::Set { path, .. } | Step::Check { path, .. } => {
            (at(path), Vec::new())
        }
        other => panic!("{other:?} is not part of a multi"),
    }
}

fn op<'a>(step: &'a Step, path: &'a str, acl: &'a [Acl]) -> Op<'a> {
    match step {
        Step::Create { data, kind, .. } => Op::Create { path, data, kind: kind_of(*kind), acl },
        Step::Delete { version, .. } => Op::Delete { path, version: *version },
        Step::Set { data, version, .. } => Op::SetData { path, data, version: *version },
        Step::Check { version, .. } => Op::Check { path, version: *version },
        other => panic!("{other:?} is not part of a multi"),
    }
}

fn kind_of(kind: Kind) -> CreateKind {
    match kind {
        Kind::Persistent => CreateKind::Persistent,
        Kind::PersistentSequential => CreateKind::PersistentSequential,
        Kind::Ephemeral => CreateKind::Ephemeral,
        Kind::EphemeralSequential => CreateKind::EphemeralSequential,
        Kind::Container => CreateKind::Container,
        Kind::Ttl => CreateKind::PersistentTtl(TTL),
        Kind::SequentialTtl => CreateKind::PersistentSequentialTtl(TTL),
    }
}

fn acl(rights: Rights) -> Vec<Acl> {
    match rights {
        Rights::Open => vec![Acl::open()],
        Rights::ReadOnly => vec![Acl::of(Perms::READ, "world", "anyone")],
        Rights::Creator => vec![Acl::creator_all()],
        Rights::AdminOnly => vec![Acl::digest(USER, PASSWORD, Perms::ADMIN)],
        Rights::None => vec![],
        Rights::Unknown => vec![Acl::of(Perms::ALL, "no-such-scheme", "x")],
    }
}

fn said<T>(result: Result<Answered<T>, Error>, done: impl FnOnce(T) -> Outcome) -> Outcome {
    match result {
        Ok(answered) => done(answered.value),
        Err(Error::Refused(code)) => Outcome::Refused(code.number()),
        Err(Error::Multi { index, code }) => Outcome::MultiRefused(index, code.number()),
        Err(Error::Invalid(_)) => Outcome::Invalid,
        Err(error) => Outcome::Other(format!("{error:?}")),
    }
}

pub(crate) fn relative(root: &str, path: &str) -> String {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

fn seen(stat: Stat, maker: i64) -> Seen {
    Seen {
        version: stat.version,
        cversion: stat.cversion,
        aversion: stat.aversion,
        data_length: stat.data_length,
        num_children: stat.num_children,
        owner: if stat.ephemeral_owner == maker { Ok(()) } else { Err(stat.ephemeral_owner) },
        is_unchanged: (stat.mzxid == stat.czxid, stat.pzxid == stat.czxid),
        are_times_so: stat.ctime > 0 && stat.mtime >= stat.ctime && stat.mzxid >= stat.czxid,
    }
}

/// The code for a wrong list of rights, which the public client gives without asking the server.
pub(crate) const INVALID_ACL: i32 = Code::InvalidAcl.number();
