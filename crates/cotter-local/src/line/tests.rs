//! The line against a plain list, with random steps, deaths and crashes between two writes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use cotter_core::queue::admitted;
use proptest::prelude::*;

use super::format::HeaderRead;
use super::*;

/// A file in memory that stops taking writes when its time has come.
struct Memory {
    bytes: RefCell<Vec<u8>>,
    writes_left: Cell<u32>,
    writes: Cell<u32>,
}

impl Memory {
    fn new() -> Self {
        let bytes = RefCell::new(vec![0; format::NEW_FILE_LEN]);
        Self { bytes, writes_left: Cell::new(u32::MAX), writes: Cell::new(0) }
    }

    fn copy(&self, writes_left: u32) -> Self {
        Self {
            bytes: self.bytes.clone(),
            writes_left: Cell::new(writes_left),
            writes: Cell::new(0),
        }
    }
}

impl Bytes for Memory {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.bytes.borrow();
        let start = (at as usize).min(bytes.len());
        let len = into.len().min(bytes.len() - start);
        into[..len].copy_from_slice(&bytes[start..start + len]);
        Ok(len)
    }

    fn write_at(&self, at: u64, written: &[u8]) -> io::Result<()> {
        if self.writes_left.get() == 0 {
            return Err(io::Error::other("the process is dead"));
        }
        self.writes_left.set(self.writes_left.get() - 1);
        self.writes.set(self.writes.get() + 1);
        assert_eq!(at / 4096, (at + written.len() as u64 - 1) / 4096, "no write crosses a page");
        let mut bytes = self.bytes.borrow_mut();
        let end = at as usize + written.len();
        let len = bytes.len().max(end);
        bytes.resize(len, 0);
        bytes[at as usize..end].copy_from_slice(written);
        Ok(())
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.bytes.borrow_mut().truncate(len as usize);
        Ok(())
    }
}

fn header_of(memory: &Memory) -> Header {
    match memory.read_front().expect("memory reads").0 {
        HeaderRead::Good(header) => header,
        HeaderRead::Blank => Header { first_ticket: 1, ..Header::default() },
        HeaderRead::Damaged => panic!("a crash must not damage the header"),
    }
}

fn session(number: u32) -> SessionRef {
    SessionRef { seat: number, id: u64::from(number) + 1 }
}

#[derive(Clone, Debug)]
enum Step {
    Come(u32, Mode),
    Leave(usize),
    Evict,
    Die(u32),
    Look,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mode = prop_oneof![
        4 => Just(Mode::Exclusive),
        3 => Just(Mode::Shared),
    ];
    let permits = (1u32..4).prop_map(|count| Mode::Permits { count, limit: 3 });
    let step = |mode: BoxedStrategy<Mode>| {
        prop_oneof![
            8 => (0u32..6, mode).prop_map(|(who, mode)| Step::Come(who, mode)),
            7 => (0usize..12).prop_map(Step::Leave),
            1 => Just(Step::Evict),
            1 => (0u32..6).prop_map(Step::Die),
            2 => Just(Step::Look),
        ]
    };
    prop_oneof![
        proptest::collection::vec(step(mode.boxed()), 1..160),
        proptest::collection::vec(step(permits.boxed()), 1..160),
    ]
}

/// What a plain list makes of it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    /// Claim, session, mode, ticket.
    line: Vec<(u128, u32, Mode, u64)>,
    dead: BTreeSet<u32>,
    next_claim: u128,
}

impl Model {
    fn alive(&self) -> Vec<(u128, u32, Mode, u64)> {
        self.line.iter().filter(|claim| !self.dead.contains(&claim.1)).copied().collect()
    }

    fn holders(&self) -> Vec<u128> {
        let alive = self.alive();
        let count = admitted(alive.iter().map(|claim| claim.2));
        alive[..count].iter().map(|claim| claim.0).collect()
    }
}

