//! What `info` prints of a LUKS header.

use crypto::luks::{Header, Slot};
use serde_json::{Map, Value, json};

/// Where the header stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// In the image.
    Attached,
    /// In a file of its own.
    Detached,
}

/// The header in QEMU's order of keys. `format` is told where others are possible.
pub(crate) fn luks(header: &Header, format: Option<&str>, placed: Placed) -> Map<String, Value> {
    let mut details = Map::new();
    let mut put = |key: &str, value: Value| {
        details.insert(key.to_owned(), value);
    };
    put("ivgen-alg", json!(header.scheme.iv.name()));
    put("detached-header", json!(placed == Placed::Detached));
    put("hash-alg", json!(header.hash.name()));
    put("cipher-alg", json!(header.scheme.cipher.name()));
    put("uuid", json!(header.uuid));
    if let Some(hash) = header.scheme.iv_hash {
        put("ivgen-hash-alg", json!(hash.name()));
    }
    if let Some(format) = format {
        put("format", json!(format));
    }
    put("cipher-mode", json!(header.scheme.mode.name()));
    put("slots", header.slots.iter().map(slot).collect());
    put("payload-offset", json!(header.payload_offset));
    put("master-key-iters", json!(header.digest_iterations));
    details
}

fn slot(slot: &Slot) -> Value {
    let offset = slot.key_offset;
    match slot.iterations {
        Some(iterations) => {
            json!({ "active": true, "iters": iterations, "key-offset": offset, "stripes": Slot::STRIPES })
        }
        None => json!({ "active": false, "key-offset": offset }),
    }
}
