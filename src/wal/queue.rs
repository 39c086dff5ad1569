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

/// The content of one batch.
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

    /// Whether the first record is what is left of one that was taken in part.
    pub fn is_in_parts(&self) -> bool {
        let first = self.appends.front().and_then(|append| append.records.front());
        matches!(first, Some(Record::Part(_)))
    }

    /// Bytes of records that the next batch has at least, given the room; as in [`Queue::take`].
    pub fn least(&self, budget: usize, largest: usize) -> usize {
        let Some(append) = self.appends.front() else { return 0 };
        let first = append.records.front().map_or(0, Record::bytes);
        if append.bytes <= budget { append.bytes } else { first.min(largest) }
    }

    /// Takes appends, whole, up to `budget` bytes and never more than `room`. Only an append that
    /// exceeds the budget by itself is split; only a record that does goes beyond the budget, and
    /// one above `largest` in parts of at most so many bytes. Nothing comes out if the first of it
    /// does not fit the room, or if a part of it would be small.
    pub fn take(&mut self, budget: usize, room: usize, largest: usize) -> Taken {
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
            self.split(budget, room, largest, &mut taken);
        }
        self.bytes -= taken.bytes;
        taken
    }

    fn split(&mut self, budget: usize, room: usize, largest: usize, taken: &mut Taken) {
        let Some(append) = self.appends.front_mut() else { return };
        if append.bytes <= budget {
            return;
        }
        while let Some(record) = append.records.front_mut() {
            if taken.records.is_empty() && record.bytes() > largest {
                if room >= largest / 2 {
                    let whole = record.bytes();
                    taken.bytes = room.min(largest);
                    taken.records.push(record.take_part(taken.bytes));
                    // The rest has a head of its own, which names the entry again.
                    let grown = taken.bytes + record.bytes() - whole;
                    append.bytes = append.bytes + grown - taken.bytes;
                    self.bytes += grown;
                }
                return;
            }
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

    const LARGEST: usize = 400;

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
        let taken = queue.take(budget, room, LARGEST);
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

    #[test]
    fn a_record_that_is_too_large_goes_in_parts_wherever_there_is_room_for_half() {
        let mut queue = Queue::default();
        queue.push(1, entries(&[40, 1000, 30]));
        queue.push(2, entries(&[50]));
        assert_eq!(take(&mut queue, 100, 1000), (1, 40, None), "what comes before it goes alone");
        assert!(!queue.is_in_parts());
        assert_eq!(take(&mut queue, 100, 199), (0, 0, None));
        assert_eq!(take(&mut queue, 100, 200), (1, 200, None));
        assert!(queue.is_in_parts());
        assert_eq!(take(&mut queue, 100, 1000), (1, 400, None));
        // 1000 bytes have a header of 24; each part has one of 32.
        let left = 976 - 168 - 368 + 32;
        assert_eq!(queue.bytes(), left + 30 + 50);
        assert_eq!(take(&mut queue, 100, 1000), (1, 400, None));
        assert_eq!(take(&mut queue, 100, 1000), (1, left - 368, None), "the last of it");
        assert!(!queue.is_in_parts());
        assert_eq!(take(&mut queue, 100, 1000), (2, 80, Some(2)));
        assert!(queue.is_empty() && queue.bytes() == 0);
    }
}
