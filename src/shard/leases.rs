//! The leases to which keys may be attached, as one core knows them.

use std::cell::RefCell;
use std::rc::Rc;

use rustc_hash::FxHashSet;

use crate::teeth::{Rule, leaves_out};
use crate::types::LeaseId;

/// The leases to which keys may be attached. There is one per core, shared by its shards: the core
/// changes it on notices of the leader, and the shards look at it when they evaluate a put. It is
/// never iterated.
#[derive(Clone, Debug, Default)]
pub struct LeaseIds(Rc<RefCell<FxHashSet<LeaseId>>>);

impl LeaseIds {
    /// These and no others.
    pub fn replace(&self, ids: &[LeaseId]) {
        *self.0.borrow_mut() = ids.iter().copied().collect();
    }

    /// Some are granted, some end.
    pub fn change(&self, added: &[LeaseId], going: &[LeaseId]) {
        let mut ids = self.0.borrow_mut();
        ids.extend(added);
        for id in going.iter().filter(|_| !leaves_out(Rule::AttachRefused)) {
            ids.remove(id);
        }
    }

    /// Whether a key may be attached to `id`.
    pub fn contains(&self, id: LeaseId) -> bool {
        self.0.borrow().contains(&id)
    }
}
