//! The budget of memory that a member's connections may hold.
//!
//! ```text
//!  Charge ──▶ Account ──▶ CoreBudget ──in portions──▶ Budget
//!  one thing  connection  core: plain cells           member: one atomic, shown in /metrics
//! ```
//!
//! Charged is what a client can have a member hold for as long as it likes, or can have it hold by
//! asking: buffers with the beginning of a message, requests under way, answers that are not sent.
//! The store and the logs have bounds of their own.
//!
//! A budget that is full refuses nothing and takes nothing back. It stops connections from being
//! read ([`Account::may_read`]) and streams from making further messages ([`Account::may_make`]).
//! What was accepted before goes on to its end, which releases what is charged for it. Two rules
//! see to it that a full budget is never the end of everything:
//!
//! - A connection that holds no more than its *share* may always be read. All shares together are a
//!   quarter of the limit, so whoever asks for little is served whatever others hold.
//! - A connection that holds a message which is not all there, and beside it no more than its
//!   share, may be read if it has a *pass*, until that message is whole. So nobody waits for room
//!   that only the waiting could make. Where more than a share is held by anything else, the end
//!   of that makes room. Each core has two passes. The *quick* one is for a message of which the
//!   rest waits in the socket: it is whole in a moment, so those never wait for a slow client. The
//!   *slow* one is for a message of which enough waits there to show that the client is sending;
//!   its holder is ended if the message is not whole in a time that fits its size while others
//!   wait ([`CoreBudget::look_at_pass`]).
//!
//! So the member holds at most the limit, half as much for shares (buffers may be twice as large as
//! what is in them), for each core two messages, and what connections within their share have asked
//! for in one read: of each, answers up to
//! [`CONNECTION_OUTPUT_BYTES_MAX`](crate::limits::CONNECTION_OUTPUT_BYTES_MAX) and one answer more.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::{
    BUDGET_PORTION_BYTES_MAX, BUDGET_PORTION_BYTES_MIN, BUDGET_SHARE_BYTES_MIN, PASS_LOOKS,
    PASS_LOOKS_MIN, PASS_PATIENCE_BYTES, PASS_UNREAD_BYTES_MIN, SHARE_READ_BYTES_MIN,
};

/// The budget of a member. Cores take from it in portions, so it is rarely written.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    portion: usize,
    taken: AtomicUsize,
    accounts: AtomicUsize,
}

impl Budget {
    /// Makes a budget of `limit` bytes, for `cores` cores.
    pub fn new(limit: usize, cores: usize) -> Arc<Budget> {
        let portion = limit / (64 * cores.max(1));
        let portion = portion.clamp(BUDGET_PORTION_BYTES_MIN, BUDGET_PORTION_BYTES_MAX);
        let (taken, accounts) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Budget { limit, portion, taken, accounts })
    }

    /// Bytes above which it is full.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that the cores have taken: what is held, and less than two portions more for each.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether no more is to be taken on.
    pub fn is_full(&self) -> bool {
        self.taken() >= self.limit
    }

    /// Bytes that each connection may hold whatever others do.
    pub fn share(&self) -> usize {
        let accounts = self.accounts.load(Ordering::Relaxed).max(1);
        (self.limit / 4 / accounts).max(BUDGET_SHARE_BYTES_MIN)
    }
}

/// A core's part of the budget.
#[derive(Debug)]
pub struct CoreBudget {
    budget: Arc<Budget>,
    used: Cell<usize>,
    taken: Cell<usize>,
    /// Somebody has the quick pass.
    quick: Cell<bool>,
    /// Somebody has the slow pass, for so many looks more while others wait.
    slow: Cell<Option<u32>>,
    /// Looks that the slow pass gives for each MiB of a message's rest: it halves with every holder
    /// that is too slow, and doubles with every message that gets whole, up to [`PASS_LOOKS`].
    patience: Cell<u32>,
}

/// How much of a message that has begun is still to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// So many bytes are missing, and so many wait in the socket.
    Known { missing: usize, unread: usize },
    /// The transport does not say.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Quick,
    Slow,
}

impl CoreBudget {
    /// Opens the part of a core that holds nothing yet.
    pub fn new(budget: Arc<Budget>) -> Rc<CoreBudget> {
        let (used, taken) = (Cell::new(0), Cell::new(0));
        let (quick, slow) = (Cell::new(false), Cell::new(None));
        Rc::new(CoreBudget { budget, used, taken, quick, slow, patience: Cell::new(PASS_LOOKS) })
    }

    /// Returns the member's budget.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Bytes that are charged on this core.
    pub fn used(&self) -> usize {
        self.used.get()
    }

