//! The floors: what a client on a blocking socket with frames made by hand can reach.
//!
//! * [`Floor`] creates an ephemeral sequential node and deletes it: no lock, but what any lock of
//!   this layout must pay. Many tasks on one session are pipelined. It can list as well, with the
//!   create: that is what a lock must pay that looks who is first.
//! * [`Fair`] is a lock: create and list leave in one write, and whoever is first has it. With one
//!   watch it is the recipe: watch the predecessor, list again when it goes. With two watches a
//!   hand-over is one exchange: the node before the predecessor is watched as well; when that one
//!   goes the waiter lists again, while it is waiting anyway, and once the predecessor is known to
//!   be the first, its going alone is the turn.

use std::collections::VecDeque;

use super::session::Session;
use super::wire::{EPHEMERAL_SEQUENTIAL, NO_NODE, Rest};
use crate::Outcome;
use crate::compare::work::{Hold, Work};
use crate::drive::Driver;
use crate::drive::threads::Blocking;
use crate::measure::now_nanos;

/// The sequence number is the last of a name.
const DIGITS: usize = 10;

#[derive(Debug)]
pub(crate) struct Floor {
    lists: bool,
    open: Option<(Session, Work)>,
}

impl Floor {
    pub(crate) fn new(lists: bool) -> Self {
        Self { lists, open: None }
    }
}

impl Driver for Floor {
    fn open(&mut self, work: &Work) -> Outcome<()> {
        let mut session = Session::open(&work.server)?;
        for name in 0..work.names {
            session.make_path(&format!("{}/{name}", work.path))?;
        }
        self.open = Some((session, work.clone()));
        Ok(())
    }

    /// Every task's next request leaves with all others that are due at that moment.
    fn run(&mut self) -> Outcome<Vec<Hold>> {
        let (session, work) = self.open.as_mut().ok_or("no session is open")?;
        let end = now_nanos() + u64::from(work.millis) * 1_000_000;
        let mut holds = Vec::new();
        let mut unanswered = VecDeque::new();
        let mut own = vec![String::new(); work.tasks as usize];
        let ask = |session: &mut Session, unanswered: &mut VecDeque<_>, task| {
            let (dir, asked) = (format!("{}/{}", work.path, task % work.names), now_nanos());
            session.out.create(&format!("{dir}/raw-"), EPHEMERAL_SEQUENTIAL);
            unanswered.push_back((task, Asked::Create { asked, is_enough: !self.lists }));
            if self.lists {
                session.out.list(&dir);
                unanswered.push_back((task, Asked::List { asked }));
            }
        };
        (0..work.tasks).for_each(|task| ask(session, &mut unanswered, task));
        while let Some((task, what)) = unanswered.pop_front() {
            if !session.has_frame() {
                session.send()?;
            }
            let record = session.answer()?;
            if let Asked::Create { .. } = what {
                own[task as usize] = Rest(&record).string()?;
            }
            match what {
                Asked::Create { is_enough: false, .. } => {}
                Asked::Create { asked, .. } | Asked::List { asked } => {
                    session.out.delete(&own[task as usize]);
                    unanswered.push_back((task, Asked::Delete { asked, acquired: now_nanos() }));
                }
                Asked::Delete { asked, acquired } => {
                    let (releasing, released) = (acquired, now_nanos());
                    holds.push(Hold { task, asked, acquired, releasing, released });
                    if released < end {
                        ask(session, &mut unanswered, task);
                    }
                }
            }
        }
        Ok(holds)
    }

    fn close(&mut self) -> Outcome<()> {
        self.open.take().map_or(Ok(()), |(session, _)| session.close())
    }
}

/// A request that is not answered, and when its create was asked.
enum Asked {
    Create { asked: u64, is_enough: bool },
    List { asked: u64 },
    Delete { asked: u64, acquired: u64 },
}

/// A lock that waits in line with so many watches.
#[derive(Debug)]
pub(crate) struct Fair<const WATCHES: usize>(Session);

impl<const WATCHES: usize> Blocking for Fair<WATCHES> {
    /// The path of the own node.
    type Held = String;

    fn open(work: &Work) -> Outcome<Self> {
        let mut session = Session::open(&work.server)?;
        for name in 0..work.names {
            session.make_path(&format!("{}/{name}", work.path))?;
        }
        Ok(Self(session))
    }

    fn acquire(&mut self, name: &str) -> Outcome<String> {
        acquire(&mut self.0, WATCHES, name)
    }

    fn release(&mut self, _name: &str, own: String) -> Outcome<()> {
        self.0.out.delete(&own);
        self.0.send()?;
        self.0.answer()?;
        Ok(())
    }

    fn close(self) -> Outcome<()> {
        self.0.close()
    }
}

/// Waits in line, and gives the path of the own node once it is the turn.
fn acquire(session: &mut Session, watches: usize, dir: &str) -> Outcome<String> {
    session.gone.clear();
    session.out.create(&format!("{dir}/raw-"), EPHEMERAL_SEQUENTIAL);
    session.out.list(dir);
    session.send()?;
    let own = Rest(&session.answer()?).string()?;
    let mut children = Rest(&session.answer()?).strings()?;
    let mut watched: Vec<String> = Vec::new();
    loop {
        children.sort_by(|a, b| sequence(a).cmp(sequence(b)));
        children.retain(|child| sequence(child) < sequence(&own));
        let count = children.len();
        if count == 0 {
            return Ok(own);
        }
        let near = children[count.saturating_sub(watches)..].iter().rev();
        let near: Vec<String> = near.map(|child| format!("{dir}/{child}")).collect();
        let fresh: Vec<String> =
            near.iter().filter(|path| !watched.contains(path)).cloned().collect();
        for path in &fresh {
            session.out.watch(path);
        }
        session.send()?;
        for path in fresh {
            match session.reply()? {
                (0, _) => watched.push(path),
                (NO_NODE, _) => _ = session.gone.insert(path),
                (code, _) => return Err(format!("a watch failed: {code}").into()),
            }
        }
        while !near.iter().any(|path| session.gone.contains(path)) {
            session.event()?;
        }
        // Its predecessor was known to be the first, and watches were made for that.
        if watches > 1 && count == 1 {
            return Ok(own);
        }
        session.out.list(dir);
        session.send()?;
        children = Rest(&session.answer()?).strings()?;
    }
}

fn sequence(node: &str) -> &str {
    &node[node.len().saturating_sub(DIGITS)..]
}
