//! etcd's requests, as far as a proxy has to understand them: the method, and of a transaction what
//! it does.
//!
//! ```text
//!   gRPC message       compressed: u8 | length: u32 | protobuf
//!   TxnRequest         1 compare, 2 success, 3 failure
//!   RequestOp          1 range, 2 put (3: lease), 3 delete, 4 transaction
//!   WatchResponse      3 created, 4 canceled, 11 events
//! ```

/// Kinds of request that etcd's clients make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EtcdOp {
    /// Keys and values are read, outside a transaction.
    Range,
    /// A key is written, outside a transaction.
    Put,
    /// A transaction that may write a key with a lease and deletes none: a place in a line.
    Claim,
    /// Keys are deleted, by a transaction or outside one, whatever else it writes: a place is left.
    Delete,
    /// A transaction that may write keys, none of them with a lease.
    Write,
    /// A transaction that only compares and reads: a proof that something stands.
    Check,
    /// A watch begins.
    Watch,
    /// A watch is ended, or asked how far it is.
    WatchControl,
    /// A lease begins.
    LeaseGrant,
    /// A lease ends.
    LeaseRevoke,
    /// A lease goes on.
    LeaseKeepAlive,
    /// How long a lease still lives, and what it holds.
    LeaseTimeToLive,
    /// A name and a password are shown.
    Authenticate,
    /// Anything else.
    Other,
}

impl EtcdOp {
    /// What a message to this method asks for.
    pub(crate) fn of(path: &str, message: &[u8]) -> Self {
        match path.strip_prefix("/etcdserverpb.").unwrap_or(path) {
            "KV/Range" => EtcdOp::Range,
            "KV/Put" => EtcdOp::Put,
            "KV/DeleteRange" => EtcdOp::Delete,
            "KV/Txn" => transaction(message),
            // WatchRequest: 1 create, 2 cancel, 3 progress.
            "Watch/Watch" if fields(message).any(|(number, _)| number == 1) => EtcdOp::Watch,
            "Watch/Watch" => EtcdOp::WatchControl,
            "Lease/LeaseGrant" => EtcdOp::LeaseGrant,
            "Lease/LeaseRevoke" => EtcdOp::LeaseRevoke,
            "Lease/LeaseKeepAlive" => EtcdOp::LeaseKeepAlive,
            "Lease/LeaseTimeToLive" => EtcdOp::LeaseTimeToLive,
            "Auth/Authenticate" => EtcdOp::Authenticate,
            _ => EtcdOp::Other,
        }
    }

    /// Whether somebody waits for the answer before going on. What keeps a stream alive is sent
    /// beside everything else.
    pub(crate) fn is_waited_for(self) -> bool {
        !matches!(self, EtcdOp::Watch | EtcdOp::WatchControl | EtcdOp::LeaseKeepAlive)
    }
}

/// What a message from the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The reply to the oldest request on its stream that has none yet.
    Reply,
    /// News of what was watched.
    Event,
    /// Neither: how far a watch is.
    Progress,
}

impl Answer {
    pub(crate) fn of(path: &str, message: &[u8]) -> Self {
        if !path.ends_with(".Watch/Watch") {
            return Answer::Reply;
        }
        let has = |wanted: u64| fields(message).any(|(number, _)| number == wanted);
        match (has(11), has(3) || has(4)) {
            (true, _) => Answer::Event,
            (false, true) => Answer::Reply,
            (false, false) => Answer::Progress,
        }
    }
}

fn transaction(message: &[u8]) -> EtcdOp {
    let (mut puts, mut leases, mut deletes) = (false, false, false);
    let ops = fields(message).filter(|(number, _)| [2, 3].contains(number));
    for (kind, op) in ops.flat_map(|(_, op)| fields(op.bytes())) {
        match kind {
            2 => {
                puts = true;
                leases |= fields(op.bytes()).any(|(number, lease)| number == 3 && lease.int() > 0);
            }
            3 => deletes = true,
            4 => match transaction(op.bytes()) {
                EtcdOp::Claim => leases = true,
                EtcdOp::Delete => deletes = true,
                EtcdOp::Write => puts = true,
                _ => {}
            },
            _ => {}
        }
    }
    match (deletes, leases, puts) {
        (true, ..) => EtcdOp::Delete,
        (_, true, _) => EtcdOp::Claim,
        (.., true) => EtcdOp::Write,
        _ => EtcdOp::Check,
    }
}

/// A field's value, as far as it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Int(u64),
    Bytes(&'a [u8]),
    Fixed,
}

impl<'a> Value<'a> {
    fn bytes(self) -> &'a [u8] {
        if let Value::Bytes(bytes) = self { bytes } else { &[] }
    }

    fn int(self) -> u64 {
        if let Value::Int(int) = self { int } else { 0 }
    }
}

