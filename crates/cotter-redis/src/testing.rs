//! What the tests inside this crate stand on: the server that the environment names.

use cotter_core::env::Env;

/// `host:port` of a server that tests may use.
pub(crate) fn server() -> String {
    // A test without its server fails, and says what to do.
    std::env::var("COTTER_TEST_REDIS").expect(
        "COTTER_TEST_REDIS names no server: run `cargo xtask test`, or `cargo xtask servers` and \
         set what it prints",
    )
}

/// The machine's clock and this runtime.
pub(crate) fn env() -> Env {
    // Tests run inside a runtime.
    Env::system().expect("an environment")
}
