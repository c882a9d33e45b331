//! The directory as the filesystem has it: its entries, and which clusters each file has.

use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use journal::{HostNames, HostStatus, LocalTime};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::layout::{CLUSTER_ENTRIES, CLUSTER_SIZE, ENTRY_SIZE, FatType, Layout, ROOT_ENTRIES};
use super::names::{ShortName, ShortNames, long_entries};
use crate::shown::{shown, shown_bytes};
use crate::{Error, ErrorKind, Result, notice};

/// A larger file QEMU does not show.
const MAX_FILE: u64 = 0x7fff_ffff;
/// Entries that are kept at most, of all directories: 64 MiB of them.
const MAX_ENTRIES: usize = 2 << 20;

const VOLUME_LABEL: u8 = 0x28;
const DIRECTORY: u8 = 0x10;
const FILE: u8 = 0x20;

/// A directory entry with a short name (FAT specification 6).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ShortEntry {
    name: ShortName,
    attributes: u8,
    reserved: [u8; 2],
    created_time: U16,
    created_date: U16,
    accessed_date: U16,
    cluster_high: U16,
    modified_time: U16,
    modified_date: U16,
    cluster: U16,
    size: U32,
}

const _: () = assert!(size_of::<ShortEntry>() == ENTRY_SIZE);

impl ShortEntry {
    fn set_cluster(&mut self, cluster: u32) {
        self.cluster = ((cluster & 0xffff) as u16).into();
        self.cluster_high = ((cluster >> 16) as u16).into();
    }
}

/// All that is shown.
#[derive(Debug)]
pub(super) struct Tree {
    root: OsString,
    /// The entries of all directories, one directory after another.
    entries: Vec<ShortEntry>,
    /// All directories and files that have clusters, in the order of these; the first is the root.
    pub(super) nodes: Vec<Node>,
}

/// A directory, or a file that is not empty.
#[derive(Debug)]
pub(super) struct Node {
    name: OsString,
    /// The directory that it is in.
    parent: usize,
    /// Its own entry.
    entry: usize,
    /// The clusters that it has.
    pub(super) clusters: Range<u32>,
    /// What is in them.
    pub(super) content: Content,
}

/// What is in a node's clusters.
#[derive(Debug)]
pub(super) enum Content {
    /// A directory, whose entries start there.
    Directory(usize),
    /// A file, as it was looked at.
    File(HostStatus),
}

impl Tree {
    /// Looks at a directory and everything in it.
    pub(super) fn look(layout: &Layout, directory: &OsStr, label: ShortName) -> Result<Self> {
        let directory = directory.as_bytes();
        let root = OsStr::from_bytes(directory.strip_suffix(b"/").unwrap_or(directory)).to_owned();
        let mut volume = ShortEntry::new_zeroed();
        (volume.name, volume.attributes) = (label, VOLUME_LABEL);
        let top = Node {
            name: OsString::new(),
            parent: 0,
            entry: 0,
            clusters: 0..0,
            content: Content::Directory(0),
        };
        let mut tree = Self { root, entries: vec![volume], nodes: vec![top] };
        let mut cluster = 0;
        let mut index = 0;
        // What is found in a directory gets its place when all before it has one.
        while index < tree.nodes.len() {
            cluster = tree.place(layout, index, cluster)?;
            index += 1;
        }
        Ok(tree)
    }

    /// Where a node is on the host.
    pub(super) fn path(&self, index: usize) -> PathBuf {
        let mut names = Vec::new();
        let mut index = index;
        while let Some(node) = self.nodes.get(index).filter(|_| index != 0) {
            names.push(node.name.as_bytes());
            index = node.parent;
        }
        let mut path = self.root.as_bytes().to_vec();
        for name in names.into_iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        OsString::from_vec(path).into()
    }

    /// The node that has a cluster.
    pub(super) fn holder(&self, cluster: u32) -> Option<usize> {
        let index = self.nodes.partition_point(|node| node.clusters.end <= cluster);
        self.nodes.get(index).filter(|node| node.clusters.start <= cluster).map(|_| index)
    }

    /// The bytes of all directories' entries from one on.
    pub(super) fn entries_from(&self, first: usize) -> &[u8] {
        self.entries.get(first..).unwrap_or_default().as_bytes()
    }

    /// Gives a node its clusters; the first one that is free then is returned.
    fn place(&mut self, layout: &Layout, index: usize, cluster: u32) -> Result<u32> {
        let clusters = match &self.nodes[index].content {
            Content::File(status) => status.len.div_ceil(CLUSTER_SIZE),
            Content::Directory(_) => {
                let first = if index == 0 { 0 } else { self.entries.len() };
                self.nodes[index].content = Content::Directory(first);
                self.nodes[index].clusters = cluster..cluster;
                self.list(layout, index, first)?;
                ((self.entries.len() - first) / CLUSTER_ENTRIES) as u64
            }
        };
        let end = u64::from(cluster).saturating_add(clusters);
        let end = u32::try_from(end).ok().filter(|end| *end <= layout.clusters);
        let end = end.ok_or_else(|| layout.does_not_fit())?;
        let node = &mut self.nodes[index];
        node.clusters = cluster..end;
        self.entries[node.entry].set_cluster(cluster);
        Ok(end)
    }

