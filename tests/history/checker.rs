//! The walk over the revisions.

use std::collections::BTreeMap;

use super::{Outcome, Read, Record, Request, Write};

/// A key as it stands at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub value: String,
    pub create: i64,
    pub modified: i64,
    pub version: i64,
}

/// All keys at a revision.
pub type Store = BTreeMap<String, Entry>;

/// Acknowledged writes and answered reads, by revision.
type Claims = (BTreeMap<i64, Write>, BTreeMap<i64, Vec<Read>>);

/// Holds a history to what clients were told. It lives over restarts: what was checked once must
/// not change any more.
#[derive(Debug, Default)]
pub struct Checker {
    /// The last revision that was checked, and the store there.
    revision: i64,
    store: Store,
    /// Writes of values that may still appear: by value, or by key for deletes.
    values: BTreeMap<String, Write>,
    deletes: BTreeMap<String, Vec<Write>>,
    /// How much was checked: acknowledged writes, writes without an answer that stand, reads.
    pub acknowledged: u64,
    pub found_unanswered: u64,
    pub reads: u64,
}

impl Checker {
    /// A checker that begins with the store at this revision.
    pub fn new(revision: i64, store: Store) -> Checker {
        Checker { revision, store, ..Checker::default() }
    }

    /// The last revision that was checked.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Checks that what was checked before still stands, then every revision up to `newest`.
    /// `at` reads the whole store at a revision.
    pub fn check(
        &mut self,
        record: Record,
        newest: i64,
        mut at: impl FnMut(i64) -> Store,
    ) -> Result<(), String> {
        if newest < self.revision {
            return Err(format!("the store fell back from {} to {newest}", self.revision));
        }
        if at(self.revision) != self.store {
            return Err(format!("revision {} is no longer what it was", self.revision));
        }
        let (mut changed, mut reads) = self.take(record, newest)?;
        self.judge_reads(&mut reads)?;
        while self.revision < newest {
            let next = self.revision + 1;
            let store = at(next);
            self.step(next, store, &mut changed).map_err(|e| format!("revision {next}: {e}"))?;
            self.judge_reads(&mut reads)?;
        }
        if let Some((revision, write)) = changed.first_key_value() {
            return Err(format!(
                "acknowledged at {revision}, but the store is at {newest}: {write:?}"
            ));
        }
        match reads.first_key_value() {
            Some((revision, _)) => Err(format!("a read showed revision {revision} of {newest}")),
            None => Ok(()),
        }
    }

    /// Sorts what clients recorded; returns acknowledged writes and reads by revision.
    fn take(&mut self, record: Record, newest: i64) -> Result<Claims, String> {
        let mut changed = BTreeMap::new();
        for write in record.writes {
            match write.outcome {
                Outcome::Changed(revision) => {
                    if revision <= write.seen {
                        return Err(format!("began after {} was answered: {write:?}", write.seen));
                    }
                    if let Some(other) = changed.insert(revision, write.clone()) {
                        return Err(format!("one revision for {other:?} and {write:?}"));
                    }
                }
                Outcome::Nothing(revision) => {
                    if revision < write.seen || revision > newest {
                        return Err(format!(
                            "a header outside of {} to {newest}: {write:?}",
                            write.seen
                        ));
                    }
                }
                Outcome::Unknown => self.remember(write),
            }
        }
        let mut reads: BTreeMap<i64, Vec<Read>> = BTreeMap::new();
        for read in record.reads {
            if read.revision < read.seen {
                return Err(format!(
                    "a read of {} after {} was answered",
                    read.revision, read.seen
                ));
            }
            reads.entry(read.revision).or_default().push(read);
        }
        Ok((changed, reads))
    }

    fn remember(&mut self, write: Write) {
        match &write.request {
            Request::Put { value, .. } | Request::Swap { value, .. } => {
                self.values.insert(value.clone(), write);
            }
            Request::Delete { key } => self.deletes.entry(key.clone()).or_default().push(write),
        }
    }

