//! Processor time of a future: that of its thread while it is polled.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tarn_observe::thread_cpu_ns;

/// A future that says at its end how much processor time it took, in milliseconds; `None` where the system does not
/// say. What it hands to other tasks is not counted.
pub(super) struct Metered<F> {
    inner: Pin<Box<F>>,
    used_ns: Option<u64>,
}

impl<F: Future> Metered<F> {
    pub(super) fn new(inner: F) -> Self {
        Self { inner: Box::pin(inner), used_ns: thread_cpu_ns().map(|_| 0) }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = (F::Output, Option<u64>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let before = self.used_ns.and_then(|_| thread_cpu_ns());
        let polled = self.inner.as_mut().poll(context);
        if let (Some(used), Some(before), Some(after)) = (self.used_ns, before, thread_cpu_ns()) {
            self.used_ns = Some(used + after.saturating_sub(before));
        }
        polled.map(|output| (output, self.used_ns.map(|ns| ns / 1_000_000)))
    }
}
