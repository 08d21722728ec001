//! A run inside of a run.

use crate::support::{World, wait_until};

#[test]
fn the_same_lock_is_entered_again_under_the_same_token() {
    let world = World::new();
    let line = "echo $COTTER_TOKEN $COTTER_HOLDER; \
                \"$COTTER\" run -w 10 a -- sh -c 'echo $COTTER_TOKEN $COTTER_HOLDER; exit 3'";
    let (code, out, error) = world.ends(&["run", "a", "-c", line]);
    assert_eq!((code, error.as_str()), (3, ""));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert_eq!(lines[0], lines[1]);
    assert!(world.is_free("a"));
}

#[test]
fn deeper_and_with_other_locks_between() {
    let world = World::new();
    let line = "\"$COTTER\" run -n b -- \"$COTTER\" run -n a -- \"$COTTER\" run -n c b a -- \
                sh -c '\"$COTTER\" ls; echo $COTTER_LOCK'";
    let (code, out, error) = world.ends(&["run", "a", "-c", line]);
    assert_eq!((code, error.as_str()), (0, ""));
    let held: Vec<&str> = out.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(held, ["a", "b", "c", "c"], "{out}");
}

#[test]
fn reading_under_a_write_is_fine_and_writing_under_a_read_is_refused() {
    let world = World::new();
    let inside = |flags: &str| format!("\"$COTTER\" run -w 10 {flags} a -- echo in");
    assert_eq!(world.ends(&["run", "a", "-c", &inside("-s")]).1, "in\n");
    assert_eq!(world.ends(&["run", "-s", "a", "-c", &inside("-s")]).1, "in\n");
    let (code, out, error) = world.ends(&["run", "-s", "a", "-c", &inside("")]);
    assert_eq!((code, out.as_str()), (78, ""));
    assert!(error.contains("wait for itself for ever"), "{error}");
}

#[test]
fn another_number_of_slots_inside_is_refused() {
    let world = World::new();
    let inside = |slots: u32| format!("\"$COTTER\" run -w 10 --slots {slots} a -- echo in");
    assert_eq!(world.ends(&["run", "--slots", "2", "a", "-c", &inside(2)]).1, "in\n");
    let (code, out, error) = world.ends(&["run", "--slots", "2", "a", "-c", &inside(3)]);
    assert_eq!((code, out.as_str()), (78, ""));
    assert!(error.contains("must say the same number"), "{error}");
}

#[test]
fn a_forged_entry_is_a_normal_claim() {
    let world = World::new();
    let holder = world.hold(&[], "a");
    let claim = world.queue("a")["holders"][0]["claim"].as_str().expect("one").to_owned();
    let token: u64 = world.token("a").parse().expect("a number");
    let entry = |claim: &str, token: u64| {
        let store = world.url();
        format!(
            "[{{\"store\":\"{store}\",\"lock\":\"a\",\"token\":{token},\"claim\":\"{claim}\",\
             \"mode\":\"exclusive\"}}]"
        )
    };
    let enters = |held: &str| {
        let mut command = world.cotter(&["run", "-q", "-n", "a", "--", "true"]);
        command.env("COTTER_HELD", held).status().expect("it runs").code()
    };
    assert_eq!(enters(&entry(&claim, token)), Some(0), "that is the one that stands");
    assert_eq!(enters(&entry(&claim, token + 1)), Some(75));
    assert_eq!(enters(&entry(&"0".repeat(32), token)), Some(75));
    assert_eq!(enters("[{}]"), Some(75));
    assert_eq!(enters("nonsense"), Some(75));
    let stale = entry(&claim, token);
    assert_eq!(holder.ends().0, 0);
    let _other = world.hold(&[], "a");
    assert_eq!(enters(&stale), Some(75), "it stands no more");
}

#[test]
fn an_outer_run_that_loses_its_lock_stops_the_inner_command() {
    let world = World::new();
    let line = "\"$COTTER\" run -q b -- sh -c 'trap \"echo asked > trace; exit\" TERM; : > ready; \
                while :; do read x; done'";
    let run = world.start(&["-q"], "a", line);
    wait_until("the inner command runs", || world.exists("ready"));
    let token = world.token("a");
    assert_eq!(world.ends(&["evict", "a", "--expect-token", &token]).0, 0);
    assert_eq!(run.result().0, 76);
    assert_eq!(world.read("trace"), "asked\n");
    assert!(world.is_free("a") && world.is_free("b"));
}
