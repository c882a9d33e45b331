//! `dd`: blocks, counts and offsets; the options that Proxmox adds are tested elsewhere, for
//! qemu-img knows none of them.

use testkit::case::{Case, label};
use testkit::shapes;

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for shape in shapes::readable().filter(|shape| !shape.traits.huge) {
        for (variant, options) in [
            ("raw", "-O raw bs=64k"),
            ("qcow2", "-O qcow2 bs=1M"),
            ("part", "-f {fmt} -O raw bs=4k skip=3 count=20"),
        ] {
            let line = format!("dd {options} if={{img}} of=out");
            all.push(Case::makes(format!("dd/{}/{variant}", shape.name), shape, &line));
        }
    }
    all.extend(lines());
    all
}

fn lines() -> Vec<Case> {
    const LINES: &[&str] = &[
        "dd",
        "dd if=a.raw",
        "dd of=out",
        "dd if=a.raw of=out",
        "dd -f raw if=a.raw of=out",
        "dd -f raw -O raw bs=1k if=a.raw of=out",
        "dd -f raw -O raw bs=1 count=100 if=a.raw of=out",
        "dd -f raw -O raw bs=7 count=100 skip=13 if=a.raw of=out",
        "dd -f raw -O raw bs=1000 if=a.raw of=out",
        "dd -f raw -O raw bs=64k count=1 if=a.raw of=out",
        "dd -f raw -O raw bs=64k count=0 if=a.raw of=out",
        "dd -f raw -O raw bs=64k skip=1 if=a.raw of=out",
        "dd -f raw -O raw bs=64k skip=2 if=a.raw of=out",
        "dd -f raw -O raw bs=64k skip=200 if=a.raw of=out",
        "dd -f raw -O raw bs=64k skip=200 count=3 if=a.raw of=out",
        "dd -f raw -O raw bs=1M count=1000 if=a.raw of=out",
        "dd -f raw -O qcow2 bs=1000 skip=1 if=a.raw of=out",
        "dd -f raw -O raw bs=0 if=a.raw of=out",
        "dd -f raw -O raw bs=-1 if=a.raw of=out",
        "dd -f raw -O raw bs=foo if=a.raw of=out",
        "dd -f raw -O raw bs= if=a.raw of=out",
        "dd -f raw -O raw bs=3G if=a.raw of=out",
        "dd -f raw -O raw bs=1.5k if=a.raw of=out",
        "dd -f raw -O raw count=-1 if=a.raw of=out",
        "dd -f raw -O raw count=foo if=a.raw of=out",
        "dd -f raw -O raw skip=foo if=a.raw of=out",
        "dd -f raw -O raw skip=-1 if=a.raw of=out",
        "dd -f raw -O raw bs=512 bs=1k count=2 if=a.raw of=out",
        "dd -f raw -O raw foo=1 if=a.raw of=out",
        "dd -f raw -O raw foo if=a.raw of=out",
        "dd -f raw -O raw conv=notrunc if=a.raw of=out",
        "dd -f raw -O raw if=gone.raw of=out",
        "dd -f raw -O raw if= of=out",
        "dd -f raw -O raw if=a.raw of=",
        "dd -f raw -O raw if=a.raw of=no/where",
        "dd -f raw -O foo if=a.raw of=out",
        "dd -f raw -O cloop if=a.raw of=out",
        "dd -f foo if=a.raw of=out",
        "dd -f qcow2 if=a.raw of=out",
        "dd -U -f raw if=a.raw of=out",
        "dd if=a.raw of=out -f raw -O qcow2",
        "dd --image-opts if=driver=raw,file.filename=a.raw of=out",
        "dd --image-opts -f raw if=driver=raw,file.filename=a.raw of=out",
        "dd --image-opts if=a.raw of=out",
        "dd -f raw if=json:{\"driver\":\"raw\",\"file.filename\":\"a.raw\"} of=out",
        "dd if=json:{\"driver\":\"raw\",\"file.filename\":\"a.raw\"} of=out",
        "dd -x if=a.raw of=out",
        "dd --foo if=a.raw of=out",
        "dd -f raw if=a.raw of=a.raw",
    ];
    let case = |line: &&str| Case::after(format!("dd/line/{}", label(line)), "prose a.raw 100000 4", line);
    let mut all: Vec<Case> = LINES.iter().map(case).collect();
    for format in ["raw", "qcow2"] {
        all.push(Case::after(
            format!("dd/existing/{format}"),
            "prose a.raw 100k 4\nnoise out 300k 5",
            &format!("dd -f raw -O {format} bs=64k if=a.raw of=out"),
        ));
    }
    all
}
