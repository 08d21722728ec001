//! The tree keeps the rules, and every rule has been seen to fail.

use super::*;

fn rules(path: &str, text: &str) -> Vec<&'static str> {
    check_file(path, text, &mut Allowed::default()).iter().map(|found| found.rule).collect()
}

/// Lines that are all right, as often as it takes.
fn filler(lines: usize) -> String {
    "    a();\n".repeat(lines)
}

#[test]
fn the_tree_keeps_the_rules() {
    let violations = check_tree(&crate::root()).expect("the tree can be read");
    let listed: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(listed.is_empty(), "\n{}", listed.join("\n"));
}

#[test]
fn lines_functions_and_files_have_a_length() {
    let path = "crates/cotter/src/a.rs";
    assert_eq!(rules(path, &"x".repeat(101)), ["columns"]);
    assert_eq!(rules(path, &"é".repeat(100)), [""; 0]);
    assert_eq!(rules(path, &format!("// https://{}", "x".repeat(101))), [""; 0]);

    let long = format!("fn f() {{\n{}}}\n", filler(69));
    assert_eq!(rules(path, &long), ["function-length"]);
    assert_eq!(rules(path, &format!("fn f() {{\n{}}}\n", filler(68))), [""; 0]);
    assert_eq!(rules(path, &format!("#[cfg(test)]\nmod t {{\n{long}}}\n")), [""; 0]);

    assert_eq!(rules(path, &"a();\n".repeat(501)), ["file-length"]);
    let tail = format!("{}#[cfg(test)]\nmod t {{\n{}}}\n", "a();\n".repeat(500), filler(100));
    assert_eq!(rules(path, &tail), [""; 0]);
    assert_eq!(rules("crates/cotter/tests/a.rs", &"a();\n".repeat(501)), ["file-length"]);
}

#[test]
fn an_exception_has_a_limit_a_reason_and_an_end() {
    let path = "crates/cotter/src/a.rs";
    let long = format!("fn f() {{\n{}}}\n", filler(70));
    let check = |list: &str| {
        let mut allowed = Allowed::parse("list", list);
        let mut found = check_file(path, &long, &mut allowed);
        found.extend(allowed.unused("list"));
        found.iter().map(|found| found.rule).collect::<Vec<_>>()
    };
    assert_eq!(check("# nothing\n"), ["function-length"]);
    assert_eq!(check("crates/cotter/src/a.rs::f 72 a table"), [""; 0]);
    assert_eq!(check("crates/cotter/src/a.rs::f 71 a table"), ["function-length"]);
    assert_eq!(check("crates/cotter/src/a.rs::f 72"), ["function-length", "allowed"]);
    assert_eq!(check("crates/cotter/src/a.rs::g 72 gone"), ["function-length", "allowed"]);
}

#[test]
fn an_unwrap_has_a_reason() {
    let path = "crates/cotter/src/a.rs";
    for bad in [
        "fn f() { x.unwrap(); }",
        "fn f() {\n    x\n        .expect(\"y\");\n}",
        "/// Documentation is no reason.\nfn f() { x.unwrap(); }",
    ] {
        assert_eq!(rules(path, bad), ["unwrap"], "{bad}");
    }
    for good in [
        "// It holds because it was just put there.\nlet y = x.unwrap();",
        "// The digits are ours.\nlet y = x\n    .parse()\n    .expect(\"digits\");",
        "fn f() { x.unwrap_or_default(); \".unwrap()\"; }",
        "#[cfg(test)]\nmod tests { fn f() { x.unwrap(); } }",
    ] {
        assert_eq!(rules(path, good), [""; 0], "{good}");
    }
    assert_eq!(rules("crates/cotter/tests/a.rs", "fn f() { x.unwrap(); }"), [""; 0]);
}

