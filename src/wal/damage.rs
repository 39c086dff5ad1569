//! The reasons for which a data directory cannot be opened, with the place and the remedy.

use std::fmt;
use std::io;

/// Bytes that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Relative to the member's directory.
    pub file: String,
    pub offset: u64,
    pub what: String,
}

impl Damage {
    /// The remedy for the operator. A member never repairs such a log by itself: what it would cut
    /// off may be what it acknowledged.
    pub const REMEDY: &'static str = "keep a copy of the data directory, remove this member from \
        the cluster, empty its data directory and add it again as a new member; a cluster of one \
        is restored from its newest backup";
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at offset {}: {}", self.file, self.offset, self.what)
    }
}

/// Why a group's files cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    Damage(Damage),
    /// The content is whole, but something that was durable is not there any more.
    Missing {
        file: String,
        what: String,
    },
    /// The file is in order, but not of this cluster, member or group.
    Foreign {
        file: String,
        what: String,
    },
    /// The file is of a format that this program does not read.
    Format {
        file: String,
        version: u32,
        supported: u32,
    },
    /// The disk could not be read.
    Io {
        file: String,
        offset: u64,
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Damage(damage) => write!(f, "{damage}; {}", Damage::REMEDY),
            OpenError::Missing { file, what } => write!(
                f,
                "{file} is missing or incomplete: {what}; put back what was removed, or else {}",
                Damage::REMEDY
            ),
            OpenError::Foreign { file, what } => {
                write!(f, "{file} does not belong here: {what}; check --data-dir")
            }
            OpenError::Format { file, version, supported } => write!(
                f,
                "{file} has format version {version}, this program reads up to {supported}: it was \
                 written by another release of braid; start that one"
            ),
            OpenError::Io { file, offset, error } => {
                write!(f, "{file} cannot be read at offset {offset}: {error}")
            }
        }
    }
}

impl std::error::Error for OpenError {}

impl From<Damage> for OpenError {
    fn from(damage: Damage) -> OpenError {
        OpenError::Damage(damage)
    }
}
