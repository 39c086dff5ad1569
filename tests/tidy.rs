//! The linter, as a test: it reads the tree and holds it to the rules of the house.
//!
//! | rule | where |
//! |---|---|
//! | a line has 100 characters at most (table rows and expected texts aside) | everywhere |
//! | a function has 70 lines at most, a file 800 | code that is no test |
//! | a file opens with `//!` | everywhere |
//! | nothing is left undone | everywhere |
//! | items have no name that says nothing | pure rooms |
//! | no clock, no I/O, no thread, no log line, no async | pure rooms |
//! | a room imports only what the table in ARCHITECTURE.md allows it, and all of that | rooms |
//! | the files of a room do not import each other in a circle (see `tidy/circles.rs`) | rooms |
//! | a fenced crate is named only by its room ([`FENCES`]) | rooms and binaries |
//! | what is cited is there (see `tidy/citations.rs`) | code, cases, scripts and documents |
//! | what etcd has is documented (see `tidy/specification.rs`) | errors, flags and metrics |
//!
//! Tests inside rooms are exempt from all but the first, third and fourth. Every rule has a test of
//! its own below, on made-up snippets.

mod tidy {
    pub mod circles;
    pub mod citations;
    pub mod source;
    pub mod specification;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tidy::circles::Circles;
use tidy::source::Source;

const LINE_CHARS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;

/// A room, as the table in ARCHITECTURE.md describes it.
struct Room {
    name: &'static str,
    /// Whether it must be synchronous and deterministic.
    is_pure: bool,
    /// The rooms that it may import besides itself.
    may_use: BTreeSet<&'static str>,
}

/// The rooms that every room may import but those that may use nothing.
const SHARED: [&str; 2] = ["types", "limits"];

/// The table of rooms in ARCHITECTURE.md.
fn map() -> &'static [Room] {
    static MAP: OnceLock<Vec<Room>> = OnceLock::new();
    MAP.get_or_init(|| read_map(include_str!("../ARCHITECTURE.md")))
}

/// Reads `| rooms | pure | what they are | what they may use |`.
fn read_map(text: &'static str) -> Vec<Room> {
    let rows = text.lines().skip_while(|line| !line.starts_with("| room |")).skip(2);
    let mut rooms = Vec::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [names, pure, _, uses] = cells[..] else {
            panic!("ARCHITECTURE.md: a row of the table of rooms has other columns: {row}");
        };
        let mut may_use: BTreeSet<&str> = words(uses).collect();
        if !may_use.remove("nothing") {
            may_use.extend(SHARED);
        }
        for name in words(names) {
            rooms.push(Room { name, is_pure: pure == "pure", may_use: may_use.clone() });
        }
    }
    rooms
}

/// Permissions of the map that no room makes use of; `used` has what each one imports.
fn unused(map: &[Room], used: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut found = Vec::new();
    for room in map {
        let used = used.get(room.name);
        for other in room.may_use.iter().filter(|other| !SHARED.contains(other)) {
            if !used.is_some_and(|used| used.contains(*other)) {
                found.push(format!("ARCHITECTURE.md: {} may use {other} and does not", room.name));
            }
        }
    }
    found
}

/// A crate, and the rooms that may name it.
const FENCES: &[(&str, &[&str])] = &[
    ("glommio", &["rt", "load"]),
    ("io_uring", &["rt"]),
    ("raft", &["raft"]),
    ("raft_proto", &["raft"]),
];

/// Circles of imports that are still there: the room, how many, and why.
const KNOWN_CIRCLES: &[(&str, usize, &str)] = &[
    ("client", 1, "the transports and what is common to them"),
    ("config", 1, "the table of flags and its parts"),
    ("ctl", 2, "the globals and the commands, the forms of output"),
    ("load", 3, "the plan and the outcome of a run"),
    ("member", 1, "the leader and its leases"),
    ("process", 1, "the parts of the process"),
    ("protocol", 2, "a txn is decoded as a tree; encoders share the header"),
    ("rt", 2, "the disk and its thread, the executor and its reactor"),
    ("server", 1, "the front and the transports"),
    ("shard", 1, "jobs of a shard"),
    ("sim", 2, "the world and its checks"),
    ("store", 1, "reads and the store"),
    ("watch", 1, "the hub and what it emits"),
];

