//! A disk as power cuts see it: what was written lasts from fsync of the file on, names from fsync of their
//! directory on, and before that each goes either way.
//!
//! The same in kind as `herd_store::MemoryDisk`, but with directories in directories, for a real process, and with
//! making safe that takes time: only what was done before it began is safe when it ends.

use crate::chance::Chance;
use std::collections::{BTreeMap, VecDeque};

/// The number of the first directory.
pub(crate) const ROOT: u64 = 1;

/// What a disk writes at once or not at all.
const SECTOR_BYTES: usize = 512;

/// Everything on it, by number.
#[derive(Debug)]
pub(crate) struct Platter {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// Changes so far: each has a number.
    changes: u64,
}

#[derive(Debug)]
enum Node {
    File(Content),
    Dir(Names),
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    safe: Vec<u8>,
    pending: VecDeque<(u64, Change)>,
}

#[derive(Debug, Default)]
struct Names {
    now: BTreeMap<String, u64>,
    safe: BTreeMap<String, u64>,
    pending: VecDeque<(u64, NameChange)>,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(String, u64),
    Remove(String),
    Rename(String, String, u64),
}

/// What may be known of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File(usize),
    Dir,
}

/// Why something is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Missing,
    WrongKind,
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, new) => put(*offset, new, bytes),
            Self::Truncate(length) => bytes.resize(*length, 0),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Add(name, number) => drop(names.insert(name.clone(), *number)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to, number) => {
                names.remove(from);
                names.insert(to.clone(), *number);
            }
        }
    }
}

fn put(offset: usize, new: &[u8], bytes: &mut Vec<u8>) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(to) = bytes.get_mut(offset..end) {
        to.copy_from_slice(new);
    }
}

impl Platter {
    pub(crate) fn new() -> Self {
        let nodes = BTreeMap::from([(ROOT, Node::Dir(Names::default()))]);
        Self { nodes, next: ROOT + 1, changes: 0 }
    }

    pub(crate) fn kind(&self, number: u64) -> Result<Kind, Refusal> {
        Ok(match self.nodes.get(&number).ok_or(Refusal::Missing)? {
            Node::File(content) => Kind::File(content.now.len()),
            Node::Dir(_) => Kind::Dir,
        })
    }

    pub(crate) fn find(&mut self, dir: u64, name: &str) -> Result<u64, Refusal> {
        self.names(dir)?.now.get(name).copied().ok_or(Refusal::Missing)
    }

    pub(crate) fn list(&mut self, dir: u64) -> Result<Vec<(String, u64)>, Refusal> {
        Ok(self.names(dir)?.now.iter().map(|(name, number)| (name.clone(), *number)).collect())
    }

    pub(crate) fn add_file(&mut self, dir: u64, name: &str) -> Result<u64, Refusal> {
        self.add(dir, name, Node::File(Content::default()))
    }

    pub(crate) fn add_dir(&mut self, dir: u64, name: &str) -> Result<u64, Refusal> {
        self.add(dir, name, Node::Dir(Names::default()))
    }

    pub(crate) fn remove(&mut self, dir: u64, name: &str) -> Result<(), Refusal> {
        self.find(dir, name)?;
        self.change_names(dir, NameChange::Remove(name.to_owned()))
    }

    pub(crate) fn rename(&mut self, dir: u64, from: &str, to: &str) -> Result<(), Refusal> {
        let number = self.find(dir, from)?;
        self.change_names(dir, NameChange::Rename(from.to_owned(), to.to_owned(), number))
    }

    pub(crate) fn read(
        &mut self,
        file: u64,
        offset: usize,
        count: usize,
    ) -> Result<&[u8], Refusal> {
        let there = self.content(file)?.now.get(offset..).unwrap_or_default();
        Ok(there.get(..count).unwrap_or(there))
    }

    pub(crate) fn write(&mut self, file: u64, offset: usize, bytes: &[u8]) -> Result<(), Refusal> {
        self.change(file, Change::Write(offset, bytes.to_owned()))
    }

    pub(crate) fn truncate(&mut self, file: u64, length: usize) -> Result<(), Refusal> {
        self.change(file, Change::Truncate(length))
    }

    /// What is done from now on comes behind this mark.
    pub(crate) fn mark(&self) -> u64 {
        self.changes
    }

    /// Everything done to it before the mark is safe.
    pub(crate) fn make_safe(&mut self, number: u64, mark: u64) {
        match self.nodes.get_mut(&number) {
            Some(Node::File(Content { safe, pending, .. })) => {
                while let Some((_, change)) = pending.pop_front_if(|(at, _)| *at <= mark) {
                    change.apply(safe);
                }
            }
            Some(Node::Dir(Names { safe, pending, .. })) => {
                while let Some((_, change)) = pending.pop_front_if(|(at, _)| *at <= mark) {
                    change.apply(safe);
                }
            }
            None => {}
        }
    }

    /// The power goes and comes back.
    pub(crate) fn power_is_cut(&mut self, chance: &mut Chance) {
        for node in self.nodes.values_mut() {
            match node {
                Node::File(content) => cut_file(content, chance),
                Node::Dir(names) => cut_names(names, chance),
            }
        }
        // What no name leads to any more is free.
        let (mut reached, mut next) = (BTreeMap::new(), vec![ROOT]);
        while let Some(number) = next.pop() {
            let Some(node) = self.nodes.remove(&number) else { continue };
            if let Node::Dir(names) = &node {
                next.extend(names.now.values());
            }
            reached.insert(number, node);
        }
        self.nodes = reached;
    }

