//! Encrypted qcow2 images: `encrypt.format=luks` and the obsolete `aes`.

use testkit::case::{Case, label};
use testkit::encrypted::{SECRETS, options};
use testkit::shapes::{ENCRYPTED, Shape};

/// Options of new images, after the encryption's.
const FURTHER: &[&str] = &[
    "",
    ",compat=0.10",
    ",extended_l2=on",
    ",cluster_size=4k",
    ",cluster_size=512",
    ",preallocation=metadata",
    ",preallocation=full",
    ",lazy_refcounts=on,refcount_bits=64",
];

const LUKS: &str = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10";
const AES: &str = "encrypt.format=aes,encrypt.key-secret=s";

/// Options of which some do not go together.
const OPTIONS: &[&str] = &[
    "encryption=on,encrypt.key-secret=q",
    "encryption=on,encrypt.format=luks,encrypt.key-secret=q",
    "encryption=on",
    "encryption=off",
    "encrypt.format=foo",
    "encrypt.format=luks",
    "encrypt.format=aes",
    "encrypt.format=luks,encrypt.key-secret=zz",
    "encrypt.format=aes,encrypt.key-secret=zz",
    "encrypt.format=luks,encrypt.key-secret=zz,cluster_size=513",
    "encrypt.key-secret=s",
    "encrypt.cipher-alg=aes-128",
    "encrypt.iter-time=10",
    "encrypt.format=luks,encrypt.key-secret=q,encrypt.cipher-alg=foo",
    "encrypt.format=luks,encrypt.key-secret=q,encrypt.cipher-alg=des",
    "encrypt.format=luks,encrypt.key-secret=q,encrypt.cipher-mode=foo",
    "encrypt.format=luks,encrypt.key-secret=q,encrypt.ivgen-alg=foo",
    "encrypt.format=luks,encrypt.key-secret=q,encrypt.hash-alg=foo",
    "encrypt.format=aes,encrypt.key-secret=q,encrypt.cipher-alg=aes-128",
    "encrypt.format=luks,encrypt.key-secret=q,encrypt.iter-time=10,encrypt.cipher-alg=serpent-128,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv",
    "encrypt.format=luks,encrypt.key-secret=q,encrypt.iter-time=10,preallocation=falloc",
];

/// Lines that only read; `{s}` is the image with its key, `{n}` with another.
const READS: &[&str] = &[
    "info a.qcow2",
    "info --output=json a.qcow2",
    "info --image-opts {s}",
    "info --image-opts {s},encrypt.format=luks",
    "map a.qcow2",
    "map --image-opts {s}",
    "map --output=json --image-opts {s}",
    "map --image-opts {n}",
    "map --image-opts {s},encrypt.format=luks",
    "map --image-opts {s},encrypt.format=aes",
    "map --image-opts {s},encrypt.format=foo",
    "map --image-opts {s},encrypt.foo=x",
    "map --image-opts driver=qcow2,file.filename=a.qcow2,encrypt.format=luks",
    "check a.qcow2",
    "check --image-opts {s}",
    "check --output=json --image-opts {s}",
    "compare --image-opts {s} driver=raw,file.filename=n.raw",
    "compare --image-opts {s} {s}",
    "snapshot -l a.qcow2",
    "snapshot -l --image-opts {s}",
    "measure -O raw --image-opts {s}",
    "measure -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s n.raw",
    "measure -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s,cluster_size=512 --size 10M",
    "measure -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.cipher-alg=aes-128 --size 10M",
    "measure -O qcow2 -o encrypt.format=luks --size 10M",
    "measure -O qcow2 -o encrypt.format=aes --size 10M",
];

/// Lines that change the image or make another.
const CHANGES: &[&str] = &[
    "convert --image-opts {s} -O raw out",
    "convert --image-opts {s} -O qcow2 -c out",
    "convert -c -O qcow2 -o encrypt.format=aes,encrypt.key-secret=s n.raw out",
    "convert -n --image-opts --target-image-opts driver=raw,file.filename=other.raw {s}",
    "resize a.qcow2 5M",
    "resize --image-opts {s} 5M",
    "resize --image-opts --shrink {s} 1M",
    "check -r all --image-opts {s}",
    "snapshot -c x a.qcow2",
    "snapshot -c x --image-opts {s}",
    "bitmap --add --image-opts {s} b0",
    "create -f qcow2 -b a.qcow2 -F qcow2 out",
    "rebase -u -b '' --image-opts {s}",
    "rebase -b '' --image-opts {s}",
    "commit --image-opts {s}",
    "amend --image-opts -o compat=0.10 {s}",
    "amend --image-opts -o size=9M {s}",
    "amend --image-opts -o refcount_bits=64 {s}",
    "amend -o size=9M a.qcow2",
    "amend --image-opts -o encrypt.state=active,encrypt.new-secret=n,encrypt.iter-time=10 {s}",
    "amend -p --image-opts -o encrypt.state=active,encrypt.new-secret=n,encrypt.iter-time=10 {s}",
    "amend --image-opts --force -o encrypt.state=active,encrypt.new-secret=n,encrypt.iter-time=10,encrypt.keyslot=0 {s}",
    "amend --image-opts -o encrypt.state=inactive,encrypt.old-secret=s {s}",
    "amend --image-opts -o encrypt.state=inactive,encrypt.keyslot=3 {s}",
    "amend --image-opts -o encrypt.state=foo {s}",
    "amend --image-opts -o encrypt.new-secret=n {s}",
    "amend --image-opts -o encrypt.format=aes {s}",
];

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (name, encryption) in [("luks", LUKS), ("aes", AES)] {
        for further in FURTHER {
            let line = format!("convert {SECRETS} -O qcow2 -o {encryption}{further} n.raw out");
            let name = format!("encrypted/convert/{name}{}", label(further));
            all.push(Case::makes(name, &ENCRYPTED[0], &line));
        }
    }
    for option in OPTIONS {
        let line = with_secrets(&format!("create -f qcow2 -o {option} out 3M"));
        all.push(Case::alone(format!("encrypted/create/{}", label(option)), &line));
    }
    for shape in ENCRYPTED {
        let kind = &shape.name["encrypted/".len()..];
        for line in READS {
            let name = format!("encrypted/{kind}/{}", label(line));
            all.push(Case::reads(name, shape, &with_secrets(line)));
        }
        for line in CHANGES {
            all.push(own(format!("encrypted/{kind}/{}", label(line)), shape, &with_secrets(line)));
        }
    }
    all
}

fn own(name: String, shape: &'static Shape, line: &str) -> Case {
    Case::makes(name, shape, line).setup("own a.qcow2")
}

/// The command line with the secrets behind the command's name.
fn with_secrets(line: &str) -> String {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.replace("{s}", &options("qcow2", "a.qcow2", "s"));
    let rest = rest.replace("{n}", &options("qcow2", "a.qcow2", "n"));
    format!("{command} {SECRETS} --object secret,id=q,data=other {rest}")
}