    /// Whether a connection that waits may go on now if it asks again: the budget has room, or
    /// nobody has one of the passes.
    pub fn is_worth_asking(&self) -> bool {
        !self.budget.is_full() || !self.quick.get() || self.slow.get().is_none()
    }

    /// Looks at the slow pass while connections wait; to be called every
    /// [`BUDGET_PAUSE_MILLIS`](crate::limits::BUDGET_PAUSE_MILLIS). Returns whether the time of its
    /// holder is over: the connection is to be ended then.
    pub fn look_at_pass(&self) -> bool {
        let Some(left) = self.slow.get() else {
            return false;
        };
        self.slow.set(Some(left.saturating_sub(1)));
        if left == 1 {
            self.patience.set((self.patience.get() / 2).max(PASS_LOOKS_MIN));
        }
        left <= 1
    }

    /// Returns the account of a new connection.
    pub fn open(self: &Rc<CoreBudget>) -> Rc<Account> {
        self.budget.accounts.fetch_add(1, Ordering::Relaxed);
        Rc::new(Account { core_budget: self.clone(), held: Cell::new(0), pass: Cell::new(None) })
    }

    /// Gives out the pass that fits `rest`, if nobody has it.
    fn give_pass(&self, begun: usize, rest: Rest) -> Option<Pass> {
        let (missing, is_here, is_coming) = match rest {
            Rest::Known { missing, unread } => {
                (missing, unread >= missing, unread >= missing.min(PASS_UNREAD_BYTES_MIN))
            }
            // As much again as there is, if nothing better is known.
            Rest::Unknown => (begun, false, true),
        };
        if is_here && !self.quick.replace(true) {
            return Some(Pass::Quick);
        }
        if is_coming && self.slow.get().is_none() {
            let parts = 1 + u32::try_from(missing / PASS_PATIENCE_BYTES).unwrap_or(u32::MAX - 1);
            self.slow.set(Some(self.patience.get().saturating_mul(parts)));
            return Some(Pass::Slow);
        }
        None
    }

    fn charge(&self, bytes: usize) {
        let used = self.used.get() + bytes;
        self.used.set(used);
        if used > self.taken.get() {
            let more = (used - self.taken.get()).next_multiple_of(self.budget.portion);
            self.budget.taken.fetch_add(more, Ordering::Relaxed);
            self.taken.set(self.taken.get() + more);
        }
    }

    fn release(&self, bytes: usize) {
        let used = self.used.get() - bytes;
        self.used.set(used);
        let portion = self.budget.portion;
        // One portion is kept, so that what is charged and released in turn costs nothing.
        let spare = self.taken.get() - used;
        if spare >= 2 * portion {
            let less = (spare / portion - 1) * portion;
            self.budget.taken.fetch_sub(less, Ordering::Relaxed);
            self.taken.set(self.taken.get() - less);
        }
    }
}

impl Drop for CoreBudget {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.taken.get(), Ordering::Relaxed);
    }
}

/// The account of one connection.
#[derive(Debug)]
pub struct Account {
    core_budget: Rc<CoreBudget>,
    held: Cell<usize>,
    pass: Cell<Option<Pass>>,
}

impl Account {
    /// Bytes that it holds.
    pub fn held(&self) -> usize {
        self.held.get()
    }

    /// Returns the core that it belongs to.
    pub fn core_budget(&self) -> &Rc<CoreBudget> {
        &self.core_budget
    }

    /// Whether the connection may be read from. `begun` are the bytes that it holds for a message
    /// of its client which has come in part; 0 if there is none. It gets a pass if there is no
    /// other way, nobody has it, and it holds little else; it keeps the pass until the message is
    /// whole or it holds too much.
    pub fn may_read(&self, begun: usize) -> bool {
        self.may_read_rest(begun, || Rest::Unknown)
    }

    /// As [`Account::may_read`], for a transport that knows the `rest` of the message.
    pub fn may_read_rest(&self, begun: usize, rest: impl FnOnce() -> Rest) -> bool {
        let others = self.held.get().saturating_sub(begun);
        let is_eligible = begun > 0 && others <= self.core_budget.budget.share();
        if !is_eligible {
            self.return_pass();
        }
        if self.may_make() || self.pass.get().is_some() {
            return true;
        }
        if is_eligible {
            self.pass.set(self.core_budget.give_pass(begun, rest()));
        }
        self.pass.get().is_some()
    }

    /// Whether it has the slow pass.
    pub fn has_slow_pass(&self) -> bool {
        self.pass.get() == Some(Pass::Slow)
    }

