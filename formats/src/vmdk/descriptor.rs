//! The text that describes an image (Virtual Disk Format 1.1, "The Descriptor File").
//!
//! It is read as QEMU reads it: a field is what follows the first occurrence of its name.

use crate::raw::sectors;
use crate::{Error, Result};

/// Bytes of a descriptor in which identities and the parent are looked for.
pub(super) const LOOKED_AT: usize = 20 * 512;
/// More of it is not read.
const MAX_LEN: u64 = (1 << 20) - 1;
/// The longest name of a file in an extent's line.
const MAX_NAME: usize = 511;
/// The longest name of a parent.
const MAX_PARENT: usize = 1023;
/// The longest type of an image.
const MAX_TYPE: usize = 127;

/// A descriptor at a place of a file: it ends with the first NUL.
pub(super) fn read(disk: &dyn journal::Disk, at: u64) -> Result<Vec<u8>> {
    let len = sectors(disk.len()?);
    if len == 0 {
        return Err(Error::invalid("File is too small, not a valid image"));
    }
    let mut text = vec![0; len.min(MAX_LEN) as usize];
    disk.read_padded(at, &mut text)?;
    Ok(up_to_nul(text))
}

/// A text in a buffer of C's.
pub(super) fn up_to_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// What follows the first occurrence of a text.
fn after<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = text.windows(name.len()).position(|window| window == name)?;
    text.get(at + name.len()..)
}

/// The type of the image.
pub(super) fn create_type(text: &[u8]) -> Result<&[u8]> {
    quoted(text, b"createType", MAX_TYPE).ok_or_else(|| Error::invalid("invalid VMDK image descriptor"))
}

/// What stands between quotation marks behind a name and an equals sign.
fn quoted<'a>(text: &'a [u8], name: &[u8], longest: usize) -> Option<&'a [u8]> {
    let rest = after(text, name)?.get(2..)?;
    let end = rest.iter().position(|&byte| byte == b'"')?;
    rest.get(..end).filter(|value| value.len() <= longest)
}

/// An identity, `CID` or `parentCID`, in hexadecimal digits behind an equals sign.
pub(super) fn identity(text: &[u8], name: &[u8]) -> Option<u32> {
    let rest = after(text, name)?.get(1..)?.trim_ascii_start();
    let (is_negative, rest) = match rest.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, rest),
    };
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = match rest {
        [b'0', b'x' | b'X', hex @ ..] if digits(hex) > 0 => hex,
        rest => rest,
    };
    let number = std::str::from_utf8(rest.get(..digits(rest))?).ok()?;
    if number.is_empty() {
        return None;
    }
    let value = u64::from_str_radix(number, 16).unwrap_or(u64::MAX) as u32;
    Some(if is_negative { value.wrapping_neg() } else { value })
}

/// The name of the image behind this one, if the descriptor has one; an error where it does not end.
pub(super) fn parent(text: &[u8]) -> Result<Option<&[u8]>> {
    let name = b"parentFileNameHint";
    match (after(text, name), quoted(text, name, MAX_PARENT)) {
        (None, _) => Ok(None),
        (Some(_), Some(parent)) => Ok(Some(parent).filter(|name| !name.is_empty())),
        (Some(_), None) => Err(Error::invalid("Invalid argument")),
    }
}

/// Puts another identity behind its name.
pub(super) fn set_identity(text: &mut Vec<u8>, name: &[u8], value: u32) -> Option<()> {
    let rest = after(text, name)?.get(1..)?;
    let line = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
    let start = text.len() - rest.len();
    text.splice(start..start + line, format!("{value:x}").into_bytes());
    Some(())
}

/// Gives the extent of that number, counted from 0, another length in sectors.
pub(super) fn set_extent_length(text: &mut Vec<u8>, number: usize, sectors: u64) -> Option<()> {
    let mut behind = 0;
    let lines = text.split(|&byte| byte == b'\n').map(|line| {
        behind += line.len() + 1;
        (line, behind - 1)
    });
    let mut extents = lines.filter(|(line, _)| matches!(extent(line), Ok(Some(_))));
    let (line, end) = extents.nth(number)?;
    let (_, rest) = word(line)?;
    let start = end - rest.len();
    set_number(text, start, sectors)
}

