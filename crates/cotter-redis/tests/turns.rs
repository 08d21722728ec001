//! Turns at the contract's own door, where something went wrong on the way to them:
//! replicas that have not heard, messages that were lost, neighbours that died.
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

mod common;

use std::sync::Arc;

use common::{Rig, blocking, in_time};
use cotter_core::contract::{
    Answer, Bearer, Claim, Grant, Left, Mode, Patience, Recipe, Session, Store,
};
use cotter_core::{Kind, LockName};
use cotter_redis::{Place, RedisSession, RedisStore};
use cotter_servers::redis::{Options, Servers, Watched};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const NAME: &str = "n";

async fn open(rig: &Rig, url: &str) -> RedisSession {
    let store = RedisStore::from_url(url).expect("a URL");
    store.open(&rig.env, &Bearer::default()).await.expect("a session")
}

async fn session(rig: &Rig, options: &str) -> RedisSession {
    open(rig, &rig.url(options)).await
}

fn claim(rig: &Rig, mode: Mode, patience: Patience) -> Claim {
    let recipe = match mode {
        Mode::Permits { .. } => Recipe::Semaphore,
        _ => Recipe::Lock,
    };
    Claim {
        id: rig.env.claim_id(),
        name: LockName::new(NAME).expect("a name"),
        mode,
        recipe,
        patience,
        note: "".into(),
        asked_at: rig.env.now(),
    }
}

/// A claim that holds the lock.
async fn holds(rig: &Rig, session: &RedisSession) -> (Claim, Grant) {
    let claim = claim(rig, Mode::Exclusive, Patience::Try);
    match session.claim(&claim).await.expect("an answer") {
        Answer::Granted(grant, _) => (claim, grant),
        other => panic!("the lock is free: {other:?}"),
    }
}

/// A claim that waits.
async fn waits(rig: &Rig, session: &RedisSession) -> (Claim, Place) {
    let claim = claim(rig, Mode::Exclusive, Patience::Wait);
    match session.claim(&claim).await.expect("an answer") {
        Answer::Queued(place) => (claim, place),
        other => panic!("somebody holds it: {other:?}"),
    }
}

async fn gives_back(session: &RedisSession, claim: &Claim) {
    assert_eq!(session.withdraw(claim, None).await.expect("an answer"), Left::Released);
}

const REPLICATED: &str = "lease=60s&wait-replicas=1&wait-timeout=300ms";

/// A grant that was given back because no replica had it is nobody's, also if whoever waited for it
/// waits on: somebody else may have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_no_replica_had_is_not_taken_up_again() {
    let servers = blocking(|| Watched::start(0, &Options::default())).expect("servers");
    let (primary, replica) = (servers.server(0), servers.server(1));
    let rig = Rig::at(primary.address());
    let (one, two) = (session(&rig, "lease=60s").await, session(&rig, REPLICATED).await);
    let (held, _) = holds(&rig, &one).await;
    let (waiting, mut place) = waits(&rig, &two).await;
    assert_eq!(two.renew(&[waiting.id]).await.expect("an answer").gone, []);
    replica.freeze().expect("it runs");
    gives_back(&one, &held).await;
    let turn = in_time(&rig.env, "its turn", two.wait(&waiting, &mut place)).await;
    let error = turn.expect_err("no replica has it");
    assert!([Kind::Unreachable, Kind::Lost].contains(&error.kind()), "{error}");
    replica.thaw().expect("it runs");
    blocking(|| servers.until_replicated()).expect("up to date");
    let (_, grant) = holds(&rig, &one).await;
    match in_time(&rig.env, "its turn", two.wait(&waiting, &mut place)).await {
        Err(error) => assert_eq!(error.kind(), Kind::Lost, "{error}"),
        Ok(second) => panic!("{second:?} is held beside {grant:?}"),
    }
}

