//! `txn`: compares and operations from standard input, in one request.
//!
//! ```text
//!  mod("key1") > "0"            compares, one per line
//!                               a blank line
//!  put key1 "overwrote-key1"    what to do if all of them hold
//!                               a blank line
//!  put key1 "created-key1"      what to do otherwise
//!                               a blank line
//! ```

mod script;

use std::io::BufRead;

use clap::Args;

use super::exit::{self, Failure};
use super::output::Answer;
use super::print;
use super::session::Session;
use crate::protocol::pb::etcdserverpb as pb;

#[derive(Args, Debug)]
pub struct Txn {
    #[arg(hide = true)]
    arguments: Vec<String>,
    /// Input transaction in interactive mode
    #[arg(long, short)]
    interactive: bool,
}

impl Txn {
    pub fn run(&self, session: &Session) -> Result<(), Failure> {
        if !self.arguments.is_empty() {
            return Err(Failure::bad_arguments("txn command does not accept argument"));
        }
        let prompt = |text: &str| match self.interactive {
            true => print(format!("{text}\n").as_bytes()),
            false => Ok(()),
        };
        let request = read(&mut std::io::stdin().lock(), prompt)?;
        let answer = session.call(async { session.client().await?.txn(request).await })?;
        session.show(&Answer::Txn(answer))
    }
}

/// Reads the three parts; `prompt` is told before each.
fn read(
    input: &mut impl BufRead,
    mut prompt: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<pb::TxnRequest, Failure> {
    let mut request = pb::TxnRequest::default();
    prompt("compares:")?;
    while let Some(line) = line(input)? {
        let compare = script::compare(&line).map_err(invalid)?;
        request.compare.push(compare);
    }
    prompt("success requests (get, put, del):")?;
    while let Some(line) = line(input)? {
        request.success.push(script::op(&line)?);
    }
    prompt("failure requests (get, put, del):")?;
    while let Some(line) = line(input)? {
        request.failure.push(script::op(&line)?);
    }
    Ok(request)
}

fn invalid(why: impl Into<String>) -> Failure {
    Failure::new(exit::INVALID_INPUT, why)
}

/// Returns the next line without the space around it; `None` for a blank one, which ends a part.
/// The end of the input is no end of a part: a script cut short must not be carried out.
fn line(input: &mut impl BufRead) -> Result<Option<String>, Failure> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line).map_err(|error| invalid(error.to_string()))?;
    if line.pop() != Some(b'\n') {
        return Err(invalid("EOF"));
    }
    let line = String::from_utf8(line)
        .map_err(|_| invalid("the line is not UTF-8; write other bytes as \\xNN in quotes"))?;
    let line = line.trim();
    Ok(if line.is_empty() { None } else { Some(line.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(pb::TxnRequest, Vec<String>), Failure> {
        let mut prompts = Vec::new();
        let request = read(&mut text.as_bytes(), |prompt| {
            prompts.push(prompt.to_owned());
            Ok(())
        })?;
        Ok((request, prompts))
    }

    #[test]
    fn a_script_has_three_parts() {
        let text = "mod(\"a\") > \"0\"\n ver(\"b\") = \"1\"\r\n\nput a x\n\t\nget a\ndel b\n\n";
        let (request, prompts) = parse(text).expect("a good script");
        assert_eq!(request.compare.len(), 2);
        assert_eq!((request.success.len(), request.failure.len()), (1, 2));
        assert_eq!(
            prompts,
            ["compares:", "success requests (get, put, del):", "failure requests (get, put, del):"]
        );
        assert_eq!(parse("\n\n\n").expect("an empty txn").0, pb::TxnRequest::default());
    }

    #[test]
    fn a_script_cut_short_is_not_a_txn() {
        for text in ["", "\n\n", "\nput a b\n", "\nput a b\n\nput a", "mod(\"a\") > \"0\""] {
            assert_eq!(parse(text).expect_err(text), invalid("EOF"));
        }
    }
}
