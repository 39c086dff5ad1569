//! The documents about etcd and the code that reproduces it name the same things.
//!
//! | in the code | in the document |
//! |---|---|
//! | every text that begins with `etcdserver: ` | a text in `docs/etcd-errors.md` |
//! | every flag of etcd's in `src/config/table` | a flag in `docs/etcd-flags.md`, and the other way round |
//! | every metric of etcd's in `src/observe/scrape.rs` | a name in `docs/etcd-metrics.md` |

use std::collections::BTreeSet;

/// Texts of errors in `code` that `document` does not have. A text with a place for a value is
/// looked for up to that place.
pub fn unknown_errors(code: &str, document: &str) -> Vec<String> {
    let known = document.replace("`~ ", "`etcdserver: ");
    let texts = literals(code).filter_map(|text| {
        let text = text.split('{').next().unwrap_or("");
        let says_something = text.strip_prefix("etcdserver: ").is_some_and(|rest| !rest.is_empty());
        says_something.then_some(text)
    });
    texts.filter(|text| !known.contains(text)).map(str::to_owned).collect()
}

/// Flags that only one of table and document has.
pub fn unknown_flags(table: &str, document: &str) -> Vec<String> {
    let in_table: BTreeSet<&str> = ["served(", "inert(", "absent("]
        .iter()
        .flat_map(|call| table.split(call).skip(1))
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .collect();
    let rows = document.lines().filter(|line| line.starts_with("| --"));
    let in_document: BTreeSet<&str> = rows
        .filter_map(|row| row.trim_start_matches("| ").split(" |").next())
        .flat_map(|cell| cell.split(", "))
        .map(|flag| flag.trim_start_matches("--"))
        .collect();
    in_table.symmetric_difference(&in_document).map(|flag| (*flag).to_owned()).collect()
}

/// Metrics that `document` does not name. Its table of debugging metrics leaves the prefix out.
pub fn unknown_metrics(code: &str, document: &str) -> Vec<String> {
    let known: BTreeSet<&str> = names(document).collect();
    let shown = literals(code).filter(|text| {
        let is_etcds = text.starts_with("etcd_") || text.starts_with("grpc_server_");
        is_etcds && names(text).count() == 1
    });
    shown
        .filter(|name| {
            let short = name.strip_prefix("etcd_debugging_").unwrap_or(name);
            !known.contains(name) && !known.contains(short)
        })
        .map(str::to_owned)
        .collect()
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|name| !name.is_empty())
}

/// The contents of string literals that hold no quotes, which is all that is looked for.
fn literals(code: &str) -> impl Iterator<Item = &str> {
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split('"').skip(1).step_by(2))
}

/// Each comparison, on texts that are made up.
mod comparisons {
    use super::*;

    #[test]
    fn an_error_that_no_document_has_is_found() {
        let document =
            "| KeyNotFound | 3 | `~ key not found` | |\n| Unknown 2 | `etcdserver: x y` |";
        let fine = "f(\"etcdserver: key not found\", \"etcdserver: x y\");\n// \"etcdserver: z\"";
        assert!(unknown_errors(fine, document).is_empty());
        assert!(unknown_errors("starts_with(\"etcdserver: \")", document).is_empty());
        assert!(unknown_errors("\"etcdserver: key {name}\"", document).is_empty());
        let gone = unknown_errors("\"etcdserver: key is gone\"", document);
        assert_eq!(gone, ["etcdserver: key is gone"]);
    }

    #[test]
    fn a_flag_on_one_side_only_is_found() {
        let table = "served(\"name\", a), inert(\n    \"max-wals\", b), own(\"cores\")";
        let document = "| flag | default |\n|---|---|\n| --name, --max-wals | x |\n";
        assert!(unknown_flags(table, document).is_empty());
        assert_eq!(unknown_flags("served(\"name\")", document), ["max-wals"]);
        assert_eq!(unknown_flags(&format!("{table} absent(\"cors\")"), document), ["cors"]);
    }

    #[test]
    fn a_metric_that_no_document_has_is_found() {
        let document = "| etcd_mvcc_put_total, etcd_x | counter |\n| mvcc_keys_total | gauge |\n";
        let fine = "f(\"etcd_x\", \"Words.\"); g(\"etcd_debugging_mvcc_keys_total\", \"braid_y\")";
        assert!(unknown_metrics(fine, document).is_empty());
        assert_eq!(unknown_metrics("\"etcd_mvcc_put\"", document), ["etcd_mvcc_put"]);
    }
}
