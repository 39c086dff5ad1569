//! Reading checkpoints: every byte is checked before it is believed.

use bytes::Bytes;

use crate::types::{ClusterId, Epoch, GroupId, LogIndex, MemberId, Revision, Term};

use super::checkpoint::{
    CHECKPOINT_HEADER_BYTES_MAX, CHECKPOINT_VERSION, CHUNK_CRC_AT, CHUNK_HEADER_BYTES,
    CHUNK_HEADER_CRC_AT, CHUNK_LENGTH_AT, CHUNK_MAGIC, CHUNK_ORDINAL_AT, CheckpointHeader,
    Checkpoints, FOOTER_BYTES, FOOTER_CHUNKS_AT, FOOTER_CRC_AT, FOOTER_HEADER_CRC_AT, FOOTER_MAGIC,
    FOOTER_TOTAL_AT, HEADER_ATTACHMENT_AT, HEADER_BYTES, HEADER_CLUSTER_AT, HEADER_COMPACT_AT,
    HEADER_CRC_AT, HEADER_GROUP_AT, HEADER_INDEX_AT, HEADER_LENGTH_AT, HEADER_MAGIC,
    HEADER_MEMBER_AT, HEADER_OPENS_AT, HEADER_STABLE_AT, HEADER_TERM_AT, HEADER_VERSION_AT,
    OPEN_BYTES, checkpoint_index, checkpoint_path,
};
use super::damage::{Damage, OpenError};
use super::format::{Owner, get_u16, get_u32, get_u64};
use super::op::{DiskPath, TEMPORARY_SUFFIX, checkpoint_directory};
use super::read_disk::{ReadDisk, Window, len, list};

/// Reads one checkpoint, chunk by chunk. A chunk shares the memory it was read into.
pub struct CheckpointReader<'d> {
    disk: &'d dyn ReadDisk,
    path: DiskPath,
    len: u64,
    header: CheckpointHeader,
    header_bytes: u64,
    header_crc: u32,
    window: Window,
    offset: u64,
    chunks: u32,
    total: u64,
    ended: bool,
}

