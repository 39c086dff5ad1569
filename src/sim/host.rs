//! One member on fakes: its cores, the mail between them, the operations of its disk.
//!
//! ```text
//!   Awake ──turn, nothing more──▶ Prepared ──looked once more, nothing──▶ Asleep
//!     ▲                              │                                      │
//!     └──── news was there ──────────┘◀── ring, ended operation, tick ──────┘
//! ```
//!
//! A core does exactly what the process's loop does, in the same order, but whoever is next is
//! drawn. Its mail goes through the very mailboxes of the process, of a size that is drawn too: a
//! core whose mail finds no room takes no turn, and looks again whenever it is let. So mail waits
//! as long as the core that it is for, and a core that nobody rings sleeps on: a lost wake-up shows
//! as a member in which nothing moves any more.

use std::collections::VecDeque;
use std::sync::Arc;

use super::disk::Disk;
use super::trace::Trace;
use crate::chance::Chance;
use crate::line::Mailboxes;
use crate::member::account::{self, GroupAccount};
use crate::member::{Core, CoreEffects, Fatal, Mail, MemberConfig, RecoverError, Service, Shared};
use crate::shard::Shard;
use crate::teeth::{Rule, leaves_out};
use crate::types::{
    Answer, CoreId, GroupId, Nanos, Request, Ticket, WatchReply, WatchRequest, WatchStream,
};
use crate::wal::{DiskOp, DiskOutcome, OpId};

/// The simulated member.
pub struct Host {
    pub shared: Arc<Shared>,
    cores: Vec<HostedCore>,
    in_flight: Vec<InFlight>,
    /// Answers that no client has yet been given.
    pub answers: Vec<(Ticket, Answer)>,
    /// Replies on watch streams that no client has read yet.
    pub watched: Vec<(usize, WatchStream, WatchReply)>,
    /// The number of times that a core which was let go on had to wait for room in a mailbox.
    pub waits_for_room: u64,
}

/// A core and how its loop stands.
struct HostedCore {
    core: Core,
    state: State,
    /// Its doorbell was rung, or an event of its own came.
    rung: bool,
    /// Operations that ended and that it has not been told of.
    ended: VecDeque<(GroupId, OpId, DiskOutcome)>,
    mailboxes: Mailboxes<Mail>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Awake,
    Prepared,
    Asleep,
}

struct InFlight {
    core: usize,
    group: GroupId,
    id: OpId,
    op: DiskOp,
}

impl Host {
    /// A member that reads `disk`; its mailboxes have room for `mailbox_batches` each.
    pub fn start(
        config: &Arc<MemberConfig>,
        cores: u16,
        shared: Arc<Shared>,
        mailbox_batches: usize,
        disk: &Disk,
    ) -> Result<Host, RecoverError> {
        let (mut places, mut accounts) = (Vec::new(), Vec::new());
        let by_core = Mailboxes::of_all(cores, mailbox_batches);
        for (core, mailboxes) in (0..cores).zip(by_core) {
            let mut core = Core::recover(config, CoreId(core), &shared, disk)?;
            accounts.extend(core.take_accounts());
            places.push(HostedCore {
                core,
                state: State::Awake,
                rung: false,
                ended: VecDeque::new(),
                mailboxes,
            });
        }
        if !leaves_out(Rule::Accounted) {
            account::check(accounts)?;
        }
        places.iter_mut().for_each(|place: &mut HostedCore| place.core.start());
        Ok(Host {
            shared,
            cores: places,
            in_flight: Vec::new(),
            answers: Vec::new(),
            watched: Vec::new(),
            waits_for_room: 0,
        })
    }

    /// Returns what the files on `disk` hold, group by group.
    pub fn accounts(
        config: &Arc<MemberConfig>,
        disk: &Disk,
    ) -> Result<Vec<GroupAccount>, RecoverError> {
        let shared = Arc::new(Shared::new(1, config.identity.shards));
        let mut accounts = Core::recover(config, CoreId(0), &shared, disk)?.take_accounts();
        accounts.sort_by_key(|account| account.group);
        Ok(accounts)
    }

    /// Counts the cores.
    pub fn cores(&self) -> usize {
        self.cores.len()
    }

