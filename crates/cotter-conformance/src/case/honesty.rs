//! What the profile promises is so.

use std::time::Duration;

use cotter_core::Kind;
use cotter_core::contract::{Loss, Mode};
use cotter_core::front::{Client, LockGuard};

use crate::bench::{Harm, Request};
use crate::ground::Ground;
use crate::history::{Attempt, End, Granted, History, Outcome, Process, order};

pub(super) async fn notes_are_kept_up_to_their_length(ground: Ground) {
    let client = ground.client().await;
    let longest = "n".repeat(ground.profile().note_len_max);
    let guard = client.lock("n").acquire().note(longest.as_str()).await.expect("it is promised");
    let seen = client.lock("n").line_up().await.expect("a line-up");
    assert_eq!(seen.holders[0].note, longest);
    guard.release().await.expect("released");
    let error = client.lock("n").acquire().note(longest + "n").await.expect_err("too long");
    assert!(matches!(error.kind(), Kind::Config | Kind::Unsupported), "{error}");
}

pub(super) async fn a_line_up_tells_who_and_what(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let lock = one.lock("n");
    let guard = lock.acquire().note("nightly \"run\"; ä\\n").await.expect("it is free");
    let waiting = two.clone();
    let waiter = ground.spawn(async move { waiting.lock("n").acquire().note("next").await });
    ground.in_line(&lock, 1).await;
    let seen = lock.line_up().await.expect("a line-up");
    assert_eq!(seen.name, *guard.name());
    let (holder, next) = (&seen.holders[0], &seen.waiters[0]);
    assert_eq!((holder.id, holder.token), (guard.claim_id(), Some(guard.token())));
    assert_eq!((holder.mode, next.mode), (Mode::Exclusive, Mode::Exclusive));
    assert_eq!((&*holder.note, &*next.note), ("nightly \"run\"; ä\\n", "next"));
    assert_eq!((&holder.bearer, &next.bearer), (one.bearer(), two.bearer()));
    assert_eq!(seen.position(next.id), Some(1));
    guard.release().await.expect("released");
    drop(waiter.await.expect("a waiter").expect("its turn"));
}

pub(super) async fn a_renewal_comes_well_within_the_lease(ground: Ground) {
    let client = ground.client().await;
    let guard = client.lock("n").acquire().await.expect("it is free");
    let valid_for = guard.valid_for().expect("a lease");
    // One may be lost and one late, and there is still another.
    assert!(ground.profile().renew_every * 3 <= valid_for, "{:?}", ground.profile());
    assert!(valid_for < ground.lease(), "there is no margin");
}

pub(super) async fn an_uncontended_lock_costs_the_exchanges_it_says(ground: Ground) {
    let client = ground.client().await;
    let lock = client.lock("n");
    let once =
        async || lock.acquire().await.expect("it is free").release().await.expect("released");
    // The first use of a name may have to make what its line stands in.
    once().await;
    let trips = ground.profile().trips;
    let sent = |request| ground.site().requests(request).expect("they are counted");
    for _ in 0..10 {
        let before = (sent(Request::Claim), sent(Request::Withdraw), sent(Request::Renew));
        let trips_before = ground.site().trips(&client);
        once().await;
        assert_eq!(sent(Request::Claim) - before.0, u64::from(trips.claim));
        assert_eq!(sent(Request::Withdraw) - before.1, u64::from(trips.withdraw));
        // A renewal that was due meanwhile is another's exchange.
        let has_renewed = sent(Request::Renew) != before.2;
        if let (Some(before), Some(after), false) =
            (trips_before, ground.site().trips(&client), has_renewed)
        {
            assert_eq!(after - before, u64::from(trips.claim + trips.withdraw), "round trips");
        }
    }
}

pub(super) async fn a_dead_client_frees_within_the_bound(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let lock = two.lock("n");
    let guard = one.lock("n").acquire().await.expect("it is free");
    let waiter = ground.spawn(async move { two.lock("n").acquire().await.map(drop) });
    ground.in_line(&lock, 1).await;
    ground.harm(Harm::Cut(&one)).await;
    drop((guard, one));
    ground.pass(ground.profile().crash_to_free).await;
    ground.settle().await;
    assert!(waiter.is_finished(), "not within {:?}", ground.profile().crash_to_free);
    waiter.await.expect("a waiter").expect("its turn");
}

