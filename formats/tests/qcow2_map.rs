//! Mapping, content, snapshots and bitmaps of images that QEMU made, against what QEMU says.

#![allow(clippy::disallowed_methods, reason = "the test compares files")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Scratch, open_qcow2, qemu_img, qemu_io};
use formats::engine::{Reader, status};
use formats::{Bitmaps, Driver, Image, OpenFlags, Snapshots};
use serde_json::{Value, json};

fn open(path: &Path) -> Image {
    let driver = open_qcow2(path, &OpenFlags::READ).unwrap();
    Image::new(path.display().to_string(), Box::new(driver), None)
}

/// The image's map as `qemu-img map --output=json` prints it.
fn our_map(image: &Image) -> Vec<Value> {
    let mut entries: Vec<Value> = Vec::new();
    let mut at = 0;
    while at < image.virtual_size() {
        let run = status(image, at, image.virtual_size() - at).unwrap();
        let mut entry = json!({
            "start": at, "length": run.len, "depth": run.depth, "present": run.allocated,
            "zero": run.zero, "data": run.data, "compressed": run.compressed,
        });
        if let Some((_, offset)) = &run.host {
            entry["offset"] = json!(offset.0);
        }
        at += run.len;
        if !entries.last_mut().is_some_and(|last| merge(last, &entry)) {
            entries.push(entry);
        }
    }
    entries
}

/// Lengthens an entry by the one behind it, if they are one run.
fn merge(last: &mut Value, next: &Value) -> bool {
    let len = last["length"].as_u64().unwrap();
    let same = ["depth", "present", "zero", "data", "compressed"].iter().all(|key| last[key] == next[key]);
    let follows = match (last["offset"].as_u64(), next["offset"].as_u64()) {
        (Some(last), Some(next)) => last + len == next,
        (last, next) => last == next,
    };
    if same && follows {
        last["length"] = json!(len + next["length"].as_u64().unwrap());
    }
    same && follows
}

