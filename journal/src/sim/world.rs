//! How things are: files, names, locks, and the log since the durable base.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::content::Content;
use super::crash;
use super::fault::Faults;
use super::log::{CachedPages, Event, FileId};
use crate::lock::{Foreign, find_conflict};
use crate::{Claim, DiskKind, DiskStatus, Error, ErrorKind, Held, Result};

/// As many symbolic links in a row as a kernel follows.
const MAX_LINKS: usize = 40;

/// What survives on a disk: files and their names.
///
/// A copy shares everything with its original until one of the two changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    files: BTreeMap<FileId, Arc<Content>>,
    names: Arc<BTreeMap<PathBuf, Entry>>,
    directories: Arc<BTreeSet<PathBuf>>,
    /// Nanoseconds; goes on by one with each change, and by an hour with each crash.
    clock: u64,
}

/// How long it takes until somebody looks after a crash.
const OUTAGE: u64 = 3_600_000_000_000;

#[derive(Debug, Clone, Hash)]
enum Entry {
    File(FileId),
    Link(PathBuf),
}

impl Tree {
    /// Repeats an event.
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::Write { file, offset, data } => self.change(*file).write(*offset, data),
            Event::Zero { file, range } => self.change(*file).zero(range.clone()),
            Event::SetLen { file, len } => self.change(*file).set_len(*len),
            Event::Name { path, file } => {
                // The file may have nothing in it yet.
                self.content_mut(*file);
                self.names_mut().insert(path.clone(), Entry::File(*file));
            }
            Event::Rename { from, to } => {
                let names = self.names_mut();
                if let Some(entry) = names.remove(from) {
                    names.insert(to.clone(), entry);
                }
            }
            Event::Remove { path } => {
                self.names_mut().remove(path);
            }
            Event::Sync { .. } | Event::SyncFailed { .. } | Event::SyncDirectory { .. } => {}
        }
    }

    /// Writes a part of what an event wrote.
    pub(super) fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) {
        self.change(file).write(offset, bytes);
    }

    /// Grows a file to that length, without the bytes.
    pub(super) fn grow(&mut self, file: FileId, len: u64) {
        let content = self.change(file);
        if content.len() < len {
            content.set_len(len);
        }
    }

    /// The file at `path`, links followed.
    pub(super) fn find(&self, path: &Path) -> Result<Option<FileId>> {
        let end = self.end_of_links(path)?;
        Ok(match self.names.get(&end) {
            Some(Entry::File(id)) => Some(*id),
            _ => None,
        })
    }

    /// The last name in a chain of symbolic links, whether it exists or not.
    fn end_of_links(&self, path: &Path) -> Result<PathBuf> {
        let mut at = absolute(path);
        for _ in 0..MAX_LINKS {
            match self.names.get(&at) {
                Some(Entry::Link(target)) => {
                    at = absolute(&at.parent().unwrap_or(Path::new("/")).join(target))
                }
                _ => return Ok(at),
            }
        }
        let looped = std::io::Error::from_raw_os_error(libc::ELOOP);
        Err(Error::os("open", path, None, looped))
    }

    /// Every name.
    pub(super) fn names(&self) -> impl Iterator<Item = &Path> {
        self.names.keys().map(PathBuf::as_path)
    }

    /// What a program that looks at every name and every byte can tell trees apart by.
    pub(super) fn digest(&self) -> u64 {
        let mut state = DefaultHasher::new();
        self.names.hash(&mut state);
        let named: BTreeSet<FileId> = self.names.values().filter_map(Entry::file).collect();
        for (id, content) in self.files.iter().filter(|(id, _)| named.contains(id)) {
            (id, content.digest()).hash(&mut state);
        }
        state.finish()
    }

    fn names_mut(&mut self) -> &mut BTreeMap<PathBuf, Entry> {
        Arc::make_mut(&mut self.names)
    }

    pub(super) fn content(&self, file: FileId) -> &Content {
        &self.files[&file]
    }

    /// The content of a file that is about to change.
    fn change(&mut self, file: FileId) -> &mut Content {
        self.clock += 1;
        let now = self.clock;
        let content = self.content_mut(file);
        content.touch(now);
        content
    }

    fn content_mut(&mut self, file: FileId) -> &mut Content {
        Arc::make_mut(self.files.entry(file).or_default())
    }
}

impl Entry {
    fn file(&self) -> Option<FileId> {
        match self {
            Self::File(id) => Some(*id),
            Self::Link(_) => None,
        }
    }
}

