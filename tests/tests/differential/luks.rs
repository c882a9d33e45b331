//! `luks`: ciphers, secrets, key slots, sizes, and headers that are wrong.

use testkit::case::{Case, label};
use testkit::encrypted::{SECRETS, options};
use testkit::shapes::{LUKS, Shape};

/// Ciphers and what goes with them, those among them that do not go together.
const CIPHERS: &[&str] = &[
    "cipher-alg=aes-128",
    "cipher-alg=aes-192",
    "cipher-alg=aes-256,cipher-mode=cbc",
    "cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv",
    "cipher-alg=aes-256,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256",
    "cipher-alg=aes-256,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha1",
    "cipher-alg=aes-256,cipher-mode=ctr",
    "cipher-alg=aes-256,cipher-mode=ecb",
    "cipher-alg=serpent-256",
    "cipher-alg=serpent-128,cipher-mode=cbc",
    "cipher-alg=serpent-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha1",
    "cipher-alg=twofish-256",
    "cipher-alg=twofish-192",
    "cipher-alg=twofish-128,cipher-mode=ctr",
    "cipher-alg=cast5-128",
    "cipher-alg=cast5-128,cipher-mode=cbc",
    "cipher-alg=cast5-128,cipher-mode=ctr",
    "cipher-alg=cast5-128,cipher-mode=cbc,ivgen-alg=essiv",
    "cipher-alg=cast5-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=md5",
    "ivgen-alg=plain",
    "ivgen-alg=plain64,ivgen-hash-alg=md5",
    "hash-alg=md5",
    "hash-alg=sha1",
    "hash-alg=sha224",
    "hash-alg=sha384",
    "hash-alg=sha512",
    "hash-alg=ripemd160",
    "hash-alg=sm3",
];

/// What is refused.
const REFUSED: &[&str] = &[
    "cipher-alg=foo",
    "cipher-alg=des",
    "cipher-alg=3des",
    "cipher-alg=sm4",
    "cipher-alg=",
    "cipher-mode=foo",
    "ivgen-alg=foo",
    "ivgen-hash-alg=foo",
    "hash-alg=foo",
    "hash-alg=whirlpool",
    "detached-header=on",
    "iter-time=foo",
    "preallocation=foo",
    "cluster_size=64k",
];

/// Secrets, with which images are opened whose passphrase is `pass`.
const OBJECTS: &[&str] = &[
    "secret,id=s,data=pass",
    "secret,id=s,data=wrong",
    "secret,id=s,data=",
    "secret,id=s,data=cGFzcw==,format=base64",
    "secret,id=s,data=cGFzcw,format=base64",
    "secret,id=s,data=cGF!cw==,format=base64",
    "secret,id=s,data=/w==,format=base64",
    "secret,id=s,data=pass,format=raw",
    "secret,id=s,data=pass,format=foo",
    "secret,id=s,data=pass,iv=AAAA",
    "secret,id=s,data=pass,keyid=k",
    "secret,id=t,data=pass",
    "secret,id=s,file=plain",
    "secret,id=s,file=line",
    "secret,id=s,file=base64,format=base64",
    "secret,id=s,file=nowhere",
    "secret,id=s,file=.",
    "tls-creds-anon,id=s",
    "'{\"qom-type\":\"secret\",\"id\":\"s\",\"data\":\"pass\"}'",
];

/// Secrets that are encrypted with another, `k`, and that other one.
const ENCRYPTED: &[(&str, &str)] = &[
    (KEY, "data=pxS9xdH2w1nNcA00YmbPEw==,iv=AAAAAAAAAAAAAAAAAAAAAA=="),
    (KEY, "data=pxS9xdH2w1nNcA00YmbPEw=="),
    (KEY, "data=pxS9xdH2w1nNcA00YmbPEw==,iv=AAAA"),
    (KEY, "data=pxS9xdH2w1nNcA00YmbPEw==,iv=!"),
    (KEY, "data=AAAA,iv=AAAAAAAAAAAAAAAAAAAAAA=="),
    (KEY, "data=AAAAAAAAAAAAAAAAAAAAAA==,iv=AAAAAAAAAAAAAAAAAAAAAA=="),
    (KEY, "data=,iv=AAAAAAAAAAAAAAAAAAAAAA=="),
    ("secret,id=k,data=short", "data=pxS9xdH2w1nNcA00YmbPEw==,iv=AAAAAAAAAAAAAAAAAAAAAA=="),
    ("tls-creds-anon,id=k", "data=pxS9xdH2w1nNcA00YmbPEw==,iv=AAAAAAAAAAAAAAAAAAAAAA=="),
];
const KEY: &str = "secret,id=k,data=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,format=base64";

