//! `make-mirror`: keeps a copy of a prefix in another cluster, for as long as it runs.
//!
//! ```text
//!  source ──range, page by page at one revision──▶ batch ──txn──▶ destination
//!    └─────watch from the revision after it──────▶ batch ──txn──▶     "
//! ```
//!
//! First everything as of one revision, then every change after it, revision by revision: the
//! destination goes through the states of the source, but for revisions with more changes than
//! `--max-txn-ops`. Both clusters must be there when it begins. Without a source it waits: the
//! watcher goes on where it was when the source is back. When the source has dropped the history in
//! between, nobody could tell what is missing, so that ends the mirror, as does a write to the
//! destination with an unknown outcome.

mod batch;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_io::Timer;
use bytes::Bytes;
use clap::Args;
use futures_lite::FutureExt;
use futures_lite::future::block_on;

use super::exit::{self, Failure};
use super::get::{int, key_range};
use super::globals::{TransportName, credentials, not_there};
use super::session::{Session, explain};
use crate::client::{Client, prefix_end};
use crate::protocol::pb::etcdserverpb as pb;
use batch::Batch;

#[derive(Args, Debug)]
pub struct MakeMirror {
    /// the endpoint of the destination
    #[arg(value_name = "DESTINATION")]
    arguments: Vec<String>,
    /// Key-value prefix to mirror
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// Specify the kv revision to start to mirror
    #[arg(long, default_value = "0", value_parser = int)]
    rev: i64,
    /// Maximum number of operations permitted in a transaction during syncing updates.
    #[arg(long, default_value = "128")]
    max_txn_ops: usize,
    /// destination prefix to mirror a prefix to a different prefix in the destination cluster
    #[arg(long, default_value = "", hide_default_value = true)]
    dest_prefix: String,
    /// mirror key-values to the root of the destination cluster
    #[arg(long)]
    no_dest_prefix: bool,
    /// the protocol to the destination, if it is another than to the source
    #[arg(long, value_enum)]
    dest_transport: Option<TransportName>,
    /// not there yet
    #[arg(long)]
    dest_cert: Option<String>,
    /// not there yet
    #[arg(long)]
    dest_key: Option<String>,
    /// not there yet
    #[arg(long)]
    dest_cacert: Option<String>,
    /// no transport security to the destination, which is all there is so far
    #[arg(long, num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", default_value = "true")]
    #[arg(value_parser = crate::gotext::strconv::parse_bool, action = clap::ArgAction::Set)]
    dest_insecure_transport: bool,
    /// Destination `username[:password]` for authentication
    #[arg(long, default_value = "", hide_default_value = true)]
    dest_user: String,
    /// Destination password for authentication (then --dest-user has none)
    #[arg(long, default_value = "", hide_default_value = true)]
    dest_password: String,
}

/// Keys of one page of what is there at first.
const PAGE_KEYS: i64 = 1000;

/// The interval at which the number of keys is printed.
const COUNT_INTERVAL: Duration = Duration::from_secs(30);

/// A mirror at work.
struct Mirror {
    source: Client,
    destination: Client,
    /// At the source, and what stands in its place at the destination.
    prefix: Bytes,
    replacement: Bytes,
    ops_max: usize,
    total: AtomicU64,
}

impl MakeMirror {
    pub fn run(&self, session: &Session) -> Result<(), Failure> {
        let endpoint = self.check()?;
        let credentials = credentials(&self.dest_user, &self.dest_password, "dest-")?;
        let failure = block_on(async {
            let dialled = session.client_to(endpoint, self.dest_transport, credentials.as_ref());
            let (destination, source) = (dialled.await?, session.client().await?);
            // An address that is wrong must not look like a cluster without news.
            destination.transport().await?;
            source.transport().await?;
            let mirror = Mirror {
                // From here on both may be away for as long as they like.
                destination: destination.with_timeout(None),
                source: source.with_timeout(None),
                prefix: self.prefix.clone().into(),
                replacement: self.replacement().to_owned().into(),
                ops_max: self.max_txn_ops,
                total: AtomicU64::new(0),
            };
            mirror.run(self.rev).or(mirror.count(session)).await
        });
        failure.map(|never| match never {})
    }

    /// Returns the destination, if the flags make sense.
    fn check(&self) -> Result<&str, Failure> {
        let [endpoint] = &self.arguments[..] else {
            return Err(Failure::bad_arguments("make-mirror takes one destination argument"));
        };
        let files = [
            ("dest-cert", &self.dest_cert),
            ("dest-key", &self.dest_key),
            ("dest-cacert", &self.dest_cacert),
        ];
        for (name, file) in files {
            if file.as_ref().is_some_and(|file| !file.is_empty()) {
                return Err(not_there(name, "TLS"));
            }
        }
        if !self.dest_insecure_transport {
            return Err(not_there("dest-insecure-transport=false", "TLS"));
        }
        if self.no_dest_prefix && !self.dest_prefix.is_empty() {
            return Err(Failure::bad_arguments(
                "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one",
            ));
        }
        if self.max_txn_ops == 0 {
            return Err(Failure::bad_arguments("--max-txn-ops must be at least 1"));
        }
        Ok(endpoint)
    }

