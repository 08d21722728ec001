//! Requests and their answers: what is written for each, and how what comes back is read.

use std::time::Duration;

use crate::code::Code;
use crate::error::Error;
use crate::jute::{Malformed, Reader, Writer};
use crate::model::{Acl, AddWatchMode, CreateKind, Created, Op, OpResult, Stat, WatchesOf};
use crate::watches::{Class, Watch, Watches};
use crate::wire::{op, read_acl, read_stat, write_acl};

/// The longest time to live that a server can write down: forty bits of milliseconds.
const TTL_MS_MAX: u128 = (1 << 40) - 1;

/// How an answer is to be read, and what else it does here.
#[derive(Debug)]
pub(crate) enum Expect {
    Nothing {
        is_quorum: bool,
    },
    Created,
    Exists {
        watched: Option<Box<str>>,
    },
    Data {
        watched: Option<Box<str>>,
    },
    Children {
        watched: Option<Box<str>>,
    },
    Stat,
    Acl,
    Multi {
        count: usize,
    },
    /// A multi of one check.
    Check,
    AddWatch {
        path: Box<str>,
        mode: AddWatchMode,
    },
    RemoveWatches {
        path: Box<str>,
        of: WatchesOf,
    },
    CloseSession,
}

/// What an answer says. Watches are put in once they are registered.
#[derive(Debug)]
pub(crate) enum Reply {
    Nothing,
    Created(Created),
    Exists(Option<Stat>, Option<Watch>),
    Data(Vec<u8>, Stat, Option<Watch>),
    Children(Vec<String>, Stat, Option<Watch>),
    Stat(Stat),
    Acl(Vec<Acl>, Stat),
    Multi(Vec<OpResult>),
    Watches(Watches),
}

impl Expect {
    /// Whether the answer proves that the quorum heard of the session: writes do, reads do not.
    pub(crate) fn is_quorum(&self) -> bool {
        match self {
            Self::Nothing { is_quorum } => *is_quorum,
            Self::Created | Self::Stat | Self::Multi { .. } | Self::Check => true,
            _ => false,
        }
    }

    /// Reads what follows the header of an answer.
    pub(crate) fn read(
        &self,
        code: i32,
        body: &mut Reader<'_>,
    ) -> Result<Result<Reply, Error>, Malformed> {
        if code != 0 {
            let code = Code::from_number(code);
            return Ok(match self {
                Self::Exists { .. } if code == Code::NoNode => Ok(Reply::Exists(None, None)),
                _ => Err(Error::Refused(code)),
            });
        }
        Ok(Ok(match self {
            // A sync is answered with its path, an added watch with a code: of no use.
            Self::Nothing { .. }
            | Self::AddWatch { .. }
            | Self::RemoveWatches { .. }
            | Self::CloseSession => Reply::Nothing,
            Self::Created => {
                let path = body.str()?.to_owned();
                Reply::Created(Created { path, stat: read_stat(body)? })
            }
            Self::Exists { .. } => Reply::Exists(Some(read_stat(body)?), None),
            Self::Data { .. } => Reply::Data(body.bytes()?.to_vec(), read_stat(body)?, None),
            Self::Children { .. } => {
                let names = body.list(4, |body| body.str().map(str::to_owned))?;
                Reply::Children(names, read_stat(body)?, None)
            }
            Self::Stat => Reply::Stat(read_stat(body)?),
            Self::Acl => Reply::Acl(body.list(12, read_acl)?, read_stat(body)?),
            Self::Multi { count } => match read_multi(body, *count)? {
                Ok(results) => Reply::Multi(results),
                Err(error) => return Ok(Err(error)),
            },
            Self::Check => match read_multi(body, 1)? {
                Ok(_) => Reply::Nothing,
                Err(Error::Multi { code, .. }) => return Ok(Err(Error::Refused(code))),
                Err(error) => return Ok(Err(error)),
            },
        }))
    }

