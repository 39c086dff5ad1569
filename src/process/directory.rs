//! The data directory: made, locked, and known to be ours.
//!
//! ```text
//! <data-dir>/member/lock        held by the process that serves it
//! <data-dir>/member/identity    written once, last of all that makes a directory ours
//! <data-dir>/member/group-NNN/  logs and checkpoints (`wal`)
//! ```

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::member::{BadIdentity, Identity, MemberFiles};

/// A directory that this process alone serves from.
#[derive(Debug)]
pub struct Directory {
    /// `<data-dir>/member`.
    pub member: PathBuf,
    /// Others may read it: worth a warning.
    pub is_open_to_others: bool,
    _lock: File,
}

/// Why a directory cannot be served from.
#[derive(Debug)]
pub enum DirectoryError {
    Io {
        path: PathBuf,
        doing: &'static str,
        error: io::Error,
    },
    /// Another process has it.
    Locked {
        path: PathBuf,
    },
    /// etcd's, or another program's.
    Foreign {
        path: PathBuf,
        what: String,
    },
    /// etcd's and Braid's.
    Mixed {
        path: PathBuf,
        belongings: MemberFiles,
    },
    Identity {
        path: PathBuf,
        error: BadIdentity,
    },
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirectoryError::Io { path, doing, error } => {
                write!(f, "cannot {doing} {}: {error}", path.display())
            }
            DirectoryError::Locked { path } => write!(
                f,
                "data directory {} is in use by another process: stop it, or choose another \
                 --data-dir",
                path.display()
            ),
            DirectoryError::Foreign { path, what } => write!(
                f,
                "data directory {} belongs to another program: {what}; choose another --data-dir",
                path.display()
            ),
            DirectoryError::Mixed { path, belongings } => write!(
                f,
                "data directory {} belongs to two programs: {}",
                path.display(),
                belongings.both()
            ),
            DirectoryError::Identity { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for DirectoryError {}

impl Directory {
    /// Opens or makes `<data_dir>/member` and locks it.
    pub fn open(data_dir: &Path) -> Result<Directory, DirectoryError> {
        let member = data_dir.join("member");
        refuse_foreign(data_dir, &member)?;
        make_directory(&member).map_err(|error| failed(&member, "create", error))?;
        let mode = fs::metadata(data_dir)
            .map_err(|error| failed(data_dir, "look at", error))?
            .permissions()
            .mode();
        let path = member.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&path, "open", error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(DirectoryError::Locked { path: data_dir.to_owned() });
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(&path, "lock", error)),
        }
        Ok(Directory { member, is_open_to_others: mode & 0o077 != 0, _lock: lock })
    }

    /// Reads the identity that the directory belongs to; `None` if it belongs to nobody yet.
    pub fn identity(&self) -> Result<Option<Identity>, DirectoryError> {
        let path = self.member.join("identity");
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => {
                file.take(4096)
                    .read_to_end(&mut bytes)
                    .map_err(|error| failed(&path, "read", error))?;
                Identity::decode(&bytes)
                    .map(Some)
                    .map_err(|error| DirectoryError::Identity { path, error })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.refuse_orphans()?;
                Ok(None)
            }
            Err(error) => Err(failed(&path, "open", error)),
        }
    }

    /// Groups without an identity are not a new member: something is missing.
    fn refuse_orphans(&self) -> Result<(), DirectoryError> {
        let entries =
            fs::read_dir(&self.member).map_err(|error| failed(&self.member, "list", error))?;
        for entry in entries {
            let entry = entry.map_err(|error| failed(&self.member, "list", error))?;
            if entry.file_name().to_string_lossy().starts_with("group-") {
                let path = self.member.join("identity");
                return Err(DirectoryError::Identity { path, error: BadIdentity::Damaged });
            }
        }
        Ok(())
    }

    /// Makes the directory `identity`'s (D4: written aside, synced, renamed, directory synced, and
    /// every directory that leads to it, whoever made them).
    pub fn adopt(&self, identity: &Identity) -> Result<(), DirectoryError> {
        let (path, aside) = (self.member.join("identity"), self.member.join("identity.tmp"));
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            file.write_all(identity.encode().as_bytes())?;
            file.sync_all()?;
            fs::rename(&aside, &path)?;
            // A start that was cut short may have made directories that are not durable yet.
            let data_dir = parent_of(&self.member);
            [&self.member, data_dir, parent_of(data_dir)].into_iter().try_for_each(sync_directory)
        };
        write().map_err(|error| failed(&path, "write", error))
    }
}

