//! h2 as the judge of header blocks: what it reads of a connection's blocks is what we read.

use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use tokio::io::AsyncWrite;

use super::*;
use crate::http2::hpack::Encoder;

/// `:method POST`, `:scheme http`, `:path /` and an authority, without which h2 refuses a request.
const CALL: &[u8] = &[0x83, 0x86, 0x84, 0x01, 1, b'a'];

/// Fields in the order of their names, those of one name in the order in which they came.
type List = Vec<(String, String)>;

/// The header lists that h2 reads of these blocks, each a request of its own, and whether it read
/// all of them.
fn read_by_h2(blocks: &[Vec<u8>]) -> (Vec<List>, bool) {
    let (ours, theirs) = tokio::io::duplex(8 << 20);
    let mut bytes = [PREFACE, &settings(&[])].concat();
    for (number, block) in blocks.iter().enumerate() {
        bytes.extend(frame(kind::HEADERS, 5, 2 * number as u32 + 1, block));
    }
    let mut ours = Box::pin(ours);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(ours.as_mut().poll_write(&mut cx, &bytes).is_ready());
    let handshake = h2::server::Builder::new().max_header_list_size(1 << 20).handshake(theirs);
    let handshake = futures_lite::future::block_on(handshake);
    let mut server: h2::server::Connection<_, Bytes> = handshake.expect("a handshake");
    let (mut lists, mut kept) = (Vec::new(), Vec::new());
    // All of it is there: h2 waits when it has read everything.
    while let Poll::Ready(Some(Ok((request, respond)))) = server.poll_accept(&mut cx) {
        let fields = request.headers().iter().map(|(name, value)| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), text)
        });
        let mut list: List = fields.collect();
        list.sort_by(|one, other| one.0.cmp(&other.0));
        lists.push(list);
        kept.push(respond);
    }
    let is_whole = lists.len() == blocks.len();
    (lists, is_whole)
}

/// The same by our decoder.
fn read_by_us(blocks: &[Vec<u8>]) -> (Vec<List>, bool) {
    let mut decoder = Decoder::default();
    let mut lists = Vec::new();
    for block in blocks {
        let mut list = Listed::default();
        if decoder.decode(block, |name, value| list.field(name, value)).is_err() {
            return (lists, false);
        }
        let mut list = list.0;
        list.retain(|(name, _)| !name.starts_with(':'));
        list.sort_by(|one, other| one.0.cmp(&other.0));
        lists.push(list);
    }
    (lists, true)
}

/// How a field is written.
#[derive(Clone, Debug)]
enum Written {
    /// By its place in the table of which so many parts in 255 lie in front of it.
    Indexed(u8),
    /// Kind of literal, whether the name comes from the table, and the texts.
    Literal {
        first: u8,
        bits: u32,
        indexed: Option<u8>,
        name: String,
        value: String,
    },
    Resize(u16),
}

fn written() -> impl Strategy<Value = Written> {
    let kind = prop::sample::select(vec![(0x40u8, 6u32), (0x00, 4), (0x10, 4)]);
    let texts = ("[a-z]{1,12}", "[!-~]{0,90}");
    let literal = (kind, prop::option::of(any::<u8>()), texts).prop_map(
        |((first, bits), indexed, (name, value))| Written::Literal {
            first,
            bits,
            indexed,
            name,
            value,
        },
    );
    prop_oneof![
        3 => any::<u8>().prop_map(Written::Indexed),
        5 => literal,
        1 => (0..4097u16).prop_map(Written::Resize),
    ]
}

