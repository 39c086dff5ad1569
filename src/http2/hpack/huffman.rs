//! The Huffman code of RFC 7541, appendix B.
//!
//! The code is canonical: of each length, the codes count up in the order of the symbols. So its
//! lengths are all of it, and the tables here are made of them at compile time.

use bytes::{BufMut, BytesMut};

use super::BadBlock;

/// Symbols with the end of a string, which is never written: its code is the padding.
const SYMBOLS: usize = 257;
const END: usize = 256;
/// Bits of the longest code.
const LENGTH_MAX: usize = 30;

/// Bits of the code of each byte.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

const fn length_of(symbol: usize) -> usize {
    if symbol == END { LENGTH_MAX } else { LENGTHS[symbol] as usize }
}

/// The code of each symbol.
static CODES: [u32; SYMBOLS] = codes();

const fn codes() -> [u32; SYMBOLS] {
    let mut codes = [0; SYMBOLS];
    let (mut code, mut length) = (0, 1);
    while length <= LENGTH_MAX {
        code <<= 1;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if length_of(symbol) == length {
                codes[symbol] = code;
                code += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    codes
}

/// The effect of four bits in a state, which is an inner node of the code's tree.
#[derive(Clone, Copy)]
struct Step {
    state: u8,
    /// The symbol that they complete, if `emits`; four bits never complete two.
    symbol: u8,
    emits: bool,
    /// They complete the end of a string, which must not be written.
    fails: bool,
}

/// Inner nodes: one fewer than symbols.
const STATES: usize = SYMBOLS - 1;

/// The states, and in which of them a text may end: after fewer than eight ones.
struct Machine {
    steps: [[Step; 16]; STATES],
    accepts: [bool; STATES],
}

static MACHINE: Machine = machine();

/// A child of a node: another node, or a symbol as `LEAF` and its number.
const LEAF: u16 = 1 << 15;

const fn machine() -> Machine {
    let tree = tree();
    let step = Step { state: 0, symbol: 0, emits: false, fails: false };
    let mut steps = [[step; 16]; STATES];
    let mut state = 0;
    while state < STATES {
        let mut bits = 0;
        while bits < 16 {
            steps[state][bits] = walk(&tree, state, bits);
            bits += 1;
        }
        state += 1;
    }
    let (mut accepts, mut node, mut ones) = ([false; STATES], 0, 0);
    while ones < 8 {
        accepts[node] = true;
        node = tree[node][1] as usize;
        ones += 1;
    }
    Machine { steps, accepts }
}

const fn tree() -> [[u16; 2]; STATES] {
    let codes = codes();
    let (mut tree, mut nodes, mut symbol) = ([[0u16; 2]; STATES], 1, 0);
    while symbol < SYMBOLS {
        let (mut node, mut left) = (0, length_of(symbol));
        while left > 1 {
            left -= 1;
            let bit = (codes[symbol] >> left & 1) as usize;
            // The root is nobody's child, so 0 says that there is none yet.
            if tree[node][bit] == 0 {
                tree[node][bit] = nodes;
                nodes += 1;
            }
            node = tree[node][bit] as usize;
        }
        tree[node][(codes[symbol] & 1) as usize] = LEAF | symbol as u16;
        symbol += 1;
    }
    assert!(nodes as usize == STATES);
    tree
}

const fn walk(tree: &[[u16; 2]; STATES], state: usize, bits: usize) -> Step {
    let mut step = Step { state: 0, symbol: 0, emits: false, fails: false };
    let (mut node, mut left) = (state, 4);
    while left > 0 {
        left -= 1;
        let next = tree[node][bits >> left & 1];
        if next & LEAF == 0 {
            node = next as usize;
            continue;
        }
        let symbol = (next & !LEAF) as usize;
        node = 0;
        if symbol == END {
            step.fails = true;
        } else {
            step.symbol = symbol as u8;
            step.emits = true;
        }
    }
    step.state = node as u8;
    step
}

/// Appends the text that `coded` stands for.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), BadBlock> {
    // The shortest codes have five bits.
    out.reserve(coded.len() * 8 / 5);
    let mut state = 0;
    for &byte in coded {
        for bits in [byte >> 4, byte & 15] {
            let step = MACHINE.steps[usize::from(state)][usize::from(bits)];
            if step.fails {
                return Err(BadBlock);
            }
            if step.emits {
                out.push(step.symbol);
            }
            state = step.state;
        }
    }
    if MACHINE.accepts[usize::from(state)] { Ok(()) } else { Err(BadBlock) }
}

/// Bytes that `text` has when it is coded.
pub(super) fn coded_bytes(text: &[u8]) -> usize {
    text.iter().map(|&byte| usize::from(LENGTHS[usize::from(byte)])).sum::<usize>().div_ceil(8)
}

/// Appends the code of `text`.
pub(super) fn encode(text: &[u8], out: &mut BytesMut) {
    let (mut bits, mut count) = (0u64, 0);
    for &byte in text {
        let length = usize::from(LENGTHS[usize::from(byte)]);
        bits = bits << length | u64::from(CODES[usize::from(byte)]);
        count += length;
        while count >= 8 {
            count -= 8;
            out.put_u8((bits >> count) as u8);
        }
    }
    if count > 0 {
        let padding = 8 - count;
        out.put_u8((bits << padding) as u8 | ((1 << padding) - 1));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn coded(text: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        encode(text, &mut out);
        out
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, BadBlock> {
        let mut out = Vec::new();
        decode(bytes, &mut out).map(|()| out)
    }

    #[test]
    fn the_codes_are_those_of_the_rfc() {
        let code = |symbol: usize| (CODES[symbol], length_of(symbol));
        assert_eq!(code(usize::from(b'0')), (0x0, 5));
        assert_eq!(code(usize::from(b'a')), (0x3, 5));
        assert_eq!(code(usize::from(b'z')), (0x7b, 7));
        assert_eq!(code(0), (0x1ff8, 13));
        assert_eq!(code(255), (0x3ff_ffee, 26));
        assert_eq!(code(22), (0x3fff_fffe, 30));
        assert_eq!(code(END), (0x3fff_ffff, 30));
    }

    #[test]
    fn padding_is_fewer_than_eight_ones() {
        assert_eq!(decoded(&[]), Ok(Vec::new()));
        // `0` is five zeros.
        assert_eq!(decoded(&[0b0000_0111]), Ok(b"0".to_vec()));
        assert_eq!(decoded(&[0b0000_0110]), Err(BadBlock), "a zero in the padding");
        assert_eq!(decoded(&[0b0000_0111, 0xff]), Err(BadBlock), "eleven ones");
        assert_eq!(decoded(&[0xff]), Err(BadBlock), "eight ones are no padding");
        assert_eq!(decoded(&[0xfe]), Err(BadBlock), "a code that is cut off");
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(BadBlock), "the end is written");
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let coded = coded(&text);
            prop_assert_eq!(coded.len(), coded_bytes(&text));
            prop_assert_eq!(decoded(&coded), Ok(text));
        }

        /// A text has one code, so what is decoded is coded back to the same bytes.
        #[test]
        fn random_bytes_are_a_text_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(text) = decoded(&bytes) {
                prop_assert_eq!(&coded(&text)[..], &bytes[..]);
            }
        }
    }
}