    /// Bytes that may be read at once: while the budget is full, a connection without the pass is
    /// read up to its share.
    pub fn readable(&self) -> usize {
        if !self.core_budget.budget.is_full() || self.pass.get().is_some() {
            return usize::MAX;
        }
        let left = self.core_budget.budget.share().saturating_sub(self.held.get());
        left.max(SHARE_READ_BYTES_MIN)
    }

    /// Whether a stream of the connection may make another message.
    pub fn may_make(&self) -> bool {
        !self.core_budget.budget.is_full() || self.held.get() <= self.core_budget.budget.share()
    }

    /// Holds `bytes` until the charge is dropped.
    pub fn charge(self: &Rc<Account>, bytes: usize) -> Charge {
        self.add(bytes);
        Charge { account: self.clone(), bytes }
    }

    fn add(&self, bytes: usize) {
        self.held.set(self.held.get() + bytes);
        self.core_budget.charge(bytes);
    }

    fn take(&self, bytes: usize) {
        self.held.set(self.held.get() - bytes);
        self.core_budget.release(bytes);
    }

    /// Gives the pass back, if it has one: the message that it was for is whole.
    pub fn pass_is_used(&self) {
        if self.has_slow_pass() {
            let patience = &self.core_budget.patience;
            patience.set((2 * patience.get()).min(PASS_LOOKS));
        }
        self.return_pass();
    }