fn put_integer(out: &mut Vec<u8>, first: u8, bits: u32, value: usize) {
    let mask = (1usize << bits) - 1;
    if value < mask {
        return out.push(first | value as u8);
    }
    out.push(first | mask as u8);
    let mut rest = value - mask;
    while rest >= 128 {
        out.push(rest as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_integer(out, 0, 7, text.len());
    out.extend(text.bytes());
}

/// What the other side's table holds, as far as a writer has to know: names and sizes.
#[derive(Default)]
struct Table {
    sizes: std::collections::VecDeque<usize>,
    max: Option<usize>,
}

impl Table {
    fn evict(&mut self) {
        while self.sizes.iter().sum::<usize>() > self.max.unwrap_or(4096) {
            self.sizes.pop_back();
        }
    }

    /// An index that names some field which is no pseudo-header field: a static one from
    /// `accept-charset` on, or a dynamic one.
    fn index(&self, part: u8) -> usize {
        15 + usize::from(part) * (47 + self.sizes.len()) / 256
    }
}

fn write(fields: &[Written], table: &mut Table) -> Vec<u8> {
    let mut block = CALL.to_vec();
    for field in fields {
        match field {
            Written::Indexed(part) => put_integer(&mut block, 0x80, 7, table.index(*part)),
            Written::Literal { first, bits, indexed, name, value } => {
                let index = indexed.map(|part| table.index(part));
                put_integer(&mut block, *first, *bits, index.unwrap_or(0));
                if index.is_none() {
                    put_text(&mut block, name);
                }
                put_text(&mut block, value);
                if *first == 0x40 {
                    // Names of the table are at most as long; a guess that is too high is safe.
                    let bytes = if index.is_none() { name.len() } else { 27 };
                    table.sizes.push_front(bytes + value.len() + 32);
                    table.evict();
                }
            }
            Written::Resize(max) => {
                // Only in front of the fields.
                let mut front = Vec::new();
                put_integer(&mut front, 0x20, 5, usize::from(*max));
                if block == CALL {
                    block = [&front[..], CALL].concat();
                    table.max = Some(usize::from(*max));
                    table.evict();
                }
            }
        }
    }
    block
}

/// Fields for which HTTP has rules of its own, by which h2 refuses a request.
fn is_plain(list: &List) -> bool {
    let ruled = ["te", "content-length", "transfer-encoding", "connection", "upgrade", "host"];
    list.iter().all(|(name, _)| !ruled.contains(&name.as_str()))
}

proptest! {
    #[test]
    fn h2_reads_what_we_read(
        lists in prop::collection::vec(prop::collection::vec(written(), 0..10), 1..12),
    ) {
        let mut table = Table::default();
        let blocks: Vec<_> = lists.iter().map(|fields| write(fields, &mut table)).collect();
        let ours = read_by_us(&blocks);
        prop_assume!(ours.0.iter().all(is_plain));
        prop_assert_eq!(read_by_h2(&blocks), ours);
    }

    /// Neither reads anything else where both understand.
    #[test]
    fn damaged_blocks_are_not_understood_differently(
        lists in prop::collection::vec(prop::collection::vec(written(), 0..6), 1..6),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut table = Table::default();
        let mut blocks: Vec<_> = lists.iter().map(|fields| write(fields, &mut table)).collect();
        let last = blocks.last_mut().expect("one");
        let at = at.index(last.len());
        last[at] = byte;
        let (ours, theirs) = (read_by_us(&blocks), read_by_h2(&blocks));
        prop_assume!(ours.0.iter().all(is_plain));
        let both = ours.0.len().min(theirs.0.len());
        prop_assert_eq!(&ours.0[..both], &theirs.0[..both]);
        prop_assert!(theirs.0.len() <= ours.0.len(), "h2 understands more than we do");
    }

    #[test]
    fn h2_reads_what_we_write(
        lists in prop::collection::vec(
            prop::collection::vec((0..4usize, "[!-~]{0,120}", any::<bool>()), 0..8),
            1..20,
        ),
    ) {
        let names = ["grpc-status", "content-type", "x-own", "grpc-message"];
        let mut encoder = Encoder::default();
        let mut told = Vec::new();
        let mut blocks = Vec::new();
        for list in &lists {
            let mut out = BytesMut::new();
            encoder.begin(&mut out);
            out.extend_from_slice(CALL);
            let mut fields = Vec::new();
            for (name, value, comes_again) in list {
                let (name, comes_again) = (names[*name], *comes_again);
                encoder.field(&mut out, Field { name, value, comes_again });
                fields.push((name.to_owned(), value.clone()));
            }
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            told.push(fields);
            blocks.push(out.to_vec());
        }
        prop_assert_eq!(read_by_h2(&blocks), (told, true));
    }
}
