//! Differencing disks of Hyper-V's formats: made, given other parents, emptied.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod simulated;

use std::ffi::OsStr;
use std::path::Path;

use formats::create::{CreateRequest, OptionList, OptionTable, create};
use formats::engine::{self, Write};
use formats::{
    BackingReference, Durability, Format, Image, OpenContext, OpenFlags, PermissiveGate, Result, Writer,
};
use journal::sim::CrashPlan;
use journal::{Fs, SimFs};
use simulated::{IMAGE, MIB, WRITE, begin, commit, content, cut_power, transact};

const BASE: &str = "/base";
const SIZE: u64 = 9 * MIB;
const PLAN: CrashPlan = CrashPlan { per_moment: 8, total: 200, seed: 6 };
const FORMATS: [Format; 2] = [Format::Vpc, Format::Vhdx];

/// Options with which both formats make small disks of just that size.
fn options_of_base(format: Format) -> &'static str {
    if format == Format::Vpc { "force_size=on" } else { "block_size=1M" }
}

/// Makes a disk on a parent of that name, which has something in its middle and at its end.
fn made_over(format: Format, base: &str, options: &str, size: u64) -> Result<SimFs> {
    let fs = simulated::image(format, options_of_base(format), SIZE, 2 * MIB);
    fs.add_file(BASE, &fs.bytes(IMAGE).unwrap());
    let mut list = OptionList::default();
    list.add(OsStr::new(options)).unwrap();
    let mut options = OptionTable::for_file(format).parse(&list).unwrap();
    options.set_backing(Some(OsStr::new(base)), Some(OsStr::new(format.name()))).unwrap();
    options.set_size(size).unwrap();
    let context = OpenContext { fs: &fs, gate: &PermissiveGate, secrets: None };
    let (target, durability) = (Path::new(IMAGE), Durability::Durable);
    create(&context, CreateRequest { target, format, options: &options, backing: None, durability })?
        .publish()?;
    fs.settle();
    Ok(fs)
}

fn new(format: Format) -> SimFs {
    made_over(format, "base", "subformat=dynamic", SIZE).unwrap()
}

fn open(fs: &dyn Fs, format: Format) -> Image {
    simulated::open(fs, IMAGE, format, WRITE).unwrap()
}

fn change(fs: &dyn Fs, format: Format) -> Result<()> {
    let image = open(fs, format);
    engine::write(&image, 2 * MIB + 4000, Write::Data(&[3; 3000]))?;
    engine::write(&image, 5000, Write::Data(&[4; 20_000]))?;
    commit(&image)
}

/// The disk and the name of its parent as the next program finds them.
fn found(fs: &SimFs, format: Format) -> (Vec<u8>, Vec<u8>) {
    let transaction = begin(fs);
    let image = open(&transaction, format);
    (content(&image), image.driver().backing().unwrap().name.clone())
}

fn writer(image: &Image) -> &dyn Writer {
    image.driver().writer().unwrap()
}

/// Text in UTF-16, the low byte of each unit first.
fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_new_disk_shows_its_parent() {
    for format in FORMATS {
        for base in ["base", "/base"] {
            let fs = made_over(format, base, "subformat=dynamic", SIZE).unwrap();
            let parent = fs.bytes(BASE).unwrap();
            let (shown, name) = found(&fs, format);
            assert_eq!(name, base.as_bytes());
            assert!(shown[2 * MIB as usize + 700] == 1 && shown[SIZE as usize - 1] == 2);
            transact(&fs, |fs| change(fs, format));
            let (written, _) = found(&fs, format);
            assert!(written[5000] == 4 && written[2 * MIB as usize + 700] == 1);
            assert!(fs.bytes(BASE).unwrap() == parent);
        }
        assert!(made_over(format, "base", "subformat=fixed", SIZE).is_err());
        assert!(made_over(format, "gone", "subformat=dynamic", SIZE).is_err());
    }
    // Of this format a disk has its parent's size.
    assert!(made_over(Format::Vpc, "base", "subformat=dynamic", SIZE + MIB).is_err());
    assert!(made_over(Format::Vhdx, "base", "subformat=dynamic", SIZE + MIB).is_ok());
}

