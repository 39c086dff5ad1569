//! `endpoint`: what each member says of itself.

use std::time::Instant;

use async_executor::LocalExecutor;
use clap::{Args, Subcommand};
use futures_lite::future::block_on;

use super::exit::{self, Failure};
use super::output::{Answer, Health};
use super::session::{Session, explain};
use super::{alarm, get};
use crate::client::Error;
use crate::gotext;
use crate::protocol::pb::etcdserverpb as pb;

#[derive(Args, Debug)]
pub struct Endpoint {
    /// use all endpoints from the cluster member list
    #[arg(long, global = true)]
    cluster: bool,
    #[command(subcommand)]
    command: Question,
}

#[derive(Subcommand, Debug)]
enum Question {
    /// Prints the KV history hash for each endpoint in --endpoints
    Hashkv {
        #[arg(hide = true)]
        arguments: Vec<String>,
        /// maximum revision to hash (default: latest revision)
        #[arg(long, default_value = "0", hide_default_value = true, value_parser = get::int)]
        rev: i64,
    },
    /// Checks the healthiness of endpoints specified in `--endpoints` flag
    Health {
        #[arg(hide = true)]
        arguments: Vec<String>,
    },
    /// Prints out the status of endpoints specified in `--endpoints` flag
    Status {
        #[arg(hide = true)]
        arguments: Vec<String>,
    },
}

impl Endpoint {
    pub fn run(&self, session: &Session) -> Result<(), Failure> {
        let endpoints = session.endpoints_or_cluster(self.cluster)?;
        match &self.command {
            Question::Health { .. } => health(session, &endpoints),
            Question::Status { .. } => status(session, &endpoints),
            Question::Hashkv { rev, .. } => hashkv(session, &endpoints, *rev),
        }
    }
}

/// Asks all endpoints at once, so that one dead endpoint delays the others by nothing.
fn health(session: &Session, endpoints: &[String]) -> Result<(), Failure> {
    let executor = LocalExecutor::new();
    let checks: Vec<_> =
        endpoints.iter().map(|endpoint| executor.spawn(health_of(session, endpoint))).collect();
    let healths: Vec<Health> = block_on(executor.run(async {
        let mut healths = Vec::new();
        for check in checks {
            healths.push(check.await);
        }
        healths
    }));
    let sick = healths.iter().any(|health| !health.error.is_empty());
    session.show(&Answer::Health(healths))?;
    match sick {
        true => Err(Failure::new(exit::ERROR, "unhealthy cluster")),
        false => Ok(()),
    }
}

async fn health_of(session: &Session, endpoint: &str) -> Health {
    let started = Instant::now();
    let mut health = Health { endpoint: endpoint.to_owned(), healthy: false, ..Health::default() };
    let client = match session.client_at(endpoint).await {
        Ok(client) => client,
        Err(error) => {
            health.error = error.to_string();
            return health;
        }
    };
    let read = client.health().await;
    health.took = gotext::GoDuration::from(started.elapsed()).to_string();
    if let Err(error) = read {
        explain(&error);
        health.error = error.to_string();
        return health;
    }
    // The deadline is one for the check as a whole.
    let left = session.command_timeout.saturating_sub(started.elapsed());
    match alarm::list(&client.with_timeout(Some(left))).await {
        Err(_) => health.error = "Unable to fetch the alarm list".to_owned(),
        Ok(answer) if !answer.alarms.is_empty() => {
            health.error = "Active Alarm(s): ".to_owned();
            for alarm in answer.alarms {
                let name = match pb::AlarmType::try_from(alarm.alarm) {
                    Ok(pb::AlarmType::Nospace) => "NOSPACE ",
                    Ok(pb::AlarmType::Corrupt) => "CORRUPT ",
                    _ => "UNKNOWN ",
                };
                health.error.push_str(name);
            }
        }
        Ok(_) => health.healthy = true,
    }
    health
}

fn status(session: &Session, endpoints: &[String]) -> Result<(), Failure> {
    let (answers, failure) =
        each(session, endpoints, "status", async |client, endpoint| client.status(endpoint).await);
    session.show(&Answer::Status(answers))?;
    match failure {
        Some(_) => Err(Failure::silent(exit::ERROR)),
        None => Ok(()),
    }
}

fn hashkv(session: &Session, endpoints: &[String], revision: i64) -> Result<(), Failure> {
    let (answers, failure) = each(session, endpoints, "hash", async |client, endpoint| {
        client.hash_kv(endpoint, revision).await
    });
    session.show(&Answer::HashKv(answers))?;
    match failure {
        Some(error) => Err(Failure::new(exit::ERROR, error.to_string())),
        None => Ok(()),
    }
}

/// Asks one endpoint after the other; failures are told at once, the last one is returned.
fn each<T>(
    session: &Session,
    endpoints: &[String],
    what: &str,
    ask: impl AsyncFn(&crate::client::Client, &str) -> Result<T, Error>,
) -> (Vec<(String, T)>, Option<Error>) {
    let mut answers = Vec::new();
    let mut failure = None;
    for endpoint in endpoints {
        let asked = async { ask(&session.client_at(endpoint).await?, endpoint).await };
        match block_on(asked) {
            Ok(answer) => answers.push((endpoint.clone(), answer)),
            Err(error) => {
                explain(&error);
                eprintln!("Failed to get the {what} of endpoint {endpoint} ({error})");
                failure = Some(error);
            }
        }
    }
    (answers, failure)
}
