//! `--object`: things that block options refer to by id, such as secrets.
//!
//! Objects are checked as qemu-img checks them, so that a caller which defines one learns of its
//! mistakes here and not later.

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;

use formats::secrets::{Encoding, Secret, SecretSource, Secrets};
use formats::throttle::{Limits, ThrottleGroup};
use serde_json::Value;

use crate::report::Failure;

/// The objects of one command line, by id.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    secrets: Secrets,
}

/// A secret in a longer file is none that anybody meant.
const MAX_SECRET: u64 = 16 << 20;

/// A kind of object.
struct Kind {
    name: &'static str,
    /// Parameters that must be given.
    required: &'static [&'static str],
    /// Parameters and their types, as the help lists them. A name that ends in `-` or `.` is a
    /// prefix.
    parameters: &'static [(&'static str, &'static str)],
}

const SECRET_FORMAT: (&str, &str) = ("format", "QCryptoSecretFormat");
const TLS_DIR: (&str, &str) = ("dir", "string");
const TLS_ENDPOINT: (&str, &str) = ("endpoint", "QCryptoTLSCredsEndpoint");
const TLS_PRIORITY: (&str, &str) = ("priority", "string");
const TLS_VERIFY: (&str, &str) = ("verify-peer", "bool");

/// Kinds that can be made.
const KINDS: &[Kind] = &[
    Kind {
        name: "authz-list",
        required: &[],
        parameters: &[("policy", "QAuthZListPolicy"), ("rules", "QAuthZListRule")],
    },
    Kind {
        name: "authz-list-file",
        required: &["filename"],
        parameters: &[("filename", "string"), ("refresh", "bool")],
    },
    Kind { name: "authz-simple", required: &["identity"], parameters: &[("identity", "string")] },
    Kind {
        name: "main-loop",
        required: &[],
        parameters: &[("aio-max-batch", "int"), ("thread-pool-max", "int"), ("thread-pool-min", "int")],
    },
    Kind { name: "pr-manager-helper", required: &["path"], parameters: &[("path", "string")] },
    Kind {
        name: "secret",
        required: &[],
        parameters: &[
            ("data", "string"),
            ("file", "string"),
            SECRET_FORMAT,
            ("iv", "string"),
            ("keyid", "string"),
        ],
    },
    Kind {
        name: "secret_keyring",
        required: &["serial"],
        parameters: &[SECRET_FORMAT, ("iv", "string"), ("keyid", "string"), ("serial", "int32_t")],
    },
    Kind {
        name: "thread-context",
        required: &[],
        parameters: &[("cpu-affinity", "int"), ("node-affinity", "int")],
    },
    Kind {
        name: "throttle-group",
        required: &[],
        parameters: &[("limits.", "ThrottleLimits"), ("x-", "int")],
    },
    Kind {
        name: "tls-creds-anon",
        required: &[],
        parameters: &[TLS_DIR, TLS_ENDPOINT, TLS_PRIORITY, TLS_VERIFY],
    },
    Kind {
        name: "tls-creds-psk",
        required: &[],
        parameters: &[TLS_DIR, TLS_ENDPOINT, TLS_PRIORITY, ("username", "string"), TLS_VERIFY],
    },
    Kind {
        name: "tls-creds-x509",
        required: &[],
        parameters: &[
            TLS_DIR,
            TLS_ENDPOINT,
            ("passwordid", "string"),
            TLS_PRIORITY,
            ("sanity-check", "bool"),
            TLS_VERIFY,
        ],
    },
];

/// Kinds that exist in a running QEMU, but not in an image tool.
const ELSEWHERE: &[&str] = &[
    "can-bus",
    "cryptodev-backend",
    "cryptodev-backend-builtin",
    "cryptodev-backend-lkcf",
    "iommufd",
    "iothread",
    "memory-backend-file",
    "memory-backend-memfd",
    "memory-backend-ram",
    "pef-guest",
    "rng-builtin",
    "rng-random",
    "s390-pv-guest",
    "tls-cipher-suites",
];

type Parameters = BTreeMap<Vec<u8>, Vec<u8>>;

impl Objects {
    /// What block options can refer to.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Checks and keeps the object that `definition` (`KIND,id=ID,...` or JSON) describes.
    pub(crate) fn define(&self, definition: &OsStr) -> Result<(), Failure> {
        let bytes = definition.as_bytes();
        if matches!(bytes, b"help" | b"?") {
            return Err(Failure::answer(kinds_help()));
        }
        let mut parameters = if bytes.starts_with(b"{") { from_json(bytes)? } else { from_keys(bytes)? };
        let Some(name) = parameters.remove(&b"qom-type"[..]) else {
            return Err(Failure::message("Parameter 'qom-type' is missing"));
        };
        let kind = find(&name)?;
        if parameters.remove(&b"help"[..]).is_some() {
            return Err(Failure::answer(parameters_help(kind)));
        }
        let Some(id) = parameters.remove(&b"id"[..]) else {
            return Err(Failure::message("Parameter 'id' is missing"));
        };
        kind.check(&parameters)?;
        check_id(&id)?;
        let other = kind.make_other(&parameters)?;
        let secret = if kind.name == "secret" { Some(self.read_secret(&parameters)?) } else { None };
        if self.secrets.contains(&id) {
            return Err(words(&[
                b"attempt to add duplicate property '",
                &id,
                b"' to object (type 'container')",
            ]));
        }
        match secret {
            Some(secret) => self.secrets.keep(&id, secret),
            None => self.secrets.keep_other(&id, other),
        }
        Ok(())
    }

