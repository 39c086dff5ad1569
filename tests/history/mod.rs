//! The history of clients' calls and answers, and the check that the server's agrees.
//!
//! Every write carries a value that no other has, so whatever stands at a revision says which
//! request put it there. [`Checker`] walks the revisions one by one and holds them to:
//!
//! 1. Every revision changes something, and all it changes belongs to one request, whole.
//! 2. What was acknowledged stands at the revision that the answer named.
//! 3. What was refused, or answered as without effect, stands nowhere; what got no answer stands at
//!    most once.
//! 4. A request that began after an answer was there has a higher revision than that answer.
//! 5. A compare-and-swap stands right on the revision that it compared with.
//! 6. What a read showed stands at the revision its header named, and that revision exists.

mod checker;

pub use checker::{Checker, Entry, Store};

/// A request that may change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// All of `keys` get `value`, in one request.
    Put {
        keys: Vec<String>,
        value: String,
    },
    /// `key` gets `value` if its mod revision is `expected`.
    Swap {
        key: String,
        value: String,
        expected: i64,
    },
    Delete {
        key: String,
    },
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Changed something, at this revision.
    Changed(i64),
    /// An answer that says nothing was changed, with the revision of its header.
    Nothing(i64),
    /// No answer, or one that leaves it open.
    Unknown,
}

/// One request and what became of it.
#[derive(Clone, Debug)]
pub struct Write {
    pub request: Request,
    /// The highest revision of any answer that was there when the request began.
    pub seen: i64,
    pub outcome: Outcome,
}

/// One answered read of a whole prefix.
#[derive(Clone, Debug)]
pub struct Read {
    pub prefix: String,
    pub seen: i64,
    /// Of the header.
    pub revision: i64,
    /// Key, value, mod revision.
    pub kvs: Vec<(String, String, i64)>,
}

/// What one client recorded.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub writes: Vec<Write>,
    pub reads: Vec<Read>,
}
