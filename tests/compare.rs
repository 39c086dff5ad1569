//! Random commands to several servers at once: all must answer the same.
//!
//! Braid with one shard over frames and with five over gRPC; with `BRAID_COMPARE_ETCD` set to the
//! path of an etcd 3.7.1, that as well. (With `BRAID_CASES_ETCD`, as for the other drivers, two
//! etcds and no braid: this proves that nothing here depends on chance.)
//!
//! Commands are written in the language of the cases, so that a difference is printed as a scenario
//! from an empty store. `BRAID_SEED` repeats it, and it can become a case in `tests/cases/`.

mod common;
mod script;

use braid::chance::Chance;
use braid::client::Transport;
use common::{Program, Server};
use script::{CaseFile, Target};

const ROUNDS: usize = 40;
const COMMANDS: usize = 60;

#[test]
fn every_server_gives_the_same_answers() {
    let servers = servers();
    let targets = servers
        .iter()
        .map(|(server, transport)| Target::connect(&server.endpoint(), *transport))
        .collect();
    tell_stories(targets);
}

/// The same inside the process, where more shapes of cores and shards cost next to nothing.
#[test]
fn every_shape_of_a_member_gives_the_same_answers() {
    let etcd = std::env::var_os("BRAID_COMPARE_ETCD")
        .map(|path| Server::start(&Program::Etcd(path.into()), &[]));
    let shapes = [(1, 1), (1, 3), (2, 5), (3, 4), (4, 16)];
    let mut targets: Vec<Target> =
        etcd.iter().map(|etcd| Target::connect(&etcd.endpoint(), Transport::Grpc)).collect();
    targets.extend(shapes.map(|(cores, shards)| Target::inside(cores, shards, &[])));
    tell_stories(targets);
}

fn tell_stories(mut targets: Vec<Target>) {
    let mut chance = Chance::new(common::seed());
    for _ in 0..ROUNDS {
        targets.iter_mut().for_each(Target::clear);
        let mut author = Author { chance: Chance::new(chance.number()), revision: 1, values: 0 };
        let mut story = String::new();
        for _ in 0..COMMANDS {
            let command = author.command();
            let lines: Vec<&str> = command.lines().collect();
            let mut answers = targets.iter().map(|target| target.print(&lines));
            let first = answers.next().expect("a first server");
            story.push_str(&format!("{command}\n---\n{}\n\n", first.join("\n")));
            for (number, other) in answers.enumerate() {
                let otherwise = format!("{} of the servers answers otherwise", number + 1);
                assert_eq!(other, first, "{otherwise}:\n{story}");
            }
            author.learn(&first);
        }
    }
}

fn servers() -> Vec<(Server, Transport)> {
    let program = common::program();
    if program.is_etcd() {
        let etcd = || (Server::start(&program, &[]), Transport::Grpc);
        return vec![etcd(), etcd()];
    }
    let mut servers = vec![
        (Server::start(&program, &["--shards=1"]), Transport::Frames),
        (Server::start(&program, &["--shards=5"]), Transport::Grpc),
    ];
    if let Some(path) = std::env::var_os("BRAID_COMPARE_ETCD") {
        servers.push((Server::start(&Program::Etcd(path.into()), &[]), Transport::Grpc));
    }
    servers
}

/// Writes commands that meet: few keys, revisions around the current one.
struct Author {
    chance: Chance,
    /// The highest revision that an answer has shown.
    revision: i64,
    values: u64,
}

impl Author {
    const KEYS: [&str; 8] = ["a", "aa", "b", "c", "d", "\"\\x00\"", "\"\\xff\"", "\"a\\x00\""];

    /// Takes the store's revision from an answer.
    fn learn(&mut self, answer: &[String]) {
        let shown = answer.first().and_then(|line| line.rsplit_once("revision "));
        if let Some(revision) = shown.and_then(|(_, number)| number.parse().ok()) {
            self.revision = self.revision.max(revision);
        }
    }

