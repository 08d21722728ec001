//! Names: hostile ones are refused or kept as they are, and no two of them meet.

use cotter_core::Kind;

use crate::ground::Ground;

pub(super) async fn what_is_no_name_is_refused(ground: Ground) {
    let client = ground.client().await;
    for name in ["", "a\0b", "two\nlines", "\u{1b}[2J", &"x".repeat(4096)] {
        let error = client.lock(name).acquire().await.expect_err("it is no name");
        assert_eq!(error.kind(), Kind::BadName, "{name:?}");
    }
}

pub(super) async fn the_longest_name_is_held_and_no_longer_one(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let longest = "x".repeat(ground.profile().name_len_max);
    let guard = one.lock(&longest).acquire().await.expect("the profile promises it");
    assert!(two.lock(&longest).try_acquire().await.expect("an answer").is_none());
    assert_eq!(two.names("xx").await.expect("names"), [guard.name().clone()]);
    let error = one.lock(format!("{longest}x")).acquire().await.expect_err("it is too long");
    assert_eq!(error.kind(), Kind::BadName);
}

/// Holds all of them at once, through two clients: each is a lock of its own.
async fn are_all_different(ground: &Ground, names: &[String]) {
    let (one, two) = (ground.client().await, ground.client().await);
    let mut guards = Vec::new();
    for name in names {
        let held = one.lock(name).try_acquire().await.expect("a name");
        guards.push(held.unwrap_or_else(|| panic!("{name:?} met another")));
    }
    for name in names {
        assert!(two.lock(name).try_acquire().await.expect("an answer").is_none(), "{name:?}");
        let seen = two.lock(name).line_up().await.expect("a line-up");
        assert_eq!(seen.name.as_str(), name);
    }
    for guard in guards {
        guard.release().await.expect("released");
    }
    for name in names {
        ground.free(&two.lock(name)).await;
    }
}

pub(super) async fn names_that_look_like_paths_are_only_names(ground: Ground) {
    let names = [
        "a",
        "a/b",
        "a/b/",
        "/a",
        "/",
        "//",
        ".",
        "..",
        "../a",
        "../../etc/passwd",
        "a b",
        " ",
        "~",
        "*",
        "%2e",
        "%",
        "-rf",
        "a:b",
        "a\\b",
        "a\"b",
        "a'b",
        "$(a)",
        "{a}",
        "\u{202e}a",
    ];
    are_all_different(&ground, &names.map(str::to_owned)).await;
}

pub(super) async fn names_differ_by_case_and_by_their_last_byte(ground: Ground) {
    let long = "p".repeat(ground.profile().name_len_max - 1);
    let names = ["n".into(), "N".into(), "ß".into(), "ss".into(), "SS".into()];
    let long = ["a", "b", ""].map(|last| format!("{long}{last}"));
    are_all_different(&ground, &[names.as_slice(), &long].concat()).await;
}

pub(super) async fn two_normal_forms_are_one_lock(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let _guard = one.lock("caf\u{e9}").acquire().await.expect("it is free");
    let tried = two.lock("caf\u{65}\u{301}").try_acquire().await.expect("an answer");
    assert!(tried.is_none(), "it looks the same and must be the same");
}

pub(super) async fn names_in_use_are_listed(ground: Ground) {
    let client = ground.client().await;
    let mut guards = Vec::new();
    for name in ["b/2", "a/1", "b/1", "c"] {
        guards.push(client.lock(name).acquire().await.expect("it is free"));
    }
    client.lock("b/3").acquire().await.expect("it is free").release().await.expect("released");
    let listed = async |prefix: &str| -> Vec<String> {
        let names = client.names(prefix).await.expect("names");
        names.iter().map(|name| name.as_str().to_owned()).collect()
    };
    assert_eq!(listed("b/").await, ["b/1", "b/2"]);
    assert_eq!(listed("").await, ["a/1", "b/1", "b/2", "c"]);
    drop(guards);
    ground.eventually("no name is in use", async || listed("").await.is_empty()).await;
}
