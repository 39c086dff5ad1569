//! `lease`: granting, revoking, asking about and renewing leases.

use clap::{Args, Subcommand};
use futures_lite::future::block_on;

use super::exit::{self, Failure};
use super::output::{Answer, Format};
use super::session::{Session, explain};
use crate::client::Error;
use crate::client::lease::LeaseId;
use crate::gotext;

#[derive(Args, Debug)]
pub struct Lease {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Creates leases
    Grant {
        /// seconds to live
        #[arg(value_name = "TTL")]
        arguments: Vec<String>,
    },
    /// Revokes leases
    Revoke {
        /// the lease, in hexadecimal
        #[arg(value_name = "LEASE")]
        arguments: Vec<String>,
    },
    /// Get lease information
    Timetolive {
        /// the lease, in hexadecimal
        #[arg(value_name = "LEASE")]
        arguments: Vec<String>,
        /// Get keys attached to this lease
        #[arg(long)]
        keys: bool,
    },
    /// List all active leases
    List {
        #[arg(hide = true)]
        arguments: Vec<String>,
    },
    /// Keeps leases alive (renew)
    KeepAlive {
        /// the lease, in hexadecimal
        #[arg(value_name = "LEASE")]
        arguments: Vec<String>,
        /// Resets the keep-alive time to its original value and exits immediately
        #[arg(long)]
        once: bool,
    },
}

impl Lease {
    pub fn run(&self, session: &Session) -> Result<(), Failure> {
        match &self.command {
            Action::Grant { arguments } => grant(session, ttl(arguments)?),
            Action::Revoke { arguments } => {
                revoke(session, id(arguments, "lease revoke command needs 1 argument")?)
            }
            Action::Timetolive { arguments, keys } => {
                let needs = "lease timetolive command needs lease ID as argument";
                time_to_live(session, id(arguments, needs)?, *keys)
            }
            Action::List { .. } => {
                let leases = block_on(async { session.client().await?.leases().await });
                session.show(&Answer::Leases(leases.map_err(no_answer)?))
            }
            Action::KeepAlive { arguments, once } => {
                let needs = "lease keep-alive command needs lease ID as argument";
                let id = id(arguments, needs)?;
                if *once { keep_alive_once(session, id) } else { keep_alive(session, id) }
            }
        }
    }
}

fn ttl(arguments: &[String]) -> Result<i64, Failure> {
    let [text] = arguments else {
        return Err(Failure::bad_arguments("lease grant command needs TTL argument"));
    };
    gotext::strconv::parse_int(text, 10)
        .map_err(|error| Failure::bad_arguments(format!("bad TTL ({error})")))
}

fn id(arguments: &[String], needs: &str) -> Result<LeaseId, Failure> {
    let [text] = arguments else { return Err(Failure::bad_arguments(needs)) };
    gotext::strconv::parse_int(text, 16).map(LeaseId).map_err(|error| {
        Failure::bad_arguments(format!("bad lease ID arg ({error}), expecting ID in Hex"))
    })
}

fn grant(session: &Session, ttl: i64) -> Result<(), Failure> {
    let granted = block_on(async { session.client().await?.lease_grant(ttl, LeaseId::NONE).await });
    session.show(&Answer::LeaseGrant(granted.map_err(|error| failed("grant", &error))?))
}

fn revoke(session: &Session, id: LeaseId) -> Result<(), Failure> {
    let revoked = block_on(async { session.client().await?.lease_revoke(id).await });
    let answer = revoked.map_err(|error| failed("revoke", &error))?;
    session.show(&Answer::LeaseRevoke(id, answer))
}

fn time_to_live(session: &Session, id: LeaseId, keys: bool) -> Result<(), Failure> {
    let left = block_on(async { session.client().await?.lease_time_to_live(id, keys).await });
    session.show(&Answer::LeaseTimeToLive { answer: left.map_err(no_answer)?, keys })
}

fn keep_alive_once(session: &Session, id: LeaseId) -> Result<(), Failure> {
    let renewed = block_on(async { session.client().await?.lease_keep_alive_once(id).await });
    session.show(&Answer::LeaseKeepAlive(renewed.map_err(no_answer)?))
}

/// Keeps the lease alive until it is lost, which is no failure.
fn keep_alive(session: &Session, id: LeaseId) -> Result<(), Failure> {
    let client = block_on(session.client()).map_err(no_answer)?;
    let mut keep_alive = client.lease_keep_alive(id);
    while let Ok(renewed) = block_on(keep_alive.next()) {
        session.show_next(&Answer::LeaseKeepAlive(renewed))?;
    }
    match session.printer.format {
        Format::Simple => super::print(format!("lease {id:016x} expired or revoked.\n").as_bytes()),
        _ => Ok(()),
    }
}

fn failed(what: &str, error: &Error) -> Failure {
    explain(error);
    Failure::new(exit::ERROR, format!("failed to {what} lease ({error})"))
}

fn no_answer(error: Error) -> Failure {
    explain(&error);
    Failure::new(exit::BAD_CONNECTION, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_refused_in_etcdctls_words() {
        let words = |line: &[&str]| line.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (outcome, text) in [
            (ttl(&[]).err(), "lease grant command needs TTL argument"),
            (ttl(&words(&["1", "2"])).err(), "lease grant command needs TTL argument"),
            (
                ttl(&words(&["x"])).err(),
                "bad TTL (strconv.ParseInt: parsing \"x\": invalid syntax)",
            ),
            (id(&[], "needs it").err(), "needs it"),
            (
                id(&words(&["zz"]), "").err(),
                "bad lease ID arg (strconv.ParseInt: parsing \"zz\": invalid syntax), \
                 expecting ID in Hex",
            ),
        ] {
            assert_eq!(outcome, Some(Failure::bad_arguments(text)));
        }
        assert_eq!(ttl(&words(&["-5"])), Ok(-5));
        assert_eq!(id(&words(&["1F"]), ""), Ok(LeaseId(31)));
    }
}
