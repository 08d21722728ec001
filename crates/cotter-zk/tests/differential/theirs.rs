//! The steps, through the public client.

use std::time::Duration;

use zookeeper_client as zk;
use zookeeper_client::{Acl, Acls, AuthId, CreateMode, CreateOptions, Error, Permission, Stat};

use super::common::{server, within};
use super::ours::{INVALID_ACL, relative};
use super::step::{Kind, Outcome, Rights, Seen, Step, TTL};
use super::{PASSWORD, USER};

pub(crate) struct Theirs {
    pub(crate) client: zk::Client,
}

impl Theirs {
    pub(crate) async fn connect() -> Self {
        let connector = zk::Client::connector()
            .with_session_timeout(Duration::from_secs(20))
            .with_auth("digest", format!("{USER}:{PASSWORD}").as_bytes());
        Self { client: within(connector.connect(&server())).await.expect("connected") }
    }

    /// Does it below this root. Nodes there are made by the session `maker`.
    pub(crate) async fn run(&self, root: &str, maker: i64, step: &Step) -> Outcome {
        let at = |path: &str| format!("{root}{path}");
        let seen = |stat: Stat| seen(stat, maker);
        let client = &self.client;
        match step {
            Step::Create { path, data, kind, rights } => {
                let (path, acl) = (at(path), acl(*rights));
                let made = within(client.create(&path, data, &options(*kind, &acl))).await;
                said(made, |(stat, number)| {
                    let number = is_sequential(*kind).then(|| number.to_string());
                    let path = relative(root, &path) + &number.unwrap_or_default();
                    Outcome::Created(path, Some(seen(stat)))
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
                let read = within(client.get_data(&at(path))).await;
                said(read, |(data, stat)| Outcome::Data(data, seen(stat)))
            }
            Step::Exists { path } => said(within(client.check_stat(&at(path))).await, |stat| {
                stat.map_or(Outcome::Missing, |stat| Outcome::Stat(seen(stat)))
            }),
            Step::Children { path } => {
                let listed = within(client.get_children(&at(path))).await;
                said(listed, |(mut names, stat)| {
                    names.sort();
                    Outcome::Children(names, seen(stat))
                })
            }
            Step::Acl { path } => said(within(client.get_acl(&at(path))).await, |(acl, stat)| {
                Outcome::Acl(acl.iter().map(line).collect(), seen(stat))
            }),
            Step::SetAcl { path, rights, version } => {
                let set = within(client.set_acl(&at(path), &acl(*rights), *version)).await;
                said(set, |stat| Outcome::Stat(seen(stat)))
            }
            // It has no check of its own: a multi of one is what there is.
            Step::Check { .. } => match self.multi(root, maker, std::slice::from_ref(step)).await {
                Outcome::Multi(_) => Outcome::Done,
                Outcome::MultiRefused(_, code) => Outcome::Refused(code),
                other => other,
            },
            Step::Multi(steps) => self.multi(root, maker, steps).await,
            Step::Sync { path } => said(within(client.sync(&at(path))).await, |()| Outcome::Done),
        }
    }

    async fn multi(&self, root: &str, maker: i64, steps: &[Step]) -> Outcome {
        let mut writer = self.client.new_multi_writer();
        for step in steps {
            if let Err(error) = add(&mut writer, root, step) {
                return said(Err::<(), _>(error), |()| Outcome::Done);
            }
        }
        let results = match within(writer.commit()).await {
            Ok(results) => results,
            Err(zk::MultiWriteError::OperationFailed { index, source }) => {
                return match said(Err::<(), _>(source), |()| Outcome::Done) {
                    Outcome::Refused(code) => Outcome::MultiRefused(index, code),
                    other => other,
                };
            }
            Err(zk::MultiWriteError::RequestFailed { source }) => {
                return said(Err::<(), _>(source), |()| Outcome::Done);
            }
        };
        let one = |result: zk::MultiWriteResult| match result {
            zk::MultiWriteResult::Create { path, .. } => {
                Outcome::Created(relative(root, &path), None)
            }
            zk::MultiWriteResult::SetData { stat } => Outcome::Stat(seen(stat, maker)),
            zk::MultiWriteResult::Check | zk::MultiWriteResult::Delete => Outcome::Done,
            other => Outcome::Other(format!("{other:?}")),
        };
        Outcome::Multi(results.into_iter().map(one).collect())
    }
}

fn add(writer: &mut zk::MultiWriter<'_>, root: &str, step: &Step) -> Result<(), Error> {
    let at = |path: &str| format!("{root}{path}");
    match step {
        Step::Create { path, data, kind, rights } => {
            writer.add_create(&at(path), data, &options(*kind, &acl(*rights)))
        }
        Step::Delete { path, version } => writer.add_delete(&at(path), *version),
        Step::Set { path, data, version } => writer.add_set_data(&at(path), data, *version),
        Step::Check { path, version } => writer.add_check_version(&at(path), version.unwrap_or(-1)),
        other => panic!("{other:?} is not part of a multi"),
    }
}

fn is_sequential(kind: Kind) -> bool {
    matches!(kind, Kind::PersistentSequential | Kind::EphemeralSequential | Kind::SequentialTtl)
}

fn options<'a>(kind: Kind, acl: &'a [Acl]) -> CreateOptions<'a> {
    let acls = Acls::new(acl);
    match kind {
        Kind::Persistent => CreateMode::Persistent.with_acls(acls),
        Kind::PersistentSequential => CreateMode::PersistentSequential.with_acls(acls),
        Kind::Ephemeral => CreateMode::Ephemeral.with_acls(acls),
        Kind::EphemeralSequential => CreateMode::EphemeralSequential.with_acls(acls),
        Kind::Container => CreateMode::Container.with_acls(acls),
        Kind::Ttl => CreateMode::Persistent.with_acls(acls).with_ttl(TTL),
        Kind::SequentialTtl => CreateMode::PersistentSequential.with_acls(acls).with_ttl(TTL),
    }
}

