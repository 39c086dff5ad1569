//! `defrag`: one member after the other.

use std::time::Instant;

use clap::Args;
use futures_lite::future::block_on;

use super::exit::{self, Failure};
use super::print;
use super::session::{Session, explain};
use crate::gotext;

#[derive(Args, Debug)]
pub struct Defrag {
    #[arg(hide = true)]
    arguments: Vec<String>,
    /// use all endpoints from the cluster member list
    #[arg(long)]
    cluster: bool,
}

impl Defrag {
    pub fn run(&self, session: &Session) -> Result<(), Failure> {
        let mut failed = false;
        for endpoint in session.endpoints_or_cluster(self.cluster)? {
            let started = Instant::now();
            let result =
                block_on(async { session.client_at(&endpoint).await?.defragment(&endpoint).await });
            let took = gotext::GoDuration::from(started.elapsed()).to_string();
            match result {
                Ok(_) => print(
                    format!("Finished defragmenting etcd member[{endpoint}]. took {took}\n")
                        .as_bytes(),
                )?,
                Err(error) => {
                    explain(&error);
                    eprintln!(
                        "Failed to defragment etcd member[{endpoint}]. took {took}. ({error})"
                    );
                    failed = true;
                }
            }
        }
        if failed { Err(Failure::silent(exit::ERROR)) } else { Ok(()) }
    }
}
