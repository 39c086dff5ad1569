//! Whether a start has found all that was durable (D7).
//!
//! A group's files can show by themselves that their middle is gone, but not that their end is, or
//! that they are gone altogether. The other groups can:
//!
//! | what is gone | what shows it |
//! |---|---|
//! | the end of a log | a note in any log or checkpoint: so far it was durable |
//! | the end of a shard's log | the line is dense: a revision below a recorded stable is nowhere |
//! | a shard's share of a revision | whoever else took part names it |
//! | a whole shard | control knows an epoch, which begins when every group has an entry |
//! | the whole control group | there is a shard, which is led only after control is won |
//! | the end of control's log | an epoch's number, in a shard, is the index of its entry there |
//!
//! Revisions are accounted for above the newest checkpoint's stable only: below, the log is gone,
//! and the note that the checkpoint carries takes its place. That every revision is here is true
//! of a member that is alone; one with peers may lack what they have, but nothing that is noted.

use crate::replica::{Found, RecoverError};
use crate::shard::{Account, Revisions};
use crate::types::{Epoch, GroupId, LogIndex, Note, Revision};
use crate::wal::{OpenError, group_directory, wal_directory};

/// The account of what the files of one group hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupAccount {
    pub group: GroupId,
    pub found: Found,
    /// The newest epoch that it knows.
    pub epoch: Epoch,
    /// A shard's part of the line.
    pub line: Option<Account>,
}

impl GroupAccount {
    pub(super) fn of_control(found: Found, epoch: Epoch) -> GroupAccount {
        GroupAccount { group: GroupId::CONTROL, found, epoch, line: None }
    }

    pub(super) fn of_shard(group: GroupId, found: Found, line: Account) -> GroupAccount {
        GroupAccount { group, found, epoch: line.epoch, line: Some(line) }
    }

    /// The file in which the log ends.
    fn end(&self) -> String {
        let file = &self.found.tail.file;
        if file.is_empty() { wal_directory(self.group) } else { file.clone() }
    }
}

/// Refuses what is not all that was there. `accounts` has every group of the member once.
pub fn check(mut accounts: Vec<GroupAccount>) -> Result<(), RecoverError> {
    accounts.sort_by_key(|account| account.group);
    let groups = accounts.iter().enumerate();
    assert!(groups.clone().all(|(at, account)| usize::from(account.group.0) == at), "every group");
    let checks = [find_absent, find_short, find_hole, find_half];
    match checks.iter().find_map(|check| check(&accounts)) {
        None => Ok(()),
        Some((file, what)) => Err(RecoverError::Files(OpenError::Missing { file, what })),
    }
}

/// A file, and what is wrong with it.
type Missing = (String, String);

fn find_absent(accounts: &[GroupAccount]) -> Option<Missing> {
    let (control, shards) = accounts.split_first().expect("there is a control group");
    if !control.found.is_begun {
        let shard = shards.iter().find(|shard| shard.found.is_begun)?;
        let (file, shard) = (group_directory(control.group), group_directory(shard.group));
        return Some((file, format!("the control group has no log, but {shard} has one")));
    }
    if control.epoch == Epoch(0) {
        return None; // No epoch ever opened: nothing was acknowledged.
    }
    let absent = shards.iter().find(|shard| !shard.found.is_begun)?;
    let (file, epoch) = (group_directory(absent.group), control.epoch.0);
    Some((file, format!("the group has no log, but the control group knows epoch {epoch}")))
}

fn find_short(accounts: &[GroupAccount]) -> Option<Missing> {
    accounts.iter().find_map(|account| {
        let at = usize::from(account.group.0);
        let noted = |by: &GroupAccount| (by.found.note.index(at), by.group);
        let mut known = accounts.iter().map(noted).max().expect("there are groups");
        if account.group == GroupId::CONTROL {
            let epochs = accounts.iter().map(|by| (LogIndex(by.epoch.0), by.group));
            known = epochs.max().expect("there are groups").max(known);
        }
        let (index, by) = known;
        (index > account.found.last).then(|| {
            let (last, offset) = (account.found.last, account.found.tail.offset);
            let by = group_directory(by);
            let what = format!(
                "the log ends with index {last} at offset {offset}, but index {index} was durable, \
                 as {by} records"
            );
            (account.end(), what)
        })
    })
}

fn lines(accounts: &[GroupAccount]) -> impl Iterator<Item = (&GroupAccount, &Account)> {
    accounts.iter().filter_map(|account| Some((account, account.line.as_ref()?)))
}

fn find_hole(accounts: &[GroupAccount]) -> Option<Missing> {
    let covered = lines(accounts).map(|(_, line)| line.covered).max()?;
    let noted = accounts.iter().map(|account| (account.found.note.stable, account.group));
    let recorded = lines(accounts).map(|(account, line)| (line.stable, account.group));
    let (stable, by) = noted.chain(recorded).max()?;
    let sets: Vec<&Revisions> = lines(accounts).map(|(_, line)| &line.revisions).collect();
    let missing = Revisions::first_missing(&sets, covered, stable)?;
    // A log that goes on behind it has lost nothing before.
    let ended = |line: &Account| line.revisions.last().unwrap_or(line.covered) < missing;
    let ends = lines(accounts).filter(|(_, line)| ended(line)).map(|(account, _)| account.end());
    let ends: Vec<String> = ends.collect();
    let by = group_directory(by);
    let what = format!(
        "revision {missing} is in no log, but everything up to {stable} was durable, as {by} \
         records"
    );
    Some((ends.join(" or "), what))
}

/// A revision of several shards that one of them lacks, though it was stable.
fn find_half(accounts: &[GroupAccount]) -> Option<Missing> {
    let note = accounts.iter().fold(Note::default(), |note, by| note.join(&by.found.note));
    let stable = lines(accounts).map(|(_, line)| line.stable).max()?.max(note.stable);
    let lacks = |revision: Revision, shard: &GroupAccount| {
        let line = shard.line.as_ref()?;
        let has = revision <= line.covered || line.revisions.contains(revision);
        (!has).then(|| shard.end())
    };
    lines(accounts).find_map(|(account, line)| {
        let shared = line.shared.iter().take_while(|(revision, _)| *revision <= stable);
        shared.into_iter().find_map(|(revision, participants)| {
            let groups = participants.iter().map(|shard| usize::from(GroupId::of(shard).0));
            let mut others = groups.filter_map(|group| accounts.get(group));
            let end = others.find_map(|shard| lacks(*revision, shard))?;
            let by = group_directory(account.group);
            Some((end, format!("the log lacks its part of revision {revision}, which {by} holds")))
        })
    })
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