    fn chosen<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.chance.below(from.len() as u64) as usize]
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.chance.below(bound) == 0
    }

    fn command(&mut self) -> String {
        match self.chance.below(20) {
            0..6 => self.put(false),
            6..9 => self.get(),
            9 => self.get().replacen("get", "stream", 1),
            10..12 => self.delete(),
            12..19 => format!("txn{}", self.txn(1)),
            _ => self.compact(),
        }
    }

    fn key(&mut self) -> &'static str {
        // The empty key is refused everywhere.
        if self.one_in(60) { "\"\"" } else { self.chosen(&Author::KEYS) }
    }

    /// A key, and often a range from it on.
    fn range(&mut self) -> String {
        let key = self.key();
        match self.chance.below(6) {
            0 => format!("{key} \"\\x00\""),
            1 | 2 => format!("{key} {}", self.chosen(&Author::KEYS)),
            3 => format!("{key} prefix"),
            _ => key.to_owned(),
        }
    }

    fn value(&mut self) -> String {
        self.values += 1;
        format!("v{}", self.values)
    }

    /// In a txn without the ignore flags: etcd 3.7.1 looks for the key before the txn and panics if
    /// an earlier operation has deleted it.
    fn put(&mut self, in_txn: bool) -> String {
        let mut command = format!("put {}", self.key());
        if !in_txn && self.one_in(8) {
            command.push_str(" ignore_value");
        } else {
            command.push_str(&format!(" {}", self.value()));
        }
        for (option, odds) in [("prev_kv", 3), ("ignore_lease", 8), ("lease=7", 20)] {
            let allowed = !in_txn || option != "ignore_lease";
            if allowed && self.one_in(odds) {
                command.push_str(&format!(" {option}"));
            }
        }
        command
    }

    fn old_revision(&mut self) -> i64 {
        let back = self.chance.below(12) as i64;
        (self.revision + 1 - back).max(-1)
    }

    fn get(&mut self) -> String {
        let mut command = format!("get {}", self.range());
        // Sorting is not stable: only by what no two keys share. Without an order etcd sorts what a
        // limit or a chunk has left, which cases tell of.
        let options = [
            "keys_only",
            "count_only",
            "serializable",
            "order=ASCEND",
            "order=DESCEND",
            "order=DESCEND by=VALUE",
            "order=ASCEND by=VALUE",
        ];
        if self.one_in(2) {
            let option = self.chosen(&options);
            command.push_str(&format!(" {option}"));
        }
        if self.one_in(3) {
            let limit = self.chance.below(5);
            command.push_str(&format!(" limit={limit}"));
        }
        if self.one_in(3) {
            command.push_str(&format!(" rev={}", self.old_revision()));
        }
        if self.one_in(6) {
            let filter = self.chosen(&["min_mod", "max_mod", "min_create", "max_create"]);
            command.push_str(&format!(" {filter}={}", self.old_revision().max(0)));
        }
        command
    }

    fn delete(&mut self) -> String {
        let prev_kv = if self.one_in(2) { " prev_kv" } else { "" };
        format!("del {}{prev_kv}", self.range())
    }

    fn compact(&mut self) -> String {
        let physical = if self.one_in(2) { " physical" } else { "" };
        format!("compact {}{physical}", self.old_revision())
    }

    /// The lines under a `txn`, each after a line end.
    fn txn(&mut self, depth: usize) -> String {
        let indent = "  ".repeat(depth);
        let mut lines = String::new();
        for _ in 0..self.chance.below(3) {
            lines.push_str(&format!("\n{indent}if {}", self.compare()));
        }
        for branch in ["then", "else"] {
            for _ in 0..self.chance.below(4) {
                let op = match self.chance.below(12) {
                    0..5 => self.put(true),
                    5..7 => self.get(),
                    7..9 => self.delete(),
                    _ if depth < 3 => format!("txn{}", self.txn(depth + 1)),
                    _ => self.put(true),
                };
                lines.push_str(&format!("\n{indent}{branch} {op}"));
            }
        }
        lines
    }

    fn compare(&mut self) -> String {
        let target = self.chosen(&["version", "create", "mod", "value", "lease"]);
        let key = self.key();
        let end = match self.chance.below(4) {
            0 => format!(" {}", self.chosen(&Author::KEYS)),
            _ => String::new(),
        };
        let operator = self.chosen(&["=", "!=", "<", ">"]);
        let operand = match target {
            "version" => self.chance.below(3).to_string(),
            "lease" => self.chance.below(2).to_string(),
            "value" => format!("v{}", self.values.saturating_sub(self.chance.below(6))),
            _ => self.old_revision().max(0).to_string(),
        };
        format!("{target} {key}{end} {operator} {operand}")
    }
}

/// The language is the one of the cases: what is written here can be kept there.
#[test]
fn a_story_is_a_case() {
    let mut author = Author { chance: Chance::new(1), revision: 9, values: 0 };
    let story: String = (0..200).map(|_| author.command() + "\n---\n\n").collect();
    let directory = common::scratch();
    let path = directory.path().join("story.txt");
    std::fs::write(&path, format!("# docs/etcd-semantics.md\n\n{story}")).expect("write the story");
    let files = CaseFile::all(directory.path(), "story");
    assert_eq!(files[0].blocks.len(), 200);
}
