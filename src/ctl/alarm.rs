//! `alarm`: list and disarm.

use clap::{Args, Subcommand};

use super::exit::Failure;
use super::output::Answer;
use super::session::Session;
use crate::client::{Client, Error};
use crate::protocol::pb::etcdserverpb as pb;
use pb::alarm_request::AlarmAction;

#[derive(Args, Debug)]
pub struct Alarm {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Disarms all alarms
    Disarm(NoArguments),
    /// Lists all alarms
    List(NoArguments),
}

#[derive(Args, Debug)]
struct NoArguments {
    #[arg(hide = true)]
    arguments: Vec<String>,
}

impl Alarm {
    pub fn run(&self, session: &Session) -> Result<(), Failure> {
        let (name, given) = match &self.command {
            Action::Disarm(given) => ("disarm", given),
            Action::List(given) => ("list", given),
        };
        if !given.arguments.is_empty() {
            let why = format!("alarm {name} command accepts no arguments");
            return Err(Failure::bad_arguments(why));
        }
        let answer = session.call(async {
            let client = session.client().await?;
            match self.command {
                Action::List(_) => list(&client).await,
                Action::Disarm(_) => disarm(&client).await,
            }
        })?;
        session.show(&Answer::Alarm(answer))
    }
}

/// Returns the alarms that are active.
pub async fn list(client: &Client) -> Result<pb::AlarmResponse, Error> {
    let request = pb::AlarmRequest { action: AlarmAction::Get as i32, ..Default::default() };
    client.alarm(request).await
}

/// Disarms one after the other. The answer has all of them and no header: it is many answers.
async fn disarm(client: &Client) -> Result<pb::AlarmResponse, Error> {
    let mut disarmed = pb::AlarmResponse::default();
    for alarm in list(client).await?.alarms {
        let action = AlarmAction::Deactivate as i32;
        let request = pb::AlarmRequest { action, member_id: alarm.member_id, alarm: alarm.alarm };
        disarmed.alarms.extend(client.alarm(request).await?.alarms);
    }
    Ok(disarmed)
}
