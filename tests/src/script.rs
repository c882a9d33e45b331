//! The little language in which image shapes are written.
//!
//! One step a line:
//!
//! | step | does |
//! |---|---|
//! | `img ARGS…` | runs `qemu-img` |
//! | `io ARGS… \| CMD \| CMD…` | runs `qemu-io` with these commands |
//! | `sparse NAME SIZE` | makes a file of that length without data |
//! | `noise NAME SIZE SEED` | makes a file of bytes that do not compress |
//! | `prose NAME SIZE SEED` | makes a file of bytes that compress about 3:1 |
//! | `text NAME BYTES` | makes a file of exactly these bytes |
//! | `bochs NAME`, `cloop NAME`, `dmg NAME properties\|resources` | makes such an image, see [`crate::foreign`] |
//! | `parallels-bitmaps NAME ODDITY` | adds dirty bitmaps to a Parallels image, see [`crate::parallels`] |
//! | `vmdk NAME cowd\|sesparse\|stream`, `vmdk NAME TYPE LINE…` | makes such a file, or a descriptor, see [`crate::vmdk`] |
//! | `append NAME BYTES` | adds these bytes to a file |
//! | `poke NAME PLACE OP VALUE` | changes a field of a qcow2 file, see [`crate::qcow2`] |
//! | `seal NAME AT LEN` | makes the checksum of a VHDX structure anew |
//! | `cut NAME SIZE` | cuts a file, or grows it by a hole |
//! | `own NAME` | puts a copy in the place of a link to a file |
//! | `dir NAME`, `remove NAME`, `move NAME NAME`, `link NAME TARGET`, `mode NAME OCTAL` | what they say |

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use crate::foreign::{self, ListIn};
use crate::oracle::oracle;
use crate::parallels::{Oddity, with_bitmaps};
use crate::qcow2::Patient;
use crate::run::Run;
use crate::{mutate, vmdk, words};

/// Runs a script in a directory.
///
/// # Panics
///
/// If a step fails: a shape that cannot be built tests nothing.
pub fn run(script: &str, dir: &Path) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        step(line, dir);
    }
}

fn step(line: &str, dir: &Path) {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "img" => tool(&oracle().img, words::split(rest), dir, line),
        "io" => {
            let mut parts = rest.split('|');
            let mut args = words::split(parts.next().unwrap_or_default());
            let file = args.pop();
            for command in parts {
                args.extend([OsString::from("-c"), OsString::from(command.trim())]);
            }
            args.extend(file);
            tool(&oracle().io, args, dir, line);
        }
        _ => local(verb, &words::split(rest), dir).unwrap_or_else(|error| panic!("{line}: {error}")),
    }
}

fn tool(program: &Path, args: Vec<OsString>, dir: &Path, line: &str) {
    let outcome = Run::new(program, dir).args(args).run();
    assert!(outcome.success(), "{line}\n{}: {}{}", outcome.status_text(), outcome.out(), outcome.err());
}

fn local(verb: &str, args: &[OsString], dir: &Path) -> std::io::Result<()> {
    let text = |n: usize| args.get(n).map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default();
    let path = dir.join(args.first().map_or(OsStr::new(""), |arg| arg));
    match verb {
        "sparse" | "cut" => {
            File::options().create(true).truncate(false).write(true).open(path)?.set_len(size(&text(1)))
        }
        "noise" => fs::write(path, noise(size(&text(1)), size(&text(2)))),
        "prose" => fs::write(path, prose(size(&text(1)), size(&text(2)))),
        "text" => fs::write(path, args[1].as_bytes()),
        "bochs" => fs::write(path, foreign::bochs()),
        "cloop" => fs::write(path, foreign::cloop()),
        "dmg" => {
            let list = if text(1) == "resources" { ListIn::Resources } else { ListIn::Properties };
            fs::write(path, foreign::dmg(list, &foreign::usual_chunks()))
        }
        "parallels-bitmaps" => {
            let oddity = Oddity::from_name(&text(1)).expect("the oddity has a name");
            fs::write(&path, with_bitmaps(fs::read(&path)?, oddity))
        }
        "vmdk" if args.len() == 2 => fs::write(path, vmdk::file(&text(1))),
        "vmdk" => {
            let lines: Vec<String> = (2..args.len()).map(text).collect();
            fs::write(path, vmdk::descriptor(&text(1), &lines))
        }
        "append" => File::options().append(true).open(path)?.write_all(args[1].as_bytes()),
        "poke" => {
            Patient::open(&path).poke(&text(1), &text(2), &text(3));
            Ok(())
        }
        "seal" => seal(&path, size(&text(1)), size(&text(2))),
        "own" => {
            let bytes = fs::read(&path)?;
            fs::remove_file(&path)?;
            fs::write(path, bytes)
        }
        "dir" => fs::create_dir_all(path),
        "move" => fs::rename(&path, dir.join(&args[1])),
        "remove" => fs::remove_file(path),
        "link" => symlink(&args[1], path),
        "mode" => {
            let mode = u32::from_str_radix(&text(1), 8).expect("a mode is octal");
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
        }
        _ => panic!("no such step: {verb}"),
    }
}

/// Makes the checksum of a VHDX structure anew: CRC-32C in its second word, which counts as zero.
fn seal(path: &Path, at: u64, len: u64) -> std::io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, at)?;
    mutate::seal(&mut bytes, 0..len as usize);
    file.write_all_at(&bytes[4..8], at + 4)
}

/// A number with an optional binary suffix.
pub fn size(text: &str) -> u64 {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'k')) => (&text[..at], 10),
        Some((at, 'M')) => (&text[..at], 20),
        Some((at, 'G')) => (&text[..at], 30),
        Some((at, 'T')) => (&text[..at], 40),
        _ => (text, 0),
    };
    digits.parse::<u64>().unwrap_or_else(|_| panic!("no size: {text}")) << shift
}

/// Deterministic bytes that do not compress.
pub fn noise(len: u64, seed: u64) -> Vec<u8> {
    let mut state = Xorshift::new(seed);
    let mut bytes = Vec::with_capacity(len as usize + 8);
    while (bytes.len() as u64) < len {
        bytes.extend(state.next().to_le_bytes());
    }
    bytes.truncate(len as usize);
    bytes
}

/// Deterministic bytes that compress about as text does, with a few runs of zeroes.
pub fn prose(len: u64, seed: u64) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "disk ",
        "image ",
        "cluster ",
        "offset ",
        "table ",
        "zero ",
        "backing ",
        "refcount ",
        "snapshot ",
        "bitmap ",
        "header ",
        "guest ",
        "host ",
        "entry ",
        "block ",
        "sector\n",
    ];
    let mut state = Xorshift::new(seed);
    let mut bytes = Vec::with_capacity(len as usize + 4096);
    while (bytes.len() as u64) < len {
        let roll = state.next();
        if roll.is_multiple_of(4096) {
            bytes.resize(bytes.len() + 4096, 0);
        } else {
            bytes.extend_from_slice(WORDS[(roll >> 20) as usize % WORDS.len()].as_bytes());
            bytes.push(b'0' + (roll >> 40) as u8 % 10);
        }
    }
    bytes.truncate(len as usize);
    bytes
}

/// A small generator of numbers, the same on every machine.
#[derive(Debug, Clone)]
pub struct Xorshift(u64);

impl Xorshift {
    /// A generator; equal seeds give equal numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    #[allow(clippy::should_implement_trait, reason = "the sequence has no end")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}
