//! The examination of real servers that are set up well, and badly.
#![allow(clippy::expect_used, reason = "in tests a failure is the message")]

use cotter_core::LockName;
use cotter_core::env::Env;
use cotter_redis::{Examination, Severity, examine};
use cotter_servers::redis::{Append, Options, Servers, Watched};

const UUID: &str = "8743c9c0-0795-4907-87fd-6c719a6b4586";

fn sound() -> Options {
    Options { append: Append::Always, ..Options::default() }
}

fn start(count: usize, options: &Options) -> Servers {
    Servers::start(count, options).expect("servers")
}

async fn examined(url: &str, lock: Option<&str>) -> Examination {
    let lock = lock.map(|name| LockName::new(name).expect("a name"));
    examine(&Env::system().expect("an environment"), url, lock.as_ref()).await.expect("an answer")
}

fn url(servers: &Servers, options: &str) -> String {
    format!("redis://{}{options}", servers.server(0).address())
}

fn redlock(servers: &Servers) -> String {
    let urls: Vec<_> =
        servers.servers().iter().map(|server| format!("redis://{}", server.address())).collect();
    format!("redlock:{}", urls.join(","))
}

/// What is more than a note.
fn bad(found: &Examination) -> Vec<(Severity, &'static str)> {
    let all = found.findings.iter().map(|finding| (finding.severity, finding.kind));
    all.filter(|finding| finding.0 > Severity::Note).collect()
}

#[tokio::test]
async fn a_sound_server_has_nothing_bad_about_it() {
    let servers = start(1, &sound());
    for options in ["", "?dialect=redisson"] {
        let found = examined(&url(&servers, options), None).await;
        assert_eq!(bad(&found), [], "{found:?}");
        assert!(found.findings.iter().any(|f| f.kind == "server" && f.what.contains("standalone")));
    }
    let found = examined(&url(&servers, ""), Some("a")).await;
    assert!(found.findings.iter().any(|f| f.kind == "free" && f.place == "a"), "{found:?}");
    assert_eq!(found.locks, 1);
}

#[tokio::test]
async fn what_makes_a_server_forget_is_found() {
    let memory_max = Some(("64mb".to_owned(), "allkeys-lru".to_owned()));
    let servers = start(1, &Options { memory_max, ..Options::default() });
    let found = examined(&url(&servers, ""), None).await;
    let expected = [(Severity::Problem, "eviction"), (Severity::Warning, "persistence")];
    assert_eq!(bad(&found), expected, "{found:?}");
}

#[tokio::test]
async fn replicas_that_nobody_waits_for_are_found() {
    let watched = Watched::start(1, &sound()).expect("servers");
    watched.until_replicated().expect("a replica");
    let sentinel = watched.sentinels()[0].address();
    let base = format!("redis-sentinel://{sentinel}/{}", watched.name());
    let found = examined(&base, None).await;
    assert_eq!(bad(&found), [(Severity::Warning, "replicas")], "{found:?}");
    let found = examined(&format!("{base}?wait-replicas=1"), None).await;
    assert_eq!(bad(&found), [], "{found:?}");
    let replica = watched.server(1).address();
    let found = examined(&format!("redis://{replica}"), None).await;
    assert!(bad(&found).contains(&(Severity::Problem, "server")), "{found:?}");
}

#[tokio::test]
async fn redlocks_servers_are_judged_more_strictly_and_together() {
    let servers = start(3, &Options::default());
    let found = examined(&redlock(&servers), None).await;
    assert_eq!(bad(&found), [(Severity::Problem, "persistence"); 3], "{found:?}");
    assert!(found.findings.iter().any(|f| f.kind == "clocks" && f.severity == Severity::Note));
    servers.server(0).kill();
    let found = examined(&redlock(&servers), None).await;
    assert!(bad(&found).contains(&(Severity::Warning, "unreachable")), "{found:?}");
    servers.server(1).kill();
    let found = examined(&redlock(&servers), None).await;
    assert!(bad(&found).contains(&(Severity::Problem, "no-majority")), "{found:?}");
    servers.server(2).kill();
    let env = Env::system().expect("an environment");
    examine(&env, &redlock(&servers), None).await.expect_err("nobody answers");
}

#[tokio::test]
async fn rights_that_are_missing_are_found_and_trying_them_changes_nothing() {
    let lines = [
        "user most on >secret ~locks:* ~cotter:* &cotter:* +@all",
        "user half on >secret ~locks:* ~cotter:* &cotter:* +@all -pexpire -publish",
        "user keys on >secret ~locks:* &cotter:* +@all",
        "user mute on >secret ~locks:* ~cotter:* resetchannels +@all",
    ];
    let lines = lines.map(str::to_owned).to_vec();
    let servers = start(1, &Options { lines, ..sound() });
    let server = servers.server(0);
    server.ask(&["SET", "locks:a", "somebody's", "PX", "60000"]).expect("set");
    let at = |user: &str| format!("redis://{user}:secret@{}?prefix=locks:", server.address());
    let found = examined(&at("most"), Some("a")).await;
    assert_eq!(bad(&found), [], "{found:?}");
    for (user, lacks) in
        [("half", "PEXPIRE "), ("keys", "cotter:"), ("mute", "SUBSCRIBE cotter:wake")]
    {
        let found = examined(&at(user), Some("a")).await;
        assert_eq!(bad(&found), [(Severity::Problem, "no-permission")], "{user}: {found:?}");
        let what = &found.findings[0].what;
        assert!(what.contains(lacks), "{user}: {what}");
        assert!(!what.contains("secret") && !found.findings[0].place.contains("secret"));
    }
    let keys = server.ask(&["KEYS", "*"]).expect("keys");
    assert_eq!(keys.parts().len(), 1, "{keys:?}");
    assert_eq!(server.ask(&["GET", "locks:a"]).expect("it").text(), Some("somebody's"));
}

