//! Temporary.
use crate::types::GroupId;
use crate::wal::*;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::*;
#[derive(Debug)]
pub struct StdDisk(PathBuf);
impl StdDisk {
    pub fn new(p: &Path) -> StdDisk {
        StdDisk(p.to_owned())
    }
}
impl ReadDisk for StdDisk {
    fn list(&self, d: &str) -> io::Result<Vec<String>> {
        match fs::read_dir(self.0.join(d)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(vec![]),
            Err(e) => Err(e),
            Ok(r) => r.map(|e| e.map(|e| e.file_name().to_string_lossy().into_owned())).collect(),
        }
    }
    fn len(&self, p: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.0.join(p))?.len())
    }
    fn read_at(&self, p: &str, o: u64, b: &mut [u8]) -> io::Result<usize> {
        let f = fs::File::open(self.0.join(p))?;
        let mut n = 0;
        while n < b.len() {
            let r = f.read_at(&mut b[n..], o + n as u64)?;
            if r == 0 {
                break;
            }
            n += r;
        }
        Ok(n)
    }
}
pub struct DiskRing {
    p: PathBuf,
    done: Vec<((GroupId, OpId), DiskOutcome)>,
    bell: super::Ringer,
}
impl DiskRing {
    pub fn new(p: &Path, b: &super::Doorbell) -> io::Result<DiskRing> {
        Ok(DiskRing { p: p.to_owned(), done: vec![], bell: b.ringer() })
    }
    pub fn is_idle(&self) -> bool {
        self.done.is_empty()
    }
    pub fn flush(&mut self) {
        if !self.done.is_empty() {
            self.bell.ring()
        }
    }
    pub fn completions(&mut self, out: &mut Vec<((GroupId, OpId), DiskOutcome)>) {
        out.append(&mut self.done)
    }
    pub fn submit(&mut self, tag: (GroupId, OpId), op: DiskOp) {
        let j = |x: &str| self.p.join(x);
        let r = match op {
            DiskOp::WriteBatch { path, offset, buffer } => {
                let f = fs::OpenOptions::new().write(true).open(j(&path)).unwrap();
                f.write_all_at(buffer.as_slice(), offset).unwrap();
                f.sync_data().unwrap();
                DiskOutcome::Done(Some(buffer))
            }
            DiskOp::PrepareSegment { path, bytes, recycle } => {
                let p = j(&path);
                fs::create_dir_all(p.parent().unwrap()).unwrap();
                match recycle {
                    Some(r) => fs::rename(j(&r), p).unwrap(),
                    None => {
                        let mut f = fs::File::create(p).unwrap();
                        f.write_all(&vec![0; bytes as usize]).unwrap();
                        f.sync_all().unwrap();
                    }
                }
                DiskOutcome::Done(None)
            }
            DiskOp::AppendTemporary { path, offset, bytes } => {
                let p = j(&path);
                fs::create_dir_all(p.parent().unwrap()).unwrap();
                let f = fs::OpenOptions::new().create(true).write(true).open(p).unwrap();
                if offset == 0 {
                    f.set_len(0).unwrap()
                }
                f.write_all_at(&bytes, offset).unwrap();
                DiskOutcome::Done(None)
            }
            DiskOp::PublishTemporary { path, target } => {
                fs::File::open(j(&path)).unwrap().sync_all().unwrap();
                fs::rename(j(&path), j(&target)).unwrap();
                DiskOutcome::Done(None)
            }
            DiskOp::Remove { path } => {
                let _ = fs::remove_file(j(&path));
                DiskOutcome::Done(None)
            }
        };
        self.done.push((tag, r));
    }
}