/// VHD specification, "Dynamic Disk Header Format" and "Parent Locators".
#[test]
fn a_vpc_disk_says_which_disk_its_parent_is() {
    for (base, code, name) in [("base", b"W2ru", r".\base"), ("/base", b"W2ku", r"\base")] {
        let fs = made_over(Format::Vpc, base, "subformat=dynamic", SIZE).unwrap();
        let (bytes, parent) = (fs.bytes(IMAGE).unwrap(), fs.bytes(BASE).unwrap());
        assert_eq!((bytes[0x3f], &bytes[0x228..0x238]), (4, &parent[0x44..0x54]));
        assert_eq!(bytes[0x240..0x24a], *b"\0b\0a\0s\0e\0\0");
        assert_eq!(bytes[0x440..0x444], *code);
        assert_eq!(bytes[0x600..][..2 * name.len()], wide(name));
        assert_eq!(bytes[..512], bytes[bytes.len() - 512..]);
        let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
        let told = u32::from_be_bytes(bytes[0x224..0x228].try_into().unwrap());
        assert_eq!(sum(&bytes[0x200..0x600]) - sum(&bytes[0x224..0x228]), !told);
    }
}

/// The identity of the content of a VHDX image, as its newer header has it ([MS-VHDX] 2.2.2).
fn content_id(bytes: &[u8]) -> &[u8] {
    let sequence = |at: usize| u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap());
    let newer = [64 << 10, 128 << 10].into_iter().max_by_key(|&at| sequence(at)).unwrap();
    &bytes[newer + 32..][..16]
}

/// Whether the parent is remembered with the content that it has ([MS-VHDX] 2.6.2.6.3).
fn knows_parent(fs: &SimFs) -> bool {
    let parent = fs.bytes(BASE).unwrap();
    let byte = |place: usize| format!("{:02x}", content_id(&parent)[place]);
    let linkage = wide(&format!("{{{}-{}-", [3, 2, 1, 0].map(byte).concat(), [5, 4].map(byte).concat()));
    fs.bytes(IMAGE).unwrap().windows(linkage.len()).any(|window| window == linkage)
}

#[test]
fn a_vhdx_disk_says_which_content_its_parent_has() {
    let fs = new(Format::Vhdx);
    let image = open(&fs, Format::Vhdx);
    assert_eq!(image.driver().details().unwrap().cluster_size, Some(2 * MIB));
    drop(image);
    assert!(knows_parent(&fs));
    let write = |name: &'static str, byte: u8| {
        transact(&fs, |fs| {
            let image = simulated::open(fs, name, Format::Vhdx, WRITE).unwrap();
            engine::write(&image, 0, Write::Data(&[byte; 512]))?;
            commit(&image)
        });
    };
    write(BASE, 6);
    assert!(!knows_parent(&fs));
    assert!(is_refused(&fs, Format::Vhdx));
    transact(&fs, |fs| adopt(fs, Format::Vhdx));
    assert!(knows_parent(&fs) && !is_refused(&fs, Format::Vhdx));
    // Another name for the parent leaves those that stand on the image where they are.
    let id = content_id(&fs.bytes(IMAGE).unwrap()).to_vec();
    let reference = BackingReference { name: BASE.into(), format: Some("vhdx".to_owned()) };
    transact(&fs, |fs| {
        let image = open(fs, Format::Vhdx);
        writer(&image).overlay().unwrap().set_backing(Some(&reference))?;
        commit(&image)
    });
    assert_eq!(content_id(&fs.bytes(IMAGE).unwrap()), id);
}

const ALONE: OpenFlags = OpenFlags { backing: false, ..OpenFlags::READ };

/// Whether a disk's parent is refused, while the disk alone is not.
fn is_refused(fs: &SimFs, format: Format) -> bool {
    simulated::open(fs, IMAGE, format, ALONE).unwrap();
    match simulated::open(fs, IMAGE, format, WRITE) {
        Ok(_) => false,
        Err(error) => {
            let report = error.report();
            assert!(report.contains("not the disk that this one was made from"), "{report}");
            true
        }
    }
}

