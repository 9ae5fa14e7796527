//! A clock that the test moves. Pauses are real, and one of no length is over at once.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use tarn_core::{Clock, SystemClock};

/// Stands still until it is moved. Starts at the real time, since Iceberg stamps metadata by itself.
#[derive(Debug)]
pub struct TestClock {
    us: AtomicI64,
    start_us: i64,
    start: Instant,
}

impl TestClock {
    pub fn new() -> Self {
        let start_us = SystemClock.now_us();
        Self { us: AtomicI64::new(start_us), start_us, start: SystemClock.instant() }
    }

    pub fn advance(&self, by: Duration) {
        self.us.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.now_us() / 1_000
    }

    fn now_us(&self) -> i64 {
        self.us.load(Ordering::SeqCst)
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_micros(u64::try_from(self.now_us() - self.start_us).unwrap())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration.is_zero() { std::future::ready(()).boxed() } else { SystemClock.sleep(duration) }
    }
}