/// A durable base, and what happened since.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) base: Tree,
    pub(super) log: Arc<[Event]>,
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct World {
    tree: Tree,
    base: Tree,
    log: Vec<Event>,
    claims: BTreeMap<FileId, BTreeMap<u64, Claim>>,
    /// The handles that keep a file for themselves.
    held: BTreeMap<FileId, u64>,
    pub(super) faults: Faults,
    next_file: u64,
    next_handle: u64,
}

impl World {
    /// The world that a crash left.
    pub(super) fn after_crash(mut tree: Tree) -> Self {
        tree.clock += OUTAGE;
        Self::from_tree(tree)
    }

    /// A world in which all of this is durable.
    pub(super) fn from_tree(tree: Tree) -> Self {
        let next_file = tree.files.keys().next_back().map_or(0, |last| last.0 + 1);
        Self { base: tree.clone(), tree, next_file, ..Self::default() }
    }

    pub(super) fn history(&self) -> History {
        History { base: self.base.clone(), log: self.log.as_slice().into() }
    }

    /// Everything as it is now, as a program sees it.
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn log(&self) -> &[Event] {
        &self.log
    }

    pub(super) fn settle(&mut self) {
        self.base = self.tree.clone();
        self.log.clear();
        self.faults = Faults::default();
    }

    /// Does something and writes it down.
    pub(super) fn happen(&mut self, event: Event) {
        self.tree.apply(&event);
        self.log.push(event);
    }

    /// A sync fails: what was not synced before it never will be.
    pub(super) fn fail_sync(&mut self, file: FileId, pages: CachedPages) {
        self.happen(Event::SyncFailed { file, pages });
        if pages == CachedPages::Reverted {
            let settled = crash::settled(&self.history());
            if let Some(content) = settled.files.get(&file) {
                self.tree.files.insert(file, content.clone());
            }
        }
    }

    /// Does something that was always so.
    fn given(&mut self, give: impl Fn(&mut Tree)) {
        give(&mut self.tree);
        give(&mut self.base);
    }

    pub(super) fn add_file(&mut self, path: &Path, bytes: &[u8]) {
        let path = absolute(path);
        if let Some(parent) = path.parent() {
            self.add_directory(parent);
        }
        let id = self.new_file();
        let content = Arc::new(Content::new(bytes));
        self.given(|tree| {
            tree.files.insert(id, content.clone());
            tree.names_mut().insert(path.clone(), Entry::File(id));
        });
    }

    pub(super) fn add_directory(&mut self, path: &Path) {
        let path = absolute(path);
        self.given(|tree| {
            Arc::make_mut(&mut tree.directories).extend(path.ancestors().map(Path::to_owned));
        });
    }

    pub(super) fn add_hard_link(&mut self, existing: &Path, path: &Path) -> Result<()> {
        let id =
            self.find(existing)?.ok_or_else(|| Error::new(ErrorKind::NotFound, "link", existing, None))?;
        let path = absolute(path);
        self.given(|tree| {
            tree.names_mut().insert(path.clone(), Entry::File(id));
        });
        Ok(())
    }

    pub(super) fn add_symlink(&mut self, target: &Path, path: &Path) {
        let path = absolute(path);
        self.given(|tree| {
            tree.names_mut().insert(path.clone(), Entry::Link(target.to_owned()));
        });
    }

    /// A file without a name.
    pub(super) fn new_file(&mut self) -> FileId {
        let id = FileId(self.next_file);
        self.next_file += 1;
        self.tree.files.insert(id, Arc::default());
        id
    }

    pub(super) fn new_handle(&mut self) -> u64 {
        self.next_handle += 1;
        self.next_handle
    }

    /// The file at `path`, links followed.
    pub(super) fn find(&self, path: &Path) -> Result<Option<FileId>> {
        self.tree.find(path)
    }

    /// The last name in a chain of symbolic links, whether it exists or not.
    pub(super) fn end_of_links(&self, path: &Path) -> Result<PathBuf> {
        self.tree.end_of_links(path)
    }

    pub(super) fn resolve(&self, path: &Path) -> Result<PathBuf> {
        self.end_of_links(path)
    }

    pub(super) fn has_directory_of(&self, path: &Path) -> bool {
        path.parent().is_some_and(|parent| parent == Path::new("/") || self.tree.directories.contains(parent))
    }

