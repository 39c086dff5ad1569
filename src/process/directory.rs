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
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::member::{BadIdentity, Identity};

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
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&member).map_err(|error| failed(&member, "create", error))?;
        let mode = fs::metadata(data_dir)
            .map_err(|error| failed(data_dir, "look at", error))?
            .permissions()
            .mode();
        let path = member.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
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

    /// Whose directory it is; `None` if it has been nobody's.
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

    /// Makes the directory `identity`'s (D4: written aside, synced, renamed, directory synced).
    pub fn adopt(&self, identity: &Identity) -> Result<(), DirectoryError> {
        let (path, aside) = (self.member.join("identity"), self.member.join("identity.tmp"));
        let write = || -> io::Result<()> {
            let mut file = File::create(&aside)?;
            file.write_all(identity.encode().as_bytes())?;
            file.sync_all()?;
            fs::rename(&aside, &path)?;
            File::open(&self.member)?.sync_all()?;
            if let Some(parent) = self.member.parent() {
                File::open(parent)?.sync_all()?;
            }
            Ok(())
        };
        write().map_err(|error| failed(&path, "write", error))
    }
}

/// A number that nobody can guess, for a new identity.
pub fn draw_salt() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn refuse_foreign(data_dir: &Path, member: &Path) -> Result<(), DirectoryError> {
    for (directory, name, what) in [
        (member, "snap", "it holds etcd's member/snap"),
        (member, "wal", "it holds etcd's member/wal"),
        (data_dir, "proxy", "invalid datadir; it holds a proxy directory"),
    ] {
        if directory.join(name).exists() {
            let (path, what) = (data_dir.to_owned(), what.to_owned());
            return Err(DirectoryError::Foreign { path, what });
        }
    }
    Ok(())
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
    fn directories_of_others_are_refused() {
        let temporary = tempfile::tempdir().unwrap();
        fs::create_dir_all(temporary.path().join("member/snap")).unwrap();
        let refused = Directory::open(temporary.path()).unwrap_err();
        assert!(refused.to_string().contains("belongs to another program"), "{refused}");
        let temporary = tempfile::tempdir().unwrap();
        fs::create_dir_all(temporary.path().join("member/group-001/wal")).unwrap();
        let directory = Directory::open(temporary.path()).unwrap();
        assert!(directory.identity().unwrap_err().to_string().contains("damaged"));
    }
}
