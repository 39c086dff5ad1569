//! Follows all changes below a prefix from a revision on, also over the loss of a connection.
//!
//! ```console
//! $ cargo run --example watch_from_revision -- 127.0.0.1:2379 config/ 1
//! ```
//!
//! Revision 0 is the next change. With 1 it tells everything since the store is empty, unless that
//! is compacted: then it says from where history is still there, and goes on from there.

use std::env;
use std::error::Error;

use braid::client::watch::End;
use braid::client::{Client, Options, prefix_end};
use braid::protocol::pb::{etcdserverpb as pb, mvccpb};
use futures_lite::future::block_on;
use mvccpb::event::EventType;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let endpoint = arguments.next().unwrap_or_else(|| "127.0.0.1:2379".to_owned());
    let prefix = arguments.next().unwrap_or_else(|| "config/".to_owned());
    let revision = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let show = |event: &mvccpb::Event| {
        println!("{}", described(event));
        true
    };
    // Any executor will do; this one is the thread.
    block_on(follow(&endpoint, prefix.as_bytes(), revision, show))
}

/// Calls `visit` with every change of a key below `prefix`, in order, until it says `false`.
pub async fn follow(
    endpoint: &str,
    prefix: &[u8],
    mut revision: i64,
    mut visit: impl FnMut(&mvccpb::Event) -> bool,
) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(Options::endpoints([endpoint])).await?;
    loop {
        let request = pb::WatchCreateRequest {
            key: prefix.to_vec().into(),
            range_end: prefix_end(prefix),
            start_revision: revision,
            ..Default::default()
        };
        let mut watcher = client.watch(request).await?;
        let end = loop {
            match watcher.next().await {
                // All events of a revision come together; no events are progress.
                Ok(response) => {
                    if !response.events.iter().all(&mut visit) {
                        return Ok(());
                    }
                }
                Err(end) => break end,
            }
        };
        match end {
            // History below this revision is gone. What is there now can be read with a range.
            End::Compacted { compact_revision } => revision = compact_revision,
            end => return Err(end.into()),
        }
    }
}

/// A change in words.
pub fn described(event: &mvccpb::Event) -> String {
    let kv = event.kv.clone().unwrap_or_default();
    let (key, value) = (String::from_utf8_lossy(&kv.key), String::from_utf8_lossy(&kv.value));
    match event.r#type() {
        EventType::Put => format!("{} put {key} {value:?}", kv.mod_revision),
        EventType::Delete => format!("{} delete {key}", kv.mod_revision),
    }
}