    /// Lists a directory.
    fn list(&mut self, layout: &Layout, index: usize, first: usize) -> Result<()> {
        let path = self.path(index);
        let mut short_names = ShortNames::default();
        if index == 0 {
            short_names.reserve(self.entries[0].name);
        } else {
            for (name, leads_to) in [(".", index), ("..", self.nodes[index].parent)] {
                let short = dots(name);
                short_names.reserve(short);
                let mut entry = ShortEntry { name: short, ..ShortEntry::new_zeroed() };
                if let Some(status) = HostStatus::of(&path.join(name)) {
                    entry = entry_of(short, &status);
                }
                entry.set_cluster(self.nodes[leads_to].clusters.start);
                self.entries.push(entry);
            }
        }
        for name in HostNames::of(&path).map_err(|_| unreadable(&path))? {
            if index == 0 && self.entries.len() >= ROOT_ENTRIES - 1 {
                notice::tell("Too many entries in root directory");
                return Err(unreadable(&path));
            }
            // QEMU takes a directory that it cannot go on reading for one that ends there.
            let name = name?;
            if name != "." && name != ".." {
                self.add(layout, index, &name, &mut short_names)?;
            }
        }
        let padded = self.entries.len().next_multiple_of(CLUSTER_ENTRIES);
        let least = if index == 0 && layout.fat_type != FatType::Fat32 { ROOT_ENTRIES } else { 0 };
        self.entries.resize(padded.max(least), ShortEntry::new_zeroed());
        debug_assert!(self.entries.len() > first, "a directory has a cluster");
        Ok(())
    }

    /// Adds a file to the directory that is being listed.
    fn add(&mut self, layout: &Layout, directory: usize, name: &OsStr, names: &mut ShortNames) -> Result<()> {
        let path = self.path(directory);
        let mut full = path.clone().into_os_string();
        full.push("/");
        full.push(name);
        let Some(status) = HostStatus::of(full.as_ref()) else { return Ok(()) };
        let short = names.make(name.as_bytes())?;
        match long_entries(name.as_bytes(), &short) {
            Some(entries) => self.entries.extend(entries.into_iter().map(ShortEntry::from_bytes)),
            None => notice::tell(&format!("vvfat: invalid UTF-8 name: {}", shown_bytes(name.as_bytes()))),
        }
        if status.len > MAX_FILE {
            notice::tell(&format!("File {} is larger than 2GB", shown(&full)));
            return Err(unreadable(&path));
        }
        self.entries.push(entry_of(short, &status));
        if self.entries.len() > MAX_ENTRIES || self.nodes.len() > layout.clusters as usize {
            return Err(layout.does_not_fit());
        }
        if status.is_directory || status.len > 0 {
            let content = if status.is_directory { Content::Directory(0) } else { Content::File(status) };
            let (name, entry) = (name.to_owned(), self.entries.len() - 1);
            self.nodes.push(Node { name, parent: directory, entry, clusters: 0..0, content });
        }
        Ok(())
    }
}

fn unreadable(path: &Path) -> Error {
    Error::new(ErrorKind::Io, format!("Could not read directory {}", shown(path.as_os_str())))
}

impl ShortEntry {
    fn from_bytes(bytes: [u8; ENTRY_SIZE]) -> Self {
        zerocopy::transmute!(bytes)
    }
}

/// The short name of `.` or `..`.
fn dots(name: &str) -> ShortName {
    let mut short = [b' '; 11];
    short[..name.len()].copy_from_slice(name.as_bytes());
    short
}

fn entry_of(name: ShortName, status: &HostStatus) -> ShortEntry {
    let (created_date, created_time) = moment(status.changed);
    let (modified_date, modified_time) = moment(status.modified);
    ShortEntry {
        name,
        attributes: if status.is_directory { DIRECTORY } else { FILE },
        reserved: [0; 2],
        created_time,
        created_date,
        accessed_date: moment(status.accessed).0,
        cluster_high: 0.into(),
        modified_time,
        modified_date,
        cluster: 0.into(),
        size: if status.is_directory { 0 } else { status.len as u32 }.into(),
    }
}

/// A date and a time (FAT specification 6.3 and 6.4), in local time. Years before 1980 wrap, as in QEMU.
fn moment(seconds: i64) -> (U16, U16) {
    let Some(time) = LocalTime::from_seconds(seconds) else { return (0.into(), 0.into()) };
    let date = ((time.year - 1980) << 9) | (i64::from(time.month) << 5) | i64::from(time.day);
    let time = (time.second / 2) | (time.minute << 5) | (time.hour << 11);
    (((date & 0xffff) as u16).into(), ((time & 0xffff) as u16).into())
}