impl<'d> CheckpointReader<'d> {
    /// Opens the checkpoint at `path`, believing nothing but its header.
    pub fn open(
        disk: &'d dyn ReadDisk,
        owner: Owner,
        path: DiskPath,
    ) -> Result<CheckpointReader<'d>, OpenError> {
        let len = len(disk, &path)?;
        let mut window = Window::default();
        let fixed = window.get(disk, &path, len, 0, HEADER_BYTES)?;
        let bad = |what: &str| {
            OpenError::from(Damage { file: path.to_string(), offset: 0, what: what.to_string() })
        };
        if fixed.len() < HEADER_BYTES || fixed[..HEADER_CRC_AT] != HEADER_MAGIC {
            return Err(bad("this is no checkpoint"));
        }
        let length = get_u32(&fixed, HEADER_LENGTH_AT) as usize;
        if !(HEADER_BYTES..=CHECKPOINT_HEADER_BYTES_MAX).contains(&length) {
            return Err(bad("the header has an impossible length"));
        }
        let bytes = window.get(disk, &path, len, 0, length)?;
        let header_crc = get_u32(&bytes, HEADER_CRC_AT);
        if bytes.len() < length || crc32fast::hash(&bytes[HEADER_VERSION_AT..]) != header_crc {
            return Err(bad("the header's checksum does not match"));
        }
        let version = get_u32(&bytes, HEADER_VERSION_AT);
        if version != CHECKPOINT_VERSION {
            let (file, supported) = (path.to_string(), CHECKPOINT_VERSION);
            return Err(OpenError::Format { file, version, supported });
        }
        check_owner(&bytes, &owner, &path)?;
        let header = decode(&bytes).ok_or_else(|| bad("the header's lists do not fill it"))?;
        Ok(CheckpointReader {
            disk,
            path,
            len,
            header,
            header_bytes: length as u64,
            header_crc,
            window,
            offset: length as u64,
            chunks: 0,
            total: 0,
            ended: false,
        })
    }

    /// Returns the checkpoint's header.
    pub fn header(&self) -> &CheckpointHeader {
        &self.header
    }

    /// Returns the file's length.
    pub fn file_bytes(&self) -> u64 {
        self.len
    }

    /// Chunks read so far.
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Returns the next chunk; `None` after the last, when also the footer is found to be right.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, OpenError> {
        if self.ended {
            return Ok(None);
        }
        let head = self.get(CHUNK_HEADER_BYTES)?;
        if head.len() < CHUNK_HEADER_BYTES || head[..CHUNK_CRC_AT] != CHUNK_MAGIC {
            self.footer()?;
            self.ended = true;
            return Ok(None);
        }
        let length = get_u32(&head, CHUNK_LENGTH_AT) as usize;
        let chunk = self.get(CHUNK_HEADER_BYTES + length)?;
        if chunk.len() < CHUNK_HEADER_BYTES + length {
            return Err(self.damage("a chunk is longer than the file"));
        }
        if crc32fast::hash(&chunk[CHUNK_LENGTH_AT..]) != get_u32(&chunk, CHUNK_CRC_AT) {
            return Err(self.damage("a chunk's checksum does not match"));
        }
        if get_u32(&chunk, CHUNK_ORDINAL_AT) != self.chunks
            || get_u32(&chunk, CHUNK_HEADER_CRC_AT) != self.header_crc
        {
            return Err(self.damage("a chunk belongs elsewhere"));
        }
        self.chunks += 1;
        self.total += length as u64;
        self.offset += chunk.len() as u64;
        Ok(Some(chunk.slice(CHUNK_HEADER_BYTES..)))
    }

    fn footer(&mut self) -> Result<(), OpenError> {
        let footer = self.get(FOOTER_BYTES)?;
        if footer.len() < FOOTER_BYTES || footer[..FOOTER_CRC_AT] != FOOTER_MAGIC {
            return Err(self.damage("neither a chunk nor the end is here"));
        }
        if crc32fast::hash(&footer[FOOTER_CHUNKS_AT..]) != get_u32(&footer, FOOTER_CRC_AT) {
            return Err(self.damage("the footer's checksum does not match"));
        }
        if get_u32(&footer, FOOTER_CHUNKS_AT) != self.chunks
            || get_u32(&footer, FOOTER_HEADER_CRC_AT) != self.header_crc
            || get_u64(&footer, FOOTER_TOTAL_AT) != self.total
        {
            return Err(self.damage("the footer does not fit the chunks before it"));
        }
        if self.offset + FOOTER_BYTES as u64 != self.len {
            return Err(self.damage("bytes follow the end"));
        }
        Ok(())
    }

    /// Reads everything once, then stands at the first chunk again.
    pub fn verify(&mut self) -> Result<(), OpenError> {
        while self.next_chunk()?.is_some() {}
        self.rewind();
        Ok(())
    }

    /// Goes back to the first chunk.
    pub fn rewind(&mut self) {
        self.offset = self.header_bytes;
        self.chunks = 0;
        self.total = 0;
        self.ended = false;
    }

    fn get(&mut self, len: usize) -> Result<Bytes, OpenError> {
        self.window.get(self.disk, &self.path, self.len, self.offset, len)
    }

    fn damage(&self, what: &str) -> OpenError {
        let (file, offset) = (self.path.to_string(), self.offset);
        Damage { file, offset, what: what.to_string() }.into()
    }
}

fn check_owner(bytes: &[u8], owner: &Owner, path: &str) -> Result<(), OpenError> {
    let cluster = ClusterId(get_u64(bytes, HEADER_CLUSTER_AT));
    let member = MemberId(get_u64(bytes, HEADER_MEMBER_AT));
    let group = GroupId(get_u16(bytes, HEADER_GROUP_AT));
    let what = if cluster != owner.cluster {
        format!("it is of cluster {:x}, this one is {:x}", cluster.0, owner.cluster.0)
    } else if member != owner.member {
        format!("it is of member {:x}, this one is {:x}", member.0, owner.member.0)
    } else if group != owner.group {
        format!("it is of group {group}, not {}", owner.group)
    } else {
        return Ok(());
    };
    Err(OpenError::Foreign { file: path.to_string(), what })
}

