//! What is done through both clients, and what is seen of it, in words that are neither client's.
//!
//! Paths are relative to a root, and numbers that differ between two roots on one server, such as
//! those of transactions and times, are left out or said by what they are equal to.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// A kind of node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Persistent,
    PersistentSequential,
    Ephemeral,
    EphemeralSequential,
    Container,
    Ttl,
    SequentialTtl,
}

/// Long enough that nothing is removed while a test looks.
pub(crate) const TTL: Duration = Duration::from_secs(3600);

/// Who may do what with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    Open,
    /// Everybody may read, nobody anything else.
    ReadOnly,
    /// What the creator may do everybody else may not. Both clients are the same user.
    Creator,
    /// Nobody may do anything but change the rights, and that only the user.
    AdminOnly,
    /// No line at all, which is wrong.
    None,
    /// A scheme that there is not.
    Unknown,
}

/// One request, at paths below a root.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create { path: String, data: Vec<u8>, kind: Kind, rights: Rights },
    Delete { path: String, version: Option<i32> },
    Set { path: String, data: Vec<u8>, version: Option<i32> },
    Data { path: String },
    Exists { path: String },
    Children { path: String },
    Acl { path: String },
    SetAcl { path: String, rights: Rights, version: Option<i32> },
    Check { path: String, version: Option<i32> },
    Multi(Vec<Step>),
    Sync { path: String },
}

/// What a `Stat` says, as far as it is the same below two roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) version: i32,
    pub(crate) cversion: i32,
    pub(crate) aversion: i32,
    pub(crate) data_length: i32,
    pub(crate) num_children: i32,
    /// Whether it is owned by the session that works below this root; otherwise the owner.
    pub(crate) owner: Result<(), i64>,
    /// Whether data or children were never changed.
    pub(crate) is_unchanged: (bool, bool),
    pub(crate) are_times_so: bool,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Created(String, Option<Seen>),
    Stat(Seen),
    Missing,
    Data(Vec<u8>, Seen),
    Children(Vec<String>, Seen),
    Acl(Vec<(i32, String, String)>, Seen),
    Multi(Vec<Outcome>),
    Refused(i32),
    MultiRefused(usize, i32),
    /// It was not sent, because it is wrong.
    Invalid,
    /// What should not come: it is never equal to anything.
    Other(String),
}

/// Paths that meet: few names, three levels, and those that sequential nodes get.
fn path() -> impl Strategy<Value = String> {
    let name = || select(vec!["a", "b", "c-0000000000", "c-0000000001", "0000000000", "é ü"]);
    prop_oneof![
        8 => name().prop_map(|one| format!("/{one}")),
        6 => (name(), name()).prop_map(|(one, two)| format!("/{one}/{two}")),
        2 => (name(), name(), name()).prop_map(|(one, two, three)| format!("/{one}/{two}/{three}")),
        // The root itself, and paths that are none. Of the latter this client refuses more kinds
        // than the other, and those the server would refuse.
        1 => select(vec!["", "/a/", "//a"]).prop_map(str::to_owned),
    ]
}

fn sequential_path() -> impl Strategy<Value = String> {
    let place = prop_oneof![Just(String::new()), path()];
    (place, select(vec!["/c-", "/"])).prop_map(|(place, name)| format!("{place}{name}"))
}

fn version() -> impl Strategy<Value = Option<i32>> {
    prop_oneof![3 => Just(None), 2 => option::of(0..3), 1 => Just(Some(i32::MAX))]
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..20), Just(vec![3; 5000])]
}

fn rights() -> impl Strategy<Value = Rights> {
    prop_oneof![
        20 => Just(Rights::Open),
        4 => Just(Rights::Creator),
        2 => Just(Rights::ReadOnly),
        1 => Just(Rights::AdminOnly),
        1 => Just(Rights::None),
        1 => Just(Rights::Unknown),
    ]
}

fn create(kinds: Vec<Kind>) -> impl Strategy<Value = Step> {
    let is_sequential = |kind: Kind| {
        matches!(kind, Kind::PersistentSequential | Kind::EphemeralSequential | Kind::SequentialTtl)
    };
    (select(kinds), path(), sequential_path(), data(), rights()).prop_map(
        move |(kind, path, sequential, data, rights)| {
            let path = if is_sequential(kind) { sequential } else { path };
            Step::Create { path, data, kind, rights }
        },
    )
}

fn write(kinds: Vec<Kind>) -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => create(kinds),
        3 => (path(), version()).prop_map(|(path, version)| Step::Delete { path, version }),
        3 => (path(), data(), version())
            .prop_map(|(path, data, version)| Step::Set { path, data, version }),
        1 => (path(), version()).prop_map(|(path, version)| Step::Check { path, version }),
    ]
}

/// A list of no rights at all is refused by the public client itself, before it looks at the path
/// or at what else is in a multi. So it does not come together with those.
fn with_a_line(mut step: Step) -> Step {
    if let Step::Create { rights, .. } | Step::SetAcl { rights, .. } = &mut step
        && *rights == Rights::None
    {
        *rights = Rights::Unknown;
    }
    step
}

fn with_a_line_if_misplaced(step: Step) -> Step {
    match &step {
        Step::Create { path, .. } | Step::SetAcl { path, .. }
            if path.contains("//") || path.ends_with('/') =>
        {
            with_a_line(step)
        }
        _ => step,
    }
}

/// One step. In a multi there are no containers and no times to live: the public client does not
/// know the answer to those.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let plain = vec![
        Kind::Persistent,
        Kind::PersistentSequential,
        Kind::Ephemeral,
        Kind::EphemeralSequential,
    ];
    let all = [&plain[..], &[Kind::Container, Kind::Ttl, Kind::SequentialTtl]].concat();
    let step = prop_oneof![
        12 => write(all),
        2 => path().prop_map(|path| Step::Data { path }),
        2 => path().prop_map(|path| Step::Exists { path }),
        2 => path().prop_map(|path| Step::Children { path }),
        1 => path().prop_map(|path| Step::Acl { path }),
        2 => (path(), rights(), version())
            .prop_map(|(path, rights, version)| Step::SetAcl { path, rights, version }),
        4 => vec(write(plain).prop_map(with_a_line), 1..5).prop_map(Step::Multi),
        1 => path().prop_map(|path| Step::Sync { path }),
    ];
    step.prop_map(with_a_line_if_misplaced)
}