/// Words that a pure room's code must not hold, and macros that it must not call.
const IMPURE: &[&str] = &["async", "await", "println!", "eprintln!", "print!", "eprint!"];

/// Parts of `std` that a pure room must not name.
const IMPURE_STD: &[&str] = &["time", "fs", "net", "thread", "env"];

/// Words that say nothing in the name of an item.
const EMPTY_WORDS: &[&str] =
    &["manager", "handler", "helper", "helpers", "util", "utils", "context", "data", "info"];

/// Whole names that say nothing.
const EMPTY_NAMES: &[&str] = &["process", "handle", "new2"];

/// Names that somebody else has given: gRPC a code, raft-rs a field, HTTP/2 a frame.
const GIVEN_NAMES: &[&str] = &["DATA_LOSS", "CONTEXT_BYTES_MAX", "DATA"];

/// Split so that this file does not hold them.
const UNDONE: &[&str] = &[
    concat!("FIX", "ME"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("db", "g!"),
];

#[test]
fn the_tree_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "examples", "build.rs"] {
        collect(&root.join(folder), &mut files);
    }
    assert!(files.len() > 20, "the tree was not found: {} files", files.len());
    let (mut found, mut used) = (Vec::new(), BTreeMap::<String, BTreeSet<String>>::new());
    for file in files {
        let path = file.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
        found.extend(violations(&path, &text));
        if let Some(room) = room_of(&path).filter(|_| !is_test_file(&path)) {
            let Ok(source) = Source::parse(&text) else { continue };
            used.entry(room.to_owned()).or_default().extend(source.names_below("crate"));
        }
    }
    found.extend(unused(map(), &used));
    assert!(found.is_empty(), "{} untidy places:\n{}", found.len(), found.join("\n"));
}

#[test]
fn no_files_of_a_room_import_each_other_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut files, mut circles) = (Vec::new(), Circles::default());
    collect(&root.join("src"), &mut files);
    for file in files {
        let path = file.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
        if room_of(&path).is_some() && !is_test_file(&path) {
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
            circles.add(&path, &Source::parse(&text).expect("the_tree_is_tidy says why"));
        }
    }
    let circles = circles.circles();
    let mut found = Vec::new();
    for room in map() {
        let here: Vec<String> = circles
            .iter()
            .filter(|circle| room_of(&circle[0]) == Some(room.name))
            .map(|circle| circle.join(", "))
            .collect();
        let known = KNOWN_CIRCLES.iter().find(|(name, ..)| *name == room.name);
        let known = known.map_or(0, |(_, count, _)| *count);
        if here.len() != known {
            let (name, count) = (room.name, here.len());
            found.push(format!("{name}: {count} circles, {known} known:\n  {}", here.join("\n  ")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn what_is_cited_is_there() {
    let found = tidy::citations::Tree::read(Path::new(env!("CARGO_MANIFEST_DIR"))).violations();
    assert!(found.is_empty(), "{} citations lead nowhere:\n{}", found.len(), found.join("\n"));
}

#[test]
fn what_etcd_has_is_documented() {
    use tidy::specification::{unknown_errors, unknown_flags, unknown_metrics};
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |path: &str| fs::read_to_string(root.join(path)).expect(path);
    let code = |folder: &str| {
        let mut files = Vec::new();
        collect(&root.join(folder), &mut files);
        files.iter().map(|file| fs::read_to_string(file).expect("code")).collect::<String>()
    };
    let errors = unknown_errors(&code("src"), &text("docs/etcd-errors.md"));
    assert!(errors.is_empty(), "not in docs/etcd-errors.md: {errors:?}");
    let flags = unknown_flags(&code("src/config/table"), &text("docs/etcd-flags.md"));
    assert!(flags.is_empty(), "only in src/config/table or in docs/etcd-flags.md: {flags:?}");
    let metrics = unknown_metrics(&text("src/observe/scrape.rs"), &text("docs/etcd-metrics.md"));
    assert!(metrics.is_empty(), "not in docs/etcd-metrics.md: {metrics:?}");
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path.to_path_buf());
        }
        return;
    }
    let Ok(entries) = fs::read_dir(path) else {
        return;
    };
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.expect("listed").path()).collect();
    entries.sort();
    for entry in entries {
        let name = entry.file_name().expect("listed").to_string_lossy().into_owned();
        if !name.starts_with('.') && name != "target" && name != "node_modules" {
            collect(&entry, files);
        }
    }
}

