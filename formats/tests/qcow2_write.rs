//! What the qcow2 writer makes, judged by qemu-img: metadata that checks clean without leaks, and
//! the guest's bytes as a plain vector has them.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test owns the files of its temporary directory and wants to fail loudly"
)]

mod written;

use std::path::{Path, PathBuf};

use formats::engine::Write;
use formats::open::open_filename;
use formats::{Durability, Image, OpenContext, OpenFlags, PermissiveGate, engine};
use journal::{Access, RealFs, SimFs, Zeroing};
use written::{Numbers, begin, qemu_img, reopen, scramble};

/// The foreign judge.
fn judge(path: &Path, model: &[u8], what: &str) {
    let report = qemu_img(&["check".as_ref(), "-f".as_ref(), "qcow2".as_ref(), path.as_ref()]);
    assert!(report.contains("No errors were found"), "{what}: {report}");
    let raw = path.with_extension("raw");
    qemu_img(&["convert".as_ref(), "-O".as_ref(), "raw".as_ref(), path.as_ref(), raw.as_ref()]);
    let bytes = std::fs::read(&raw).unwrap();
    assert_eq!(bytes.len(), model.len());
    if let Some(at) = bytes.iter().zip(model).position(|(left, right)| left != right) {
        panic!("{what}: guest byte {at:#x} differs");
    }
}

fn read_back(image: &Image, model: &[u8], what: &str) {
    let mut bytes = vec![0; model.len()];
    engine::read(image, 0, &mut bytes).unwrap();
    assert!(bytes == model, "{what}: the writer's own view differs");
}

/// One image through its whole life: made, changed, published, opened again, changed twice more.
fn live(directory: &Path, options: &str, size: u64, seed: u64) {
    let what = format!("-o {options} size {size} seed {seed}");
    let path: PathBuf = directory.join("image.qcow2");
    let data_file = directory.join("data");
    let options = options.replace("DATA", &data_file.display().to_string());
    let data_file = options.contains("data_file").then_some(data_file.as_path());
    let mut numbers = Numbers(seed);
    let zeroes = vec![0; size as usize];
    let mut model = zeroes.clone();

    let new = begin(&RealFs, &path, &options, size);
    scramble(new.image(), &mut model, &zeroes, &mut numbers, 30);
    read_back(new.image(), &model, &what);
    assert!(!path.exists());
    new.publish().unwrap();
    judge(&path, &model, &what);

    let image = reopen(&RealFs, &path, data_file);
    read_back(&image, &model, &what);
    for round in 0..2 {
        let what = format!("{what} round {round}");
        let before = model.clone();
        scramble(&image, &mut model, &zeroes, &mut numbers, 20);
        read_back(&image, &model, &what);
        if data_file.is_none() {
            judge(&path, &before, &format!("{what} before the commit"));
        }
        image.driver().writer().unwrap().commit(Durability::Durable).unwrap();
        judge(&path, &model, &what);
    }
    drop(image);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn every_geometry_checks_clean_and_keeps_its_bytes() {
    if written::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        ("", 3 << 20),
        ("cluster_size=512", 1 << 20),
        ("cluster_size=512,refcount_bits=64", 1 << 20),
        ("cluster_size=1k,refcount_bits=1", 1 << 20),
        ("cluster_size=4k,refcount_bits=2,compression_type=zstd", 2 << 20),
        ("cluster_size=2M,refcount_bits=4", 9 << 20),
        ("cluster_size=8k,refcount_bits=8", (1 << 20) + 512),
        ("cluster_size=32k,refcount_bits=32", (3 << 20) - 1536),
        ("compat=0.10", (2 << 20) + 512),
        ("compat=0.10,cluster_size=512", 700 << 10),
        ("extended_l2=on,cluster_size=16k", (1 << 20) + 512),
        ("extended_l2=on", 3 << 20),
        ("extended_l2=on,cluster_size=256k,compression_type=zstd", 5 << 20),
        ("data_file=DATA", 2 << 20),
        ("data_file=DATA,data_file_raw=on", 2 << 20),
        ("data_file=DATA,extended_l2=on", 2 << 20),
        ("preallocation=metadata", 2 << 20),
        ("preallocation=metadata,cluster_size=512", 1 << 20),
        ("preallocation=falloc,cluster_size=4k", 1 << 20),
        ("preallocation=full,extended_l2=on", 1 << 20),
        ("lazy_refcounts=on", 1 << 20),
    ];
    for (options, size) in cases {
        for seed in 1..=2 {
            live(directory.path(), options, size, seed);
        }
    }
}

