//! What programs that share no code with QEMU read from images that tximg writes.

#![allow(clippy::disallowed_methods, reason = "files that tests make need not survive anything")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, File};
use std::path::Path;

use testkit::need::{lacks, skipped};
use testkit::oracle::in_path;
use testkit::run::{Outcome, Run};
use testkit::script::{noise, prose};
use testkit::tximg::own;
use testkit::{scene, words};

/// Formats, options and a name for images that 7z reads.
const FOR_7Z: &[(&str, &str)] = &[
    ("vdi", "a.vdi"),
    ("vdi -o static=on", "a.vdi"),
    ("vpc -o force_size=on", "a.vhd"),
    ("vpc -o force_size=on,subformat=fixed", "a.vhd"),
    ("vhdx", "a.vhdx"),
    ("vhdx -o subformat=fixed,block_size=1M", "a.vhdx"),
    ("vmdk", "a.vmdk"),
    ("vmdk -o subformat=monolithicFlat", "b.vmdk"),
    ("vmdk -o subformat=twoGbMaxExtentSparse", "c.vmdk"),
    ("qcow", "a.qcow"),
    ("qcow2", "a.qcow2"),
    ("qcow2 -c", "a.qcow2"),
    ("qcow2 -o cluster_size=4k,compat=0.10", "a.qcow2"),
];

/// 3 MiB with data of several kinds, and holes.
fn disk(dir: &Path) -> Vec<u8> {
    let mut disk = [prose(1 << 20, 1), vec![0; 600 << 10], noise(300 << 10, 2)].concat();
    disk.resize(3 << 20, 0);
    disk[(3 << 20) - 700..].fill(9);
    fs::write(dir.join("disk"), &disk).expect("the scratch directory can be written");
    disk
}

fn succeeds(dir: &Path, line: &str) {
    let outcome = own(dir, line);
    assert!(outcome.success(), "{line}: {}", outcome.err());
}

/// Runs another program.
fn judge(dir: &Path, line: &str) -> Outcome {
    let words = words::split(line);
    let program = in_path(&words[0].to_string_lossy()).expect("it was looked for");
    Run::new(&program, dir).args(&words[1..]).run()
}

/// The only file that 7z finds in an image.
fn extracted(dir: &Path, image: &str) -> Vec<u8> {
    let outcome = judge(dir, &format!("7z x -y -oout {image}"));
    assert!(outcome.success(), "{image}: {}{}", outcome.out(), outcome.err());
    let mut found = fs::read_dir(dir.join("out")).expect("7z has made it").flatten();
    let file = found.next().expect("there is something in the image");
    assert!(found.next().is_none(), "{image}: more than one file");
    let bytes = fs::read(file.path()).expect("it can be read");
    fs::remove_dir_all(dir.join("out")).expect("it can be removed");
    bytes
}

#[test]
fn seven_zip_reads_what_tximg_writes() {
    if lacks(&["7z"]) {
        return;
    }
    let scene = scene::empty();
    let disk = disk(scene.path());
    for (format, image) in FOR_7Z {
        succeeds(scene.path(), &format!("convert -f raw -O {format} disk {image}"));
        assert!(extracted(scene.path(), image) == disk, "{format}: another content");
    }
}

/// Types of VMDK images that grow, names for them, and how large they become.
const GROWN: &[(&str, &str, &str)] = &[
    ("monolithicSparse", "a.vmdk", "200M"),
    // Its directory has to move.
    ("monolithicSparse", "b.vmdk", "5G"),
    ("monolithicFlat", "c.vmdk", "4M"),
    ("twoGbMaxExtentSparse", "d.vmdk", "2G"),
    ("twoGbMaxExtentFlat", "e.vmdk", "4M"),
];

