//! The shapes of images that cases are generated over, each a script for the oracle.
//!
//! Every shape's image of interest is the file [`Shape::image`]; other files of the shape stand
//! behind it. Sizes are small: what matters is the metadata.

use crate::case::Traits;

/// A set of files with one image of interest.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Unique name.
    pub name: &'static str,
    /// The file of interest.
    pub image: &'static str,
    /// Its format.
    pub format: &'static str,
    /// What generators must know of it.
    pub traits: Traits,
    /// How it is made, see [`crate::script`].
    pub script: &'static str,
}

const fn raw(name: &'static str, script: &'static str) -> Shape {
    Shape { name, image: "a.raw", format: "raw", traits: Traits::PLAIN, script }
}

const fn qcow2(name: &'static str, script: &'static str) -> Shape {
    Shape { name, image: "a.qcow2", format: "qcow2", traits: Traits::PLAIN, script }
}

impl Shape {
    /// Another shape, made from this one by further steps.
    pub fn further(&self, name: String, script: &str) -> &'static Self {
        let script = format!("{}\n{script}", self.script);
        // Shapes live as long as the suite.
        Box::leak(Box::new(Self { name: name.leak(), script: script.leak(), ..*self }))
    }

    const fn named(mut self, image: &'static str) -> Self {
        self.image = image;
        self
    }

    const fn with(mut self, traits: Traits) -> Self {
        self.traits = traits;
        self
    }
}

/// Guest bytes as they are.
pub const RAW: &[Shape] = &[
    raw("raw/sparse", "sparse a.raw 8M"),
    raw("raw/noise", "noise a.raw 1M 1"),
    raw("raw/prose", "prose a.raw 3M 2"),
    raw("raw/empty", "sparse a.raw 0"),
    raw("raw/one-byte", "text a.raw x"),
    raw("raw/one-sector", "noise a.raw 512 3"),
    raw("raw/odd-length", "noise a.raw 70000 4"),
    raw("raw/odd-hole", "sparse a.raw 1000001"),
    raw(
        "raw/islands",
        "sparse a.raw 16M
         io -f raw a.raw | write -P 1 4k 4k | write -P 2 1M 64k | write -P 3 5M 4k | write -P 4 16380k 4k",
    ),
    raw("raw/zero-data", "sparse a.raw 4M\nio -f raw a.raw | write -P 0 0 2M | write -P 5 3M 4k"),
    raw("raw/mixed", "prose a.raw 2M 5\nio -f raw a.raw | write -z 256k 512k | write -P 0 1M 68k"),
    raw("raw/huge", "sparse a.raw 8T\nio -f raw a.raw | write -P 6 7T 64k").with(Traits::HUGE),
];

/// Encrypted qcow2, with the passphrase `pass`. They need secrets, which the generic families do not give.
pub const ENCRYPTED: &[Shape] = &[
    qcow2(
        "encrypted/luks",
        "noise n.raw 1500000 1
         cut n.raw 3M
         noise other.raw 2M 2
         img convert --object secret,id=s,data=pass -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1 n.raw a.qcow2",
    ),
    qcow2(
        "encrypted/aes",
        "noise n.raw 1500000 1
         cut n.raw 3M
         noise other.raw 2M 2
         img convert --object secret,id=s,data=pass -O qcow2 -o encrypt.format=aes,encrypt.key-secret=s n.raw a.qcow2",
    ),
    qcow2(
        "encrypted/subclusters",
        "noise n.raw 1500000 1
         cut n.raw 3M
         noise other.raw 2M 2
         img convert --object secret,id=s,data=pass -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1,extended_l2=on n.raw a.qcow2
         img snapshot -c one --object secret,id=s,data=pass --image-opts driver=qcow2,encrypt.key-secret=s,file.filename=a.qcow2",
    ),
];

const fn luks(name: &'static str, script: &'static str) -> Shape {
    Shape { name, image: "a.luks", format: "luks", traits: Traits::PLAIN, script }
}

/// LUKS, with the passphrase `pass` and perhaps `new`. They need secrets, which the generic families do not give.
pub const LUKS: &[Shape] = &[
    luks(
        "luks/one-key",
        "text plain pass
         text line pass
         append line x
         text base64 cGFzcw==
         noise n.raw 1500000 1
         cut n.raw 3M
         img convert --object secret,id=s,data=pass -O luks -o key-secret=s,iter-time=1 n.raw a.luks",
    ),
    luks(
        "luks/two-keys",
        "noise n.raw 1M 1
         img convert --object secret,id=s,data=pass -O luks -o key-secret=s,iter-time=1 n.raw a.luks
         img amend --object secret,id=s,data=pass --object secret,id=n,data=new --image-opts driver=luks,key-secret=s,file.filename=a.luks -o state=active,new-secret=n,iter-time=1",
    ),
];

const fn vdi(name: &'static str, script: &'static str) -> Shape {
    Shape { name, image: "a.vdi", format: "vdi", traits: Traits::PLAIN, script }
}

/// VDI: dynamic and static.
pub const VDI: &[Shape] = &[
    vdi("vdi/empty", "img create -f vdi a.vdi 8M"),
    vdi("vdi/nothing", "img create -f vdi a.vdi 0"),
    vdi("vdi/odd-size", "img create -f vdi a.vdi 2500001\nio -f vdi a.vdi | write -P 1 2M 1k"),
    vdi("vdi/static", "img create -f vdi -o static=on a.vdi 4M\nio -f vdi a.vdi | write -P 1 1M 64k"),
    vdi("vdi/dense", "noise n.raw 3M 1\nimg convert -f raw -O vdi n.raw a.vdi"),
    vdi(
        "vdi/fragmented",
        "img create -f vdi a.vdi 12M
         io -f vdi a.vdi | write -P 1 8M 64k | write -P 2 2M 3M | write -P 3 11M 1M | write -P 4 0 4k | write -z 7M 1M",
    ),
    vdi(
        "vdi/discarded",
        "img create -f vdi a.vdi 4M\nio -f vdi a.vdi | write -P 1 1M 1M\npoke a.vdi @512:4 = 0xfeffffff",
    ),
];