    fn read_secret(&self, parameters: &Parameters) -> Result<Secret, Failure> {
        let get = |name: &str| parameters.get(name.as_bytes()).map(Vec::as_slice);
        let encoding = match get("format") {
            None | Some(b"raw") => Encoding::Raw,
            Some(b"base64") => Encoding::Base64,
            Some(other) => {
                return Err(words(&[b"Parameter 'format' does not accept value '", other, b"'"]));
            }
        };
        let bytes = match (get("data"), get("file")) {
            (None, None) => return Err(Failure::message("Either 'file' or 'data' must be provided")),
            (Some(_), Some(_)) => {
                return Err(Failure::message("'file' and 'data' are mutually exclusive"));
            }
            (Some(data), None) => Secret::new(data.to_vec()),
            (None, Some(file)) => read_file(file)?,
        };
        let encryption = get("keyid").map(|key| (key, get("iv")));
        self.secrets
            .decode(&SecretSource { bytes, encoding, encryption })
            .map_err(|error| Failure::message(error.to_string()))
    }
}

impl Kind {
    /// What an object is that is no secret. Of most nobody asks anything.
    fn make_other(&self, parameters: &Parameters) -> Result<Arc<dyn Any + Send + Sync>, Failure> {
        if self.name != "throttle-group" {
            return Ok(Arc::new(()));
        }
        let limits = Limits::new(parameters.iter().map(|(key, value)| (&key[..], &value[..])));
        let limits = limits.map_err(|error| Failure::message(error.to_string()))?;
        Ok(Arc::new(ThrottleGroup::new(limits)))
    }

    fn check(&self, parameters: &Parameters) -> Result<(), Failure> {
        if let Some(missing) = self.required.iter().find(|name| !parameters.contains_key(name.as_bytes())) {
            return Err(Failure::message(format!("Parameter '{missing}' is missing")));
        }
        let known = |given: &[u8]| {
            self.parameters.iter().any(|(name, _)| match name.ends_with(['-', '.']) {
                true => given.starts_with(name.as_bytes()),
                false => given == name.as_bytes(),
            })
        };
        match parameters.keys().find(|given| !known(given)) {
            None => Ok(()),
            Some(unknown) => match unknown.iter().position(|&byte| byte == b'.') {
                Some(dot) => Err(words(&[b"Parameters '", &unknown[..dot], b".*' are unexpected"])),
                None => Err(words(&[b"Parameter '", unknown, b"' is unexpected"])),
            },
        }
    }
}

fn find(name: &[u8]) -> Result<&'static Kind, Failure> {
    match KINDS.iter().find(|kind| kind.name.as_bytes() == name) {
        Some(kind) => Ok(kind),
        None if ELSEWHERE.iter().any(|other| other.as_bytes() == name) => {
            Err(words(&[b"invalid object type: ", name]))
        }
        None => Err(words(&[b"Parameter 'qom-type' does not accept value '", name, b"'"])),
    }
}

fn check_id(id: &[u8]) -> Result<(), Failure> {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    if id.first().is_some_and(u8::is_ascii_alphabetic) && id.iter().all(part) {
        return Ok(());
    }
    Err(Failure::message("Parameter 'id' expects an identifier")
        .with_hint("Identifiers consist of letters, digits, '-', '.', '_', starting with a letter."))
}

#[expect(clippy::disallowed_methods, reason = "a secret is no image: it is read once, and no lock is taken")]
fn read_file(file: &[u8]) -> Result<Secret, Failure> {
    let complain = |verb: &str, error: &std::io::Error| {
        let quoted = ["“".as_bytes(), file, "”: ".as_bytes()].concat();
        let reason = journal::reason(error);
        words(&[b"Unable to read ", file, b": ", verb.as_bytes(), b" ", &quoted, reason.as_bytes()])
    };
    let opened =
        File::open(OsStr::from_bytes(file)).map_err(|error| complain("Failed to open file", &error))?;
    let mut bytes = Vec::new();
    let read = opened.take(MAX_SECRET).read_to_end(&mut bytes);
    let secret = Secret::new(bytes);
    match read {
        Ok(_) => Ok(secret),
        Err(error) => Err(complain("Error reading file", &error)),
    }
}

