//! Addresses that cannot be mistaken for one another.

use std::fmt;
use std::ops::{Add, Sub};

macro_rules! offset {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// The offset `bytes` further on, unless that overflows.
            pub fn checked_add(self, bytes: u64) -> Option<Self> {
                self.0.checked_add(bytes).map(Self)
            }

            /// Whether the offset is a multiple of `unit`, a power of two.
            pub fn is_aligned(self, unit: u64) -> bool {
                self.0 & (unit - 1) == 0
            }

            /// The offset rounded down to a multiple of `unit`, a power of two.
            pub fn align_down(self, unit: u64) -> Self {
                Self(self.0 & !(unit - 1))
            }
        }

        impl Add<u64> for $name {
            type Output = Self;
            fn add(self, bytes: u64) -> Self {
                Self(self.0 + bytes)
            }
        }

        impl Sub for $name {
            type Output = u64;
            fn sub(self, other: Self) -> u64 {
                self.0 - other.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

offset! {
    /// A byte offset in the virtual disk that a guest sees.
    GuestOffset
}
offset! {
    /// A byte offset in a file that holds (part of) an image.
    HostOffset
}