#[test]
fn nothing_is_left_unfinished_or_asleep() {
    let path = "crates/cotter/src/a.rs";
    assert_eq!(rules(path, "fn f() { todo!() }"), ["unfinished"]);
    assert_eq!(rules(path, "fn f() { unimplemented!() }"), ["unfinished"]);
    assert_eq!(rules(path, "fn f() { \"todo!\" } // todo!"), [""; 0]);
    assert_eq!(rules(path, "// TODO: later"), ["todo"]);
    assert_eq!(rules(path, "a(); // FIXME"), ["todo"]);
    assert_eq!(rules(path, "// TODO(#12): later"), [""; 0]);
    assert_eq!(rules(path, "#[test]\n#[ignore = \"slow\"]\nfn f() {}"), ["ignored-test"]);
    let tests = "crates/cotter/tests/a.rs";
    assert_eq!(rules(tests, "fn f() { thread::sleep(SECOND); }"), ["sleeping-test"]);
    assert_eq!(rules(tests, "fn f() { env.sleep_until(at); }"), [""; 0]);
    assert_eq!(rules(tests, "    () = env.sleep(LIMIT) => panic!(\"hangs\"),"), [""; 0]);
    let reason = "// Then the line is looked at again.\nenv.sleep(LOOK_AGAIN).await;";
    assert_eq!(rules(tests, reason), [""; 0]);
    assert_eq!(rules(path, "fn f() { env.sleep(SECOND); }"), [""; 0]);
}

#[test]
fn no_path_of_a_machine_is_written() {
    for path in ["README.md", "crates/cotter/src/a.rs", ".ci/run", "deny.toml"] {
        assert_eq!(rules(path, concat!("// see /ho", "me/me/notes")), ["machine-path"]);
        assert_eq!(rules(path, concat!("// frame/wo", "rk/x")), [""; 0]);
    }
}

#[test]
fn a_public_async_function_says_what_dropping_it_does() {
    let path = "crates/cotter/src/a.rs";
    assert_eq!(rules(path, "/// Waits.\npub async fn f() {}"), ["cancel-safety"]);
    let good = "/// Waits.\n///\n/// # Cancel safety\n/// Drop it.\n#[inline]\npub async fn f() {}";
    assert_eq!(rules(path, good), [""; 0]);
    let bad = format!("{good}\npub async fn g() {{}}");
    assert_eq!(rules(path, &bad), ["cancel-safety"]);
    assert_eq!(rules("crates/cotter-cli/src/a.rs", "pub async fn f() {}"), [""; 0]);
    assert_eq!(rules(path, "pub(crate) async fn f() {}"), [""; 0]);
}

#[test]
fn crates_depend_in_one_direction() {
    let manifest = |name: &str, section: &str, dependency: &str| {
        let text =
            format!("[package]\nname = \"{name}\"\n[{section}]\n{dependency}.workspace = true");
        rules(&format!("crates/{name}/Cargo.toml"), &text)
    };
    let bad = [
        ("cotter-core", "cotter-fence"),
        ("cotter-core", "cotter-local"),
        ("cotter-fence", "cotter-local"),
        ("cotter-fence", "cotter"),
        ("cotter-local", "cotter-fence"),
        ("cotter-redis", "cotter-local"),
        ("cotter-redis", "cotter"),
        ("cotter-redis", "cotter-zk"),
        ("cotter-zk", "cotter-zookeeper"),
        ("cotter-servers", "cotter-core"),
        ("cotter-cli", "cotter-core"),
    ];
    for (name, dependency) in bad {
        assert_eq!(manifest(name, "dependencies", dependency), ["crate-direction"], "{name}");
        assert_eq!(manifest(name, "build-dependencies", dependency), ["crate-direction"], "{name}");
        assert_eq!(manifest(name, "dev-dependencies", dependency), [""; 0], "{name}");
    }
    for (name, dependency) in [
        ("cotter-local", "cotter-core"),
        ("cotter-zookeeper", "cotter-zk"),
        ("cotter", "cotter-local"),
        ("cotter-cli", "cotter"),
    ] {
        assert_eq!(manifest(name, "dependencies", dependency), [""; 0], "{name}");
    }
    let tool = "[dependencies]\ncotter = { workspace = true }";
    assert_eq!(rules("xtask/Cargo.toml", tool), ["crate-direction"]);
    assert_eq!(rules("crates/cotter-a/Cargo.toml", "name = \"cotter-b\""), ["crate-name"]);
}

