//! Options of new images that qemu-img does not have.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use testkit::cataloged::Scene;
use testkit::script::noise;

const MIB: usize = 1 << 20;

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).expect("it is there")
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes are four"))
}

/// The size of a physical sector, as a VHDX image tells it ([MS-VHDX] 2.6.2.5).
fn physical_sector(image: &[u8]) -> u32 {
    const ITEM: [u8; 16] =
        [0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56];
    let region = find(image, b"metadata");
    let entry = find(&image[region..], &ITEM) + region;
    number(image, region + number(image, entry + 16) as usize)
}

#[test]
fn vhdx_disks_have_physical_sectors_of_either_size() {
    let scene = Scene::new();
    scene.write("raw", &noise(3 << 20, 4));
    let options = ["block_size=1M", "physical_sector_size=512", "physical_sector_size=4k"];
    for ((options, size), image) in options.into_iter().zip([512, 512, 4096]).zip(["a", "b", "c"]) {
        scene.out(&format!("convert -f raw -O vhdx -o {options} raw {image}"));
        assert_eq!(physical_sector(&scene.read(image)), size);
        scene.stock(&format!("check -f vhdx {image}"));
        scene.stock(&format!("compare -f vhdx -F raw {image} raw"));
        scene.out(&format!("create -q -f vhdx -o physical_sector_size=4096 -b {image} -F vhdx {image}o"));
        assert_eq!(physical_sector(&scene.read(&format!("{image}o"))), 4096);
        scene.out(&format!("compare -f vhdx -F raw {image}o raw"));
    }
    for wrong in ["0", "1k", "8k", "x", "-1"] {
        let line = format!("create -f vhdx -o physical_sector_size={wrong} wrong 1M");
        assert!(!scene.run(&line).success(), "{line}");
        assert!(!scene.images().join("wrong").exists());
    }
}

/// What Azure asks for: a fixed disk of whole MiB, whose footer says the same size twice, at the end of the file.
#[test]
fn a_vpc_disk_for_azure() {
    let scene = Scene::new();
    for (len, size) in [(3 * MIB, 3 * MIB), (3 * MIB + 512, 4 * MIB), (70_000, MIB)] {
        scene.write("raw", &noise(len as u64, 5));
        scene.out("convert -f raw -O vpc -o subformat=fixed,align_mib=on raw a.vhd");
        let image = scene.read("a.vhd");
        assert_eq!(image.len(), size + 512);
        let footer = &image[size..];
        assert!(footer.starts_with(b"conectix"));
        let told =
            |at: usize| u64::from_be_bytes(footer[at..at + 8].try_into().expect("eight bytes are eight"));
        assert_eq!((told(40), told(48), footer[63]), (size as u64, size as u64, 2));
        let mut expected = scene.read("raw");
        expected.resize(size, 0);
        scene.write("expected", &expected);
        scene.stock("compare -f vpc -F raw a.vhd expected");
        scene.out("create -q -f vpc -o align_mib=on b.vhd 70000");
        assert_eq!(scene.json("info --output json -f vpc b.vhd")["virtual-size"], MIB);
    }
    scene.out("create -q -f vpc -o force_size=on,align_mib=off c.vhd 70144");
    assert_eq!(scene.json("info --output json -f vpc c.vhd")["virtual-size"], 70_144);
}

#[test]
fn only_tximg_lists_them() {
    let scene = Scene::new();
    for (format, option) in
        [("vhdx", "  physical_sector_size=<size> - "), ("vpc", "  align_mib=<bool (on/off)> - ")]
    {
        let line = format!("create -f {format} -o help");
        let own = scene.out(&line);
        assert!(own.contains("Options that qemu-img does not have:\n") && own.contains(option), "{own}");
        let stock = scene.command("qemu-img", &line).run().out();
        assert!(stock.contains("subformat=<str>") && !stock.contains(option), "{stock}");
    }
    assert!(!scene.out("create -f qcow2 -o help").contains("does not have"));
}