/// Nobody has sent the script for renewals to this server yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_turn_on_a_fresh_server_is_confirmed_by_its_replica() {
    let servers = blocking(|| Watched::start(0, &Options::default())).expect("servers");
    let rig = Rig::at(servers.server(0).address());
    let (one, two) = (session(&rig, "lease=60s").await, session(&rig, REPLICATED).await);
    let (held, first) = holds(&rig, &one).await;
    let (waiting, mut place) = waits(&rig, &two).await;
    gives_back(&one, &held).await;
    let turn = in_time(&rig.env, "its turn", two.wait(&waiting, &mut place)).await;
    assert!(turn.expect("a turn").token > first.token);
}

/// A server that knows no script, grants what it is asked for, and is gone in the same breath.
async fn grants_and_goes(mut stream: TcpStream) -> Option<()> {
    let hello = "%3\r\n+version\r\n+7.0.0\r\n+mode\r\n+standalone\r\n+role\r\n+master\r\n";
    let subscribed = ">3\r\n+subscribe\r\n+x\r\n:1\r\n";
    let mut bytes = vec![0; 64 << 10];
    loop {
        let count = stream.read(&mut bytes).await.ok().filter(|count| *count > 0)?;
        let asked = String::from_utf8_lossy(&bytes[..count]).into_owned();
        let mut answer = String::new();
        for (word, said) in [
            ("HELLO", hello),
            ("SUBSCRIBE", subscribed),
            ("CONFIG", "-ERR no\r\n"),
            ("INFO", "-ERR no\r\n"),
            ("EVALSHA", "-NOSCRIPT no\r\n"),
            ("WAIT", ":1\r\n"),
        ] {
            let times = asked.matches(&format!("\r\n{word}\r\n")).count();
            answer.push_str(&said.repeat(times));
        }
        if asked.contains("\r\nEVAL\r\n") {
            answer.push_str(":1764288000000000\r\n");
            stream.write_all(answer.as_bytes()).await.ok()?;
            return None;
        }
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// The claim was carried out, whatever became of the question to the replicas behind it.
#[tokio::test]
async fn a_claim_whose_connection_ends_before_replicas_are_asked_is_not_called_unsent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let rig = Rig::at(listener.local_addr().expect("its address"));
    drop(rig.env.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = grants_and_goes(stream).await;
        }
    }));
    let session = session(&rig, REPLICATED).await;
    let claim = claim(&rig, Mode::Exclusive, Patience::Try);
    let error = session.claim(&claim).await.expect_err("no replica has said anything");
    assert!(error.is_maybe_applied(), "{error}");
}

/// Without a line the first of those who wait is told that it may try; and if that is not heard,
/// its renewal says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_without_a_line_hears_of_its_chance_by_its_renewal() {
    let rig = Rig::new();
    let (proxy, plan) = rig.proxy().await;
    plan.lose_events(true);
    let options = "lease=60s&fair=false";
    let one = session(&rig, options).await;
    let two = open(&rig, &rig.url_at(&proxy.address(), options)).await;
    let (held, first) = holds(&rig, &one).await;
    let (waiting, mut place) = waits(&rig, &two).await;
    gives_back(&one, &held).await;
    let renewal = two.renew(&[waiting.id]).await.expect("an answer");
    assert_eq!(renewal.gone, []);
    let turn = in_time(&rig.env, "its turn", two.wait(&waiting, &mut place)).await;
    assert!(turn.expect("a turn").token > first.token);
}

/// A foreign client tells nobody that it lets go. Whoever is first in line looks for itself, and a
/// renewal does not make it stop, wherever in the renewal it stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_in_line_looks_on_whatever_a_renewal_lists_before_it() {
    // The second is nearly one of ours.
    for (value, is_reversed) in [("somebody", false), ("cotter:0:x", true)] {
        let rig = Rig::new();
        let key = rig.key(NAME);
        rig.ask(&["SET", &key, value, "NX", "PX", "60000"]).await.expect("an answer");
        let session = Arc::new(session(&rig, "lease=60s").await);
        let (first, mut place) = waits(&rig, &session).await;
        let (second, _) = waits(&rig, &session).await;
        let live = if is_reversed { [second.id, first.id] } else { [first.id, second.id] };
        let renewal = session.renew(&live).await.expect("an answer");
        assert_eq!(renewal.gone, []);
        rig.ask(&["DEL", &key]).await.expect("an answer");
        let turn = in_time(&rig.env, "its turn", session.wait(&first, &mut place)).await;
        turn.expect("a turn");
    }
}

