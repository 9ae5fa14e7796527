//! A clock that moves when a test says so.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tarn_core::Clock;
use tokio::sync::oneshot;

#[derive(Debug)]
pub struct SimClock {
    start: Instant,
    start_us: i64,
    passed_us: AtomicI64,
    sleepers: Mutex<Vec<(i64, oneshot::Sender<()>)>>,
}

impl SimClock {
    pub fn new() -> Self {
        let start_us = chrono::Utc::now().timestamp_micros();
        Self { start: Instant::now(), start_us, passed_us: AtomicI64::new(0), sleepers: Mutex::default() }
    }

    /// Moves on by `duration` and wakes who slept until then.
    pub fn advance(&self, duration: Duration) {
        let step = i64::try_from(duration.as_micros()).expect("short");
        let now = self.passed_us.fetch_add(step, Ordering::SeqCst) + step;
        let mut sleepers = self.sleepers.lock().expect("not poisoned");
        let (due, rest) = std::mem::take(&mut *sleepers).into_iter().partition(|(at, _)| *at <= now);
        *sleepers = rest;
        for (_, wake) in due {
            let _ = wake.send(());
        }
    }

    /// Moves on to the next sleeper that still waits; by a second if there is none.
    pub fn advance_to_next(&self) {
        let now = self.passed_us.load(Ordering::SeqCst);
        let next = {
            let mut sleepers = self.sleepers.lock().expect("not poisoned");
            sleepers.retain(|(_, wake)| !wake.is_closed());
            sleepers.iter().map(|(at, _)| *at).min()
        };
        let step = next.map_or(1_000_000, |next| u64::try_from(next - now).unwrap_or(0));
        self.advance(Duration::from_micros(step));
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> i64 {
        self.now_us() / 1_000
    }

    fn now_us(&self) -> i64 {
        self.start_us + self.passed_us.load(Ordering::SeqCst)
    }

    fn instant(&self) -> Instant {
        self.start
            + Duration::from_micros(u64::try_from(self.passed_us.load(Ordering::SeqCst)).expect("forward"))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let at = self.passed_us.load(Ordering::SeqCst) + i64::try_from(duration.as_micros()).expect("short");
        let (wake, woken) = oneshot::channel();
        self.sleepers.lock().expect("not poisoned").push((at, wake));
        Box::pin(async move {
            let _ = woken.await;
        })
    }
}