/// One step on the file. What it does to the model is done only where the file has taken it.
fn run(memory: &Memory, model: &mut Model, step: &Step) -> Result<(), Trouble> {
    let mut header = header_of(memory);
    let (mut window, dead) = (Vec::new(), model.dead.clone());
    let mut is_alive = |who: SessionRef| !dead.contains(&who.seat);
    let mut line = Line::new(memory, &mut header, None, &mut window);
    match step {
        Step::Come(who, mode) => {
            // A session that died comes back as another one.
            let who = if model.dead.contains(who) { who + 100 } else { *who };
            model.next_claim += 1;
            let claim = model.next_claim;
            let newcomer = Newcomer {
                claim: ClaimId::new(claim),
                session: session(who),
                mode: *mode,
                since: Moment::default(),
                text: "some note",
            };
            let spot = line.come(&newcomer, &mut is_alive)?;
            let last = model.line.last().map_or(0, |last| last.3);
            assert!(spot.ticket > last, "tickets rise");
            model.line.push((claim, who, *mode, spot.ticket));
        }
        Step::Leave(which) => {
            let alive = model.alive();
            let Some(leaver) = alive.get(*which).copied() else { return Ok(()) };
            let held = model.holders();
            // The index is a hint and may be anything.
            let spot = Spot { ticket: leaver.3, index: *which as u32 };
            let seen = line.find(spot, ClaimId::new(leaver.0))?.expect("it is in line");
            let survey = line.survey(Some(seen.index), Doubt::Everybody, &mut is_alive)?;
            line.settle(Some(seen.index), &survey)?;
            model.line.retain(|claim| claim.0 != leaver.0);
            let now: Vec<u128> =
                survey.holders.iter().map(|(seen, _)| seen.slot.claim.number()).collect();
            assert_eq!(now, model.holders());
            for (seen, is_new) in &survey.holders {
                let id = seen.slot.claim.number();
                assert!(*is_new || held.contains(&id), "whoever is let in is told");
            }
        }
        Step::Evict => {
            let survey = line.survey(None, Doubt::Everybody, &mut is_alive)?;
            let Some((victim, _)) = survey.holders.first().copied() else { return Ok(()) };
            line.evict(&victim, "by the test")?;
            let id = victim.slot.claim.number();
            model.line.retain(|claim| claim.0 != id);
            let spot = Spot { ticket: victim.slot.ticket, index: victim.index };
            let out = line.find(spot, victim.slot.claim)?.expect("its slot waits for it");
            assert_eq!(line.text(&out)?, "by the test");
        }
        Step::Die(who) => {
            model.dead.insert(*who);
        }
        Step::Look => {
            let survey = line.survey(None, Doubt::Everybody, &mut is_alive)?;
            line.settle(None, &survey)?;
        }
    }
    Ok(())
}

/// The file says what the model says.
fn agrees(memory: &Memory, model: &Model) -> Result<(), TestCaseError> {
    let mut header = header_of(memory);
    let mut window = Vec::new();
    let mut line = Line::new(memory, &mut header, None, &mut window);
    let kept = line.kept().expect("a valid line");
    let alive: Vec<u128> = kept
        .iter()
        .filter(|seen| seen.slot.state == State::Live)
        .filter(|seen| !model.dead.contains(&seen.slot.session.seat))
        .map(|seen| seen.slot.claim.number())
        .collect();
    let expected: Vec<u128> = model.alive().iter().map(|claim| claim.0).collect();
    prop_assert_eq!(alive, expected);
    let survey = line
        .survey(None, Doubt::Everybody, &mut |who| !model.dead.contains(&who.seat))
        .expect("a valid line");
    let holders: Vec<u128> =
        survey.holders.iter().map(|(seen, _)| seen.slot.claim.number()).collect();
    prop_assert_eq!(holders, model.holders());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever happens, the file and the admission rule agree on who holds the lock.
    #[test]
    fn a_line_is_what_a_plain_list_is(steps in steps()) {
        let (memory, mut model) = (Memory::new(), Model::default());
        for step in &steps {
            run(&memory, &mut model, step).expect("nothing fails here");
            agrees(&memory, &model)?;
        }
    }

    /// A process that dies before any of its writes leaves a line in which its step has been done,
    /// or has not.
    #[test]
    fn a_crash_between_two_writes_leaves_the_line_before_or_after(steps in steps()) {
        let (memory, mut model) = (Memory::new(), Model::default());
        for step in &steps {
            let before = model.clone();
            for crash_at in 0.. {
                let (crashed, mut after) = (memory.copy(crash_at), before.clone());
                let outcome = run(&crashed, &mut after, step);
                crashed.writes_left.set(u32::MAX);
                match outcome {
                    // It got through: the number of writes is known, go on with the real one.
                    Ok(()) => break,
                    Err(_) => {
                        let mut undone = before.clone();
                        undone.next_claim = after.next_claim;
                        let is_before = agrees(&crashed, &undone).is_ok();
                        prop_assert!(is_before || is_done(&crashed, &undone, step), "{step:?}");
                    }
                }
            }
            run(&memory, &mut model, step).expect("nothing fails here");
            agrees(&memory, &model)?;
        }
    }
}

