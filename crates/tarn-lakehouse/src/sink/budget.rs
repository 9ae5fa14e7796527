//! Memory of the hot rows of all tables together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tables with fewer bytes than this are left alone: committing them would free little.
const SHARE_MIN: u64 = 1 << 20;

/// What all tables hold, and how much they may.
#[derive(Debug)]
pub(crate) struct HotBudget {
    held: AtomicU64,
    max: u64,
}

impl HotBudget {
    pub(crate) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { held: AtomicU64::new(0), max: max.max(1) })
    }
}

/// The part of one table. Given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<HotBudget>,
    bytes: u64,
}

impl Share {
    pub fn new(budget: &Arc<HotBudget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    /// The table holds this many bytes now.
    pub fn set(&mut self, bytes: u64) {
        self.budget.held.fetch_add(bytes, Ordering::Relaxed);
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }

    /// Whether the table should commit, because all together hold more than half of what they may.
    pub fn is_tight(&self) -> bool {
        self.bytes >= SHARE_MIN && self.budget.held.load(Ordering::Relaxed) > self.budget.max / 2
    }

    /// Whether the table has to wait with more rows until some are committed.
    pub fn is_spent(&self) -> bool {
        self.bytes >= SHARE_MIN && self.budget.held.load(Ordering::Relaxed) > self.budget.max
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_wait_together_and_small_ones_do_not() {
        let budget = HotBudget::new(10 << 20);
        let (mut a, mut b) = (Share::new(&budget), Share::new(&budget));
        a.set(4 << 20);
        b.set(1_000);
        assert!(!a.is_tight());
        let mut c = Share::new(&budget);
        c.set(5 << 20);
        assert!(a.is_tight() && !a.is_spent() && !b.is_tight());
        c.set(7 << 20);
        assert!(a.is_spent() && c.is_spent() && !b.is_spent());
        drop(c);
        assert!(!a.is_tight());
    }
}