const fn vhdx(name: &'static str, script: &'static str) -> Shape {
    Shape { name, image: "a.vhdx", format: "vhdx", traits: Traits::PLAIN, script }
}

/// VHDX: dynamic and fixed.
pub const VHDX: &[Shape] = &[
    vhdx("vhdx/empty", "img create -f vhdx a.vhdx 8M"),
    vhdx("vhdx/odd-size", "img create -f vhdx a.vhdx 2500001\nio -f vhdx a.vhdx | write -P 1 2M 1k"),
    vhdx("vhdx/fixed", "img create -f vhdx -o subformat=fixed a.vhdx 4M\nio -f vhdx a.vhdx | write -P 1 1M 64k"),
    vhdx(
        "vhdx/in-order",
        "img create -f vhdx -o subformat=fixed,block_state_zero=off a.vhdx 9M\nio -f vhdx a.vhdx | write -P 1 8M 64k",
    ),
    vhdx("vhdx/unwritten", "img create -f vhdx -o block_state_zero=off a.vhdx 9M"),
    vhdx("vhdx/dense", "noise n.raw 3M 1\nimg convert -f raw -O vhdx -o block_size=1M n.raw a.vhdx"),
    vhdx(
        "vhdx/fragmented",
        "img create -f vhdx -o block_size=1M a.vhdx 12M
         io -f vhdx a.vhdx | write -P 1 8M 64k | write -P 2 2M 3M | write -P 3 11M 1M | write -P 4 0 4k | write -z 7M 1M",
    ),
];

const fn vpc(name: &'static str, script: &'static str) -> Shape {
    Shape { name, image: "a.vhd", format: "vpc", traits: Traits::PLAIN, script }
}

/// VPC: dynamic and fixed.
pub const VPC: &[Shape] = &[
    vpc("vpc/empty", "img create -f vpc a.vhd 8M"),
    vpc("vpc/nothing", "img create -f vpc a.vhd 0"),
    vpc("vpc/odd-size", "img create -f vpc a.vhd 2500001\nio -f vpc a.vhd | write -P 1 2M 1k"),
    vpc("vpc/forced", "img create -f vpc -o force_size=on a.vhd 2500001\nio -f vpc a.vhd | write -P 1 2M 1k"),
    vpc("vpc/fixed", "img create -f vpc -o subformat=fixed a.vhd 4M\nio -f vpc a.vhd | write -P 1 1M 64k"),
    vpc("vpc/dense", "noise n.raw 3M 1\nimg convert -f raw -O vpc n.raw a.vhd"),
    vpc(
        "vpc/fragmented",
        "img create -f vpc a.vhd 12M
         io -f vpc a.vhd | write -P 1 8M 64k | write -P 2 2M 3M | write -P 3 11M 1M | write -P 4 0 4k | write -z 7M 1M",
    ),
    vpc("vpc/large", "img create -f vpc a.vhd 200G\nio -f vpc a.vhd | write -P 1 199G 64k").with(Traits::HUGE),
];

const fn parallels(name: &'static str, script: &'static str) -> Shape {
    Shape { name, image: "a.hdd", format: "parallels", traits: Traits::PLAIN, script }
}

/// Parallels: with both magics, and with dirty bitmaps.
pub const PARALLELS: &[Shape] = &[
    parallels("parallels/empty", "img create -f parallels a.hdd 8M"),
    parallels("parallels/nothing", "img create -f parallels a.hdd 0"),
    parallels(
        "parallels/odd-size",
        "img create -f parallels a.hdd 2500001\nio -f parallels a.hdd | write -P 1 2M 1k",
    ),
    parallels("parallels/dense", "noise n.raw 3M 1\nimg convert -f raw -O parallels n.raw a.hdd"),
    parallels(
        "parallels/fragmented",
        "img create -f parallels -o cluster_size=64k a.hdd 12M
         io -f parallels a.hdd | write -P 1 8M 64k | write -P 2 2M 3M | write -P 3 11M 1M | write -P 4 0 4k
         io -f parallels a.hdd | write -z 3M 512k | write -P 5 1M 300k",
    ),
    parallels(
        "parallels/63-sectors",
        "noise n.raw 1M 2\nimg convert -f raw -O parallels -o cluster_size=32256 n.raw a.hdd",
    ),
    parallels(
        "parallels/512",
        "img create -f parallels -o cluster_size=512 a.hdd 128k
         io -f parallels a.hdd | write -P 1 64k 512 | write -P 2 2k 5k | write -P 3 100k 3k",
    ),
    parallels(
        "parallels/old-magic",
        "img create -f parallels -o cluster_size=64k a.hdd 1M
         io -f parallels a.hdd | write -P 1 0 64k | write -P 2 320k 64k | write -P 3 64k 64k
         poke a.hdd @0:8 = 0x576974686f757446\npoke a.hdd @8:8 = 0x7265655370616365
         poke a.hdd @64:4 = 0x80000000\npoke a.hdd @84:4 = 0x00010000\npoke a.hdd @68:4 = 0x80010000",
    ),
    parallels(
        "parallels/bitmaps",
        "noise n.raw 3500000 3\nimg convert -f raw -O parallels -o cluster_size=64k n.raw a.hdd
         parallels-bitmaps a.hdd none",
    ),
];

const fn qed(name: &'static str, script: &'static str) -> Shape {
    Shape { name, image: "a.qed", format: "qed", traits: Traits::PLAIN, script }
}