/// `kind,key=value,...`, where `,,` in a value is a comma.
fn from_keys(bytes: &[u8]) -> Result<Parameters, Failure> {
    let mut parameters = Parameters::new();
    let mut rest = bytes;
    let mut first = true;
    while !rest.is_empty() {
        let (item, after) = split_item(rest);
        rest = after;
        let is_first = std::mem::take(&mut first);
        match item.iter().position(|&byte| byte == b'=') {
            Some(0) => return Err(Failure::message("Invalid parameter ''")),
            Some(at) => {
                parameters.insert(item[..at].to_vec(), item[at + 1..].to_vec());
            }
            None if item.is_empty() => return Err(Failure::message("Invalid parameter ''")),
            None if is_first => {
                parameters.insert(b"qom-type".to_vec(), item);
            }
            None if matches!(&item[..], b"help" | b"?") => {
                parameters.insert(b"help".to_vec(), Vec::new());
            }
            None => return Err(words(&[b"Expected '=' after parameter '", &item, b"'"])),
        }
    }
    Ok(parameters)
}

/// The text up to a comma, with `,,` undone once a `=` was seen, and what follows the comma.
fn split_item(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut item = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b',' {
            if !(item.contains(&b'=') && bytes.get(at + 1) == Some(&b',')) {
                return (item, &bytes[at + 1..]);
            }
            at += 1;
        }
        item.push(byte);
        at += 1;
    }
    (item, &[])
}

fn from_json(bytes: &[u8]) -> Result<Parameters, Failure> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| match error.is_eof() {
        true => Failure::message("JSON parse error, premature EOI"),
        false => Failure::message("JSON parse error, expecting value"),
    })?;
    let mut parameters = Parameters::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        if let Value::Object(members) = value {
            let member = |(name, value): (&String, &Value)| (format!("{key}.{name}"), plain(value));
            parameters
                .extend(members.iter().map(member).map(|(key, text)| (key.into_bytes(), text.into_bytes())));
            continue;
        }
        let text = match value {
            Value::String(text) => text.clone(),
            _ if key == "qom-type" || key == "id" => {
                return Err(Failure::message(format!(
                    "Invalid parameter type for '{key}', expected: string"
                )));
            }
            other => plain(other),
        };
        parameters.insert(key.clone().into_bytes(), text.into_bytes());
    }
    Ok(parameters)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn kinds_help() -> String {
    let names = KINDS.iter().map(|kind| format!("  {}\n", kind.name)).collect::<String>();
    format!("List of user creatable objects:\n{names}")
}

fn parameters_help(kind: &Kind) -> String {
    let parameters =
        kind.parameters.iter().map(|(name, of)| format!("  {name}=<{of}>\n")).collect::<String>();
    format!("{} options:\n{parameters}", kind.name)
}

fn words(parts: &[&[u8]]) -> Failure {
    Failure::message(OsString::from_vec(parts.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_checked_as_qemu_img_checks_them() {
        let cases = [
            ("secret,id=s,data=x", ""),
            ("secret,id=s_.-,data=a,,b", ""),
            ("secret,id=s,data=YSxi,format=base64", ""),
            ("secret,id=s,data=a,,b,format=base64", "Base64 data contains invalid characters"),
            ("qom-type=secret,id=s,data=x", ""),
            (r#"{"qom-type":"secret","id":"s","data":"x"}"#, ""),
            ("tls-creds-anon,id=t", ""),
            ("throttle-group,id=t,x-bps-read=3,limits.iops-total=4", ""),
            ("", "Parameter 'qom-type' is missing"),
            ("foo", "Parameter 'qom-type' does not accept value 'foo'"),
            ("iothread,id=i", "invalid object type: iothread"),
            ("secret", "Parameter 'id' is missing"),
            ("secret,id", "Expected '=' after parameter 'id'"),
            ("secret,,id=s", "Invalid parameter ''"),
            ("=x", "Invalid parameter ''"),
            ("secret,id=,data=x", "Parameter 'id' expects an identifier"),
            ("secret,id=1s,data=x", "Parameter 'id' expects an identifier"),
            ("secret,id=s", "Either 'file' or 'data' must be provided"),
            ("secret,id=s,data=x,file=y", "'file' and 'data' are mutually exclusive"),
            ("secret,id=s,data=x,foo=bar", "Parameter 'foo' is unexpected"),
            ("secret,id=s,data.x=3", "Parameters 'data.*' are unexpected"),
            ("secret,id=s,data=x,format=foo", "Parameter 'format' does not accept value 'foo'"),
            ("secret,id=s,data=x,keyid=k", "No secret with id 'k'"),
            (
                "secret,id=s,file=/nowhere/x",
                "Unable to read /nowhere/x: Failed to open file “/nowhere/x”: No such file or directory",
            ),
            ("authz-simple,id=a", "Parameter 'identity' is missing"),
            (r#"{"qom-type":"secret""#, "JSON parse error, premature EOI"),
        ];
        for (definition, complaint) in cases {
            let told = Objects::default().define(OsStr::new(definition)).err().map(|failure| failure.text());
            assert_eq!(told.unwrap_or_default(), complaint, "{definition}");
        }
    }

    #[test]
    fn an_id_is_used_once() {
        let objects = Objects::default();
        assert!(objects.define(OsStr::new("secret,id=a,data=x")).is_ok());
        assert!(objects.define(OsStr::new("secret,id=b,data=x")).is_ok());
        assert!(objects.define(OsStr::new("secret,id=a,data=x")).is_err());
    }
}
