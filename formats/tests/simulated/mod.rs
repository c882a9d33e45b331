//! What the tests of formats on a simulated disk share.

#![allow(dead_code, reason = "each test uses some of it")]

use std::ffi::OsStr;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use formats::create::{CreateRequest, NewImage, OptionList, OptionTable, create};
use formats::engine::{self, Write};
use formats::{Durability, Format, Image, OpenContext, OpenFlags, PermissiveGate, Result, open_filename};
use journal::sim::CrashPlan;
use journal::{Access, Fs, SimFs, Transaction};

/// The image in question.
pub const IMAGE: &str = "/image";
pub const MIB: u64 = 1 << 20;
pub const WRITE: OpenFlags = OpenFlags { access: Access::Write, ..OpenFlags::READ };

/// A tree with nothing in it.
pub fn empty() -> SimFs {
    let fs = SimFs::new();
    fs.add_directory("/");
    fs
}

pub fn open(fs: &dyn Fs, name: &str, format: Format, flags: OpenFlags) -> Result<Image> {
    let context = OpenContext { fs, gate: &PermissiveGate, secrets: None };
    open_filename(&context, OsStr::new(name), Some(format.name()), flags)
}

/// Begins an image with options as `-o` takes them.
pub fn begin_image(fs: &dyn Fs, name: &str, format: Format, options: &str, size: u64) -> NewImage {
    let mut list = OptionList::default();
    if !options.is_empty() {
        list.add(OsStr::new(options)).unwrap();
    }
    let mut options = OptionTable::for_file(format).parse(&list).unwrap();
    options.set_size(size).unwrap();
    let context = OpenContext { fs, gate: &PermissiveGate, secrets: None };
    let target = Path::new(name);
    let durability = Durability::Durable;
    create(&context, CreateRequest { target, format, options: &options, backing: None, durability }).unwrap()
}

/// An image with something beyond `at` and in its last sector.
pub fn image(format: Format, options: &str, size: u64, at: u64) -> SimFs {
    let fs = empty();
    let new = begin_image(&fs, IMAGE, format, options, size);
    engine::write(new.image(), at + 700, Write::Data(&[1; 9000])).unwrap();
    engine::write(new.image(), size - 512, Write::Data(&[2; 512])).unwrap();
    new.publish().unwrap();
    fs.settle();
    fs
}

/// What is written becomes the image's.
pub fn commit(image: &Image) -> Result<()> {
    image.driver().writer().unwrap().commit(Durability::Durable)
}

pub fn begin(fs: &SimFs) -> Transaction {
    Transaction::begin(Arc::new(fs.clone()), Arc::new(AtomicBool::new(false)))
}

/// Makes a change, and commits it.
pub fn transact(fs: &SimFs, change: impl Fn(&dyn Fs) -> Result<()>) {
    let transaction = begin(fs);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
}

/// The guest's bytes.
pub fn content(image: &Image) -> Vec<u8> {
    let mut bytes = vec![0; image.virtual_size() as usize];
    engine::read(image, 0, &mut bytes).unwrap();
    bytes
}

/// The guest's bytes, of an image without errors.
pub fn sound_content(image: &Image) -> Vec<u8> {
    let report = image.driver().check(&mut |finding| panic!("{finding:?}")).unwrap();
    assert_eq!(report.corruptions, 0);
    content(image)
}

/// Makes a change, and cuts the power in it: what is found afterwards is what was found before, or what
/// the change was to make. Returns the latter.
pub fn cut_power<T: PartialEq + Debug>(
    what: &str,
    fs: &SimFs,
    plan: CrashPlan,
    change: impl Fn(&dyn Fs) -> Result<()>,
    found: impl Fn(&SimFs) -> T,
) -> T {
    let old = found(fs);
    transact(fs, change);
    let new = found(fs);
    assert!(old != new, "{what}: nothing has changed");
    let mut counts = [0; 2];
    for state in fs.crash_states(plan) {
        let now = found(&state.fs);
        assert!(now == old || now == new, "{what}: state {}", state.id);
        counts[usize::from(now == new)] += 1;
    }
    assert!(counts.iter().all(|&count| count > 5), "{what}: {counts:?}");
    new
}

/// Numbers below others, the same in every run.
pub fn random() -> impl FnMut(usize) -> usize {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    move |bound| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    }
}

/// A file that begins with those bytes and has that length; what is not given is a hole.
pub fn sparse(bytes: &[u8], len: u64) -> SimFs {
    let fs = empty();
    let disk = fs.create(Path::new(IMAGE)).unwrap();
    disk.write_at(0, bytes).unwrap();
    disk.set_len(len).unwrap();
    fs
}

/// Reads the end of a damaged image, and writes its beginning if that can be done.
pub fn use_anyhow(image: &Image) {
    let size = image.virtual_size();
    let mut buffer = vec![0; size.min(5000) as usize];
    drop(engine::read(image, size - buffer.len() as u64, &mut buffer));
    let written = engine::write(image, 0, Write::Data(&buffer));
    if image.driver().writer().is_some() {
        drop(written.and_then(|()| commit(image)));
    }
}
