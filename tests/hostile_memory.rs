//! The memory that bytes from outside may cost, measured at the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use braid::protocol::convert::{RequestLimits, decode};
use braid::protocol::frame::{Decoder, Header};
use braid::protocol::grpc::{Deflater, Encoding, Inflater, MessageReader};
use braid::protocol::method::Method;
use bytes::{Bytes, BytesMut};

/// Counts what the current thread holds, and the most it has held.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn grow(bytes: usize) {
    let _ = HELD.try_with(|held| {
        held.set(held.get().saturating_add(bytes));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

fn shrink(bytes: usize) {
    let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(bytes)));
}

// SAFETY: every call is passed on to the system's allocator unchanged; the counters are plain
// cells of the thread and allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that `work` held at its worst beyond what was held before it.
fn peak_bytes<R>(work: impl FnOnce() -> R) -> usize {
    let before = HELD.get();
    PEAK.set(before);
    drop(work());
    PEAK.get() - before
}

/// A length-delimited field.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

/// Branches `width` wide and `depth` deep around operations of `leaf` bytes each.
fn bush(width: usize, depth: usize, leaf: &[u8]) -> Vec<u8> {
    let op = if depth == 0 { leaf.to_vec() } else { field(4, &bush(width, depth - 1, leaf)) };
    field(2, &op).repeat(width)
}

#[test]
fn the_allocator_is_counted() {
    assert!((100_000..110_000).contains(&peak_bytes(|| vec![1u8; 100_000])));
}

#[test]
fn a_txn_costs_a_bounded_amount_whatever_its_shape() {
    let get = [0x0A, 0x03, 0x0A, 0x01, b'k'];
    let payloads = [
        b"\x12\x00".repeat(1 << 20),
        b"\x0A\x00".repeat(1 << 20),
        // Within the budget of every level, but a million operations in all.
        bush(32, 3, b""),
        bush(31, 3, &get),
        // As much as is accepted.
        bush(25, 2, &get),
    ];
    for payload in payloads {
        let (length, payload) = (payload.len(), Bytes::from(payload));
        let peak = peak_bytes(|| decode(Method::Txn, payload.clone(), &RequestLimits::default()));
        assert!(peak < 16 << 20, "{peak} bytes for {length} on the wire");
    }
}

#[test]
fn the_largest_txn_is_accepted() {
    let payload = Bytes::from(bush(25, 2, &[0x0A, 0x03, 0x0A, 0x01, b'k']));
    assert!(decode(Method::Txn, payload, &RequestLimits::default()).is_ok());
}

#[test]
fn values_are_not_copied() {
    let value = vec![b'v'; 1 << 20];
    let payload = Bytes::from([field(1, b"key"), field(2, &value)].concat());
    let peak = peak_bytes(|| decode(Method::Put, payload.clone(), &RequestLimits::default()));
    assert!(peak < 1000, "{peak}");
}

#[test]
fn claims_of_length_cost_nothing() {
    let header = Header { length: 1 << 30, ..Default::default() }.encode();
    let mut input = BytesMut::from(&header[..]);
    let peak = peak_bytes(|| Decoder::new(1 << 31).decode(&mut input));
    assert!(peak < 1000, "{peak}");

    let piece = Bytes::from_static(b"\0\x40\0\0\0some of it");
    let peak = peak_bytes(|| {
        let mut reader = MessageReader::new(1 << 31);
        reader.push(piece.clone());
        let message = reader.next_message(Encoding::Identity);
        assert_eq!(message, Ok(None));
        reader.push(piece);
        reader
    });
    assert!(peak < 1000, "{peak}");

    let payload = Bytes::from_static(b"\x0A\xFF\xFF\xFF\xFF\x07k");
    for &method in Method::ALL {
        let peak = peak_bytes(|| decode(method, payload.clone(), &RequestLimits::default()));
        assert!(peak < 2000, "{method:?} {peak}");
    }
}

#[test]
fn a_message_under_gzip_takes_no_more_than_its_bound() {
    let mut packing = Deflater::new(vec![0; 256 << 20].into(), BytesMut::new());
    let bomb = loop {
        if let Some(bomb) = packing.step() {
            break bomb.freeze();
        }
    };
    let length = bomb.len();
    let peak = peak_bytes(|| {
        let mut inflater = Inflater::new(bomb.clone(), 1 << 20).expect("it is gzip");
        while let Ok(None) = inflater.step() {}
        assert!(inflater.held() <= 1 << 20);
    });
    assert!(peak < 4 << 20, "{peak} bytes for {length} on the wire");
}
