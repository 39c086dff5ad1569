//! `member`: who is in the cluster.

use clap::{Args, Subcommand};

use super::exit::Failure;
use super::get::serializable;
use super::output::Answer;
use super::session::Session;

#[derive(Args, Debug)]
pub struct Member {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Lists all members in the cluster
    List {
        #[arg(hide = true)]
        arguments: Vec<String>,
        /// Linearizable(l) or Serializable(s)
        #[arg(long, default_value = "l")]
        consistency: String,
    },
}

impl Member {
    pub fn run(&self, session: &Session) -> Result<(), Failure> {
        let Action::List { consistency, .. } = &self.command;
        let linearizable = !serializable(consistency)?;
        let answer =
            session.call(async { session.client().await?.member_list(linearizable).await })?;
        session.show(&Answer::MemberList(answer))
    }
}
