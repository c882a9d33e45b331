//! The options that each format takes when an image of it is made.

use crate::{Error, Format, Result};

/// What an option's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// `on` or `off`.
    Flag,
    /// A number.
    Number,
    /// A size with a suffix.
    Size,
}

impl OptionKind {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "str",
            Self::Flag => "bool (on/off)",
            Self::Number => "num",
            Self::Size => "size",
        }
    }
}

/// An option.
#[derive(Debug, PartialEq, Eq)]
pub struct OptionSpec {
    /// What it is called in a list.
    pub name: &'static str,
    /// What its value is.
    pub kind: OptionKind,
    /// What it does.
    pub help: &'static str,
    /// The value if it is not given, if that is to be told.
    pub default: Option<&'static str>,
}

const fn text(name: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, kind: OptionKind::Text, help, default: None }
}

const fn flag(name: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, kind: OptionKind::Flag, help, default: None }
}

const fn number(name: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, kind: OptionKind::Number, help, default: None }
}

const fn size(name: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, kind: OptionKind::Size, help, default: None }
}

impl OptionSpec {
    const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }
}

const SIZE: OptionSpec = size("size", "Virtual disk size");
const BACKING_FILE: OptionSpec = text("backing_file", "File name of a base image");
const BACKING_FORMAT: OptionSpec = text("backing_fmt", "Image format of the base image");
const COMPATIBILITY: OptionSpec = text("compat", "Compatibility level (v2 [0.10] or v3 [1.1])");
const DATA_FILE: OptionSpec = text("data_file", "File name of an external data file");
const DATA_FILE_RAW: OptionSpec =
    flag("data_file_raw", "The external data file must stay valid as a raw image");
const KEY_SECRET_QCOW: OptionSpec =
    text("encrypt.key-secret", "ID of the secret that provides the AES encryption key");
const ENCRYPTION: OptionSpec =
    flag("encryption", "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)");

/// What a regular file takes, whatever is stored in it.
pub(super) const FILE: &[OptionSpec] = &[
    SIZE,
    flag("nocow", "Turn off copy-on-write (valid only on btrfs)"),
    text("preallocation", "Preallocation mode (allowed values: off, falloc, full)"),
    size("extent_size_hint", "Extent size hint for the image file, 0 to disable"),
];

const RAW: &[OptionSpec] = &[SIZE];

const QCOW2: &[OptionSpec] = &[
    ENCRYPTION,
    text("encrypt.format", "Encrypt the image, format choices: 'aes', 'luks'"),
    text("encrypt.key-secret", "ID of secret providing qcow AES key or LUKS passphrase"),
    text("encrypt.cipher-alg", "Name of encryption cipher algorithm"),
    text("encrypt.cipher-mode", "Name of encryption cipher mode"),
    text("encrypt.ivgen-alg", "Name of IV generator algorithm"),
    text("encrypt.ivgen-hash-alg", "Name of IV generator hash algorithm"),
    text("encrypt.hash-alg", "Name of encryption hash algorithm"),
    number("encrypt.iter-time", "Time to spend in PBKDF in milliseconds"),
    size("cluster_size", "qcow2 cluster size").or("65536"),
    flag("extended_l2", "Extended L2 tables").or("off"),
    text("preallocation", "Preallocation mode (allowed values: off, metadata, falloc, full)"),
    text("compression_type", "Compression method used for image cluster compression").or("zlib"),
    SIZE,
    COMPATIBILITY,
    BACKING_FILE,
    BACKING_FORMAT,
    DATA_FILE,
    DATA_FILE_RAW,
    flag("lazy_refcounts", "Postpone refcount updates").or("off"),
    number("refcount_bits", "Width of a reference count entry in bits").or("16"),
];

/// What can be changed of an existing image.
const QCOW2_AMEND: &[OptionSpec] = &[
    text("encrypt.state", "Select new state of affected keyslots (active/inactive)"),
    number("encrypt.keyslot", "Select a single keyslot to modify explicitly"),
    text("encrypt.old-secret", "Select all keyslots that match this password"),
    text("encrypt.new-secret", "New secret to set in the matching keyslots. Empty string to erase"),
    number("encrypt.iter-time", "Time to spend in PBKDF in milliseconds"),
    SIZE,
    COMPATIBILITY,
    BACKING_FILE,
    BACKING_FORMAT,
    DATA_FILE,
    DATA_FILE_RAW,
    flag("lazy_refcounts", "Postpone refcount updates"),
    number("refcount_bits", "Width of a reference count entry in bits"),
];

