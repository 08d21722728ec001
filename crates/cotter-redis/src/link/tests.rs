use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;
use crate::config::{Config, Place};
use crate::route::single;
use crate::testing::{env, server};

#[derive(Default)]
struct Counting {
    heard: AtomicUsize,
    news: Notify,
}

impl Ear for Counting {
    fn heard(&self, _: &[u8], _: &[u8]) {
        self.heard.fetch_add(1, Ordering::SeqCst);
        self.news.notify_one();
    }
}

fn link_to(url: &str, ear: &Arc<Counting>) -> Arc<Link> {
    let config = Config::from_url(url).expect("a URL");
    let Place::Single(node) = &config.place else { panic!("one server") };
    single::link(&env(), &config, node, Arc::clone(ear) as Arc<dyn Ear>).expect("a link")
}

fn link() -> (Arc<Link>, Arc<Counting>) {
    let ear = Arc::new(Counting::default());
    (link_to(&format!("redis://{}", server()), &ear), ear)
}

/// A name that no other test has.
fn fresh(what: &str) -> String {
    format!("cotter-test:{what}:{:016x}", env().random())
}

#[tokio::test]
async fn a_script_is_sent_again_with_its_text_where_it_is_not_known() {
    let (link, _) = link();
    let nonce = fresh("script");
    let script = Script::new(&["return {KEYS[1], tonumber(ARGV[1]) + 1} -- ", &nonce]);
    for _ in 0..2 {
        let answered = link.call(&script, &[b"k"], &[b"41"]).await.expect("an answer");
        let expected = Reply::List(vec![Reply::Text(b"k".to_vec()), Reply::Int(42)]);
        assert_eq!(answered.reply, expected);
    }
    let error = link.command(&[b"NOSUCH"]).await.expect_err("refused");
    assert_eq!(error.code(), Some("ERR"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_go_to_those_who_asked() {
    let (link, _) = link();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let link = Arc::clone(&link);
            env().spawn(async move {
                for round in 0..50 {
                    let word = format!("{task}:{round}:{}", "x".repeat(round * 37));
                    let answered = link.command(&[b"ECHO", word.as_bytes()]).await.expect("echo");
                    assert_eq!(answered.reply.str(), Some(word.as_str()));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("its assertions hold");
    }
}

#[tokio::test]
async fn a_large_answer_comes_whole() {
    let (link, _) = link();
    let large = "y".repeat(3 << 20);
    let answered = link.command(&[b"ECHO", large.as_bytes()]).await.expect("echo");
    assert_eq!(answered.reply.str().map(str::len), Some(large.len()));
}

#[tokio::test]
async fn a_new_connection_hears_what_the_old_one_heard() {
    let (link, ear) = link();
    let channel = fresh("channel");
    link.subscribe(channel.as_bytes()).await.expect("subscribed");
    let mut states = link.states();
    let first = link.wire().await.expect("a connection");
    let id = link.command(&[b"CLIENT", b"ID"]).await.expect("an id").reply.int();
    let (other, _) = self::link();
    let id = id.expect("a number").to_string();
    other.command(&[b"CLIENT", b"KILL", b"ID", id.as_bytes()]).await.expect("killed");
    states.wait_for(|state| *state == State::Down).await.expect("told");
    assert!(matches!(first.command(&[b"PING"]).await, Err(Fault::NotSent(_))));
    let second = link.wire().await.expect("another connection");
    assert_ne!(first.number(), second.number());
    other.command(&[b"PUBLISH", channel.as_bytes(), b"hi"]).await.expect("published");
    while ear.heard.load(Ordering::SeqCst) == 0 {
        ear.news.notified().await;
    }
    link.unsubscribe(channel.as_bytes()).await.expect("unsubscribed");
    let answered = other.command(&[b"PUBLISH", channel.as_bytes(), b"hi"]).await;
    assert_eq!(answered.expect("published").reply, Reply::Int(0));
}

/// A server that greets, and then answers nothing.
async fn silent_server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    env().spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 1024];
            let _ = stream.read(&mut bytes).await;
            let hello = "%3\r\n+version\r\n+7.0.0\r\n+mode\r\n+standalone\r\n+role\r\n+master\r\n";
            let _ = stream.write_all(hello.as_bytes()).await;
            open.push(stream);
        }
    });
    address
}

#[tokio::test]
async fn what_is_not_answered_in_time_is_unknown_and_the_connection_is_replaced() {
    let address = silent_server().await;
    let link = link_to(&format!("redis://{address}?lease=500ms"), &Arc::default());
    let start = env().now();
    let wire = link.wire().await.expect("greeted");
    let (one, two) = tokio::join!(wire.command(&[b"PING"]), wire.command(&[b"PING"]));
    for answer in [one, two] {
        assert!(answer.expect_err("no answer").is_unknown());
    }
    let took = env().now().since(start);
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(2), "{took:?}");
    let next = link.wire().await.expect("greeted again");
    assert_ne!(next.number(), wire.number());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_not_asked_all_the_time() {
    // Nobody listens there any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let link = link_to(&format!("redis://user:secret@{address}"), &Arc::default());
    for _ in 0..3 {
        let Err(Fault::NotSent(error)) = link.command(&[b"PING"]).await else {
            panic!("it was not sent")
        };
        assert_eq!(error.kind(), Kind::Unreachable);
        assert!(error.message().contains(&address.to_string()), "{error}");
        assert!(!format!("{error:?}").contains("secret"));
    }
    assert!(link.dialing.lock().await.in_a_row < 3);
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_not_shown() {
    let link = link_to(&format!("redis://nobody:secret@{}", server()), &Arc::default());
    let Err(fault) = link.wire().await else { panic!("let in") };
    let error = fault.into_error("opening a session");
    assert_eq!(error.kind(), Kind::Denied);
    assert!(!format!("{error:?}").contains("secret") && !error.is_maybe_applied());
}

#[tokio::test]
async fn a_closed_link_dials_no_more() {
    let (link, _) = link();
    let wire = link.wire().await.expect("a connection");
    link.close();
    assert!(wire.is_over());
    let Err(Fault::NotSent(error)) = link.command(&[b"PING"]).await else { panic!("it was sent") };
    assert_eq!(error.kind(), Kind::SessionOver);
}