fn acl(rights: Rights) -> Vec<Acl> {
    let one = |perms, scheme: &str, id: &str| vec![Acl::new(perms, AuthId::new(scheme, id))];
    match rights {
        Rights::Open => one(Permission::ALL, "world", "anyone"),
        Rights::ReadOnly => one(Permission::READ, "world", "anyone"),
        Rights::Creator => one(Permission::ALL, "auth", ""),
        // Our own digest of the user: that the server takes it for the user is part of the test.
        Rights::AdminOnly => {
            let own = cotter_zk::Acl::digest(USER, PASSWORD, cotter_zk::Perms::ADMIN);
            one(Permission::ADMIN, &own.scheme, &own.id)
        }
        Rights::None => vec![],
        Rights::Unknown => one(Permission::ALL, "no-such-scheme", "x"),
    }
}

/// A line as the wire has it. The bits cannot be asked for, only each of them.
fn line(acl: &Acl) -> (i32, String, String) {
    let all = [
        (Permission::READ, 1),
        (Permission::WRITE, 2),
        (Permission::CREATE, 4),
        (Permission::DELETE, 8),
        (Permission::ADMIN, 16),
    ];
    let bits = all.iter().filter(|(one, _)| acl.permission().has(*one)).map(|(_, bit)| bit);
    (bits.sum(), acl.scheme().to_owned(), acl.id().to_owned())
}

fn said<T>(result: Result<T, Error>, done: impl FnOnce(T) -> Outcome) -> Outcome {
    let error = match result {
        Ok(value) => return done(value),
        Err(error) => error,
    };
    match error {
        Error::NoNode => Outcome::Refused(-101),
        Error::NoAuth => Outcome::Refused(-102),
        Error::BadVersion => Outcome::Refused(-103),
        Error::NoChildrenForEphemerals => Outcome::Refused(-108),
        Error::NodeExists => Outcome::Refused(-110),
        Error::NotEmpty => Outcome::Refused(-111),
        Error::InvalidAcl => Outcome::Refused(INVALID_ACL),
        Error::MarshallingError => Outcome::Refused(-5),
        Error::Unimplemented => Outcome::Refused(-6),
        // What the server finds wrong has this text; what the client does has others.
        Error::BadArguments(text) if **text == *"server error" => Outcome::Refused(-8),
        Error::BadArguments(_) => Outcome::Invalid,
        Error::UnexpectedErrorCode(code) => Outcome::Refused(code),
        other => Outcome::Other(format!("{other:?}")),
    }
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
