//! What one core of a member owns, put together.

pub use crate::types::{Answer, Nanos, Ticket};
use crate::types::Request;

/// What connections need of the core under them.
pub trait Service {
    /// Takes a request. The answer may be there at once; otherwise it comes later, by ticket, and
    /// exactly once unless the ticket is cancelled.
    ///
    /// A request whose `deadline` has passed before it is evaluated is dropped with
    /// [`crate::types::Refusal::DeadlineExceeded`]; one that takes longer than etcd's request timeout is
    /// answered [`crate::types::Refusal::Timeout`].
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
