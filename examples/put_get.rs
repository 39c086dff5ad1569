//! Puts a key and reads it back, then changes it only if nobody else has.
//!
//! ```console
//! $ cargo run --example put_get -- 127.0.0.1:2379
//! ```
//!
//! Any server of etcd's v3 API will do. Without an endpoint it is 127.0.0.1:2379.

use braid::client::blocking::Client;
use braid::client::{Error, Options};
use braid::protocol::pb::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;

fn main() -> Result<(), Error> {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2379".to_owned());
    put_and_get(&endpoint)
}

/// Works on one key of the server at `endpoint`.
pub fn put_and_get(endpoint: &str) -> Result<(), Error> {
    let client = Client::connect(Options::endpoints([endpoint]))?;

    let put =
        pb::PutRequest { key: "greeting".into(), value: "hello".into(), ..Default::default() };
    let written = client.put(put)?.header.unwrap_or_default().revision;
    println!("put at revision {written}");

    // No range end: one key.
    let get = pb::RangeRequest { key: "greeting".into(), ..Default::default() };
    for kv in client.range(get)?.kvs {
        let (key, value) = (String::from_utf8_lossy(&kv.key), String::from_utf8_lossy(&kv.value));
        println!("{key} is {value:?} since revision {}", kv.mod_revision);
    }

    // The put of this txn takes place only if the key is still as it was written above.
    let unchanged = pb::Compare {
        key: "greeting".into(),
        target: CompareTarget::Mod.into(),
        result: CompareResult::Equal.into(),
        target_union: Some(TargetUnion::ModRevision(written)),
        ..Default::default()
    };
    let put = pb::PutRequest { key: "greeting".into(), value: "hi".into(), ..Default::default() };
    let txn = pb::TxnRequest {
        compare: vec![unchanged],
        success: vec![pb::RequestOp { request: Some(Request::RequestPut(put)) }],
        failure: Vec::new(),
    };
    match client.txn(txn) {
        Ok(answer) => println!("the txn's compare held: {}", answer.succeeded),
        // A write whose answer is lost may have been carried out all the same.
        Err(error) if error.outcome_unknown() => println!("perhaps: {error}"),
        Err(error) => return Err(error),
    }
    Ok(())
}