/// Everything that is wrong with one file.
fn violations(path: &str, text: &str) -> Vec<String> {
    let source = match Source::parse(text) {
        Ok(source) => source,
        Err(error) => return vec![format!("{path}:{error}")],
    };
    let mut found = Vec::new();
    long_lines(path, text, &source, &mut found);
    if !text.starts_with("//!") {
        found.push("1: does not open with //!".to_string());
    }
    undone(text, &source, &mut found);
    if !is_test_file(path) {
        let lines = text.lines().count() - source.test_lines();
        if lines > FILE_LINES_MAX {
            found.push(format!("1: {lines} lines without tests, of {FILE_LINES_MAX}"));
        }
        long_functions(&source, &mut found);
        fences(path, &source, &mut found);
        rooms(path, &source, &mut found);
    }
    found.into_iter().map(|violation| format!("{path}:{violation}")).collect()
}

fn rooms(path: &str, source: &Source, found: &mut Vec<String>) {
    let Some(name) = room_of(path) else {
        return;
    };
    let Some(room) = map().iter().find(|room| room.name == name) else {
        return found.push(format!("1: room {name} is not in the table of ARCHITECTURE.md"));
    };
    imports(path, room, source, found);
    if room.is_pure {
        empty_names(source, found);
        impure(source, found);
    }
}

/// `src/store/tree.rs` and `src/limits.rs` belong to rooms; binaries, `lib.rs` and tests do not.
fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let name = inside.split('/').next()?.trim_end_matches(".rs");
    (!matches!(name, "bin" | "lib" | "main")).then_some(name)
}

fn is_test_file(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').collect();
    let file = parts.pop().unwrap_or("");
    file == "tests.rs" || file.ends_with("_tests.rs") || parts.contains(&"tests")
}

fn long_lines(path: &str, text: &str, source: &Source, found: &mut Vec<String>) {
    for (number, line) in (1..).zip(text.lines()) {
        let chars = line.chars().count();
        if chars <= LINE_CHARS_MAX {
            continue;
        }
        let start = line.trim_start();
        // A row of a Markdown table cannot be broken, nor what a test expects word for word.
        let is_row = start.starts_with("//! |") || start.starts_with("/// |");
        let is_literal = is_test_file(path)
            && !line.contains("//")
            && source.code_chars(number) < LINE_CHARS_MAX / 2;
        if !is_row && !is_literal {
            found.push(format!("{number}: {chars} characters, of {LINE_CHARS_MAX}"));
        }
    }
}

fn undone(text: &str, source: &Source, found: &mut Vec<String>) {
    for word in UNDONE {
        // A macro only counts where it is called, a word anywhere.
        let lines = if word.ends_with('!') {
            source.lines_of(word)
        } else {
            let lines = (1..).zip(text.lines());
            lines.filter(|(_, line)| line.contains(word)).map(|(number, _)| number).collect()
        };
        found.extend(lines.into_iter().map(|line| format!("{line}: {word}")));
    }
}

fn long_functions(source: &Source, found: &mut Vec<String>) {
    for item in source.items.iter().filter(|item| item.keyword == "fn") {
        let lines = item.last_line - item.first_line + 1;
        if lines > FUNCTION_LINES_MAX {
            let (line, name) = (item.first_line, &item.name);
            found.push(format!("{line}: fn {name} has {lines} lines, of {FUNCTION_LINES_MAX}"));
        }
    }
}

