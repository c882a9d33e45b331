//! dmg images with chunks of every kind, also of those that qemu-img needs modules for.

#![allow(clippy::disallowed_methods, reason = "files that tests make need not survive anything")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;

use formats::OpenFlags;
use formats::engine;
use testkit::exercise;
use testkit::foreign::{ADC, BZIP2, LZFSE, ListIn, PLAIN, ZERO, ZLIB, dmg};
use testkit::need::lacks;
use testkit::oracle::in_path;
use testkit::run::Run;
use testkit::scene;
use testkit::script::prose;
use testkit::tximg::own;

#[test]
fn every_kind_of_chunk_is_read() {
    let kinds = [ADC, ZLIB, ZERO, BZIP2, PLAIN, LZFSE, ADC, BZIP2, LZFSE];
    let chunks: Vec<_> = (1..).zip(kinds).map(|(seed, kind)| (kind, bytes(kind, seed))).collect();
    let disk: Vec<u8> = chunks.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    for list in [ListIn::Properties, ListIn::Resources] {
        let fs = exercise::tree(&dmg(list, &chunks), &[]);
        let image = exercise::open_as(&fs, "dmg", OpenFlags::READ).expect("it is a dmg image");
        let mut read = vec![0xff; disk.len()];
        engine::read(&image, 0, &mut read).expect("every chunk can be read");
        assert!(read == disk, "{list:?}");
        let mut some = vec![0xff; 3000];
        engine::read(&image, 16000, &mut some).expect("a part of chunks can be read");
        assert!(some == disk[16000..19000], "{list:?}");
    }
}

/// 7z knows images whose list is in a property list, and all these kinds.
#[test]
fn seven_zip_reads_the_same() {
    if lacks(&["7z"]) {
        return;
    }
    let scene = scene::empty();
    let kinds = [ADC, ZLIB, ZERO, BZIP2, PLAIN, LZFSE];
    let chunks: Vec<_> = (1..).zip(kinds).map(|(seed, kind)| (kind, bytes(kind, seed))).collect();
    fs::write(scene.path().join("a.dmg"), dmg(ListIn::Properties, &chunks)).expect("there is room");
    let converted = own(scene.path(), "convert -f dmg -O raw a.dmg a.raw");
    assert!(converted.success(), "{}", converted.err());
    let program = in_path("7z").expect("it was looked for");
    let extracted = Run::new(&program, scene.path()).args(["x", "-y", "-oout", "a.dmg"]).run();
    assert!(extracted.success(), "{}{}", extracted.out(), extracted.err());
    let found = fs::read_dir(scene.path().join("out")).expect("7z has made it").flatten();
    let files: Vec<_> = found.map(|file| fs::read(file.path()).expect("it can be read")).collect();
    assert!(files == [fs::read(scene.path().join("a.raw")).expect("it was made")]);
}

#[test]
fn a_broken_stream_is_an_error() {
    for kind in [ADC, ZLIB, BZIP2, LZFSE] {
        let mut image = dmg(ListIn::Resources, &[(kind, prose(8192, 7))]);
        image[..40].fill(0);
        let fs = exercise::tree(&image, &[]);
        let image = exercise::open_as(&fs, "dmg", OpenFlags::READ).expect("the list is whole");
        assert!(engine::read(&image, 0, &mut [0; 8192]).is_err(), "kind {kind:x}");
    }
}

fn bytes(kind: u32, seed: u64) -> Vec<u8> {
    let len = 2048 + 512 * seed;
    if kind == ZERO { vec![0; len as usize] } else { prose(len, seed) }
}
