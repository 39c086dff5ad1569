//! Circles of imports between the files of a room.
//!
//! A file uses another if a path in it, tests aside, leads to an item that is defined there. What a
//! module only passes on (`pub use`) counts as defined where it comes from, and naming a module is
//! no use of it. Files that use each other, directly or in a ring, are read and changed together,
//! so the type that both need belongs into a file of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Path, Source};

/// The files of all rooms.
#[derive(Default)]
pub struct Circles {
    /// By path of the module: `["store", "tree"]`.
    modules: BTreeMap<Vec<String>, Module>,
}

struct Module {
    file: String,
    /// What the file passes on, by name, and where it comes from.
    passed_on: BTreeMap<String, Vec<String>>,
    /// Modules whose every item is passed on.
    passed_on_whole: Vec<Vec<String>>,
    /// What the file imports, by name.
    imported: BTreeMap<String, Vec<String>>,
    /// Every other path in it.
    used: BTreeSet<Vec<String>>,
}

impl Circles {
    /// Adds a file; `file` is its path from the root, such as `src/store/tree.rs`.
    pub fn add(&mut self, file: &str, source: &Source) {
        let inside = file.strip_prefix("src/").expect("below src").trim_end_matches(".rs");
        let mut path: Vec<String> = inside.split('/').map(str::to_owned).collect();
        if path.last().is_some_and(|last| last == "mod") {
            path.pop();
        }
        let mut module = Module {
            file: file.to_owned(),
            passed_on: BTreeMap::new(),
            passed_on_whole: Vec::new(),
            imported: BTreeMap::new(),
            used: BTreeSet::new(),
        };
        for path in &source.paths {
            let Path { segments, is_import, is_public, name, .. } = path;
            let inner = source.is_in_inline_module(path);
            // Within a module with a body, `super` is the file.
            let segments = match segments.split_first() {
                Some((first, rest)) if inner && first == "super" => rest.to_vec(),
                _ => segments.clone(),
            };
            if segments.is_empty() {
                continue;
            }
            match (is_import, is_public, name == "*") {
                (true, true, true) => {
                    module.passed_on_whole.push(segments[..segments.len() - 1].to_vec());
                }
                (true, true, false) => drop(module.passed_on.insert(name.clone(), segments)),
                (true, false, _) => {
                    module.used.insert(segments.clone());
                    module.imported.insert(name.clone(), segments);
                }
                (false, ..) => drop(module.used.insert(segments)),
            }
        }
        self.modules.insert(path, module);
    }

    /// The circles: the files of each, sorted.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let uses: BTreeMap<&str, BTreeSet<&str>> = self
            .modules
            .iter()
            .map(|(path, module)| (&*module.file, self.uses(path, module)))
            .collect();
        let reaches = |from: &str| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
            while let Some(file) = open.pop() {
                for next in uses.get(&*file).into_iter().flatten() {
                    if seen.insert((*next).to_owned()) {
                        open.push((*next).to_owned());
                    }
                }
            }
            seen
        };
        let reached: BTreeMap<&str, BTreeSet<String>> =
            uses.keys().map(|&file| (file, reaches(file))).collect();
        let mut circles: BTreeSet<Vec<String>> = BTreeSet::new();
        for (&file, others) in &reached {
            if others.contains(file) {
                let back = others.iter().filter(|other| reached[&***other].contains(file));
                circles.insert(back.cloned().collect());
            }
        }
        circles.into_iter().collect()
    }

    /// The files of its room that a module uses.
    fn uses<'a>(&'a self, path: &[String], module: &'a Module) -> BTreeSet<&'a str> {
        let mut files = BTreeSet::new();
        for used in &module.used {
            let through = module.imported.get(&used[0]).filter(|_| used.len() > 1);
            let whole = match through {
                Some(head) => [&head[..], &used[1..]].concat(),
                None => used.clone(),
            };
            files.extend(self.defining(path, &whole, 0));
        }
        files.retain(|file| {
            let room = |file: &str| file.split(['/', '.']).nth(1).map(str::to_owned);
            *file != module.file && room(file) == room(&module.file)
        });
        files
    }

    /// The file that defines what `used` names in the module `from`; `None` where it names a module
    /// or something outside.
    fn defining(&self, from: &[String], used: &[String], depth: usize) -> Option<&str> {
        let (mut at, mut rest) = match used[0].as_str() {
            "crate" => (Vec::new(), &used[1..]),
            "self" => (from.to_vec(), &used[1..]),
            "super" => {
                let up = used.iter().take_while(|segment| *segment == "super").count();
                (from[..from.len().checked_sub(up)?].to_vec(), &used[up..])
            }
            child if self.modules.contains_key(&[from, &[child.to_owned()]].concat()) => {
                (from.to_vec(), used)
            }
            name => {
                // A name that the module passes on is used under its own name, too.
                let target = self.modules.get(from)?.passed_on.get(name)?;
                if depth > 8 {
                    return None;
                }
                return self.defining(from, &[target, &used[1..]].concat(), depth + 1);
            }
        };
        while let Some((name, below)) = rest.split_first() {
            let child = [&at[..], std::slice::from_ref(name)].concat();
            if self.modules.contains_key(&child) {
                (at, rest) = (child, below);
                continue;
            }
            let module = self.modules.get(&at)?;
            if depth > 8 {
                return None;
            }
            if let Some(target) = module.passed_on.get(name) {
                return self.defining(&at, &[target, below].concat(), depth + 1);
            }
            let whole = module
                .passed_on_whole
                .iter()
                .find_map(|target| self.defining(&at, &[&target[..], rest].concat(), depth + 1));
            return whole.or(Some(&module.file));
        }
        None
    }
}
