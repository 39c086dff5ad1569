//! The rules for header lists (RFC 9113, sections 8.2 and 8.3), and the owner's view of them.
//!
//! Clients hardly ever say anything new: a block that comes as it came before, with the same table
//! behind it, is neither decoded nor judged again.

use super::hpack::{BadBlock, Decoder, ENTRY_BYTES};

/// The part of a request's header list that the owner of a connection keeps.
pub trait Heads: Clone + Default {
    /// Takes note of the next field. Pseudo-header fields come first, each at most once.
    fn field(&mut self, name: &[u8], value: &[u8]);
}

/// The judgement on a header list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// Against the rules of HTTP.
    Malformed,
    /// Larger than we take.
    TooLarge,
}

/// A header list that was looked at.
#[derive(Clone, Debug)]
pub(super) struct Judged<H> {
    pub(super) head: H,
    pub(super) verdict: Verdict,
    pub(super) content_length: Option<u64>,
}

/// Blocks that are remembered, and bytes of each at most.
const KNOWN_MAX: usize = 8;
const KNOWN_BYTES_MAX: usize = 512;

#[derive(Debug)]
struct Known<H> {
    table: u64,
    block: Vec<u8>,
    says: Judged<H>,
}

/// Reads the header blocks of one connection.
#[derive(Debug)]
pub(super) struct Blocks<H> {
    decoder: Decoder,
    list_bytes_max: usize,
    known: Vec<Known<H>>,
    /// Which of them is the next to be replaced.
    oldest: usize,
}

impl<H: Heads> Blocks<H> {
    pub(super) fn new(list_bytes_max: usize) -> Blocks<H> {
        Blocks { decoder: Decoder::default(), list_bytes_max, known: Vec::new(), oldest: 0 }
    }

    /// The header list of a request.
    pub(super) fn request(&mut self, block: &[u8]) -> Result<Judged<H>, BadBlock> {
        let table = self.decoder.table();
        let mut known = self.known.iter();
        if let Some(known) = known.find(|known| known.table == table && known.block == block) {
            return Ok(known.says.clone());
        }
        let mut list = List::new(self.list_bytes_max, Part::Request);
        let mut head = H::default();
        self.decoder.decode(block, |name, value| {
            if list.takes(name, value) {
                head.field(name, value);
            }
        })?;
        let verdict = list.verdict();
        let says = Judged { head, verdict, content_length: list.content_length };
        // A block that has changed the table does so again when it comes again.
        if self.decoder.table() == table && block.len() <= KNOWN_BYTES_MAX {
            self.remember(Known { table, block: block.to_vec(), says: says.clone() });
        }
        Ok(says)
    }

    /// The header list behind a body, of which nobody wants to know more than whether it is well.
    pub(super) fn trailers(&mut self, block: &[u8]) -> Result<Verdict, BadBlock> {
        let mut list = List::new(self.list_bytes_max, Part::Trailers);
        self.decoder.decode(block, |name, value| _ = list.takes(name, value))?;
        Ok(list.verdict())
    }

    fn remember(&mut self, known: Known<H>) {
        if self.known.len() < KNOWN_MAX {
            self.known.push(known);
            return;
        }
        let stale = self.known.iter().position(|other| other.table != known.table);
        let at = stale.unwrap_or(self.oldest);
        self.known[at] = known;
        self.oldest = (at + 1) % KNOWN_MAX;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Request,
    Trailers,
}

/// The pseudo-header fields of a request, as bits.
const METHOD: u8 = 1;
const SCHEME: u8 = 2;
const PATH: u8 = 4;
const AUTHORITY: u8 = 8;

/// A header list as far as it has come.
struct List {
    part: Part,
    bytes_left: usize,
    is_too_large: bool,
    is_malformed: bool,
    /// The pseudo-header fields that have come.
    pseudo: u8,
    is_connect: bool,
    /// A field that is none has come.
    has_regular: bool,
    content_length: Option<u64>,
}

impl List {
    fn new(bytes_max: usize, part: Part) -> List {
        List {
            part,
            bytes_left: bytes_max,
            is_too_large: false,
            is_malformed: false,
            pseudo: 0,
            is_connect: false,
            has_regular: false,
            content_length: None,
        }
    }

    /// Judges the next field; whether it is one to be told of.
    fn takes(&mut self, name: &[u8], value: &[u8]) -> bool {
        match self.bytes_left.checked_sub(name.len() + value.len() + ENTRY_BYTES) {
            Some(left) => self.bytes_left = left,
            None => self.is_too_large = true,
        }
        if self.is_too_large || self.is_malformed {
            return false;
        }
        self.is_malformed = match name.first() {
            Some(b':') => !self.takes_pseudo(name, value),
            _ => !self.takes_regular(name, value),
        };
        !self.is_malformed
    }

    fn takes_pseudo(&mut self, name: &[u8], value: &[u8]) -> bool {
        let bit = match name {
            b":method" => METHOD,
            b":scheme" => SCHEME,
            b":path" => PATH,
            b":authority" => AUTHORITY,
            _ => return false,
        };
        let is_new = self.pseudo & bit == 0;
        self.pseudo |= bit;
        self.is_connect |= bit == METHOD && value == b"CONNECT";
        let is_empty = bit != AUTHORITY && value.is_empty();
        self.part == Part::Request && is_new && !is_empty && !self.has_regular && is_value(value)
    }

    fn takes_regular(&mut self, name: &[u8], value: &[u8]) -> bool {
        self.has_regular = true;
        if !is_name(name) || !is_value(value) {
            return false;
        }
        match name {
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding"
            | b"upgrade" => false,
            b"te" => value == b"trailers",
            b"content-length" => self.takes_length(value),
            _ => true,
        }
    }

    fn takes_length(&mut self, value: &[u8]) -> bool {
        let digits = std::str::from_utf8(value)
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(length) = digits.and_then(|text| text.parse().ok()) else { return false };
        self.content_length.replace(length).is_none_or(|before| before == length)
    }

    fn verdict(&self) -> Verdict {
        let is_whole = match (self.part, self.is_connect) {
            (Part::Trailers, _) => true,
            (_, false) => self.pseudo & (METHOD | SCHEME | PATH) == METHOD | SCHEME | PATH,
            (_, true) => self.pseudo & (SCHEME | PATH) == 0,
        };
        match (self.is_too_large, self.is_malformed || !is_whole) {
            (true, _) => Verdict::TooLarge,
            (false, true) => Verdict::Malformed,
            (false, false) => Verdict::Fine,
        }
    }
}

/// Visible ASCII without capitals; the colon is for pseudo-header fields.
fn is_name(name: &[u8]) -> bool {
    let is_fine =
        |&byte: &u8| byte > b' ' && byte < 0x7f && byte != b':' && !byte.is_ascii_uppercase();
    !name.is_empty() && name.iter().all(is_fine)
}

fn is_value(value: &[u8]) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !is_blank(value.first())
        && !is_blank(value.last())
        && !value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
}
