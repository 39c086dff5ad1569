//! What HPACK says of itself, and what we write read again.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

type Read = Vec<(Vec<u8>, Vec<u8>)>;

fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Read, BadBlock> {
    let mut fields = Vec::new();
    decoder.decode(block, |name, value| fields.push((name.to_vec(), value.to_vec())))?;
    Ok(fields)
}

fn fields(texts: &[(&str, &str)]) -> Read {
    texts
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let number = |pair: &[u8]| {
        u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex")
    };
    digits.chunks(2).map(number).collect()
}

/// RFC 7541, appendix C.2: each kind of field by itself.
#[test]
fn the_fields_of_the_rfc() {
    for (block, name, value, kept) in [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            "custom-key",
            "custom-header",
            55,
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", ":path", "/sample/path", 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password", "secret", 0),
        ("82", ":method", "GET", 0),
    ] {
        let mut decoder = Decoder::default();
        assert_eq!(read(&mut decoder, &bytes(block)), Ok(fields(&[(name, value)])));
        assert_eq!(decoder.bytes(), kept, "{name}");
    }
}

/// RFC 7541, appendix C.3 and C.4: the same requests, plain and coded.
#[test]
fn the_requests_of_the_rfc() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for blocks in [plain, coded] {
        let mut decoder = Decoder::default();
        let authority = (":authority", "www.example.com");
        let first = [(":method", "GET"), (":scheme", "http"), (":path", "/"), authority];
        assert_eq!(read(&mut decoder, &bytes(blocks[0])), Ok(fields(&first)));
        assert_eq!(decoder.bytes(), 57);
        let second = [&first[..], &[("cache-control", "no-cache")]].concat();
        assert_eq!(read(&mut decoder, &bytes(blocks[1])), Ok(fields(&second)));
        assert_eq!(decoder.bytes(), 110);
        let third = [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            authority,
            ("custom-key", "custom-value"),
        ];
        assert_eq!(read(&mut decoder, &bytes(blocks[2])), Ok(fields(&third)));
        assert_eq!(decoder.bytes(), 164);
    }
}

/// RFC 7541, appendix C.6: responses with Huffman coding and a table of 256 bytes.
#[test]
fn the_responses_of_the_rfc() {
    let mut decoder = Decoder::with_table(256);
    let first = bytes(
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 \
         2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
    );
    let date = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
    let location = ("location", "https://www.example.com");
    let told = fields(&[(":status", "302"), ("cache-control", "private"), date, location]);
    assert_eq!(read(&mut decoder, &first), Ok(told));
    let told = fields(&[(":status", "307"), ("cache-control", "private"), date, location]);
    assert_eq!(read(&mut decoder, &bytes("4883 640e ffc1 c0bf")), Ok(told));
    assert_eq!(decoder.bytes(), 222, "the oldest entry had to leave");
}

#[test]
fn broken_blocks_are_refused() {
    for block in [
        &[0x80][..],
        &[0xff],
        &[0xbe],
        &[0x40, 5, b'a'],
        &[0x00, 0x81, 0x00, 0x00],
        &[0x82, 0x20],
        &[0x3f, 0xe2, 0x1f],
        &[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    ] {
        assert_eq!(read(&mut Decoder::default(), block), Err(BadBlock), "{block:x?}");
    }
    assert!(read(&mut Decoder::default(), &[0x3f, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
    // Twice in front of the fields is allowed: the table was made smaller and larger.
    assert_eq!(
        read(&mut Decoder::default(), &[0x20, 0x3f, 0xe1, 0x1f, 0x82]).expect("fine").len(),
        1
    );
}

#[test]
fn a_field_that_does_not_fit_empties_the_table_and_is_told_all_the_same() {
    let mut decoder = Decoder::default();
    let mut block = vec![0x40, 1, b'a', 1, b'b', 0x40, 1, b'c', 0x7f, 0xa1, 0x1f];
    block.extend([b'd'; 4128]);
    let told = read(&mut decoder, &block).expect("a block");
    assert_eq!((told[0].0.len(), told[1].1.len()), (1, 4128));
    assert_eq!(decoder.bytes(), 0);
    assert_eq!(read(&mut decoder, &[0xbe]), Err(BadBlock));
}

#[test]
fn what_comes_again_is_one_byte() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let long = "y".repeat(300);
    for (round, length_max) in [(0, 400), (1, 5), (2, 5)] {
        let mut out = BytesMut::new();
        encoder.begin(&mut out);
        Encoder::indexed(&mut out, indexes::METHOD_POST);
        encoder.repeated(&mut out, ":path", "/a");
        encoder.repeated(&mut out, "te", "trailers");
        encoder.repeated(&mut out, "x", &long);
        assert!(out.len() <= length_max, "round {round}: {}", out.len());
        let told = [(":method", "POST"), (":path", "/a"), ("te", "trailers"), ("x", &long)];
        assert_eq!(read(&mut decoder, &out), Ok(fields(&told)));
    }
    encoder.table_size(0);
    let mut out = BytesMut::new();
    encoder.begin(&mut out);
    encoder.repeated(&mut out, "te", "trailers");
    assert_eq!(read(&mut decoder, &out), Ok(fields(&[("te", "trailers")])));
    assert_eq!(decoder.bytes(), 0, "the other side keeps nothing");
}

proptest! {
    /// Both sides keep the same table, however much is written.
    #[test]
    fn what_we_write_we_can_read(
        lists in prop::collection::vec(
            prop::collection::vec((0..6usize, "[ -~]{0,200}", any::<bool>()), 0..8),
            1..40,
        ),
        shrinks_at in 0..80usize,
    ) {
        let names = ["te", ":path", "grpc-status", "content-type", "x-own", "grpc-message"];
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for (number, list) in lists.into_iter().enumerate() {
            if number == shrinks_at {
                encoder.table_size(100);
            }
            let mut out = BytesMut::new();
            encoder.begin(&mut out);
            let mut told = Vec::new();
            for (name, value, comes_again) in &list {
                let name = names[*name];
                encoder.field(&mut out, Field { name, value, comes_again: *comes_again });
                told.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
            }
            prop_assert_eq!(read(&mut decoder, &out), Ok(told));
            prop_assert!(decoder.bytes() <= TABLE_BYTES);
        }
    }

    #[test]
    fn random_blocks_are_read_or_refused_and_the_table_keeps_its_bound(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..20),
    ) {
        let mut decoder = Decoder::default();
        for block in blocks {
            let result = read(&mut decoder, &block);
            prop_assert!(decoder.bytes() <= TABLE_BYTES);
            if result.is_err() {
                break;
            }
        }
    }
}
