//! A replica's life: alone, restarted, with several Readies outstanding, and among three.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{BadMessage, BadRestored, Dropped, Group, GroupConfig, Message, Ready, Restored, Role};
use crate::limits::{LOG_TAIL_ENTRIES, UNCOMMITTED_BYTES_MAX};
use crate::types::{Attempt, EntryKind, GroupId, HardState, LogEntry, LogIndex, Term};

fn config(raft_id: u64, voters: &[u64]) -> GroupConfig {
    GroupConfig {
        group: GroupId(1),
        raft_id,
        voters: voters.to_vec(),
        learners: vec![],
        elects: false,
        heartbeat_ticks: 1,
        election_ticks: 10,
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A replica with its disk: what was written, and of that what is durable.
struct Replica {
    group: Group,
    config: GroupConfig,
    unsynced: VecDeque<Ready>,
    disk: Restored,
    applied: Vec<LogEntry>,
    roles: Vec<Role>,
    confirmed: Vec<u64>,
    /// Where what may leave goes.
    out: Vec<Message>,
}

impl Replica {
    fn new(config: GroupConfig) -> Replica {
        Replica::restart(config, Restored::default())
    }

    fn restart(config: GroupConfig, disk: Restored) -> Replica {
        let group = Group::new(&config, disk.clone()).expect("the disk makes sense");
        let (unsynced, applied) = (VecDeque::new(), vec![]);
        let (roles, confirmed, out) = (vec![], vec![], vec![]);
        Replica { group, config, unsynced, disk, applied, roles, confirmed, out }
    }

    /// Takes what is ready, without making anything durable.
    fn turn(&mut self) {
        while let Some(mut ready) = self.group.ready() {
            assert_eq!(ready.must_persist, ready.hard_state.is_some() || !ready.entries.is_empty());
            self.out.append(&mut ready.messages);
            self.confirmed.append(&mut ready.confirmed);
            self.roles.extend(ready.role.map(|change| change.role));
            for entry in ready.committed.drain(..) {
                let before = self.applied.last().map_or(self.disk.applied, |entry| entry.index);
                assert_eq!(entry.index.0, before.0 + 1, "committed entries in order, once");
                self.group.applied_to(entry.index);
                self.applied.push(entry);
            }
            if ready.must_persist {
                self.unsynced.push_back(ready);
            }
        }
    }

    /// Makes the oldest `count` Readies durable, in one go.
    fn sync(&mut self, count: usize) {
        let mut number = None;
        for ready in self.unsynced.drain(..count) {
            if let Some(first) = ready.entries.first() {
                self.disk.entries.retain(|entry| entry.index < first.index);
                self.disk.entries.extend(ready.entries.iter().cloned());
            }
            self.disk.hard_state = ready.hard_state.unwrap_or(self.disk.hard_state);
            number = Some(ready.number);
        }
        if let Some(number) = number {
            let mut after = self.group.persisted(number);
            self.out.append(&mut after.messages);
        }
        self.turn();
    }

    /// Until nothing is left to do here.
    fn settle(&mut self) {
        self.turn();
        while !self.unsynced.is_empty() {
            self.sync(self.unsynced.len());
        }
    }

    /// Loses what is not durable, and the store.
    fn crash(self) -> Replica {
        Replica::restart(self.config, self.disk)
    }

    fn data(&self) -> Vec<String> {
        let entries = self.applied.iter().filter(|entry| !entry.data.is_empty());
        entries.map(|entry| String::from_utf8_lossy(&entry.data).into_owned()).collect()
    }
}

fn leading_alone() -> Replica {
    let mut replica = Replica::new(config(7, &[7]));
    replica.group.campaign();
    replica.settle();
    assert!(replica.group.has_committed_in_term());
    replica
}

#[test]
fn a_single_voter_commits_only_what_is_durable() {
    let mut replica = Replica::new(config(7, &[7]));
    assert_eq!(replica.group.propose(bytes("a")), Err(Dropped::NotLeader));
    assert!(replica.group.ready().is_none(), "nothing to do at rest");
    replica.group.campaign();
    assert!(replica.group.is_leader());
    assert!(!replica.group.has_committed_in_term());
    replica.turn();
    assert_eq!(replica.roles, [Role::Leader]);
    assert_eq!(replica.group.propose(bytes("a")), Ok(LogIndex(2)));
    replica.turn();
    assert_eq!(replica.unsynced.len(), 2);
    let vote = HardState { term: Term(1), vote: 7, commit: LogIndex(0) };
    assert_eq!(replica.unsynced[0].hard_state, Some(vote));
    assert_eq!(replica.unsynced[1].hard_state, None, "it did not change");
    assert_eq!(replica.group.committed(), LogIndex(0));
    replica.sync(1);
    assert!(replica.group.has_committed_in_term());
    assert_eq!((replica.group.committed(), replica.data()), (LogIndex(1), vec![]));
    replica.sync(1);
    assert_eq!((replica.group.committed(), replica.data()), (LogIndex(2), vec!["a".into()]));
    assert!(replica.group.ready().is_none() && replica.out.is_empty());
}

#[test]
fn several_readies_become_durable_in_one_go() {
    let mut replica = leading_alone();
    for n in 0..20 {
        replica.group.propose(bytes(&format!("{n}"))).expect("it leads");
        replica.turn();
    }
    assert_eq!(replica.unsynced.len(), 20);
    assert!(replica.unsynced.iter().all(|ready| ready.entries.len() == 1));
    replica.sync(13);
    assert_eq!(replica.data().len(), 13);
    replica.sync(7);
    assert_eq!(replica.data(), (0..20).map(|n| format!("{n}")).collect::<Vec<_>>());
    // The commit index rides along with the next entries and is never written for itself.
    replica.group.propose(bytes("x")).expect("it leads");
    replica.turn();
    let hard_state = replica.unsynced[0].hard_state.expect("the commit index changed");
    assert_eq!(hard_state.commit, LogIndex(21));
}

#[test]
fn proposals_of_one_turn_come_in_one_ready_and_share_their_bytes() {
    let mut replica = leading_alone();
    let data = bytes("a value that is not copied");
    for _ in 0..5 {
        replica.group.propose(data.clone()).expect("it leads");
    }
    replica.turn();
    assert_eq!(replica.unsynced.len(), 1);
    assert_eq!(replica.unsynced[0].entries.len(), 5);
    replica.settle();
    for entry in &replica.applied[1..] {
        assert_eq!(entry.data.as_ptr(), data.as_ptr());
        assert_eq!(entry.kind, EntryKind::Normal);
    }
}

#[test]
fn a_restart_keeps_what_was_durable_and_commits_it_in_the_next_term() {
    let mut replica = leading_alone();
    for text in ["a", "b", "c"] {
        replica.group.propose(bytes(text)).expect("it leads");
        replica.turn();
    }
    // b becomes durable and is never committed; c is lost.
    replica.sync(2);
    let mut replica = replica.crash();
    assert_eq!((replica.group.term(), replica.group.last_index()), (Term(1), LogIndex(3)));
    replica.turn();
    assert_eq!(replica.data(), Vec::<String>::new(), "commit index 1 is all that the disk knows");
    replica.group.campaign();
    replica.settle();
    assert_eq!(replica.group.term(), Term(2));
    assert_eq!(replica.data(), ["a", "b"]);
    assert_eq!(replica.group.propose(bytes("d")), Ok(LogIndex(5)));
    replica.settle();
    assert_eq!(replica.data(), ["a", "b", "d"]);
}

#[test]
fn a_restart_from_a_checkpoint_gives_only_what_the_store_does_not_have() {
    let mut replica = leading_alone();
    for n in 0..6 {
        replica.group.propose(bytes(&format!("{n}"))).expect("it leads");
    }
    replica.settle();
    let mut disk = replica.disk;
    assert_eq!(disk.entries.len(), 7);
    // A checkpoint at entry 3, the log kept from 2 on; the disk knows of no commit.
    disk.entries.remove(0);
    disk.snapshot = (LogIndex(1), Term(1));
    disk.applied = LogIndex(3);
    disk.hard_state.commit = LogIndex(0);
    let mut replica = Replica::restart(config(7, &[7]), disk);
    assert_eq!(replica.group.applied(), LogIndex(3));
    replica.group.campaign();
    replica.settle();
    assert_eq!(replica.data(), ["2", "3", "4", "5"]);
}

#[test]
fn a_proposal_beyond_the_bound_is_dropped_before_anything_happens() {
    let mut replica = leading_alone();
    let huge = Bytes::from(vec![1; UNCOMMITTED_BYTES_MAX + 1]);
    assert!(replica.group.can_propose(huge.len()), "a single one may be larger");
    replica.group.propose(huge).expect("a single one may be larger");
    assert!(!replica.group.can_propose(1));
    let last = replica.group.last_index();
    assert_eq!(replica.group.propose(bytes("x")), Err(Dropped::Full));
    assert_eq!(replica.group.last_index(), last);
    replica.settle();
    assert!(replica.group.can_propose(UNCOMMITTED_BYTES_MAX));
    assert!(replica.group.propose(bytes("x")).is_ok());
}

/// raft-rs makes a single voter leader on the spot and panics if its log is not durable then.
#[test]
fn a_single_voter_with_a_write_under_way_leads_when_it_is_durable() {
    let mut replica = Replica::new(config(7, &[7]));
    replica.group.campaign();
    replica.turn();
    // A member that was removed speaks up with a higher term.
    let mut stray = ::raft::eraftpb::Message { to: 7, from: 9, term: 4, ..Default::default() };
    stray.msg_type = ::raft::eraftpb::MessageType::MsgHeartbeat;
    replica.group.step(Message::plain(stray)).expect("it makes sense");
    replica.turn();
    assert!(!replica.group.is_leader());
    replica.group.campaign();
    assert!(!replica.group.is_leader(), "entry 1 is not durable");
    replica.sync(1);
    assert!(!replica.group.is_leader(), "the term of the stray message is not durable");
    replica.settle();
    assert!(replica.group.has_committed_in_term());
    assert_eq!(replica.group.last(), (LogIndex(2), Term(5)));
}

#[test]
fn a_control_group_of_one_leads_when_it_is_told_to_or_in_time() {
    let elects = || Replica::new(GroupConfig { elects: true, ..config(7, &[7]) });
    let mut told = elects();
    told.group.campaign();
    told.settle();
    assert!(told.group.has_committed_in_term());
    assert_eq!(told.roles, [Role::Leader]);
    let mut waits = elects();
    for tick in 1..=20 {
        waits.group.tick(tick * 7);
        waits.settle();
    }
    assert!(waits.group.has_committed_in_term());
    assert_eq!(waits.group.term(), Term(1), "a quorum of one stays one");
}

#[test]
fn alone_a_replica_keeps_nothing_in_memory_that_is_applied() {
    let mut replica = leading_alone();
    for _ in 0..100 {
        replica.group.propose(bytes("value")).expect("it leads");
        replica.settle();
    }
    assert_eq!(replica.group.in_memory(), (LogIndex(102), 0));
    replica.group.truncate(LogIndex(50), Term(1));
    assert_eq!(replica.group.in_memory(), (LogIndex(102), 0));
    assert_eq!(replica.group.last(), (LogIndex(101), Term(1)));
}

#[test]
#[should_panic(expected = "truncated through 5, applied through 1")]
fn what_is_not_applied_is_not_truncated() {
    leading_alone().group.truncate(LogIndex(5), Term(1));
}

#[test]
#[should_panic(expected = "is reported as applied")]
fn what_is_not_durable_is_not_applied() {
    let mut replica = leading_alone();
    let index = replica.group.propose(bytes("a")).expect("it leads");
    replica.turn();
    replica.group.applied_to(index);
}

#[test]
fn reads_are_confirmed_after_the_first_commit_of_the_term_only() {
    let mut replica = Replica::new(config(7, &[7]));
    assert_eq!(replica.group.confirm(1), Err(Dropped::NotLeader));
    replica.group.campaign();
    assert_eq!(replica.group.confirm(1), Err(Dropped::NewTerm));
    replica.settle();
    assert_eq!(replica.group.confirm(1), Ok(()));
    assert_eq!(replica.group.confirm(2), Ok(()));
    replica.turn();
    assert_eq!(replica.confirmed, [1, 2]);
}

fn entry(index: u64, term: u64) -> LogEntry {
    let data = bytes("x");
    LogEntry { index: LogIndex(index), term: Term(term), kind: EntryKind::Normal, data }
}

#[test]
fn a_log_that_contradicts_itself_is_refused_with_the_reason() {
    let hard_state = HardState { term: Term(3), vote: 7, commit: LogIndex(12) };
    let snapshot = (LogIndex(10), Term(2));
    let good = Restored {
        hard_state,
        snapshot,
        entries: vec![entry(11, 2), entry(12, 3)],
        applied: LogIndex(11),
    };
    let start = |restored: &Restored| Group::new(&config(7, &[7]), restored.clone()).map(|_| ());
    assert_eq!(start(&good), Ok(()));
    let group = GroupId(1);

    let mut gap = good.clone();
    gap.entries.remove(0);
    let (expected, found) = (LogIndex(11), LogIndex(12));
    assert_eq!(start(&gap), Err(BadRestored::Gap { group, expected, found }));

    let mut falls = good.clone();
    falls.entries[1].term = Term(1);
    let (index, term, bounds) = (LogIndex(12), Term(1), (Term(2), Term(3)));
    assert_eq!(start(&falls), Err(BadRestored::Term { group, index, term, bounds }));

    let mut ahead = good.clone();
    ahead.hard_state.term = Term(2);
    assert!(matches!(start(&ahead), Err(BadRestored::Term { .. })));

    let mut lost = good.clone();
    lost.entries.pop();
    let (known, last) = (LogIndex(12), LogIndex(11));
    let error = BadRestored::Lost { group, known, last };
    assert_eq!(start(&lost), Err(error.clone()));
    assert_eq!(error.to_string(), "group 1: the log ends at entry 11, but entry 12 was committed");

    let mut applied = good.clone();
    applied.applied = LogIndex(13);
    assert!(matches!(start(&applied), Err(BadRestored::Lost { .. })));

    let mut behind = good.clone();
    behind.applied = LogIndex(9);
    assert!(matches!(start(&behind), Err(BadRestored::Behind { .. })));

    let mut old_vote = good;
    old_vote.entries.clear();
    old_vote.hard_state = HardState { term: Term(1), vote: 0, commit: LogIndex(0) };
    old_vote.applied = LogIndex(10);
    assert!(matches!(start(&old_vote), Err(BadRestored::Term { .. })));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |config: GroupConfig| match Group::new(&config, Restored::default()) {
        Err(BadRestored::Settings(reason)) => reason,
        _ => panic!("{config:?} was taken"),
    };
    assert_eq!(refused(config(0, &[1])), "group 1: a member ID is 0");
    assert_eq!(refused(config(1, &[])), "group 1: there is no voter");
    assert_eq!(refused(config(1, &[1, 1])), "group 1: a member is named twice");
    let hasty = GroupConfig { election_ticks: 1, ..config(1, &[1]) };
    assert!(refused(hasty).contains("election timeout"));
}

/// Several replicas and what is on its way between them.
struct Cluster {
    replicas: BTreeMap<u64, Replica>,
    cut_off: Vec<u64>,
    ticks: u64,
    attempts: u64,
}

impl Cluster {
    fn new(ids: &[u64], elects: bool) -> Cluster {
        let replica = |id: &u64| (*id, Replica::new(GroupConfig { elects, ..config(*id, ids) }));
        Cluster {
            replicas: ids.iter().map(replica).collect(),
            cut_off: vec![],
            ticks: 0,
            attempts: 0,
        }
    }

    fn get(&mut self, id: u64) -> &mut Replica {
        self.replicas.get_mut(&id).expect("a replica of the cluster")
    }

    /// Delivers until nothing moves any more, through the wire's encoding.
    fn settle(&mut self) {
        loop {
            self.replicas.values_mut().for_each(Replica::settle);
            let mut moved = false;
            let ids: Vec<u64> = self.replicas.keys().copied().collect();
            for id in ids {
                for message in std::mem::take(&mut self.get(id).out) {
                    let to = message.to();
                    if self.cut_off.contains(&id) || self.cut_off.contains(&to) {
                        continue;
                    }
                    let mut wire = vec![];
                    message.encode(&mut wire);
                    assert_eq!(wire.len(), message.encoded_len());
                    let decoded = Message::decode(Bytes::from(wire)).expect("our own encoding");
                    assert_eq!(decoded, message);
                    self.get(to).group.step(decoded).expect("a message that makes sense");
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        for (id, replica) in &mut self.replicas {
            // Different on every member, the same in every run.
            replica.group.tick(self.ticks.wrapping_mul(31).wrapping_add(*id * 17));
        }
        self.settle();
    }

    fn leaders(&self) -> Vec<u64> {
        let leads = |(id, replica): (&u64, &Replica)| replica.group.is_leader().then_some(*id);
        self.replicas.iter().filter_map(leads).collect()
    }

    fn lead(&mut self, id: u64) {
        self.attempts += 1;
        let number = self.attempts;
        self.get(id).group.campaign_in(attempt(1, number));
        self.settle();
        assert!(self.get(id).group.has_committed_in_term());
    }
}

#[test]
fn three_replicas_elect_and_replicate() {
    let mut cluster = Cluster::new(&[1, 2, 3], false);
    cluster.lead(2);
    for n in 0..10 {
        cluster.get(2).group.propose(bytes(&format!("{n}"))).expect("it leads");
    }
    assert!(cluster.get(2).group.has_unacknowledged());
    cluster.settle();
    assert!(!cluster.get(2).group.has_unacknowledged(), "nothing is left to tick for");
    let expected: Vec<String> = (0..10).map(|n| format!("{n}")).collect();
    for id in 1..=3 {
        assert_eq!(cluster.get(id).data(), expected, "replica {id}");
        assert_eq!(cluster.get(id).group.leader(), Some(2));
    }
    assert_eq!(cluster.get(1).group.propose(bytes("x")), Err(Dropped::NotLeader));
    assert!(cluster.get(1).group.ready().is_none(), "nothing is forwarded");
}

#[test]
fn a_candidate_and_a_voter_say_nothing_before_it_is_durable() {
    let mut cluster = Cluster::new(&[1, 2, 3], false);
    let candidate = cluster.get(1);
    candidate.group.campaign();
    candidate.turn();
    assert!(candidate.out.is_empty(), "its own vote is not durable");
    candidate.sync(1);
    assert_eq!(candidate.out.len(), 2);
    let request = candidate.out.remove(0);
    let voter = cluster.get(request.to());
    voter.group.step(request).expect("it makes sense");
    voter.turn();
    assert!(voter.out.is_empty(), "its vote is not durable");
    voter.sync(1);
    assert_eq!(voter.out.len(), 1);
}

#[test]
fn a_leader_sends_before_its_own_write_is_durable_and_counts_itself_after() {
    let mut cluster = Cluster::new(&[1, 2, 3], false);
    cluster.lead(1);
    let leader = cluster.get(1);
    leader.group.propose(bytes("a")).expect("it leads");
    leader.turn();
    assert_eq!((leader.out.len(), leader.unsynced.len()), (2, 1));
    for message in std::mem::take(&mut cluster.get(1).out) {
        let follower = cluster.get(message.to());
        follower.group.step(message).expect("it makes sense");
        follower.turn();
        assert!(follower.out.is_empty(), "an acknowledgement waits for the disk");
        follower.sync(1);
    }
    for id in [2, 3] {
        for message in std::mem::take(&mut cluster.get(id).out) {
            cluster.get(1).group.step(message).expect("it makes sense");
        }
    }
    cluster.get(1).turn();
    assert_eq!(cluster.get(1).group.committed(), LogIndex(2), "a quorum without the leader");
    assert_eq!(cluster.get(1).data(), Vec::<String>::new(), "not durable here, so not applied");
    cluster.settle();
    assert_eq!(cluster.get(1).data(), ["a"]);
}

/// A leader alone with a learner does not need anyone's vote, so nothing would make it wait.
#[test]
fn a_leader_sends_nothing_before_its_own_vote_is_durable() {
    let learners = vec![9];
    let mut leader = Replica::new(GroupConfig { learners, ..config(7, &[7]) });
    leader.group.campaign();
    leader.group.propose(bytes("a")).expect("it leads");
    leader.turn();
    assert!(leader.out.is_empty(), "it could vote again in the same term after a crash");
    leader.sync(1);
    assert!(!leader.out.is_empty());
    leader.settle();
    leader.out.clear();
    leader.group.tick(0);
    leader.group.propose(bytes("b")).expect("it leads");
    leader.turn();
    assert!(!leader.out.is_empty() && leader.unsynced.len() == 1, "later ones leave at once");
}

#[test]
fn the_control_group_elects_by_its_ticks_and_a_shard_group_does_not() {
    let mut idle = Cluster::new(&[1, 2, 3], false);
    (0..100).for_each(|_| idle.tick());
    assert_eq!(idle.leaders(), Vec::<u64>::new());

    let run = || {
        let mut cluster = Cluster::new(&[1, 2, 3], true);
        let mut history = vec![];
        for tick in 0..120 {
            if tick == 60 {
                let leader = cluster.leaders()[0];
                cluster.cut_off.push(leader);
            }
            cluster.tick();
            history.push(cluster.leaders());
        }
        assert_eq!(history[59].len(), 1);
        // check_quorum makes the one that was cut off notice.
        assert_eq!(history[119].len(), 1);
        assert_ne!(history[119], history[59]);
        history
    };
    assert_eq!(run(), run(), "the same entropy, the same elections");
}

#[test]
fn entries_of_a_deposed_leader_give_way_and_nothing_committed_does() {
    let mut cluster = Cluster::new(&[1, 2, 3], false);
    cluster.lead(1);
    cluster.get(1).group.propose(bytes("kept")).expect("it leads");
    cluster.settle();
    cluster.cut_off.push(1);
    for _ in 0..3 {
        cluster.get(1).group.propose(bytes("lost")).expect("it leads, as far as it knows");
    }
    cluster.settle();
    cluster.lead(3);
    cluster.get(3).group.propose(bytes("new")).expect("it leads");
    cluster.settle();
    cluster.cut_off.clear();
    (0..3).for_each(|_| cluster.tick());
    for id in 1..=3 {
        assert_eq!(cluster.get(id).data(), ["kept", "new"], "replica {id}");
    }
    assert!(!cluster.get(1).group.is_leader());
    // What its disk holds is the same log.
    let replica = cluster.replicas.remove(&1).expect("it is there").crash();
    assert_eq!(replica.group.last(), cluster.get(3).group.last());
}

fn attempt(term: u64, number: u64) -> Attempt {
    Attempt { term: Term(term), number }
}

/// C1: a late campaign raises the term on a follower, and the request to the leader is lost. With
/// `check_quorum` and `pre_vote` both off, the leader's appends are then dropped in silence, and it
/// leads for ever without committing anything.
#[test]
fn a_late_campaign_whose_request_to_the_leader_is_lost_wedges_nothing() {
    let mut cluster = Cluster::new(&[1, 2, 3], false);
    cluster.get(1).group.campaign_in(attempt(1, 1));
    cluster.settle();
    cluster.cut_off.push(3);
    cluster.get(1).group.propose(bytes("a")).expect("it leads");
    cluster.settle();
    cluster.cut_off = vec![1];
    cluster.get(3).group.campaign_in(attempt(1, 2));
    cluster.settle();
    assert_eq!(cluster.leaders(), [1], "2 refuses, and 1 has not heard of it");
    assert_eq!(cluster.get(3).group.ahead(), Some(2));
    cluster.cut_off.clear();
    cluster.get(1).group.propose(bytes("b")).expect("it leads, as far as it knows");
    (0..40).for_each(|_| cluster.tick());
    assert_eq!(cluster.leaders(), Vec::<u64>::new(), "it is told of the later term");
    cluster.get(1).group.campaign_in(attempt(1, 3));
    cluster.settle();
    assert_eq!(cluster.leaders(), [1]);
    assert_eq!(
        (cluster.get(2).data(), cluster.get(3).data().len()),
        (vec!["a".into(), "b".into()], 2)
    );
}

#[test]
fn a_campaign_is_by_force_and_one_of_an_older_attempt_is_dropped() {
    let mut cluster = Cluster::new(&[1, 2, 3], false);
    cluster.get(1).group.campaign_in(attempt(5, 1));
    cluster.settle();
    assert_eq!(cluster.leaders(), [1]);
    cluster.get(2).group.campaign_in(attempt(5, 2));
    cluster.settle();
    assert_eq!(cluster.leaders(), [2], "although 3 believes in 1, and does not tick");
    let term = cluster.get(1).group.term();
    cluster.get(3).group.campaign_in(attempt(4, 9));
    cluster.settle();
    assert_eq!((cluster.leaders(), cluster.get(1).group.term()), (vec![2], term));
    // One that has seen nothing of it sends its votes, and nobody takes them.
    cluster.cut_off.push(3);
    cluster.get(1).group.campaign_in(attempt(6, 1));
    cluster.settle();
    cluster.cut_off.clear();
    cluster.get(3).group.campaign_in(attempt(5, 3));
    cluster.settle();
    assert_eq!(cluster.leaders(), [1]);
    cluster.get(3).group.campaign_in(attempt(6, 2));
    cluster.settle();
    assert_eq!(cluster.leaders(), Vec::<u64>::new(), "3 lacks the entry of the last leader");
    assert!(cluster.get(3).group.ahead().is_some());
    cluster.get(2).group.campaign_in(attempt(6, 3));
    cluster.settle();
    assert_eq!(cluster.leaders(), [2]);
}

/// Its last request may be lost, and a candidate of raft-rs does not listen to TimeoutNow.
#[test]
fn a_candidate_that_heard_nothing_campaigns_again() {
    let mut cluster = Cluster::new(&[1, 2, 3], false);
    cluster.cut_off.push(1);
    for number in 1..=3 {
        cluster.get(1).group.campaign_in(attempt(1, number));
        cluster.settle();
    }
    assert_eq!((cluster.leaders(), cluster.get(1).group.term()), (vec![], Term(3)));
    cluster.cut_off.clear();
    cluster.get(1).group.campaign_in(attempt(1, 4));
    cluster.settle();
    assert_eq!(cluster.leaders(), [1]);
}

#[test]
fn a_leader_at_rest_does_not_tick_and_a_transfer_that_fails_is_given_up() {
    let mut cluster = Cluster::new(&[1, 2, 3], false);
    cluster.get(1).group.campaign_in(attempt(1, 1));
    cluster.settle();
    cluster.get(1).group.tick(0);
    cluster.get(1).turn();
    assert!(cluster.get(1).out.is_empty(), "all is acknowledged");
    cluster.cut_off.push(2);
    cluster.get(1).group.transfer(2).expect("it leads");
    assert!(cluster.get(1).group.is_transferring());
    (0..12).for_each(|_| cluster.tick());
    assert!(!cluster.get(1).group.is_transferring(), "raft-rs gives it up by its ticks alone");
    assert_eq!(cluster.leaders(), [1]);
}

#[test]
fn leadership_is_handed_over() {
    let mut cluster = Cluster::new(&[1, 2, 3], false);
    cluster.lead(1);
    cluster.cut_off.push(2);
    cluster.get(1).group.propose(bytes("a")).expect("it leads");
    cluster.settle();
    cluster.cut_off.clear();
    assert_eq!(cluster.get(2).group.transfer(1), Err(Dropped::NotLeader));
    cluster.get(1).group.transfer(2).expect("it leads");
    assert_eq!(cluster.get(1).group.propose(bytes("b")), Err(Dropped::Transfer));
    (0..3).for_each(|_| cluster.tick());
    assert_eq!(cluster.leaders(), [2]);
    assert_eq!(cluster.get(2).data(), ["a"]);
}

#[test]
fn a_round_of_reads_needs_a_quorum() {
    let mut cluster = Cluster::new(&[1, 2, 3], false);
    cluster.lead(1);
    cluster.get(1).group.confirm(4).expect("it leads");
    cluster.settle();
    assert_eq!(cluster.get(1).confirmed, [4]);
    cluster.cut_off = vec![1];
    cluster.get(1).group.confirm(5).expect("it leads, as far as it knows");
    cluster.settle();
    assert_eq!(cluster.get(1).confirmed, [4]);
}

#[test]
fn a_slow_follower_is_served_from_a_bounded_tail_and_then_needs_a_checkpoint() {
    let mut cluster = Cluster::new(&[1, 2, 3], false);
    cluster.lead(1);
    cluster.cut_off.push(3);
    for _ in 0..LOG_TAIL_ENTRIES - 10 {
        cluster.get(1).group.propose(bytes("x")).expect("it leads");
    }
    cluster.settle();
    assert_eq!(cluster.get(1).group.in_memory().0, LogIndex(1), "within the bounds");
    cluster.cut_off.clear();
    (0..4).for_each(|_| cluster.tick());
    let last = cluster.get(1).group.last_index();
    assert_eq!(cluster.get(1).group.matched(3), Some(last));
    assert_eq!(cluster.get(3).group.applied(), last);

    cluster.cut_off.push(3);
    for _ in 0..LOG_TAIL_ENTRIES + 10 {
        cluster.get(1).group.propose(bytes("x")).expect("it leads");
    }
    cluster.settle();
    let last = cluster.get(1).group.last_index();
    let first = cluster.get(1).group.in_memory().0;
    assert_eq!(last.0 - first.0 + 1, LOG_TAIL_ENTRIES);
    cluster.get(1).group.truncate(last, Term(1));
    assert_eq!(cluster.get(1).group.in_memory().0, first, "a tail stays");
    assert_eq!(cluster.get(1).group.checkpoint_wanted(), None);
    cluster.cut_off.clear();
    (0..4).for_each(|_| cluster.tick());
    assert_eq!(cluster.get(1).group.checkpoint_wanted(), Some(3));
    assert_eq!(cluster.get(1).data().len(), cluster.get(2).data().len());
}

#[test]
fn hostile_bytes_are_refused_and_never_panic() {
    let mut cluster = Cluster::new(&[1, 2, 3], false);
    cluster.lead(1);
    let leader = cluster.get(1);
    leader.group.propose(bytes("some value")).expect("it leads");
    leader.turn();
    let mut wire = vec![];
    leader.out[0].encode(&mut wire);
    for len in 0..wire.len() {
        let cut = Message::decode(Bytes::copy_from_slice(&wire[..len]));
        assert!(matches!(cut, Err(BadMessage::Length { .. })), "{len} of {} bytes", wire.len());
    }
    let mut longer = wire.clone();
    longer.push(0);
    assert!(matches!(Message::decode(longer.into()), Err(BadMessage::Length { .. })));
    let mut refused = 0;
    for at in 0..wire.len() {
        for bit in 0..8 {
            let mut flipped = wire.clone();
            flipped[at] ^= 1 << bit;
            // Whatever decodes may be stepped: it is refused or it does what it says.
            let Ok(message) = Message::decode(flipped.into()) else {
                refused += 1;
                continue;
            };
            let mut victim = Replica::new(config(message.to().clamp(2, 3), &[1, 2, 3]));
            if victim.group.step(message).is_err() {
                refused += 1;
            } else {
                victim.settle();
            }
        }
    }
    assert!(refused > 200, "{refused} refusals");
}

#[test]
fn what_must_not_travel_is_refused() {
    let (mut cluster, proposal) = (Cluster::new(&[1, 2, 3], false), 2u8);
    cluster.lead(1);
    cluster.get(1).group.ping();
    cluster.get(1).turn();
    let heartbeat = cluster.get(1).out[0].clone();
    assert!(heartbeat.is_heartbeat());
    let to = heartbeat.to();

    let mut forged = heartbeat.clone();
    forged.raft.msg_type = ::raft::eraftpb::MessageType::MsgPropose;
    assert_eq!(cluster.get(to).group.step(forged), Err(BadMessage::Kind(proposal)));
    let other = if to == 2 { 3 } else { 2 };
    assert_eq!(cluster.get(other).group.step(heartbeat.clone()), Err(BadMessage::NotMine { to }));
    let mut local = heartbeat.clone();
    local.raft.term = 0;
    assert_eq!(cluster.get(to).group.step(local), Err(BadMessage::Field("the term")));
    let mut ahead = heartbeat;
    ahead.raft.commit = 50;
    let (known, last) = (LogIndex(50), LogIndex(1));
    assert_eq!(cluster.get(to).group.step(ahead), Err(BadMessage::Lost { known, last }));
}