    /// Which list a watch that was asked for belongs in, now that the answer is there. A node that
    /// is not there can be watched only for coming into being.
    pub(crate) fn watched(&self, reply: &Result<Reply, Error>) -> Option<(Class, &str)> {
        let (class, watched) = match (self, reply) {
            (Self::Exists { watched }, Ok(Reply::Exists(None, _))) => (Class::Exists, watched),
            (Self::Exists { watched } | Self::Data { watched }, Ok(_)) => (Class::Data, watched),
            (Self::Children { watched }, Ok(_)) => (Class::Children, watched),
            _ => return None,
        };
        Some((class, watched.as_deref()?))
    }
}

/// The results of a multi, or the first that failed.
fn read_multi(
    body: &mut Reader<'_>,
    count: usize,
) -> Result<Result<Vec<OpResult>, Error>, Malformed> {
    let mut results = Vec::new();
    let mut failed = None;
    for index in 0.. {
        let (kind, is_last, _code) = (body.i32()?, body.bool()?, body.i32()?);
        if is_last != (index == count) {
            return Err(Malformed("a multi does not answer for each of its operations"));
        }
        if is_last {
            break;
        }
        results.push(match kind {
            op::CREATE => OpResult::Created { path: body.str()?.to_owned(), stat: None },
            op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => {
                let path = body.str()?.to_owned();
                let stat = read_stat(body)?;
                OpResult::Created { path, stat: (stat.czxid > 0).then_some(stat) }
            }
            op::DELETE => OpResult::Deleted,
            op::SET_DATA => OpResult::DataSet(read_stat(body)?),
            op::CHECK => OpResult::Checked,
            op::ERROR => {
                // Those before the failed one have zero, those after it "runtime inconsistency".
                let code = body.i32()?;
                if code != 0 && failed.is_none() {
                    failed = Some(Error::Multi { index, code: Code::from_number(code) });
                }
                OpResult::Checked
            }
            _ => return Err(Malformed("a multi answers for an operation it has not")),
        });
    }
    Ok(failed.map_or(Ok(results), Err))
}

/// Writes the record of a create and tells which operation it is.
pub(crate) fn create_op(kind: CreateKind) -> i32 {
    match kind {
        CreateKind::Container => op::CREATE_CONTAINER,
        CreateKind::PersistentTtl(_) | CreateKind::PersistentSequentialTtl(_) => op::CREATE_TTL,
        _ => op::CREATE2,
    }
}

pub(crate) fn write_create(
    out: &mut Writer<'_>,
    path: &str,
    data: &[u8],
    kind: CreateKind,
    acl: &[Acl],
) {
    out.str(path).bytes(data);
    write_acl(out, acl);
    out.i32(kind.flags());
    if let Some(ttl) = kind.ttl() {
        out.i64(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
    }
}

/// A version as the wire has it: -1 is any.
pub(crate) fn version(version: Option<i32>) -> i32 {
    version.unwrap_or(-1)
}

pub(crate) fn write_multi(out: &mut Writer<'_>, ops: &[Op<'_>]) {
    let header = |out: &mut Writer<'_>, kind: i32, is_last: bool| {
        out.i32(kind).bool(is_last).i32(-1);
    };
    for one in ops {
        match *one {
            Op::Create { path, data, kind, acl } => {
                header(out, create_op(kind), false);
                write_create(out, path, data, kind, acl);
            }
            Op::Delete { path, version: known } => {
                header(out, op::DELETE, false);
                out.str(path).i32(version(known));
            }
            Op::SetData { path, data, version: known } => {
                header(out, op::SET_DATA, false);
                out.str(path).bytes(data).i32(version(known));
            }
            Op::Check { path, version: known } => {
                header(out, op::CHECK, false);
                out.str(path).i32(version(known));
            }
        }
    }
    header(out, -1, true);
}