/// QED, alone and over other images.
pub const QED: &[Shape] = &[
    qed("qed/empty", "img create -f qed a.qed 8M"),
    qed("qed/nothing", "img create -f qed a.qed 0"),
    qed("qed/odd-size", "img create -f qed a.qed 2500001\nio -f qed a.qed | write -P 1 2M 1k"),
    qed("qed/dense", "noise n.raw 3M 1\nimg convert -f raw -O qed n.raw a.qed"),
    qed(
        "qed/fragmented",
        "img create -f qed -o cluster_size=4k,table_size=2 a.qed 12M
         io -f qed a.qed | write -P 1 8M 64k | write -P 2 2M 3M | write -P 3 11M 1M | write -P 4 100 4k | write -z 7M 1M",
    ),
    qed(
        "qed/backed",
        "noise n.raw 2M 1\nimg create -f qed -b n.raw -F raw a.qed 4M
         io -f qed a.qed | write -P 1 100k 100k | write -z 1M 128k | write -P 3 3M 1000",
    )
    .with(Traits::BACKED),
    qed(
        "qed/chain",
        "noise n.raw 2M 1\nimg convert -f raw -O qed n.raw b.qed\nimg create -f qed -b b.qed -F qed a.qed
         io -f qed a.qed | write -P 1 100k 100k | write -z 1M 128k",
    )
    .with(Traits::BACKED),
    qed("qed/unclosed", "noise n.raw 1M 1\nimg convert -f raw -O qed n.raw a.qed\npoke a.qed @16:1 = 2"),
    qed("qed/large", "img create -f qed a.qed 4T\nio -f qed a.qed | write -P 1 0 64k | write -P 2 3T 128k")
        .with(Traits::HUGE),
];

const fn qcow(name: &'static str, script: &'static str) -> Shape {
    Shape { name, image: "a.qcow", format: "qcow", traits: Traits::PLAIN, script }
}

/// qcow: alone and over others.
pub const QCOW: &[Shape] = &[
    qcow("qcow/empty", "img create -f qcow a.qcow 8M"),
    qcow("qcow/dense", "noise n.raw 3M 1\nimg convert -f raw -O qcow n.raw a.qcow"),
    qcow("qcow/odd-size", "img create -f qcow a.qcow 1000001\nio -f qcow a.qcow | write -P 1 999424 512 | write -P 2 0 4k"),
    qcow(
        "qcow/fragmented",
        "img create -f qcow a.qcow 12M
         io -f qcow a.qcow | write -P 1 8M 64k | write -P 2 2M 3M | write -P 3 11M 1M | write -P 4 0 4k | write -z 7M 1M",
    ),
    qcow(
        "qcow/compressed",
        "img create -f qcow a.qcow 3M
         io -f qcow a.qcow | write -c -P 5 0 4k | write -c -P 6 4k 4k | write -P 7 8k 4k | write -c -P 8 1M 4k | write -c -P 9 3068k 4k",
    ),
    qcow(
        "qcow/compressed-mixed",
        "noise m.raw 64k 1\nimg create -f qcow a.qcow 1M
         io -f qcow a.qcow | write -c -P 5 8k 4k | write -c -P 6 12k 4k | write -c -P 7 700k 4k
         io -f qcow a.qcow | write -P 1 10k 5k | write -P 2 500k 64k | write -s m.raw 700k 64k",
    ),
    qcow(
        "qcow/over-raw",
        "noise b.raw 1000448 1
         img create -f qcow -b b.raw -F raw a.qcow 2M
         io -f qcow a.qcow | write -P 1 100k 4k | write -z 256k 128k | write -z 700k 3k | write -P 2 1500k 4k",
    )
    .with(Traits::BACKED),
    qcow(
        "qcow/over-qcow",
        "img create -f qcow b.qcow 2M
         io -f qcow b.qcow | write -c -P 5 0 4k | write -P 6 4k 1M | write -c -P 7 1500k 4k
         img create -f qcow -b b.qcow -F qcow a.qcow 3M\nio -f qcow a.qcow | write -P 2 1000k 100k",
    )
    .with(Traits::BACKED),
];

const fn vmdk(name: &'static str, script: &'static str) -> Shape {
    Shape { name, image: "a.vmdk", format: "vmdk", traits: Traits::PLAIN, script }
}