/// A waiter that died costs no more than what is left of its own time: it is not given a whole
/// lease that nobody uses. Its client counts from its last renewal in any case.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_of_one_that_died_waiting_lasts_no_longer_than_it_was_thought_alive() {
    for mode in [Mode::Exclusive, Mode::Shared] {
        let rig = Rig::new();
        let (one, two) = (session(&rig, "lease=60s").await, session(&rig, "lease=60s").await);
        let (held, _) = holds(&rig, &one).await;
        let dies = claim(&rig, mode, Patience::Wait);
        two.claim(&dies).await.expect("an answer");
        let key = rig.key(NAME);
        // As if it had been renewed 50 seconds ago.
        let aged = "local ends_at = redis.call('TIME')[1] * 1000 + 10000 \
                    return redis.call('ZADD', KEYS[1], 'XX', 'CH', ends_at, ARGV[1])";
        let alive = format!("cotter:{{{key}}}:a");
        let id = dies.id.to_string();
        rig.ask(&["EVAL", aged, "1", &alive, &id]).await.expect("an answer");
        gives_back(&one, &held).await;
        let left = rig.ask(&["PTTL", &key]).await.and_then(|left| left.number()).expect("a number");
        assert!((1..=11_000).contains(&left), "{mode}: {left} ms for one that died");
    }
}

/// A full server refuses newcomers. Those who hold and wait are not thrown out by that, and those
/// who leave are followed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_refuses_newcomers_and_keeps_those_it_has() {
    for mode in [Mode::Exclusive, Mode::Shared] {
        let servers = blocking(|| Servers::start(1, &Options::default())).expect("a server");
        let rig = Rig::at(servers.server(0).address());
        let session = session(&rig, "lease=60s").await;
        let held = claim(&rig, mode, Patience::Try);
        let answer = session.claim(&held).await.expect("an answer");
        assert!(matches!(answer, Answer::Granted(..)), "{answer:?}");
        let (waiting, mut place) = waits(&rig, &session).await;
        // All scripts have been sent once: a full server takes no new ones.
        let mut live = vec![waiting.id, held.id];
        assert_eq!(session.renew(&live).await.expect("an answer").gone, []);
        let fleeting = claim(&rig, mode, Patience::Try);
        assert!(matches!(session.claim(&fleeting).await, Ok(Answer::Busy)));
        assert_eq!(session.withdraw(&fleeting, None).await.expect("an answer"), Left::WasGone);
        rig.ask(&["CONFIG", "SET", "maxmemory", "1"]).await.expect("an answer");
        for _ in 0..2 {
            live.reverse();
            let renewal = session.renew(&live).await.expect("an answer");
            assert_eq!(renewal.gone, [], "{mode}");
        }
        gives_back(&session, &held).await;
        let turn = in_time(&rig.env, "its turn", session.wait(&waiting, &mut place)).await;
        turn.expect("a turn");
        let next = claim(&rig, mode, Patience::Wait);
        let error = session.claim(&next).await.expect_err("there is no room");
        assert_eq!(error.kind(), Kind::Store, "{error}");
        assert!(error.message().contains("maxmemory"), "{error}");
        assert_eq!(session.withdraw(&next, None).await.expect("an answer"), Left::WasGone);
        gives_back(&session, &waiting).await;
    }
}

/// Anybody may have written anything at a lock's key. Whoever looks is shown its beginning, and
/// keeps its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_longer_than_any_reply_is_looked_at_all_the_same() {
    let rig = Rig::new();
    let key = rig.key(NAME);
    rig.ask(&["SETRANGE", &key, "68000000", "x"]).await.expect("an answer");
    let session = session(&rig, "lease=60s").await;
    let name = LockName::new(NAME).expect("a name");
    let seen = session.inspect(&name).await.expect("a line-up");
    assert_eq!((seen.holders.len(), seen.waiters.len()), (1, 0));
    rig.ask(&["DEL", &key]).await.expect("an answer");
    assert!(session.inspect(&name).await.expect("a line-up").is_free());
}
