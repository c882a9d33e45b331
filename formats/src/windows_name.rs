//! Names of files as Windows writes them into images.

/// Text in UTF-16, up to its first zero.
pub(crate) fn decode(units: impl Iterator<Item = u16>) -> String {
    let units = units.take_while(|&unit| unit != 0);
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// The same from bytes, the low one of each unit first.
pub(crate) fn decode_bytes(bytes: &[u8]) -> String {
    decode(bytes.chunks_exact(2).filter_map(|unit| unit.try_into().ok().map(u16::from_le_bytes)))
}

/// A relative name.
pub(crate) fn with_slashes(name: &str) -> String {
    let name = name.replace('\\', "/");
    name.strip_prefix("./").map(str::to_owned).unwrap_or(name)
}

/// The last part of an absolute name, which means nothing as a whole here.
pub(crate) fn base_name(name: &str) -> String {
    name.rsplit(['\\', '/']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_only_windows_understands() {
        assert_eq!(with_slashes(r".\base.vhd"), "base.vhd");
        assert_eq!(with_slashes(r"..\disks\base.vhd"), "../disks/base.vhd");
        assert_eq!(base_name(r"C:\disks\base.vhd"), "base.vhd");
        assert_eq!(base_name("base.vhd"), "base.vhd");
        assert_eq!(decode("base\0rest".encode_utf16()), "base");
        assert_eq!(decode_bytes(b"a\0b\0c"), "ab");
    }
}
