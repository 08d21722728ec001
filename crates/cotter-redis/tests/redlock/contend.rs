//! Many that want the lock at once, far away from the servers.

use std::time::Duration;

use cotter_proxy::What;

use crate::rig::{LONG, NAME, Rig, token};

/// Eight start at once, each 20 ms there and back from the servers. Whoever waited for a key to
/// expire would wait for two minutes; and split votes cost few rounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_contenders_behind_a_delay_are_served_in_few_rounds() {
    const CONTENDERS: u64 = 8;
    let rig = Rig::new();
    let mut contenders = Vec::new();
    for _ in 0..CONTENDERS {
        let ways = rig.ways().await;
        let client = ways.connect(LONG).await;
        ways.proxies.iter().for_each(|proxy| proxy.set_delay(Duration::from_millis(10)));
        contenders.push((ways, client));
    }
    let started = rig.env.now();
    let turns: Vec<_> = contenders
        .iter()
        .map(|(_, client)| {
            let client = client.clone();
            rig.env.spawn(async move {
                let guard = client.lock(NAME).acquire().await.expect("its turn");
                let token = token(&guard);
                guard.release().await.expect("released");
                token
            })
        })
        .collect();
    let mut tokens = Vec::new();
    for turn in turns {
        tokens.push(rig.in_time("a turn", turn).await.expect("no panic"));
    }
    let took = rig.env.now().since(started);
    let sent = |script: &'static str| -> u64 {
        contenders.iter().map(|(ways, _)| ways.plan.requests(&What::Script(script))).sum()
    };
    let rounds = sent("claim") / 5;
    println!("{CONTENDERS} contenders: {rounds} rounds, {took:?}, {} write-backs", sent("raise"));
    assert!(rounds <= CONTENDERS * 5, "{rounds} rounds for {CONTENDERS} contenders");
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len() as u64, CONTENDERS, "a token was given twice");
    rig.nothing_is_left().await;
}
