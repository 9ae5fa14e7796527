//! Pauses between attempts.

use std::time::Duration;

use tarn_core::Env;
use tokio_util::sync::CancellationToken;

use crate::error::IngestError;

const FIRST_MS: u64 = 500;
const LAST_MS: u64 = 60_000;

/// Pauses that double from half a second to a minute; each is cut by up to half at random, so that many sources of
/// one broken system do not come back together.
#[derive(Debug)]
pub(crate) struct Pauses {
    next_ms: u64,
}

impl Pauses {
    pub(crate) fn new() -> Self {
        Self { next_ms: FIRST_MS }
    }

    /// The next pause starts small again.
    pub(crate) fn reset(&mut self) {
        self.next_ms = FIRST_MS;
    }

    /// Pauses do not grow where someone else only has to let go: PostgreSQL keeps a slot in use until it notices that
    /// its reader, such as this process before a crash, is gone, and all tables of the source lag meanwhile.
    pub(crate) fn after(&mut self, error: &IngestError) {
        if matches!(error, IngestError::Busy { .. }) {
            self.reset();
        }
    }

    pub(crate) fn next(&mut self, env: &Env) -> Duration {
        let full = self.next_ms;
        self.next_ms = (full * 2).min(LAST_MS);
        Duration::from_millis(full - env.entropy.next_u64() % (full / 2))
    }

    /// Waits for the next pause. Returns whether it ended by itself, not by `stop`.
    pub(crate) async fn wait(&mut self, env: &Env, stop: &CancellationToken) -> bool {
        let pause = self.next(env);
        stop.run_until_cancelled(env.clock.sleep(pause)).await.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let (env, mut pauses) = (Env::system(), Pauses::new());
        for full in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            let pause = u64::try_from(pauses.next(&env).as_millis()).expect("short");
            assert!(pause > full / 2 - 1 && pause <= full, "{pause} of {full}");
        }
        pauses.reset();
        assert!(pauses.next(&env).as_millis() <= 500);
    }

    #[test]
    fn a_slot_in_use_is_tried_again_soon_however_often() {
        let (env, mut pauses) = (Env::system(), Pauses::new());
        let busy = IngestError::Busy { what: "slot in use".to_string(), advice: String::new() };
        for _ in 0..8 {
            pauses.after(&busy);
            assert!(pauses.next(&env).as_millis() <= 500);
        }
        let broken = IngestError::Broken { source_type: "test".to_string(), what: String::new() };
        pauses.after(&broken);
        assert!(pauses.next(&env).as_millis() >= 500);
    }
}
