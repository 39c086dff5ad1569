//! `inspect`: a data directory read offline. Groups, segments, checkpoints, damage by file and
//! offset. Nothing is changed; whatever is wrong is told and not repaired.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::exit::{self, Failure};
use super::output::{Format, Printer};
use super::print;
use crate::member::{Identity, MemberFiles};
use crate::rt::DiskReader;
use crate::types::GroupId;
use crate::wal::ReadDisk;
use crate::wal::inspect::{CheckpointFile, Finding, GroupFiles, SegmentFile, inspect};

#[derive(Args, Debug)]
pub struct Inspect {
    /// `<data-dir>`, as given to the server
    #[arg(value_name = "DATA_DIR")]
    arguments: Vec<OsString>,
}

/// The findings of an inspection.
struct Report {
    identity: Result<Identity, String>,
    /// A process has the directory open; what it writes meanwhile may look torn.
    in_use: bool,
    /// etcd's files lie beside Braid's: no start is possible, and why.
    mixed: Option<String>,
    groups: Vec<GroupFiles>,
}

impl Inspect {
    pub fn run(&self, printer: &Printer) -> Result<(), Failure> {
        let [data_dir] = &self.arguments[..] else {
            return Err(Failure::bad_arguments("inspect command needs one argument as data-dir"));
        };
        let report = Report::read(Path::new(data_dir))?;
        match printer.format {
            Format::Simple => print(report.text().as_bytes())?,
            Format::Json => print(format!("{}\n", report.json()).as_bytes())?,
            other => {
                let why = format!("{} not supported as output format", other.name());
                return Err(Failure::new(exit::BAD_FEATURE, why));
            }
        }
        match report.findings() {
            0 => Ok(()),
            1 => Err(Failure::new(exit::ERROR, "1 finding")),
            count => Err(Failure::new(exit::ERROR, format!("{count} findings"))),
        }
    }
}

impl Report {
    fn read(data_dir: &Path) -> Result<Report, Failure> {
        let member = data_dir.join("member");
        if !member.is_dir() {
            let shown = data_dir.display();
            let why = format!("{shown} is no data directory of Braid: it has no directory member");
            return Err(Failure::new(exit::IO, why));
        }
        let disk = DiskReader::new(&member);
        let names = disk.list("").map_err(|error| Failure::new(exit::IO, error.to_string()))?;
        let belongings = MemberFiles::of(names);
        if belongings.has_etcd() && !belongings.has_braid() {
            let (shown, etcd) = (data_dir.display(), belongings.etcd.join(" and "));
            let why = format!(
                "{shown} is a data directory of etcd, not of Braid: it holds {etcd}; etcdutl \
                 reads it"
            );
            return Err(Failure::new(exit::IO, why));
        }
        let mixed = belongings.has_etcd().then(|| belongings.both());
        let identity = std::fs::read(member.join("identity"));
        let identity = identity
            .map_err(|error| error.to_string())
            .and_then(|bytes| Identity::decode(&bytes).map_err(|error| error.to_string()));
        let groups = inspect(&disk).map_err(|error| Failure::new(exit::IO, error.to_string()))?;
        let in_use = is_locked(&member.join("lock"))
            .map_err(|error| Failure::new(exit::IO, format!("member/lock: {error}")))?;
        Ok(Report { identity, in_use, mixed, groups })
    }

    /// Counts what is wrong.
    fn findings(&self) -> usize {
        let of_groups: usize = self.groups.iter().map(|group| group.findings.len()).sum();
        of_groups + usize::from(self.identity.is_err()) + usize::from(self.mixed.is_some())
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |line: String| writeln!(text, "{line}").expect("a string grows");
        match &self.identity {
            Ok(identity) => line(format!(
                "cluster {:x}, member {:x}, {} shards",
                identity.cluster.0, identity.member.0, identity.shards
            )),
            Err(why) => line(format!("DAMAGE member/identity: {why}")),
        }
        if let Some(why) = &self.mixed {
            line(format!("MIXED {why}"));
        }
        if self.in_use {
            line("in use by a process: what it is writing may look torn".to_owned());
        }
        for group in &self.groups {
            line(format!("{}: {}", name(group.group), log(group)));
            group.segments.iter().for_each(|file| line(segment(file)));
            group.checkpoints.iter().for_each(|file| line(checkpoint(file)));
            group.findings.iter().for_each(|finding| line(damage(finding)));
        }
        text
    }

