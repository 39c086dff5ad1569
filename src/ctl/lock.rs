//! `lock`: holds a lock by name, until a signal or while a program runs.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Args;
use futures_lite::future::block_on;

use super::child;
use super::exit::{self, Failure};
use super::get::{argument, int};
use super::output::Answer;
use super::session::{Session, explain};
use super::signals::Signals;
use crate::client::concurrency::{self, Mutex};
use crate::protocol::pb::etcdserverpb as pb;

#[derive(Args, Debug)]
pub struct Lock {
    /// `<lockname> [exec-command arg1 arg2 ...]`
    #[arg(value_name = "NAME")]
    arguments: Vec<OsString>,
    /// timeout for session
    #[arg(long, default_value = "10", value_parser = int)]
    ttl: i64,
}

impl Lock {
    pub fn run(&self, session: &Session) -> Result<(), Failure> {
        let Some((name, command)) = self.arguments.split_first() else {
            let why = "lock takes a lock name argument and an optional command to execute";
            return Err(Failure::bad_arguments(why));
        };
        let signals = Signals::take()?;
        block_on(async {
            let client = session.client().await?;
            // As with etcdctl, a TTL that cannot be meant is the default.
            let ttl = if self.ttl > 0 { self.ttl } else { concurrency::TTL_S_DEFAULT };
            let lease = concurrency::Session::open(&client, ttl).await.inspect_err(explain)?;
            let mut mutex = Mutex::new(&lease, argument(name));
            let held = hold(session, &lease, &mut mutex, command, &signals).await;
            // The lease has no other keys; if this fails it expires by itself.
            let _ = lease.close().await;
            held
        })
    }
}

/// Locks, does what is to be done, and unlocks.
async fn hold(
    session: &Session,
    lease: &concurrency::Session,
    mutex: &mut Mutex<'_>,
    command: &[OsString],
    signals: &Signals,
) -> Result<(), Failure> {
    let Some(locked) = signals.or_none(mutex.lock()).await else {
        mutex.unlock().await.map_err(failure)?;
        return Err(Failure::new(exit::ERROR, "context canceled"));
    };
    let header = locked.map_err(failure)?;
    if !command.is_empty() {
        let run = child::run(command, &variables(mutex, header.revision));
        let unlocked = mutex.unlock().await.map_err(failure);
        return run
            .map_err(|trouble| Failure { code: trouble.code, message: Some(trouble.text) })
            .and(unlocked);
    }
    let request = pb::RangeRequest { key: mutex.key().clone(), ..Default::default() };
    let answer = lease.client().range(request).await?;
    if answer.kvs.is_empty() {
        return Err(Failure::new(exit::ERROR, "lock lost on init"));
    }
    session.show(&Answer::Get(answer))?;
    if signals.or_none(lease.lost()).await.is_some() {
        return Err(Failure::new(exit::ERROR, "session expired"));
    }
    mutex.unlock().await.map_err(failure)
}

/// Returns the variables that tell the program about the lock.
fn variables(mutex: &Mutex<'_>, revision: i64) -> [(&'static str, OsString); 2] {
    [
        ("ETCD_LOCK_KEY", OsString::from_vec(mutex.key().to_vec())),
        ("ETCD_LOCK_REV", revision.to_string().into()),
    ]
}

/// Returns a lock or an election that came to nothing.
pub fn failure(failure: concurrency::Failure) -> Failure {
    match failure {
        concurrency::Failure::Client(error) => {
            explain(&error);
            error.into()
        }
        other => Failure::new(exit::ERROR, other.to_string()),
    }
}
