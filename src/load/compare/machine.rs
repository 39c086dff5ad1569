//! A description of the machine on which the figures were measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::contender::Contender;

/// Everything that a reader needs to judge the numbers, by name.
pub(super) fn describe(scratch: &Path, contenders: &[Contender]) -> BTreeMap<String, String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = field(&cpuinfo, "model name").unwrap_or("unknown");
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let memory = field(&memory, "MemTotal").and_then(|text| text.split_whitespace().next());
    let memory_gib = memory.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1_048_576.0;
    let mut facts = BTreeMap::from([
        ("processors".to_owned(), format!("{cpus} × {model}")),
        ("memory".to_owned(), format!("{memory_gib:.1} GiB")),
        ("kernel".to_owned(), read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("file system".to_owned(), file_system(scratch, &read("/proc/self/mounts"))),
        ("load average before".to_owned(), read("/proc/loadavg").trim().to_owned()),
    ]);
    for Contender { name, program, .. } in contenders {
        let output = Command::new(program).arg("--version").output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        facts.insert(name.clone(), one_line(&text.unwrap_or_default()));
    }
    facts
}

/// Joins everything that a program says of itself: version, revision, compiler.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { "unknown".to_owned() } else { lines.join("; ") }
}

pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

/// Type and options of the file system that holds `path`.
fn file_system(path: &Path, mounts: &str) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let rows = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?, words.next()?))
    });
    let holding = rows.filter(|(point, ..)| path.starts_with(point));
    match holding.max_by_key(|(point, ..)| point.len()) {
        Some((_, kind, options)) => format!("{kind} ({options})"),
        None => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_holds_a_path() {
        let mounts = "/dev/a / ext4 rw 0 0\n/dev/b /nowhere/data xfs rw,noatime 0 0\n";
        let of = |path: &str| file_system(Path::new(path), mounts);
        assert_eq!(of("/nowhere/data/x"), "xfs (rw,noatime)");
        assert_eq!(of("/nowhere/database"), "ext4 (rw)");
        assert_eq!(file_system(Path::new("/x"), ""), "unknown");
    }

    #[test]
    fn a_version_is_all_that_a_program_says() {
        let text = "etcd Version: 3.7.1\nGit SHA: abc \n\nGo Version: go1.26\n";
        assert_eq!(one_line(text), "etcd Version: 3.7.1; Git SHA: abc; Go Version: go1.26");
        assert_eq!(one_line("\n"), "unknown");
    }

    #[test]
    fn fields_are_found_by_their_name() {
        assert_eq!(field("a\t: 1\nMemTotal:  5 kB\n", "MemTotal"), Some("5 kB"));
        assert_eq!(field("a: 1", "b"), None);
    }
}