/// Has the disk's geometry tell its size in bytes, if there is one.
pub(super) fn set_cylinders(text: &mut Vec<u8>, size: u64) -> Option<()> {
    let heads = geometry(text, b"ddb.geometry.heads")?.1;
    let sectors = geometry(text, b"ddb.geometry.sectors")?.1;
    let cylinder = heads.checked_mul(sectors)?.checked_mul(512).filter(|&bytes| bytes != 0)?;
    let (at, _) = geometry(text, b"ddb.geometry.cylinders")?;
    set_number(text, at, size / cylinder)
}

/// Where a part of the geometry stands, between quotation marks, and what it is.
fn geometry(text: &[u8], name: &[u8]) -> Option<(usize, u64)> {
    let rest = after(text, name)?;
    let line = rest.split(|&byte| byte == b'\n').next()?;
    let start = line.iter().position(|&byte| byte == b'"')? + 1;
    let (value, _) = number(line.get(start..)?)?;
    let value = u64::try_from(value).ok()?;
    Some((text.len() - rest.len() + start, value))
}

/// Puts another number in the place of the one that begins there, behind blanks.
fn set_number(text: &mut Vec<u8>, at: usize, value: u64) -> Option<()> {
    let rest = text.get(at..)?;
    let start = text.len() - rest.trim_ascii_start().len();
    let (_, behind) = number(rest)?;
    let end = text.len() - behind.len();
    text.splice(start..end, value.to_string().into_bytes());
    Some(())
}

/// How an extent lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExtentKind {
    /// As it is.
    Flat,
    /// In grains.
    Sparse,
    /// In grains, as ESXi 6.5 has them.
    SeSparse,
}

/// An extent as the descriptor names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExtentLine<'a> {
    /// How it lies in its file.
    pub(super) kind: ExtentKind,
    /// The same, as it is spelled.
    pub(super) spelled: &'a str,
    /// Its length in sectors.
    pub(super) sectors: u64,
    /// The name of the file.
    pub(super) name: &'a [u8],
    /// Where it starts in the file, in sectors.
    pub(super) offset: u64,
}

/// The extents, one a line: `RW 4192256 SPARSE "disk-s001.vmdk"`. Other lines are passed over.
pub(super) fn extents(text: &[u8]) -> Result<Vec<ExtentLine<'_>>> {
    let lines = text.split(|&byte| byte == b'\n');
    lines.filter_map(|line| extent(line).transpose()).collect()
}

fn extent(line: &[u8]) -> Result<Option<ExtentLine<'_>>> {
    let Some(fields) = Fields::parse(line) else { return Ok(None) };
    let invalid = || Error::invalid(format!("Invalid extent line: {}", String::from_utf8_lossy(line)));
    let offset = match (fields.kind, fields.offset) {
        ("FLAT", Some(offset)) => u64::try_from(offset).map_err(|_| invalid())?,
        ("FLAT", None) | (_, Some(_)) => return Err(invalid()),
        (_, None) => 0,
    };
    let kind = match fields.kind {
        "FLAT" | "VMFS" => ExtentKind::Flat,
        "SPARSE" | "VMFSSPARSE" => ExtentKind::Sparse,
        "SESPARSE" => ExtentKind::SeSparse,
        _ => return Ok(None),
    };
    let sectors = u64::try_from(fields.sectors).ok().filter(|&sectors| sectors > 0);
    let line = |sectors| ExtentLine { kind, spelled: fields.kind, sectors, name: fields.name, offset };
    Ok(sectors.map(line))
}

/// The fields of an extent's line.
struct Fields<'a> {
    sectors: i64,
    kind: &'a str,
    name: &'a [u8],
    offset: Option<i64>,
}

impl<'a> Fields<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let (access, rest) = word(line)?;
        let (sectors, rest) = number(rest)?;
        let (kind, rest) = word(rest)?;
        let rest = rest.trim_ascii_start().strip_prefix(b"\"")?;
        let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\r')).unwrap_or(rest.len());
        let (name, rest) = rest.split_at_checked(end.min(MAX_NAME))?;
        let offset = rest.strip_prefix(b"\"").and_then(number).map(|(offset, _)| offset);
        let is_extent = access == "RW" && !name.is_empty();
        is_extent.then_some(Self { sectors, kind, name, offset })
    }
}

/// The first word of a text, and the rest.
fn word(text: &[u8]) -> Option<(&str, &[u8])> {
    let text = text.trim_ascii_start();
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    Some((std::str::from_utf8(word).ok()?, rest)).filter(|(word, _)| !word.is_empty())
}