/// The step has taken effect although its process died on the way out.
fn is_done(crashed: &Memory, before: &Model, step: &Step) -> bool {
    let mut done = before.clone();
    if let Step::Leave(which) = step {
        let leaver = before.alive()[*which].0;
        done.line.retain(|claim| claim.0 != leaver);
    }
    agrees(crashed, &done).is_ok()
}

fn come(memory: &Memory, claim: u128, who: u32) -> Spot {
    let mut header = header_of(memory);
    let newcomer = Newcomer {
        claim: ClaimId::new(claim),
        session: session(who),
        mode: Mode::Exclusive,
        since: Moment::default(),
        text: "",
    };
    Line::new(memory, &mut header, None, &mut Vec::new())
        .come(&newcomer, &mut |_| true)
        .expect("there is room")
}

fn leave(memory: &Memory, claim: u128, spot: Spot) {
    let mut header = header_of(memory);
    let mut window = Vec::new();
    let mut line = Line::new(memory, &mut header, None, &mut window);
    let seen = line.find(spot, ClaimId::new(claim)).expect("valid").expect("in line");
    let survey = line.survey(Some(seen.index), Doubt::Everybody, &mut |_| true).expect("valid");
    line.settle(Some(seen.index), &survey).expect("written");
}

/// A line that is never empty does not make its file grow for ever.
#[test]
fn the_file_is_bounded_by_the_longest_line() {
    let memory = Memory::new();
    let mut line: Vec<(u128, Spot)> =
        (1..=20).map(|claim| (claim, come(&memory, claim, 1))).collect();
    for claim in 21..5_000 {
        line.push((claim, come(&memory, claim, 1)));
        let (first, spot) = line.remove(0);
        leave(&memory, first, spot);
    }
    let slots = memory.bytes.borrow().len() / SLOT_LEN;
    assert!(slots < 200, "{slots} slots for a line of 21");
}

/// Uncontended, a claim is one write and a withdrawal is one write.
#[test]
fn an_uncontended_cycle_is_two_writes() {
    let memory = Memory::new();
    let spot = come(&memory, 1, 1);
    assert_eq!(memory.writes.get(), 1);
    leave(&memory, 1, spot);
    assert_eq!(memory.writes.get(), 2);
}

/// Of the one write that begins an empty line anew only the header got through.
#[test]
fn what_a_torn_write_leaves_is_not_a_claim() {
    let memory = Memory::new();
    let spot = come(&memory, 1, 1);
    leave(&memory, 1, spot);
    let mut header = header_of(&memory);
    header = Header { counter: 2, first_ticket: 2, first: 0, tail: 1, ..header };
    write_header(&memory, &header).expect("memory");
    let mut window = Vec::new();
    let mut line = Line::new(&memory, &mut header, None, &mut window);
    let survey = line.survey(None, Doubt::Everybody, &mut |_| true).expect("valid");
    assert!(survey.holders.is_empty() && survey.head.is_none());
}

proptest! {
    /// Bytes of any kind are refused or read as a line, and that is all.
    #[test]
    fn garbage_never_panics(
        noise in proptest::collection::vec((900usize..4096, any::<u8>()), 1..60),
        seal in any::<bool>(),
        header in (any::<u64>(), any::<u64>(), 0u32..40, 0u32..3_000_000),
    ) {
        let memory = Memory::new();
        for claim in 1..5 {
            come(&memory, claim, 1);
        }
        for (at, byte) in noise {
            memory.bytes.borrow_mut()[at] = byte;
        }
        if seal {
            let (counter, first_ticket, first, tail) = header;
            let hostile = Header { counter, first_ticket, first, tail, ..Header::default() };
            write_header(&memory, &hostile).expect("memory");
        }
        if let HeaderRead::Good(mut header) = memory.read_front().expect("memory").0 {
            let mut window = Vec::new();
            let mut line = Line::new(&memory, &mut header, None, &mut window);
            let _ = line.survey(None, Doubt::Everybody, &mut |who| who.seat > 3);
            let _ = line.find(Spot { ticket: 2, index: 1 }, ClaimId::new(2));
            let _ = line.search(ClaimId::new(3));
            let _ = line.kept();
            let _ = line.ahead(3, &mut |_| true);
        }
    }
}