/// Lines that only read; `{s}` is the image with its key, `{n}` with another.
const READS: &[&str] = &[
    "info a.luks",
    "info --output=json a.luks",
    "info -f luks --backing-chain a.luks",
    "info --image-opts {s}",
    "info --image-opts driver=luks,file.filename=a.luks,key-secret=zz",
    "map --image-opts {s}",
    "map --output=json --image-opts {s}",
    "map --image-opts {n}",
    "map --image-opts file.filename=a.luks,key-secret=s",
    "map --image-opts {s},foo=bar",
    "map --image-opts driver=luks,file.filename=a.luks,key-secret=zz",
    "map --image-opts driver=luks,file.filename=a.luks,key-secret=s,header.driver=file,header.filename=a.luks",
    "map -f luks a.luks",
    "check -f luks a.luks",
    "check --image-opts {s}",
    "compare --image-opts {s} driver=raw,file.filename=n.raw",
    "compare --image-opts {s} {s}",
    "compare --image-opts {s} {n}",
    "measure -O luks --size 10M",
    "measure -O luks -o key-secret=s --size 10M",
    "measure -O luks -o key-secret=s,cipher-alg=aes-128 --size 10M",
    "measure -O luks -o key-secret=s,cipher-alg=foo --size 10M",
    "measure -O luks -o key-secret=s n.raw",
    "measure -O raw --image-opts {s}",
    "measure -O qcow2 --image-opts {s}",
    "snapshot -l --image-opts {s}",
    "create -f luks -o help",
    "amend -f luks -o help",
];

/// Lines that change the image or make another.
const CHANGES: &[&str] = &[
    "convert --image-opts {s} -O raw out",
    "convert --image-opts {s} -O qcow2 out",
    "convert -O luks -o key-secret=s,iter-time=10 n.raw out",
    "convert -O luks -o key-secret=s,iter-time=10 -S 0 n.raw out",
    "convert -O luks -o key-secret=n,iter-time=10 --image-opts {s} out",
    "convert -O luks n.raw out",
    "convert -c -O luks -o key-secret=s n.raw out",
    "convert -O luks -o key-secret=zz n.raw out",
    "convert -n --image-opts --target-image-opts driver=raw,file.filename=n.raw {s}",
    "dd -O luks if=n.raw of=out",
    "dd --image-opts -O raw bs=1000 count=777 skip=3 if={s} of=out",
    "resize --image-opts {s} 5M",
    "resize --image-opts {s} +1",
    "resize --image-opts {s} 1M",
    "resize --image-opts --shrink {s} 1M",
    "resize --image-opts --preallocation=full {s} 5M",
    "resize --image-opts --preallocation=falloc {s} 5M",
    "resize --image-opts --preallocation=metadata {s} 5M",
    "resize -f luks a.luks 5M",
    "snapshot -c x --image-opts {s}",
    "rebase -u -b '' --image-opts {s}",
    "rebase -b '' --image-opts {s}",
    "commit --image-opts {s}",
    "create -f luks -b a.luks -F luks -o key-secret=s out",
    "create -f luks -o key-secret=s out",
    "create -f luks out 1M",
    "create -f luks -o key-secret=zz out 1M",
    "create -f luks -o key-secret=q,iter-time=10 out 7E",
    "create -f luks -o key-secret=q,iter-time=10 out 1000",
    "create -f luks -o key-secret=q,iter-time=10,preallocation=full out 1M",
    "create -f luks -o key-secret=q,iter-time=10,preallocation=falloc out 1M",
    "create -f luks -o key-secret=q,iter-time=10,preallocation=metadata out 1M",
];

/// Changes of key slots.
const AMENDS: &[&str] = &[
    "-o state=active,new-secret=n,iter-time=10",
    "-o state=active,new-secret=n,keyslot=5,iter-time=10",
    "-o state=active,new-secret=n,keyslot=0,iter-time=10",
    "--force -o state=active,new-secret=n,keyslot=0,iter-time=10",
    "-o state=active,new-secret=n,keyslot=8",
    "-o state=active,new-secret=n,keyslot=-1",
    "-o state=active,new-secret=zz",
    "-o state=active,new-secret=n,old-secret=s",
    "-o state=active",
    "-o state=inactive",
    "-o state=inactive,keyslot=0",
    "-o state=inactive,keyslot=1",
    "-o state=inactive,keyslot=9",
    "-o state=inactive,keyslot=0,old-secret=n",
    "-o state=inactive,keyslot=1,old-secret=n",
    "-o state=inactive,old-secret=n",
    "-o state=inactive,old-secret=s",
    "-o state=inactive,old-secret=zz",
    "-o state=inactive,new-secret=n",
    "-o state=inactive,keyslot=1,iter-time=5",
    "--force -o state=inactive,keyslot=0",
    "--force -o state=inactive,keyslot=1",
    "--force -o state=inactive,old-secret=s",
    "-p -o state=inactive,old-secret=n",
    "-o state=foo",
    "-o new-secret=n",
    "-o keyslot=1",
    "-o foo=1",
    "-o size=1M",
    "-o cipher-alg=aes-128",
    "-o help",
];