/// VMDK: all types, and disks on others.
pub const VMDK: &[Shape] = &[
    vmdk("vmdk/empty", "img create -f vmdk a.vmdk 8M"),
    vmdk("vmdk/odd-size", "img create -f vmdk a.vmdk 2600001\nio -f vmdk a.vmdk | write -P 1 2M 1k"),
    vmdk("vmdk/dense", "noise n.raw 3M 1\nimg convert -f raw -O vmdk n.raw a.vmdk"),
    vmdk(
        "vmdk/fragmented",
        "img create -f vmdk a.vmdk 40M
         io -f vmdk a.vmdk | write -P 1 8M 64k | write -P 2 2M 1M | write -P 3 39M 1M | write -P 4 0 4k | write -z 7M 1M",
    ),
    vmdk(
        "vmdk/zeroed-grains",
        "img create -f vmdk -o zeroed_grain=on a.vmdk 4M
         io -f vmdk a.vmdk | write -P 1 0 1M | write -z 256k 256k | write -z 2M 64k | write -z 3M 1k",
    ),
    vmdk("vmdk/flat", "img create -f vmdk -o subformat=monolithicFlat a.vmdk 4M\nio -f vmdk a.vmdk | write -P 1 1M 64k"),
    vmdk(
        "vmdk/pieces",
        "img create -f vmdk -o subformat=twoGbMaxExtentSparse a.vmdk 5G
         io -f vmdk a.vmdk | write -P 1 2097120k 64k | write -P 2 4G 64k | write -P 3 0 4k",
    )
    .with(Traits::HUGE),
    vmdk(
        "vmdk/flat-pieces",
        "img create -f vmdk -o subformat=twoGbMaxExtentFlat a.vmdk 5G
         io -f vmdk a.vmdk | write -P 1 2097120k 64k | write -P 2 4G 64k",
    )
    .with(Traits::HUGE),
    vmdk(
        "vmdk/stream",
        "prose n.raw 1500000 2\nimg convert -f raw -O vmdk -o subformat=streamOptimized n.raw a.vmdk",
    ),
    vmdk("vmdk/stream-noise", "noise n.raw 300000 2\nimg convert -f raw -O vmdk -o subformat=streamOptimized n.raw a.vmdk"),
    vmdk("vmdk/foreign-stream", "vmdk a.vmdk stream"),
    vmdk(
        "vmdk/esx",
        "vmdk a-delta.vmdk cowd\nvmdk a.vmdk vmfsSparse 'RW 10240 VMFSSPARSE \"a-delta.vmdk\"'",
    ),
    vmdk(
        "vmdk/space-efficient",
        "vmdk a-sesparse.vmdk sesparse\nvmdk a.vmdk seSparse 'RW 81920 SESPARSE \"a-sesparse.vmdk\"'",
    ),
    vmdk(
        "vmdk/mixed",
        "noise n.raw 1M 3
         img convert -f raw -O vmdk n.raw b.vmdk
         vmdk a.vmdk vmfs 'RW 1024 FLAT \"n.raw\" 512' 'RW 2048 SPARSE \"b.vmdk\"' 'RW 512 VMFS \"n.raw\"'",
    ),
    vmdk(
        "vmdk/delta",
        "noise n.raw 1M 3
         img convert -f raw -O vmdk n.raw base.vmdk
         img create -f vmdk -b base.vmdk -F vmdk a.vmdk 2M
         io -f vmdk a.vmdk | write -P 1 100k 70k | write -P 2 1500k 10k",
    )
    .with(Traits::BACKED),
    vmdk(
        "vmdk/delta-zeroed",
        "noise n.raw 1M 3
         img convert -f raw -O vmdk -o subformat=monolithicFlat n.raw base.vmdk
         img create -f vmdk -o subformat=twoGbMaxExtentSparse,zeroed_grain=on -b base.vmdk -F vmdk a.vmdk
         io -f vmdk a.vmdk | write -P 1 100k 70k | write -z 256k 128k",
    )
    .with(Traits::BACKED),
];

const fn foreign(name: &'static str, format: &'static str, script: &'static str) -> Shape {
    Shape { name, image: "a.dmg", format, traits: Traits::PLAIN, script }
}

/// Formats that are only read.
pub const FOREIGN: &[Shape] = &[
    foreign("foreign/bochs", "bochs", "bochs a.dmg"),
    foreign("foreign/cloop", "cloop", "cloop a.img").named("a.img"),
    foreign("foreign/dmg-properties", "dmg", "dmg a.dmg properties"),
    foreign("foreign/dmg-resources", "dmg", "dmg a.dmg resources"),
];

