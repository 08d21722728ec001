//! What the feature `metrics` tells: every name of the documented table, under the right events.
#![allow(clippy::expect_used, reason = "a test that cannot go on says why and fails")]
#![cfg(all(feature = "metrics", feature = "memory"))]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cotter::env::{Clock, Env, VirtualClock};
use cotter::memory::{Call, Fault, MemoryStore};
use cotter::{Client, Kind, Options};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

/// Adds up what is recorded, by name and labels.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<BTreeMap<String, f64>>>);

struct Entry(Book, String);

impl Entry {
    fn put(&self, change: impl Fn(f64) -> f64) {
        let mut book = self.0.0.lock().expect("book");
        let value = book.entry(self.1.clone()).or_default();
        *value = change(*value);
    }
}

impl CounterFn for Entry {
    fn increment(&self, by: u64) {
        self.put(|value| value + f64::from(u32::try_from(by).expect("small")));
    }
    fn absolute(&self, _: u64) {
        unreachable!("no counter is set");
    }
}

impl GaugeFn for Entry {
    fn increment(&self, by: f64) {
        self.put(|value| value + by);
    }
    fn decrement(&self, by: f64) {
        self.put(|value| value - by);
    }
    fn set(&self, to: f64) {
        self.put(|_| to);
    }
}

impl HistogramFn for Entry {
    fn record(&self, _: f64) {
        self.put(|count| count + 1.0);
    }
}

impl Book {
    fn entry(&self, key: &Key) -> Arc<Entry> {
        let labels: Vec<String> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Entry(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }

    fn value(&self, key: &str) -> f64 {
        let book = self.0.lock().expect("book");
        *book.get(key).unwrap_or_else(|| panic!("{key} was not told; these were: {book:#?}"))
    }

    /// All series of one metric added up.
    fn sum(&self, name: &str) -> f64 {
        let book = self.0.lock().expect("book");
        book.iter().filter(|(key, _)| key.starts_with(name)).map(|(_, value)| value).sum()
    }
}

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.entry(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.entry(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.entry(key))
    }
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn every_metric_of_the_table_is_told() {
    let book = Book::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    metrics::with_local_recorder(&book, || runtime.block_on(scenario(&book)));
}

async fn scenario(book: &Book) {
    let (clock, store) = (VirtualClock::new(), MemoryStore::new());
    let env = Env::with_clock(Arc::clone(&clock) as Arc<dyn Clock>, 1);
    let options = Options { env: Some(env), ..Options::default() };
    let client = Client::open(store.clone(), options).await.expect("open");

    let held = client.lock("orders/42").acquire().await.expect("acquire");
    assert!(client.lock("orders/43").try_acquire().await.expect("try").is_some());
    assert!(client.lock("orders/42").try_acquire().await.expect("try").is_none());
    let waiting = client.clone();
    let waiter = client.env().spawn(async move { waiting.lock("orders/42").acquire().await });
    settle().await;
    let lock = "store=memory,lock=orders/*";
    let one = |value: f64| (value - 1.0).abs() < 1e-9;
    assert!(one(book.value(&format!("cotter_waiters{{{lock}}}"))));
    assert!(one(book.value(&format!("cotter_contended_total{{{lock}}}"))));
    assert!(one(book.value(&format!("cotter_acquired_total{{{lock},outcome=busy}}"))));

    client.lock("orders/42").evict(held.token(), "by a test").await.expect("evict");
    held.lost().await;
    let next = waiter.await.expect("task").expect("next");
    assert!(one(book.value(&format!("cotter_lost_total{{{lock},reason=evicted}}"))));
    assert!(one(book.value(&format!("cotter_steals_total{{{lock}}}"))));
    assert!(one(book.value(&format!("cotter_held{{{lock}}}"))), "one holds, all told");
    assert!(book.value(&format!("cotter_waiters{{{lock}}}")).abs() < 1e-9);
    assert!(book.sum("cotter_token") >= 2.0);
    assert!(book.sum("cotter_acquire_wait_seconds") >= 4.0);
    assert!(book.sum("cotter_store_rtt_seconds") >= 4.0);

    store.control().plan(Call::Renew, Fault::Refuse, 1);
    for _ in 0..50 {
        clock.advance(Duration::from_millis(100));
        settle().await;
    }
    assert!(book.sum("cotter_renew_failures_total") >= 1.0);
    assert!(book.sum("cotter_renew_lag_seconds") >= 1.0);
    next.release().await.expect("release");
    assert!(book.sum("cotter_hold_seconds") >= 2.0);
    assert!(book.value(&format!("cotter_held{{{lock}}}")).abs() < 1e-9, "nothing is held");

    store.control().plan(Call::Claim, Fault::Refuse, 5);
    for _ in 0..5 {
        let error = client.lock("b").try_acquire().await.expect_err("refused");
        assert_eq!(error.kind(), Kind::Unreachable);
    }
    assert!(one(book.value("cotter_breaker_open{store=memory}")));
    let calls = store.control().calls(Call::Claim);
    let error = client.lock("b").try_acquire().await.expect_err("open");
    assert!(error.to_string().contains("circuit breaker"), "{error}");
    assert_eq!(store.control().calls(Call::Claim), calls, "the store was not asked");
    clock.advance(Duration::from_millis(500));
    assert!(client.lock("b").try_acquire().await.expect("the probe passes").is_some());
    assert!(book.value("cotter_breaker_open{store=memory}").abs() < 1e-9);
}
