//! Counters of one core's connections. They are plain cells; a scrape asks every core and adds up.

use std::cell::Cell;

use crate::protocol::Method;
use crate::protocol::method::Kind;

/// gRPC has the codes 0 to 16; what is not one of them counts as UNKNOWN (2).
const CODES: usize = 17;

/// Counters of one core.
#[derive(Default)]
pub struct Meters {
    /// The meters of methods, made when a method is first called.
    methods: std::cell::RefCell<Vec<(Method, Box<MethodMeter>)>>,
    slots: Slots,
    /// `etcd_network_client_grpc_received_bytes_total`: bytes of request messages.
    pub received_bytes: Cell<u64>,
    /// `etcd_network_client_grpc_sent_bytes_total`: bytes of answer messages.
    pub sent_bytes: Cell<u64>,
    /// Connections open now, per protocol.
    pub connections_frames: Cell<u64>,
    pub connections_grpc: Cell<u64>,
    pub connections_http: Cell<u64>,
    /// `etcd_debugging_mvcc_pending_events_total`: events that wait for their stream.
    pub events_pending: Cell<u64>,
    /// Connections closed because of what they sent.
    pub connections_refused: Cell<u64>,
}

/// Position in `methods` plus one, by opcode.
struct Slots([Cell<u8>; 256]);

impl Default for Slots {
    fn default() -> Slots {
        Slots([const { Cell::new(0) }; 256])
    }
}

/// Requests of one method.
#[derive(Default)]
struct MethodMeter {
    started: u64,
    received: u64,
    sent: u64,
    handled: [u64; CODES],
}

/// Counters of one method at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodCount {
    pub method: Method,
    /// `grpc_server_started_total`
    pub started: u64,
    /// `grpc_server_msg_received_total`
    pub received: u64,
    /// `grpc_server_msg_sent_total`
    pub sent: u64,
    /// `grpc_server_handled_total`, by gRPC code.
    pub handled: [u64; CODES],
}

impl Meters {
    /// A call has begun: with its one message, unless its client has a stream of them.
    pub(super) fn started(&self, method: Method) {
        let messages = u64::from(method.kind() != Kind::Bidi);
        self.count(method, |meter| {
            meter.started += 1;
            meter.received += messages;
        });
    }

    /// A message of a client's stream.
    pub(super) fn received(&self, method: Method, bytes: usize) {
        self.count(method, |meter| meter.received += 1);
        add(&self.received_bytes, bytes as u64);
    }

    /// A message of a stream of ours.
    pub(super) fn sent(&self, method: Method) {
        self.count(method, |meter| meter.sent += 1);
    }

    pub(super) fn handled(&self, method: Method, code: u32) {
        let code = if (code as usize) < CODES { code as usize } else { 2 };
        self.count(method, |meter| {
            meter.handled[code] += 1;
            meter.sent += u64::from(code == 0 && method.kind() == Kind::Unary);
        });
    }

    /// `count` calls of a unary method came and were answered.
    pub(super) fn answered(&self, method: Method, count: u64) {
        self.count(method, |meter| {
            meter.started += count;
            meter.received += count;
            meter.handled[0] += count;
            meter.sent += count;
        });
    }

    fn count(&self, method: Method, add: impl FnOnce(&mut MethodMeter)) {
        let slot = &self.slots.0[usize::from(method.opcode())];
        let mut methods = self.methods.borrow_mut();
        if slot.get() == 0 {
            methods.push((method, Box::default()));
            slot.set(u8::try_from(methods.len()).expect("fewer than 256 opcodes"));
        }
        add(&mut methods[usize::from(slot.get()) - 1].1);
    }

    /// The methods that were called, in the order of their opcodes.
    pub fn methods(&self) -> Vec<MethodCount> {
        let mut counts: Vec<MethodCount> = self
            .methods
            .borrow()
            .iter()
            .map(|(method, meter)| MethodCount {
                method: *method,
                started: meter.started,
                received: meter.received,
                sent: meter.sent,
                handled: meter.handled,
            })
            .collect();
        counts.sort_by_key(|count| count.method.opcode());
        counts
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &Cell<u64>, amount: u64) {
    counter.set(counter.get().wrapping_add(amount));
}

/// Takes from a gauge.
pub(super) fn take(gauge: &Cell<u64>, amount: u64) {
    gauge.set(gauge.get() - amount);
}

/// Counts one up until it is dropped.
pub(super) struct Gauge<'a>(&'a Cell<u64>);

impl<'a> Gauge<'a> {
    pub(super) fn up(gauge: &'a Cell<u64>) -> Gauge<'a> {
        gauge.set(gauge.get() + 1);
        Gauge(gauge)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_count_by_method_and_code() {
        let meters = Meters::default();
        meters.started(Method::Put);
        meters.started(Method::Range);
        meters.started(Method::Put);
        meters.handled(Method::Put, 0);
        meters.handled(Method::Put, 14);
        meters.handled(Method::Range, 99);
        let counts = meters.methods();
        assert_eq!(
            counts.iter().map(|c| c.method).collect::<Vec<_>>(),
            [Method::Range, Method::Put]
        );
        assert_eq!((counts[1].started, counts[1].handled[0], counts[1].handled[14]), (2, 1, 1));
        assert_eq!(counts[0].handled[2], 1, "a code that is none counts as unknown");
    }
}