/// Reads the owner that a checkpoint names; its checksum is not yet checked.
pub(super) fn owner_of(disk: &dyn ReadDisk, path: &str) -> Result<Owner, OpenError> {
    let fixed = Window::default().get(disk, path, len(disk, path)?, 0, HEADER_BYTES)?;
    if fixed.len() < HEADER_BYTES {
        let (file, what) = (path.to_string(), "this is no checkpoint".to_string());
        return Err(Damage { file, offset: 0, what }.into());
    }
    Ok(Owner {
        cluster: ClusterId(get_u64(&fixed, HEADER_CLUSTER_AT)),
        member: MemberId(get_u64(&fixed, HEADER_MEMBER_AT)),
        group: GroupId(get_u16(&fixed, HEADER_GROUP_AT)),
        salt: 0,
    })
}

/// Returns the fields of a header whose checksum is right; `None` if its lists do not fill it
/// exactly.
fn decode(bytes: &Bytes) -> Option<CheckpointHeader> {
    let opens = get_u32(bytes, HEADER_OPENS_AT) as usize;
    let attachment = get_u32(bytes, HEADER_ATTACHMENT_AT) as usize;
    let lists = opens.checked_mul(OPEN_BYTES)?.checked_add(attachment)?;
    if lists != bytes.len() - HEADER_BYTES {
        return None;
    }
    let (opens, attachment) = bytes[HEADER_BYTES..].split_at(opens * OPEN_BYTES);
    let signed = |at| Revision(get_u64(bytes, at).cast_signed());
    let open = |open: &[u8]| {
        let cut = get_u64(open, size_of::<u64>()).cast_signed();
        (Epoch(get_u64(open, 0)), Revision(cut))
    };
    Some(CheckpointHeader {
        index: LogIndex(get_u64(bytes, HEADER_INDEX_AT)),
        term: Term(get_u64(bytes, HEADER_TERM_AT)),
        stable: signed(HEADER_STABLE_AT),
        compact: signed(HEADER_COMPACT_AT),
        opens: opens.chunks_exact(OPEN_BYTES).map(open).collect(),
        attachment: Bytes::copy_from_slice(attachment),
    })
}

/// The content of a directory of checkpoints.
pub(super) struct CheckpointFiles {
    /// Newest first.
    pub published: Vec<(LogIndex, DiskPath)>,
    /// Files that a crash left there.
    pub temporary: Vec<DiskPath>,
}

pub(super) fn checkpoint_files(
    disk: &dyn ReadDisk,
    group: GroupId,
) -> Result<CheckpointFiles, OpenError> {
    let directory = checkpoint_directory(group);
    let names = list(disk, &directory)?;
    let path = |index| (index, checkpoint_path(&directory, index));
    let mut published: Vec<_> =
        names.iter().filter_map(|name| checkpoint_index(name)).map(path).collect();
    published.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
    let left = names.iter().filter(|name| name.ends_with(TEMPORARY_SUFFIX));
    let temporary = left.map(|name| format!("{directory}/{name}").into()).collect();
    Ok(CheckpointFiles { published, temporary })
}

/// Returns the newest checkpoint that is good from end to end, if there is any checkpoint. What is
/// wrong with newer ones goes into `damaged`.
pub(super) fn newest_good<'d>(
    disk: &'d dyn ReadDisk,
    owner: Owner,
    damaged: &mut Vec<OpenError>,
) -> Result<(Option<CheckpointReader<'d>>, Checkpoints), OpenError> {
    let files = checkpoint_files(disk, owner.group)?;
    let mut good = None;
    let (mut published, mut bad) = (Vec::new(), Vec::new());
    for (index, path) in files.published {
        if good.is_some() {
            published.push(index);
            continue;
        }
        let opened = CheckpointReader::open(disk, owner, path.clone());
        match opened.and_then(|mut found| found.verify().map(|()| found)) {
            Ok(found) if found.header().index != index => {
                let what = format!("its name and its index, {}, differ", found.header().index);
                damaged.push(Damage { file: path.to_string(), offset: 0, what }.into());
                bad.push(path);
            }
            Ok(found) => {
                published.push(index);
                good = Some(found);
            }
            Err(error @ (OpenError::Foreign { .. } | OpenError::Format { .. })) => {
                return Err(error);
            }
            Err(error) => {
                damaged.push(error);
                bad.push(path);
            }
        }
    }
    if good.is_none() && !damaged.is_empty() {
        return Err(damaged.swap_remove(0));
    }
    Ok((good, Checkpoints::new(owner, published, files.temporary, bad)))
}
