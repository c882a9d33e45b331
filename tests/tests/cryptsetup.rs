//! LUKS volumes between tximg and cryptsetup, in both directions.

#![allow(clippy::disallowed_methods, reason = "files that tests make need not survive anything")]

use std::fs;
use std::path::Path;

use testkit::need::ADMINISTRATION;
use testkit::oracle::{in_path, stock};
use testkit::run::{Outcome, Run};
use testkit::scene;
use testkit::tximg::own;

const SECRETS: &str = "--object secret,id=s,file=key --object secret,id=n,file=new";
const IMAGE: &str = "--image-opts driver=luks,key-secret=s,file.filename=a.luks";

fn is_missing() -> bool {
    testkit::need::lacks(&["cryptsetup", "qemu-img"])
}

fn cryptsetup(dir: &Path, line: &str) -> Outcome {
    let beside = || Path::new(ADMINISTRATION).join("cryptsetup");
    Run::new(&in_path("cryptsetup").unwrap_or_else(beside), dir).args(line.split(' ')).run()
}

/// Whether cryptsetup opens a volume with a key.
fn opens(dir: &Path, key: &str) -> bool {
    cryptsetup(dir, &format!("open --test-passphrase --type luks1 --key-file {key} a.luks")).success()
}

fn keys(dir: &Path) {
    for (name, key) in [("key", "first key"), ("new", "second key")] {
        fs::write(dir.join(name), key).expect("the scratch directory can be written");
    }
}

fn succeeds(dir: &Path, line: &str) -> String {
    let outcome = own(dir, line);
    assert!(outcome.success(), "{line}: {}", outcome.err());
    outcome.out().to_owned()
}

#[test]
fn cryptsetup_opens_what_tximg_makes() {
    if is_missing() {
        return;
    }
    let dir = scene::empty();
    let dir: &Path = dir.path();
    keys(dir);
    for options in [
        "cipher-alg=aes-256",
        "cipher-alg=aes-192,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256",
        "cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=plain,hash-alg=sha1",
        "hash-alg=sha512",
    ] {
        succeeds(
            dir,
            &format!("create -q -f luks {SECRETS} -o key-secret=s,iter-time=10,{options} a.luks 1M"),
        );
        let dump = cryptsetup(dir, "luksDump a.luks");
        assert!(dump.out().contains("Version:       \t1") && dump.success(), "{}", dump.out());
        assert!(opens(dir, "key") && !opens(dir, "new"), "{options}");
        succeeds(dir, &format!("amend {SECRETS} {IMAGE} -o state=active,new-secret=n,iter-time=10"));
        assert!(opens(dir, "key") && opens(dir, "new"), "{options}");
        succeeds(dir, &format!("amend {SECRETS} {IMAGE} -o state=inactive,keyslot=0"));
        assert!(!opens(dir, "key") && opens(dir, "new"), "{options}");
    }
}

#[test]
fn tximg_opens_what_cryptsetup_makes() {
    if is_missing() {
        return;
    }
    let dir = scene::empty();
    let dir: &Path = dir.path();
    keys(dir);
    for options in ["", " --cipher aes-cbc-essiv:sha256 --key-size 256", " --hash sha512 --key-size 256"] {
        fs::write(dir.join("a.luks"), vec![0; 5 << 20]).expect("the scratch directory can be written");
        let format = format!(
            "luksFormat -q --type luks1 --pbkdf-force-iterations 1000{options} --key-file key a.luks"
        );
        let made = cryptsetup(dir, &format);
        assert!(made.success(), "{format}: {}", made.err());
        assert_eq!(succeeds(dir, "info a.luks"), stock(dir, "info a.luks").out());
        succeeds(dir, &format!("convert {SECRETS} {IMAGE} -O raw out.raw"));
        stock(dir, &format!("compare {SECRETS} {IMAGE} driver=raw,file.filename=out.raw"));
        let added = cryptsetup(dir, "luksAddKey -q --pbkdf-force-iterations 1000 --key-file key a.luks new");
        assert!(added.success(), "{}", added.err());
        succeeds(dir, &format!("map {SECRETS} --output=json {}", IMAGE.replace("=s", "=n")));
    }
}