#[test]
fn libvmdk_and_qemu_img_read_images_that_have_grown() {
    if lacks(&["vmdkinfo", "vmdkmount", "umount", "qemu-img", "qemu-io"]) {
        return;
    }
    let scene = scene::empty();
    disk(scene.path());
    for (subformat, image, size) in GROWN {
        succeeds(scene.path(), &format!("convert -f raw -O vmdk -o subformat={subformat} disk {image}"));
        succeeds(scene.path(), &format!("resize -f vmdk -q {image} {size}"));
        succeeds(scene.path(), "dd -f raw -O raw if=disk of=expected");
        succeeds(scene.path(), &format!("resize -q -f raw expected {size}"));
        let told = judge(scene.path(), &format!("qemu-img check -f vmdk {image}"));
        assert!(told.success(), "{subformat}: {}{}", told.out(), told.err());
        let told = judge(scene.path(), &format!("qemu-img compare -f vmdk -F raw {image} expected"));
        assert!(told.success(), "{subformat}: {}{}", told.out(), told.err());
        // What is written there, the others find.
        let told = judge(scene.path(), &format!("qemu-io -f vmdk -c 'write -P 5 3500k 200k' {image}"));
        assert!(told.success(), "{subformat}: {}{}", told.out(), told.err());
        succeeds(scene.path(), &format!("check -f vmdk {image}"));
        if !subformat.ends_with("Flat") {
            let shown = judge(scene.path(), &format!("vmdkinfo {image}"));
            let bytes = fs::metadata(scene.path().join("expected")).expect("it was made").len();
            assert!(shown.success() && shown.out().contains(&format!("{bytes} bytes")), "{}", shown.out());
        }
        // It is mounted once: reading the largest takes long.
        let library = LIBRARIES.iter().find(|library| library.info == "vmdkinfo" && *size == "200M");
        if let Some(seen) = library.and_then(|library| library.content(scene.path(), image)) {
            let written = 3500 << 10..3700 << 10;
            assert!(seen.len() == 200 << 20 && seen[written].iter().all(|&byte| byte == 5));
        }
    }
}

/// Images that a library of libyal reads.
struct Library {
    /// Shows what an image is.
    info: &'static str,
    /// Shows what is in it as a file.
    mount: &'static str,
    /// That file.
    file: &'static str,
    /// Formats, options and names, and what `info` must say of it.
    images: &'static [(&'static str, &'static str, &'static [&'static str])],
}

const LIBRARIES: [Library; 3] = [
    Library {
        info: "vhdiinfo",
        mount: "vhdimount",
        file: "vhdi1",
        images: &[
            ("vpc -o force_size=on", "a.vhd", &["Dynamic", "3145728 bytes"]),
            ("vpc -o force_size=on,subformat=fixed", "a.vhd", &["Fixed", "3145728 bytes"]),
            ("vhdx", "a.vhdx", &["Dynamic", "3145728 bytes"]),
            ("vhdx -o subformat=fixed,block_size=1M", "a.vhdx", &["Fixed", "3145728 bytes"]),
        ],
    },
    Library {
        info: "vmdkinfo",
        mount: "vmdkmount",
        file: "vmdk1",
        images: &[
            ("vmdk", "a.vmdk", &["Monolithic sparse", "3145728 bytes"]),
            ("vmdk -o subformat=twoGbMaxExtentSparse", "c.vmdk", &["2GB extent sparse", "3145728 bytes"]),
            ("vmdk -o subformat=streamOptimized", "d.vmdk", &["Stream optimized", "3145728 bytes"]),
        ],
    },
    Library {
        info: "qcowinfo",
        mount: "qcowmount",
        file: "qcow1",
        images: &[
            ("qcow2", "a.qcow2", &[": 3", "3145728 bytes"]),
            ("qcow2 -o compat=0.10,cluster_size=4k", "a.qcow2", &[": 2", "3145728 bytes"]),
            ("qcow2 -c", "a.qcow2", &[": 3", "3145728 bytes"]),
            ("qcow", "a.qcow", &[": 1", "3145728 bytes"]),
        ],
    },
];

#[test]
fn libvhdi_libvmdk_and_libqcow_read_what_tximg_writes() {
    for library in &LIBRARIES {
        if !lacks(&[library.info, library.mount, "umount"]) {
            library.judges();
        }
    }
}

impl Library {
    fn judges(&self) {
        let scene = scene::empty();
        let disk = disk(scene.path());
        for (format, image, words) in self.images {
            succeeds(scene.path(), &format!("convert -f raw -O {format} disk {image}"));
            let shown = judge(scene.path(), &format!("{} {image}", self.info));
            assert!(shown.success(), "{format}: {}{}", shown.out(), shown.err());
            for word in *words {
                assert!(shown.out().contains(word), "{format}: no '{word}' in\n{}", shown.out());
            }
            if let Some(seen) = self.content(scene.path(), image) {
                assert!(seen == disk, "{format}: another content");
            }
        }
    }