/// Takes what is there for the parent.
fn adopt(fs: &dyn Fs, format: Format) -> Result<()> {
    let base = simulated::open(fs, BASE, format, OpenFlags::READ)?;
    let image = simulated::open(fs, IMAGE, format, OpenFlags { backing: false, ..WRITE })?;
    writer(&image).follow(base.driver());
    commit(&image)
}

#[test]
fn another_disk_in_the_parents_place_is_refused() {
    for format in FORMATS {
        let fs = new(format);
        assert!(!is_refused(&fs, format));
        let (old, _) = found(&fs, format);
        let other = simulated::image(format, options_of_base(format), SIZE, 4 * MIB);
        fs.add_file(BASE, &other.bytes(IMAGE).unwrap());
        fs.settle();
        assert!(is_refused(&fs, format));
        // Whatever happens to the power, it is the parent or it is not.
        let found_alone = |fs: &SimFs| {
            let transaction = begin(fs);
            match simulated::open(&transaction, IMAGE, format, OpenFlags::READ) {
                Ok(image) => content(&image),
                Err(_) => Vec::new(),
            }
        };
        let new = cut_power(format.name(), &fs, PLAN, |fs| adopt(fs, format), found_alone);
        assert!(new != old && new[4 * MIB as usize + 700] == 1);
    }
}

#[test]
fn a_disk_that_does_not_say_which_its_parent_is_is_read() {
    let fs = new(Format::Vpc);
    let mut bytes = fs.bytes(IMAGE).unwrap();
    bytes[0x228..0x238].fill(0);
    fs.add_file(IMAGE, &bytes);
    assert!(!is_refused(&fs, Format::Vpc));
    bytes[0x228] = 1;
    fs.add_file(IMAGE, &bytes);
    assert!(is_refused(&fs, Format::Vpc));
}

#[test]
fn a_power_cut_leaves_a_new_disk_old_or_new() {
    for format in FORMATS {
        cut_power(format.name(), &new(format), PLAN, |fs| change(fs, format), |fs| found(fs, format));
    }
}

#[test]
fn another_parent_is_named_whole_or_not_at_all() {
    let long = format!("/{}", "x".repeat(200));
    for format in FORMATS {
        let fs = new(format);
        fs.add_file(&long, &fs.bytes(BASE).unwrap());
        fs.settle();
        let reference =
            BackingReference { name: long.clone().into_bytes(), format: Some(format.name().to_owned()) };
        let rename = |fs: &dyn Fs| {
            let image = open(fs, format);
            writer(&image).overlay().unwrap().set_backing(Some(&reference))?;
            commit(&image)
        };
        let (before, _) = found(&fs, format);
        let (after, name) = cut_power(format.name(), &fs, PLAN, rename, |fs| found(fs, format));
        assert!(before == after && name == long.as_bytes());
        let image = open(&fs, format);
        let overlay = writer(&image).overlay().unwrap();
        assert!(overlay.set_backing(None).is_err());
        let other = BackingReference { format: Some("raw".to_owned()), ..reference };
        assert!(overlay.set_backing(Some(&other)).is_err());
    }
}

#[test]
fn an_emptied_disk_shows_its_parent_again() {
    for format in FORMATS {
        let fs = new(format);
        let (shown, _) = found(&fs, format);
        let len = fs.bytes(IMAGE).unwrap().len();
        transact(&fs, |fs| change(fs, format));
        fs.settle();
        let (written, _) = found(&fs, format);
        let empty = |fs: &dyn Fs| {
            let image = open(fs, format);
            writer(&image).overlay().unwrap().make_empty()?;
            commit(&image)
        };
        let (emptied, _) = cut_power(format.name(), &fs, PLAN, empty, |fs| found(fs, format));
        assert!(emptied == shown);
        assert!(fs.bytes(IMAGE).unwrap().len() <= len);
        transact(&fs, |fs| change(fs, format));
        assert!(found(&fs, format).0 == written, "it is written again");
    }
}
