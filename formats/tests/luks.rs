//! Encrypted images after power cuts, and damaged ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod simulated;

use std::ffi::OsStr;
use std::path::Path;

use formats::amend::{AmendRequest, Force};
use formats::create::{CreateOptions, CreateRequest, OptionList, OptionTable, create};
use formats::engine::{self, Write};
use formats::secrets::{Secret, Secrets};
use formats::{Durability, Format, Image, OpenContext, OpenFlags, PermissiveGate, Result, open_image_opts};
use journal::sim::CrashPlan;
use journal::{Fs, SimFs};
use simulated::{IMAGE, WRITE, begin, content, empty, random, sparse};

const SIZE: u64 = 300 << 10;

/// An encrypted format, the options of its images, and the one that names a key.
#[derive(Debug, Clone, Copy)]
struct Kind {
    format: Format,
    options: &'static str,
    amend: &'static str,
    key: &'static str,
}

const LUKS: Kind = Kind {
    format: Format::Luks,
    options: "key-secret=old,iter-time=1,cipher-alg=aes-128",
    amend: "state=active,new-secret=new,iter-time=1",
    key: "key-secret",
};

const QCOW2: Kind = Kind {
    format: Format::Qcow2,
    options: "encrypt.format=luks,encrypt.key-secret=old,encrypt.iter-time=1,encrypt.cipher-alg=aes-128",
    amend: "encrypt.state=active,encrypt.new-secret=new,encrypt.iter-time=1",
    key: "encrypt.key-secret",
};

fn secrets() -> Secrets {
    let secrets = Secrets::default();
    secrets.keep(b"old", Secret::new(b"old passphrase".to_vec()));
    secrets.keep(b"new", Secret::new(b"new passphrase".to_vec()));
    secrets
}

fn open(fs: &dyn Fs, kind: Kind, secret: &str, flags: OpenFlags) -> Result<Image> {
    let secrets = secrets();
    let context = OpenContext { fs, gate: &PermissiveGate, secrets: Some(&secrets) };
    let text = format!("driver={},file.filename={IMAGE},{}={secret}", kind.format, kind.key);
    open_image_opts(&context, OsStr::new(&text), flags)
}

fn parse(table: &OptionTable, text: &str) -> CreateOptions {
    let mut list = OptionList::default();
    list.add(OsStr::new(text)).unwrap();
    table.parse(&list).unwrap()
}

/// An image of 300 KiB with something in it.
fn image(kind: Kind) -> SimFs {
    let fs = empty();
    let mut options = parse(&OptionTable::for_file(kind.format), kind.options);
    options.set_size(SIZE).unwrap();
    let secrets = secrets();
    let context = OpenContext { fs: &fs, gate: &PermissiveGate, secrets: Some(&secrets) };
    let request = CreateRequest {
        target: Path::new(IMAGE),
        format: kind.format,
        options: &options,
        backing: None,
        durability: Durability::Durable,
    };
    let new = create(&context, request).unwrap();
    engine::write(new.image(), 0, Write::Data(&[1; SIZE as usize])).unwrap();
    new.publish().unwrap();
    fs.settle();
    fs
}

/// Adds a key slot, and writes over what is there.
fn change(fs: &dyn Fs, kind: Kind) {
    let image = open(fs, kind, "old", WRITE).unwrap();
    let secrets = secrets();
    let context = OpenContext { fs, gate: &PermissiveGate, secrets: Some(&secrets) };
    let options = parse(&OptionTable::for_amending(kind.format).unwrap(), kind.amend);
    let writer = image.driver().writer().unwrap();
    let amender = writer.amender().unwrap();
    let request = AmendRequest { options: &options, context: &context, force: Force::Off };
    let amendment = amender.plan(&request).unwrap();
    amender.add(&amendment).unwrap();
    amender.remove(&amendment).unwrap();
    engine::write(&image, 100_001, Write::Data(&[3; 70_000])).unwrap();
    writer.commit(Durability::Durable).unwrap();
}

/// The disk as the next program finds it with a passphrase, if that opens it.
fn found(fs: &SimFs, kind: Kind, secret: &str) -> Option<Vec<u8>> {
    let transaction = begin(fs);
    let image = open(&transaction, kind, secret, WRITE).ok()?;
    Some(content(&image))
}

#[test]
fn a_power_cut_leaves_the_old_keys_and_bytes_or_the_new_ones() {
    for kind in [LUKS, QCOW2] {
        let fs = image(kind);
        let old = found(&fs, kind, "old");
        assert!(old.as_deref() == Some(&[1; SIZE as usize][..]) && found(&fs, kind, "new").is_none());
        let transaction = begin(&fs);
        change(&transaction, kind);
        transaction.commit().unwrap();
        let new = found(&fs, kind, "new");
        assert!(new.is_some() && new != old && found(&fs, kind, "old") == new);
        let mut counts = [0; 2];
        let plan = CrashPlan { per_moment: 6, total: 150, seed: 3 };
        for state in fs.crash_states(plan) {
            let disk = found(&state.fs, kind, "old");
            let by_new = found(&state.fs, kind, "new");
            let is_old = disk == old && by_new.is_none();
            let is_new = disk == new && by_new == new;
            assert!(is_old || is_new, "{kind:?}: state {}", state.id);
            counts[usize::from(is_new)] += 1;
        }
        assert!(counts.iter().all(|&count| count > 5), "{kind:?}: {counts:?}");
    }
}

#[test]
fn bytes_are_encrypted_in_the_file() {
    for kind in [LUKS, QCOW2] {
        let bytes = image(kind).bytes(IMAGE).unwrap();
        assert!(!bytes.windows(32).any(|window| window == [1; 32]), "{kind:?}");
    }
}

#[test]
fn a_damaged_header_is_an_error_or_an_answer() {
    let fs = image(LUKS);
    let sound = fs.bytes(IMAGE).unwrap();
    let mut below = random();
    for round in 0..20_000 {
        let mut header = sound[..592].to_vec();
        for _ in 0..=below(3) {
            header[below(592)] = [0, 1, 0x7f, 0xff, below(256) as u8][below(5)];
        }
        // How long a passphrase takes is not to be tested.
        let is_quick = [164, 212].iter().all(|&at| header[at..at + 4] == sound[at..at + 4]);
        let wants_data = is_quick && round % 100 == 0;
        let bytes = if wants_data { [&header, &sound[592..]].concat() } else { header };
        let len = if below(10) == 0 { below(sound.len()) } else { sound.len() };
        let fs = sparse(&bytes, len as u64);
        let flags = OpenFlags { data: wants_data, ..OpenFlags::READ };
        if let Ok(image) = open(&fs, LUKS, "old", flags) {
            drop(image.driver().details());
            let mut buffer = [0; 5000];
            if wants_data {
                drop(engine::read(&image, 0, &mut buffer));
            }
        }
    }
}
