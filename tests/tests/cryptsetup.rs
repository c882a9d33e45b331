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
