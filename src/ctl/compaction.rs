//! `compaction`: drop history.

use clap::Args;

use super::exit::{self, Failure};
use super::print;
use super::session::Session;
use crate::gotext;
use crate::protocol::pb::etcdserverpb as pb;

#[derive(Args, Debug)]
pub struct Compaction {
    /// `<revision>`
    #[arg(value_name = "REVISION")]
    arguments: Vec<String>,
    /// 'true' to wait for compaction to physically remove all old revisions
    #[arg(long)]
    physical: bool,
}

impl Compaction {
    pub fn run(&self, session: &Session) -> Result<(), Failure> {
        let [revision] = &self.arguments[..] else {
            return Err(Failure::bad_arguments("compaction command needs 1 argument"));
        };
        let revision = gotext::strconv::parse_int(revision, 10)
            .map_err(|error| Failure::new(exit::ERROR, error))?;
        let request = pb::CompactionRequest { revision, physical: self.physical };
        session.call(async { session.client().await?.compact(request).await })?;
        print(format!("compacted revision {revision}\n").as_bytes())
    }
}