/// Names of items: functions, types, modules, constants.
fn empty_names(source: &Source, found: &mut Vec<String>) {
    for item in source.items.iter().filter(|item| !GIVEN_NAMES.contains(&item.name.as_str())) {
        let (line, keyword, name) = (item.first_line, item.keyword, &item.name);
        let lower = snake(name);
        let word = lower.split('_').find(|word| EMPTY_WORDS.contains(word));
        let whole = EMPTY_NAMES.contains(&lower.as_str()) || lower.starts_with("do_");
        if let Some(word) = word.or(whole.then_some(name)) {
            found.push(format!("{line}: {keyword} {name}: {word}"));
        }
    }
}

fn impure(source: &Source, found: &mut Vec<String>) {
    for word in IMPURE {
        for line in source.lines_of(word) {
            found.push(format!("{line}: {word} in a pure room"));
        }
    }
    for path in &source.paths {
        let at = |number: usize| path.segments.get(number).map_or("", String::as_str);
        // A length of time is no clock.
        let is_duration = at(1) == "time" && at(2) == "Duration";
        if at(0) == "std" && IMPURE_STD.contains(&at(1)) && !is_duration {
            found.push(format!("{}: std::{} in a pure room", path.line, at(1)));
        }
        if at(0) == "tracing" && path.segments.len() > 1 {
            found.push(format!("{}: tracing in a pure room", path.line));
        }
    }
}

fn fences(path: &str, source: &Source, found: &mut Vec<String>) {
    let room = room_of(path).unwrap_or("");
    for (name, rooms) in FENCES.iter().filter(|(_, rooms)| !rooms.contains(&room)) {
        // Our own room of the same name may be imported and then stand at the start of a path.
        let own_room = map().iter().any(|room| room.name == *name)
            && ["crate", "braid", "super"]
                .iter()
                .any(|root| source.names_below(root).contains(*name));
        for path in &source.paths {
            let is_global = path.segments[0].is_empty();
            let segments = &path.segments[usize::from(is_global)..];
            let is_used = segments.first().is_some_and(|first| first == name)
                && (segments.len() > 1 || path.is_import || is_global);
            if is_used && (is_global || !own_room) {
                let rooms = rooms.join(", ");
                found.push(format!("{}: {name} is named only in {rooms}", path.line));
            }
        }
    }
}

fn imports(path: &str, room: &Room, source: &Source, found: &mut Vec<String>) {
    // Modules between the file and the crate: as many `super`s lead out of the room.
    let depth = path.matches('/').count() - usize::from(path.ends_with("/mod.rs"));
    let mut seen = BTreeSet::new();
    for path in &source.paths {
        let (line, segments) = (path.line, &path.segments);
        if let [root, name, ..] = &segments[..]
            && root == "crate"
            && map().iter().any(|other| other.name == name)
            && name != room.name
            && !room.may_use.contains(name.as_str())
            && seen.insert(name.clone())
        {
            found.push(format!("{line}: {} imports {name}", room.name));
        }
        let ups = segments.iter().take_while(|segment| *segment == "super").count();
        if ups >= depth && segments.len() > ups && !source.is_in_inline_module(path) {
            let way_out = vec!["super"; depth].join("::");
            found.push(format!("{line}: {way_out} leaves the room; say crate::"));
        }
    }
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// `FrameHandler` as `frame_handler`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    let mut after_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && after_lower {
            snake.push('_');
        }
        after_lower = c.is_lowercase() || c.is_ascii_digit();
        snake.extend(c.to_lowercase());
    }
    snake
}

/// The rules, one by one, on files that do not exist.
mod rules {
    use super::*;

    fn check(path: &str, body: &str) -> Vec<String> {
        violations(path, &format!("//! A file.\n{body}"))
    }

    fn one(path: &str, body: &str) -> String {
        let found = check(path, body);
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().expect("one")
    }