    /// Judges the reads at the revision that has been reached.
    fn judge_reads(&mut self, reads: &mut BTreeMap<i64, Vec<Read>>) -> Result<(), String> {
        for read in reads.remove(&self.revision).unwrap_or_default() {
            let stands: Vec<(String, String, i64)> = self
                .store
                .range(read.prefix.clone()..)
                .take_while(|(key, _)| key.starts_with(&read.prefix))
                .map(|(key, entry)| (key.clone(), entry.value.clone(), entry.modified))
                .collect();
            if stands != read.kvs {
                return Err(format!("{read:?} does not show what stands there: {stands:?}"));
            }
            self.reads += 1;
        }
        Ok(())
    }

    fn step(
        &mut self,
        revision: i64,
        store: Store,
        changed: &mut BTreeMap<i64, Write>,
    ) -> Result<(), String> {
        let put = self.puts_of(revision, &store)?;
        let deleted: Vec<String> =
            self.store.keys().filter(|key| !store.contains_key(*key)).cloned().collect();
        let write = match changed.remove(&revision) {
            Some(write) => {
                self.acknowledged += 1;
                write
            }
            None => {
                self.found_unanswered += 1;
                self.unanswered(revision, &put, &deleted)?
            }
        };
        let whole = match &write.request {
            Request::Put { keys, value } => {
                let mut wanted: Vec<(String, String)> =
                    keys.iter().map(|key| (key.clone(), value.clone())).collect();
                wanted.sort();
                put == wanted && deleted.is_empty()
            }
            Request::Swap { key, value, expected } => {
                let stood = self.store.get(key).map_or(0, |entry| entry.modified);
                if stood != *expected {
                    return Err(format!("the swap compared with {expected}, not {stood}"));
                }
                put == [(key.clone(), value.clone())] && deleted.is_empty()
            }
            Request::Delete { key } => put.is_empty() && deleted == [key.clone()],
        };
        if !whole {
            return Err(format!("{write:?}, but it put {put:?} and deleted {deleted:?}"));
        }
        self.revision = revision;
        self.store = store;
        Ok(())
    }

    /// Key and value of everything put at this revision; everything else must be as it was.
    fn puts_of(&self, revision: i64, store: &Store) -> Result<Vec<(String, String)>, String> {
        let mut put = Vec::new();
        for (key, entry) in store {
            let before = self.store.get(key);
            if entry.modified != revision {
                if before != Some(entry) {
                    return Err(format!("{key} was {before:?} and is {entry:?}"));
                }
                continue;
            }
            let version = before.map_or(1, |before| before.version + 1);
            let create = before.map_or(revision, |before| before.create);
            if (entry.version, entry.create) != (version, create) {
                return Err(format!("{key} was {before:?} and is {entry:?}"));
            }
            put.push((key.clone(), entry.value.clone()));
        }
        Ok(put)
    }

    /// The request without an answer that made this revision.
    fn unanswered(
        &mut self,
        revision: i64,
        put: &[(String, String)],
        deleted: &[String],
    ) -> Result<Write, String> {
        let none = || format!("made by no request: put {put:?}, deleted {deleted:?}");
        let write = match (put.first(), deleted.first()) {
            (Some((_, value)), None) => self.values.remove(value).ok_or_else(none)?,
            (None, Some(key)) => {
                let open = self.deletes.get_mut(key).ok_or_else(none)?;
                let at = open.iter().position(|write| write.seen < revision).ok_or_else(none)?;
                open.swap_remove(at)
            }
            _ => return Err(none()),
        };
        if write.seen >= revision {
            return Err(format!("began after {} was answered: {write:?}", write.seen));
        }
        Ok(write)
    }
}

/// The checker must notice: each history here breaks one rule.
#[cfg(test)]
mod tests {
    use super::*;

