//! A clock that the test moves, and that pauses move once they are over. A pause of no length is over at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tarn_core::{Clock, SystemClock};

/// Starts at the real time, since Iceberg stamps metadata by itself.
#[derive(Debug)]
pub struct TestClock {
    us: Arc<AtomicI64>,
    start_us: i64,
    start: Instant,
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl TestClock {
    pub fn new() -> Self {
        let start_us = SystemClock.now_us();
        Self { us: Arc::new(AtomicI64::new(start_us)), start_us, start: SystemClock.instant() }
    }

    pub fn advance(&self, by: Duration) {
        self.us.fetch_add(micros(by), Ordering::SeqCst);
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
        let (us, end_us) = (Arc::clone(&self.us), self.now_us().saturating_add(micros(duration)));
        Box::pin(async move {
            if !duration.is_zero() {
                SystemClock.sleep(duration).await;
            }
            us.fetch_max(end_us, Ordering::SeqCst);
        })
    }
}