    /// Every shard, wherever it lives.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.cores.iter().flat_map(|place| place.core.shards())
    }

    /// Cores that would run if they were let.
    pub fn runnable(&self) -> Vec<usize> {
        let runs = |place: &HostedCore| place.state != State::Asleep || place.rung;
        (0..self.cores.len()).filter(|&at| runs(&self.cores[at])).collect()
    }

    /// Operations of the disk that are under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// A client's request comes in.
    pub fn submit(
        &mut self,
        at: usize,
        now: Nanos,
        ticket: Ticket,
        request: Request,
        deadline: Option<Nanos>,
    ) {
        let place = &mut self.cores[at];
        place.rung = true;
        let answer = place.core.submit(now, ticket, request, deadline);
        self.answers.extend(answer.map(|answer| (ticket, answer)));
    }

    /// A client leaves.
    pub fn cancel(&mut self, at: usize, ticket: Ticket) {
        self.cores[at].rung = true;
        self.cores[at].core.cancel(ticket);
    }

    /// A client opens a watch stream.
    pub fn watch_open(&mut self, at: usize, now: Nanos) -> WatchStream {
        self.cores[at].rung = true;
        self.cores[at].core.watch_open(now)
    }

    /// A client asks something on its watch stream.
    pub fn watch(&mut self, at: usize, now: Nanos, stream: WatchStream, request: WatchRequest) {
        self.cores[at].rung = true;
        self.cores[at].core.watch(now, stream, request);
    }

    /// Whether the client of a watch stream may ask more.
    pub fn watch_has_room(&self, at: usize, stream: WatchStream) -> bool {
        self.cores[at].core.watch_has_room(stream)
    }

    /// The client of a watch stream has taken so many bytes of events.
    pub fn watch_sent(&mut self, at: usize, stream: WatchStream, bytes: usize) {
        self.cores[at].rung = true;
        self.cores[at].core.watch_sent(stream, bytes);
    }

    /// The client of a watch stream leaves.
    pub fn watch_close(&mut self, at: usize, stream: WatchStream) {
        self.cores[at].rung = true;
        self.cores[at].core.watch_close(stream);
        self.watched.retain(|(core, of, _)| (*core, *of) != (at, stream));
    }

    /// A heartbeat interval of one core passes.
    pub fn tick(&mut self, at: usize, now: Nanos, entropy: u64) {
        self.cores[at].rung = true;
        self.cores[at].core.tick(now, entropy);
    }

    /// Lets a core that is runnable do its next step: a turn, or the last look before it sleeps.
    pub fn run(
        &mut self,
        at: usize,
        now: Nanos,
        chance: &mut Chance,
        trace: &mut Trace,
    ) -> Result<(), Fatal> {
        let id = CoreId(at as u16);
        match self.cores[at].state {
            State::Prepared => {
                let place = &mut self.cores[at];
                let stable = self.shared.sequencer.stable();
                let reached = place.core.park().lowest.is_some_and(|lowest| lowest <= stable);
                let news = reached || place.mailboxes.has_mail();
                place.state = if news { State::Awake } else { State::Asleep };
                return Ok(());
            }
            State::Awake | State::Asleep => {}
        }
        let place = &mut self.cores[at];
        (place.state, place.rung) = (State::Awake, false);
        self.shared.waits.stay(id);
        if !self.send(at, &mut Vec::new()) {
            self.waits_for_room += 1;
            return Ok(());
        }
        let place = &mut self.cores[at];
        let partly = chance.one_in(3);
        if !partly || leaves_out(Rule::LookFirst) {
            place.core.look();
        }
        // Mail that comes while it reads is read in the next turn.
        let HostedCore { core, mailboxes, .. } = place;
        mailboxes.take_while(|| !partly || chance.one_in(2), |mail| core.receive(mail));
        for (group, op, outcome) in std::mem::take(&mut place.ended) {
            place.core.disk_done(group, op, outcome)?;
        }
        let more = place.core.turn(now);
        let effects = std::mem::take(place.core.effects());
        self.carry_out(at, effects, trace);
        let place = &mut self.cores[at];
        let park = place.core.park();
        if place.mailboxes.owes() {
            return Ok(());
        }
        if !more && !park.polls {
            self.shared.waits.wait_for(id, park.lowest);
            self.shared.waits.prepare(id);
            place.state = State::Prepared;
        }
        Ok(())
    }

    fn carry_out(&mut self, at: usize, effects: CoreEffects, trace: &mut Trace) {
        for (group, id, op) in effects.disk {
            trace.disk(at, group, id, &op);
            self.in_flight.push(InFlight { core: at, group, id, op });
        }
        let mut mail = effects.mail;
        for (to, mail) in &mail {
            trace.mail(at, *to, mail);
        }
        self.send(at, &mut mail);
        for core in effects.ring {
            self.cores[usize::from(core.0)].rung = true;
        }
        self.answers.extend(effects.answers);
        let watched = effects.watched.into_iter();
        self.watched.extend(watched.map(|(stream, reply)| (at, stream, reply)));
    }

    /// Sends a core's mail, and what was left of its last; whether all of it found room.
    fn send(&mut self, at: usize, mail: &mut Vec<(CoreId, Mail)>) -> bool {
        let mut pushed = Vec::new();
        let mailboxes = &mut self.cores[at].mailboxes;
        mailboxes.send(mail, |to| pushed.push(to));
        let is_sent = !mailboxes.owes();
        for to in pushed {
            if self.shared.waits.pushed(to) {
                self.cores[usize::from(to.0)].rung = true;
            }
        }
        is_sent
    }

    /// Some operation of the disk ends: well, for want of space, or because the disk failed it.
    pub fn end_operation(
        &mut self,
        disk: &mut Disk,
        fails: bool,
        chance: &mut Chance,
        trace: &mut Trace,
    ) {
        let slot = chance.slot(self.in_flight.len());
        let InFlight { core, group, id, op } = self.in_flight.swap_remove(slot);
        let outcome = if fails {
            disk.tear(op, chance);
            DiskOutcome::Failed("the disk made it up".to_owned())
        } else {
            disk.finish(op)
        };
        trace.ended(group, id, &outcome);
        self.cores[core].ended.push_back((group, id, outcome));
        self.cores[core].rung = true;
    }

    /// The process ends here and now.
    pub fn crash(self, disk: &mut Disk, chance: &mut Chance) {
        for in_flight in self.in_flight {
            disk.tear(in_flight.op, chance);
        }
        disk.crash(chance);
    }
}
