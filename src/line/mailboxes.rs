//! A core's mail to the others and from them: in order, without loss, one batch for each core that
//! a turn writes to.
//!
//! ```text
//!  a turn ──send──▶ outboxes ──as there is room──▶ mailboxes ──▶ the other cores
//!         ◀──take──────────────────────────────── mailboxes ◀── the other cores
//! ```
//!
//! Invariant: mail is taken, which is what a turn begins with, only when everything that the turn
//! before has sent is in the mailboxes. What it has written must not become stable before the
//! others have what they are to be told of it. So an outbox is never more than one batch.
//!
//! Cores never wait for one another in a circle. That A finds its mailbox to B full at the end of a
//! turn means that B has not taken since a turn of A before that one sent: B's last turn began
//! before A's last one did. Around a circle, each would have begun before itself.

use super::mailbox::{Receiver, Sender, mailbox};
use crate::types::CoreId;

/// Mail of one turn, from one core to another.
type Batch<M> = Vec<M>;

/// One core's ends of the mailboxes, and what waits for room in them.
#[derive(Debug)]
pub struct Mailboxes<M> {
    /// The receivers from other cores, by core; a core's own place is empty.
    from: Vec<Option<Receiver<Batch<M>>>>,
    to: Vec<Option<Sender<Batch<M>>>>,
    /// The mail of the last turn for which its mailbox has no room, by core.
    outboxes: Vec<Batch<M>>,
}

impl<M: Send> Mailboxes<M> {
    /// Makes the mailboxes of every core, with one of `capacity` batches for each ordered pair of
    /// cores.
    pub fn of_all(cores: u16, capacity: usize) -> Vec<Mailboxes<M>> {
        let count = usize::from(cores);
        let mut by_core: Vec<Mailboxes<M>> = (0..count)
            .map(|_| Mailboxes {
                from: (0..count).map(|_| None).collect(),
                to: (0..count).map(|_| None).collect(),
                outboxes: (0..count).map(|_| Batch::new()).collect(),
            })
            .collect();
        for from in 0..count {
            for to in (0..count).filter(|&to| to != from) {
                let (sender, receiver) = mailbox(capacity);
                by_core[from].to[to] = Some(sender);
                by_core[to].from[from] = Some(receiver);
            }
        }
        by_core
    }

    /// Sends what a turn has written, one batch to each core that gets something, as far as there
    /// is room; `pushed` is told of every core that now has something new.
    pub fn send(&mut self, mail: &mut Vec<(CoreId, M)>, pushed: impl FnMut(CoreId)) {
        for (to, mail) in mail.drain(..) {
            self.outboxes[usize::from(to.0)].push(mail);
        }
        self.push(pushed);
    }

    /// Whether everything is sent, after another attempt. Until then no turn may begin.
    pub fn is_sent(&mut self, pushed: impl FnMut(CoreId)) -> bool {
        self.push(pushed);
        !self.owes()
    }

    /// Whether something waits for room in a mailbox.
    pub fn owes(&self) -> bool {
        self.outboxes.iter().any(|outbox| !outbox.is_empty())
    }

    /// Hands all mail that is there to `receive`, of each core in the order in which it was sent.
    /// How many batches that were.
    ///
    /// # Panics
    ///
    /// If not everything is sent.
    pub fn take(&mut self, mut receive: impl FnMut(M)) -> u64 {
        self.take_while(|| true, &mut receive)
    }

    /// Takes one batch of each core, as [`Mailboxes::take`] does, and further ones as long as
    /// `goes_on` says so. It is for callers that let mail come in while other mail is taken. One
    /// batch is enough for no two cores to wait for each other; with none, each could find its
    /// mailbox to the other full.
    ///
    /// # Panics
    ///
    /// If not everything is sent.
    pub fn take_while(
        &mut self,
        mut goes_on: impl FnMut() -> bool,
        mut receive: impl FnMut(M),
    ) -> u64 {
        assert!(!self.owes(), "a turn begins when the mail of the last one is sent");
        let mut batches = 0;
        for mailbox in self.from.iter_mut().flatten() {
            while let Some(batch) = mailbox.pop() {
                batches += 1;
                batch.into_iter().for_each(&mut receive);
                if !goes_on() {
                    break;
                }
            }
        }
        batches
    }

    /// Whether there is mail to take.
    pub fn has_mail(&self) -> bool {
        self.from.iter().flatten().any(|mailbox| !mailbox.is_empty())
    }

    fn push(&mut self, mut pushed: impl FnMut(CoreId)) {
        for (at, (outbox, mailbox)) in self.outboxes.iter_mut().zip(&mut self.to).enumerate() {
            if outbox.is_empty() {
                continue;
            }
            let mailbox = mailbox.as_mut().expect("a core writes to others only");
            match mailbox.push(std::mem::take(outbox)) {
                Ok(()) => pushed(CoreId(at as u16)),
                Err(full) => *outbox = full.0,
            }
        }
    }
}

