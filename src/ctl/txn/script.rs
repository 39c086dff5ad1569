//! The lines of a txn's script.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::invalid;
use crate::ctl::arguments::{self, Op};
use crate::ctl::exit::Failure;
use crate::ctl::words::words;
use crate::gotext;
use crate::protocol::pb::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;

/// Parses `target("key") operator "operand"`. Errors come in etcdctl's words.
pub fn compare(line: &str) -> Result<pb::Compare, String> {
    let Some((target, rest)) = line.split_once('(') else {
        return Err(format!("malformed comparison: {line}"));
    };
    let parts = Parts::read(rest);
    let Some(operand) = &parts.operand else {
        let quoted = |bytes: &Option<Vec<u8>>| gotext::quote(bytes.as_deref().unwrap_or_default());
        let (key, operand) = (quoted(&parts.key), quoted(&parts.operand));
        let operator = parts.operator;
        return Err(format!(
            "malformed comparison: {line}; got {target}({key}) {operator} {operand}"
        ));
    };
    let number = |radix| {
        let text = std::str::from_utf8(operand).ok();
        text.and_then(|text| gotext::strconv::parse_int(text, radix).ok())
            .ok_or_else(|| format!("invalid txn compare request: {line}"))
    };
    let (target, target_union) = match target {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number(10)?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(operand.clone().into())),
        // In hexadecimal, like every lease on a command line. (etcdctl 3.7 panics here.)
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        _ => return Err(format!("malformed comparison: {line} (unknown target {target})")),
    };
    let result = match parts.operator {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        operator => {
            return Err(format!("malformed comparison: {line} (unknown operator {operator})"));
        }
    };
    Ok(pb::Compare {
        result: result as i32,
        target: target as i32,
        key: parts.key.unwrap_or_default().into(),
        target_union: Some(target_union),
        range_end: bytes::Bytes::new(),
    })
}

/// The text after the opening parenthesis, as far as it is well-formed.
#[derive(Default)]
struct Parts<'a> {
    key: Option<Vec<u8>>,
    operator: &'a str,
    operand: Option<Vec<u8>>,
}

impl<'a> Parts<'a> {
    fn read(text: &'a str) -> Parts<'a> {
        let mut parts = Parts::default();
        let Some((key, rest)) = gotext::unquote_prefix(text.trim_start()) else { return parts };
        parts.key = Some(key);
        let Some(rest) = rest.strip_prefix(')') else { return parts };
        let rest = rest.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        parts.operator = &rest[..end];
        parts.operand =
            gotext::unquote_prefix(rest[end..].trim_start()).map(|(operand, _)| operand);
        parts
    }
}

/// Parses a `get`, `put` or `del` line.
pub fn op(line: &str) -> Result<pb::RequestOp, Failure> {
    let words = words(line).ok_or_else(|| invalid("invalid syntax"))?;
    if words.len() < 2 {
        return Err(invalid(format!("invalid txn compare request: {line}")));
    }
    let words = words.into_iter().map(OsString::from_vec);
    let op = arguments::op(words).ok_or_else(|| invalid(format!("invalid txn request: {line}")))?;
    let request = match op {
        Op::Get(get) => Request::RequestRange(get.request()?),
        // The input is the script, so there is no value to read from it.
        Op::Put(put) => Request::RequestPut(put.request(|| None)?),
        Op::Del(del) => {
            let request = del.request()?;
            del.warn();
            Request::RequestDeleteRange(request)
        }
    };
    Ok(pb::RequestOp { request: Some(request) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares() {
        let found = |line| compare(line).expect(line);
        let expected =
            |target: CompareTarget, result: CompareResult, key: &'static str, union| pb::Compare {
                result: result as i32,
                target: target as i32,
                key: key.into(),
                target_union: Some(union),
                range_end: bytes::Bytes::new(),
            };
        use CompareResult::*;
        for (line, compare) in [
            (
                r#"mod("key1") > "0""#,
                expected(CompareTarget::Mod, Greater, "key1", TargetUnion::ModRevision(0)),
            ),
            (
                r#"c("a")  !=  "5""#,
                expected(CompareTarget::Create, NotEqual, "a", TargetUnion::CreateRevision(5)),
            ),
            (
                r#"version( "a") < "-1" and more"#,
                expected(CompareTarget::Version, Less, "a", TargetUnion::Version(-1)),
            ),
            (
                r#"val("a\n\x41") = `b"`"#,
                expected(CompareTarget::Value, Equal, "a\nA", TargetUnion::Value("b\"".into())),
            ),
            (
                r#"lease("a") = "1f""#,
                expected(CompareTarget::Lease, Equal, "a", TargetUnion::Lease(0x1f)),
            ),
        ] {
            assert_eq!(found(line), compare, "{line}");
        }
    }

    #[test]
    fn malformed_compares_are_told_in_etcdctls_words() {
        for (line, text) in [
            ("xx", "malformed comparison: xx"),
            (r#"mod("a") > 0"#, r#"malformed comparison: mod("a") > 0; got mod("a") > """#),
            (r#"mod(a) = "1""#, r#"malformed comparison: mod(a) = "1"; got mod("")  """#),
            (
                r#"val( "a" )  =  "b""#,
                r#"malformed comparison: val( "a" )  =  "b"; got val("a")  """#,
            ),
            (r#"foo("a") = "1""#, r#"malformed comparison: foo("a") = "1" (unknown target foo)"#),
            (r#"mod("a") = "x""#, r#"invalid txn compare request: mod("a") = "x""#),
            (r#"val("a") ~ "b""#, r#"malformed comparison: val("a") ~ "b" (unknown operator ~)"#),
            (r#"val("a")="b""#, r#"malformed comparison: val("a")="b"; got val("a") ="b" """#),
        ] {
            assert_eq!(compare(line), Err(text.to_owned()));
        }
    }

    #[test]
    fn operations() {
        let request = |line| op(line).expect(line).request.expect("an operation");
        let Request::RequestPut(put) = request(r#"put k "\xff" --prev-kv"#) else { panic!() };
        assert_eq!((&put.key[..], &put.value[..], put.prev_kv), (&b"k"[..], &b"\xff"[..], true));
        let Request::RequestRange(get) = request("g --prefix a") else { panic!() };
        assert_eq!((&get.key[..], &get.range_end[..]), (&b"a"[..], &b"b"[..]));
        let Request::RequestDeleteRange(del) = request("del a c --range") else { panic!() };
        assert_eq!((&del.key[..], &del.range_end[..]), (&b"a"[..], &b"c"[..]));
    }

    #[test]
    fn bad_operations_are_told_in_etcdctls_words() {
        for (line, code, text) in [
            ("get", 3, "invalid txn compare request: get"),
            ("foo a", 3, "invalid txn request: foo a"),
            ("get a --bogus", 3, "invalid txn request: get a --bogus"),
            ("get a -w json", 3, "invalid txn request: get a -w json"),
            ("txn a", 3, "invalid txn request: txn a"),
            (r#"put a "\q""#, 3, "invalid syntax"),
            ("put a", 128, "put command needs 1 argument and input from stdin or 2 arguments"),
        ] {
            assert_eq!(op(line).expect_err(line), Failure::new(code, text));
        }
    }
}
