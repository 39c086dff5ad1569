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
//! | a fenced crate is named only by its room ([`FENCES`]) | rooms and binaries |
//! | what is cited is there (see `tidy/citations.rs`) | code, cases, scripts and documents |
//! | what etcd has is documented (see `tidy/specification.rs`) | errors, flags and metrics |
//!
//! Tests inside rooms are exempt from all but the first, third and fourth. Every rule has a test of
//! its own below, on made-up snippets.

mod tidy {
    pub mod citations;
    pub mod specification;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

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

/// What a pure room's code must not hold, as words or paths.
const IMPURE: &[&str] =
    &["async", "await", "println!", "eprintln!", "print!", "eprint!", "tracing::"];

/// Parts of `std` that a pure room must not name.
const IMPURE_STD: &[&str] = &["time", "fs", "net", "thread", "env"];

/// Words that say nothing in the name of an item.
const EMPTY_WORDS: &[&str] =
    &["manager", "handler", "helper", "helpers", "util", "utils", "context", "data", "info"];

/// Whole names that say nothing.
const EMPTY_NAMES: &[&str] = &["process", "handle", "new2"];

/// Names that somebody else has given: gRPC a code, raft-rs a field.
const GIVEN_NAMES: &[&str] = &["DATA_LOSS", "CONTEXT_BYTES_MAX"];

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
            let (code, _) = blank_tests(&blank_literals(&text));
            used.entry(room.to_owned()).or_default().extend(names_of(&code, "crate"));
        }
    }
    found.extend(unused(map(), &used));
    assert!(found.is_empty(), "{} untidy places:\n{}", found.len(), found.join("\n"));
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
    let mut found = Vec::new();
    let code = blank_literals(text);
    long_lines(path, text, &code, &mut found);
    if !text.starts_with("//!") {
        found.push("1: does not open with //!".to_string());
    }
    undone(text, &code, &mut found);
    if !is_test_file(path) {
        let (code, test_lines) = blank_tests(&code);
        let lines = text.lines().count() - test_lines;
        if lines > FILE_LINES_MAX {
            found.push(format!("1: {lines} lines without tests, of {FILE_LINES_MAX}"));
        }
        long_functions(&code, &mut found);
        fences(path, &code, &mut found);
        rooms(path, &code, &mut found);
    }
    found.into_iter().map(|violation| format!("{path}:{violation}")).collect()
}

