//! The queue of records that wait to be written.

use std::collections::VecDeque;

use super::format::Record;

/// Records in the order they were appended, by ticket.
#[derive(Debug, Default)]
pub(super) struct Queue {
    appends: VecDeque<Append>,
    bytes: usize,
}

#[derive(Debug)]
struct Append {
    ticket: u64,
    bytes: usize,
    records: VecDeque<Record>,
}

/// What goes into one batch.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub records: Vec<Record>,
    pub bytes: usize,
    /// The last ticket of which nothing is left in the queue.
    pub ticket: Option<u64>,
}

impl Queue {
    pub fn push(&mut self, ticket: u64, records: VecDeque<Record>) {
        let bytes = records.iter().map(Record::bytes).sum();
        self.bytes += bytes;
        self.appends.push_back(Append { ticket, bytes, records });
    }

    pub fn is_empty(&self) -> bool {
        self.appends.is_empty()
    }

    /// Bytes of records that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes appends, whole, up to `budget` bytes and never more than `room`. Only an append that
    /// exceeds the budget by itself is split; only a record that does goes beyond the budget.
    /// Nothing comes out if the first of it does not fit the room.
    pub fn take(&mut self, budget: usize, room: usize) -> Taken {
        let mut taken = Taken::default();
        while let Some(append) = self.appends.front() {
            if taken.bytes + append.bytes > budget.min(room) {
                break;
            }
            let append = self.appends.pop_front().expect("just looked at");
            taken.bytes += append.bytes;
            taken.records.extend(append.records);
            taken.ticket = Some(append.ticket);
        }
        if taken.ticket.is_none() {
            self.split(budget, room, &mut taken);
        }
        self.bytes -= taken.bytes;
        taken
    }

    fn split(&mut self, budget: usize, room: usize, taken: &mut Taken) {
        let Some(append) = self.appends.front_mut() else { return };
        if append.bytes <= budget {
            return;
        }
        while let Some(record) = append.records.front() {
            let limit = if taken.records.is_empty() { room } else { budget.min(room) };
            if taken.bytes + record.bytes() > limit {
                break;
            }
            taken.bytes += record.bytes();
            taken.records.extend(append.records.pop_front());
        }
        append.bytes -= taken.bytes;
        if append.records.is_empty() {
            taken.ticket = self.appends.pop_front().map(|append| append.ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::types::{EntryKind, LogEntry, LogIndex, Term};
    use crate::wal::format::RECORD_HEADER_BYTES;

    fn entries(sizes: &[usize]) -> VecDeque<Record> {
        let entry = |&bytes: &usize| {
            let data = Bytes::from(vec![0; bytes - RECORD_HEADER_BYTES]);
            let (index, term) = (LogIndex(1), Term(1));
            Record::Entry(LogEntry { index, term, kind: EntryKind::Normal, data })
        };
        sizes.iter().map(entry).collect()
    }

    /// (records, bytes, ticket) of one batch
    fn take(queue: &mut Queue, budget: usize, room: usize) -> (usize, usize, Option<u64>) {
        let taken = queue.take(budget, room);
        (taken.records.len(), taken.bytes, taken.ticket)
    }

    #[test]
    fn appends_share_a_batch_and_are_not_split_for_its_sake() {
        let mut queue = Queue::default();
        queue.push(1, entries(&[40, 40]));
        queue.push(2, entries(&[]));
        queue.push(3, entries(&[50]));
        assert_eq!(take(&mut queue, 100, 1000), (2, 80, Some(2)));
        assert_eq!(take(&mut queue, 100, 49), (0, 0, None));
        assert_eq!(take(&mut queue, 100, 50), (1, 50, Some(3)));
        assert!(queue.is_empty() && queue.bytes() == 0);
    }

    #[test]
    fn a_large_append_is_split_and_a_large_record_goes_alone() {
        let mut queue = Queue::default();
        queue.push(1, entries(&[60, 60, 300, 30]));
        assert_eq!(take(&mut queue, 100, 1000), (1, 60, None));
        assert_eq!(take(&mut queue, 100, 1000), (1, 60, None));
        assert_eq!(take(&mut queue, 100, 299), (0, 0, None));
        assert_eq!(take(&mut queue, 100, 300), (1, 300, None));
        assert_eq!(queue.bytes(), 30);
        assert_eq!(take(&mut queue, 100, 1000), (1, 30, Some(1)));
    }
}
