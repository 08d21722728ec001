//! Random programs: the same on the memory store and here, and many at once with their history
//! checked. A seed repeats a program.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cotter_core::Kind;
use cotter_core::contract::{Left, Waiter};
use cotter_core::env::Moment;
use cotter_core::front::{Client, Lock, LockGuard};
use tokio::task::JoinHandle;

use crate::bench::{Bench, MemoryBench};
use crate::ground::{Ground, on_a_fresh_ground};
use crate::history::{Attempt, End, Granted, Outcome, Process, Recorder, mutex, order};
use crate::steps::drop_after;

/// How a client asks in one turn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turn {
    /// As long as it takes.
    Wait,
    /// Not at all.
    Try,
    /// A moment, then it gives up.
    WaitBriefly,
    /// Until it is dropped, after so many polls.
    Drop(usize),
}

/// Asks for the lock, works under it and gives it back, and records what it saw.
pub(super) async fn take_turn(
    ground: &Ground,
    lock: &Lock,
    process: Process,
    recorder: &Recorder,
    turn: Turn,
    work: impl Future<Output = ()>,
) {
    let asked_at = ground.now();
    let answer = match turn {
        Turn::Wait => lock.acquire().await.map(Some),
        Turn::Try => lock.try_acquire().await,
        Turn::WaitBriefly => lock.acquire().within(Duration::from_millis(2)).await.map(Some),
        Turn::Drop(polls) => match drop_after(polls, lock.acquire().into_future()).await {
            Some(answer) => answer.map(Some),
            None => return record(recorder, process, asked_at, Outcome::Unknown),
        },
    };
    let at = ground.now();
    let outcome = match answer {
        Ok(Some(guard)) => {
            work.await;
            Outcome::Granted(give_back(ground, guard, at).await)
        }
        Ok(None) => Outcome::Refused { at },
        // It may have been granted while it left, and taken back.
        Err(error) if error.kind() == Kind::TimedOut => Outcome::Unknown,
        Err(error) => panic!("{process} cannot have the lock: {error}"),
    };
    record(recorder, process, asked_at, outcome);
}

fn record(recorder: &Recorder, process: Process, asked_at: Moment, outcome: Outcome) {
    recorder.add(Attempt { process, asked_at, in_line_at: None, outcome });
}

/// Gives the lock back, and tells how the grant that came at this moment was seen to go.
pub(super) async fn give_back(ground: &Ground, guard: LockGuard, at: Moment) -> Granted {
    let token = guard.token();
    let looked_at = ground.now();
    let believed_until = if guard.check().is_ok() { looked_at } else { at };
    let begun_at = ground.now();
    let left = guard.release().await;
    let done_at = ground.now();
    let end = match left {
        Ok(Left::Released) => End::Released { begun_at, done_at },
        Ok(Left::WasGone) => End::Gone { known_at: Some(done_at) },
        Err(_) => End::Unanswered { begun_at },
    };
    Granted { token, at, believed_until, end }
}

/// Numbers that a seed repeats (xorshift, Marsaglia 2003). Its period is far beyond any program.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

const SEEDS: u64 = 8;
const CLIENTS: u64 = 4;
const LOCKS: [&str; 2] = ["one", "two"];
const STEPS: u64 = 60;

/// Every program, step by step on this store, does what it does on the memory store.
pub(super) async fn does_what_the_memory_store_does(ground: Ground) {
    for seed in 1..=SEEDS {
        let expected = on_memory(seed);
        let seen = trace(&ground, seed).await;
        for (step, (expected, seen)) in expected.iter().zip(&seen).enumerate() {
            assert_eq!(seen, expected, "seed {seed}, step {step}");
        }
        assert_eq!(seen.len(), expected.len());
    }
}

/// The program's trace on a memory store of its own, on a thread and a runtime of its own.
fn on_memory(seed: u64) -> Vec<String> {
    let bench: Arc<dyn Bench> = Arc::new(MemoryBench::on_virtual_clock());
    let traced = std::thread::spawn(move || {
        on_a_fresh_ground(&bench, async |ground: Ground| trace(&ground, seed).await)
    });
    traced.join().expect("the memory store").expect("its trace")
}

/// A client's business with one lock.
enum Business {
    None,
    Asking(JoinHandle<LockGuard>),
    Holding(LockGuard),
}

/// Runs one program, one step at a time, and tells what is to be seen after each step.
async fn trace(ground: &Ground, seed: u64) -> Vec<String> {
    let mut dice = Dice(seed);
    let clients = ground.clients(CLIENTS as usize).await;
    let mut business: Vec<Vec<Business>> =
        LOCKS.iter().map(|_| clients.iter().map(|_| Business::None).collect()).collect();
    let mut seen = Vec::new();
    for _ in 0..STEPS {
        let (lock, who) = (dice.roll(LOCKS.len() as u64) as usize, dice.roll(CLIENTS) as usize);
        let what = dice.roll(4);
        let name = format!("{}/{seed}", LOCKS[lock]);
        let state = &mut business[lock][who];
        let said = step(ground, &clients[who], &name, state, what).await;
        let line = quiet_line(ground, &clients[0].lock(&name), &mut business[lock]).await;
        seen.push(format!("client {who}, {name}: {said}; {line}"));
    }
    for task in business.into_iter().flatten() {
        if let Business::Asking(task) = task {
            task.abort();
        }
    }
    seen
}