/// Returns a number that nobody can guess, for a new identity.
pub fn draw_salt() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn refuse_foreign(data_dir: &Path, member: &Path) -> Result<(), DirectoryError> {
    let path = data_dir.to_owned();
    if data_dir.join("proxy").exists() {
        let what = "invalid datadir; it holds a proxy directory".to_owned();
        return Err(DirectoryError::Foreign { path, what });
    }
    let entries = match fs::read_dir(member) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(member, "list", error)),
    };
    let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
    let names = names.map_err(|error| failed(member, "list", error))?;
    let belongings = MemberFiles::of(names.into_iter().filter_map(|name| name.into_string().ok()));
    match (belongings.has_etcd(), belongings.has_braid()) {
        (false, _) => Ok(()),
        (true, true) => Err(DirectoryError::Mixed { path, belongings }),
        (true, false) => {
            let what = format!("it holds etcd's {}", belongings.etcd.join(" and "));
            Err(DirectoryError::Foreign { path, what })
        }
    }
}

/// Makes a directory and those above it that are missing, for this user alone, durably.
fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent_of(path);
    make_directory(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }?;
    sync_directory(parent)
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Makes the entries of a directory durable. Only who may read one can sync it; where the data
/// directory lies, that is the operator's business.
fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(directory) => directory.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

fn failed(path: &Path, doing: &'static str, error: io::Error) -> DirectoryError {
    DirectoryError::Io { path: path.to_owned(), doing, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ClusterId, MemberId};

    #[test]
    fn a_directory_is_locked_adopted_and_known_again() {
        let temporary = tempfile::tempdir().unwrap();
        let data_dir = temporary.path().join("default.etcd");
        let directory = Directory::open(&data_dir).unwrap();
        assert!(!directory.is_open_to_others);
        assert!(matches!(Directory::open(&data_dir), Err(DirectoryError::Locked { .. })));
        assert_eq!(directory.identity().unwrap(), None);
        let identity = Identity { cluster: ClusterId(1), member: MemberId(2), shards: 3, salt: 4 };
        directory.adopt(&identity).unwrap();
        drop(directory);
        assert_eq!(Directory::open(&data_dir).unwrap().identity().unwrap(), Some(identity));
    }

    #[test]
    fn everything_that_is_made_is_for_this_user_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let data_dir = temporary.path().join("above/data");
        let directory = Directory::open(&data_dir).unwrap();
        let identity = Identity { cluster: ClusterId(1), member: MemberId(2), shards: 3, salt: 4 };
        directory.adopt(&identity).unwrap();
        let mode = |path: &str| {
            let found = fs::metadata(temporary.path().join(path)).unwrap();
            found.permissions().mode() & 0o777
        };
        for path in ["above", "above/data", "above/data/member"] {
            assert_eq!(mode(path), 0o700, "{path}");
        }
        for path in ["above/data/member/lock", "above/data/member/identity"] {
            assert_eq!(mode(path), 0o600, "{path}");
        }
    }

    #[test]
    fn directories_of_others_are_refused() {
        let temporary = tempfile::tempdir().unwrap();
        fs::create_dir_all(temporary.path().join("member/snap")).unwrap();
        let refused = Directory::open(temporary.path()).unwrap_err();
        assert!(refused.to_string().contains("belongs to another program"), "{refused}");
        fs::write(temporary.path().join("member/identity"), "braid").unwrap();
        let refused = Directory::open(temporary.path()).unwrap_err().to_string();
        assert!(refused.contains("of etcd (member/snap) and of Braid (member/identity)"));
        assert!(refused.contains("move member/snap away"), "{refused}");
        let temporary = tempfile::tempdir().unwrap();
        fs::create_dir_all(temporary.path().join("member/group-001/wal")).unwrap();
        let directory = Directory::open(temporary.path()).unwrap();
        assert!(directory.identity().unwrap_err().to_string().contains("damaged"));
    }
}