/// An image of qemu-img's own with a backing file and snapshots is changed; nothing else does.
#[test]
fn snapshots_and_backing_files_keep_theirs() {
    if written::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for (options, seed) in
        [("compat=1.1", 1), ("compat=0.10", 2), ("extended_l2=on", 3), ("cluster_size=512", 4)]
    {
        let mut numbers = Numbers(seed);
        let base: Vec<u8> = (0..SNAPSHOT_SIZE).map(|_| numbers.below(3) as u8 * 60).collect();
        let (base_path, path) = (directory.path().join("base"), directory.path().join("top"));
        std::fs::write(&base_path, &base).unwrap();
        let create = ["create", "-q", "-f", "qcow2", "-F", "raw", "-o", options, "-b"].map(AsRef::as_ref);
        qemu_img(&[&create[..], &[base_path.as_ref(), path.as_ref()]].concat());

        let mut model = base.clone();
        let mut kept: Vec<(&str, Vec<u8>)> = Vec::new();
        for name in ["first", "second", "third"] {
            let context = OpenContext { fs: &RealFs, gate: &PermissiveGate, secrets: None };
            let flags = OpenFlags { access: Access::Write, ..OpenFlags::READ };
            let image = open_filename(&context, path.as_ref(), Some("qcow2"), flags).unwrap();
            scramble(&image, &mut model, &base, &mut numbers, 25);
            read_back(&image, &model, name);
            image.driver().writer().unwrap().commit(Durability::Durable).unwrap();
            drop(image);
            judge(&path, &model, &format!("-o {options} before snapshot {name}"));
            for (kept_name, bytes) in &kept {
                judge_snapshot(&path, kept_name, bytes);
            }
            qemu_img(&["snapshot".as_ref(), "-c".as_ref(), name.as_ref(), path.as_ref()]);
            kept.push((name, model.clone()));
        }
        std::fs::remove_file(&path).unwrap();
    }
}

const SNAPSHOT_SIZE: usize = 700 << 10;

fn judge_snapshot(path: &Path, name: &str, model: &[u8]) {
    let raw = path.with_extension("snapshot");
    let convert = ["convert", "-O", "raw", "-l", name].map(AsRef::as_ref);
    qemu_img(&[&convert[..], &[path.as_ref(), raw.as_ref()]].concat());
    assert!(std::fs::read(&raw).unwrap() == model, "snapshot {name} has changed");
}

/// Free clusters that lie far apart tempt each block of reference counts to move into the range of
/// another one, which has to move then.
#[test]
fn a_small_change_moves_few_refcount_blocks() {
    let (fs, path, size) = (SimFs::new(), Path::new("/image"), 4 << 20);
    fs.add_directory("/");
    // A block counts 256 clusters, which are 128 KiB.
    let new = begin(&fs, path, "cluster_size=512", size);
    engine::write(new.image(), 0, Write::Data(&vec![b'd'; size as usize])).unwrap();
    for at in (0..size).step_by(128 << 10).skip(1) {
        engine::write(new.image(), at, Write::Zeroes { len: 512, how: Zeroing::Unmap }).unwrap();
    }
    new.publish().unwrap();
    fs.settle();
    let before = fs.log().len();
    let image = reopen(&fs, path, None);
    engine::write(&image, 0, Write::Data(&[b'n'; 2048])).unwrap();
    image.driver().writer().unwrap().commit(Durability::Durable).unwrap();
    let written = fs.log().len() - before;
    assert!(written < 32, "{written} changes of the file");
}

/// A small session does not look through all reference counts for free clusters, a large one uses
/// those that are far from either end of the file.
#[test]
fn room_in_the_middle_of_a_file_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let (path, size) = (directory.path().join("image.qcow2"), 4 << 20);
    // A block counts 256 clusters, which are 128 KiB: there are more than thirty.
    let new = begin(&RealFs, &path, "cluster_size=512", size);
    let mut model = vec![b'd'; size as usize];
    engine::write(new.image(), 0, Write::Data(&model)).unwrap();
    new.publish().unwrap();
    let change = |model: &mut [u8], at: u64, len: u64, value: Option<u8>| {
        let image = reopen(&RealFs, &path, None);
        let how = Zeroing::Unmap;
        let write = match value {
            Some(value) => engine::write(&image, at, Write::Data(&vec![value; len as usize])),
            None => engine::write(&image, at, Write::Zeroes { len, how }),
        };
        write.unwrap();
        image.driver().writer().unwrap().commit(Durability::Durable).unwrap();
        model[at as usize..(at + len) as usize].fill(value.unwrap_or_default());
        judge(&path, model, "changed");
        std::fs::metadata(&path).unwrap().len()
    };
    let before = change(&mut model, 2 << 20, 512 << 10, None);
    let small = change(&mut model, 0, 2048, Some(b's'));
    assert!(small <= before + (16 << 10), "from {before} to {small} bytes");
    let large = change(&mut model, 0, 256 << 10, Some(b'l'));
    assert!(large <= small + (64 << 10), "from {small} to {large} bytes");
}

/// A session that has become a large one looks for room from the start again, also while it makes the
/// blocks that count what it is about to take.
#[test]
fn a_refcount_block_never_goes_where_it_counts_data() {
    let size = 2_000 << 10;
    for (dense, len) in (0..40).map(|step| (900_000 + step * 4096, 30_000 + step * 1000)) {
        let (fs, path) = (SimFs::new(), Path::new("/image"));
        fs.add_directory("/");
        let new = begin(&fs, path, "cluster_size=512,refcount_bits=64", size);
        engine::write(new.image(), 0, Write::Data(&vec![b'd'; dense])).unwrap();
        new.publish().unwrap();
        let image = reopen(&fs, path, None);
        for at in [1_000 << 10, 1_400 << 10] {
            engine::write(&image, at, Write::Data(&vec![b'n'; len])).unwrap();
        }
        image.driver().writer().unwrap().commit(Durability::Durable).unwrap();
        let image = reopen(&fs, path, None);
        let report = image.driver().check(&mut |finding| panic!("{dense}, {len}: {finding:?}")).unwrap();
        assert_eq!((report.corruptions, report.leaks), (0, 0), "{dense}, {len}");
    }
}