/// qcow2 without anything behind it.
pub const QCOW2: &[Shape] = &[
    qcow2("qcow2/empty", "img create -f qcow2 a.qcow2 8M"),
    qcow2("qcow2/nothing", "img create -f qcow2 a.qcow2 0"),
    qcow2("qcow2/tiny", "img create -f qcow2 a.qcow2 512\nio -f qcow2 a.qcow2 | write -P 1 0 512"),
    qcow2("qcow2/one", "img create -f qcow2 a.qcow2 8M\nio -f qcow2 a.qcow2 | write -P 1 1M 64k"),
    qcow2("qcow2/dense", "noise n.raw 2M 1\nimg convert -f raw -O qcow2 n.raw a.qcow2"),
    qcow2(
        "qcow2/fragmented",
        "img create -f qcow2 a.qcow2 8M
         io -f qcow2 a.qcow2 | write -P 1 4M 64k | write -P 2 1M 64k | write -P 3 4032k 64k | write -P 4 0 64k
         io -f qcow2 a.qcow2 | write -P 5 1088k 192k | write -P 6 7M 1M | write -P 7 100k 8k",
    ),
    qcow2(
        "qcow2/odd-size",
        "img create -f qcow2 a.qcow2 1049088\nio -f qcow2 a.qcow2 | write -P 1 1000k 25088 | write -P 2 0 512",
    ),
    qcow2(
        "qcow2/rounded-size",
        "img create -f qcow2 a.qcow2 1000001\nio -f qcow2 a.qcow2 | write -P 1 0 1000448",
    ),
    qcow2(
        "qcow2/clusters-512",
        "img create -f qcow2 -o cluster_size=512 a.qcow2 1M
         io -f qcow2 a.qcow2 | write -P 1 0 64k | write -P 2 200000 5k | write -z 100k 20k | write -P 3 1023k 1k",
    ),
    qcow2(
        "qcow2/clusters-4k",
        "img create -f qcow2 -o cluster_size=4k a.qcow2 16M
         io -f qcow2 a.qcow2 | write -P 1 0 64k | write -P 2 9M 300k | write -z 1M 1M | discard 32k 16k",
    ),
    qcow2(
        "qcow2/clusters-2M",
        "img create -f qcow2 -o cluster_size=2M a.qcow2 16M
         io -f qcow2 a.qcow2 | write -P 1 1M 2M | write -P 2 15M 1M | write -z 10M 2M",
    ),
    qcow2(
        "qcow2/v2",
        "img create -f qcow2 -o compat=0.10 a.qcow2 8M
         io -f qcow2 a.qcow2 | write -P 1 0 1M | write -P 2 5M 64k | discard 128k 64k",
    ),
    qcow2(
        "qcow2/v2-compressed",
        "prose n.raw 1M 7\nimg convert -f raw -O qcow2 -c -o compat=0.10 n.raw a.qcow2",
    ),
    qcow2(
        "qcow2/refcount-1",
        "img create -f qcow2 -o refcount_bits=1 a.qcow2 8M\nio -f qcow2 a.qcow2 | write -P 1 1M 1M",
    ),
    qcow2(
        "qcow2/refcount-2",
        "img create -f qcow2 -o refcount_bits=2 a.qcow2 8M\nio -f qcow2 a.qcow2 | write -P 1 1M 1M
         img snapshot -c s a.qcow2",
    )
    .with(Traits::SNAPSHOTS),
    qcow2(
        "qcow2/refcount-64",
        "img create -f qcow2 -o refcount_bits=64 a.qcow2 8M\nio -f qcow2 a.qcow2 | write -P 1 1M 1M",
    ),
    qcow2(
        "qcow2/lazy",
        "img create -f qcow2 -o lazy_refcounts=on a.qcow2 8M\nio -f qcow2 a.qcow2 | write -P 1 1M 1M",
    ),
    qcow2(
        "qcow2/marked-dirty",
        "img create -f qcow2 -o lazy_refcounts=on a.qcow2 8M\nio -f qcow2 a.qcow2 | write -P 1 1M 1M
         poke a.qcow2 incompatible |= 1",
    ),
    qcow2(
        "qcow2/marked-corrupt",
        "img create -f qcow2 a.qcow2 8M\nio -f qcow2 a.qcow2 | write -P 1 1M 1M
         poke a.qcow2 incompatible |= 2",
    ),
    qcow2("qcow2/zlib", "prose n.raw 2M 8\nimg convert -f raw -O qcow2 -c n.raw a.qcow2"),
    qcow2(
        "qcow2/zstd",
        "prose n.raw 2M 9\nimg convert -f raw -O qcow2 -c -o compression_type=zstd n.raw a.qcow2",
    ),
    qcow2("qcow2/zlib-4k", "prose n.raw 1M 10\nimg convert -f raw -O qcow2 -c -o cluster_size=4k n.raw a.qcow2"),
    qcow2("qcow2/zlib-2M", "prose n.raw 5M 11\nimg convert -f raw -O qcow2 -c -o cluster_size=2M n.raw a.qcow2"),
    qcow2(
        "qcow2/zstd-2M",
        "prose n.raw 5M 11
         img convert -f raw -O qcow2 -c -o cluster_size=2M,compression_type=zstd n.raw a.qcow2",
    ),
    qcow2(
        "qcow2/compressed-mixed",
        "img create -f qcow2 a.qcow2 4M
         io -f qcow2 a.qcow2 | write -c -P 1 0 64k | write -c -P 2 64k 64k | write -P 3 128k 64k
         io -f qcow2 a.qcow2 | write -c -P 4 192k 64k | write -P 5 70k 1k | write -z 256k 64k | write -c -P 6 1M 64k",
    ),
    qcow2(
        "qcow2/zeroes",
        "img create -f qcow2 a.qcow2 8M
         io -f qcow2 a.qcow2 | write -P 1 0 1M | write -z 256k 256k | write -z -u 640k 128k | write -z 4M 1M",
    ),
    qcow2(
        "qcow2/written-zeroes",
        "img create -f qcow2 a.qcow2 4M\nio -f qcow2 a.qcow2 | write -P 0 0 1M | write -P 1 1M 64k | write -P 0 2M 4k",
    ),
    qcow2(
        "qcow2/discarded",
        "img create -f qcow2 a.qcow2 4M
         io -f qcow2 a.qcow2 | write -P 1 0 2M | discard 64k 192k | discard 1M 512k",
    ),
    qcow2("qcow2/prealloc-metadata", "img create -f qcow2 -o preallocation=metadata a.qcow2 8M"),
    qcow2("qcow2/prealloc-falloc", "img create -f qcow2 -o preallocation=falloc a.qcow2 4M"),
    qcow2(
        "qcow2/prealloc-full",
        "img create -f qcow2 -o preallocation=full a.qcow2 2M\nio -f qcow2 a.qcow2 | write -P 1 512k 512k",
    ),
    qcow2(
        "qcow2/prealloc-written",
        "img create -f qcow2 -o preallocation=metadata a.qcow2 8M
         io -f qcow2 a.qcow2 | write -P 1 0 64k | write -P 2 3M 4k | write -z 5M 128k",
    ),
    qcow2(
        "qcow2/tebibytes",
        "img create -f qcow2 a.qcow2 4T\nio -f qcow2 a.qcow2 | write -P 1 0 64k | write -P 2 3T 128k",
    )
    .with(Traits::HUGE),
    qcow2(
        "qcow2/pebibyte",
        "img create -f qcow2 -o cluster_size=2M a.qcow2 1P
         io -f qcow2 a.qcow2 | write -P 1 512T 64k | write -P 2 100G 2M",
    )
    .with(Traits::HUGE),
    qcow2(
        "qcow2/extension-unknown",
        "img create -f qcow2 a.qcow2 1M\nio -f qcow2 a.qcow2 | write -P 1 0 64k
         poke a.qcow2 magic[6803f857] = 0x12345678",
    ),
    qcow2(
        "qcow2/autoclear-unknown",
        "img create -f qcow2 a.qcow2 1M\nio -f qcow2 a.qcow2 | write -P 1 0 64k\npoke a.qcow2 autoclear |= 0x8000",
    ),
    qcow2(
        "qcow2/compatible-unknown",
        "img create -f qcow2 a.qcow2 1M\nio -f qcow2 a.qcow2 | write -P 1 0 64k\npoke a.qcow2 compatible |= 0x8000",
    ),
];