    /// The hidden name of a file that is to stand at `path`.
    pub(super) fn free_hidden_name(&self, path: &Path, file: FileId) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!(".{name}.tximg-{:06}", file.0))
    }

    pub(super) fn names(&self) -> Vec<PathBuf> {
        self.tree.names().map(Path::to_owned).collect()
    }

    /// The bytes of a file as a running program sees them.
    pub(super) fn content(&self, id: FileId) -> &Content {
        self.tree.content(id)
    }

    pub(super) fn links(&self, id: FileId) -> u64 {
        self.tree.names.values().filter(|entry| matches!(entry, Entry::File(of) if *of == id)).count() as u64
    }

    pub(super) fn status(&self, id: FileId) -> DiskStatus {
        let content = self.content(id);
        DiskStatus {
            owner: 0,
            kind: DiskKind::Regular,
            len: content.len(),
            allocated: content.allocated(),
            direct_alignment: None,
            identity: (0, id.0),
            links: self.links(id),
            born: id.0,
            modified: content.modified(),
        }
    }

    /// Takes a name away, not yet durably.
    pub(super) fn remove(&mut self, path: &Path) -> Result<()> {
        let at = absolute(path);
        if !self.tree.names.contains_key(&at) {
            return Err(Error::new(ErrorKind::NotFound, "remove", path, None));
        }
        self.happen(Event::Remove { path: at });
        Ok(())
    }

    /// Makes an empty file with a name that must be free.
    pub(super) fn create(&mut self, path: &Path) -> Result<FileId> {
        let at = absolute(path);
        let refused = |kind| Err(Error::new(kind, "create", path, None));
        if self.tree.names.contains_key(&at) {
            return refused(ErrorKind::Exists);
        }
        if !self.has_directory_of(&at) {
            return refused(ErrorKind::NotFound);
        }
        let file = self.new_file();
        self.happen(Event::Name { path: at, file });
        Ok(file)
    }

    /// Gives a file one more name, which must be free.
    pub(super) fn link(&mut self, existing: &Path, name: &Path) -> Result<()> {
        let (file, at) = (self.find(existing)?, absolute(name));
        let refused = |kind| Err(Error::new(kind, "link", name, None));
        if self.tree.names.contains_key(&at) {
            return refused(ErrorKind::Exists);
        }
        let Some(file) = file.filter(|_| self.has_directory_of(&at)) else {
            return refused(ErrorKind::NotFound);
        };
        self.happen(Event::Name { path: at, file });
        Ok(())
    }

    /// Moves a name.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        let (at, to) = (absolute(from), absolute(to));
        if !self.tree.names.contains_key(&at) || !self.has_directory_of(&to) {
            return Err(Error::new(ErrorKind::NotFound, "rename", from, None));
        }
        self.happen(Event::Rename { from: at, to });
        Ok(())
    }

    /// Makes the names in a directory durable.
    pub(super) fn sync_directory(&mut self, directory: &Path) {
        self.happen(Event::SyncDirectory { path: absolute(directory) });
    }

    /// Changes what a handle claims, or leaves it as it is.
    pub(super) fn claim(&mut self, id: FileId, handle: u64, path: &Path, claim: Claim) -> Result<()> {
        let claims = self.claims.entry(id).or_default();
        let conflict = find_conflict(claim, |foreign, number| {
            let mut others = claims.iter().filter(|(other, _)| **other != handle).map(|(_, claim)| claim);
            Ok(others.any(|other| {
                let set = match foreign {
                    Foreign::Using => other.using,
                    Foreign::Denying => other.denying,
                };
                set.bits() >> number & 1 == 1
            }))
        })?;
        if let Some(complaint) = conflict {
            return Err(Error::new(ErrorKind::Locked, complaint, path, None));
        }
        claims.insert(handle, claim);
        Ok(())
    }

    /// Keeps a file for one handle.
    pub(super) fn hold(&mut self, id: FileId, handle: u64) -> Held {
        if *self.held.entry(id).or_insert(handle) == handle { Held::ByUs } else { Held::ByOthers }
    }

    /// Forgets a handle.
    pub(super) fn close(&mut self, id: FileId, handle: u64) {
        if self.held.get(&id) == Some(&handle) {
            self.held.remove(&id);
        }
        if let Some(claims) = self.claims.get_mut(&id) {
            claims.remove(&handle);
        }
    }
}

/// The path from the root, without `.` and `..`.
pub(super) fn absolute(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    clean
}