    /// Gives the pass back, if it has one: nothing of the connection is read for now.
    pub fn return_pass(&self) {
        match self.pass.take() {
            Some(Pass::Quick) => self.core_budget.quick.set(false),
            Some(Pass::Slow) => self.core_budget.slow.set(None),
            None => {}
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        assert_eq!(self.held.get(), 0, "every charge keeps its account");
        self.return_pass();
        self.core_budget.budget.accounts.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes that a connection holds for one thing.
#[derive(Debug)]
pub struct Charge {
    account: Rc<Account>,
    bytes: usize,
}

impl Charge {
    /// Bytes that it stands for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes the size of the charged thing.
    pub fn resize(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.account.add(bytes - self.bytes);
        } else if bytes < self.bytes {
            self.account.take(self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.take(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_small_charge_does_not_touch_what_cores_share() {
        let budget = Budget::new(64 * MIB, 2);
        let account = CoreBudget::new(budget.clone()).open();
        let kept = account.charge(100);
        let taken = budget.taken();
        assert!(taken > 100_000, "a portion is taken at once: {taken}");
        for _ in 0..1000 {
            drop(account.charge(1000));
            assert_eq!(budget.taken(), taken);
        }
        drop(kept);
        assert_eq!((account.held(), account.core_budget().used()), (0, 0));
    }

    #[test]
    fn a_full_budget_stops_who_holds_more_than_its_share() {
        let budget = Budget::new(64 * MIB, 1);
        let core_budget = CoreBudget::new(budget.clone());
        let (large, small, other) = (core_budget.open(), core_budget.open(), core_budget.open());
        assert!(large.may_read(0) && small.may_read(0));
        let held = large.charge(64 * MIB);
        assert!(budget.is_full());
        assert!(!large.may_read(0) && !large.may_make());
        assert!(small.may_read(0), "it holds nothing");
        let share = budget.share();
        assert_eq!(share, 64 * MIB / 4 / 3);
        let little = small.charge(share);
        assert!(small.may_make() && small.may_read(0));
        assert_eq!((other.readable(), small.readable()), (share, SHARE_READ_BYTES_MIN));
        let more = small.charge(1);
        assert!(!small.may_make() && !small.may_read(0));
        drop((more, held));
        assert!(large.may_read(0) && small.may_read(0) && other.may_read(0));
        drop(little);
    }

    #[test]
    fn one_begun_message_after_the_other_is_read_to_its_end() {
        let core_budget = CoreBudget::new(Budget::new(MIB, 1));
        let accounts = [core_budget.open(), core_budget.open(), core_budget.open()];
        let mut charges: Vec<Charge> = accounts.iter().map(|one| one.charge(MIB)).collect();
        for first in 0..accounts.len() {
            assert!(accounts[first].may_read(MIB));
            assert_eq!(accounts[first].readable(), usize::MAX);
            for other in &accounts[first + 1..] {
                assert!(!other.may_read(MIB), "the pass is another's");
            }
            assert!(accounts[first].may_read(MIB), "until the message is whole");
            // Taken, it is a request that holds as much. The next waits until that is answered.
            assert!(!accounts[first].may_read(10));
            charges[first].resize(0);
            assert!(accounts[first].may_read(0));
        }
    }

    #[test]
    fn the_time_of_the_slow_pass_fits_its_message() {
        let core_budget = CoreBudget::new(Budget::new(MIB, 1));
        let (first, second) = (core_budget.open(), core_budget.open());
        let (_held, _other) = (first.charge(MIB), second.charge(MIB));
        assert!(!core_budget.look_at_pass(), "nobody has it");
        let tenure = |missing| {
            let rest = || Rest::Known { missing, unread: PASS_UNREAD_BYTES_MIN };
            assert!(first.may_read_rest(MIB, rest) && first.has_slow_pass());
            let looks = 1 + (0..).take_while(|_| !core_budget.look_at_pass()).count();
            first.return_pass();
            looks as u32
        };
        assert_eq!(tenure(MIB), 2 * PASS_LOOKS);
        // Those that are too slow leave less and less time to others like them.
        assert_eq!(tenure(MIB), PASS_LOOKS);
        assert_eq!(tenure(99 * MIB), 100 * PASS_LOOKS / 4);
        (0..20).for_each(|_| _ = tenure(MIB));
        assert_eq!(tenure(MIB), 2 * PASS_LOOKS_MIN);
        for _ in 0..10 {
            assert!(second.may_read(MIB));
            second.pass_is_used();
        }
        assert_eq!(tenure(MIB), 2 * PASS_LOOKS);
    }

    #[test]
    fn a_message_that_is_there_does_not_wait_for_one_that_comes_slowly() {
        let core_budget = CoreBudget::new(Budget::new(MIB, 1));
        let accounts: Vec<_> = (0..4).map(|_| core_budget.open()).collect();
        let _charges: Vec<_> = accounts.iter().map(|one| one.charge(MIB)).collect();
        let rest = |unread| move || Rest::Known { missing: MIB, unread };
        assert!(!accounts[0].may_read_rest(MIB, rest(PASS_UNREAD_BYTES_MIN - 1)), "it is silent");
        assert!(accounts[0].may_read_rest(MIB, rest(PASS_UNREAD_BYTES_MIN)));
        assert!(!accounts[1].may_read_rest(MIB, rest(MIB - 1)), "one comes already");
        for _ in 0..3 {
            assert!(accounts[2].may_read_rest(MIB, rest(MIB)));
            assert!(!accounts[3].may_read_rest(MIB, rest(MIB)), "one at a time");
            assert!(!core_budget.is_worth_asking());
            accounts[2].return_pass();
            assert!(core_budget.is_worth_asking());
        }
        assert!(accounts[0].has_slow_pass());
    }

    #[test]
    fn who_leaves_gives_the_pass_back() {
        let core_budget = CoreBudget::new(Budget::new(MIB, 1));
        let (first, second) = (core_budget.open(), core_budget.open());
        let (charge, _other) = (first.charge(MIB), second.charge(MIB));
        assert!(first.may_read(MIB) && !second.may_read(MIB));
        drop(charge);
        drop(first);
        assert!(second.may_read(MIB));
    }

    proptest! {
        /// Whatever is charged, resized and dropped in whatever order, by however many: sums fit,
        /// and at the end nothing is left.
        #[test]
        fn sums_fit(steps in prop::collection::vec((0..4usize, 0..3usize, 0..3 * MIB), 1..60)) {
            let budget = Budget::new(8 * MIB, 2);
            let core_budgets = [CoreBudget::new(budget.clone()), CoreBudget::new(budget.clone())];
            let accounts: Vec<_> = (0..4).map(|number| core_budgets[number % 2].open()).collect();
            let mut charges: Vec<Vec<Charge>> = (0..4).map(|_| Vec::new()).collect();
            for (number, action, bytes) in steps {
                match (action, charges[number].last_mut()) {
                    (1, Some(charge)) => charge.resize(bytes),
                    (2, Some(_)) => drop(charges[number].pop()),
                    _ => charges[number].push(accounts[number].charge(bytes)),
                }
                let mut all = 0;
                for (number, account) in accounts.iter().enumerate() {
                    let held = charges[number].iter().map(Charge::bytes).sum::<usize>();
                    prop_assert_eq!(account.held(), held);
                    all += held;
                }
                prop_assert_eq!(core_budgets[0].used() + core_budgets[1].used(), all);
                prop_assert!(budget.taken() >= all);
                prop_assert!(budget.taken() < all + 2 * 2 * budget.portion);
            }
            drop((charges, accounts, core_budgets));
            prop_assert_eq!(budget.taken(), 0);
        }
    }
}
