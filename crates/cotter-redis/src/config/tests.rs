use super::*;

#[test]
fn a_url_says_where_and_how() {
    let config = Config::from_url("redis://h/3?lease=2s&prefix=locks%3A&fair=false").expect("good");
    let node = Node { endpoint: Endpoint::Tcp("h".into(), 6379), database: 3, login: None };
    assert_eq!(config.place, Place::Single(node));
    assert_eq!((config.lease, config.prefix.as_str()), (Duration::from_secs(2), "locks:"));
    assert!(!config.is_fair);
    let config = Config::from_url("redis://me:p%40ss@[::1]:7").expect("good");
    let Place::Single(node) = config.place else { panic!("one server") };
    assert_eq!(node.endpoint, Endpoint::Tcp("::1".into(), 7));
    let login = Login { user: Some("me".into()), password: "p@ss".into() };
    assert_eq!(node.login, Some(login));
    let config = Config::from_url("redis://:only@h").expect("good");
    let Place::Single(node) = config.place else { panic!("one server") };
    assert_eq!(node.login, Some(Login { user: None, password: "only".into() }));
    let config = Config::from_url("redis+unix:///run/a%20b.sock?db=2").expect("good");
    let Place::Single(node) = config.place else { panic!("one server") };
    assert_eq!((node.endpoint, node.database), (Endpoint::Unix("/run/a b.sock".into()), 2));
    let config = Config::from_url("redis-sentinel://a,b:1/mymaster?db=1").expect("good");
    let Place::Sentinel { sentinels, primary, database, .. } = config.place else {
        panic!("sentinels")
    };
    assert_eq!((sentinels.len(), primary.as_str(), database), (2, "mymaster", 1));
    assert_eq!(sentinels[0], Endpoint::Tcp("a".into(), 26379));
    let config = Config::from_url("redlock:redis://a,redis://b/1,redis://x:y@c?lease=3s");
    let config = config.expect("good");
    let Place::Redlock(nodes) = config.place else { panic!("several") };
    assert_eq!((nodes.len(), nodes[1].database, nodes[2].login.is_some()), (3, 1, true));
}

#[test]
fn an_address_means_the_same_as_what_it_is_the_address_of() {
    for url in [
        "redis://h",
        "redis://h:1/5?lease=500ms&fair=false&prefix=a%26b",
        "redis://[::1]:2?dialect=redisson&wait-replicas=2&wait-timeout=50ms",
        "redis+unix:///run/redis.sock?db=1",
        "rediss://h?ca=/ca&cert=/c&key=/k&server-name=redis.example&auth-file=/a",
        "redis-sentinel://a,b,c:1/my%20name?db=3&sentinel-auth-file=/s",
        "rediss-cluster://a,b?ca=/ca",
        "redlock:redis://a,redis://b/2,redis://c?lease=1s",
        "redlock:redis+unix:///a,redis+unix:///b,redis+unix:///c",
    ] {
        let config = Config::from_url(url).expect(url);
        assert_eq!(Config::from_url(&config.address()).expect(url), config, "{url}");
    }
}

#[test]
fn what_is_not_understood_is_refused_and_no_secret_is_shown() {
    for bad in [
        "redis:",
        "redis:h",
        "redis://",
        "redis:///0",
        "redis://a,b",
        "redis://a:0",
        "redis://a:x",
        "redis://::1",
        "redis://secret@a",
        "redis://user:secret/x@a",
        "redis://user:%secret@a",
        "redis://a/x",
        "redis://a/-1",
        "redis://a/0?db=0",
        "redis://a?password=secret",
        "redis://u:p?secret@a",
        "redis://u:p?secret&secret@a",
        "redis://u:p?x&secret",
        "redis://a?lease=10",
        "redis://a?lease=1ms",
        "redis://a?lease=99999999999999999999s",
        "redis://a?fair=maybe",
        "redis://a?dialect=other",
        "redis://a?auth-file=x",
        "redis://u:secret@a?auth-file=/x",
        "redis://a?sentinel-auth-file=/x",
        "redis://a?ca=/x",
        "redis://a?wait-timeout=1s",
        "redis://a?wait-replicas=1&wait-timeout=5s",
        "redis://a?wait-replicas=many",
        "rediss://a",
        "rediss://a?ca=/x&cert=/y",
        "redis+unix://relative",
        "redis-sentinel://a",
        "redis-cluster://a/1",
        "redis-cluster://a?db=1",
        "redlock:",
        "redlock:a,b,c",
        "redlock:redis://a",
        "redlock:redis://a,redis://b",
        "redlock:redis://a,redis://b,redis://a",
        "redlock:redis://a,redis://b,rediss://c?ca=/x",
        "redlock:redis://a,redis://b,redis-cluster://c",
        "redlock:redis://a,redis://b,redis://c?fair=false",
    ] {
        let error = Config::from_url(bad).expect_err(bad);
        assert_eq!(error.kind(), Kind::Config, "{bad}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn a_password_is_never_shown() {
    for url in [
        "redis://user:secret@a/1",
        "redis://:secret@a/1",
        "redlock:redis://:secret@a,redis://b,redis://u:secret@c",
        "redis-cluster://u:secret@a",
    ] {
        let config = Config::from_url(url).expect(url);
        assert!(!config.address().contains("secret"));
        assert!(!format!("{config:?}").contains("secret"));
    }
    assert!(parse_login("\n", "x").is_err() && parse_login("user:", "x").is_err());
    let login = parse_login("u:secret:more\n", "x").expect("good");
    assert_eq!((login.user.as_deref(), login.password.as_str()), (Some("u"), "secret:more"));
    assert!(!format!("{login:?}").contains("secret"));
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("auth");
    std::fs::write(&path, "u:secret\n").expect("written");
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
    mode(0o644).expect("its mode");
    let error = read_login(&path).expect_err("refused").to_string();
    assert!(error.contains("chmod 600") && !error.contains("secret"), "{error}");
    mode(0o600).expect("its mode");
    assert_eq!(read_login(&path).expect("good").password, "secret");
}

#[test]
fn another_lease_must_go_with_the_rest() {
    let mut config = Config::from_url("redis://a?wait-replicas=1&wait-timeout=1s").expect("good");
    assert!(config.set_lease(Duration::from_secs(2)).is_err());
    assert_eq!(config.lease, LEASE);
    config.set_lease(Duration::from_secs(4)).expect("four times as long");
    assert_eq!(config.lease, Duration::from_secs(4));
    assert!(config.set_lease(Duration::ZERO).is_err());
}