/// Extended L2 entries: 32 subclusters in a cluster.
pub const SUBCLUSTERS: &[Shape] = &[
    qcow2("sub/empty", "img create -f qcow2 -o extended_l2=on a.qcow2 8M"),
    qcow2(
        "sub/mixed",
        "img create -f qcow2 -o extended_l2=on a.qcow2 8M
         io -f qcow2 a.qcow2 | write -P 1 2k 2k | write -P 2 10k 6k | write -z 20k 4k | write -P 3 128k 64k
         io -f qcow2 a.qcow2 | write -z 256k 64k | write -P 4 1M 62k | write -z 132k 2k | discard 1M 8k",
    ),
    qcow2(
        "sub/small",
        "img create -f qcow2 -o extended_l2=on,cluster_size=16k a.qcow2 4M
         io -f qcow2 a.qcow2 | write -P 1 512 512 | write -P 2 8k 16k | write -z 3k 512 | write -P 3 1M 100k",
    ),
    qcow2(
        "sub/large",
        "img create -f qcow2 -o extended_l2=on,cluster_size=2M a.qcow2 16M
         io -f qcow2 a.qcow2 | write -P 1 64k 64k | write -P 2 3M 300k | write -z 5M 64k",
    ),
    qcow2(
        "sub/compressed",
        "prose n.raw 512k 12\nimg convert -f raw -O qcow2 -c -o extended_l2=on n.raw a.qcow2
         io -f qcow2 a.qcow2 | write -P 1 64k 2k | write -z 300k 64k",
    ),
    qcow2(
        "sub/backed",
        "prose base.raw 1M 13
         img create -f qcow2 -o extended_l2=on -b base.raw -F raw a.qcow2 2M
         io -f qcow2 a.qcow2 | write -P 1 2k 2k | write -z 8k 2k | write -P 2 130k 5k | discard 256k 64k | write -z 1M 64k",
    )
    .with(Traits::BACKED),
    qcow2("sub/prealloc", "img create -f qcow2 -o extended_l2=on,preallocation=metadata a.qcow2 4M"),
];

/// Guest data in a file of its own.
pub const DATA_FILE: &[Shape] = &[
    qcow2(
        "data/plain",
        "img create -f qcow2 -o data_file=a.data a.qcow2 4M
         io -f qcow2 a.qcow2 | write -P 1 1M 64k | write -P 2 0 4k | write -z 2M 128k",
    )
    .with(Traits::DATA_FILE),
    qcow2(
        "data/raw",
        "img create -f qcow2 -o data_file=a.data,data_file_raw=on a.qcow2 4M
         io -f qcow2 a.qcow2 | write -P 1 1M 64k | write -P 2 0 4k | write -z 2M 128k",
    )
    .with(Traits::DATA_FILE),
    qcow2(
        "data/prealloc",
        "img create -f qcow2 -o data_file=a.data,preallocation=metadata a.qcow2 4M
         io -f qcow2 a.qcow2 | write -P 1 1M 64k",
    )
    .with(Traits::DATA_FILE),
    qcow2(
        "data/sub",
        "img create -f qcow2 -o data_file=a.data,extended_l2=on a.qcow2 4M
         io -f qcow2 a.qcow2 | write -P 1 1M 6k | write -P 2 3M 64k",
    )
    .with(Traits::DATA_FILE),
];

/// Internal snapshots.
pub const SNAPSHOTS: &[Shape] = &[
    qcow2(
        "snap/one",
        "img create -f qcow2 a.qcow2 4M\nio -f qcow2 a.qcow2 | write -P 1 0 1M\nimg snapshot -c s1 a.qcow2
         io -f qcow2 a.qcow2 | write -P 2 512k 1M",
    )
    .with(Traits::SNAPSHOTS),
    qcow2(
        "snap/three",
        "img create -f qcow2 a.qcow2 4M\nio -f qcow2 a.qcow2 | write -P 1 0 1M\nimg snapshot -c s1 a.qcow2
         io -f qcow2 a.qcow2 | write -P 2 512k 1M\nimg snapshot -c 'second one' a.qcow2
         io -f qcow2 a.qcow2 | write -z 0 256k | discard 1M 128k\nimg snapshot -c 2 a.qcow2
         img snapshot -c s1 a.qcow2",
    )
    .with(Traits::SNAPSHOTS),
    qcow2(
        "snap/resized",
        "img create -f qcow2 a.qcow2 2M\nio -f qcow2 a.qcow2 | write -P 1 0 1M\nimg snapshot -c s1 a.qcow2
         img resize a.qcow2 5M\nio -f qcow2 a.qcow2 | write -P 2 4M 1M",
    )
    .with(Traits::SNAPSHOTS),
    qcow2(
        "snap/vm-state",
        "img create -f qcow2 a.qcow2 2M\nio -f qcow2 a.qcow2 | write -P 1 0 1M | write -b -P 7 0 128k
         img snapshot -c state a.qcow2\npoke a.qcow2 snap[0]+32:4 = 98304\npoke a.qcow2 snap[0]+40:8 = 98304
         poke a.qcow2 snap[0]+24:8 = 98765432101234",
    )
    .with(Traits::SNAPSHOTS),
    qcow2(
        "snap/v2",
        "img create -f qcow2 -o compat=0.10 a.qcow2 2M\nio -f qcow2 a.qcow2 | write -P 1 0 1M
         img snapshot -c s1 a.qcow2\nio -f qcow2 a.qcow2 | write -P 2 0 64k",
    )
    .with(Traits::SNAPSHOTS),
    qcow2(
        "snap/compressed",
        "prose n.raw 1M 14\nimg convert -f raw -O qcow2 -c n.raw a.qcow2\nimg snapshot -c s1 a.qcow2
         io -f qcow2 a.qcow2 | write -P 2 0 64k",
    )
    .with(Traits::SNAPSHOTS),
];