fn their_map(path: &Path) -> Vec<Value> {
    let output = qemu_img(&["map", "--output=json", "-f", "qcow2", path.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn our_content(image: &Image) -> Vec<u8> {
    let mut content = vec![0xa5; image.virtual_size() as usize];
    // Pieces of an odd size meet clusters in their middle.
    let mut reader = Reader::new(image);
    for (number, piece) in content.chunks_mut(77_777).enumerate() {
        reader.read(number as u64 * 77_777, piece).unwrap();
    }
    content
}

fn their_content(path: &Path, more: &[&str]) -> Vec<u8> {
    let raw = path.with_extension("content");
    let mut arguments = vec!["convert", "-f", "qcow2", "-O", "raw"];
    arguments.extend(more);
    arguments.extend([path.to_str().unwrap(), raw.to_str().unwrap()]);
    let output = qemu_img(&arguments);
    assert!(output.status.success(), "{output:?}");
    std::fs::read(raw).unwrap()
}

fn create(path: &Path, options: &str, size: &str) {
    let image = path.to_str().unwrap();
    let output = qemu_img(&["create", "-q", "-f", "qcow2", "-o", options, image, size]);
    assert!(output.status.success(), "{output:?}");
}

const WRITES: &[&str] = &[
    "write -P 1 0 200k",
    "write -P 2 260k 1k",
    "write -P 3 1M 600k",
    "write -P 4 300k 5k",
    "write -z 1100k 130k",
    "write -z 1300k 1k",
    "write -P 5 2999k 1k",
];

#[test]
fn maps_and_content_of_every_layout() {
    if common::need::lacks(&["qemu-img", "qemu-io", "qemu-nbd"]) {
        return;
    }
    let scratch = Scratch::new();
    let data = format!("data_file={},data_file_raw=on", scratch.path("data").display());
    let layouts = [
        "cluster_size=512",
        "cluster_size=4k,refcount_bits=1",
        "cluster_size=64k",
        "cluster_size=2M",
        "cluster_size=64k,extended_l2=on",
        "cluster_size=16k,extended_l2=on,preallocation=metadata",
        "cluster_size=4k,preallocation=metadata",
        "cluster_size=4k,preallocation=falloc",
        "cluster_size=4k,preallocation=full",
        "compat=0.10",
        &data,
    ];
    for (number, layout) in layouts.iter().enumerate() {
        let path = scratch.path(&number.to_string());
        create(&path, layout, "3000k");
        let writes = if *layout == "compat=0.10" { &WRITES[..4] } else { WRITES };
        assert_eq!(our_map(&open(&path)), their_map(&path), "{layout}, new");
        qemu_io(path.to_str().unwrap(), writes);
        let image = open(&path);
        assert_eq!(our_map(&image), their_map(&path), "{layout}");
        assert!(our_content(&image) == their_content(&path, &[]), "{layout}");
    }
}

#[test]
fn compressed_clusters_of_both_codecs() {
    if common::need::lacks(&["qemu-img", "qemu-io", "qemu-nbd"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.path("source");
    // The library is compressible and not too much so.
    let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    std::fs::write(&source, &bytes[..bytes.len().min(2_000_000) & !511]).unwrap();
    for options in ["cluster_size=4k", "cluster_size=64k", "compression_type=zstd", "extended_l2=on"] {
        let path = scratch.path("compressed");
        let (from, to) = (source.to_str().unwrap(), path.to_str().unwrap());
        let arguments = ["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, from, to];
        assert!(qemu_img(&arguments).status.success());
        let image = open(&path);
        assert_eq!(our_map(&image), their_map(&path), "{options}");
        assert!(our_content(&image) == std::fs::read(&source).unwrap(), "{options}");
    }
}

#[test]
fn snapshots_show_the_image_as_it_was() {
    if common::need::lacks(&["qemu-img", "qemu-io", "qemu-nbd"]) {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path("image");
    let image = path.to_str().unwrap();
    create(&path, "cluster_size=4k", "1M");
    for (number, name) in ["one", "two", "three"].iter().enumerate() {
        qemu_io(image, &[&format!("write -P {} {}k 90k", number + 1, 60 * number)]);
        assert!(qemu_img(&["snapshot", "-c", name, image]).status.success());
    }
    qemu_io(image, &["write -P 9 0 1M"]);
    assert!(qemu_img(&["resize", "-q", image, "2M"]).status.success());
    let driver = open_qcow2(&path, &OpenFlags::READ).unwrap();
    let infos = Snapshots::list(&driver);
    assert_eq!(infos.iter().map(|info| info.name.as_str()).collect::<Vec<_>>(), ["one", "two", "three"]);
    for (index, info) in infos.iter().enumerate() {
        assert_eq!((info.disk_size, info.icount), (1 << 20, Some(0)));
        let view = Image::new(String::new(), driver.view(index).unwrap(), None);
        assert!(our_content(&view) == their_content(&path, &["-l", &info.name]), "{}", info.name);
    }
    assert!(driver.view(3).is_err());
}

/// The dirty runs of a bitmap as QEMU exports it.
fn their_bitmap(scratch: &Scratch, image: &Path, name: &str) -> Vec<Range<u64>> {
    let socket = scratch.path("socket");
    let mut server = Command::new("qemu-nbd");
    server.args(["--read-only", "--persistent", "-f", "qcow2", "-B", name, "-k"]).args([&socket, image]);
    let mut server = common::start::start(server.stdout(Stdio::null())).expect("qemu-nbd is installed");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !socket.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let client = format!(
        "driver=nbd,server.type=unix,server.path={},x-dirty-bitmap=qemu:dirty-bitmap:{name}",
        socket.display()
    );
    let output = qemu_img(&["map", "--output=json", "--image-opts", &client]);
    server.kill().unwrap();
    server.wait().unwrap();
    let _ = std::fs::remove_file(&socket);
    let map: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let runs = map.iter().filter(|run| run["data"] == json!(false));
    let runs = runs.map(|run| (run["start"].as_u64().unwrap(), run["length"].as_u64().unwrap()));
    runs.map(|(start, length)| start..start + length).collect()
}

#[test]
fn bitmaps_hold_what_qemu_stored() {
    if common::need::lacks(&["qemu-img", "qemu-io", "qemu-nbd"]) {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path("image");
    let image = path.to_str().unwrap();
    create(&path, "cluster_size=512", "6M");
    for (name, granularity) in [("fine", "512"), ("coarse", "65536"), ("all", "512")] {
        assert!(qemu_img(&["bitmap", "--add", "-g", granularity, image, name]).status.success());
        match name {
            "all" => qemu_io(image, &["write 0 6M"]),
            _ => qemu_io(image, &["write 1k 3k", "write 5k 512", "write 1M 1M", "write 4000k 700k"]),
        }
    }
    let driver = open_qcow2(&path, &OpenFlags::READ).unwrap();
    for (index, info) in Bitmaps::list(&driver).iter().enumerate() {
        let mut found = Vec::new();
        let mut visitor = |run| {
            found.push(run);
            Ok(())
        };
        driver.visit(index, &mut visitor).unwrap();
        assert_eq!(found, their_bitmap(&scratch, &path, &info.name), "{}", info.name);
        assert!(info.auto && !info.in_use);
    }
}

#[test]
fn info_needs_no_data_file() {
    if common::need::lacks(&["qemu-img", "qemu-io", "qemu-nbd"]) {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path("image");
    create(&path, &format!("data_file={}", scratch.path("data").display()), "1M");
    std::fs::remove_file(scratch.path("data")).unwrap();
    assert!(open_qcow2(&path, &OpenFlags::READ).is_err());
    let driver = open_qcow2(&path, &OpenFlags { data: false, ..OpenFlags::READ }).unwrap();
    let output = qemu_img(&["info", "--output=json", path.to_str().unwrap()]);
    let info: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(driver.details().unwrap().specific, Some(info["format-specific"].clone()));
}