/// The fields of a protobuf message, up to where it is none any more.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        let key = varint(&mut message)?;
        let value = match key & 7 {
            0 => Value::Int(varint(&mut message)?),
            1 => skip(&mut message, 8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                Value::Bytes(skip(&mut message, length)?)
            }
            5 => skip(&mut message, 4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        Some((key >> 3, value))
    })
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let byte = skip(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << (7 * at).min(63);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn skip<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (skipped, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(skipped)
}

/// Cuts the body of a gRPC stream into messages.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
}

impl Messages {
    /// The bytes before a message.
    const PREFIX_LEN: usize = 5;

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, with its prefix.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        let length = self.bytes.get(1..Self::PREFIX_LEN)?;
        let length = u32::from_be_bytes(length.try_into().ok()?);
        let end = Self::PREFIX_LEN.checked_add(usize::try_from(length).ok()?)?;
        (self.bytes.len() >= end).then(|| self.bytes.drain(..end).collect())
    }

    /// A message without its prefix.
    pub(crate) fn body(message: &[u8]) -> &[u8] {
        message.get(Self::PREFIX_LEN..).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field with bytes in it.
    fn part(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).expect("short");
        [&[number << 3 | 2, length][..], bytes].concat()
    }

    #[test]
    fn a_transaction_is_known_by_what_it_may_do() {
        let txn = |message: &[u8]| EtcdOp::of("/etcdserverpb.KV/Txn", message);
        let put = part(2, &[part(1, b"key"), vec![3 << 3, 0x81, 1]].concat());
        let put_for_ever = part(2, &part(1, b"key"));
        let (range, delete) = (part(1, &part(1, b"key")), part(3, &part(1, b"key")));
        let compare = part(1, b"whatever");
        assert_eq!(txn(&[compare.clone(), part(2, &put), part(3, &range)].concat()), EtcdOp::Claim);
        assert_eq!(txn(&[part(2, &range), part(3, &put)].concat()), EtcdOp::Claim);
        assert_eq!(txn(&[compare.clone(), part(2, &put_for_ever)].concat()), EtcdOp::Write);
        assert_eq!(txn(&[compare.clone(), part(2, &delete)].concat()), EtcdOp::Delete);
        assert_eq!(txn(&[compare.clone(), part(3, &range)].concat()), EtcdOp::Check);
        let nested = part(2, &part(4, &part(2, &put)));
        assert_eq!(txn(&[compare, nested].concat()), EtcdOp::Claim);
        assert_eq!(EtcdOp::of("/etcdserverpb.KV/DeleteRange", b""), EtcdOp::Delete);
        assert_eq!(EtcdOp::of("/v3lockpb.Lock/Lock", b""), EtcdOp::Other);
    }

    #[test]
    fn news_are_told_from_replies() {
        let watch = |message: &[u8]| Answer::of("/etcdserverpb.Watch/Watch", message);
        let header = part(1, b"");
        assert_eq!(watch(&[header.clone(), vec![3 << 3, 1]].concat()), Answer::Reply);
        assert_eq!(watch(&[header.clone(), part(11, b"")].concat()), Answer::Event);
        assert_eq!(watch(&header), Answer::Progress);
        assert_eq!(Answer::of("/etcdserverpb.KV/Txn", &part(11, b"")), Answer::Reply);
        let begins = EtcdOp::of("/etcdserverpb.Watch/Watch", &part(1, b""));
        let ends = EtcdOp::of("/etcdserverpb.Watch/Watch", &part(2, b""));
        assert_eq!((begins, ends), (EtcdOp::Watch, EtcdOp::WatchControl));
    }

    #[test]
    fn messages_come_out_whole_however_they_come_in() {
        let message = |body: &[u8]| {
            let length = u32::try_from(body.len()).expect("short").to_be_bytes();
            [&[0], &length[..], body].concat()
        };
        let stream = [message(b"first"), message(b""), message(b"third")].concat();
        for step in 1..=stream.len() {
            let (mut messages, mut out) = (Messages::default(), Vec::new());
            for piece in stream.chunks(step) {
                messages.add(piece);
                out.extend(std::iter::from_fn(|| messages.next()));
            }
            assert_eq!(out, [message(b"first"), message(b""), message(b"third")], "by {step}");
        }
    }

    #[test]
    fn what_is_no_protobuf_ends_where_it_ends() {
        for bytes in
            [&b"\xff"[..], b"\x0a\x05ab", b"\x0b", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
        {
            assert_eq!(fields(bytes).count(), 0, "{bytes:?}");
        }
    }
}
