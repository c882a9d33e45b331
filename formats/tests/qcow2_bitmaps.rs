//! Persistent bitmaps that the qcow2 writer stores, read back here and copied by qemu-img.

#![allow(clippy::unwrap_used, reason = "a test wants to fail loudly")]

mod written;

use std::ops::Range;
use std::path::Path;

use formats::engine::{self, Write};
use formats::{BitmapInfo, Durability, Image};
use journal::RealFs;
use written::{begin, qemu_img, reopen};

const SIZE: u64 = 300 << 20;

fn info(name: &str, granularity: u64, auto: bool) -> BitmapInfo {
    BitmapInfo { name: name.to_owned(), granularity, in_use: false, auto }
}

fn store(image: &Image, info: &BitmapInfo, dirty: &[Range<u64>]) -> formats::Result<()> {
    let bitmaps = image.driver().writer().unwrap().bitmaps().unwrap();
    bitmaps.store(info, &mut |visitor| dirty.iter().cloned().try_for_each(&mut *visitor))
}

fn dirty(image: &Image, name: &str) -> Vec<Range<u64>> {
    let bitmaps = image.driver().bitmaps().unwrap();
    let index = bitmaps.list().iter().position(|bitmap| bitmap.name == name).unwrap();
    let mut runs = Vec::new();
    bitmaps
        .visit(index, &mut |run| {
            runs.push(run);
            Ok(())
        })
        .unwrap();
    runs
}

fn check(path: &Path) {
    let report = qemu_img(&["check".as_ref(), path.as_ref()]);
    assert!(report.contains("No errors were found"), "{report}");
}

/// What qemu-img makes of the bitmaps when it copies them.
fn copied_by_qemu_img(path: &Path) -> Image {
    let copy = path.with_extension("copy");
    let options = ["convert", "--bitmaps", "-O", "qcow2"].map(AsRef::as_ref);
    qemu_img(&[&options[..], &[path.as_ref(), copy.as_ref()]].concat());
    reopen(&RealFs, &copy, None)
}

#[test]
fn stored_bitmaps_are_read_alike_by_both() {
    if written::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for options in ["", "cluster_size=512", "cluster_size=4k,refcount_bits=1", "cluster_size=2M"] {
        let path = directory.path().join("image");
        let fine = vec![0..512, 1024..4096, 5 << 20..9 << 20, SIZE - 512..SIZE];
        let coarse = vec![65536..3 * 65536, 100 << 20..200 << 20];
        let new = begin(&RealFs, &path, options, SIZE);
        engine::write(new.image(), 12345, Write::Data(&[7; 100_000])).unwrap();
        store(new.image(), &info("fine", 512, false), &fine).unwrap();
        store(new.image(), &info("coarse", 65536, true), &coarse).unwrap();
        store(new.image(), &info("empty", 4096, false), &[]).unwrap();
        let again = store(new.image(), &info("fine", 512, false), &[]).unwrap_err();
        assert_eq!(again.report(), "Bitmap already exists: fine");
        new.publish().unwrap();
        check(&path);
        for image in [reopen(&RealFs, &path, None), copied_by_qemu_img(&path)] {
            assert_eq!(dirty(&image, "fine"), fine, "{options}");
            assert_eq!(dirty(&image, "coarse"), coarse, "{options}");
            assert!(dirty(&image, "empty").is_empty());
        }
    }
}

#[test]
fn bitmaps_that_record_learn_of_writes_and_others_do_not() {
    if written::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let new = begin(&RealFs, &path, "", SIZE);
    let before = vec![1 << 20..2 << 20, 4 << 20..5 << 20];
    store(new.image(), &info("auto", 65536, true), &before).unwrap();
    store(new.image(), &info("still", 65536, false), &before).unwrap();
    new.publish().unwrap();

    let image = reopen(&RealFs, &path, None);
    engine::write(&image, 2 << 20, Write::Data(&[1; 65536])).unwrap();
    engine::write(&image, 50 << 20, Write::Data(&[1; 1])).unwrap();
    image.driver().writer().unwrap().commit(Durability::Durable).unwrap();
    engine::write(&image, 60 << 20, Write::Data(&[1; 1])).unwrap();
    image.driver().writer().unwrap().commit(Durability::Durable).unwrap();
    drop(image);
    check(&path);
    for image in [reopen(&RealFs, &path, None), copied_by_qemu_img(&path)] {
        let runs = dirty(&image, "auto");
        let bit = |at: u64| at..at + 65536;
        assert_eq!(runs, [1 << 20..(2 << 20) + 65536, 4 << 20..5 << 20, bit(50 << 20), bit(60 << 20)]);
        assert_eq!(dirty(&image, "still"), before);
    }
}