    #[test]
    fn lines_have_a_length() {
        let fits = "x".repeat(LINE_CHARS_MAX);
        assert!(check("src/store/a.rs", &format!("// {}", &fits[3..])).is_empty());
        assert!(one("src/store/a.rs", &format!("// {fits}")).starts_with("src/store/a.rs:2: 103"));
        assert!(check("src/store/a.rs", &format!("//! | {fits} |")).is_empty());
        let expected = format!("m!(\"{fits}\");");
        assert!(check("src/store/tests.rs", &expected).is_empty());
        assert!(one("src/store/a.rs", &expected).contains("107 characters"));
        assert!(one("src/store/tests.rs", &format!("fn {fits}() {{}}")).contains("characters"));
    }

    #[test]
    fn files_open_with_what_they_are() {
        let found = violations("src/store/a.rs", "use std::fmt;\n");
        assert_eq!(found, ["src/store/a.rs:1: does not open with //!"]);
    }

    #[test]
    fn files_have_a_size_without_their_tests() {
        let lines = "struct S;\n".repeat(FILE_LINES_MAX - 1);
        assert!(check("src/store/a.rs", &lines).is_empty());
        let tests = "#[cfg(test)]\nmod tests {\n    const A: u8 = 1;\n}\n";
        assert!(check("src/store/a.rs", &format!("{lines}{tests}")).is_empty());
        assert!(one("src/store/a.rs", &format!("{lines}struct T;\n")).contains("801 lines"));
        for test_file in ["src/store/tests.rs", "src/store/tree_tests.rs", "tests/a.rs"] {
            assert!(check(test_file, &lines.repeat(2)).is_empty());
        }
    }

