//! Writes first inputs for the fuzz targets: `cargo run -p testkit --bin seeds -- tests/fuzz/corpus`.

#![allow(clippy::disallowed_methods, reason = "seeds need no durability")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use formats::Codec;
use formats::codec::Encoder;
use testkit::{scene, script, shapes, sparse};

/// Targets whose input is a whole image.
const IMAGE_TARGETS: [&str; 5] = ["header", "tables", "snapshots", "bitmaps", "check"];

/// Formats with a target of their own, which is called as they are.
const OTHER_FORMATS: [&str; 9] = ["bochs", "cloop", "dmg", "parallels", "qcow", "qed", "vdi", "vmdk", "vpc"];
/// The header of a LUKS volume, and some of what is behind it.
const LUKS_SEED: usize = (2 << 20) + (16 << 10);
/// Longer inputs are made too slowly.
const LARGEST_SEED: usize = 320 << 10;

/// The first byte says how the rest is read, as the target `options` does.
const OPTIONS: [(u8, &str); 10] = [
    (
        4,
        "[inject-error \"a\"]\nevent = \"pwritev\"\nerrno = \"5\"\n[set-state]\nevent = \"none\"\nnew_state = \"2\"\n",
    ),
    (0, r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"/a.qcow2"},"backing":null}"#),
    (0, r#"json:{"driver":"raw","offset":512,"size":"1k","file.filename":"/a.raw"}"#),
    (0, "file:/a.raw"),
    (0, "nbd://host/x"),
    (1, "driver=qcow2,file.filename=/a.qcow2,backing.driver=raw,backing.file.filename=x,,y"),
    (1, "driver=raw,offset=1M,size=2k,file.driver=file,file.filename=/a.raw,file.locking=auto"),
    (2, "cluster_size=64k,compat=1.1,lazy_refcounts=on,preallocation=metadata,backing_file=a,,b,extended_l2"),
    (2, "data_file=x,data_file_raw=on,compression_type=zstd,refcount_bits=16,size=1.5G"),
    (3, "preallocation=full,nocow=on,size=1G,extent_size_hint=0"),
];

fn main() -> ExitCode {
    let Some(corpus) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("seeds: name the directory for the corpus");
        return ExitCode::FAILURE;
    };
    let outcome = images(&corpus)
        .and_then(|()| bundles(&corpus))
        .and_then(|()| luks2(&corpus))
        .and_then(|()| options(&corpus))
        .and_then(|()| codec(&corpus));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seeds: {}: {error}", corpus.display());
            ExitCode::FAILURE
        }
    }
}

fn put(corpus: &Path, target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let dir = corpus.join(target);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(name), bytes)
}

fn images(corpus: &Path) -> io::Result<()> {
    for shape in shapes::RICH {
        let bytes = fs::read(scene::fixture(shape).join(shape.image))?;
        for target in IMAGE_TARGETS {
            put(corpus, target, &shape.name.replace('/', "-"), &bytes)?;
        }
    }
    for shape in shapes::readable().chain(shapes::LUKS) {
        let bytes = fs::read(scene::fixture(shape).join(shape.image));
        let input = match shape.format {
            format if OTHER_FORMATS.contains(&format) => Some(bytes?),
            // What is encrypted is never empty.
            "luks" => sparse::pack(bytes?.get(..LUKS_SEED).unwrap_or_default()),
            "vhdx" => sparse::pack(&bytes?),
            _ => None,
        };
        if let Some(input) = input.filter(|input| input.len() <= LARGEST_SEED) {
            put(corpus, shape.format, &shape.name.replace('/', "-"), &input)?;
        }
    }
    Ok(())
}

/// Descriptors of Parallels bundles.
fn bundles(corpus: &Path) -> io::Result<()> {
    let descriptor = r#"<?xml version="1.0"?><Parallels_disk_image Version="1.0">
<Disk_Parameters><Disk_size>16</Disk_size><Cylinders>1</Cylinders><Heads>16</Heads><Sectors>32</Sectors>
<Padding>0</Padding></Disk_Parameters><StorageData>
<Storage><Start>0</Start><End>8</End><Blocksize>8</Blocksize><Image><GUID>{aa}</GUID><Type>Plain</Type>
<File>a</File></Image></Storage>
<Storage><Start>8</Start><End>16</End><Blocksize>8</Blocksize><Image><GUID>{aa}</GUID><Type>Compressed</Type>
<File>b</File></Image></Storage></StorageData>
<Snapshots><TopGUID>{aa}</TopGUID><Shot><GUID>{aa}</GUID>
<ParentGUID>{00000000-0000-0000-0000-000000000000}</ParentGUID></Shot></Snapshots></Parallels_disk_image>"#;
    put(corpus, "prl_xml", "bundle", descriptor.as_bytes())
}

/// The JSON area of a LUKS volume of version 2.
fn luks2(corpus: &Path) -> io::Result<()> {
    let area = r#"{"keyslots":{"0":{"type":"luks2","key_size":64,"af":{"type":"luks1","stripes":4000,"hash":"sha256"},
"area":{"type":"raw","offset":"32768","size":"258048","encryption":"aes-xts-plain64","key_size":64},
"kdf":{"type":"argon2id","time":4,"memory":1048576,"cpus":4,"salt":"AAAA"}}},"tokens":{},
"segments":{"0":{"type":"crypt","offset":"16777216","size":"dynamic","iv_tweak":"0","encryption":"aes-xts-plain64","sector_size":512}},
"digests":{"0":{"type":"pbkdf2","keyslots":["0"],"segments":["0"],"hash":"sha256","iterations":1000,"salt":"AAAA","digest":"AAAA"}},
"config":{"json_size":"12288","keyslots_size":"16744448"}}"#;
    put(corpus, "luks2", "area", area.as_bytes())
}

fn options(corpus: &Path) -> io::Result<()> {
    OPTIONS.iter().enumerate().try_for_each(|(index, (kind, text))| {
        put(corpus, "options", &format!("seed-{index}"), &[&[*kind], text.as_bytes()].concat())
    })
}

/// Streams of both codecs, behind the byte that names codec and cluster size.
fn codec(corpus: &Path) -> io::Result<()> {
    for (kind, codec) in [(0, Codec::Deflate), (1, Codec::Zstd)] {
        for shift in [0, 3, 7] {
            let cluster = script::prose(512 << shift, u64::from(shift));
            let mut payload = vec![0; cluster.len()];
            let mut encoder = Encoder::new(codec).map_err(|error| io::Error::other(error.report()))?;
            if let Some(len) = encoder.encode(&cluster, &mut payload) {
                let input = [&[shift << 1 | kind], &payload[..len]].concat();
                put(corpus, "codec", &format!("seed-{kind}-{shift}"), &input)?;
            }
        }
    }
    Ok(())
}
