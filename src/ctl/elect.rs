//! `elect`: stands for an election, or watches one.

use std::ffi::OsString;

use bytes::Bytes;
use clap::Args;
use futures_lite::future::block_on;

use super::exit::{self, Failure};
use super::get::argument;
use super::lock::failure;
use super::output::Answer;
use super::session::{Session, explain};
use super::signals::Signals;
use crate::client::concurrency::{self, Election, Leaders, TTL_S_DEFAULT};
use crate::protocol::pb::etcdserverpb as pb;

#[derive(Args, Debug)]
pub struct Elect {
    /// `<election-name> [proposal]`
    #[arg(value_name = "NAME")]
    arguments: Vec<OsString>,
    /// observation mode
    #[arg(long, short)]
    listen: bool,
}

/// The role that the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Observe(Bytes),
    Campaign(Bytes, Bytes),
}

impl Elect {
    pub fn run(&self, session: &Session) -> Result<(), Failure> {
        let part = self.part()?;
        let signals = Signals::take()?;
        block_on(async {
            match part {
                Part::Observe(name) => observe(session, &name, &signals).await,
                Part::Campaign(name, value) => campaign(session, &name, value, &signals).await,
            }
        })
    }

    fn part(&self) -> Result<Part, Failure> {
        match (&self.arguments[..], self.listen) {
            ([name], true) => Ok(Part::Observe(argument(name))),
            ([name, value], false) => Ok(Part::Campaign(argument(name), argument(value))),
            ([_], false) => Err(Failure::bad_arguments("no proposal argument but -l not set")),
            ([_, _], true) => Err(Failure::bad_arguments("proposal given but -l is set")),
            _ => Err(Failure::bad_arguments(
                "elect takes one election name argument and an optional proposal argument",
            )),
        }
    }
}

/// Observes until a signal, which is the way to end it well.
async fn observe(session: &Session, name: &Bytes, signals: &Signals) -> Result<(), Failure> {
    let client = session.client().await?;
    let mut leaders = Leaders::of(&client, name);
    loop {
        match signals.or_none(leaders.next()).await {
            None => return Ok(()),
            Some(Ok(leader)) => session.show_next(&Answer::Get(leader))?,
            Some(Err(why)) => {
                let why = format!("elect: observer lost ({why})");
                return Err(Failure::new(exit::ERROR, why));
            }
        }
    }
}

/// Stands until elected, then leads until a signal, and steps down.
async fn campaign(
    session: &Session,
    name: &Bytes,
    value: Bytes,
    signals: &Signals,
) -> Result<(), Failure> {
    let client = session.client().await?;
    let lease = concurrency::Session::open(&client, TTL_S_DEFAULT).await.inspect_err(explain)?;
    let led = lead(session, &lease, name, value, signals).await;
    // The lease has no other keys; if this fails it expires by itself.
    let _ = lease.close().await;
    led
}

async fn lead(
    session: &Session,
    lease: &concurrency::Session,
    name: &Bytes,
    value: Bytes,
    signals: &Signals,
) -> Result<(), Failure> {
    let mut election = Election::new(lease, name);
    match signals.or_none(election.campaign(value)).await {
        // The candidacy ends with the lease.
        None => return Err(Failure::new(exit::ERROR, "context canceled")),
        Some(elected) => elected.map_err(failure)?,
    };
    let request = pb::RangeRequest { key: election.key().clone(), ..Default::default() };
    let answer = lease.client().range(request).await?;
    session.show(&Answer::Get(answer))?;
    if signals.or_none(lease.lost()).await.is_some() {
        return Err(Failure::new(exit::ERROR, "elect: session expired"));
    }
    election.resign().await.map_err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_arguments_decides() {
        let part = |arguments: &[&str], listen| {
            Elect { arguments: arguments.iter().map(OsString::from).collect(), listen }.part()
        };
        assert_eq!(part(&["n"], true), Ok(Part::Observe("n".into())));
        assert_eq!(part(&["n", "v"], false), Ok(Part::Campaign("n".into(), "v".into())));
        let takes = "elect takes one election name argument and an optional proposal argument";
        for (arguments, listen, text) in [
            (&["n"][..], false, "no proposal argument but -l not set"),
            (&["n", "v"], true, "proposal given but -l is set"),
            (&[], true, takes),
            (&["n", "v", "w"], false, takes),
        ] {
            assert_eq!(part(arguments, listen), Err(Failure::bad_arguments(text)));
        }
    }
}
