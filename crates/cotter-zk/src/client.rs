//! What a caller holds: the client, and one method for each request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cotter_core::env::{Env, Moment};
use tokio::sync::watch;

use crate::config::{Config, SessionId, Ticket};
use crate::error::{Ended, Error};
use crate::jute::Writer;
use crate::model::{Acl, AddWatchMode, CreateKind, Created, Op, OpResult, Stat, WatchesOf};
use crate::pending::Pending;
use crate::request::{self, Expect, Reply};
use crate::session;
use crate::shared::Shared;
use crate::watches::{Watch, Watches};
use crate::wire::{op, write_acl};

/// How a client stands with its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// There is a connection.
    Connected,
    /// There is none, and the client tries to get one. The session may go on, or may have expired:
    /// only a server can tell. Requests fail at once.
    Disconnected,
    /// The session is over, for good.
    Over(Ended),
}

/// A session with ZooKeeper. Clones are the same session; dropping the last one closes it.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

/// Counts the clients, which is not who else keeps what they share: answers and watches do too.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.leave(Ended::Closed);
    }
}

impl Client {
    /// Attaches to one of the servers and makes a session, or goes on with the one of the ticket.
    /// Every server is tried once, all within the session timeout. Call this on the runtime that
    /// the `env` is of: the connection belongs to the one, the task to the other.
    ///
    /// # Errors
    /// [`Error::NoServer`] with what each server said; [`Error::Over`] if the session of the ticket
    /// has expired or a server does not accept the credentials; [`Error::Invalid`] if the
    /// configuration is wrong.
    ///
    /// # Cancel safety
    /// Safe. A session that a server has made by then is left to expire.
    pub async fn connect(env: &Env, config: Config) -> Result<Client, Error> {
        let shared = session::start(env, config).await?;
        Ok(Self { handle: Arc::new(Handle { shared }) })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// The server's number for this session. Nodes that it owns carry it.
    pub fn session_id(&self) -> SessionId {
        self.shared().session
    }

    /// How long a server keeps the session without hearing from it, as the server last said.
    pub fn session_timeout(&self) -> Duration {
        self.shared().timeout()
    }

    /// What another process needs to go on with this session.
    pub fn ticket(&self) -> Ticket {
        let shared = self.shared();
        Ticket {
            session: shared.session,
            password: shared.password.clone(),
            zxid: shared.zxid.load(Ordering::Acquire),
        }
    }

    /// How the client stands with its session.
    pub fn state(&self) -> State {
        *self.shared().states.borrow()
    }

    /// Follows [`Client::state`].
    pub fn states(&self) -> watch::Receiver<State> {
        self.shared().states.subscribe()
    }

    /// From when a lease may count: until a session timeout after this moment no server that keeps
    /// to the protocol ends the session.
    ///
    /// It is when the newest request left that the quorum answered: the one that made the session,
    /// or a write, also one that was refused. Reads, syncs, pings and attaching again prove
    /// nothing: one server answers those alone. It is earlier than that, as far as is needed, if
    /// little was sent before: the leader may not have heard of that write yet when it answers.
    /// [`Moment::default`] if there was none yet, as after going on with a session by its ticket.
    pub fn proven_at(&self) -> Moment {
        self.shared().proven_at()
    }

    /// When anything at all last came from a server.
    pub fn heard_at(&self) -> Moment {
        self.shared().heard_at()
    }

    /// Before this moment no server that keeps to the protocol ends the session: the session
    /// timeout after [`Client::proven_at`]. It knows nothing of margins for clocks that run
    /// differently, nor of the time that followers take to pass on what they heard.
    pub fn expires_before(&self) -> Moment {
        self.proven_at().after(self.session_timeout())
    }

    /// Closes the session, and with it its ephemeral nodes. Requests that were made before are
    /// answered first. Returns when the server has answered, or after the session timeout at the
    /// latest; the state is [`State::Over`] from then on.
    ///
    /// # Cancel safety
    /// Safe; the session is closed all the same.
    pub async fn close(&self) {
        self.shared().leave(Ended::Closed);
        let mut states = self.states();
        // The sender is in what this client holds, so waiting does not fail.
        let _ = states.wait_for(|state| matches!(state, State::Over(_))).await;
    }

    /// Drops the connection and leaves the session as it is, for somebody with its
    /// [`ticket`](Client::ticket). Await the answers of all requests first: those that are on their
    /// way end with an unknown outcome.
    pub fn detach(&self) {
        self.shared().leave(Ended::Detached);
    }

    fn submit<T>(
        &self,
        check: Result<(), Error>,
        operation: i32,
        expect: Expect,
        value: fn(Reply) -> Option<T>,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Pending<T> {
        match check.and_then(|()| self.shared().submit(operation, expect, write)) {
            Ok(slot) => Pending::in_line(Arc::clone(self.shared()), slot, value),
            Err(error) => Pending::failed(error),
        }
    }

    fn check_data(&self, data: &[u8]) -> Result<(), Error> {
        let max = self.shared().limits.request_len_max;
        if data.len() <= max {
            return Ok(());
        }
        Err(Error::Invalid(format!("{} bytes of data, {max} are allowed", data.len())))
    }

    /// Makes a node. The kinds with a time to live need a server with extended types enabled.
    pub fn create(
        &self,
        path: &str,
        data: &[u8],
        kind: CreateKind,
        acl: &[Acl],
    ) -> Pending<Created> {
        let check = request::check_op(&Op::Create { path, data, kind, acl });
        let check = check.and_then(|()| self.check_data(data));
        let value = |reply| match reply {
            Reply::Created(created) => Some(created),
            _ => None,
        };
        self.submit(check, request::create_op(kind), Expect::Created, value, |out| {
            request::write_create(out, path, data, kind, acl);
        })
    }

    /// Deletes a node that has no children. `None` for the version means any.
    pub fn delete(&self, path: &str, version: Option<i32>) -> Pending<()> {
        let expect = Expect::Nothing { is_quorum: true };
        self.submit(path_ok(path), op::DELETE, expect, nothing, |out| {
            out.str(path).i32(request::version(version));
        })
    }

    /// Looks whether a node is there.
    pub fn exists(&self, path: &str) -> Pending<Option<Stat>> {
        let value = |reply| match reply {
            Reply::Exists(stat, _) => Some(stat),
            _ => None,
        };
        self.submit(path_ok(path), op::EXISTS, Expect::Exists { watched: None }, value, |out| {
            out.str(path).bool(false);
        })
    }

    /// Looks whether a node is there, and watches: for its data if it is, for its coming if not.
    pub fn exists_watched(&self, path: &str) -> Pending<(Option<Stat>, Watch)> {
        let value = |reply| match reply {
            Reply::Exists(stat, Some(watch)) => Some((stat, watch)),
            _ => None,
        };
        let expect = Expect::Exists { watched: Some(path.into()) };
        self.submit(path_ok(path), op::EXISTS, expect, value, |out| {
            out.str(path).bool(true);
        })
    }

    /// Reads a node.
    pub fn data(&self, path: &str) -> Pending<(Vec<u8>, Stat)> {
        let value = |reply| match reply {
            Reply::Data(data, stat, _) => Some((data, stat)),
            _ => None,
        };
        self.submit(path_ok(path), op::GET_DATA, Expect::Data { watched: None }, value, |out| {
            out.str(path).bool(false);
        })
    }

    /// Reads a node and watches it: its data, and that it is deleted. If there is no such node, no
    /// watch is left anywhere.
    pub fn data_watched(&self, path: &str) -> Pending<(Vec<u8>, Stat, Watch)> {
        let value = |reply| match reply {
            Reply::Data(data, stat, Some(watch)) => Some((data, stat, watch)),
            _ => None,
        };
        let expect = Expect::Data { watched: Some(path.into()) };
        self.submit(path_ok(path), op::GET_DATA, expect, value, |out| {
            out.str(path).bool(true);
        })
    }

    /// The names of a node's children, in no order.
    pub fn children(&self, path: &str) -> Pending<(Vec<String>, Stat)> {
        let value = |reply| match reply {
            Reply::Children(names, stat, _) => Some((names, stat)),
            _ => None,
        };
        let expect = Expect::Children { watched: None };
        self.submit(path_ok(path), op::GET_CHILDREN2, expect, value, |out| {
            out.str(path).bool(false);
        })
    }

    /// The names of a node's children, and a watch for children that are made or deleted.
    pub fn children_watched(&self, path: &str) -> Pending<(Vec<String>, Stat, Watch)> {
        let value = |reply| match reply {
            Reply::Children(names, stat, Some(watch)) => Some((names, stat, watch)),
            _ => None,
        };
        let expect = Expect::Children { watched: Some(path.into()) };
        self.submit(path_ok(path), op::GET_CHILDREN2, expect, value, |out| {
            out.str(path).bool(true);
        })
    }

    /// Changes a node's data. `None` for the version means any.
    pub fn set_data(&self, path: &str, data: &[u8], version: Option<i32>) -> Pending<Stat> {
        let check = path_ok(path).and_then(|()| self.check_data(data));
        self.submit(check, op::SET_DATA, Expect::Stat, stat, |out| {
            out.str(path).bytes(data).i32(request::version(version));
        })
    }

    /// The access control list of a node.
    pub fn acl(&self, path: &str) -> Pending<(Vec<Acl>, Stat)> {
        let value = |reply| match reply {
            Reply::Acl(acl, stat) => Some((acl, stat)),
            _ => None,
        };
        self.submit(path_ok(path), op::GET_ACL, Expect::Acl, value, |out| {
            out.str(path);
        })
    }

    /// Changes the access control list of a node. The version is that of the list
    /// ([`Stat::aversion`]), `None` means any.
    pub fn set_acl(&self, path: &str, acl: &[Acl], version: Option<i32>) -> Pending<Stat> {
        self.submit(path_ok(path), op::SET_ACL, Expect::Stat, stat, |out| {
            write_acl(out.str(path), acl);
            out.i32(request::version(version));
        })
    }

    /// Does all of these or none.
    pub fn multi(&self, ops: &[Op<'_>]) -> Pending<Vec<OpResult>> {
        let value = |reply| match reply {
            Reply::Multi(results) => Some(results),
            _ => None,
        };
        let check = ops.iter().try_for_each(|one| {
            if let Op::Create { data, .. } | Op::SetData { data, .. } = one {
                self.check_data(data)?;
            }
            request::check_op(one)
        });
        let expect = Expect::Multi { count: ops.len() };
        self.submit(check, op::MULTI, expect, value, |out| request::write_multi(out, ops))
    }

    /// Asks the quorum whether a node is there and has this version. Unlike the reads, this is
    /// ordered with all writes. A failure is [`Error::Refused`].
    pub fn check(&self, path: &str, version: Option<i32>) -> Pending<()> {
        self.submit(path_ok(path), op::MULTI, Expect::Check, nothing, |out| {
            request::write_multi(out, &[Op::Check { path, version }]);
        })
    }

    /// Waits until the server has all that the leader had when this arrived there: what is read
    /// afterwards is no older. A leader that has lost its quorum still answers, for a time.
    pub fn sync(&self, path: &str) -> Pending<()> {
        let expect = Expect::Nothing { is_quorum: false };
        self.submit(path_ok(path), op::SYNC, expect, nothing, |out| {
            out.str(path);
        })
    }

    /// Watches until told otherwise. Servers know this from 3.6 on. Do not mix one-shot and
    /// persistent watches on one path: servers such as 3.8.0 keep one kind of watch for each path
    /// and session, the one that was asked for last (ZOOKEEPER-4466).
    pub fn add_watch(&self, path: &str, mode: AddWatchMode) -> Pending<Watches> {
        let value = |reply| match reply {
            Reply::Watches(watches) => Some(watches),
            _ => None,
        };
        let expect = Expect::AddWatch { path: path.into(), mode };
        self.submit(path_ok(path), op::ADD_WATCH, expect, value, |out| {
            out.str(path).i32(request::mode_number(mode));
        })
    }

    /// Removes watches of this session from a path. Those that are held end with
    /// [`WatchEventKind::Removed`](crate::WatchEventKind::Removed). If the server has none, it
    /// refuses with [`Code::NoWatcher`](crate::Code::NoWatcher).
    pub fn remove_watches(&self, path: &str, of: WatchesOf) -> Pending<()> {
        let expect = Expect::RemoveWatches { path: path.into(), of };
        self.submit(path_ok(path), op::REMOVE_WATCHES, expect, nothing, |out| {
            out.str(path).i32(request::watches_of_number(of));
        })
    }
}

fn path_ok(path: &str) -> Result<(), Error> {
    crate::path::check(path, false)
}

fn nothing(reply: Reply) -> Option<()> {
    matches!(reply, Reply::Nothing).then_some(())
}

fn stat(reply: Reply) -> Option<Stat> {
    match reply {
        Reply::Stat(stat) => Some(stat),
        _ => None,
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("session", &self.session_id())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