async fn step(
    ground: &Ground,
    client: &Client,
    name: &str,
    business: &mut Business,
    what: u64,
) -> String {
    let lock = client.lock(name);
    match (std::mem::replace(business, Business::None), what) {
        (Business::None, 0) => match lock.try_acquire().await.expect("an answer") {
            Some(guard) => {
                *business = Business::Holding(guard);
                "tries and holds".into()
            }
            None => "tries in vain".into(),
        },
        (Business::None, _) => {
            let task = async move { lock.acquire().await.expect("its turn, at some time") };
            *business = Business::Asking(ground.spawn(task));
            "asks".into()
        }
        (Business::Asking(task), 0) => {
            task.abort();
            // Its end is the drop of its request, and that sends the withdrawal.
            let _ = task.await;
            "goes away".into()
        }
        (Business::Asking(task), _) => {
            *business = Business::Asking(task);
            "waits".into()
        }
        (Business::Holding(guard), 0) => {
            let evicted = lock.evict(guard.token(), "by the program").await.expect("an answer");
            guard.lost().await;
            let left = guard.release().await.expect("an answer");
            format!("is evicted: {evicted:?}, {left:?}")
        }
        (Business::Holding(guard), _) => {
            format!("releases: {:?}", guard.release().await.expect("an answer"))
        }
    }
}

/// Waits until everybody who asks stands in line or knows that it holds the lock, and tells the
/// line as numbers of clients.
async fn quiet_line(ground: &Ground, lock: &Lock, business: &mut [Business]) -> String {
    let mut told = String::new();
    ground
        .eventually("the line is quiet", async || {
            for state in business.iter_mut() {
                if let Business::Asking(task) = state
                    && task.is_finished()
                {
                    *state = Business::Holding(task.await.expect("a guard"));
                }
            }
            let line = lock.line_up().await.expect("a line-up");
            let asking = business.iter().filter(|state| matches!(state, Business::Asking(_)));
            let holding = business.iter().filter(|state| matches!(state, Business::Holding(_)));
            let is_quiet =
                line.waiters.len() == asking.count() && line.holders.len() == holding.count();
            let numbers: Vec<u32> = line.holders.iter().chain(&line.waiters).map(number).collect();
            told = format!("{} hold, line {numbers:?}", line.holders.len());
            is_quiet
        })
        .await;
    told
}

/// Which of the program's clients it is: they were connected one after the other.
fn number(waiter: &Waiter) -> u32 {
    let number = waiter.bearer.command.rsplit(' ').next().and_then(|last| last.parse().ok());
    (number.unwrap_or(1u32) - 1) % CLIENTS as u32
}

/// Many clients at once, each doing what its dice say. Whatever happened must be possible.
pub(super) async fn leaves_a_history_that_can_have_happened(ground: Ground) {
    for seed in 1..=SEEDS {
        let recorder = Recorder::default();
        let mut tasks = Vec::new();
        for process in 0..6 {
            let (client, recorder, here) =
                (ground.client().await, recorder.clone(), ground.clone());
            tasks.push(ground.spawn(async move {
                let mut dice = Dice(seed * 1000 + u64::from(process));
                let lock = client.lock(format!("n/{seed}"));
                for _ in 0..25 {
                    let turn = match dice.roll(8) {
                        0 | 1 => Turn::Try,
                        2 => Turn::WaitBriefly,
                        3 => Turn::Drop(dice.roll(4) as usize),
                        _ => Turn::Wait,
                    };
                    let work = async {
                        for _ in 0..dice.roll(3) {
                            tokio::task::yield_now().await;
                        }
                    };
                    take_turn(&here, &lock, Process(process), &recorder, turn, work).await;
                }
            }));
        }
        // On a virtual clock somebody has to let time pass for those who give up.
        while tasks.iter().any(|task| !task.is_finished()) {
            ground.pass(Duration::from_millis(1)).await;
        }
        for task in tasks {
            task.await.expect("a client");
        }
        let history = recorder.history();
        mutex::check(&history).unwrap_or_else(|found| panic!("seed {seed}: {found}"));
        order::tokens(&history).unwrap_or_else(|found| panic!("seed {seed}: {found}"));
        order::beliefs(&history).unwrap_or_else(|found| panic!("seed {seed}: {found}"));
        ground.free(&ground.client().await.lock(format!("n/{seed}"))).await;
    }
}
