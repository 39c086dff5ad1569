//! Many unary requests as fast as they go, before or after a run: none may fail.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::BytesMut;

use crate::load::wire::{Answer, Lost, Wires};
use crate::protocol::Method;

/// Requests under way, where nobody says otherwise.
pub(super) const OUTSTANDING: u32 = 256;

/// Makes `count` requests; `write` writes the message of the request with a number, `learn` sees
/// its answer. Nothing else may be under way on `wires`.
pub(super) async fn ask_all(
    wires: &mut Wires,
    method: Method,
    count: u64,
    outstanding: u32,
    mut write: impl FnMut(u64, &mut BytesMut),
    mut learn: impl FnMut(u64, &[u8]),
) -> Result<(), Lost> {
    let mut asking = Asking {
        method,
        next: 0,
        count,
        slots: vec![0; outstanding as usize],
        free: (0..outstanding).collect(),
    };
    poll_fn(|cx| asking.poll(wires, cx, &mut write, &mut learn)).await
}

struct Asking {
    method: Method,
    next: u64,
    count: u64,
    /// Which request each slot asks.
    slots: Vec<u64>,
    free: Vec<u32>,
}

impl Asking {
    fn poll(
        &mut self,
        wires: &mut Wires,
        cx: &mut Context<'_>,
        write: &mut impl FnMut(u64, &mut BytesMut),
        learn: &mut impl FnMut(u64, &[u8]),
    ) -> Poll<Result<(), Lost>> {
        let method = self.method;
        loop {
            while self.next < self.count {
                let Some(&slot) = self.free.last() else { break };
                let number = self.next;
                // The place does not matter, as long as all connections have their part.
                let Some(place) = wires.place(&number.to_le_bytes()) else { break };
                self.free.pop();
                self.slots[slot as usize] = number;
                self.next += 1;
                wires.send(place, slot, method, |out| write(number, out));
            }
            wires.poll_flush(cx)?;
            if self.next == self.count && self.free.len() == self.slots.len() {
                return Poll::Ready(Ok(()));
            }
            let mut refused = None;
            let Asking { slots, free, .. } = self;
            let read = wires.poll_answers(cx, |Answer { slot, result, .. }| {
                let Some(&number) = slots.get(slot as usize) else { return };
                free.push(slot);
                match result {
                    Ok(answer) => learn(number, answer),
                    Err((_, text)) => refused = Some(format!("{}: {text}", method.name())),
                }
            })?;
            if let Some(refused) = refused {
                return Poll::Ready(Err(Lost::new(refused)));
            }
            if !read {
                return Poll::Pending;
            }
        }
    }
}