const LUKS_AMEND: &[OptionSpec] = &[
    text("state", "Select new state of affected keyslots (active/inactive)"),
    number("keyslot", "Select a single keyslot to modify explicitly"),
    text("old-secret", "Select all keyslots that match this password"),
    text("new-secret", "New secret to set in the matching keyslots. Empty string to erase"),
    number("iter-time", "Time to spend in PBKDF in milliseconds"),
];

const QCOW: &[OptionSpec] = &[
    SIZE,
    BACKING_FILE,
    text("backing_fmt", "Format of the backing image"),
    ENCRYPTION,
    text("encrypt.format", "Encrypt the image, format choices: 'aes'"),
    KEY_SECRET_QCOW,
];

const QED: &[OptionSpec] = &[
    SIZE,
    BACKING_FILE,
    BACKING_FORMAT,
    size("cluster_size", "Cluster size (in bytes)").or("65536"),
    size("table_size", "L1/L2 table size (in clusters)"),
];

const VMDK: &[OptionSpec] = &[
    SIZE,
    text(
        "adapter_type",
        "Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX",
    ),
    BACKING_FILE,
    text("backing_fmt", "Must be 'vmdk' if present"),
    flag("compat6", "VMDK version 6 image").or("off"),
    text("hwversion", "VMDK hardware version").or("undefined"),
    text("toolsversion", "VMware guest tools version"),
    text(
        "subformat",
        "VMDK flat extent format, can be one of {monolithicSparse (default) | monolithicFlat | twoGbMaxExtentSparse | twoGbMaxExtentFlat | streamOptimized} ",
    ),
    flag("zeroed_grain", "Enable efficient zero writes using the zeroed-grain GTE feature"),
];

const VDI: &[OptionSpec] = &[SIZE, flag("static", "VDI static (pre-allocated) image").or("off")];

const VHDX: &[OptionSpec] = &[
    size("size", "Virtual disk size; max of 64TB."),
    size("log_size", "Log size; min 1MB.").or("1048576"),
    size("block_size", "Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size.").or("0"),
    text("subformat", "VHDX format type, can be either 'dynamic' or 'fixed'. Default is 'dynamic'."),
    flag(
        "block_state_zero",
        "Force use of payload blocks of type 'ZERO'. Non-standard, but default.  Do not set to 'off' when using 'qemu-img convert' with subformat=dynamic.",
    ),
];

const VPC: &[OptionSpec] = &[
    SIZE,
    text("subformat", "Type of virtual hard disk format. Supported formats are {dynamic (default) | fixed} "),
    flag(
        "force_size",
        "Force disk size calculation to use the actual size specified, rather than using the nearest CHS-based calculation",
    ),
];

/// What tximg takes besides.
const OWN_VHDX: &[OptionSpec] =
    &[size("physical_sector_size", "Physical sector size: 512 or 4096").or("512")];
const OWN_VPC: &[OptionSpec] = &[flag(
    "align_mib",
    "Round the size up to a whole MiB, and tell just that size, as Azure wants it; implies force_size",
)];

const PARALLELS: &[OptionSpec] = &[SIZE, size("cluster_size", "Parallels image cluster size").or("1048576")];

const LUKS: &[OptionSpec] = &[
    SIZE,
    text("key-secret", "ID of the secret that provides the keyslot passphrase"),
    text("cipher-alg", "Name of encryption cipher algorithm"),
    text("cipher-mode", "Name of encryption cipher mode"),
    text("ivgen-alg", "Name of IV generator algorithm"),
    text("ivgen-hash-alg", "Name of IV generator hash algorithm"),
    text("hash-alg", "Name of encryption hash algorithm"),
    number("iter-time", "Time to spend in PBKDF in milliseconds"),
    flag("detached-header", "Create a detached LUKS header"),
];

/// The options of one kind of image, those of the file it is in among them.
#[derive(Debug, Clone)]
pub struct OptionTable {
    format: Format,
    specs: Vec<&'static OptionSpec>,
}

/// Drivers that open images or files but make none.
const WITHOUT_CREATION: [&str; 16] = [
    "bochs",
    "cloop",
    "dmg",
    "prl-xml",
    "blkdebug",
    "blklogwrites",
    "blkreplay",
    "blkverify",
    "compress",
    "copy-on-read",
    "null-aio",
    "null-co",
    "preallocate",
    "quorum",
    "throttle",
    "vvfat",
];

/// The format of that name, if images of it can be made at all.
pub fn creatable(name: &str) -> Result<Format> {
    match Format::from_name(name) {
        _ if WITHOUT_CREATION.contains(&name) => {
            Err(Error::unsupported(format!("Format driver '{name}' does not support image creation")))
        }
        Some(format) => Ok(format),
        // What a file is without any format.
        None if name == "file" => Ok(Format::Raw),
        None => Err(Error::new(crate::ErrorKind::NotFound, format!("Unknown file format '{name}'"))),
    }
}