/// Checks what a create asks for, but for the path.
pub(crate) fn check_kind(kind: CreateKind) -> Result<(), Error> {
    let is_in_range = |ttl: Duration| (1..=TTL_MS_MAX).contains(&ttl.as_millis());
    match kind.ttl() {
        Some(ttl) if !is_in_range(ttl) => {
            Err(Error::Invalid(format!("{ttl:?} is no time to live: 1 ms to {TTL_MS_MAX} ms")))
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_op(one: &Op<'_>) -> Result<(), Error> {
    match *one {
        Op::Create { path, kind, .. } => {
            check_kind(kind)?;
            crate::path::check(path, kind.is_sequential())
        }
        Op::Delete { path, .. } | Op::SetData { path, .. } | Op::Check { path, .. } => {
            crate::path::check(path, false)
        }
    }
}

pub(crate) fn mode_number(mode: AddWatchMode) -> i32 {
    match mode {
        AddWatchMode::Persistent => 0,
        AddWatchMode::PersistentRecursive => 1,
    }
}

pub(crate) fn watches_of_number(of: WatchesOf) -> i32 {
    match of {
        WatchesOf::Children => 1,
        WatchesOf::Data => 2,
        WatchesOf::Any => 3,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::jute::frame;

    fn all() -> Vec<Expect> {
        vec![
            Expect::Nothing { is_quorum: true },
            Expect::Created,
            Expect::Exists { watched: Some("/a".into()) },
            Expect::Data { watched: None },
            Expect::Children { watched: None },
            Expect::Stat,
            Expect::Acl,
            Expect::Multi { count: 3 },
            Expect::Check,
            Expect::CloseSession,
        ]
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_panic(body: Vec<u8>, code in -130..2) {
            for expect in all() {
                let _ = expect.read(code, &mut Reader::new(&body));
            }
        }

        #[test]
        fn any_multi_is_read_without_panic(parts: Vec<(u8, bool, Vec<u8>)>) {
            let mut body = Vec::new();
            for (kind, is_last, bytes) in parts {
                Writer(&mut body).i32(i32::from(kind % 23) - 1).bool(is_last).i32(0);
                body.extend_from_slice(&bytes);
            }
            let _ = Expect::Multi { count: 2 }.read(0, &mut Reader::new(&body));
        }
    }

    fn multi(parts: &[(i32, bool)], count: usize) -> Result<Result<Reply, Error>, Malformed> {
        let mut body = Vec::new();
        for (kind, is_last) in parts {
            Writer(&mut body).i32(*kind).bool(*is_last).i32(0);
        }
        Expect::Multi { count }.read(0, &mut Reader::new(&body))
    }

    #[test]
    fn a_multi_answers_for_each_operation_and_no_more() {
        let (checked, end) = ((op::CHECK, false), (-1, true));
        let one = multi(&[checked, end], 1);
        assert!(matches!(one, Ok(Ok(Reply::Multi(results))) if results.len() == 1));
        assert!(multi(&[checked, checked, end], 1).is_err());
        assert!(multi(&[end], 1).is_err());
        assert!(multi(&[checked], 1).is_err());
        assert!(multi(&[(op::PING, false), end], 1).is_err());
    }

    #[test]
    fn a_frame_is_as_long_as_it_says() {
        let mut bytes = Vec::new();
        let acl = [Acl::open()];
        let kind = CreateKind::PersistentTtl(Duration::from_millis(5));
        frame(&mut bytes, |out| write_create(out, "/a", b"xy", kind, &acl));
        let mut record = Reader::new(&bytes[4..]);
        assert_eq!(record.str(), Ok("/a"));
        assert_eq!(record.bytes(), Ok(&b"xy"[..]));
        assert_eq!(record.list(12, read_acl).as_deref(), Ok(&acl[..]));
        assert_eq!((record.i32(), record.i64(), record.is_empty()), (Ok(5), Ok(5), true));
    }
}
