//! The names of the image formats.

use std::fmt;

/// An image format, whether tximg has a driver for it or not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// The guest's bytes as they are.
    Raw,
    /// QEMU copy-on-write, versions 2 and 3.
    Qcow2,
    /// QEMU copy-on-write, version 1.
    Qcow,
    /// QEMU enhanced disk.
    Qed,
    /// VMware.
    Vmdk,
    /// VirtualBox.
    Vdi,
    /// Virtual PC, VHD.
    Vpc,
    /// Hyper-V.
    Vhdx,
    /// Parallels.
    Parallels,
    /// A bundle of Parallels images, which QEMU does not know.
    PrlXml,
    /// Linux unified key setup.
    Luks,
    /// Bochs growing.
    Bochs,
    /// Compressed loop.
    Cloop,
    /// macOS disk image.
    Dmg,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 14] = [
        Self::Raw,
        Self::Qcow2,
        Self::Qcow,
        Self::Qed,
        Self::Vmdk,
        Self::Vdi,
        Self::Vpc,
        Self::Vhdx,
        Self::Parallels,
        Self::PrlXml,
        Self::Luks,
        Self::Bochs,
        // Before cloop: what is like both is taken for this.
        Self::Dmg,
        Self::Cloop,
    ];

    /// The name as it is typed and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Qcow => "qcow",
            Self::Qed => "qed",
            Self::Vmdk => "vmdk",
            Self::Vdi => "vdi",
            Self::Vpc => "vpc",
            Self::Vhdx => "vhdx",
            Self::Parallels => "parallels",
            Self::PrlXml => "prl-xml",
            Self::Luks => "luks",
            Self::Bochs => "bochs",
            Self::Cloop => "cloop",
            Self::Dmg => "dmg",
        }
    }

    /// Whether images of the format stand on others as a matter of course: then one can be put behind
    /// them that they do not name.
    pub fn bears_backing(self) -> bool {
        matches!(self, Self::Qcow2 | Self::Qcow | Self::Qed | Self::Vmdk | Self::Parallels)
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
