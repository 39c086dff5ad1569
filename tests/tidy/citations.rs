//! Citations: what a comment, a case or a document refers to must be there.
//!
//! | form | resolves to |
//! |---|---|
//! | `docs/etcd-semantics.md` | a file, from the root or from the folder of who cites it |
//! | `docs/etcd-semantics.md 4`, `… 1, 4.1 and 7` | headings of it that begin with these numbers |
//! | `docs/etcd-errors.md NoSpace, Corrupt` | rows of its tables |
//! | `section 4`, in a document only | a heading of this document |
//! | a rule: a letter of R, D, W and C with a number | the one row of `docs/invariants.md` with it |
//! | in a document: `src/line/lane.rs`, `tests/sim.rs::name` | a file or folder; a function in it |
//!
//! A citation may go on in the next line of a comment. Addresses of the web are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The document whose tables define the rules.
const RULES: &str = "docs/invariants.md";

/// Letters of rules.
const RULE_LETTERS: &[char] = &['R', 'D', 'W', 'C'];

/// Documents whose rows are cited by name.
const NAMED_ROWS: &[&str] = &["docs/etcd-errors.md"];

/// Folders and files that a document may name as places in the tree.
const PLACES: &[&str] =
    &["src/", "tests/", "benches/", "proto/", "perf/", "docs/", "fuzz/", ".ci/", ".github/"];

/// This file: its examples lead nowhere on purpose.
const THIS: &str = "tests/tidy/citations.rs";

/// Kinds of files that may cite; files without a kind are scripts.
const KINDS: &[&str] = &["rs", "md", "txt", "py", "toml", "yaml", "yml", "proto", "go", "js", ""];

/// The files of the tree that can be cited or that cite.
#[derive(Default)]
pub struct Tree {
    /// Texts by their path from the root.
    texts: BTreeMap<String, String>,
    /// Every file and folder.
    places: BTreeSet<String>,
}

impl Tree {
    /// Reads everything below `root` that is ours.
    pub fn read(root: &Path) -> Tree {
        let mut tree = Tree::default();
        tree.walk(root, "");
        tree
    }