pub(super) async fn a_dead_process_frees_within_the_bound(ground: Ground) {
    let client = ground.client().await;
    let bound = ground.profile().crash_to_free;
    let mut peer = ground.peer();
    peer.acquire("n").await;
    let lock = client.lock("n");
    let waiting = lock.clone();
    let here = ground.clone();
    let waiter = ground.spawn(async move {
        let guard = waiting.acquire().await.expect("its turn");
        (here.now(), guard)
    });
    ground.in_line(&lock, 1).await;
    let killed_at = ground.now();
    peer.kill().await;
    let (granted_at, _guard) = waiter.await.expect("a waiter");
    let took = granted_at.since(killed_at);
    assert!(took <= bound, "it took {took:?}, the profile promises {bound:?}");
}

/// Cuts the holder off again and again while three want the lock, and looks at every step who
/// believes that it holds it.
pub(super) async fn two_never_believe_at_once_whatever_is_cut(ground: Ground) {
    assert_eq!(ground.profile().loss, Loss::Ahead, "a store that is behind has another case");
    let clients = ground.clients(3).await;
    let mut believers: Vec<Believer> = Vec::new();
    for (process, client) in (0..).map(Process).zip(&clients) {
        believers.push(Believer::new(&ground, process, client.clone()));
    }
    let step = ground.profile().renew_every / 3;
    for turn in 0..300 {
        let victim = &clients[turn / 30 % clients.len()];
        match turn % 30 {
            10 => ground.harm(Harm::Silence(victim)).await,
            25 => ground.harm(Harm::Heal(victim)).await,
            _ => {}
        }
        ground.pass(step).await;
        for believer in &mut believers {
            believer.look(&ground).await;
        }
    }
    let attempts: Vec<Attempt> =
        believers.into_iter().flat_map(|believer| believer.attempts).collect();
    assert!(attempts.len() > 10, "the lock hardly moved: {} grants", attempts.len());
    order::beliefs(&History { attempts }).expect("one believer at a time");
}

/// Somebody who takes the lock, holds it a few steps, and takes it again.
struct Believer {
    process: Process,
    client: Client,
    asking: Option<tokio::task::JoinHandle<LockGuard>>,
    holding: Option<(LockGuard, usize)>,
    attempts: Vec<Attempt>,
}

impl Believer {
    fn new(ground: &Ground, process: Process, client: Client) -> Self {
        let mut new = Self { process, client, asking: None, holding: None, attempts: Vec::new() };
        new.ask(ground);
        new
    }

    fn ask(&mut self, ground: &Ground) {
        let lock = self.client.lock("n");
        // It asks until it has it: a cut makes its calls fail, which is no reason to give up.
        let here = ground.clone();
        self.asking = Some(ground.spawn(async move {
            loop {
                match lock.acquire().await {
                    Ok(guard) => return guard,
                    // Asked again until the store answers: that is the condition.
                    Err(_) => here.env().sleep(Duration::from_millis(100)).await,
                }
            }
        }));
    }

    async fn look(&mut self, ground: &Ground) {
        if let Some(asking) = self.asking.take_if(|asking| asking.is_finished()) {
            self.holding = Some((asking.await.expect("a guard"), 0));
            let (process, at) = (self.process, ground.now());
            let token = self.holding.as_ref().map(|(guard, _)| guard.token()).expect("just now");
            let end = End::Gone { known_at: None };
            let outcome = Outcome::Granted(Granted { token, at, believed_until: at, end });
            self.attempts.push(Attempt { process, asked_at: at, in_line_at: None, outcome });
        }
        let Some((guard, looks)) = &mut self.holding else { return };
        *looks += 1;
        let is_over = guard.check().is_err() || *looks > 7;
        if let Some(Outcome::Granted(grant)) =
            self.attempts.last_mut().map(|attempt| &mut attempt.outcome)
            && guard.check().is_ok()
        {
            grant.believed_until = ground.now();
        }
        if is_over {
            self.holding = None;
            self.ask(ground);
        }
    }
}
