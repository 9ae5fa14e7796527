//! How far the server may forget its log: what was read, what was handed out, what is durable.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use tarn_core::Position;

use crate::source::SourceTable;

/// A batch that was handed out, or is being filled.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Commit position of its first row: the server must send from here again after a crash.
    first_lsn: u64,
    /// Position of its last row; `None` while it is being filled.
    last: Option<Position>,
}

/// Per table the batches that are not durable yet, in order.
#[derive(Debug, Default)]
pub struct Progress {
    open: FxHashMap<SourceTable, VecDeque<Open>>,
    read: u64,
    flushed: u64,
}

impl Progress {
    /// Everything before `lsn` was read, and each row of it is in a batch that was noted here.
    pub fn read_to(&mut self, lsn: u64) {
        self.read = self.read.max(lsn);
    }

    /// A batch of `table` got its first row, of the transaction that commits at `first_lsn`.
    pub fn filling(&mut self, table: &SourceTable, first_lsn: u64) {
        let queue = self.queue(table);
        if queue.back().is_none_or(|batch| batch.last.is_some()) {
            queue.push_back(Open { first_lsn, last: None });
        }
    }

    /// The batch that is being filled was handed out up to `last`.
    pub fn handed_out(&mut self, table: &SourceTable, last: Position) {
        if let Some(batch) = self.queue(table).back_mut() {
            batch.last = Some(last);
        }
    }

    /// The batch that was being filled got no row after all.
    pub fn nothing_filled(&mut self, table: &SourceTable) {
        let queue = self.queue(table);
        if queue.back().is_some_and(|batch| batch.last.is_none()) {
            queue.pop_back();
        }
    }

    fn queue(&mut self, table: &SourceTable) -> &mut VecDeque<Open> {
        if !self.open.contains_key(table) {
            self.open.insert(table.clone(), VecDeque::new());
        }
        self.open.get_mut(table).expect("inserted above if it was absent")
    }

    /// All rows of `table` up to `position` are durable.
    pub fn durable(&mut self, table: &SourceTable, position: Position) {
        let Some(queue) = self.open.get_mut(table) else { return };
        while queue.front().and_then(|batch| batch.last).is_some_and(|last| last <= position) {
            queue.pop_front();
        }
    }

    /// Position up to which everything was read.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Position before which the server may forget. Never goes back.
    pub fn flushed(&mut self) -> u64 {
        let fronts = self.open.values().filter_map(VecDeque::front);
        let safe = fronts.map(|batch| batch.first_lsn).min().unwrap_or(self.read).min(self.read);
        self.flushed = self.flushed.max(safe);
        self.flushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> SourceTable {
        SourceTable { namespace: "public".to_string(), name: name.to_string() }
    }

    #[test]
    fn the_server_may_forget_only_what_is_durable_in_every_table() {
        let (a, b) = (table("a"), table("b"));
        let mut progress = Progress::default();
        progress.filling(&a, 100);
        progress.filling(&a, 200);
        progress.read_to(210);
        assert_eq!(progress.flushed(), 100);
        progress.handed_out(&a, Position::new(200, 3));
        progress.filling(&b, 300);
        progress.handed_out(&b, Position::new(300, 1));
        progress.read_to(310);
        progress.durable(&b, Position::new(300, 1));
        assert_eq!(progress.flushed(), 100);
        progress.durable(&a, Position::new(200, 2));
        assert_eq!(progress.flushed(), 100);
        progress.durable(&a, Position::new(200, 3));
        assert_eq!(progress.flushed(), 310);
    }

    #[test]
    fn a_quiet_table_does_not_hold_the_others_back() {
        let mut progress = Progress::default();
        progress.filling(&table("a"), 100);
        progress.handed_out(&table("a"), Position::new(100, 1));
        progress.durable(&table("a"), Position::new(100, 1));
        progress.read_to(900);
        assert_eq!(progress.flushed(), 900);
        progress.filling(&table("a"), 950);
        assert_eq!(progress.flushed(), 900);
        progress.read_to(1000);
        assert_eq!(progress.flushed(), 950);
    }
}
