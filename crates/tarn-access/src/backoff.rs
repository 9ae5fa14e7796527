//! Failed logins slow down the next ones of the same user from the same place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

const USER_CHARS_MAX: usize = 64;
const ENTRIES_MAX: usize = 10_000;
const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);
const DELAY_MAX: Duration = Duration::from_secs(60);
/// Failures without a delay, for one user name and for all names of one place.
const FREE_PER_USER: u32 = 5;
const FREE_PER_PLACE: u32 = 50;

#[derive(Default)]
pub(crate) struct Backoff {
    entries: Mutex<HashMap<(String, IpAddr), Entry>>,
}

struct Entry {
    failures: u32,
    blocked_until: Instant,
    failed_at: Instant,
}

fn keys(user: &str, place: IpAddr) -> [((String, IpAddr), u32); 2] {
    let user: String = user.chars().take(USER_CHARS_MAX).collect();
    // No user has the empty name: it stands for all names of the place.
    [((user, place), FREE_PER_USER), ((String::new(), place), FREE_PER_PLACE)]
}

fn delay(failures: u32, free: u32) -> Duration {
    match failures.checked_sub(free) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(1_u64 << more.min(6)).min(DELAY_MAX),
    }
}

impl Backoff {
    /// How long to wait before the next try, `None` if it may happen now.
    pub(crate) fn wait(&self, user: &str, place: IpAddr, now: Instant) -> Option<Duration> {
        let entries = self.entries.lock();
        keys(user, place)
            .iter()
            .filter_map(|(key, _)| entries.get(key))
            .map(|entry| entry.blocked_until.saturating_duration_since(now))
            .max()
            .filter(|wait| !wait.is_zero())
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, user: &str, place: IpAddr, now: Instant) {
        let mut entries = self.entries.lock();
        for (key, free) in keys(user, place) {
            if entries.len() >= ENTRIES_MAX && !entries.contains_key(&key) {
                make_room(&mut entries, now);
            }
            let entry =
                entries.entry(key).or_insert(Entry { failures: 0, blocked_until: now, failed_at: now });
            if now.saturating_duration_since(entry.failed_at) > FORGET_AFTER {
                entry.failures = 0;
            }
            entry.failures = entry.failures.saturating_add(1);
            entry.failed_at = now;
            entry.blocked_until = now + delay(entry.failures, free);
        }
    }

    /// Forgets the failures of a user from a place; those of the place stay.
    pub(crate) fn succeeded(&self, user: &str, place: IpAddr) {
        let [(key, _), _] = keys(user, place);
        self.entries.lock().remove(&key);
    }
}

fn make_room(entries: &mut HashMap<(String, IpAddr), Entry>, now: Instant) {
    entries.retain(|_, entry| now.saturating_duration_since(entry.failed_at) <= FORGET_AFTER);
    if entries.len() < ENTRIES_MAX {
        return;
    }
    // A tenth goes at once, so that a flood of names does not sort the whole table at each of them.
    let mut times: Vec<Instant> = entries.values().map(|entry| entry.failed_at).collect();
    let middle = times.len() / 10;
    let (_, limit, _) = times.select_nth_unstable(middle);
    let limit = *limit;
    let mut surplus = middle + 1;
    entries.retain(|_, entry| {
        let goes = entry.failed_at <= limit && surplus > 0;
        surplus -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_end() {
        let backoff = Backoff::default();
        let place: IpAddr = "10.0.0.1".parse().unwrap();
        let mut now = Instant::now();
        for _ in 0..4 {
            backoff.failed("li", place, now);
            assert_eq!(backoff.wait("li", place, now), None);
        }
        let mut waits = Vec::new();
        for _ in 0..9 {
            backoff.failed("li", place, now);
            let wait = backoff.wait("li", place, now).unwrap();
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(backoff.wait("li", place, now), None);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.failed("li", place, now);
        assert_eq!(backoff.wait("wang", place, now), None, "another user is not held up");
        assert_eq!(backoff.wait("li", "10.0.0.2".parse().unwrap(), now), None, "nor is another place");
        backoff.succeeded("li", place);
        assert_eq!(backoff.wait("li", place, now), None);
    }

    #[test]
    fn many_names_from_one_place_are_slowed_down_too() {
        let backoff = Backoff::default();
        let place: IpAddr = "10.0.0.1".parse().unwrap();
        let now = Instant::now();
        for number in 0..FREE_PER_PLACE {
            backoff.failed(&format!("user{number}"), place, now);
        }
        assert!(backoff.wait("another", place, now).is_some());
    }

    #[test]
    fn memory_is_bounded() {
        let backoff = Backoff::default();
        let now = Instant::now();
        for number in 0..30_000_u32 {
            backoff.failed("li", IpAddr::from(number.to_be_bytes()), now);
        }
        assert!(backoff.entries.lock().len() <= ENTRIES_MAX + 1);
        let last = IpAddr::from(29_999_u32.to_be_bytes());
        assert!(backoff.entries.lock().contains_key(&("li".to_string(), last)));
    }
}
