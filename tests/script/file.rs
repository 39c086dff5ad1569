//! A scenario file: blocks of commands and their output, read, compared and written back.

use std::fs;
use std::path::{Path, PathBuf};

const ONLY_GRPC: &str = "only gRPC";
const ONLY_OUTSIDE: &str = "only outside";

/// One block: comments and commands, then what they print.
#[derive(Clone, Debug)]
pub struct Block {
    /// Comments and command lines as they stand.
    pub input: Vec<String>,
    pub expected: Vec<String>,
}

/// A file of `tests/cases/`.
#[derive(Clone, Debug)]
pub struct CaseFile {
    pub path: PathBuf,
    /// Flags of a server of its own, if it asks for one.
    pub server: Option<Vec<String>>,
    /// Whether the case is about gRPC alone.
    pub only_grpc: bool,
    /// Whether the case needs a server that is a process.
    pub only_outside: bool,
    /// Comment lines before the first block.
    header: Vec<String>,
    pub blocks: Vec<Block>,
}

impl CaseFile {
    /// Every scenario of the folder, in the order of names; `only` keeps those whose path has it.
    pub fn all(folder: &Path, only: &str) -> Vec<CaseFile> {
        let mut files = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("the folder of cases") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_string_lossy().contains(only) {
                    files.push(path);
                }
            }
        }
        files.sort();
        assert!(!files.is_empty(), "no case matches {only:?}");
        files.iter().map(|path| CaseFile::read(path)).collect()
    }

    fn read(path: &Path) -> CaseFile {
        let text = fs::read_to_string(path).expect("a case");
        CaseFile::parse(path, &text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    fn parse(path: &Path, text: &str) -> Result<CaseFile, String> {
        let mut file = CaseFile {
            path: path.to_owned(),
            server: None,
            only_grpc: false,
            only_outside: false,
            header: Vec::new(),
            blocks: Vec::new(),
        };
        let mut paragraphs = text.trim_end().split("\n\n").peekable();
        if let Some(header) = paragraphs.next_if(|first| !first.contains("\n---")) {
            for line in header.lines() {
                match line.strip_prefix("server") {
                    Some(flags) if file.server.is_none() => {
                        file.server = Some(flags.split_whitespace().map(str::to_owned).collect());
                    }
                    _ if line == ONLY_GRPC => file.only_grpc = true,
                    _ if line == ONLY_OUTSIDE => file.only_outside = true,
                    _ if line.starts_with('#') => file.header.push(line.to_owned()),
                    _ => return Err(format!("not a comment: {line}")),
                }
            }
        }
        if !file.header.iter().any(|line| line.contains("docs/etcd-")) {
            return Err("the header cites no document about etcd: docs/etcd-…".to_owned());
        }
        for paragraph in paragraphs {
            let (input, expected) = paragraph
                .split_once("\n---")
                .ok_or_else(|| format!("a block without ---: {paragraph}"))?;
            file.blocks.push(Block {
                input: input.lines().map(str::to_owned).collect(),
                expected: expected.lines().skip(1).map(str::to_owned).collect(),
            });
        }
        if file.blocks.is_empty() { Err("no blocks".to_owned()) } else { Ok(file) }
    }

    /// Writes the file back with what its blocks printed.
    pub fn write(&self, printed: &[Vec<String>]) {
        let mut text = String::new();
        for line in &self.header {
            text.push_str(&format!("{line}\n"));
        }
        if let Some(flags) = &self.server {
            text.push_str(format!("server {}", flags.join(" ")).trim_end());
            text.push('\n');
        }
        if self.only_grpc {
            text.push_str(&format!("{ONLY_GRPC}\n"));
        }
        if self.only_outside {
            text.push_str(&format!("{ONLY_OUTSIDE}\n"));
        }
        for (block, printed) in self.blocks.iter().zip(printed) {
            text.push('\n');
            for line in block.input.iter().chain([&"---".to_owned()]).chain(printed) {
                text.push_str(&format!("{line}\n"));
            }
        }
        fs::write(&self.path, text).expect("write the case");
    }
}

impl Block {
    /// The commands: each line that is not a comment and not indented, with the indented ones that
    /// follow it.
    pub fn commands(&self) -> Vec<Vec<&str>> {
        let mut commands: Vec<Vec<&str>> = Vec::new();
        for line in self.input.iter().filter(|line| !line.starts_with('#')) {
            match commands.last_mut() {
                Some(command) if line.starts_with(' ') => command.push(line),
                _ => commands.push(vec![line]),
            }
        }
        commands
    }
}
