//! Every case on every store.

use std::process::ExitCode;
use std::sync::Arc;

use cotter_conformance::bench::{Bench, LocalBench, MemoryBench};
use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let benches: Vec<Arc<dyn Bench>> = vec![
        Arc::new(MemoryBench::on_virtual_clock()),
        Arc::new(MemoryBench::on_threads()),
        Arc::new(LocalBench::new(env!("CARGO_BIN_EXE_conformance-peer"))),
    ];
    cotter_conformance::run(benches, &Arguments::from_args()).exit_code()
}
