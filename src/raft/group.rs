//! One replica of one Raft group.

use std::collections::VecDeque;
use std::fmt;

use ::raft::eraftpb::{Entry, Message as RaftMessage, MessageType};
use ::raft::{Config, RawNode, ReadOnlyOption, StateRole};
use bytes::Bytes;

use super::log::{Log, from_raft, kind_of};
use super::message::{BadMessage, Message};
use super::restored::{BadRestored, GroupConfig, Restored};
use crate::limits::{
    APPEND_BYTES_MAX, APPENDS_IN_FLIGHT_MAX, COMMITTED_BYTES_MAX, UNCOMMITTED_BYTES_MAX,
};
use crate::types::{Attempt, GroupId, HardState, LogEntry, LogIndex, Term};

/// A replica: see the room's header for the loop around it.
pub struct Group {
    group: GroupId,
    raw: RawNode<Log>,
    elects: bool,
    election_ticks: usize,
    /// Ticks after which this replica campaigns; drawn anew after each change of role.
    election_timeout: usize,
    redraw: bool,
    /// Role, leader and term as `ready` last gave them out.
    given: RoleChange,
    /// As last given out to be written.
    written: HardState,
    /// Numbers of the Readies that must be written and are not durable yet.
    unpersisted: VecDeque<u64>,
    /// The newest Ready that changed term or vote.
    vote_number: u64,
    newest_number: u64,
    /// Messages that wait until the Ready of that number is durable, ascending.
    held: VecDeque<(u64, Vec<Message>)>,
    /// `campaign` was called while something was not durable yet.
    campaign_due: bool,
    newest_round: u64,
    /// The newest attempt that a campaign here or a vote from elsewhere was part of.
    attempt: Attempt,
    /// The member with the log that ends farthest beyond ours, among those that refused their vote
    /// to the last campaign.
    ahead: Option<((Term, LogIndex), u64)>,
}

/// The work that Raft asks for.
#[derive(Debug)]
pub struct Ready {
    /// The number to call `persisted` with, if `must_persist`.
    pub number: u64,
    /// To be written, replacing what the log has from the first one's index on.
    pub entries: Vec<LogEntry>,
    /// To be written, in the same batch.
    pub hard_state: Option<HardState>,
    /// There is something to write. If not, there is nothing to report either.
    pub must_persist: bool,
    /// To be sent now.
    pub messages: Vec<Message>,
    /// To be applied, in order.
    pub committed: Vec<LogEntry>,
    /// Role, leader or term changed.
    pub role: Option<RoleChange>,
    /// Rounds of `confirm` that a quorum has answered.
    pub confirmed: Vec<u64>,
}

/// The work that becomes possible once a Ready is durable.
#[derive(Debug)]
#[must_use = "other replicas wait for these messages"]
pub struct After {
    pub messages: Vec<Message>,
}

/// A change of this replica's role, and the leader that it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    pub role: Role,
    pub leader: Option<u64>,
    pub term: Term,
}

/// The role of a replica in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Follower,
    Candidate,
    Leader,
}

/// Why a proposal was not taken. Nothing of it remains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// This replica does not lead.
    NotLeader,
    /// It is handing its leadership over.
    Transfer,
    /// Too much is proposed and not committed.
    Full,
    /// It has committed nothing in its term, so it does not know yet what is committed.
    NewTerm,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dropped::NotLeader => "this replica does not lead its group",
            Dropped::Transfer => "this replica is handing its leadership over",
            Dropped::Full => "too much is proposed and not committed",
            Dropped::NewTerm => "the leader has committed nothing in its term yet",
        })
    }
}

impl std::error::Error for Dropped {}