    fn walk(&mut self, root: &Path, folder: &str) {
        for entry in fs::read_dir(root.join(folder)).expect("a folder").map(|e| e.expect("listed"))
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let is_hidden = name.starts_with('.') && name != ".ci" && name != ".github";
            if is_hidden || ["target", "node_modules"].contains(&name.as_str()) {
                continue;
            }
            self.places.insert(path.clone());
            if entry.path().is_dir() {
                if name != "results" {
                    self.walk(root, &path);
                }
            } else if KINDS.contains(&kind(&name))
                && path != THIS
                && let Ok(text) = fs::read_to_string(entry.path())
            {
                self.texts.insert(path, text);
            }
        }
    }

    /// Every citation of the tree that leads nowhere, and every rule that is defined twice.
    pub fn violations(&self) -> Vec<String> {
        let mut found = self.rules_defined_twice();
        let rules = self.rules();
        for (path, text) in &self.texts {
            found.extend(self.citations(path, text, &rules));
        }
        found
    }

    fn rules(&self) -> BTreeSet<&str> {
        self.texts
            .get(RULES)
            .map(|text| rows(text).filter(|row| is_rule(row)).collect())
            .unwrap_or_default()
    }

    fn rules_defined_twice(&self) -> Vec<String> {
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        let text = self.texts.get(RULES).map_or("", String::as_str);
        for rule in rows(text).filter(|row| is_rule(row)) {
            if !seen.insert(rule) {
                found.push(format!("{RULES}: {rule} is defined twice"));
            }
        }
        found
    }

    fn citations(&self, path: &str, text: &str, rules: &BTreeSet<&str>) -> Vec<String> {
        let (joined, starts) = join_lines(text);
        let is_document = kind(path) == "md";
        let mut found = Vec::new();
        let mut report = |at: usize, what: String| {
            let line = starts.partition_point(|&start| start <= at);
            found.push(format!("{path}:{line}: {what}"));
        };
        for (at, word) in words(&joined) {
            let after = &joined[at + word.len()..];
            if word.ends_with(".md") {
                match self.document(path, word) {
                    Some(cited) => {
                        for missing in self.missing_parts(&cited, after) {
                            report(at, format!("{cited} has no {missing}"));
                        }
                    }
                    None => report(at, format!("{word} is not there")),
                }
            } else if word == "section" {
                for number in numbers(after) {
                    if !is_document {
                        report(at, format!("section {number} of what? Say docs/NAME.md {number}"));
                    } else if !headings(text).contains(number) {
                        report(at, format!("{path} has no section {number}"));
                    }
                }
            } else if cites_rules(path) && word.split('/').all(is_rule) {
                for rule in word.split('/').filter(|rule| !rules.contains(rule)) {
                    report(at, format!("{rule} is not in {RULES}"));
                }
            } else if is_document
                && PLACES.iter().any(|place| word.starts_with(place))
                && let Some(what) = self.missing_place(word)
            {
                report(at, what);
            }
        }
        found
    }

    /// The document that `word` names in the file at `path`.
    fn document(&self, path: &str, word: &str) -> Option<String> {
        let beside = path.rsplit_once('/').map_or(word.to_owned(), |(folder, _)| {
            let mut folder: Vec<&str> = folder.split('/').collect();
            let mut rest = word;
            while let Some(above) = rest.strip_prefix("../") {
                folder.pop();
                rest = above;
            }
            folder.push(rest);
            folder.join("/")
        });
        [beside, word.to_owned()].into_iter().find(|place| self.places.contains(place))
    }

    /// Sections and rows that a citation names behind the document and that it does not have.
    fn missing_parts(&self, document: &str, after: &str) -> Vec<String> {
        let text = self.texts.get(document).map_or("", String::as_str);
        let mut missing = Vec::new();
        let headings = headings(text);
        for number in numbers(after).filter(|number| !headings.contains(number)) {
            missing.push(format!("section {number}"));
        }
        if NAMED_ROWS.contains(&document) {
            let rows: BTreeSet<&str> = rows(text).collect();
            for name in names(after).filter(|name| !rows.contains(name)) {
                missing.push(format!("row {name}"));
            }
        }
        missing
    }

    /// Why a place in the tree is not there.
    fn missing_place(&self, word: &str) -> Option<String> {
        let (path, function) = word.split_once("::").map_or((word, None), |(p, f)| (p, Some(f)));
        let path = path.trim_end_matches('/');
        if !self.places.contains(path) {
            return Some(format!("{path} is not there"));
        }
        let function = function?.rsplit("::").next()?;
        let text = self.texts.get(path).map_or("", String::as_str);
        let is_there = text.contains(&format!("fn {function}("));
        (!is_there).then(|| format!("{path} has no function {function}"))
    }
}

/// Only our own code and the documents speak of rules.
fn cites_rules(path: &str) -> bool {
    let is_code = kind(path) == "rs" && (path.starts_with("src/") || path.starts_with("tests/"));
    is_code || path == "ARCHITECTURE.md" || (path.starts_with("docs/") && kind(path) != "txt")
}

fn kind(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map_or("", |(_, kind)| kind)
}

/// `R1`: a letter and a number of one or two digits.
fn is_rule(word: &str) -> bool {
    let digits = word.strip_prefix(RULE_LETTERS).unwrap_or("");
    (1..=2).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
}

/// The first cells of all rows of tables, without marks.
fn rows(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let cell = line.strip_prefix('|')?.split('|').next()?;
        Some(cell.trim().trim_matches(['*', '`']))
    })
}

/// The numbers with which headings begin.
fn headings(text: &str) -> BTreeSet<&str> {
    let heads = text.lines().filter(|line| line.starts_with('#'));
    heads
        .filter_map(|line| line.trim_start_matches('#').split_whitespace().next())
        .map(|number| number.trim_end_matches('.'))
        .filter(|number| number.starts_with(|c: char| c.is_ascii_digit()))
        .collect()
}

