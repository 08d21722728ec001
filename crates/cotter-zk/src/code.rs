//! The codes with which a server answers a request that it does not carry out.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal),* $(,)?) => {
        /// What a server answered instead of doing what it was asked.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
            /// A number that this client has no name for.
            Other(i32),
        }

        impl Code {
            /// The code of a number on the wire. Zero is no code: it means that all is well.
            pub const fn from_number(number: i32) -> Self {
                match number {
                    $($number => Self::$name,)*
                    other => Self::Other(other),
                }
            }

            /// The number on the wire.
            pub const fn number(self) -> i32 {
                match self {
                    $(Self::$name => $number,)*
                    Self::Other(other) => other,
                }
            }
        }
    };
}

codes! {
    /// An error inside the server.
    SystemError = -1,
    /// In a multi: an operation after the one that failed.
    RuntimeInconsistency = -2,
    /// Data of the server do not fit together.
    DataInconsistency = -3,
    /// The server lost its connection.
    ConnectionLoss = -4,
    /// The server could not read the request.
    MarshallingError = -5,
    /// The server does not know the operation, or it is switched off.
    Unimplemented = -6,
    /// The operation took too long inside the server.
    OperationTimeout = -7,
    /// The arguments are not valid.
    BadArguments = -8,
    /// The configuration that a reconfiguration builds on is not the present one.
    NewConfigNoQuorum = -13,
    /// Another reconfiguration is under way.
    ReconfigInProgress = -14,
    /// There is no such node.
    NoNode = -101,
    /// The ACL of the node does not allow this.
    NoAuth = -102,
    /// The node has another version.
    BadVersion = -103,
    /// An ephemeral node has no children.
    NoChildrenForEphemerals = -108,
    /// The node exists.
    NodeExists = -110,
    /// The node has children.
    NotEmpty = -111,
    /// The session has expired.
    SessionExpired = -112,
    /// There is no such callback.
    InvalidCallback = -113,
    /// The ACL is not valid, for example empty.
    InvalidAcl = -114,
    /// The server did not accept who the client says it is.
    AuthFailed = -115,
    /// The server is closing.
    Closing = -116,
    /// The server has no answer.
    Nothing = -117,
    /// The session is at another server by now.
    SessionMoved = -118,
    /// The server is read-only.
    NotReadOnly = -119,
    /// An ephemeral node in a local session.
    EphemeralOnLocalSession = -120,
    /// There is no such watch.
    NoWatcher = -121,
    /// Reconfiguration is switched off.
    ReconfigDisabled = -123,
    /// The server wants SASL and the session has not been through it.
    SessionClosedRequireSasl = -124,
    /// The quota does not allow this.
    QuotaExceeded = -125,
    /// The server has too much to do. The request was not carried out.
    Throttled = -127,
}

impl Code {
    /// Whether this, as the answer to a write, is the word of the quorum and not of one server's
    /// front door: the leader orders these refusals like writes.
    pub fn is_from_quorum(self) -> bool {
        matches!(
            self,
            Self::NoNode
                | Self::NoAuth
                | Self::BadVersion
                | Self::NoChildrenForEphemerals
                | Self::NodeExists
                | Self::NotEmpty
                | Self::InvalidAcl
                | Self::EphemeralOnLocalSession
                | Self::QuotaExceeded
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(number) => write!(f, "code {number}"),
            named => write!(f, "{named:?} ({})", named.number()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back() {
        for number in -200..0 {
            assert_eq!(Code::from_number(number).number(), number);
        }
        assert_eq!(Code::from_number(-101), Code::NoNode);
        assert_eq!(Code::NoNode.to_string(), "NoNode (-101)");
        assert_eq!(Code::from_number(-199).to_string(), "code -199");
    }
}