    fn json(&self) -> Value {
        let identity = match &self.identity {
            Ok(identity) => json!({
                "cluster_id": identity.cluster.0,
                "member_id": identity.member.0,
                "shards": identity.shards,
            }),
            Err(why) => json!({ "error": why }),
        };
        let groups: Vec<Value> = self.groups.iter().map(group_json).collect();
        json!({
            "identity": identity,
            "in_use": self.in_use,
            "mixed": self.mixed,
            "groups": groups,
        })
    }
}

fn name(group: GroupId) -> String {
    match group.shard() {
        None => format!("group {group} (control)"),
        Some(shard) => format!("group {group} (shard {shard})"),
    }
}

fn log(group: &GroupFiles) -> String {
    let Some(end) = &group.log else { return "the log cannot be read to its end".to_owned() };
    let torn = if end.torn { ", last write torn (a start cuts it off)" } else { "" };
    format!(
        "last index {}, term {}, commit {}, {} batches{torn}",
        end.last_index, end.hard_state.term, end.hard_state.commit, end.batches
    )
}

fn segment(file: &SegmentFile) -> String {
    let (path, bytes) = (&file.file, file.bytes);
    match &file.begun {
        None => format!("  segment member/{path}: {bytes} bytes, prepared"),
        Some(begun) if begun.batches == 0 => {
            format!("  segment member/{path}: {bytes} bytes, from index {}", begun.first_index)
        }
        Some(begun) => format!(
            "  segment member/{path}: {bytes} bytes, {} used, {} batches, index {} to {}",
            begun.bytes_used, begun.batches, begun.first_index, begun.last_index
        ),
    }
}

fn checkpoint(file: &CheckpointFile) -> String {
    let good = if file.good { "good" } else { "DAMAGED" };
    format!(
        "  checkpoint member/{}: {} bytes, {} chunks, index {}, term {}, stable {}, compact {}, \
         {good}",
        file.file, file.bytes, file.chunks, file.index, file.term, file.stable, file.compact
    )
}

fn damage(finding: &Finding) -> String {
    format!("  DAMAGE member/{} at offset {}: {}", finding.file, finding.offset, finding.what)
}

fn group_json(group: &GroupFiles) -> Value {
    let segments = group.segments.iter().map(|file| {
        let begun = file.begun.map(|begun| {
            json!({
                "first_index": begun.first_index.0,
                "last_index": begun.last_index.0,
                "batches": begun.batches,
                "bytes_used": begun.bytes_used,
            })
        });
        json!({ "file": path(&file.file), "bytes": file.bytes, "begun": begun })
    });
    let checkpoints = group.checkpoints.iter().map(|file| {
        json!({
            "file": path(&file.file),
            "bytes": file.bytes,
            "chunks": file.chunks,
            "index": file.index.0,
            "term": file.term.0,
            "stable": file.stable.0,
            "compact": file.compact.0,
            "good": file.good,
        })
    });
    let findings = group.findings.iter().map(|finding| {
        json!({ "file": path(&finding.file), "offset": finding.offset, "what": finding.what })
    });
    let log = group.log.as_ref().map(|end| {
        json!({
            "last_index": end.last_index.0,
            "term": end.hard_state.term.0,
            "vote": end.hard_state.vote,
            "commit": end.hard_state.commit.0,
            "batches": end.batches,
            "torn": end.torn,
        })
    });
    json!({
        "group": group.group.0,
        "shard": group.group.shard().map(|shard| shard.0),
        "log": log,
        "segments": segments.collect::<Vec<Value>>(),
        "checkpoints": checkpoints.collect::<Vec<Value>>(),
        "findings": findings.collect::<Vec<Value>>(),
    })
}

fn path(file: &str) -> String {
    format!("member/{file}")
}

