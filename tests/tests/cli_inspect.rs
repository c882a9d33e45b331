//! Images from strangers: `inspect` says what they are, and `--untrusted` keeps what they name closed.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use serde_json::Value;
use testkit::oracle::stock;
use testkit::run::Outcome;
use testkit::scene;
use testkit::tximg::own;

/// What stands in the file of the host that nobody should see.
const SECRET: &[u8] = b"the host's own secret";

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(dir.join(name), bytes).expect("scratch files can be written");
}

/// Puts bytes into a file that is there.
fn poke(dir: &Path, name: &str, at: usize, bytes: &[u8]) {
    let mut all = std::fs::read(dir.join(name)).expect("the file is there");
    all.resize(all.len().max(at + bytes.len()), 0);
    all[at..at + bytes.len()].copy_from_slice(bytes);
    write(dir, name, &all);
}

fn inspected(dir: &Path, line: &str) -> (Option<i32>, Value) {
    let outcome = own(dir, &format!("inspect --output json {line}"));
    let value = serde_json::from_str(&outcome.out());
    (outcome.code(), value.unwrap_or_else(|error| panic!("{line}: {error}: {}", outcome.err())))
}

/// The codes of what is against an image.
fn codes(dir: &Path, line: &str) -> Vec<String> {
    let (status, value) = inspected(dir, line);
    let concerns = value["concerns"].as_array().expect("concerns are a list");
    let codes: Vec<_> =
        concerns.iter().map(|concern| concern["code"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(status, Some(if codes.is_empty() { 0 } else { 2 }), "{line}");
    assert_eq!(value["verdict"], if codes.is_empty() { "accepted" } else { "refused" }, "{line}");
    codes
}

fn lacks_oracle() -> bool {
    testkit::need::lacks(&["qemu-img"])
}

#[test]
fn images_by_themselves_are_accepted() {
    if lacks_oracle() {
        return;
    }
    let dir = scene::empty();
    let dir = dir.path();
    for (format, options) in [
        ("raw", ""),
        ("qcow2", ""),
        ("qcow2", "-o compat=0.10"),
        ("vdi", ""),
        ("vpc", ""),
        ("vpc", "-o subformat=fixed"),
        ("vhdx", ""),
        ("vmdk", ""),
        ("vmdk", "-o subformat=streamOptimized"),
        ("parallels", ""),
    ] {
        stock(dir, &format!("create -q -f {format} {options} a 1M"));
        assert_eq!(codes(dir, "--untrusted a"), [""; 0], "{format} {options}");
        assert_eq!(codes(dir, &format!("--untrusted -f {format} a")), [""; 0], "{format} {options}");
        assert_eq!(inspected(dir, "a").1["format"], format);
        let wrong = if format == "raw" { "qcow2" } else { "raw" };
        assert!(codes(dir, &format!("-f {wrong} a")).contains(&"other-format".to_owned()), "{format}");
    }
}

#[test]
fn what_an_image_names_is_told_and_not_opened() {
    if lacks_oracle() {
        return;
    }
    let dir = scene::empty();
    let dir = dir.path();
    stock(dir, "create -q -f qcow2 -u -b /nowhere/base -F raw overlay 1M");
    assert_eq!(codes(dir, "overlay"), [""; 0]);
    assert_eq!(codes(dir, "--untrusted overlay"), ["backing-file"]);
    assert_eq!(codes(dir, "--untrusted --allow backing-file overlay"), [""; 0]);
    let reference = &inspected(dir, "overlay").1["references"][0];
    assert_eq!((&reference["role"], &reference["name"]), (&"backing".into(), &"/nowhere/base".into()));

    stock(dir, "create -q -f qcow2 -o data_file=d.raw data 1M");
    std::fs::remove_file(dir.join("d.raw")).expect("the data file was made");
    assert_eq!(codes(dir, "--untrusted data"), ["data-file"]);

    stock(dir, "create -q -f vmdk -o subformat=monolithicFlat flat.vmdk 1M");
    assert_eq!(codes(dir, "flat.vmdk"), [""; 0]);
    assert_eq!(codes(dir, "--untrusted flat.vmdk"), ["vmdk-type", "extent-file"]);

    stock(dir, "create -q -f vmdk base.vmdk 1M");
    stock(dir, "create -q -f vmdk -b base.vmdk -F vmdk delta.vmdk");
    assert_eq!(codes(dir, "--untrusted delta.vmdk"), ["backing-file"]);
}

#[test]
fn what_is_two_things_is_refused() {
    if lacks_oracle() {
        return;
    }
    let dir = scene::empty();
    let dir = dir.path();
    let both: [(&str, usize, &[u8]); 4] = [
        ("iso", 0x8001, b"CD001"),
        ("vdi", 0x40, &[0x7f, 0x10, 0xda, 0xbe]),
        ("gpt", 4096, b"EFI PART"),
        ("vpc", 256 << 10, b"conectix"),
    ];
    for (what, at, bytes) in both {
        stock(dir, "create -q -f qcow2 a 1M");
        poke(dir, "a", at, bytes);
        if what == "vpc" {
            poke(dir, "a", at + 511, &[0]);
        }
        assert!(codes(dir, "a").contains(&"several-formats".to_owned()), "{what}");
    }
    // A raw disk may well be started from either way.
    write(dir, "hybrid", &[0; 64 << 10]);
    poke(dir, "hybrid", 0x8001, b"CD001");
    poke(dir, "hybrid", 512, b"EFI PART");
    poke(dir, "hybrid", 450, &[0xee]);
    poke(dir, "hybrid", 510, &[0x55, 0xaa]);
    assert_eq!(codes(dir, "--untrusted -f raw hybrid"), [""; 0]);
    assert_eq!(inspected(dir, "hybrid").1["looks-like"], serde_json::json!(["iso", "gpt"]));
    poke(dir, "hybrid", 446, &[0x7f]);
    assert_eq!(codes(dir, "--untrusted hybrid"), ["partition-table"]);
}

#[test]
fn limits_are_those_of_the_formats_and_of_the_caller() {
    if lacks_oracle() {
        return;
    }
    let dir = scene::empty();
    let dir = dir.path();
    stock(dir, "create -q -f qcow2 a 1G");
    assert_eq!(codes(dir, "--max-size 1G a"), [""; 0]);
    assert_eq!(codes(dir, "--max-size 1023M a"), ["too-large"]);
    // An L1 table of 4 GiB.
    poke(dir, "a", 36, &[0x20, 0, 0, 0]);
    assert_eq!(codes(dir, "a"), ["damaged"]);

    stock(dir, "create -q -f qcow2 a 1M");
    poke(dir, "a", 79, &[2]);
    assert_eq!(codes(dir, "a"), ["marked-corrupt"]);
    poke(dir, "a", 72, &[0x80]);
    assert_eq!(codes(dir, "a"), ["unsupported"]);
    stock(dir, "create -q -f qcow2 -o extended_l2=on a 1M");
    assert_eq!(codes(dir, "a"), [""; 0]);
    assert_eq!(codes(dir, "--untrusted a"), ["extended-l2"]);

    stock(dir, "create -q -f luks --object secret,id=s,data=x -o key-secret=s,iter-time=10 a 1M");
    assert_eq!(codes(dir, "--untrusted a"), [""; 0]);
    assert_eq!(inspected(dir, "a").1["encrypted"], true);
    poke(dir, "a", 164, &[0x7f]);
    assert_eq!(codes(dir, "--untrusted a"), ["luks-iterations"]);
    poke(dir, "a", 7, &[2]);
    assert_eq!(codes(dir, "--untrusted a"), ["luks-version"]);
}

#[test]
fn a_vmdk_footer_is_like_its_header() {
    if lacks_oracle() {
        return;
    }
    let dir = scene::empty();
    let dir = dir.path();
    write(dir, "raw", &[1; 64 << 10]);
    stock(dir, "convert -O vmdk -o subformat=streamOptimized raw a");
    let has_footer = |dir: &Path| codes(dir, "--untrusted a").contains(&"vmdk-footer".to_owned());
    assert_eq!(codes(dir, "--untrusted a"), [""; 0]);
    // The grain directory is said to be told by the footer, which is not there.
    poke(dir, "a", 56, &[0xff; 8]);
    assert!(has_footer(dir));
}

#[test]
fn only_regular_files_are_opened_and_nobody_waits() {
    let dir = scene::empty();
    let dir = dir.path();
    write(dir, "a", &[0; 512]);
    std::os::unix::fs::symlink("a", dir.join("link")).expect("links can be made");
    let fifo = std::process::Command::new("mkfifo").arg(dir.join("fifo")).status();
    assert!(fifo.is_ok_and(|status| status.success()));
    for name in ["link", "fifo", "/dev/null", "nbd:localhost:1", "json:{}", "gone"] {
        let outcome = own(dir, &format!("inspect {name}"));
        assert_eq!(outcome.code(), Some(1), "{name}: {}", outcome.err());
        assert_eq!(outcome.out(), "", "{name}");
    }
}

/// An image that shows a file of the host to whoever reads it, made by what has to be called on it.
fn leaks(dir: &Path) -> Vec<(&'static str, String)> {
    let secret = dir.join("secret");
    let secret = secret.display();
    stock(dir, &format!("create -q -f qcow2 -b {secret} -F raw backing 64k"));
    stock(dir, "create -q -f qcow2 -o data_file=d.raw,data_file_raw=on data 64k");
    stock(dir, &format!("amend -f qcow2 -o data_file={secret} data"));
    let json =
        format!("json:{{\"driver\":\"raw\",\"file\":{{\"driver\":\"file\",\"filename\":\"{secret}\"}}}}");
    stock(dir, "create -q -f qcow2 json 64k");
    stock(dir, &format!("rebase -q -u -f qcow2 -F raw -b {json} json"));
    let descriptor = format!(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\
         RW 128 FLAT \"{secret}\" 0\nddb.adapterType = \"ide\"\n"
    );
    write(dir, "extent", descriptor.as_bytes());
    std::os::unix::fs::symlink("secret", dir.join("link")).expect("links can be made");
    let as_qcow2 = |name: &str| format!("-f qcow2 {name}");
    vec![
        ("backing", as_qcow2("backing")),
        ("data", as_qcow2("data")),
        ("json", as_qcow2("json")),
        ("extent", "-f vmdk extent".to_owned()),
        ("link", "-f raw link".to_owned()),
    ]
}

fn shows_secret(dir: &Path) -> bool {
    let copied = std::fs::read(dir.join("out")).unwrap_or_default();
    copied.windows(SECRET.len()).any(|bytes| bytes == SECRET)
}

#[test]
fn no_file_of_the_host_is_shown_by_an_untrusted_image() {
    if lacks_oracle() {
        return;
    }
    let dir = scene::empty();
    let dir = dir.path();
    let mut secret = SECRET.to_vec();
    secret.resize(64 << 10, 0);
    write(dir, "secret", &secret);
    for (what, image) in leaks(dir) {
        let line = format!("-O raw {image} out");
        stock(dir, &format!("convert {line}"));
        assert!(shows_secret(dir), "qemu-img keeps {what} closed, so this proves nothing");
        std::fs::remove_file(dir.join("out")).expect("qemu-img has made it");
        let outcome: Outcome = own(dir, &format!("convert --untrusted {line}"));
        assert_eq!(outcome.code(), Some(1), "{what}: {}", outcome.err());
        assert!(!shows_secret(dir), "{what}");
        for reading in ["check", "map", "measure -O raw", "digest"] {
            let outcome = own(dir, &format!("{reading} --untrusted {image}"));
            assert_ne!(outcome.code(), Some(0), "{reading} {what}");
        }
    }
    // A guest can make its raw disk look like an image that names the secret.
    std::fs::copy(dir.join("backing"), dir.join("guest.raw")).expect("scratch files can be copied");
    stock(dir, "convert -O raw guest.raw out");
    assert!(shows_secret(dir));
    for line in ["guest.raw", "-f raw guest.raw"] {
        let outcome = own(dir, &format!("info --untrusted {line}"));
        assert_eq!(outcome.code(), Some(1), "{line}: {}", outcome.out());
    }
}

#[test]
fn a_format_has_to_be_said_and_nothing_else() {
    if lacks_oracle() {
        return;
    }
    let dir = scene::empty();
    let dir = dir.path();
    stock(dir, "create -q -f qcow2 -o extended_l2=on a 1M");
    for line in ["info -f qcow2 a", "check -f qcow2 a", "map -f qcow2 a", "convert -f qcow2 -O raw a b"] {
        let outcome = own(dir, &line.replacen(' ', " --untrusted ", 1));
        assert!(outcome.success(), "{line}: {}", outcome.err());
    }
    let refused = own(dir, "info --untrusted a");
    assert!(refused.err().contains("has to be said"), "{}", refused.err());
}