/// The number at the start of a text, and the rest.
fn number(text: &[u8]) -> Option<(i64, &[u8])> {
    let text = text.trim_ascii_start();
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let digits = text.get(sign..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(sign + digits)?;
    if digits == 0 {
        return None;
    }
    let number = std::str::from_utf8(number).ok()?;
    let beyond = if number.starts_with('-') { i64::MIN } else { i64::MAX };
    Some((number.parse().unwrap_or(beyond), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"# Disk DescriptorFile\nversion=1\nCID=123a567\nparentCID=ffffffff\n\
        createType=\"twoGbMaxExtentSparse\"\nparentFileNameHint=\"b.vmdk\"\n\n# Extent description\n\
        RW 4194304 SPARSE \"a-s001.vmdk\"\r\nRW 8 FLAT \"flat file\" 16\nRDONLY 8 ZERO\nNOACCESS 8 ZERO\n\
        RW 0 SPARSE \"none\"\n";

    #[test]
    fn fields_are_found() {
        assert_eq!(create_type(TEXT).unwrap(), b"twoGbMaxExtentSparse");
        assert_eq!((identity(TEXT, b"CID"), identity(TEXT, b"parentCID")), (Some(0x123a567), Some(u32::MAX)));
        assert_eq!(parent(TEXT).unwrap(), Some(&b"b.vmdk"[..]));
        assert_eq!(parent(b"CID=1").unwrap(), None);
        assert!(parent(b"parentFileNameHint=\"b").is_err());
        assert!(create_type(b"createType").is_err() && create_type(b"createType=\"x").is_err());
        assert_eq!((identity(b"CID", b"CID"), identity(b"CID=x", b"CID")), (None, None));
    }

    #[test]
    fn extents_are_found() {
        let found = extents(TEXT).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].kind, found[0].name, found[0].sectors),
            (ExtentKind::Sparse, &b"a-s001.vmdk"[..], 4194304)
        );
        assert_eq!(
            (found[1].kind, found[1].name, found[1].offset),
            (ExtentKind::Flat, &b"flat file"[..], 16)
        );
        for line in ["RW 8 FLAT \"x\"", "RW 8 FLAT \"x\" -1", "RW 8 SPARSE \"x\" 0", "RW 8 VMFS \"x\" 1"] {
            let error = extents(line.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), format!("Invalid extent line: {line}"));
        }
        for line in ["RW x FLAT \"x\" 1", "RW 8 FLAT x 1", "RW 8 ZERO \"x\"", "rw 8 FLAT \"x\" 1", "RW 8", ""]
        {
            assert_eq!(extents(line.as_bytes()).unwrap(), [], "{line}");
        }
    }

    #[test]
    fn a_length_is_replaced_alone() {
        let mut text = TEXT.to_vec();
        set_extent_length(&mut text, 1, 123_456).unwrap();
        let found = extents(&text).unwrap();
        assert_eq!((found[0].sectors, found[1].sectors, found[1].offset), (4_194_304, 123_456, 16));
        assert_eq!(text.len(), TEXT.len() + 5);
        assert_eq!(set_extent_length(&mut text, 2, 1), None);
    }

    #[test]
    fn the_geometry_follows_the_size() {
        let geometry =
            "ddb.geometry.cylinders = \"8\"\nddb.geometry.heads = \"16\"\nddb.geometry.sectors = \"63\"\n";
        let mut text = [TEXT, geometry.as_bytes()].concat();
        set_cylinders(&mut text, 16 * 63 * 512 * 1000 + 5).unwrap();
        let expected = geometry.replace("\"8\"", "\"1000\"");
        assert!(text.starts_with(TEXT) && text.ends_with(expected.as_bytes()));
        for wrong in ["heads = \"0\"", "heads = \"-1\"", "heads = \"x\"", "heads", ""] {
            let mut text = geometry.replace("heads = \"16\"", wrong).into_bytes();
            let before = text.clone();
            assert_eq!(set_cylinders(&mut text, 1 << 30), None);
            assert_eq!(text, before);
        }
    }

    #[test]
    fn an_identity_is_replaced_alone() {
        let mut text = TEXT.to_vec();
        set_identity(&mut text, b"CID", 0xabcd_ef01).unwrap();
        set_identity(&mut text, b"parentCID", 0x12).unwrap();
        assert_eq!((identity(&text, b"CID"), identity(&text, b"parentCID")), (Some(0xabcd_ef01), Some(0x12)));
        assert_eq!(text.len(), TEXT.len() + 1 - 6);
        assert_eq!(set_identity(&mut b"version=1".to_vec(), b"CID", 1), None);
    }
}