    /// Returns what the source's prefix becomes. (etcdctl 3.7 forgets it when there is a `--rev`.)
    fn replacement(&self) -> &str {
        match (self.no_dest_prefix, self.dest_prefix.as_str()) {
            (true, _) => "",
            (false, "") => &self.prefix,
            (false, prefix) => prefix,
        }
    }
}

/// The result of work that ends only by failing.
type Endless = Result<std::convert::Infallible, Failure>;

impl Mirror {
    /// Mirrors from `start` on; from what is there now if that is not positive.
    async fn run(&self, start: i64) -> Endless {
        let synced = match start {
            2.. => start - 1,
            _ => self.sync_base().await?,
        };
        self.follow(synced + 1).await
    }

    async fn count(&self, session: &Session) -> Endless {
        loop {
            Timer::after(COUNT_INTERVAL).await;
            session.print_next(&format!("{}\n", self.total.load(Ordering::Relaxed)))?;
        }
    }

    /// Copies what is there, and returns as of which revision.
    async fn sync_base(&self) -> Result<i64, Failure> {
        // Any read tells the revision; this one is allowed to whoever may read the prefix.
        let key = if self.prefix.is_empty() { "foo".into() } else { self.prefix.clone() };
        let now = pb::RangeRequest { key, ..Default::default() };
        let now = self.source.range(now).await.inspect_err(explain)?;
        let revision = now.header.unwrap_or_default().revision;
        let (mut key, range_end) = key_range(self.prefix.clone(), true, false);
        let mut batch = Batch::new(self.ops_max);
        loop {
            let page = pb::RangeRequest {
                key,
                range_end: range_end.clone(),
                limit: PAGE_KEYS,
                revision,
                ..Default::default()
            };
            let page = self.source.range(page).await.inspect_err(explain)?;
            let next = page.kvs.last().map(|kv| [&kv.key[..], &[0]].concat());
            for kv in page.kvs {
                let put = self.put(&kv.key, kv.value);
                if let Some(full) = batch.add_independent(put) {
                    self.write(full).await?;
                }
                self.total.fetch_add(1, Ordering::Relaxed);
            }
            match next {
                Some(next) if page.more => key = next.into(),
                _ => break,
            }
        }
        self.write(batch.take()).await?;
        Ok(revision)
    }

    /// Repeats every change from `start` on.
    async fn follow(&self, start: i64) -> Endless {
        let (key, range_end) = match self.prefix.is_empty() {
            true => key_range(Bytes::new(), true, false),
            false => (self.prefix.clone(), prefix_end(&self.prefix)),
        };
        let request =
            pb::WatchCreateRequest { key, range_end, start_revision: start, ..Default::default() };
        let ended = |end: crate::client::watch::End| Failure::new(exit::ERROR, end.to_string());
        let mut watcher = self.source.watch(request).await.map_err(ended)?;
        let mut batch = Batch::new(self.ops_max);
        loop {
            let response = watcher.next().await.map_err(ended)?;
            for event in response.events {
                let Some(kv) = event.kv else { continue };
                let op = match event.r#type {
                    0 => self.put(&kv.key, kv.value),
                    _ => self.delete(&kv.key),
                };
                if let Some(full) = batch.add(op, kv.mod_revision) {
                    self.write(full).await?;
                }
                self.total.fetch_add(1, Ordering::Relaxed);
            }
            // Revisions come whole.
            self.write(batch.take()).await?;
        }
    }

    async fn write(&self, ops: Vec<batch::Op>) -> Result<(), Failure> {
        if ops.is_empty() {
            return Ok(());
        }
        let success = ops.into_iter().map(batch::Op::into_request).collect();
        let txn = pb::TxnRequest { compare: vec![], success, failure: vec![] };
        self.destination.txn(txn).await.inspect_err(explain)?;
        Ok(())
    }

    fn put(&self, key: &[u8], value: Bytes) -> batch::Op {
        batch::Op::Put { key: self.renamed(key), value }
    }

    fn delete(&self, key: &[u8]) -> batch::Op {
        batch::Op::Delete { key: self.renamed(key) }
    }

    fn renamed(&self, key: &[u8]) -> Bytes {
        let rest = key.strip_prefix(&self.prefix[..]).unwrap_or(key);
        [&self.replacement[..], rest].concat().into()
    }
}

#[cfg(test)]
mod tests;
