//! The memory that clients' connections hold: the very budget of the process, kept small, so that
//! it fills.
//!
//! A client sends a request in pieces; each is read only if its connection may be read then. What
//! is whole is charged until it is answered or its client leaves. So at rest nothing is held, and
//! at no time do all wait for room that only they could make.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::budget::{Account, Budget, Charge, CoreBudget};
use crate::chance::Chance;

/// Bytes that a request is charged: far more than it has, so that some requests fill the budget.
const PIECE_BYTES: usize = 20_000;
const PIECES: [u64; 6] = [1, 1, 1, 1, 2, 5];

/// The simulated connections.
pub struct Connections {
    budget: Arc<Budget>,
    connections: Vec<Connection>,
    /// The charges of calls under way, by call.
    under_way: BTreeMap<u64, Charge>,
    /// The number of times that a client had to wait.
    pub waits: u64,
}

struct Connection {
    core: usize,
    account: Rc<Account>,
    /// Pieces of a request that have come, and how many are still to come.
    begun: Option<(Charge, u64)>,
}

impl Connections {
    /// Opens `count` connections, dealt out to the cores of a member that has just started.
    pub fn open(budget_bytes: usize, count: usize, cores: usize) -> Connections {
        let budget = Budget::new(budget_bytes, cores);
        let core_budgets: Vec<_> = (0..cores).map(|_| CoreBudget::new(budget.clone())).collect();
        let open = |at: usize| {
            let core = at % cores;
            Connection { core, account: core_budgets[core].open(), begun: None }
        };
        let connections = (0..count).map(open).collect();
        Connections { budget, connections, under_way: BTreeMap::new(), waits: 0 }
    }

    /// Some client sends a piece of a request. If that is whole now: the core that it comes to, and
    /// what it holds.
    pub fn send(&mut self, chance: &mut Chance) -> Option<(usize, Charge)> {
        let at = chance.slot(self.connections.len());
        let connection = &mut self.connections[at];
        if connection.begun.is_none() {
            let pieces = chance.pick(&PIECES);
            connection.begun = Some((connection.account.charge(0), pieces));
        }
        match connection.read() {
            Read::Whole(charge) => Some((connection.core, charge)),
            Read::Piece => None,
            Read::Waits => {
                self.waits += 1;
                None
            }
        }
    }

    /// The call that a whole request became.
    pub fn began(&mut self, call: u64, charge: Charge) {
        self.under_way.insert(call, charge);
    }

    /// It is answered, or its client has left.
    pub fn ended(&mut self, call: u64) {
        self.under_way.remove(&call);
    }

    /// No call is under way: what has begun must get whole, whatever it fills, and then nothing may
    /// be held.
    pub fn rest(&mut self) -> Result<(), String> {
        if let Some(call) = self.under_way.keys().next() {
            return Err(format!("call {call} is over and still holds memory"));
        }
        loop {
            let (mut moved, mut waits) = (false, false);
            for connection in &mut self.connections {
                if connection.begun.is_some() {
                    let read = connection.read();
                    moved |= !matches!(read, Read::Waits);
                    waits |= matches!(read, Read::Waits);
                }
            }
            match (moved, waits) {
                (true, _) => {}
                (false, true) => return Err("beginnings of requests fill the budget".to_owned()),
                (false, false) => break,
            }
        }
        let held: usize = self.connections.iter().map(|one| one.account.held()).sum();
        if held > 0 || self.budget.is_full() {
            return Err(format!("{held} bytes are held by nobody, {:?}", self.budget));
        }
        Ok(())
    }
}

enum Read {
    Whole(Charge),
    Piece,
    Waits,
}

impl Connection {
    /// The member reads another piece of what has begun, if the connection may be read.
    fn read(&mut self) -> Read {
        let (charge, missing) = self.begun.as_mut().expect("a request has begun");
        // A byte more: also before its first piece.
        if !self.account.may_read(charge.bytes().max(1)) {
            return Read::Waits;
        }
        charge.resize(charge.bytes() + PIECE_BYTES);
        *missing -= 1;
        if *missing > 0 {
            return Read::Piece;
        }
        let (charge, _) = self.begun.take().expect("just there");
        self.account.return_pass();
        Read::Whole(charge)
    }
}