// The mailboxes are loom's in its build, where only a model may touch them.
#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From whom, and the how-manieth of what that core has sent to this one.
    type Letter = (usize, u64);

    /// Cores that do nothing but write to all the others, by the same rules as the loop.
    struct Cores {
        by_core: Vec<Mailboxes<Letter>>,
        /// The cores that are in the middle of a turn.
        busy: Vec<bool>,
        /// Turns begun, by core.
        turns: Vec<u64>,
        /// The next letter, by sender and receiver; and the next that is expected.
        written: Vec<Vec<u64>>,
        read: Vec<Vec<u64>>,
        rung: Vec<u64>,
    }

    impl Cores {
        fn new(cores: u16, capacity: usize) -> Cores {
            let count = usize::from(cores);
            Cores {
                by_core: Mailboxes::of_all(cores, capacity),
                busy: vec![false; count],
                turns: vec![0; count],
                written: vec![vec![0; count]; count],
                read: vec![vec![0; count]; count],
                rung: vec![0; count],
            }
        }

        /// A core begins a turn if it may, or ends the one that it is in by writing `letters` to
        /// every other core: what happens in between is up to the others.
        fn step(&mut self, core: usize, letters: u64) {
            let rung = &mut self.rung;
            let pushed = |to: CoreId| rung[usize::from(to.0)] += 1;
            if std::mem::take(&mut self.busy[core]) {
                let mut mail = Vec::new();
                for to in (0..self.by_core.len()).filter(|&to| to != core) {
                    for _ in 0..letters {
                        mail.push((CoreId(to as u16), (core, self.written[core][to])));
                        self.written[core][to] += 1;
                    }
                }
                self.by_core[core].send(&mut mail, pushed);
                assert!(mail.is_empty());
            } else if self.by_core[core].is_sent(pushed) {
                let read = &mut self.read;
                self.by_core[core].take(|(from, number)| {
                    assert_eq!(number, read[from][core], "from {from} to {core}, in order");
                    read[from][core] += 1;
                });
                self.turns[core] += 1;
                self.busy[core] = true;
            }
        }

        fn turn(&mut self, core: usize, letters: u64) {
            (0..2).for_each(|_| self.step(core, letters));
        }

        /// All write nothing more and read what there is.
        fn settle(&mut self) {
            let count = self.by_core.len();
            (0..4 * count * count).for_each(|step| self.step(step % count, 0));
            assert!(
                self.by_core.iter().all(|mailboxes| !mailboxes.owes() && !mailboxes.has_mail())
            );
            assert_eq!(self.read, self.written, "nothing is lost");
        }
    }

    #[test]
    fn what_a_turn_writes_to_a_core_is_one_batch_and_one_ring() {
        let mut cores = Cores::new(3, 8);
        cores.turn(1, 5);
        assert_eq!(cores.rung, [1, 0, 1]);
        assert!(cores.by_core[0].has_mail() && !cores.by_core[1].has_mail());
        assert_eq!(cores.by_core[0].take(|_| ()), 1);
        assert_eq!(cores.by_core[0].take(|_| ()), 0);
    }

    #[test]
    fn a_core_whose_mail_finds_no_room_takes_no_turn() {
        let mut cores = Cores::new(2, 2);
        (0..3).for_each(|_| cores.turn(0, 1));
        assert_eq!((cores.turns[0], cores.rung[1]), (3, 2));
        assert!(cores.by_core[0].owes());
        (0..5).for_each(|_| cores.turn(0, 1));
        assert_eq!((cores.turns[0], cores.rung[1]), (3, 2), "nobody is rung for nothing");
        cores.turn(1, 1);
        assert_eq!(cores.read[0][1], 2);
        assert!(cores.by_core[0].has_mail() && cores.by_core[0].owes());
        cores.turn(0, 0);
        assert_eq!((cores.turns[0], cores.rung[1], cores.read[1][0]), (4, 3, 1));
        cores.settle();
    }

    #[test]
    #[should_panic(expected = "a turn begins when the mail of the last one is sent")]
    fn mail_cannot_be_taken_before_all_is_sent() {
        let mut by_core = Mailboxes::of_all(2, 1);
        for letter in 0..2 {
            by_core[0].send(&mut vec![(CoreId(1), letter)], |_| ());
        }
        by_core[0].take(|_| ());
    }

    /// Both mailboxes are full, one core waits for the other, and each goes on.
    #[test]
    fn two_cores_with_full_mailboxes_go_on() {
        let mut cores = Cores::new(2, 1);
        for core in [0, 1, 0, 1] {
            cores.step(core, 1);
        }
        assert!(
            cores.by_core.iter().all(Mailboxes::has_mail),
            "what each has sent fills the mailbox"
        );
        cores.turn(0, 1);
        assert!(cores.by_core[0].owes());
        let before = cores.turns.clone();
        for step in 0..40 {
            cores.step(step % 2, 1);
        }
        assert!(cores.turns.iter().zip(&before).all(|(now, before)| now - before > 5));
        cores.settle();
    }

    proptest! {
        #[test]
        fn whoever_runs_when_all_mail_arrives_in_order(
            cores in 2..5u16,
            capacity in 1..4usize,
            steps in prop::collection::vec((0..5usize, 0..4u64), 0..300),
        ) {
            let mut all = Cores::new(cores, capacity);
            for (core, letters) in steps {
                all.step(core % usize::from(cores), letters);
            }
            all.settle();
        }
    }
}