impl OptionTable {
    /// The options of a format alone.
    pub fn of_format(format: Format) -> Self {
        let specs = match format {
            Format::Raw => RAW,
            Format::Qcow2 => QCOW2,
            Format::Qcow => QCOW,
            Format::Qed => QED,
            Format::Vmdk => VMDK,
            Format::Vdi => VDI,
            Format::Vpc => VPC,
            Format::Vhdx => VHDX,
            Format::Parallels => PARALLELS,
            Format::Luks => LUKS,
            Format::Bochs | Format::Cloop | Format::Dmg | Format::PrlXml => &[],
        };
        Self { format, specs: specs.iter().collect() }
    }

    /// The options of a format in a file: what both know is the format's.
    pub fn for_file(format: Format) -> Self {
        let mut table = Self::of_format(format);
        for spec in FILE {
            if table.find(spec.name).is_none() {
                table.specs.push(spec);
            }
        }
        table
    }

    /// What can be changed of an existing image, if the format has such options.
    pub fn for_amending(format: Format) -> Option<Self> {
        let specs = match format {
            Format::Qcow2 => QCOW2_AMEND,
            Format::Luks => LUKS_AMEND,
            _ => return None,
        };
        Some(Self { format, specs: specs.iter().collect() })
    }

    /// These options and those of a new image.
    pub fn with_creation(mut self) -> Self {
        for spec in Self::of_format(self.format).specs {
            if self.find(spec.name).is_none() {
                self.specs.push(spec);
            }
        }
        self
    }

    /// Admits a backing file of the same format where that is all that there can be: a differencing disk's
    /// parent. The options stand in no list.
    pub(super) fn admit_parent(&mut self) {
        if matches!(self.format, Format::Vhdx | Format::Vpc) && self.find(BACKING_FILE.name).is_none() {
            self.specs.extend([&BACKING_FILE, &BACKING_FORMAT]);
        }
    }

    /// The options of the format that QEMU does not have, and that stand in none of its lists.
    pub fn own(&self) -> Self {
        let specs = match self.format {
            Format::Vhdx => OWN_VHDX,
            Format::Vpc => OWN_VPC,
            _ => &[],
        };
        Self { format: self.format, specs: specs.iter().collect() }
    }

    /// Admits one of them.
    pub(super) fn admit_own(&mut self, name: &str) {
        if self.find(name).is_none() {
            self.specs.extend(self.own().find(name));
        }
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The option of that name.
    pub fn find(&self, name: &str) -> Option<&'static OptionSpec> {
        self.specs.iter().find(|spec| spec.name == name).copied()
    }

    /// The options in the order in which they are told.
    pub fn specs(&self) -> &[&'static OptionSpec] {
        &self.specs
    }

    /// A line of help for each option, by name.
    pub fn help(&self) -> Vec<String> {
        let mut specs = self.specs.clone();
        specs.sort_unstable_by_key(|spec| spec.name);
        let line = |spec: &&OptionSpec| {
            let syntax = format!("{}=<{}>", spec.name, spec.kind.name());
            format!("  {syntax:<22} - {}", spec.help)
        };
        specs.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_sorted_and_aligned() {
        let help = OptionTable::for_file(Format::Raw).help();
        assert_eq!(help[0], "  extent_size_hint=<size> - Extent size hint for the image file, 0 to disable");
        assert_eq!(help[3], "  size=<size>            - Virtual disk size");
        let qcow2 = OptionTable::for_file(Format::Qcow2);
        assert_eq!(qcow2.specs().len(), 23);
        let preallocation = qcow2.find("preallocation").map(|spec| spec.help);
        assert_eq!(preallocation, Some("Preallocation mode (allowed values: off, metadata, falloc, full)"));
    }

    #[test]
    fn options_of_tximg_stand_in_no_list_of_qemu() {
        for (format, option) in [(Format::Vhdx, "physical_sector_size"), (Format::Vpc, "align_mib")] {
            let mut table = OptionTable::for_file(format);
            assert!(table.find(option).is_none() && table.own().find(option).is_some());
            table.admit_own("subformat");
            table.admit_own(option);
            assert!(table.find(option).is_some());
        }
        assert!(OptionTable::of_format(Format::Qcow2).own().specs().is_empty());
    }

    #[test]
    fn formats_that_cannot_be_made() {
        let error = |name| creatable(name).unwrap_err().report();
        assert_eq!(error("bochs"), "Format driver 'bochs' does not support image creation");
        assert_eq!(error("foo"), "Unknown file format 'foo'");
        assert_eq!(creatable("file").unwrap(), Format::Raw);
    }
}