/// Whether a server holds the directory.
fn is_locked(lock: &Path) -> io::Result<bool> {
    let file = match File::open(lock) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ClusterId, HardState, LogIndex, MemberId, Revision, Term};
    use crate::wal::inspect::{LogEnd, SegmentUse};

    const IDENTITY: Identity =
        Identity { cluster: ClusterId(0xc1), member: MemberId(0xe2), shards: 2, salt: 5 };

    fn group(findings: Vec<Finding>) -> GroupFiles {
        let begun = SegmentUse {
            first_sequence: 1,
            first_index: LogIndex(1),
            batches: 4,
            bytes_used: 20480,
            last_index: LogIndex(9),
        };
        let hard_state = HardState { term: Term(3), vote: 1, commit: LogIndex(8) };
        GroupFiles {
            group: GroupId(1),
            owner: None,
            segments: vec![
                SegmentFile {
                    file: "group-001/wal/00000001.seg".to_owned(),
                    number: 1,
                    bytes: 65536,
                    begun: Some(begun),
                },
                SegmentFile {
                    file: "group-001/wal/00000002.seg".to_owned(),
                    number: 2,
                    bytes: 65536,
                    begun: None,
                },
            ],
            checkpoints: vec![CheckpointFile {
                file: "group-001/checkpoint/5".to_owned(),
                index: LogIndex(5),
                term: Term(2),
                stable: Revision(7),
                compact: Revision(3),
                chunks: 1,
                bytes: 8192,
                good: true,
            }],
            log: Some(LogEnd { last_index: LogIndex(9), hard_state, batches: 4, torn: true }),
            findings,
        }
    }

    fn finding() -> Finding {
        Finding {
            file: "group-001/wal/00000001.seg".to_owned(),
            offset: 8192,
            what: "the checksum does not match".to_owned(),
        }
    }

    #[test]
    fn everything_is_in_the_text() {
        let report = Report {
            mixed: None,
            identity: Ok(IDENTITY),
            in_use: false,
            groups: vec![group(vec![finding()])],
        };
        assert_eq!(
            report.text(),
            "\
cluster c1, member e2, 2 shards
group 1 (shard 0): last index 9, term 3, commit 8, 4 batches, last write torn (a start cuts it off)
  segment member/group-001/wal/00000001.seg: 65536 bytes, 20480 used, 4 batches, index 1 to 9
  segment member/group-001/wal/00000002.seg: 65536 bytes, prepared
  checkpoint member/group-001/checkpoint/5: 8192 bytes, 1 chunks, index 5, term 2, stable 7, \
compact 3, good
  DAMAGE member/group-001/wal/00000001.seg at offset 8192: the checksum does not match
"
        );
        assert_eq!(report.findings(), 1);
    }

    #[test]
    fn everything_is_in_the_json() {
        let report = Report {
            identity: Err("gone".to_owned()),
            in_use: true,
            mixed: None,
            groups: vec![group(vec![finding()])],
        };
        let json = report.json();
        assert_eq!(json["identity"]["error"], "gone");
        assert_eq!(json["in_use"], true);
        let group = &json["groups"][0];
        assert_eq!((&group["group"], &group["shard"]), (&json!(1), &json!(0)));
        assert_eq!(group["log"]["commit"], 8);
        assert_eq!(group["segments"][0]["begun"]["last_index"], 9);
        assert_eq!(group["segments"][1]["begun"], Value::Null);
        assert_eq!(group["checkpoints"][0]["stable"], 7);
        assert_eq!(group["findings"][0]["offset"], 8192);
        assert_eq!(report.findings(), 2, "a missing identity is damage too");
    }

    #[test]
    fn a_directory_of_etcd_is_named_as_such() {
        let directory = tempfile::tempdir().expect("a directory");
        let member = directory.path().join("member");
        for name in ["snap", "wal"] {
            std::fs::create_dir_all(member.join(name)).expect("a directory");
        }
        let failure = Report::read(directory.path()).err().expect("it is etcd's");
        assert_eq!(failure.code, exit::IO);
        let why = format!("{failure:?}");
        assert!(why.contains("a data directory of etcd, not of Braid"), "{why}");
        std::fs::write(member.join("identity"), IDENTITY.encode()).expect("a file");
        let report = Report::read(directory.path()).expect("it is Braid's, too");
        assert_eq!(report.findings(), 1);
        assert!(report.text().contains("MIXED it holds files of etcd (member/snap, member/wal)"));
    }

    #[test]
    fn a_directory_is_read_as_it_stands() {
        let directory = tempfile::tempdir().expect("a directory");
        let failure = Report::read(directory.path()).err().expect("nothing is there");
        assert_eq!(failure.code, exit::IO);
        let member = directory.path().join("member");
        std::fs::create_dir(&member).expect("a directory");
        let report = Report::read(directory.path()).expect("a directory without groups");
        assert!(report.identity.is_err() && report.groups.is_empty() && !report.in_use);
        std::fs::write(member.join("identity"), IDENTITY.encode()).expect("a file");
        let lock = File::create(member.join("lock")).expect("a file");
        lock.lock().expect("nobody else has it");
        std::fs::create_dir(member.join("group-000")).expect("a directory");
        let report = Report::read(directory.path()).expect("an empty group");
        assert_eq!(report.identity, Ok(IDENTITY));
        assert!(report.in_use);
        assert_eq!(report.groups.len(), 1);
        assert!(report.text().contains("group 0 (control)"));
    }
}