    fn add(&mut self, dir: u64, name: &str, node: Node) -> Result<u64, Refusal> {
        let number = self.next;
        self.change_names(dir, NameChange::Add(name.to_owned(), number))?;
        self.next += 1;
        self.nodes.insert(number, node);
        Ok(number)
    }

    fn names(&mut self, dir: u64) -> Result<&mut Names, Refusal> {
        match self.nodes.get_mut(&dir) {
            Some(Node::Dir(names)) => Ok(names),
            Some(Node::File(_)) => Err(Refusal::WrongKind),
            None => Err(Refusal::Missing),
        }
    }

    fn content(&mut self, file: u64) -> Result<&mut Content, Refusal> {
        match self.nodes.get_mut(&file) {
            Some(Node::File(content)) => Ok(content),
            Some(Node::Dir(_)) => Err(Refusal::WrongKind),
            None => Err(Refusal::Missing),
        }
    }

    fn change_names(&mut self, dir: u64, change: NameChange) -> Result<(), Refusal> {
        self.changes += 1;
        let number = self.changes;
        let names = self.names(dir)?;
        change.apply(&mut names.now);
        names.pending.push_back((number, change));
        Ok(())
    }

    fn change(&mut self, file: u64, change: Change) -> Result<(), Refusal> {
        self.changes += 1;
        let number = self.changes;
        let content = self.content(file)?;
        change.apply(&mut content.now);
        content.pending.push_back((number, change));
        Ok(())
    }
}

/// Most file systems keep the order of names; not all do.
fn cut_names(names: &mut Names, chance: &mut Chance) {
    let pending = std::mem::take(&mut names.pending);
    let until = chance.below(pending.len() + 1);
    let in_order = !chance.one_in(3);
    for (at, (_, change)) in pending.iter().enumerate() {
        if if in_order { at < until } else { chance.one_in(2) } {
            change.apply(&mut names.safe);
        }
    }
    names.now = names.safe.clone();
}

fn cut_file(content: &mut Content, chance: &mut Chance) {
    let length_before = content.now.len();
    let pending = std::mem::take(&mut content.pending);
    let manner = chance.below(6);
    let until = chance.below(pending.len() + 1);
    for (at, (_, change)) in pending.iter().enumerate() {
        let (is_kept, is_torn) = match manner {
            // Nothing, or everything.
            0 => (false, false),
            1 => (true, false),
            // Up to some moment.
            2 | 3 => (at < until, at == until),
            // Whatever it liked.
            _ => (chance.one_in(2), chance.one_in(2)),
        };
        match change {
            Change::Write(offset, new) if is_torn && !is_kept => {
                tear(*offset, new, &mut content.safe, chance);
            }
            change if is_kept => change.apply(&mut content.safe),
            Change::Write(..) | Change::Truncate(_) => {}
        }
    }
    // The length may have come to the disk before the bytes.
    if content.safe.len() < length_before && chance.one_in(4) {
        content.safe.resize(length_before, 0);
    }
    content.now.clone_from(&content.safe);
}

/// A part of a write comes about.
fn tear(offset: usize, new: &[u8], bytes: &mut Vec<u8>, chance: &mut Chance) {
    match chance.below(3) {
        0 => put(offset, new.get(..chance.below(new.len() + 1)).unwrap_or_default(), bytes),
        1 => {
            let from = chance.below(new.len() + 1);
            put(offset + from, new.get(from..).unwrap_or_default(), bytes);
        }
        _ => {
            for (at, sector) in new.chunks(SECTOR_BYTES).enumerate() {
                if chance.one_in(2) {
                    put(offset + at * SECTOR_BYTES, sector, bytes);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_safe_stays_and_nothing_else_need() {
        let (mut kept, mut lost, mut unnamed) = (0, 0, 0);
        for seed in 0..200 {
            let mut platter = Platter::new();
            let dir = platter.add_dir(ROOT, "dir").unwrap();
            platter.make_safe(ROOT, platter.mark());
            let file = platter.add_file(dir, "file").unwrap();
            platter.write(file, 0, b"safe").unwrap();
            let mark = platter.mark();
            platter.write(file, 4, b"not").unwrap();
            platter.make_safe(file, mark);
            platter.make_safe(dir, mark);
            platter.rename(dir, "file", "other").unwrap();
            platter.power_is_cut(&mut Chance::of(seed, "", 0));
            assert_eq!(platter.find(ROOT, "dir"), Ok(dir));
            let found = platter.find(dir, "file");
            unnamed += u32::from(found.is_err());
            assert_eq!(found.or_else(|_| platter.find(dir, "other")), Ok(file));
            let bytes = platter.read(file, 0, 9).unwrap();
            assert!(bytes.starts_with(b"safe"), "{bytes:?}");
            kept += u32::from(bytes == b"safenot");
            lost += u32::from(bytes == b"safe");
        }
        assert!(kept > 20 && lost > 20 && unnamed > 20, "{kept} {lost} {unnamed}");
    }

    #[test]
    fn a_name_that_was_never_made_safe_may_be_gone_with_all_below_it() {
        let gone = (0..50).filter(|&seed| {
            let mut platter = Platter::new();
            let dir = platter.add_dir(ROOT, "dir").unwrap();
            let file = platter.add_file(dir, "file").unwrap();
            platter.make_safe(dir, platter.mark());
            platter.power_is_cut(&mut Chance::of(seed, "", 0));
            let is_gone = platter.find(ROOT, "dir").is_err();
            assert_eq!(is_gone, platter.kind(file).is_err());
            is_gone
        });
        assert!((5..45).contains(&gone.count()));
    }
}