/// Fields of the header that are made wrong.
const DAMAGE: &[(&str, &str)] = &[
    ("sound", "poke a.luks @0x70:1 += 0"),
    ("magic", "poke a.luks @0:1 = 0x78"),
    ("version-2", "poke a.luks @6:2 = 2"),
    ("version-0", "poke a.luks @6:2 = 0"),
    ("cipher", "poke a.luks @8:1 = 0x78"),
    (
        "cipher-endless",
        "poke a.luks @8:8 = 0x6161616161616161\npoke a.luks @16:8 = 0x6161616161616161\npoke a.luks @24:8 = 0x6161616161616161\npoke a.luks @32:8 = 0x6161616161616161",
    ),
    ("mode", "poke a.luks @40:1 = 0x79"),
    ("mode-plain", "poke a.luks @43:1 = 0"),
    ("ivgen", "poke a.luks @44:1 = 0x79"),
    ("hash", "poke a.luks @72:1 = 0x79"),
    ("payload-0", "poke a.luks @104:4 = 0"),
    ("payload-7", "poke a.luks @104:4 = 7"),
    ("payload-8", "poke a.luks @104:4 = 8"),
    ("payload-beyond", "poke a.luks @104:4 = 0x7fffffff"),
    ("key-bytes-0", "poke a.luks @108:4 = 0"),
    ("key-bytes-32", "poke a.luks @108:4 = 32"),
    ("key-bytes-huge", "poke a.luks @108:4 = 0xffffffff"),
    ("digest", "poke a.luks @112:1 += 1"),
    ("digest-iterations-0", "poke a.luks @164:4 = 0"),
    ("slot-state", "poke a.luks @208:4 = 1"),
    ("slot-1-state", "poke a.luks @256:4 = 1"),
    ("slot-iterations-0", "poke a.luks @212:4 = 0"),
    ("slot-offset-0", "poke a.luks @248:4 = 0"),
    ("slot-offset-twice", "poke a.luks @248:4 = 512"),
    ("slot-offset-beyond", "poke a.luks @248:4 = 0x7fffffff"),
    ("slot-stripes", "poke a.luks @252:4 = 3999"),
    ("slot-7-stripes", "poke a.luks @588:4 = 1"),
    ("material", "poke a.luks @4096:1 += 1"),
    ("cut-payload", "cut a.luks 2068480"),
    ("cut-slots", "cut a.luks 2000000"),
    ("cut-odd", "cut a.luks 2100001"),
    ("cut-header", "cut a.luks 591"),
    ("cut-little", "cut a.luks 100"),
    ("empty", "cut a.luks 0"),
];

pub fn cases() -> Vec<Case> {
    let shape = &LUKS[0];
    let mut all = Vec::new();
    for scheme in CIPHERS {
        let line = format!("convert {SECRETS} -O luks -o key-secret=s,iter-time=10,{scheme} n.raw out");
        all.push(Case::makes(format!("luks/cipher/{}", label(scheme)), shape, &line));
    }
    for option in REFUSED {
        let line = format!("create -f luks {SECRETS} -o key-secret=s,{option} out 1M");
        all.push(Case::alone(format!("luks/refused/{}", label(option)), &line));
    }
    for object in OBJECTS {
        all.push(secret(shape, object));
    }
    for (key, object) in ENCRYPTED {
        all.push(secret(shape, &format!("{key} --object secret,id=s,keyid=k,format=base64,{object}")));
    }
    for line in READS {
        all.push(Case::reads(format!("luks/line/{}", label(line)), shape, &with_secrets(line)));
    }
    for line in CHANGES {
        all.push(own(format!("luks/line/{}", label(line)), shape, &with_secrets(line)));
    }
    for options in AMENDS {
        for shape in LUKS {
            let name = format!("luks/amend/{}/{}", &shape.name[5..], label(options));
            all.push(own(name, shape, &with_secrets(&format!("amend --image-opts {{s}} {options}"))));
        }
    }
    for (name, damage) in DAMAGE {
        for (command, line) in
            [("info", "info -f luks a.luks"), ("map", "map --output=json --image-opts {s}")]
        {
            let case = own(format!("luks/damage/{name}/{command}"), shape, &with_secrets(line));
            all.push(case.setup(format!("own a.luks\n{damage}")));
        }
    }
    all
}

fn own(name: String, shape: &'static Shape, line: &str) -> Case {
    Case::makes(name, shape, line).setup("own a.luks")
}

fn secret(shape: &'static Shape, object: &str) -> Case {
    let line = format!("map --output=json --object {object} --image-opts {}", options("luks", "a.luks", "s"));
    Case::reads(format!("luks/secret/{}", label(object)), shape, &line)
}

/// The command line with the secrets behind the command's name.
fn with_secrets(line: &str) -> String {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.replace("{s}", &options("luks", "a.luks", "s"));
    let rest = rest.replace("{n}", &options("luks", "a.luks", "n"));
    // A secret that is used for new images alone: what they hold before anything is written is noise.
    format!("{command} {SECRETS} --object secret,id=q,data=other {rest}")
}