fn rooms(path: &str, code: &str, found: &mut Vec<String>) {
    let Some(name) = room_of(path) else {
        return;
    };
    let Some(room) = map().iter().find(|room| room.name == name) else {
        return found.push(format!("1: room {name} is not in the table of ARCHITECTURE.md"));
    };
    imports(path, room, code, found);
    if room.is_pure {
        empty_names(code, found);
        impure(code, found);
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

fn long_lines(path: &str, text: &str, code: &str, found: &mut Vec<String>) {
    for (number, (line, code)) in (1..).zip(text.lines().zip(code.lines())) {
        let chars = line.chars().count();
        let start = line.trim_start();
        // A row of a Markdown table cannot be broken, nor what a test expects word for word.
        let is_row = start.starts_with("//! |") || start.starts_with("/// |");
        let is_literal = is_test_file(path)
            && !line.contains("//")
            && code.split_whitespace().map(str::len).sum::<usize>() < LINE_CHARS_MAX / 2;
        if chars > LINE_CHARS_MAX && !is_row && !is_literal {
            found.push(format!("{number}: {chars} characters, of {LINE_CHARS_MAX}"));
        }
    }
}

fn undone(text: &str, code: &str, found: &mut Vec<String>) {
    for word in UNDONE {
        // A macro only counts where it is called, a word anywhere.
        let searched = if word.ends_with('!') { code } else { text };
        for at in occurrences(searched, word) {
            found.push(format!("{}: {word}", line_of(searched, at)));
        }
    }
}

fn long_functions(code: &str, found: &mut Vec<String>) {
    for at in occurrences(code, "fn") {
        // `fn(u8) -> u8` is a type.
        let is_named = !code[at + 2..].trim_start().starts_with('(');
        let Some(end) = item_end(code, at).filter(|_| is_named) else {
            continue;
        };
        let lines = line_of(code, end) - line_of(code, at) + 1;
        if lines > FUNCTION_LINES_MAX {
            let name = words(&code[at + 2..]).next().unwrap_or("");
            let line = line_of(code, at);
            found.push(format!("{line}: fn {name} has {lines} lines, of {FUNCTION_LINES_MAX}"));
        }
    }
}

/// Names of items: functions, types, modules, constants.
fn empty_names(code: &str, found: &mut Vec<String>) {
    for keyword in ["fn", "struct", "enum", "trait", "type", "mod", "const", "static"] {
        for at in occurrences(code, keyword) {
            let rest = &code[at + keyword.len()..];
            let Some(name) = words(rest).next().filter(|name| rest.trim_start().starts_with(name))
            else {
                continue;
            };
            if GIVEN_NAMES.contains(&name) {
                continue;
            }
            let lower = snake(name);
            let word = lower.split('_').find(|word| EMPTY_WORDS.contains(word));
            let whole = EMPTY_NAMES.contains(&lower.as_str()) || lower.starts_with("do_");
            if let Some(word) = word.or(whole.then_some(name)) {
                found.push(format!("{}: {keyword} {name}: {word}", line_of(code, at)));
            }
        }
    }
}

fn impure(code: &str, found: &mut Vec<String>) {
    for word in IMPURE {
        for at in occurrences(code, word) {
            found.push(format!("{}: {word} in a pure room", line_of(code, at)));
        }
    }
    for at in occurrences(code, "std") {
        for part in names_at(code, at + "std".len()) {
            if IMPURE_STD.contains(&part.as_str()) && !(part == "time" && is_duration(code, at)) {
                found.push(format!("{}: std::{part} in a pure room", line_of(code, at)));
            }
        }
    }
}

/// A length of time is no clock.
fn is_duration(code: &str, at: usize) -> bool {
    let end = code[at..].find(';').map_or(code.len(), |end| at + end);
    let named = code[at..end].split("time::").skip(1);
    code[at..end].contains("time::") && named.into_iter().all(|rest| rest.starts_with("Duration"))
}

fn fences(path: &str, code: &str, found: &mut Vec<String>) {
    let room = room_of(path).unwrap_or("");
    for (name, rooms) in FENCES.iter().filter(|(_, rooms)| !rooms.contains(&room)) {
        // Our own room of the same name may be imported and then stand at the start of a path.
        let own_room = map().iter().any(|room| room.name == *name)
            && ["crate", "braid", "super"].iter().any(|root| names_of(code, root).contains(*name));
        for at in occurrences(code, name) {
            let (before, after) = (code[..at].trim_end(), code[at + name.len()..].trim_start());
            let is_root = !before.ends_with("::") || is_global(before);
            let is_used = after.starts_with("::") || used_whole(before, after);
            if is_root && is_used && (!own_room || is_global(before)) && !in_group(code, at) {
                let rooms = rooms.join(", ");
                found.push(format!("{}: {name} is named only in {rooms}", line_of(code, at)));
            }
        }
    }
}

/// `::name`, with nothing before it.
fn is_global(before: &str) -> bool {
    let Some(head) = before.strip_suffix("::") else {
        return false;
    };
    !head.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '>')
}

/// `use name;` and `use name as`.
fn used_whole(before: &str, after: &str) -> bool {
    let head = before.trim_end_matches("::").trim_end();
    head.ends_with("use") && (after.starts_with(';') || after.starts_with("as "))
}

/// Whether the place lies in the braces of a `use crate::{..}`.
fn in_group(code: &str, at: usize) -> bool {
    let start = code[..at].rfind(';').map_or(0, |end| end + 1);
    ["crate::{", "braid::{"].iter().any(|group| code[start..at].contains(group))
}

fn imports(path: &str, room: &Room, code: &str, found: &mut Vec<String>) {
    for name in names_of(code, "crate") {
        let is_room = map().iter().any(|other| other.name == name);
        if is_room && name != room.name && !room.may_use.contains(name.as_str()) {
            let at = occurrences(code, "crate")
                .into_iter()
                .find(|&at| names_at(code, at + "crate".len()).contains(&name))
                .unwrap_or(0);
            found.push(format!("{}: {} imports {name}", line_of(code, at), room.name));
        }
    }
    // Modules between the file and the crate: as many `super`s lead out of the room.
    let depth = path.matches('/').count() - usize::from(path.ends_with("/mod.rs"));
    let way_out = vec!["super"; depth].join("::");
    for at in occurrences(code, &way_out) {
        let line = line_of(code, at);
        if code[at + way_out.len()..].trim_start().starts_with("::") && !in_inline_module(code, at)
        {
            found.push(format!("{line}: {way_out} leaves the room; say crate::"));
        }
    }
}

fn in_inline_module(code: &str, at: usize) -> bool {
    occurrences(code, "mod").into_iter().filter(|&module| module < at).any(|module| {
        item_end(code, module).is_some_and(|end| at < end && code[module..at].contains('{'))
    })
}

/// What stands directly behind `root::`, groups opened.
fn names_of(code: &str, root: &str) -> BTreeSet<String> {
    occurrences(code, root).into_iter().flat_map(|at| names_at(code, at + root.len())).collect()
}

fn names_at(code: &str, after_root: usize) -> BTreeSet<String> {
    let Some(rest) = code[after_root..].trim_start().strip_prefix("::") else {
        return BTreeSet::new();
    };
    let rest = rest.trim_start();
    let Some(group) = rest.strip_prefix('{') else {
        return words(rest).take(1).map(str::to_string).collect();
    };
    let (mut names, mut depth, mut start) = (BTreeSet::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.extend(words(&group[start..at]).take(1).map(str::to_string));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

/// Where `word` stands, not as a part of a longer name.
fn occurrences(code: &str, word: &str) -> Vec<usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|&at| {
            let end = at + word.len();
            let starts = !word.starts_with(part) || !code[..at].ends_with(part);
            let ends = !word.ends_with(part) || !code[end..].starts_with(part);
            starts && ends
        })
        .collect()
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

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The last byte of the item that begins at `at`: its closing brace, or the semicolon of one that
/// has no body. `None` for a type like `fn(u8) -> u8`.
fn item_end(code: &str, at: usize) -> Option<usize> {
    let (mut round, mut curly) = (0i32, 0i32);
    for (offset, c) in code[at..].char_indices() {
        match c {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            '{' => curly += 1,
            '}' => curly -= 1,
            _ => {}
        }
        let ends = match c {
            ';' | ',' | '=' | '>' if curly == 0 && round < 0 => return None,
            ';' => curly == 0 && round == 0,
            '}' => curly == 0 && round == 0,
            _ => false,
        };
        if ends {
            return Some(at + offset);
        }
        if curly < 0 || round < 0 {
            return None;
        }
    }
    None
}

/// Blanks every item under `#[cfg(test)]` and counts the lines it took.
fn blank_tests(code: &str) -> (String, usize) {
    let mut kept = code.to_string();
    let mut lines = 0;
    while let Some(start) =
        ["#[cfg(test)]", "#[cfg(all(test"].iter().filter_map(|attribute| kept.find(attribute)).min()
    {
        let body = start + kept[start..].find(']').expect("an attribute ends") + 1;
        let end = item_end(&kept, body).map_or(kept.len(), |end| end + 1);
        lines += kept[start..end].matches('\n').count() + 1;
        let blank = blanked(&kept[start..end]);
        kept.replace_range(start..end, &blank);
    }
    (kept, lines)
}

fn blanked(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect()
}

/// The code with comments and the insides of literals blanked, line for line.
fn blank_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after_name = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !after_name) {
            length
        } else if c == '"' {
            string(rest)
        } else if let Some(length) = char_literal(rest) {
            length
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.push_str(&blanked(&rest[..length]));
        rest = &rest[length..];
    }
    code
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let inner = ["br", "cr", "r"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    inner[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - inner.len() + hashes + 1;
    Some(text[start..].find(&end).map_or(text.len(), |at| start + at + end.len()))
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A character, and no lifetime.
fn char_literal(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    let mut chars = inner.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next()?;
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 2);
    }
    let (at, second) = chars.next()?;
    (second == '\'' && first != '\'').then_some(at + 2)
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
        let expected = format!("    \"{fits}\",");
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
        let text = "a(\"x\\\"y\", r#\"p\"q\"#, 'c', '\\'', '\"', b'z'); /* m /* n */ o */ // k\n\
                    fn f<'a>(b: &'a u8) {}";
        let code = blank_literals(text);
        assert_eq!(code.chars().count(), text.chars().count());
        let left: Vec<&str> = words(&code).collect();
        assert_eq!(left, ["a", "b", "fn", "f", "a", "b", "a", "u8"]);
    }
}