    #[test]
    fn functions_have_a_length() {
        let body = "    let _ = \"{ }\"; // }\n".repeat(FUNCTION_LINES_MAX - 2);
        assert!(check("src/rt/a.rs", &format!("fn fits() {{\n{body}}}\n")).is_empty());
        let long = format!("fn long(a: [u8; 2]) -> fn(u8) {{\n{body}\n}}\n");
        assert_eq!(one("src/rt/a.rs", &long), "src/rt/a.rs:2: fn long has 71 lines, of 70");
        assert!(
            check("src/rt/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{long}}}\n")).is_empty()
        );
        assert!(check("src/rt/a.rs", "trait T {\n    fn declared(&self);\n}\n").is_empty());
    }

    #[test]
    fn nothing_is_left_undone() {
        for word in UNDONE {
            let call = if word.ends_with('!') { "()" } else { "" };
            let (start, end) = if call.is_empty() { ("// ", "") } else { ("", ";") };
            let found = one("tests/a.rs", &format!("{start}{word}{call}{end}\n"));
            assert_eq!(found, format!("tests/a.rs:2: {word}"));
        }
        let quoted = format!("const A: &str = \"{}\";\n", UNDONE[1]);
        assert!(check("src/store/a.rs", &quoted).is_empty());
    }

    #[test]
    fn names_in_pure_rooms_say_something() {
        for (item, word) in [
            ("struct LeaseManager;", "manager"),
            ("fn handle() {}", "handle"),
            ("fn do_it() {}", "do_it"),
            ("mod utils {}", "utils"),
            ("enum WatchContext {}", "context"),
        ] {
            assert!(one("src/store/a.rs", item).ends_with(&format!(": {word}")), "{item}");
            assert!(check("src/rt/a.rs", item).is_empty());
        }
        for fine in [
            "const DATA_LOSS: u8 = 15;",
            "fn handles() {}",
            "struct Database;",
            "fn f(data: u8) {}",
            "const fn a() {}",
        ] {
            assert!(check("src/store/a.rs", fine).is_empty(), "{fine}");
        }
    }

    #[test]
    fn pure_rooms_do_nothing_but_compute() {
        for code in [
            "async fn f() {}",
            "use std::time::Instant;",
            "use std::{fmt, time::SystemTime};",
            "use std::time::{Duration, Instant};",
            "use std::time;",
            "fn f() { std::fs::read(\"x\"); }",
            "use std::net::IpAddr;",
            "fn f() { std::thread::yield_now(); }",
            "fn f() { println!(); }",
            "fn f() { tracing::info!(\"x\"); }",
        ] {
            assert!(one("src/line/a.rs", code).ends_with("in a pure room"), "{code}");
            assert!(check("src/rt/a.rs", code).is_empty(), "{code}");
            let test = format!("#[cfg(test)]\nmod tests {{\n{code}\n}}");
            assert!(check("src/line/a.rs", &test).is_empty(), "{code}");
        }
        assert!(check("src/line/a.rs", "use std::{fmt, time::Duration};").is_empty());
        assert!(check("src/line/a.rs", "// async std::fs\nfn asynchronous() {}").is_empty());
    }

    #[test]
    fn rooms_import_what_they_may() {
        let found = one("src/store/tree.rs", "\nuse crate::raft::Node;");
        assert_eq!(found, "src/store/tree.rs:3: store imports raft");
        for code in [
            "use crate::{types::Blob, wal::{Record, store::X}};",
            "use crate::{\n    limits,\n    wal,\n};",
            "fn f() { crate::wal::open(); }",
        ] {
            assert!(one("src/store/a.rs", code).ends_with("store imports wal"), "{code}");
        }
        assert!(one("src/types/a.rs", "use crate::limits::X;").ends_with("types imports limits"));
        assert!(
            check("src/store/a.rs", "use crate::{limits, store::Tree, types::Blob};").is_empty()
        );
        assert!(check("src/member/a.rs", "use crate::{router, shard::Shard};").is_empty());
        assert!(check("src/bin/braid.rs", "use braid::{rt, store};").is_empty());
        let test = "#[cfg(test)]\nmod tests {\n    use crate::raft::Node;\n}\n";
        assert!(check("src/store/a.rs", test).is_empty());
        assert!(one("src/attic/a.rs", "").contains("attic is not in the table"));
    }

    #[test]
    fn the_map_is_read_and_grants_nothing_that_nobody_uses() {
        let map = read_map(
            "| room | | what | may use |\n|---|---|---|---|\n\
             | `types`, `limits` | pure | words | nothing |\n\
             | `store` | pure | a tree | |\n| `shard` | pure | | store, wal |\n| `rt` | | | wal |\n\n| no | row |\n",
        );
        let names: Vec<&str> = map.iter().map(|room| room.name).collect();
        assert_eq!(names, ["types", "limits", "store", "shard", "rt"]);
        assert!(map[0].may_use.is_empty() && map[0].is_pure && !map[4].is_pure);
        assert_eq!(map[2].may_use, BTreeSet::from(SHARED));
        let used = |room: &str, other: &str| (room.to_owned(), BTreeSet::from([other.to_owned()]));
        let used = BTreeMap::from([used("shard", "store"), used("rt", "wal")]);
        assert_eq!(unused(&map, &used), ["ARCHITECTURE.md: shard may use wal and does not"]);
    }

    #[test]
    fn no_room_is_left_by_the_back_door() {
        for (path, code) in [
            ("src/store/mod.rs", "use super::wal::Record;"),
            ("src/store/tree.rs", "use super::super::wal::Record;"),
            ("src/config/table/member.rs", "use super::super::super::wal::Record;"),
        ] {
            assert!(one(path, code).contains("leaves the room"), "{path}");
        }
        assert!(check("src/store/tree.rs", "use super::Tree;").is_empty());
        assert!(check("src/store/mod.rs", "mod a {\n    use super::Tree;\n}").is_empty());
        assert!(check("src/store/tree.rs", "struct A;\npub(super) fn f() {}").is_empty());
    }

    #[test]
    fn fenced_crates_have_one_room() {
        for code in [
            "use glommio::net::TcpStream;",
            "fn f() { glommio::yield_if_needed(); }",
            "use ::raft::RawNode;",
            "use raft::RawNode;",
            "use raft;",
            "use io_uring::IoUring;",
        ] {
            let found = one("src/server/a.rs", code);
            assert!(found.contains("is named only in"), "{code}: {found}");
        }
        assert!(check("src/rt/a.rs", "use glommio::net::TcpStream;").is_empty());
        assert!(check("src/raft/a.rs", "use raft::RawNode;").is_empty());
        // Our own room `raft` is another thing than the crate.
        for code in [
            "use crate::raft::Node;",
            "use crate::raft;\nfn f() { raft::step(); }",
            "use crate::{raft::Node, types::Blob};",
            "struct A { raft: u8 }",
        ] {
            assert!(check("src/replica/a.rs", code).is_empty(), "{code}");
        }
        assert!(check("src/bin/braid-sim.rs", "use braid::raft::Node;").is_empty());
        let both = "use crate::raft;\nfn f() { ::raft::step(); }";
        assert!(one("src/replica/a.rs", both).contains(":3: raft is named only in raft"));
    }

    #[test]
    fn literals_and_comments_are_no_code() {
        let text = "a!(\"x\\\"y\", r#\"p\"q\"#, 'c', '\\'', '\"', b'z'); /* m /* n */ o */ // k\n\
                    fn f<'a>(b: &'a u8) {}";
        let source = Source::parse(text).expect("it is Rust");
        let left: Vec<&str> = source.words().collect();
        assert_eq!(left, ["a", "fn", "f", "a", "b", "a", "u8"]);
    }

    #[test]
    fn what_does_not_parse_is_said() {
        assert!(one("src/store/a.rs", "fn f( {}").starts_with("src/store/a.rs:2: "));
        assert!(one("src/store/a.rs", "fn f() {").starts_with("src/store/a.rs:2: "));
    }

    /// The circles between made-up files.
    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let mut circles = Circles::default();
        for (file, text) in files {
            circles.add(file, &Source::parse(text).expect("it is Rust"));
        }
        circles.circles()
    }

    #[test]
    fn files_that_use_each_other_are_a_circle() {
        let front = ("src/a/mod.rs", "mod b;\nmod c;\npub use b::B;\npub use c::*;\npub struct A;");
        let quiet = ("src/a/c.rs", "use super::A;\npub struct C(A);");
        assert!(
            circles(&[front, quiet, ("src/a/b.rs", "use super::C;\npub struct B(C);")]).is_empty()
        );
        // By a name that the room passes on, by a path, by an imported module, and in a ring.
        for (b, c) in [
            ("use super::C;\npub struct B(C);", "use super::B;\npub struct C(Box<B>);"),
            ("pub struct B(super::c::C);", "pub struct C(Box<crate::a::B>);"),
            (
                "use super::c;\npub struct B(c::C);",
                "use crate::a::{b, A};\npub struct C(Box<b::B>);",
            ),
        ] {
            let found = circles(&[front, ("src/a/b.rs", b), ("src/a/c.rs", c)]);
            assert_eq!(found, [["src/a/b.rs", "src/a/c.rs"]], "{b}");
        }
        let front = ("src/a/mod.rs", "mod b;\nuse b::B;\npub struct A(B);");
        let user = ("src/a/b.rs", "use super::A;\npub struct B(Box<A>);");
        assert_eq!(circles(&[front, user]), [["src/a/b.rs", "src/a/mod.rs"]]);
    }

    #[test]
    fn what_is_no_use_of_a_file_makes_no_circle() {
        // Tests, modules that are only named, other rooms and methods of one type in several files.
        let front =
            ("src/a/mod.rs", "pub mod b;\npub struct A;\nimpl A { fn f(&self) { self.g(); } }");
        for b in [
            "use super::A;\nimpl A { pub(super) fn g(&self) {} }",
            "use crate::d::D;\npub struct B(D, super::A);",
        ] {
            let other = ("src/d.rs", "pub struct D(crate::a::b::B);");
            assert!(circles(&[front, ("src/a/b.rs", b), other]).is_empty(), "{b}");
        }
        let tested =
            ("src/a/mod.rs", "mod b;\npub struct A;\n#[cfg(test)]\nmod tests { use super::b::B; }");
        assert!(circles(&[tested, ("src/a/b.rs", "use super::A;\npub struct B(A);")]).is_empty());
    }
}