    /// What it shows of an image; nothing where files cannot be mounted.
    fn content(&self, dir: &Path, image: &str) -> Option<Vec<u8>> {
        if File::options().read(true).write(true).open("/dev/fuse").is_err() {
            skipped(&format!("{}: /dev/fuse cannot be used", self.mount));
            return None;
        }
        let point = dir.join("mounted");
        fs::create_dir_all(&point).expect("the scratch directory can be written");
        let outcome = judge(dir, &format!("{} {image} mounted", self.mount));
        if outcome.err().contains("fuse:") {
            skipped(&format!("{}: {}", self.mount, outcome.err().trim()));
            return None;
        }
        assert!(outcome.success(), "{image}: {}{}", outcome.out(), outcome.err());
        let bytes = fs::read(point.join(self.file));
        let unmounted = judge(dir, "umount mounted");
        assert!(unmounted.success(), "{}", unmounted.err());
        Some(bytes.expect("the mounted file can be read"))
    }
}

#[test]
fn nbdkit_opens_luks_volumes_that_tximg_makes() {
    if lacks(&["nbdkit", "nbdcopy"]) || !has_filter("luks") {
        return;
    }
    let scene = scene::empty();
    let disk = disk(scene.path());
    for options in ["", ",hash-alg=sha512", ",cipher-alg=aes-128", ",cipher-mode=cbc,ivgen-alg=plain64"] {
        let secret = "--object secret,id=s,data=pass";
        succeeds(
            scene.path(),
            &format!("convert {secret} -f raw -O luks -o key-secret=s,iter-time=10{options} disk a.luks"),
        );
        served(scene.path(), "--filter=luks file a.luks passphrase=pass", options, &disk);
    }
}

#[test]
fn nbdkit_reads_qcow2_images_that_tximg_makes() {
    if lacks(&["nbdkit", "nbdcopy"]) || !has_filter("qcow2dec") {
        return;
    }
    let scene = scene::empty();
    let disk = disk(scene.path());
    for options in ["", "-c", "-c -o compression_type=zstd", "-o cluster_size=4k"] {
        succeeds(scene.path(), &format!("convert -f raw -O qcow2 {options} disk a.qcow2"));
        served(scene.path(), "--filter=qcow2dec file a.qcow2", options, &disk);
    }
}

/// Whether nbdkit has a filter, which depends on its version.
fn has_filter(name: &str) -> bool {
    let has = judge(Path::new("/"), &format!("nbdkit --filter={name} null --version")).success();
    if !has {
        skipped(&format!("this nbdkit has no filter '{name}'"));
    }
    has
}

/// What nbdkit serves must be the disk.
fn served(dir: &Path, what: &str, options: &str, disk: &[u8]) {
    let line = format!("nbdkit -U - {what} --run 'nbdcopy \"$uri\" served'");
    let outcome = judge(dir, &line);
    assert!(outcome.success(), "{options}: {}{}", outcome.out(), outcome.err());
    assert!(fs::read(dir.join("served")).is_ok_and(|served| served == disk), "{options}: another content");
    fs::remove_file(dir.join("served")).expect("it can be removed");
}
