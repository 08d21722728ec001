//! Records of the ZooKeeper protocol: numbers of operations, headers, and what a connection starts
//! with. Requests and their answers are in [`request`](crate::request).
//!
//! A frame is a length of four bytes and a body. A request's body is a number (xid), an operation
//! and a record; an answer's is the same number, the newest transaction (zxid), a code and a
//! record. Numbers below zero are no answers to requests: see the constants.

use crate::config::{Secret, SessionId};
use crate::jute::{Malformed, Reader, Writer};
use crate::model::{Acl, Perms, Stat};

/// Numbers of operations.
pub(crate) mod op {
    pub(crate) const DELETE: i32 = 2;
    pub(crate) const EXISTS: i32 = 3;
    pub(crate) const GET_DATA: i32 = 4;
    pub(crate) const SET_DATA: i32 = 5;
    pub(crate) const GET_ACL: i32 = 6;
    pub(crate) const SET_ACL: i32 = 7;
    pub(crate) const SYNC: i32 = 9;
    pub(crate) const PING: i32 = 11;
    pub(crate) const GET_CHILDREN2: i32 = 12;
    pub(crate) const CHECK: i32 = 13;
    pub(crate) const MULTI: i32 = 14;
    pub(crate) const CREATE2: i32 = 15;
    pub(crate) const REMOVE_WATCHES: i32 = 18;
    pub(crate) const CREATE_CONTAINER: i32 = 19;
    pub(crate) const CREATE_TTL: i32 = 21;
    pub(crate) const AUTH: i32 = 100;
    pub(crate) const SET_WATCHES: i32 = 101;
    pub(crate) const SASL: i32 = 102;
    pub(crate) const SET_WATCHES2: i32 = 105;
    pub(crate) const ADD_WATCH: i32 = 106;
    pub(crate) const CLOSE_SESSION: i32 = -11;
    /// In the answer to a multi: this operation failed.
    pub(crate) const ERROR: i32 = -1;
    /// In the answer to a multi, from before create2: the path alone.
    pub(crate) const CREATE: i32 = 1;
}

/// Numbers of frames that do not belong to a request of the caller.
pub(crate) mod xid {
    pub(crate) const EVENT: i32 = -1;
    pub(crate) const PING: i32 = -2;
    pub(crate) const AUTH: i32 = -4;
    pub(crate) const SET_WATCHES: i32 = -8;
}

/// What a connection starts with. The last byte, "a read-only server will do", is always clear.
pub(crate) fn write_connect(
    out: &mut Writer<'_>,
    last_zxid: i64,
    timeout_ms: i32,
    session: SessionId,
    password: &Secret,
) {
    out.i32(0).i64(last_zxid).i32(timeout_ms).i64(session.0);
    out.bytes(password.expose()).bool(false);
}

/// What a server answers to that.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Connected {
    /// Not above zero if the server does not know the session, or no longer.
    pub(crate) timeout_ms: i32,
    pub(crate) session: SessionId,
    pub(crate) password: Secret,
    pub(crate) is_read_only: bool,
}

impl Connected {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let _protocol = reader.i32()?;
        let timeout_ms = reader.i32()?;
        let session = SessionId(reader.i64()?);
        let password = Secret::new(reader.bytes()?);
        // Servers before 3.4 do not send the last byte.
        let is_read_only = !reader.is_empty() && reader.bool()?;
        Ok(Self { timeout_ms, session, password, is_read_only })
    }

    /// The session timeout; zero stands for what a server cannot have meant.
    pub(crate) fn timeout_ms(&self) -> u32 {
        u32::try_from(self.timeout_ms).unwrap_or(0)
    }
}

/// What every answer starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) xid: i32,
    pub(crate) zxid: i64,
    /// Zero if all is well.
    pub(crate) code: i32,
}

impl Header {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { xid: reader.i32()?, zxid: reader.i64()?, code: reader.i32()? })
    }
}

pub(crate) fn read_stat(reader: &mut Reader<'_>) -> Result<Stat, Malformed> {
    Ok(Stat {
        czxid: reader.i64()?,
        mzxid: reader.i64()?,
        ctime: reader.i64()?,
        mtime: reader.i64()?,
        version: reader.i32()?,
        cversion: reader.i32()?,
        aversion: reader.i32()?,
        ephemeral_owner: reader.i64()?,
        data_length: reader.i32()?,
        num_children: reader.i32()?,
        pzxid: reader.i64()?,
    })
}

pub(crate) fn read_acl(reader: &mut Reader<'_>) -> Result<Acl, Malformed> {
    let perms = Perms::from_bits(reader.i32()?);
    let scheme = reader.str()?;
    Ok(Acl::of(perms, scheme, reader.str()?))
}

pub(crate) fn write_acl(out: &mut Writer<'_>, acl: &[Acl]) {
    out.list(acl, |out, line| {
        out.i32(line.perms.bits()).str(&line.scheme).str(&line.id);
    });
}
