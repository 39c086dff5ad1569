//! What one core of a member owns, put together.

use crate::types::{Nanos, Refusal, Reply, Request};

/// A request under way, as the connections of a core number it. Chosen by `server`, unique among
/// the requests of that core that are not yet answered or cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What a client is told.
pub type Answer = Result<Reply, Refusal>;

/// What connections need of the core under them.
pub trait Service {
    /// Takes a request. The answer may be there at once; otherwise it comes later, by ticket, and
    /// exactly once unless the ticket is cancelled.
    ///
    /// A request whose `deadline` has passed before it is evaluated is dropped with
    /// [`Refusal::DeadlineExceeded`]; one that takes longer than etcd's request timeout is
    /// answered [`Refusal::Timeout`].
    fn submit(
        &mut self,
        now: Nanos,
        ticket: Ticket,
        request: Request,
        deadline: Option<Nanos>,
    ) -> Option<Answer>;

    /// The client left: drop the request if it is not yet evaluated; no answer comes any more.
    fn cancel(&mut self, ticket: Ticket);
}
