//! What `info` prints of a qcow2 image.

use serde_json::{Map, Value, json};

use super::Qcow2;
use super::feature::{Autoclear, Compatible, Incompatible};
use super::geometry::Version;
use super::header::Encryption;
use crate::encryption::details::{self, Placed};
use crate::{BitmapInfo, Codec, FormatDetails};

/// The details of an image.
pub fn details(image: &Qcow2) -> FormatDetails {
    let header = image.header();
    FormatDetails {
        cluster_size: Some(image.geometry().cluster_size()),
        encrypted: header.encryption.is_some(),
        compressed: false,
        dirty: Some(header.incompatible.contains(Incompatible::DIRTY)),
        specific: Some(json!({ "type": "qcow2", "data": specific(image) })),
    }
}

/// The format-specific part. The order of keys is QEMU's, which follows from its hash function;
/// programs that compare text rely on it.
fn specific(image: &Qcow2) -> Map<String, Value> {
    let header = image.header();
    let mut data = Map::new();
    let mut put = |key: &str, value: Value| {
        data.insert(key.to_owned(), value);
    };
    let version_3 = header.version >= Version::V3;
    put("compat", json!(if version_3 { "1.1" } else { "0.10" }));
    put("compression-type", json!(compression_name(header.compression)));
    if version_3 {
        put("lazy-refcounts", json!(header.compatible.contains(Compatible::LAZY_REFCOUNTS)));
        let bitmaps: Vec<Value> = image.bitmap_infos().iter().map(bitmap).collect();
        if !bitmaps.is_empty() {
            put("bitmaps", Value::Array(bitmaps));
        }
    }
    put("refcount-bits", json!(image.geometry().refcount_bits()));
    if let Some(name) = header.extensions.data_file.as_ref().filter(|_| version_3) {
        put("data-file", json!(String::from_utf8_lossy(name)));
    }
    if let Some(encryption) = encryption(image) {
        put("encrypt", encryption);
    }
    if version_3 {
        if image.geometry().external_data {
            put("data-file-raw", json!(header.autoclear.contains(Autoclear::RAW_DATA)));
        }
        put("corrupt", json!(header.incompatible.contains(Incompatible::CORRUPT)));
        put("extended-l2", json!(header.incompatible.contains(Incompatible::EXTENDED_L2)));
    }
    data
}

fn compression_name(codec: Codec) -> &'static str {
    match codec {
        Codec::Deflate => "zlib",
        Codec::Zstd => "zstd",
    }
}

fn bitmap(info: &BitmapInfo) -> Value {
    let flags = [(info.in_use, "in-use"), (info.auto, "auto")];
    let flags: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    json!({ "flags": flags, "name": info.name, "granularity": info.granularity })
}

fn encryption(image: &Qcow2) -> Option<Value> {
    match image.header().encryption? {
        Encryption::Aes => Some(json!({ "format": "aes" })),
        Encryption::Luks => {
            let luks = image.encrypted.as_ref()?.luks.as_ref()?;
            Some(Value::Object(details::luks(luks, Some("luks"), Placed::Attached)))
        }
    }
}
