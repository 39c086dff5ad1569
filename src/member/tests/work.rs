//! What a request costs: in proportion to its size, and nothing once its client has left.

use super::*;
use crate::limits::ALARMS_MAX;

impl Host {
    /// Turns until nothing is left to do; how many it took.
    fn turns(&mut self) -> usize {
        let mut turns = 0;
        loop {
            turns += 1;
            let mut quiet = true;
            for at in 0..self.cores.len() {
                self.cores[at].look();
                quiet &= !self.cores[at].turn(Nanos(self.now));
                let effects = std::mem::take(self.cores[at].effects());
                quiet &= effects.mail.is_empty() && effects.disk.is_empty();
                self.answers.extend(effects.answers.into_iter().map(|(t, a)| (t.0, a)));
                for (to, mail) in effects.mail {
                    self.cores[usize::from(to.0)].receive(mail);
                }
                for (group, id, op) in effects.disk {
                    let outcome = self.disk.finish(op);
                    self.cores[at].disk_done(group, id, outcome).expect("a good disk");
                }
            }
            if quiet {
                return turns;
            }
        }
    }

    fn fill(&mut self, keys: usize) {
        for key in 0..keys {
            self.send(0, put(&format!("key-{key}"), "value"));
        }
        self.run();
        self.answers.clear();
    }
}

#[test]
fn hashes_cost_nothing_once_their_callers_have_left_and_one_scan_serves_many() {
    let mut host = Host::start(Disk::default(), 2, 3);
    host.fill(6000);
    let hash = |revision: i64| Request::HashKv(HashKvRequest { revision });
    // One scan, as it goes by itself.
    host.send(0, hash(5000));
    let alone = host.turns();
    assert!(alone > 5, "{alone}");
    // As many at one revision take as long as one.
    let tickets: Vec<u64> = (0..300).map(|i| host.send(i % 2, hash(5000))).collect();
    let together = host.turns();
    assert!(together <= alone + 10, "{together} turns, {alone} for one");
    let hashes: Vec<_> = tickets.iter().map(|ticket| host.answers.remove(ticket)).collect();
    assert!(hashes.iter().all(|hash| matches!(hash, Some(Ok(_))) && *hash == hashes[0]));
    // Of those at different revisions nothing is left when their callers leave.
    let tickets: Vec<u64> = (0..300).map(|i| host.send(i % 2, hash(4000 + i as i64))).collect();
    for (i, ticket) in tickets.iter().enumerate() {
        host.cores[i % 2].cancel(Ticket(*ticket));
    }
    let left = host.turns();
    assert!(left <= 20, "{left} turns for nobody");
    assert!(tickets.iter().all(|ticket| !host.answers.contains_key(ticket)));
    assert!(matches!(host.call(1, hash(0)), Ok(Reply::HashKv(_))));
}

#[test]
fn alarms_of_made_up_members_are_bounded() {
    let mut host = Host::start(Disk::default(), 2, 2);
    let alarm = |action, member: usize| {
        let (member, kind) = (MemberId(member as u64), Some(AlarmKind::Corrupt));
        Request::Alarm(AlarmRequest { action, member, kind })
    };
    for member in 0..ALARMS_MAX {
        host.send(0, alarm(AlarmAction::Activate, member));
    }
    let one_more = host.send(0, alarm(AlarmAction::Activate, ALARMS_MAX));
    host.run();
    let refused = host.answers.remove(&one_more).expect("an answer");
    assert!(matches!(refused, Err(Refusal::Invalid(_))), "{refused:?}");
    assert!(host.answers.values().all(|answer| answer.is_ok()));
    // One that stands is listed again, and there is room for another as soon as one is gone.
    assert!(host.call(1, alarm(AlarmAction::Activate, 7)).is_ok());
    assert!(host.call(0, alarm(AlarmAction::Deactivate, 7)).is_ok());
    assert!(host.call(1, alarm(AlarmAction::Activate, ALARMS_MAX)).is_ok());
    let Ok(Reply::Alarm(all)) = host.call(0, alarm(AlarmAction::Get, 0)) else { panic!("alarms") };
    assert_eq!(all.alarms.len(), ALARMS_MAX);
}

#[test]
fn of_requests_whose_clients_left_before_a_turn_nothing_is_done() {
    const PUTS: usize = 16_000;
    let mut host = Host::start(Disk::default(), 2, 5);
    let before = host.put(0, "first", "1");
    let tickets: Vec<u64> = (0..PUTS).map(|i| host.send(i % 2, put(&format!("{i}"), ""))).collect();
    for (i, ticket) in tickets.iter().enumerate().rev() {
        host.cores[i % 2].cancel(Ticket(*ticket));
    }
    host.run();
    assert!(host.answers.is_empty());
    // What goes to another core may have been on its way.
    assert_eq!(host.put(1, "last", "2"), before + 1);
    assert_eq!(host.list(0, 0).len(), 2);
}
