//! The mutex in the page: who gets it, who does not, and who is woken.

use std::fs::File;
use std::sync::mpsc::channel;

use cotter_core::contract::Bearer;

use super::*;
use crate::config::Config;
use crate::files::Root;
use crate::line::format::NEW_FILE_LEN;
use crate::map::Mapped;
use crate::sessions::Sessions;

/// Longer than anything here takes on a busy machine. Nothing waits for it to pass.
const LONG: Duration = Duration::from_secs(30);

fn mapped(dir: &tempfile::TempDir) -> Mapped {
    let path = dir.path().join("page");
    std::fs::write(&path, [0; NEW_FILE_LEN]).expect("room");
    let file = File::options().read(true).write(true).open(&path).expect("it is there");
    Mapped::of(&file).expect("mapped")
}

fn owner(id: u64) -> Owner {
    Owner::new(SessionRef { seat: 7, id })
}

#[test]
fn a_file_that_is_too_short_is_not_mapped() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("page");
    std::fs::write(&path, [0; NEW_FILE_LEN - 1]).expect("room");
    let file = File::options().read(true).write(true).open(&path).expect("it is there");
    assert!(Mapped::of(&file).is_err(), "to touch it would kill");
}

#[test]
fn an_owner_is_a_seat_and_most_of_an_id() {
    let last = SessionRef { seat: 16_383, id: u64::MAX };
    let named = Owner::new(last).session().expect("a session");
    assert_eq!((named.seat, named.id), (last.seat, short_id(last.id)));
    assert_eq!(Owner::new(last).0 & IS_WAITED_FOR, 0);
    assert!(Owner(0).session().is_none());
}

#[test]
fn a_living_owner_keeps_the_mutex_and_a_dead_one_does_not() {
    let dir = tempfile::tempdir().expect("dir");
    let page = mapped(&dir);
    assert!(page.try_lock(owner(1), |_| true).is_ok());
    let asked = |who: Owner| who == owner(1);
    let taken = page.try_lock(owner(2), asked).expect_err("it lives");
    // Somebody waits by now, which says nothing about who owns it.
    page.rest(&taken, Duration::ZERO);
    assert!(page.try_lock(owner(2), asked).is_err());
    assert!(page.try_lock(owner(2), |_| false).is_ok());
    assert!(page.try_lock(owner(3), |who| who == owner(2)).is_err());
    page.unlock();
    assert!(page.try_lock(owner(3), |_| true).is_ok());
}

#[test]
fn who_waits_is_woken_also_if_the_mutex_was_taken_over_meanwhile() {
    let dir = tempfile::tempdir().expect("dir");
    let page = mapped(&dir);
    assert!(page.try_lock(owner(1), |_| true).is_ok());
    std::thread::scope(|scope| {
        let (woken, is_woken) = channel();
        let page = &page;
        scope.spawn(move || {
            let taken = page.try_lock(owner(2), |_| true).expect_err("taken");
            page.rest(&taken, 2 * LONG);
            // Too late, nobody listens any more.
            let _ = woken.send(());
        });
        while page.mutex.load(Relaxed) & IS_WAITED_FOR == 0 {
            std::thread::yield_now();
        }
        assert!(page.try_lock(owner(3), |_| false).is_ok(), "from the dead");
        page.unlock();
        is_woken.recv_timeout(LONG).expect("woken");
    });
}

#[test]
fn a_header_and_a_mark_are_read_as_they_were_written() {
    let dir = tempfile::tempdir().expect("dir");
    let page = mapped(&dir);
    for round in 1..5u8 {
        page.write_header(&[round; HEADER_LEN]);
        assert_eq!((page.header()[63], page.header_before()[63]), (round, round - 1));
    }
    assert!(page.write(SLOTS_AT, &[9; 70]) && page.write_mark(SLOTS_AT + 52, [1, 2, 3, 4]));
    let mut read = [0; 72];
    assert!(page.read(SLOTS_AT, &mut read));
    assert_eq!(read[50..58], [9, 9, 1, 2, 3, 4, 9, 9]);
    assert_eq!(read[68..], [9, 9, 0, 0]);
    let end = SLOTS_AT + u64::from(SLOTS) * SLOT_LEN as u64;
    assert!(!page.write(end, &[1]) && !page.read(end - 512, &mut [0; 513]));
    assert!(page.slot(SLOTS).is_none());
}

/// Who may be inside a line is another question than who has a seat.
#[test]
fn a_body_outlasts_its_seat_and_a_seat_taken_anew_is_another_owner() {
    let dir = tempfile::tempdir().expect("dir");
    let root = Root::open(&Config::at(dir.path().to_owned())).expect("root");
    let sessions = Sessions::open(&root).expect("table");
    let watcher = Sessions::open(&root).expect("table");
    let first = sessions.sit(&root, 1 << 60 | 5, &Bearer::default()).expect("seat").me;
    let inside = Owner::new(first).session().expect("a session");
    assert!(watcher.may_be_inside(inside) && sessions.may_be_inside(inside));
    sessions.leave(first);
    assert!(watcher.may_be_inside(inside), "another thread of it may not be out yet");
    let beside = watcher.sit(&root, 6, &Bearer::default()).expect("seat").me;
    assert_ne!(beside.seat, first.seat, "its body still sits there");
    drop(sessions);
    assert!(!watcher.may_be_inside(inside));
    let later = Sessions::open(&root).expect("table");
    let again = later.sit(&root, 7, &Bearer::default()).expect("seat").me;
    assert_eq!(again.seat, first.seat);
    assert!(!watcher.may_be_inside(inside), "it is another that sits there now");
    assert!(watcher.may_be_inside(Owner::new(again).session().expect("a session")));
}