/// The list that follows a citation, `1, 4.1 and 7` or `NoSpace, Corrupt`: what of it `accept`
/// takes, up to the first word that it does not.
fn list(after: &str, accept: fn(&str) -> bool) -> impl Iterator<Item = &str> {
    // A link shows its text first: `[docs/x.md](x.md) 4`.
    let after = match after.strip_prefix("](") {
        Some(target) => target.split_once(')').map_or("", |(_, rest)| rest),
        None => after,
    };
    let mut rest = after.trim_start_matches(['`', '*']);
    let mut is_first = true;
    std::iter::from_fn(move || {
        let comma = rest.strip_prefix(", ").filter(|_| !is_first);
        let begins = comma.or(rest.strip_prefix(' '))?;
        is_first = false;
        let begins = ["and ", "to ", "or "]
            .iter()
            .find_map(|joint| begins.strip_prefix(joint))
            .unwrap_or(begins);
        let end =
            begins.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(begins.len());
        let item = begins[..end].trim_end_matches('.');
        if !accept(item) {
            return None;
        }
        rest = &begins[item.len()..];
        Some(item)
    })
}

fn numbers(after: &str) -> impl Iterator<Item = &str> {
    list(after, |item| {
        item.starts_with(|c: char| c.is_ascii_digit())
            && item.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

fn names(after: &str) -> impl Iterator<Item = &str> {
    list(after, |item| {
        item.starts_with(|c: char| c.is_ascii_uppercase())
            && item.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Words with where they stand: paths, names and numbers. Addresses of the web are none.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let part = |c: char| c.is_alphanumeric() || "_./-:%".contains(c);
    let mut at = 0;
    std::iter::from_fn(move || {
        at += text[at..].find(part)?;
        let length = text[at..].find(|c| !part(c)).unwrap_or(text.len() - at);
        let word = (at, &text[at..at + length]);
        at += length;
        Some(word)
    })
    .filter(|(_, word)| !word.contains("://"))
    .map(|(at, word)| (at, word.trim_end_matches(['.', ':', '-', '%'])))
}

/// The text in one line, without the marks of comments, and where each of its lines begins.
fn join_lines(text: &str) -> (String, Vec<usize>) {
    let (mut joined, mut starts) = (String::with_capacity(text.len()), Vec::new());
    for line in text.lines() {
        starts.push(joined.len());
        let line = line.trim();
        let line = ["//!", "///", "//", "# "]
            .iter()
            .find_map(|mark| line.strip_prefix(mark))
            .unwrap_or(line);
        joined.push_str(line.trim_start());
        joined.push(' ');
    }
    (joined, starts)
}

/// Each form, on files that do not exist.
mod forms {
    use super::*;

    const SEMANTICS: &str =
        "# What etcd does\n\n## 1. Headers\n\n### 1.1 Inside a txn\n\n## 4. Txn\n";
    const ERRORS: &str =
        "## 1. Named\n\n| name | code |\n|---|---|\n| NoSpace | 8 |\n| Corrupt | 15 |\n";
    const INVARIANTS: &str = "| rule | text |\n|---|---|\n| **R1** | once |\n| C20 | later |\n";

    fn check(path: &str, text: &str) -> Vec<String> {
        let mut tree = Tree::default();
        for (path, text) in [
            ("docs/etcd-semantics.md", SEMANTICS),
            ("docs/etcd-errors.md", ERRORS),
            ("docs/invariants.md", INVARIANTS),
            ("src/line/lane.rs", "fn take(&mut self) {}\n"),
            ("tests/sim.rs", "fn seeds_hold() {}\n"),
            ("README.md", ""),
            (path, text),
        ] {
            tree.texts.insert(path.to_owned(), text.to_owned());
            let ends = path.match_indices('/').map(|(at, _)| &path[..at]);
            tree.places.extend(ends.chain([path]).map(str::to_owned));
        }
        tree.violations()
    }

    fn one(path: &str, text: &str) -> String {
        let found = check(path, text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        found.into_iter().next().expect("one")
    }

    #[test]
    fn a_document_that_is_cited_is_there() {
        assert!(check("src/a.rs", "//! See docs/etcd-semantics.md.\n").is_empty());
        let gone = one("src/a.rs", "//! A file.\n// (semantics.md 4)\n");
        assert_eq!(gone, "src/a.rs:2: semantics.md is not there");
        assert!(one("src/a.rs", "// etcd-semantics.md 4").contains("is not there"));
        assert!(check("docs/b.md", "[it](etcd-errors.md), ../README.md").is_empty());
        assert!(one("docs/b.md", "[it](../gone.md)").contains("../gone.md is not there"));
        assert!(check("docs/b.md", "<https://example.com/gone.md>").is_empty());
    }

    #[test]
    fn sections_that_are_cited_are_there() {
        let fine = "# (docs/etcd-semantics.md 1, 1.1 and 4; docs/etcd-errors.md 1).\n";
        assert!(check("tests/cases/a.txt", fine).is_empty());
        let gone = one("tests/cases/a.txt", "# (docs/etcd-semantics.md 1, 5).");
        assert_eq!(gone, "tests/cases/a.txt:1: docs/etcd-semantics.md has no section 5");
        let wrapped = one("src/a.rs", "//! (docs/etcd-semantics.md\n//! 7)\n");
        assert_eq!(wrapped, "src/a.rs:1: docs/etcd-semantics.md has no section 7");
        let linked = "[docs/etcd-semantics.md](docs/etcd-semantics.md) 9";
        assert!(one("a.md", linked).contains("section 9"));
        assert!(check("a.md", "docs/etcd-semantics.md, 3 pages long").is_empty());
    }

    #[test]
    fn rows_that_are_cited_are_there() {
        assert!(check("src/a.rs", "// docs/etcd-errors.md NoSpace,\n// Corrupt)").is_empty());
        let gone = one("src/a.rs", "// docs/etcd-errors.md Corrupt, OutOfTime");
        assert!(gone.ends_with("docs/etcd-errors.md has no row OutOfTime"));
        assert!(check("src/a.rs", "// docs/etcd-semantics.md Txn").is_empty());
    }

    #[test]
    fn a_section_says_of_which_document() {
        assert!(one("src/a.rs", "// design, section 7").contains("Say docs/NAME.md 7"));
        assert!(check("src/a.rs", "// a section of seven lines").is_empty());
        let own = "## 1. Words\n\nAs section 1 says, sections are numbered.\n";
        assert!(check("docs/b.md", own).is_empty());
        assert!(one("docs/b.md", "## 1. Words\n\nSee section 2.").contains("has no section 2"));
    }

    #[test]
    fn a_rule_is_defined_once() {
        assert!(check("src/a.rs", "// R1 holds.\nassert!(a, \"R1: it does\"); // C20").is_empty());
        assert!(one("src/a.rs", "// R10 and R1").ends_with("R10 is not in docs/invariants.md"));
        assert!(one("tests/a.rs", "f(\"D4: harm\")").contains("D4 is not in"));
        assert!(one("docs/model/a.py", "# R1/R4: a prefix").contains("R4 is not in"));
        for text in ["// %C3%BC, R0, R123, XR1, R1a, 0xD1", "// W is a letter"] {
            assert!(check("src/a.rs", text).is_empty(), "{text}");
        }
        assert!(check("perf/a.md", "R7 and D9").is_empty());
        let twice = one("docs/invariants.md", "| R1 | a |\n| R2 | b |\n| R1 | c |\n");
        assert_eq!(twice, "docs/invariants.md: R1 is defined twice");
    }

    #[test]
    fn places_that_documents_name_are_there() {
        let fine = "`src/line/lane.rs`, [it](src/line), src/line/, `tests/sim.rs::seeds_hold`.";
        assert!(check("docs/b.md", fine).is_empty());
        assert!(one("docs/b.md", "`src/line/lost.rs`").contains("src/line/lost.rs is not there"));
        let gone = one("docs/b.md", "`tests/sim.rs::seeds_fall`");
        assert!(gone.ends_with("tests/sim.rs has no function seeds_fall"));
        assert!(check("src/a.rs", "// src/line/lost.rs").is_empty());
    }
}