/// Persistent dirty bitmaps.
pub const BITMAPS: &[Shape] = &[
    qcow2(
        "bitmap/one",
        "img create -f qcow2 a.qcow2 4M\nimg bitmap --add a.qcow2 b0
         io -f qcow2 a.qcow2 | write -P 1 1M 1M | write -P 2 3M 4k",
    )
    .with(Traits::BITMAPS),
    qcow2(
        "bitmap/several",
        "img create -f qcow2 a.qcow2 8M\nimg bitmap --add -g 512 a.qcow2 fine
         io -f qcow2 a.qcow2 | write -P 1 1M 4k\nimg bitmap --add -g 1M a.qcow2 'coarse one'
         img bitmap --add --disable a.qcow2 off\nio -f qcow2 a.qcow2 | write -P 2 0 2M | write -P 3 7M 512",
    )
    .with(Traits::BITMAPS),
    qcow2(
        "bitmap/in-use",
        "img create -f qcow2 a.qcow2 4M\nimg bitmap --add a.qcow2 good\nimg bitmap --add a.qcow2 broken
         io -f qcow2 a.qcow2 | write -P 1 1M 1M\npoke a.qcow2 bm[1]+12:4 |= 1",
    )
    .with(Traits::BITMAPS),
    qcow2(
        "bitmap/backed",
        "img create -f qcow2 base.qcow2 4M\nio -f qcow2 base.qcow2 | write -P 9 0 4M
         img create -f qcow2 -b base.qcow2 -F qcow2 a.qcow2\nimg bitmap --add a.qcow2 b0
         io -f qcow2 a.qcow2 | write -P 1 1M 1M",
    )
    .with(Traits::BITMAPS),
];

/// Images with others behind them.
pub const CHAINS: &[Shape] = &[
    qcow2(
        "chain/two",
        "img create -f qcow2 base.qcow2 4M\nio -f qcow2 base.qcow2 | write -P 1 0 2M
         img create -f qcow2 -b base.qcow2 -F qcow2 a.qcow2
         io -f qcow2 a.qcow2 | write -P 2 512k 256k | write -z 1M 128k | write -P 3 3M 4k",
    )
    .with(Traits::BACKED),
    qcow2(
        "chain/short-base",
        "img create -f qcow2 base.qcow2 1M\nio -f qcow2 base.qcow2 | write -P 1 0 1M
         img create -f qcow2 -b base.qcow2 -F qcow2 a.qcow2 4M
         io -f qcow2 a.qcow2 | write -P 2 960k 128k | write -P 3 3M 4k",
    )
    .with(Traits::BACKED),
    qcow2(
        "chain/odd-base",
        "noise base.raw 700001 15
         img create -f qcow2 -b base.raw -F raw a.qcow2 2M\nio -f qcow2 a.qcow2 | write -P 2 640k 4k",
    )
    .with(Traits::BACKED),
    qcow2(
        "chain/long-base",
        "img create -f qcow2 base.qcow2 8M\nio -f qcow2 base.qcow2 | write -P 1 0 8M
         img create -f qcow2 -b base.qcow2 -F qcow2 a.qcow2 2M\nio -f qcow2 a.qcow2 | write -P 2 1M 64k",
    )
    .with(Traits::BACKED),
    qcow2(
        "chain/three-clusters",
        "img create -f qcow2 -o cluster_size=4k base.qcow2 4M\nio -f qcow2 base.qcow2 | write -P 1 0 1M
         img create -f qcow2 -o cluster_size=64k -b base.qcow2 -F qcow2 mid.qcow2 6M
         io -f qcow2 mid.qcow2 | write -P 2 512k 1M | write -z 0 64k
         img create -f qcow2 -o cluster_size=512 -b mid.qcow2 -F qcow2 a.qcow2 5M
         io -f qcow2 a.qcow2 | write -P 3 513k 1k | write -z 700k 10k",
    )
    .with(Traits::BACKED),
    qcow2(
        "chain/four",
        "prose base.raw 1M 16
         img create -f qcow2 -b base.raw -F raw one.qcow2\nio -f qcow2 one.qcow2 | write -P 2 0 64k
         img create -f qcow2 -b one.qcow2 -F qcow2 two.qcow2 3M\nio -f qcow2 two.qcow2 | write -P 3 64k 64k
         img create -f qcow2 -b two.qcow2 -F qcow2 a.qcow2 2M\nio -f qcow2 a.qcow2 | write -P 4 1M 64k",
    )
    .with(Traits::BACKED),
    qcow2(
        "chain/compressed-base",
        "prose n.raw 1M 17\nimg convert -f raw -O qcow2 -c n.raw base.qcow2
         img create -f qcow2 -b base.qcow2 -F qcow2 a.qcow2\nio -f qcow2 a.qcow2 | write -P 4 100k 10k",
    )
    .with(Traits::BACKED),
    qcow2(
        "chain/zero-short",
        "img create -f qcow2 base.qcow2 1M\nio -f qcow2 base.qcow2 | write -P 1 0 1M
         img create -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 512k
         img create -f qcow2 -b mid.qcow2 -F qcow2 a.qcow2 2M",
    )
    .with(Traits::BACKED),
    qcow2(
        "chain/json-name",
        "img create -f qcow2 base.qcow2 1M\nio -f qcow2 base.qcow2 | write -P 1 0 1M
         img create -f qcow2 -F qcow2 -b 'json:{\"driver\":\"qcow2\",\"file.filename\":\"base.qcow2\",\"file.driver\":\"file\"}' a.qcow2",
    )
    .with(Traits::BACKED),
    qcow2(
        "chain/subdirectory",
        "dir sub\nimg create -f qcow2 sub/base.qcow2 1M\nio -f qcow2 sub/base.qcow2 | write -P 1 0 1M
         img create -f qcow2 -b base.qcow2 -F qcow2 sub/mid.qcow2
         img create -f qcow2 -b sub/mid.qcow2 -F qcow2 a.qcow2\nio -f qcow2 a.qcow2 | write -P 2 0 64k",
    )
    .with(Traits::BACKED),
    qcow2(
        "chain/v2",
        "img create -f qcow2 -o compat=0.10 base.qcow2 1M\nio -f qcow2 base.qcow2 | write -P 1 0 1M
         img create -f qcow2 -o compat=0.10 -b base.qcow2 -F qcow2 a.qcow2\nio -f qcow2 a.qcow2 | discard 0 128k",
    )
    .with(Traits::BACKED),
];

