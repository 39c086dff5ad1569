//! `put`: one key.

use std::ffi::OsString;
use std::io::Read;

use bytes::Bytes;
use clap::Args;

use super::exit::Failure;
use super::get::argument;
use super::output::Answer;
use super::session::Session;
use crate::gotext;
use crate::protocol::pb::etcdserverpb as pb;

#[derive(Args, Debug)]
pub struct Put {
    /// `<key> <value>`; `<value>` can also be given from stdin
    #[arg(value_name = "KEY")]
    arguments: Vec<OsString>,
    /// lease ID (in hexadecimal) to attach to the key
    #[arg(long, default_value = "0")]
    lease: String,
    /// return the previous key-value pair before modification
    #[arg(long)]
    prev_kv: bool,
    /// updates the key using its current value
    #[arg(long)]
    ignore_value: bool,
    /// updates the key using its current lease
    #[arg(long)]
    ignore_lease: bool,
}

const NEEDS: &str = "put command needs 1 argument and input from stdin or 2 arguments";

impl Put {
    pub fn run(&self, session: &Session) -> Result<(), Failure> {
        let request = self.request(|| {
            let mut value = Vec::new();
            std::io::stdin().lock().read_to_end(&mut value).ok()?;
            Some(value.into())
        })?;
        let answer = session.call(async { session.client().await?.put(request).await })?;
        session.show(&Answer::Put(answer))
    }

    /// Returns the request these arguments ask for; `input` is asked for a value that is not among
    /// them.
    pub fn request(
        &self,
        input: impl FnOnce() -> Option<Bytes>,
    ) -> Result<pb::PutRequest, Failure> {
        let Some(key) = self.arguments.first() else { return Err(Failure::bad_arguments(NEEDS)) };
        if self.ignore_value && self.arguments.len() > 1 {
            let why = "put command needs only 1 argument when 'ignore-value' is set";
            return Err(Failure::bad_arguments(why));
        }
        let value = match self.arguments.get(1) {
            Some(value) => argument(value),
            None if self.ignore_value => Bytes::new(),
            None => input()
                .filter(|value| !value.is_empty())
                .ok_or_else(|| Failure::bad_arguments(NEEDS))?,
        };
        let lease = gotext::strconv::parse_int(&self.lease, 16).map_err(|error| {
            Failure::bad_arguments(format!("bad lease ID ({error}), expecting ID in Hex"))
        })?;
        Ok(pb::PutRequest {
            key: argument(key),
            value,
            lease,
            prev_kv: self.prev_kv,
            ignore_value: self.ignore_value,
            ignore_lease: self.ignore_lease,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::arguments::{Op, op};

    fn request(line: &[&str], input: &'static str) -> Result<pb::PutRequest, Failure> {
        match op(line.iter().map(OsString::from)).expect("clap takes it") {
            Op::Put(put) => put.request(|| Some(input.into())),
            other => panic!("{other:?} is no put"),
        }
    }

    #[test]
    fn the_value_is_an_argument_or_the_input() {
        let value = |line: &[&str], input| request(line, input).expect("a request").value;
        assert_eq!(value(&["put", "k", "v"], "input"), "v");
        assert_eq!(value(&["put", "k", ""], "input"), "");
        assert_eq!(value(&["put", "k"], "input"), "input");
        assert_eq!(value(&["put", "k", "--ignore-value"], "input"), "");
        assert_eq!(value(&["put", "k", "--", "-v"], ""), "-v");
    }

    #[test]
    fn the_lease_is_hexadecimal() {
        let lease = request(&["put", "k", "v", "--lease=7bf2"], "").expect("a request").lease;
        assert_eq!(lease, 0x7bf2);
    }

    #[test]
    fn contradictions_have_etcdctls_codes_and_texts() {
        let lease = "bad lease ID (strconv.ParseInt: parsing \"xyz\": invalid syntax), \
                     expecting ID in Hex";
        for (line, text) in [
            (&["put"][..], NEEDS),
            (&["put", "k"], NEEDS),
            (&["put", "k", "v", "--ignore-value"], "put command needs only 1 argument when"),
            (&["put", "k", "v", "--lease", "xyz"], lease),
        ] {
            let failure = request(line, "").expect_err(text);
            assert_eq!(failure.code, 128);
            assert!(failure.message.expect("a message").starts_with(text), "{line:?}");
        }
    }
}
