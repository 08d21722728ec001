//! Every case on every store.

use std::process::ExitCode;
use std::sync::Arc;

use cotter_conformance::bench::{
    Bench, EtcdBench, LocalBench, MemoryBench, RedisBench, RedlockBench, ZooKeeperBench,
};
use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let peer = env!("CARGO_BIN_EXE_conformance-peer");
    let benches: Vec<Arc<dyn Bench>> = vec![
        Arc::new(MemoryBench::on_virtual_clock()),
        Arc::new(MemoryBench::on_threads()),
        Arc::new(LocalBench::new(peer)),
        Arc::new(RedisBench::single(peer)),
        Arc::new(RedisBench::cluster(peer)),
        Arc::new(RedisBench::redisson(peer)),
        Arc::new(ZooKeeperBench::standalone(peer)),
        Arc::new(ZooKeeperBench::ensemble(peer)),
        Arc::new(EtcdBench::standalone(peer)),
        Arc::new(EtcdBench::cluster(peer)),
        Arc::new(RedlockBench::new(peer)),
    ];
    cotter_conformance::run(benches, &Arguments::from_args()).exit_code()
}
