//! Holds a lock while it works; as many copies of it as you like take turns.
//!
//! ```console
//! $ cargo run --example lock -- 127.0.0.1:2379
//! ```
//!
//! The lock goes with the lease of a session. A program that loses the lease has lost the lock, so
//! what must not be done twice is guarded by a txn, as the counter is here.

use std::error::Error;

use braid::client::concurrency::{Mutex, Session};
use braid::client::{Client, Options};
use braid::protocol::pb::etcdserverpb as pb;
use futures_lite::future::block_on;
use pb::request_op::Request;

/// Seconds after which the lock is free again if this program dies.
const TTL_S: i64 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2379".to_owned());
    block_on(work(&endpoint))
}

/// Counts up once, under the lock.
pub async fn work(endpoint: &str) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(Options::endpoints([endpoint])).await?;
    // The session keeps its lease alive in the background.
    let session = Session::open(&client, TTL_S).await?;
    let mut mutex = Mutex::new(&session, "locks/counter");
    let held = mutex.lock().await?;
    println!("locked at revision {}", held.revision);

    let get = pb::RangeRequest { key: "counter".into(), ..Default::default() };
    let kvs = client.range(get).await?.kvs;
    let before = kvs.first().map_or("0".into(), |kv| String::from_utf8_lossy(&kv.value));
    let count = before.parse::<u64>()? + 1;
    let put = pb::PutRequest {
        key: "counter".into(),
        value: count.to_string().into(),
        ..Default::default()
    };
    let txn = pb::TxnRequest {
        compare: mutex.is_owner().into_iter().collect(),
        success: vec![pb::RequestOp { request: Some(Request::RequestPut(put)) }],
        failure: Vec::new(),
    };
    if client.txn(txn).await?.succeeded {
        println!("the counter is {count}");
    } else {
        println!("the lock was lost on the way; the counter is as it was");
    }

    mutex.unlock().await?;
    session.close().await?;
    Ok(())
}