/// What version 2 can be told, and what its passphrases cost.
const OPTIONS_2: [&str; 5] = [
    "--pbkdf pbkdf2 --pbkdf-force-iterations 1000",
    "--pbkdf argon2id --pbkdf-force-iterations 4 --pbkdf-memory 2048 --pbkdf-parallel 2",
    "--pbkdf argon2i --pbkdf-force-iterations 4 --pbkdf-memory 1024 --pbkdf-parallel 1 --hash sha512",
    "--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --sector-size 4096",
    "--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --cipher aes-cbc-essiv:sha256 --key-size 256",
];

/// `cryptsetup reencrypt` encrypts and decrypts files by itself, without a device.
#[test]
fn volumes_of_version_2_are_read_and_written() {
    if is_missing() {
        return;
    }
    const SIZE: usize = 5 << 20;
    for options in OPTIONS_2 {
        let dir = scene::empty();
        let dir: &Path = dir.path();
        keys(dir);
        let mut plain: Vec<u8> = (0..SIZE).map(|at| (at / 512 * 31 + at % 253) as u8).collect();
        let mut volume = plain.clone();
        // The second half is where the header is to be made.
        volume.resize(SIZE + (32 << 20), 0);
        fs::write(dir.join("a.luks"), &volume).expect("the scratch directory can be written");
        let line = format!(
            "reencrypt -q --encrypt --type luks2 --reduce-device-size 32M {options} --key-file key a.luks"
        );
        let made = cryptsetup(dir, &line);
        assert!(made.success(), "{line}: {}", made.err());
        let read = |secret: &str| {
            let image = IMAGE.replace("=s", secret);
            succeeds(dir, &format!("convert {SECRETS} {image} -O raw out.raw"));
            fs::read(dir.join("out.raw")).expect("it has been made")
        };
        assert!(read("=s")[..SIZE] == plain, "{options}");
        let told = succeeds(dir, &format!("info --output=json {SECRETS} {IMAGE}"));
        assert!(told.contains("\"version\": 2"), "{told}");
        let wrong = own(dir, &format!("convert {SECRETS} {} -O raw out.raw", IMAGE.replace("=s", "=n")));
        assert!(wrong.err().contains("Invalid password"), "{}", wrong.err());
        fs::write(dir.join("patch"), vec![7; 6000]).expect("the scratch directory can be written");
        plain[..6000].fill(7);
        // A whole disk of it, in which little is new.
        let mut disk = read("=s");
        disk[..6000].fill(7);
        fs::write(dir.join("new.raw"), &disk).expect("the scratch directory can be written");
        succeeds(dir, &format!("convert -n -f raw {SECRETS} --target-image-opts new.raw {}", &IMAGE[13..]));
        assert!(read("=s")[..SIZE] == plain, "{options}: written");
        let line = "reencrypt -q --decrypt --force-offline-reencrypt --header header --key-file key a.luks";
        let undone = cryptsetup(dir, line);
        assert!(undone.success(), "{line}: {}", undone.err());
        let decrypted = fs::read(dir.join("a.luks")).expect("it is there");
        assert!(decrypted[..SIZE] == plain, "{options}: decrypted by cryptsetup");
    }
}

/// Its key slots are cryptsetup's.
#[test]
fn key_slots_of_version_2_are_not_changed() {
    if is_missing() {
        return;
    }
    let dir = scene::empty();
    let dir: &Path = dir.path();
    keys(dir);
    fs::write(dir.join("a.luks"), vec![0; 20 << 20]).expect("the scratch directory can be written");
    let format =
        "luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file key a.luks";
    assert!(cryptsetup(dir, format).success());
    let before = fs::read(dir.join("a.luks")).expect("it is there");
    let refused = own(dir, &format!("amend {SECRETS} {IMAGE} -o state=active,new-secret=n,iter-time=10"));
    assert!(!refused.success() && refused.err().contains("cryptsetup does that"), "{}", refused.err());
    let refused = own(dir, &format!("resize {SECRETS} {IMAGE} 30M"));
    assert!(!refused.success(), "{}", refused.err());
    assert!(fs::read(dir.join("a.luks")).expect("it is there") == before);
}
