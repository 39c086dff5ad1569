//! `get`: a key or a range of keys.

use std::ffi::OsString;

use bytes::Bytes;
use clap::Args;

use super::exit::{self, Failure};
use super::output::{Answer, Format};
use super::session::{Session, show};
use crate::client::prefix_end;
use crate::gotext;
use crate::protocol::pb::etcdserverpb as pb;
use pb::range_request::{SortOrder, SortTarget};

#[derive(Args, Debug)]
pub struct Get {
    /// `<key> [range_end]`
    #[arg(value_name = "KEY")]
    arguments: Vec<OsString>,
    /// Linearizable(l) or Serializable(s)
    #[arg(long, default_value = "l")]
    consistency: String,
    /// Order of results; ASCEND or DESCEND (ASCEND by default)
    #[arg(long, default_value = "", hide_default_value = true)]
    order: String,
    /// Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION
    #[arg(long, default_value = "", hide_default_value = true)]
    sort_by: String,
    /// Maximum number of results
    #[arg(long, default_value = "0", value_parser = int)]
    limit: i64,
    /// Get keys with matching prefix
    #[arg(long)]
    prefix: bool,
    /// Get keys that are greater than or equal to the given key using byte compare
    #[arg(long)]
    from_key: bool,
    /// Specify the kv revision
    #[arg(long, default_value = "0", value_parser = int)]
    rev: i64,
    /// Get only the keys
    #[arg(long)]
    keys_only: bool,
    /// Get only the count
    #[arg(long)]
    count_only: bool,
    /// Only write values when using the "simple" output format
    #[arg(long)]
    print_value_only: bool,
    /// Minimum create revision
    #[arg(long, default_value = "0", value_parser = int)]
    min_create_rev: i64,
    /// Maximum create revision
    #[arg(long, default_value = "0", value_parser = int)]
    max_create_rev: i64,
    /// Minimum modification revision
    #[arg(long, default_value = "0", value_parser = int)]
    min_mod_rev: i64,
    /// Maximum modification revision
    #[arg(long, default_value = "0", value_parser = int)]
    max_mod_rev: i64,
    /// Use the RangeStream RPC
    #[arg(long)]
    stream: bool,
}

/// Returns the value of an integer flag, in any of Go's notations.
pub fn int(text: &str) -> Result<i64, String> {
    gotext::strconv::parse_int(text, 0)
}

/// Returns `--prefix` and `--from-key` as a pair of key and range end.
pub fn key_range(key: Bytes, prefix: bool, from_key: bool) -> (Bytes, Bytes) {
    const ZERO: Bytes = Bytes::from_static(&[0]);
    match (prefix, from_key, key.is_empty()) {
        (true, _, true) | (_, true, true) => (ZERO, ZERO),
        (_, true, false) => (key, ZERO),
        (true, false, false) => {
            let end = prefix_end(&key);
            (key, end)
        }
        (false, false, _) => (key, Bytes::new()),
    }
}

/// Returns the bytes of an argument.
pub fn argument(argument: &OsString) -> Bytes {
    use std::os::unix::ffi::OsStrExt;
    Bytes::copy_from_slice(argument.as_bytes())
}

/// Flags that `get` and `del` share must not contradict one another.
pub fn check_range_flags(prefix: bool, from_key: bool, arguments: usize) -> Result<(), Failure> {
    if prefix && from_key {
        let why = "`--prefix` and `--from-key` cannot be set at the same time, choose one";
        return Err(Failure::bad_arguments(why));
    }
    if arguments > 1 && (prefix || from_key) {
        return Err(Failure::bad_arguments(
            "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
        ));
    }
    Ok(())
}

impl Get {
    pub fn run(&self, session: &Session) -> Result<(), Failure> {
        let request = self.request()?;
        let mut printer = session.printer.clone();
        let answer = session.call(async {
            let client = session.client().await?;
            match self.stream {
                true => client.range_stream_collect(request).await,
                false => client.range(request).await,
            }
        })?;
        if self.count_only && printer.format != Format::Fields {
            let why = "--count-only is only for `--write-out=fields`";
            return Err(Failure::bad_arguments(why));
        }
        if self.print_value_only && printer.format != Format::Simple {
            let why = "print-value-only is only for `--write-out=simple`";
            return Err(Failure::bad_arguments(why));
        }
        printer.value_only = self.print_value_only;
        show(&printer, &Answer::Get(answer))
    }

    /// Returns the request these arguments ask for; also used in a txn.
    pub fn request(&self) -> Result<pb::RangeRequest, Failure> {
        let Some(key) = self.arguments.first() else {
            return Err(Failure::bad_arguments(
                "get command needs one argument as key and an optional argument as range_end",
            ));
        };
        check_range_flags(self.prefix, self.from_key, self.arguments.len())?;
        if self.keys_only && self.count_only {
            let why = "`--keys-only` and `--count-only` cannot be set at the same time, choose one";
            return Err(Failure::bad_arguments(why));
        }
        let (sort_order, sort_target) = self.sort()?;
        let (key, mut range_end) = key_range(argument(key), self.prefix, self.from_key);
        if let Some(end) = self.arguments.get(1) {
            range_end = argument(end);
        }
        let create = self.bounds("CreateRev", self.min_create_rev, self.max_create_rev)?;
        let modified = self.bounds("ModRev", self.min_mod_rev, self.max_mod_rev)?;
        Ok(pb::RangeRequest {
            key,
            range_end,
            limit: self.limit,
            revision: self.rev.max(0),
            sort_order: sort_order as i32,
            sort_target: sort_target as i32,
            serializable: serializable(&self.consistency)?,
            keys_only: self.keys_only,
            count_only: self.count_only,
            min_create_revision: create.0,
            max_create_revision: create.1,
            min_mod_revision: modified.0,
            max_mod_revision: modified.1,
        })
    }