impl Group {
    /// A follower with the log it left off with.
    pub fn new(config: &GroupConfig, restored: Restored) -> Result<Group, BadRestored> {
        config.check()?;
        let restored = restored.checked(config.group)?;
        let (applied, written) = (restored.applied, restored.hard_state);
        let settings = Config {
            id: config.raft_id,
            election_tick: config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            applied: applied.0,
            max_size_per_msg: APPEND_BYTES_MAX,
            max_inflight_msgs: APPENDS_IN_FLIGHT_MAX,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX as u64,
            max_committed_size_per_ready: COMMITTED_BYTES_MAX,
            check_quorum: true,
            pre_vote: config.elects,
            read_only_option: ReadOnlyOption::Safe,
            ..Config::default()
        };
        let log = Log::new(config, restored);
        let silent = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&settings, log, &silent)
            .map_err(|e| BadRestored::Settings(format!("group {}: {e}", config.group)))?;
        let given = RoleChange { role: Role::Follower, leader: None, term: Term(raw.raft.term) };
        Ok(Group {
            group: config.group,
            raw,
            elects: config.elects,
            election_ticks: config.election_ticks,
            election_timeout: config.election_ticks,
            redraw: true,
            given,
            written,
            unpersisted: VecDeque::new(),
            vote_number: 0,
            newest_number: 0,
            held: VecDeque::new(),
            campaign_due: false,
            newest_round: 0,
            attempt: Attempt::default(),
            ahead: None,
        })
    }

    /// Asks to lead. A single voter leads from here on, and what it proposes is committed once
    /// its vote is durable too.
    pub fn campaign(&mut self) {
        if self.must_wait_to_lead() {
            self.campaign_due = true;
            return;
        }
        self.campaign_due = false;
        self.watched(|raw| {
            // Fails only on a group without this replica, which then stays what it is.
            let _ = raw.campaign();
        });
    }

    /// Asks to lead a group that does not elect by itself. Followers answer though they believe in
    /// a leader: nothing tells them otherwise, for they do not tick (C1). An attempt that is older
    /// than one that was seen here comes to nothing; who leads already goes on.
    pub fn campaign_in(&mut self, attempt: Attempt) {
        if attempt < self.attempt {
            return;
        }
        (self.attempt, self.ahead) = (attempt, None);
        if self.is_leader() {
            return;
        }
        if self.raw.raft.prs().is_singleton() {
            return self.campaign();
        }
        self.watched(|raw| {
            let (me, term) = (raw.raft.id, raw.raft.term);
            if raw.raft.state != StateRole::Follower {
                // Its last request may be lost: it asks anew, in another term.
                raw.raft.become_follower(term, ::raft::INVALID_ID);
            }
            let mut force = RaftMessage { to: me, from: me, term, ..RaftMessage::default() };
            force.msg_type = MessageType::MsgTimeoutNow;
            // Fails only on a group without this replica, which then stays what it is.
            let _ = raw.step(force);
        });
    }

    /// The replica whose log was farthest ahead among those that refused their vote to the last
    /// campaign here.
    pub fn ahead(&self) -> Option<u64> {
        self.ahead.map(|(_, peer)| peer)
    }

    /// Asks all followers where they are: what was lost with a connection is sent again (C14).
    pub fn ping(&mut self) {
        self.watched(|raw| raw.ping());
    }

    /// Time passes. `entropy` is used now and then, and must differ between members.
    pub fn tick(&mut self, entropy: u64) {
        if std::mem::take(&mut self.redraw) {
            let spread = entropy % self.election_ticks as u64;
            self.election_timeout = self.election_ticks + spread as usize;
        }
        let rests = match self.is_leader() {
            true => !self.elects && !self.has_unacknowledged() && !self.is_transferring(),
            false => !self.elects || self.must_wait_to_lead(),
        };
        if rests {
            return;
        }
        // raft-rs draws a timeout of its own at each change of role; it never gets to use it.
        self.raw.raft.set_randomized_election_timeout(self.election_timeout);
        self.watched(|raw| {
            raw.tick();
        });
    }

    /// A message from another replica. Refused, it changes nothing.
    pub fn step(&mut self, message: Message) -> Result<(), BadMessage> {
        message.check(self.raw.raft.id, self.term(), self.last_index())?;
        match message.raft.msg_type {
            MessageType::MsgRequestVote if !self.elects => {
                if message.attempt < self.attempt {
                    return Ok(()); // A deposed leader's, late.
                }
                self.attempt = message.attempt;
            }
            MessageType::MsgRequestVoteResponse if message.raft.reject && !self.elects => {
                let (index, term) = message.last;
                let found = ((term, index), message.raft.from);
                let (own_index, own_term) = self.last();
                if found.0 > (own_term, own_index) {
                    self.ahead = self.ahead.max(Some(found));
                }
            }
            _ => {}
        }
        self.watched(|raw| {
            // The others are answers of replicas that are no members any more: late, harmless.
            let _ = raw.step(message.raft);
        });
        Ok(())
    }

    /// Would a proposal of that many bytes be taken now?
    pub fn can_propose(&self, bytes: usize) -> bool {
        self.refusal(bytes).is_none()
    }

    /// Puts `data` into the log, if this replica leads; the index at which it will be committed,
    /// unless the leader changes first.
    pub fn propose(&mut self, data: Bytes) -> Result<LogIndex, Dropped> {
        assert!(!data.is_empty(), "an empty entry is a new leader's own");
        if let Some(refusal) = self.refusal(data.len()) {
            return Err(refusal);
        }
        let mut entry = [Entry { data, ..Entry::default() }];
        if !self.raw.raft.append_entry(&mut entry) {
            return Err(Dropped::Full);
        }
        self.raw.raft.bcast_append();
        Ok(LogIndex(entry[0].index))
    }

    /// Asks a quorum whether this replica still leads; `round` comes back in a Ready if so, and
    /// never if not. A number is used once: ask again with a new one.
    pub fn confirm(&mut self, round: u64) -> Result<(), Dropped> {
        assert!(round > self.newest_round, "round {round} of reads is not new");
        if !self.is_leader() {
            return Err(Dropped::NotLeader);
        }
        if !self.has_committed_in_term() {
            return Err(Dropped::NewTerm);
        }
        self.newest_round = round;
        self.raw.read_index(round.to_le_bytes().to_vec());
        Ok(())
    }

    /// Hands leadership over, as soon as `to` has the whole log.
    pub fn transfer(&mut self, to: u64) -> Result<(), Dropped> {
        if !self.is_leader() {
            return Err(Dropped::NotLeader);
        }
        self.watched(|raw| raw.transfer_leader(to));
        Ok(())
    }

    /// Whether leadership is being handed over.
    pub fn is_transferring(&self) -> bool {
        self.raw.raft.lead_transferee.is_some()
    }

    /// The last message to `peer` did not arrive.
    pub fn unreachable(&mut self, peer: u64) {
        self.watched(|raw| raw.report_unreachable(peer));
    }

    /// The next thing to do, if there is any.
    pub fn ready(&mut self) -> Option<Ready> {
        let role = self.role_change();
        if role.is_none() && !self.raw.has_ready() {
            return None;
        }
        let mut ready = self.raw.ready();
        let number = ready.number();
        self.newest_number = number;
        let committed = ready.take_committed_entries().into_iter().map(from_raft).collect();
        let confirmed = ready.take_read_states().iter().map(round_of).collect();
        let mut messages = ready.take_messages();
        messages.append(&mut ready.take_persisted_messages());
        let raft_entries = ready.take_entries();
        let entries: Vec<LogEntry> = raft_entries.iter().map(shared).collect();
        // raft-rs reads them from the log from now on, durable or not.
        self.raw.mut_store().append(raft_entries);
        self.raw.advance_append_async(ready);

        let hard_state = self.hard_state();
        let vote_changed =
            (hard_state.term, hard_state.vote) != (self.written.term, self.written.vote);
        let must_persist = vote_changed || !entries.is_empty();
        if must_persist {
            self.unpersisted.push_back(number);
        }
        if vote_changed {
            self.vote_number = number;
        }
        let changed = must_persist && hard_state != self.written;
        if changed {
            self.written = hard_state;
        }
        let messages = self.hold(number, messages);
        if self.unpersisted.is_empty() {
            self.raw.on_persist_ready(number);
        }
        if let Some(role) = role {
            self.given = role;
        }
        let hard_state = changed.then_some(hard_state);
        Some(Ready {
            number,
            entries,
            hard_state,
            must_persist,
            messages,
            committed,
            role,
            confirmed,
        })
    }

    /// Everything up to the Ready of that number is durable.
    pub fn persisted(&mut self, number: u64) -> After {
        assert!(
            number <= self.newest_number,
            "group {}: Ready {number} was never given out",
            self.group
        );
        while self.unpersisted.front().is_some_and(|first| *first <= number) {
            self.unpersisted.pop_front();
        }
        // Readies with nothing to write count as durable when those before them are.
        let durable = self.unpersisted.front().map_or(self.newest_number, |first| first - 1);
        self.watched(|raw| raw.on_persist_ready(durable));
        let mut messages = Vec::new();
        while self.held.front().is_some_and(|(until, _)| *until <= durable) {
            messages.append(&mut self.held.pop_front().expect("it was there").1);
        }
        if self.campaign_due {
            self.campaign();
        }
        After { messages }
    }

    /// The last committed entry that is durable here.
    pub fn durable(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.persisted).min(self.committed())
    }

    /// The store holds everything up to `index`.
    pub fn applied_to(&mut self, index: LogIndex) {
        let reach = self.durable();
        assert!(
            (self.applied()..=reach).contains(&index),
            "group {}: entry {index} is reported as applied, between {} and {reach} it may be",
            self.group,
            self.applied()
        );
        self.watched(|raw| raw.advance_apply_to(index.0));
        let alone = self.is_alone();
        self.raw.mut_store().trim(index.0, alone);
    }

    /// A checkpoint holds everything through that entry. What of it is in memory and beyond the
    /// bounds of the tail goes; `applied_to` has dropped the most of it already.
    pub fn truncate(&mut self, through: LogIndex, term: Term) {
        assert!(
            through <= self.applied(),
            "group {}: truncated through {through}, applied through {}",
            self.group,
            self.applied()
        );
        if let Ok(known) = self.raw.raft.raft_log.term(through.0)
            && known != 0
        {
            assert!(known == term.0, "group {}: entry {through} has term {known}", self.group);
        }
        let alone = self.is_alone();
        self.raw.mut_store().trim(through.0, alone);
    }

    /// Whether this replica leads its group.
    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// The Raft ID of the leader, if one is known.
    pub fn leader(&self) -> Option<u64> {
        Some(self.raw.raft.leader_id).filter(|id| *id != ::raft::INVALID_ID)
    }

    /// Returns the group that this is a replica of.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Returns the replica's number in Raft.
    pub fn raft_id(&self) -> u64 {
        self.raw.raft.id
    }

    /// Returns the current term.
    pub fn term(&self) -> Term {
        Term(self.raw.raft.term)
    }

    /// Returns the index up to which entries are committed.
    pub fn committed(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.committed)
    }

    /// Returns the index up to which entries are applied.
    pub fn applied(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.applied)
    }

    /// Returns the index of the last entry.
    pub fn last_index(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.last_index())
    }

    /// Index and term of the last entry: whose log is ahead.
    pub fn last(&self) -> (LogIndex, Term) {
        (self.last_index(), Term(self.raw.raft.raft_log.last_term()))
    }

    /// Leads, and knows what is committed: its first entry of the term is.
    pub fn has_committed_in_term(&self) -> bool {
        self.is_leader() && self.raw.raft.commit_to_current_term()
    }

    /// Is some follower behind? If not, a group that does not elect need not tick.
    pub fn has_unacknowledged(&self) -> bool {
        let (last, committed) = (self.last_index().0, self.committed().0);
        let behind = |matched: u64, known: u64| matched < last || known < committed;
        let me = self.raft_id();
        let mut peers = self.raw.raft.prs().iter().filter(|(id, _)| **id != me);
        self.is_leader() && peers.any(|(_, peer)| behind(peer.matched, peer.committed_index))
    }

    /// The index up to which `peer` is known to have the log, on the leader.
    pub fn matched(&self, peer: u64) -> Option<LogIndex> {
        let progress = self.raw.raft.prs().get(peer).filter(|_| self.is_leader());
        progress.map(|progress| LogIndex(progress.matched))
    }

    /// The follower that needs more of the log than is in memory; asked once, told once.
    pub fn checkpoint_wanted(&mut self) -> Option<u64> {
        self.raw.store().take_checkpoint_wanted()
    }

    /// Returns the index at which the log in memory begins, and its bytes.
    pub fn in_memory(&self) -> (LogIndex, usize) {
        (LogIndex(self.raw.store().first()), self.raw.store().bytes())
    }

    fn refusal(&self, bytes: usize) -> Option<Dropped> {
        let raft = &self.raw.raft;
        if !self.is_leader() || raft.prs().get(raft.id).is_none() {
            return Some(Dropped::NotLeader);
        }
        if raft.lead_transferee.is_some() {
            return Some(Dropped::Transfer);
        }
        let waiting = raft.uncommitted_size();
        let fits = waiting == 0 || waiting + bytes <= UNCOMMITTED_BYTES_MAX;
        if fits { None } else { Some(Dropped::Full) }
    }

    /// raft-rs makes a single voter leader on the spot, and then relies on its log being durable.
    fn must_wait_to_lead(&self) -> bool {
        self.raw.raft.prs().is_singleton() && !self.unpersisted.is_empty()
    }

    fn is_alone(&self) -> bool {
        self.raw.raft.prs().iter().count() == 1
    }

    /// Keeps back what may leave only when something is durable; the rest is for now.
    fn hold(&mut self, number: u64, messages: Vec<RaftMessage>) -> Vec<Message> {
        let messages: Vec<Message> = messages.into_iter().map(|raft| self.stamped(raft)).collect();
        let until = if self.is_leader() { self.vote_number } else { number };
        // The newest that must be written at or before `until`, if it is not durable yet.
        let awaited = self.unpersisted.iter().rev().find(|number| **number <= until);
        match awaited {
            Some(awaited) if !messages.is_empty() => {
                self.held.push_back((*awaited, messages));
                Vec::new()
            }
            _ => messages,
        }
    }

    fn stamped(&self, raft: RaftMessage) -> Message {
        let mut message = Message::plain(raft);
        match message.raft.msg_type {
            MessageType::MsgRequestVote if !self.elects => message.attempt = self.attempt,
            MessageType::MsgRequestVoteResponse if !self.elects => {
                let (index, term) = self.last();
                // A vote for an earlier term says nothing of what came later.
                if term <= message.term() {
                    message.last = (index, term);
                }
            }
            _ => {}
        }
        message
    }

    fn hard_state(&self) -> HardState {
        let now = self.raw.raft.hard_state();
        HardState { term: Term(now.term), vote: now.vote, commit: LogIndex(now.commit) }
    }

    fn role_change(&self) -> Option<RoleChange> {
        let role = match self.raw.raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        };
        let now = RoleChange { role, leader: self.leader(), term: self.term() };
        Some(now).filter(|now| *now != self.given)
    }

    /// Runs a step of raft-rs and notes whether the election timeout must be drawn anew.
    fn watched(&mut self, step: impl FnOnce(&mut RawNode<Log>)) {
        let before = (self.raw.raft.state, self.raw.raft.term);
        step(&mut self.raw);
        self.redraw |= before != (self.raw.raft.state, self.raw.raft.term);
    }
}

fn round_of(state: &::raft::ReadState) -> u64 {
    let round = state.request_ctx.as_slice().try_into();
    u64::from_le_bytes(round.expect("only `confirm` asks, with eight bytes"))
}

/// Returns the entry without copying its bytes.
fn shared(entry: &Entry) -> LogEntry {
    LogEntry {
        index: LogIndex(entry.index),
        term: Term(entry.term),
        kind: kind_of(entry),
        data: entry.data.clone(),
    }
}