#[test]
fn modules_of_the_core_depend_in_one_direction() {
    let core = |module: &str, text: &str| rules(&format!("crates/cotter-core/src/{module}"), text);
    for (module, bad) in [
        ("contract/claim.rs", "use crate::engine::Hold;"),
        ("contract/mod.rs", "fn f() { crate::front::connect(); }"),
        ("env.rs", "use crate::{\n    contract::ClaimId,\n    layer::{self, breaker},\n};"),
        ("layer/metered.rs", "use crate::engine;"),
        ("engine/keeper.rs", "use crate::{contract::Claim, front::Lock};"),
    ] {
        assert_eq!(core(module, bad), ["module-direction"], "{module}: {bad}");
    }
    for (module, good) in [
        ("contract/claim.rs", "use crate::env::Moment;\nuse crate::error::Error;"),
        ("contract/claim.rs", "/// See [`crate::front`].\nstruct A;"),
        ("engine/keeper.rs", "use crate::{contract::{self, Claim}, env::Env};"),
        ("front/lock.rs", "use crate::{engine::Hold, layer::breaker};"),
        ("lib.rs", "pub use crate::front::Lock;"),
        ("env.rs", "#[cfg(test)]\nmod tests { use crate::front::Lock; }"),
    ] {
        assert_eq!(core(module, good), [""; 0], "{module}: {good}");
    }
}

#[test]
fn the_core_names_no_store() {
    let path = "crates/cotter-core/src/error.rs";
    assert_eq!(rules(path, "fn redis_url() {}"), ["core-names-no-store"]);
    assert_eq!(rules(path, "const A: &str = \"is ZooKeeper there?\";"), ["core-names-no-store"]);
    assert_eq!(rules(path, "// As in ZooKeeper.\n/// And in etcd.\nfn f() {}"), [""; 0]);
    assert_eq!(rules("crates/cotter/src/connect.rs", "fn redis_url() {}"), [""; 0]);
}

#[test]
fn stores_use_what_is_for_stores() {
    let path = "crates/cotter-redis/src/session.rs";
    for bad in [
        "use cotter_core::engine::Hold;",
        "use cotter_core::{Error, layer::{Breaker, Traced}};",
        "fn f() -> cotter_core::front::Lock {}",
    ] {
        assert_eq!(rules(path, bad), ["store-uses"], "{bad}");
    }
    let good = "use cotter_core::contract::{Claim, Session};\nuse cotter_core::{Error, env::Env};";
    assert_eq!(rules(path, good), [""; 0]);
    let test = "#[cfg(test)]\nmod tests { use cotter_core::front::Cotter; }";
    assert_eq!(rules(path, test), [""; 0]);
}

#[test]
fn a_store_has_a_readme_with_all_its_sections() {
    let readme = "crates/cotter-redis/README.md";
    let paths = |list: &[&str]| list.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let missing = stores::check(&paths(&["crates/cotter-redis/src/lib.rs"]));
    assert_eq!(missing.first().map(|found| found.path.as_str()), Some(readme));
    assert!(stores::check(&paths(&["crates/cotter-redis/src/lib.rs", readme])).is_empty());
    assert!(stores::check(&paths(&["crates/cotter-fence/src/lib.rs"])).is_empty());

    let good = "# x\n## Promise\n## Layout on the wire\n## Trips\n## Configuration\n\
                ## What it cannot do\n";
    assert_eq!(rules(readme, good), [""; 0]);
    assert_eq!(rules(readme, &good.replace("## Trips\n", "")), ["store-readme"]);
    assert_eq!(rules("README.md", "# cotter"), [""; 0]);
}