/// The rules that the advice says are enough.
#[tokio::test]
async fn the_rules_that_are_advised_are_enough() {
    let servers = start(1, &sound());
    let server = servers.server(0);
    server.ask(&["ACL", "SETUSER", "u", "on", ">secret"]).expect("a user");
    for dialect in ["own", "redisson"] {
        server.ask(&["ACL", "SETUSER", "u", "resetkeys", "resetchannels", "-@all"]).expect("reset");
        let url = format!("redis://u:secret@{}?prefix=locks:&dialect={dialect}", server.address());
        server.ask(&["ACL", "SETUSER", "u", "+hello"]).expect("a user");
        let found = examined(&url, Some("a")).await;
        assert_eq!(bad(&found), [(Severity::Problem, "no-permission")], "{dialect}: {found:?}");
        let (_, rules) = found.findings[0].advice.split_once(": ").expect("rules");
        let words = ["ACL", "SETUSER", "u"].into_iter().chain(rules.split(' '));
        server.ask(&words.collect::<Vec<_>>()).expect("good rules");
        let found = examined(&url, Some("a")).await;
        assert_eq!(bad(&found), [], "{dialect}: {found:?}");
        // And locks are had by them, in every way.
        let cotter = cotter::Cotter::connect(&url).await.expect("a session");
        let pair = cotter.rw_lock("a");
        let readers = (pair.read().await.expect("one"), pair.read().await.expect("two"));
        readers.0.release().await.expect("an answer");
        let waits = pair.write();
        let (written, left) = tokio::join!(waits.into_future(), readers.1.release());
        left.expect("an answer");
        written.expect("its turn").release().await.expect("an answer");
        assert_eq!(cotter.names("").await.expect("an answer"), []);
        let held = cotter.lock("a").acquire().await.expect("its turn");
        let evicted = cotter.lock("a").evict(held.token(), "by hand").await.expect("an answer");
        assert_eq!(evicted, cotter::Evicted::Done);
    }
}

#[tokio::test]
async fn an_open_server_on_loopback_is_not_complained_of() {
    let servers = start(1, &sound());
    servers.server(0).ask(&["CONFIG", "SET", "protected-mode", "no"]).expect("set");
    let found = examined(&url(&servers, ""), None).await;
    assert_eq!(bad(&found), [], "{found:?}");
}

#[tokio::test]
async fn what_stands_at_locks_is_told_by_its_dialect() {
    let servers = start(1, &sound());
    let server = servers.server(0);
    let owner = format!("{UUID}:23");
    let (write, set) = (format!("{UUID}:7:write"), |words: &[&str]| {
        server.ask(words).expect("written");
    });
    set(&["SET", "foreign", "0123", "PX", "60000"]);
    set(&["SET", "immortal", "0123"]);
    set(&["HSET", "java", &owner, "1"]);
    set(&["PEXPIRE", "java", "60000"]);
    set(&["HSET", "both", &owner, "1", "mode", "write", &write, "1"]);
    set(&["PEXPIRE", "both", "60000"]);
    set(&["RPUSH", "list", "x"]);
    set(&["HSET", "fair", &owner, "1"]);
    set(&["PEXPIRE", "fair", "60000"]);
    set(&["RPUSH", "redisson_lock_queue:{fair}", "x"]);

    use Severity::{Problem, Warning};
    for (lock, options, expected) in [
        ("foreign", "", None),
        ("immortal", "", Some((Problem, "immortal"))),
        ("java", "", Some((Problem, "other-dialect"))),
        ("list", "", Some((Problem, "wrong-type"))),
        ("java", "?dialect=redisson", None),
        ("foreign", "?dialect=redisson", Some((Problem, "other-dialect"))),
        ("both", "?dialect=redisson", Some((Problem, "mixed-clients"))),
        ("fair", "?dialect=redisson", Some((Warning, "fair-line"))),
    ] {
        let found = examined(&url(&servers, options), Some(lock)).await;
        assert_eq!(bad(&found), Vec::from_iter(expected), "{lock} {options}: {found:?}");
    }
    // Without a name only what says itself that it is a lock is looked at.
    let found = examined(&url(&servers, "?dialect=redisson"), None).await;
    assert_eq!(found.locks, 3, "{found:?}");
}
