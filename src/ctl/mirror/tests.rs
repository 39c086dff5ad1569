//! The flags of `make-mirror`, and what becomes of a key.

use super::*;
use crate::client::Options;
use crate::ctl::arguments::{self, Command, Parsed};

fn make(line: &str) -> MakeMirror {
    let words = ["braidctl", "make-mirror"].into_iter().chain(line.split_whitespace());
    match arguments::parse(words.map(Into::into).collect(), vec![]) {
        Ok(Parsed::Run(_, Command::MakeMirror(make))) => *make,
        _ => panic!("{line}"),
    }
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    for (line, text) in [
        ("", "make-mirror takes one destination argument"),
        ("a b", "make-mirror takes one destination argument"),
        ("a --dest-cacert ca.pem", "--dest-cacert: TLS is not there yet"),
        ("a --dest-cert c --dest-key k", "--dest-cert: TLS is not there yet"),
        ("a --dest-insecure-transport=false", "--dest-insecure-transport=false: TLS"),
        ("a --max-txn-ops 0", "--max-txn-ops must be at least 1"),
        (
            "a --no-dest-prefix --dest-prefix x",
            "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one",
        ),
    ] {
        let failure = make(line).check().expect_err(text);
        assert_eq!(failure.code, 128);
        assert!(failure.message.expect("a message").starts_with(text), "{line}");
    }
    assert_eq!(make("a --dest-insecure-transport --dest-cert=").check(), Ok("a"));
}

#[test]
fn a_key_gets_the_prefix_of_the_destination() {
    for (line, key, renamed) in [
        ("a", "k", "k"),
        ("a --prefix p/", "p/k", "p/k"),
        ("a --prefix p/ --rev 7", "p/k", "p/k"),
        ("a --prefix p/ --dest-prefix q/", "p/k/p/", "q/k/p/"),
        ("a --prefix p/ --no-dest-prefix", "p/k", "k"),
        ("a --dest-prefix q/", "k", "q/k"),
    ] {
        let make = make(line);
        let client = Client::lazy(Options::default()).expect("good options");
        let mirror = Mirror {
            source: client.clone(),
            destination: client,
            prefix: make.prefix.clone().into(),
            replacement: make.replacement().to_owned().into(),
            ops_max: make.max_txn_ops,
            total: AtomicU64::new(0),
        };
        assert_eq!(mirror.renamed(key.as_bytes()), renamed, "{line}");
    }
}
