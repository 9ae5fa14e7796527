//! Events per second over the last ten seconds.

/// Length of the window.
const WINDOW_MS: i64 = 10_000;
const SLOT_MS: i64 = 500;
const SLOTS: usize = (WINDOW_MS / SLOT_MS) as usize;
/// A younger series is divided by this, so that a first burst does not read as a huge rate.
const AGE_MS_MIN: i64 = 1_000;

/// Counts in slots of half a second; slots that left the window are cleared when they are used again.
#[derive(Debug)]
pub(crate) struct Rate {
    slots: [(i64, u64); SLOTS],
    since_ms: i64,
}

impl Rate {
    pub(crate) fn new(now_ms: i64) -> Self {
        Self { slots: [(i64::MIN, 0); SLOTS], since_ms: now_ms }
    }

    pub(crate) fn add(&mut self, now_ms: i64, count: u64) {
        let number = now_ms.div_euclid(SLOT_MS);
        let slot = &mut self.slots[number.rem_euclid(SLOTS as i64) as usize];
        if slot.0 != number {
            *slot = (number, 0);
        }
        slot.1 = slot.1.saturating_add(count);
    }

    /// Events per second over the window that ends now.
    pub(crate) fn per_second(&self, now_ms: i64) -> f64 {
        let newest = now_ms.div_euclid(SLOT_MS);
        let in_window = |number: i64| number <= newest && number > newest - SLOTS as i64;
        let count: u64 =
            self.slots.iter().filter(|(number, _)| in_window(*number)).map(|(_, count)| count).sum();
        let age_ms = (now_ms - self.since_ms).clamp(AGE_MS_MIN, WINDOW_MS);
        count as f64 * 1_000.0 / age_ms as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_reads_as_its_rate_and_fades_when_it_stops() {
        let mut rate = Rate::new(0);
        for ms in (0..20_000).step_by(100) {
            rate.add(ms, 10);
        }
        assert!((rate.per_second(19_999) - 100.0).abs() < 1.0, "{}", rate.per_second(19_999));
        assert!((rate.per_second(24_999) - 50.0).abs() < 1.0, "{}", rate.per_second(24_999));
        assert_eq!(rate.per_second(40_000), 0.0);
    }

    #[test]
    fn a_first_burst_is_spread_over_a_second() {
        let mut rate = Rate::new(5);
        rate.add(5, 1_000);
        assert_eq!(rate.per_second(6), 1_000.0);
    }
}
