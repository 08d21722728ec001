//! The scripts of this dialect.

use std::sync::LazyLock;

use crate::script::Script;

const COMMON: &str = include_str!("lua/common.lua");

macro_rules! scripts {
    ($($name:ident = $file:literal, $doc:literal;)*) => {$(
        #[doc = $doc]
        pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(&[COMMON, include_str!($file)]));
    )*};
}

scripts! {
    CLAIM = "lua/claim.lua", "Asks for a lock once.";
    WITHDRAW = "lua/withdraw.lua", "Takes a claim back.";
    RENEW = "lua/renew.lua", "Prolongs what a session holds.";
    EVICT = "lua/evict.lua", "Takes a lock from the holder with a token.";
    LOOK = "lua/look.lua", "Reads who holds a lock.";
    PICK = "lua/pick.lua", "Says which keys are locks.";
}

/// The names and digests of those that tests look out for on the way to the server.
#[doc(hidden)]
pub fn digests() -> [(&'static str, &'static str); 3] {
    [("claim", &CLAIM.digest), ("withdraw", &WITHDRAW.digest), ("renew", &RENEW.digest)]
}