    fn sort(&self) -> Result<(SortOrder, SortTarget), Failure> {
        let bad = |what: &str, text: &str| {
            Failure::new(exit::BAD_FEATURE, format!("bad sort {what} {text}"))
        };
        let order = match self.order.to_ascii_uppercase().as_str() {
            "" => SortOrder::None,
            "ASCEND" => SortOrder::Ascend,
            "DESCEND" => SortOrder::Descend,
            _ => return Err(bad("order", &self.order)),
        };
        let target = match self.sort_by.to_ascii_uppercase().as_str() {
            "" | "KEY" => SortTarget::Key,
            "CREATE" => SortTarget::Create,
            "MODIFY" => SortTarget::Mod,
            "VALUE" => SortTarget::Value,
            "VERSION" => SortTarget::Version,
            _ => return Err(bad("target", &self.sort_by)),
        };
        // Answers come in key order anyway, and unsorted the server may stop at the limit.
        match (order, target) {
            (SortOrder::Ascend, SortTarget::Key) => Ok((SortOrder::None, target)),
            sorted => Ok(sorted),
        }
    }

    /// Sets the revision filters that are positive.
    fn bounds(&self, what: &str, min: i64, max: i64) -> Result<(i64, i64), Failure> {
        if max > 0 && min > max {
            let why = format!("getMin{what}(={min}) > getMax{what}(={max})");
            return Err(Failure::new(exit::BAD_FEATURE, why));
        }
        Ok((min.max(0), max.max(0)))
    }
}

/// Returns the value of `--consistency`.
pub fn serializable(consistency: &str) -> Result<bool, Failure> {
    match consistency {
        "s" => Ok(true),
        "l" => Ok(false),
        other => {
            let quoted = gotext::quote(other);
            Err(Failure::new(exit::BAD_FEATURE, format!("unknown consistency flag {quoted}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::arguments::op;

    fn request(line: &[&str]) -> Result<pb::RangeRequest, Failure> {
        match op(line.iter().map(OsString::from)).expect("clap takes it") {
            crate::ctl::arguments::Op::Get(get) => get.request(),
            other => panic!("{other:?} is no get"),
        }
    }

    #[test]
    fn ranges() {
        let range = |line: &[&str]| {
            let request = request(line).expect("a request");
            (request.key.to_vec(), request.range_end.to_vec())
        };
        let pair = |key: &[u8], end: &[u8]| (key.to_vec(), end.to_vec());
        assert_eq!(range(&["get", "a"]), pair(b"a", b""));
        assert_eq!(range(&["get", "a", "c"]), pair(b"a", b"c"));
        assert_eq!(range(&["get", "a", "c", "ignored"]), pair(b"a", b"c"));
        assert_eq!(range(&["get", "--prefix", "a"]), pair(b"a", b"b"));
        assert_eq!(range(&["get", "a", "--prefix=true"]), pair(b"a", b"b"));
        assert_eq!(range(&["get", "a", "--prefix=false"]), pair(b"a", b""));
        assert_eq!(range(&["get", "", "--prefix"]), pair(b"\0", b"\0"));
        assert_eq!(range(&["get", "a", "--from-key"]), pair(b"a", b"\0"));
        assert_eq!(range(&["get", "", "--from-key"]), pair(b"\0", b"\0"));
        assert_eq!(range(&["get", "--", "--prefix"]), pair(b"--prefix", b""));
    }

    #[test]
    fn options_become_fields() {
        let found = request(&[
            "get",
            "a",
            "--order=descend",
            "--sort-by",
            "modify",
            "--limit",
            "0x10",
            "--rev=7",
            "--consistency",
            "s",
            "--keys-only",
            "--min-mod-rev=2",
            "--max-mod-rev=3",
        ]);
        let expected = pb::RangeRequest {
            key: "a".into(),
            limit: 16,
            revision: 7,
            sort_order: SortOrder::Descend as i32,
            sort_target: SortTarget::Mod as i32,
            serializable: true,
            keys_only: true,
            min_mod_revision: 2,
            max_mod_revision: 3,
            ..Default::default()
        };
        assert_eq!(found, Ok(expected));
        let ascending = request(&["get", "a", "--order", "ASCEND"]).expect("a request");
        assert_eq!(ascending.sort_order, SortOrder::None as i32);
        assert_eq!(request(&["get", "a", "--rev=-1"]).expect("a request").revision, 0);
    }

    #[test]
    fn contradictions_have_etcdctls_codes_and_texts() {
        for (line, code, text) in [
            (&["get"][..], 128, "get command needs one argument as key"),
            (&["get", "a", "--prefix", "--from-key"], 128, "`--prefix` and `--from-key` cannot"),
            (&["get", "a", "b", "--prefix"], 128, "too many arguments, only accept one"),
            (&["get", "a", "--keys-only", "--count-only"], 128, "`--keys-only` and `--count-only`"),
            (&["get", "a", "--order=x"], 4, "bad sort order x"),
            (&["get", "a", "--sort-by=x"], 4, "bad sort target x"),
            (&["get", "a", "--consistency=x"], 4, "unknown consistency flag \"x\""),
            (
                &["get", "a", "--min-mod-rev=3", "--max-mod-rev=2"],
                4,
                "getMinModRev(=3) > getMaxModRev(=2)",
            ),
        ] {
            let failure = request(line).expect_err(text);
            let message = failure.message.expect("a message");
            assert!(failure.code == code && message.starts_with(text), "{line:?}: {message}");
        }
    }
}
