//! `vvfat`: directories as disks. `tests/vvfat.rs` compares every byte of such disks.

use testkit::case::{Case, label};

/// A directory for lines that look at the disk, and images beside it.
const SETUP: &str = "dir d/sub\nnoise d/a.txt 8k 1\nnoise 'd/sub/A long name.text' 16k 2\nsparse d/empty 0
    noise d.raw 1M 3\nimg create -f qcow2 -b fat:floppy:d -F raw over.qcow2";

const LINES: &[&str] = &[
    "info fat:d",
    "info --output=json fat:d",
    "info fat:12:d",
    "info fat:16:d",
    "info fat:32:d",
    "info fat:floppy:d",
    "info fat:floppy:12:d",
    "info fat:floppy:16:d",
    "info fat:33:d",
    "info fat:bogus:d",
    "info fat:d/",
    "info fat:d//",
    "info fat:",
    "info fat:gone",
    "info fat:d/a.txt",
    "info fat:x:C:d",
    "info fat:d:e:d",
    "info fat:rw:d",
    "info fat:rw:gone",
    "info -f vvfat fat:d",
    "info --output=json -f vvfat fat:floppy:d",
    "info -f vvfat d",
    "info -f raw fat:16:d",
    "info -f qcow2 fat:d",
    "info --image-opts driver=vvfat",
    "info --image-opts driver=vvfat,dir=d",
    "info --output=json --image-opts driver=vvfat,dir=d,fat-type=12,label=HI,floppy=on",
    "info --image-opts driver=vvfat,dir=gone",
    "info --image-opts driver=vvfat,dir=d,fat-type=13",
    "info --image-opts driver=vvfat,dir=d,fat-type=x",
    "info --image-opts driver=vvfat,dir=d,fat-type=32,floppy=on",
    "info --image-opts driver=vvfat,dir=d,floppy=x",
    "info --image-opts driver=vvfat,dir=d,label=12345678901",
    "info --image-opts driver=vvfat,dir=d,label=123456789012",
    "info --image-opts driver=vvfat,dir=d,rw=on",
    "info --image-opts driver=vvfat,dir=d,foo=on",
    "info --image-opts driver=vvfat,dir=d,read-only=on,rw=off,node-name=x",
    "info --image-opts driver=raw,file.driver=vvfat,file.dir=d,file.foo=1",
    "info --image-opts driver=raw,offset=512,size=1024,file.driver=vvfat,file.dir=d",
    "info --image-opts driver=throttle,throttle-group=g,file.driver=vvfat,file.dir=d --object throttle-group,id=g",
    "info 'json:{\"driver\":\"vvfat\",\"dir\":\"d\",\"fat-type\":16,\"rw\":false}'",
    "info 'json:{\"driver\":\"vvfat\",\"dir\":\"d\",\"fat-type\":\"16\"}'",
    "info 'json:{\"driver\":\"vvfat\",\"file\":\"d\"}'",
    "info --backing-chain over.qcow2",
    "map fat:d",
    "map --output=json fat:12:d",
    "map --output=json --image-opts driver=vvfat,dir=d,floppy=on",
    "map --output=json over.qcow2",
    "measure -O qcow2 fat:12:d",
    "measure -O raw fat:floppy:d",
    "measure -O vmdk -f vvfat fat:floppy:d",
    "check fat:d",
    "check -f vvfat fat:d",
    "compare fat:12:d fat:12:d",
    "compare fat:12:d fat:16:d",
    "compare fat:floppy:d over.qcow2",
    "compare fat:floppy:d d.raw",
    "dd if=fat:floppy:d of=out.raw bs=512 count=12",
    "dd if=fat:12:d of=fat:12:d bs=512 count=1",
    "dd if=d.raw of=fat:d bs=512 count=1",
    "convert -O qcow2 --image-opts driver=raw,size=4096,file.driver=vvfat,file.dir=d out.qcow2",
    "convert -n d.raw fat:d",
    "convert d.raw fat:rw:d",
    "convert -n --target-image-opts d.raw driver=vvfat,dir=d",
    "create -f vvfat x 1M",
    "create fat:d 1M",
    "create -f qcow2 fat:d 1M",
    "create -f qcow2 -b fat:d -F raw new.qcow2",
    "create -f qcow2 -b fat:floppy:d -F vvfat new.qcow2",
    "resize fat:d +1M",
    "resize -f raw fat:d +1M",
    "commit fat:d",
    "commit over.qcow2",
    "rebase -b fat:floppy:d -F raw over.qcow2",
    "rebase -b '' over.qcow2",
    "snapshot -l fat:d",
    "snapshot -c a fat:d",
    "amend -f vvfat -o x=y fat:d",
    "bench -c 1 -s 512 fat:floppy:d",
    "convert -n -f raw d.raw fat:rw:d",
    "resize -f raw fat:rw:d +1M",
];

