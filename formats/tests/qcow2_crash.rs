//! Power cuts while an existing qcow2 image is changed: what is left is the old image or the new
//! one, each with sound metadata.

#![allow(clippy::unwrap_used, reason = "a test wants to fail loudly")]

mod written;

use std::path::Path;

use formats::qcow2::{OpenRequest, Qcow2};
use formats::{Driver, Durability, Error, Image, OpenFlags, engine};
use journal::sim::CrashPlan;
use journal::{Fs, OpenOptions, SimFs};
use written::{Numbers, begin, reopen, scramble};

/// The guest's bytes in an image whose metadata must be sound.
fn content(fs: &SimFs, path: &Path, what: &str) -> Vec<u8> {
    let disk = fs.open(path, OpenOptions::READ).unwrap();
    let no_file = |_: &[u8]| Err(Error::invalid("there is no data file"));
    let request = OpenRequest {
        flags: &OpenFlags::READ,
        data_file: None,
        open_data_file: &no_file,
        find_passphrase: &no_key,
    };
    let driver = Qcow2::open(disk, &request).unwrap_or_else(|error| panic!("{what}: {}", error.report()));
    let report = driver.check(&mut |finding| panic!("{what}: {finding:?}")).unwrap();
    assert_eq!((report.corruptions, report.leaks, report.check_errors), (0, 0, 0), "{what}");
    let image = Image::new("image".to_owned(), Box::new(driver), None);
    let mut bytes = vec![0; image.virtual_size() as usize];
    engine::read(&image, 0, &mut bytes).unwrap();
    bytes
}

/// Changes an image and its model, which shows zeroes where nothing is.
type Change = fn(&Image, &mut [u8], &mut Numbers);

/// Returns how many crashes left the old image, and how many the new one.
fn cut_power(options: &str, size: u64, seed: u64, change: Change) -> (usize, usize) {
    let fs = SimFs::new();
    let path = Path::new("/image");
    fs.add_directory("/");
    let mut numbers = Numbers(seed);
    let zeroes = vec![0; size as usize];
    let mut old = zeroes.clone();
    let new_image = begin(&fs, path, options, size);
    scramble(new_image.image(), &mut old, &zeroes, &mut numbers, 12);
    new_image.publish().unwrap();
    fs.settle();

    let mut new = old.clone();
    let image = reopen(&fs, path, None);
    change(&image, &mut new, &mut numbers);
    image.driver().writer().unwrap().commit(Durability::Durable).unwrap();
    drop(image);

    let (mut olds, mut news) = (0, 0);
    for state in fs.crash_states(CrashPlan { per_moment: 12, total: 1500, seed }) {
        let what = format!("-o {options} seed {seed} crash {}", state.id);
        let found = content(&state.fs, path, &what);
        if found == old {
            olds += 1;
        } else {
            assert!(found == new, "{what}: neither old nor new");
            news += 1;
        }
    }
    (olds, news)
}

const CASES: [(&str, u64); 7] = [
    ("cluster_size=512", 96 << 10),
    ("cluster_size=512,refcount_bits=64", 64 << 10),
    ("cluster_size=1k,refcount_bits=1", 64 << 10),
    ("cluster_size=4k,compression_type=zstd", 200 << 10),
    ("cluster_size=16k,extended_l2=on", 300 << 10),
    ("cluster_size=2k,compat=0.10", 100 << 10),
    ("", 1 << 20),
];

fn cut_power_everywhere(seeds: u64, change: Change) {
    for (options, size) in CASES {
        for seed in 1..=seeds {
            let (olds, news) = cut_power(options, size, seed, change);
            assert!(olds > 0 && news > 0, "-o {options} seed {seed}: {olds} old, {news} new");
        }
    }
}

#[test]
fn a_power_cut_leaves_the_old_image_or_the_new_one() {
    cut_power_everywhere(2, |image, model, numbers| {
        let zeroes = vec![0; model.len()];
        scramble(image, model, &zeroes, numbers, 8);
    });
}

#[test]
fn an_image_is_emptied_or_it_is_not() {
    cut_power_everywhere(1, |image, model, _| {
        image.driver().writer().unwrap().overlay().unwrap().make_empty().unwrap();
        model.fill(0);
    });
}

#[test]
fn an_emptied_image_can_be_filled_before_it_is_committed() {
    cut_power_everywhere(1, |image, model, numbers| {
        let zeroes = vec![0; model.len()];
        scramble(image, model, &zeroes, numbers, 4);
        image.driver().writer().unwrap().overlay().unwrap().make_empty().unwrap();
        model.fill(0);
        scramble(image, model, &zeroes, numbers, 6);
    });
}

fn no_key(
    _: formats::qcow2::header::Encryption,
) -> formats::Result<std::sync::Arc<formats::secrets::Secret>> {
    Err(formats::Error::invalid("No secret"))
}