/// Images that cannot be opened, or only in part.
pub const BROKEN: &[Shape] = &[
    qcow2("broken/missing-base", "img create -f qcow2 -u -b gone.qcow2 -F qcow2 a.qcow2 1M"),
    qcow2(
        "broken/wrong-base-format",
        "noise b.raw 64k 1\nimg create -f qcow2 -u -b b.raw -F qcow2 a.qcow2 1M",
    ),
    qcow2(
        "broken/unknown-base-format",
        "noise b.raw 64k 1\nimg create -f qcow2 -b b.raw -F raw a.qcow2 1M\npoke a.qcow2 ext[e2792aca]+0:3 = 0x666f6f",
    ),
    qcow2("broken/missing-data", "img create -f qcow2 -o data_file=a.data a.qcow2 1M\nremove a.data"),
    qcow2("broken/empty", "sparse a.qcow2 0"),
    qcow2("broken/text", "text a.qcow2 'this is no image'"),
    qcow2("broken/header-only", "img create -f qcow2 a.qcow2 1M\ncut a.qcow2 104"),
    qcow2("broken/short-header", "img create -f qcow2 a.qcow2 1M\ncut a.qcow2 60"),
    qcow2("broken/no-tables", "img create -f qcow2 a.qcow2 1M\ncut a.qcow2 65536"),
    qcow2("broken/half", "noise n.raw 1M 18\nimg convert -f raw -O qcow2 n.raw a.qcow2\ncut a.qcow2 700000"),
    qcow2("broken/directory", "dir a.qcow2"),
    qcow2("broken/dangling", "link a.qcow2 nowhere"),
];

/// Chains that bite their own tail. Most commands of the oracle follow them until they are killed.
pub const LOOPS: &[Shape] = &[
    qcow2("broken/loop", "img create -f qcow2 a.qcow2 1M\nimg rebase -u -b a.qcow2 -F qcow2 a.qcow2"),
    qcow2(
        "broken/long-loop",
        "img create -f qcow2 -u -b b.qcow2 -F qcow2 a.qcow2 1M\nimg create -f qcow2 -u -b a.qcow2 -F qcow2 b.qcow2 1M",
    ),
];

/// Small images that have much in little space, to be damaged and fuzzed.
pub const RICH: &[Shape] = &[
    qcow2(
        "rich/512",
        "img create -f qcow2 -o cluster_size=512 base.qcow2 64k\nio -f qcow2 base.qcow2 | write -P 1 0 32k
         img create -f qcow2 -o cluster_size=512 -b base.qcow2 -F qcow2 a.qcow2 128k
         io -f qcow2 a.qcow2 | write -P 2 4k 3k | write -z 8k 2k | write -c -P 3 10k 512 | write -c -P 4 10752 512
         img snapshot -c one a.qcow2\nimg bitmap --add -g 512 a.qcow2 b0\nimg bitmap --add -g 1k a.qcow2 b1
         io -f qcow2 a.qcow2 | write -P 5 0 6k | discard 64k 1k\nimg snapshot -c two a.qcow2",
    ),
    qcow2(
        "rich/subclusters",
        "img create -f qcow2 -o extended_l2=on,cluster_size=16k a.qcow2 256k
         io -f qcow2 a.qcow2 | write -P 2 512 512 | write -z 8k 2k | write -c -P 3 32k 16k | write -P 4 100k 5k
         img snapshot -c one a.qcow2\nio -f qcow2 a.qcow2 | write -P 5 0 6k | discard 96k 16k",
    ),
    qcow2(
        "rich/zstd",
        "prose n.raw 64k 3
         img convert -f raw -c -O qcow2 -o cluster_size=1k,compression_type=zstd n.raw a.qcow2
         img snapshot -c one a.qcow2\nio -f qcow2 a.qcow2 | write -P 5 0 3k\nremove n.raw",
    ),
    qcow2(
        "rich/v2",
        "img create -f qcow2 -o compat=0.10,cluster_size=512 a.qcow2 64k\nio -f qcow2 a.qcow2 | write -P 1 0 32k
         img snapshot -c 'a b' a.qcow2",
    ),
    qcow2(
        "rich/refcount-1",
        "img create -f qcow2 -o refcount_bits=1,cluster_size=512 a.qcow2 64k
         io -f qcow2 a.qcow2 | write -P 1 0 32k",
    ),
    qcow2(
        "rich/lazy",
        "img create -f qcow2 -o refcount_bits=64,cluster_size=512,lazy_refcounts=on a.qcow2 64k
         io -f qcow2 a.qcow2 | write -P 1 0 32k",
    ),
    qcow2(
        "rich/data-file",
        "img create -f qcow2 -o data_file=a.data,data_file_raw=on,cluster_size=512 a.qcow2 64k
         io -f qcow2 a.qcow2 | write -P 1 0 32k",
    ),
];

/// All shapes that can be read in full.
pub fn readable() -> impl Iterator<Item = &'static Shape> {
    [
        RAW,
        FOREIGN,
        VDI,
        VHDX,
        VMDK,
        VPC,
        PARALLELS,
        QCOW,
        QED,
        QCOW2,
        SUBCLUSTERS,
        DATA_FILE,
        SNAPSHOTS,
        BITMAPS,
        CHAINS,
    ]
    .into_iter()
    .flatten()
}

/// Those that commands change, without some that take the oracle seconds, or that are repaired before
/// anything else happens to them.
pub fn changeable() -> impl Iterator<Item = &'static Shape> {
    readable().filter(|shape| !["qcow2/pebibyte", "qcow2/marked-dirty"].contains(&shape.name))
}

/// The shape of that name.
///
/// # Panics
///
/// If there is none.
pub fn named(name: &str) -> &'static Shape {
    let mut all = readable().chain(BROKEN).chain(LOOPS);
    all.find(|shape| shape.name == name).unwrap_or_else(|| panic!("no shape is called {name}"))
}