/// Directories of which QEMU, too, shows the same bytes however it reads them: what is behind the end of a file
/// it takes from what it has read before.
const DIRECTORIES: &[(&str, &str)] = &[
    ("empty", "dir d"),
    ("one", "dir d\ntext d/only.txt hello"),
    ("whole-clusters", "dir d\nnoise d/a 8k 1\nnoise d/b 16k 2\nnoise d/c 8k 3\nsparse d/z 0"),
    ("long", "dir d\nnoise 'd/A rather long name, with spaces.text' 8k 1\nsparse d/exactly13char 0\nsparse d/exactly-13-ch 0"),
    (
        "collisions",
        "dir d\nsparse d/readme 0\nsparse d/README 0\nsparse d/ReadMe 0\nsparse d/longprefix1 0\nsparse d/longprefix2 0
         sparse d/longprefix3 0\nsparse d/LONGPREFIX4.TXT 0\nsparse 'd/QEMU VVF.AT' 0",
    ),
    ("dots", "dir d\nsparse d/.hidden 0\nsparse d/..two 0\nsparse d/a.b.c 0\nsparse d/end. 0\nsparse d/... 0\nsparse d/.a.b 0"),
    (
        "unicode",
        "dir d\nsparse d/ünï.txt 0\nsparse d/日本語ファイル.txt 0\nsparse d/ħ.x 0\nsparse d/ı.ſ 0\nsparse d/ß.doc 0\nsparse d/😀.txt 0",
    ),
    ("marks", "dir d\nsparse 'd/$%-_@~`!(){}^#&' 0\nsparse 'd/+,;=[]' 0\nsparse d/a+b 0\nsparse d/~1 0\nsparse d/name~1 0"),
    ("nested", "dir d/1/2/3/4\nnoise d/1/2/3/4/deep 8k 1\ndir d/1/other\nnoise d/1/other/f 8k 2"),
    ("links", "dir d/sub\nnoise d/sub/f 8k 1\nlink d/again sub\nlink d/file sub/f\nlink d/dangling gone\nlink d/self self"),
    ("loop", "dir d\nnoise d/f 8k 1\nlink d/loop ."),
    ("modes", "dir d\nnoise d/r 8k 1\nmode d/r 444\nnoise d/x 8k 2\nmode d/x 755"),
];

/// What the disk is.
const MEDIA: &[(&str, &str)] = &[
    ("floppy", "fat:floppy:d"),
    ("floppy-12", "fat:floppy:12:d"),
    ("floppy-16", "fat:floppy:16:d"),
    ("floppy-32", "fat:floppy:32:d"),
    ("disk-12", "fat:12:d"),
];

pub fn cases() -> Vec<Case> {
    let line = |line: &&str| Case::after(format!("vvfat/line/{}", label(line)), SETUP, line);
    let mut all: Vec<Case> = LINES.iter().map(line).collect();
    for (directory, setup) in DIRECTORIES {
        for (medium, name) in MEDIA {
            let setup = format!("{setup}\nimg convert -f raw -O qcow2 {name} same.qcow2");
            let line = format!("compare {name} same.qcow2");
            all.push(Case::after(format!("vvfat/bytes/{directory}/{medium}"), &setup, &line));
        }
    }
    all
}
