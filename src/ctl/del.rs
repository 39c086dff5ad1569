//! `del`: a key or a range of keys.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::exit::Failure;
use super::get::{argument, check_range_flags, key_range};
use super::output::Answer;
use super::session::Session;
use crate::gotext;
use crate::protocol::pb::etcdserverpb as pb;

#[derive(Args, Debug)]
pub struct Del {
    /// `<key> [range_end]`
    #[arg(value_name = "KEY")]
    arguments: Vec<OsString>,
    /// delete keys with matching prefix
    #[arg(long)]
    prefix: bool,
    /// return deleted key-value pairs
    #[arg(long)]
    prev_kv: bool,
    /// delete keys that are greater than or equal to the given key using byte compare
    #[arg(long)]
    from_key: bool,
    /// delete range of keys
    #[arg(long)]
    range: bool,
}

impl Del {
    pub fn run(&self, session: &Session) -> Result<(), Failure> {
        let request = self.request()?;
        self.warn();
        let answer = session.call(async { session.client().await?.delete_range(request).await })?;
        session.show(&Answer::Del(answer))
    }

    /// Returns the request these arguments ask for; also used in a txn.
    pub fn request(&self) -> Result<pb::DeleteRangeRequest, Failure> {
        if self.arguments.is_empty() || self.arguments.len() > 2 {
            return Err(Failure::bad_arguments(
                "del command needs one argument as key and an optional argument as range_end",
            ));
        }
        check_range_flags(self.prefix, self.from_key, self.arguments.len())?;
        let (key, mut range_end) =
            key_range(argument(&self.arguments[0]), self.prefix, self.from_key);
        if let Some(end) = self.arguments.get(1) {
            range_end = argument(end);
        }
        Ok(pb::DeleteRangeRequest { key, range_end, prev_kv: self.prev_kv })
    }

    /// Warns that two keys may be a slip of the hand for two deletions, and waits two seconds.
    pub fn warn(&self) {
        let [start, end] = &self.arguments[..] else { return };
        if self.range {
            return;
        }
        let (start, end) = (gotext::quote(argument(start)), gotext::quote(argument(end)));
        eprintln!(
            "Warning: Keys between {start} and {end} will be deleted. Please interrupt the command \
             within next 2 seconds to cancel. You can provide `--range` flag to avoid the delay."
        );
        std::thread::sleep(Duration::from_secs(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::arguments::{Op, op};

    fn request(line: &[&str]) -> Result<pb::DeleteRangeRequest, Failure> {
        match op(line.iter().map(OsString::from)).expect("clap takes it") {
            Op::Del(del) => del.request(),
            other => panic!("{other:?} is no del"),
        }
    }

    #[test]
    fn ranges() {
        let range = |line: &[&str]| {
            let request = request(line).expect("a request");
            (request.key.to_vec(), request.range_end.to_vec(), request.prev_kv)
        };
        assert_eq!(range(&["del", "a"]), (b"a".to_vec(), vec![], false));
        assert_eq!(range(&["del", "a", "c", "--prev-kv"]), (b"a".to_vec(), b"c".to_vec(), true));
        assert_eq!(range(&["del", "--prefix", ""]), (vec![0], vec![0], false));
        assert_eq!(range(&["del", "--from-key", "b"]), (b"b".to_vec(), vec![0], false));
    }

    #[test]
    fn contradictions_have_etcdctls_codes_and_texts() {
        for (line, text) in [
            (&["del"][..], "del command needs one argument as key"),
            (&["del", "a", "b", "c"], "del command needs one argument as key"),
            (&["del", "a", "--prefix", "--from-key"], "`--prefix` and `--from-key` cannot be set"),
            (&["del", "a", "b", "--from-key"], "too many arguments, only accept one argument"),
        ] {
            let failure = request(line).expect_err(text);
            assert_eq!(failure.code, 128);
            assert!(failure.message.expect("a message").starts_with(text), "{line:?}");
        }
    }
}