    fn put(keys: &[&str], value: &str, seen: i64, outcome: Outcome) -> Write {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Write { request: Request::Put { keys, value: value.to_owned() }, seen, outcome }
    }

    fn entry(value: &str, create: i64, modified: i64, version: i64) -> Entry {
        Entry { value: value.to_owned(), create, modified, version }
    }

    /// Store 1 is empty, 2 has a and b of one request, 3 has a put again.
    fn at(revision: i64) -> Store {
        let key = |name: &str, entry| (name.to_owned(), entry);
        match revision {
            1 => Store::new(),
            2 => Store::from([key("a", entry("v", 2, 2, 1)), key("b", entry("v", 2, 2, 1))]),
            _ => Store::from([key("a", entry("w", 2, 3, 2)), key("b", entry("v", 2, 2, 1))]),
        }
    }

    fn judge(writes: Vec<Write>, reads: Vec<Read>) -> Result<(), String> {
        Checker::new(1, Store::new()).check(Record { writes, reads }, 3, at)
    }

    fn good() -> Vec<Write> {
        vec![
            put(&["b", "a"], "v", 1, Outcome::Changed(2)),
            put(&["a"], "w", 2, Outcome::Changed(3)),
            put(&["c"], "x", 2, Outcome::Unknown),
        ]
    }

    #[test]
    fn a_history_that_keeps_all_rules_passes() {
        judge(good(), vec![]).expect("a good history");
        let mut unanswered = good();
        unanswered[1].outcome = Outcome::Unknown;
        judge(unanswered, vec![]).expect("an unanswered write may stand");
    }

    /// What the checker says, and what is done to the good history.
    type Broken = (&'static str, fn(&mut Vec<Write>));

    #[test]
    fn every_broken_rule_is_noticed() {
        let broken: [Broken; 7] = [
            ("made by no request", |writes| drop(writes.remove(0))),
            ("acknowledged at 4", |writes| writes[1].outcome = Outcome::Changed(4)),
            ("made by no request", |writes| writes[1].outcome = Outcome::Nothing(3)),
            ("began after 3", |writes| writes[1].seen = 3),
            ("but it put", |writes| writes[0] = put(&["a"], "v", 1, Outcome::Changed(2))),
            ("but it put", |writes| writes[0] = put(&["a", "b", "c"], "v", 1, Outcome::Changed(2))),
            ("one revision for", |writes| writes[2].outcome = Outcome::Changed(3)),
        ];
        for (reason, spoil) in broken {
            let mut writes = good();
            spoil(&mut writes);
            // Without the acknowledged write at 3, what is there must be unanswered.
            if reason == "acknowledged at 4" {
                writes.push(put(&["a"], "w", 2, Outcome::Unknown));
            }
            let told = judge(writes, vec![]).expect_err(reason);
            assert!(told.contains(reason), "{reason}: {told}");
        }
    }

    #[test]
    fn reads_are_held_to_the_revision_of_their_header() {
        let read = |revision, seen, value: &str| Read {
            prefix: "a".to_owned(),
            seen,
            revision,
            kvs: vec![("a".to_owned(), value.to_owned(), revision)],
        };
        judge(good(), vec![read(2, 2, "v"), read(3, 2, "w")]).expect("good reads");
        judge(good(), vec![read(3, 2, "v")]).expect_err("an old value");
        judge(good(), vec![read(2, 3, "v")]).expect_err("a stale revision");
        judge(good(), vec![read(4, 2, "w")]).expect_err("a revision that is not there");
    }

    #[test]
    fn a_swap_stands_on_what_it_compared_with() {
        let swap = |expected| {
            let request = Request::Swap { key: "a".to_owned(), value: "w".to_owned(), expected };
            vec![good()[0].clone(), Write { request, seen: 2, outcome: Outcome::Changed(3) }]
        };
        judge(swap(2), vec![]).expect("a good swap");
        judge(swap(1), vec![]).expect_err("a swap over a version it did not see");
    }
}
