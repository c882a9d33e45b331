//! The names the program goes by, and its voice on standard error.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use formats::shown::printed;

use crate::command::Dialect;

/// Version of qemu-img whose interface is kept.
pub(crate) const INTERFACE_VERSION: &str = "10.0.2";

/// How the program was started.
#[derive(Debug)]
pub(crate) struct Program {
    /// Argument zero as given, perhaps followed by a command's name: how the C library's option
    /// parser names a program.
    invoked: OsString,
    name: &'static str,
}

impl Program {
    /// The program as started through `argument_zero`.
    pub(crate) fn new(argument_zero: Option<OsString>) -> Self {
        let invoked = argument_zero.unwrap_or_else(|| OsString::from("tximg"));
        let name = match Path::new(&invoked).file_name() {
            Some(name) if name == "qemu-img" => "qemu-img",
            _ => "tximg",
        };
        Self { invoked, name }
    }

    /// The same program, running a command.
    pub(crate) fn command(&self, command: &str) -> Self {
        let mut invoked = self.invoked.clone();
        invoked.push(" ");
        invoked.push(command);
        Self { invoked, name: self.name }
    }

    /// `qemu-img` if started under that name, else `tximg`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it was started as `qemu-img`, whose contract then holds to the letter.
    pub(crate) fn is_stock(&self) -> bool {
        self.name == "qemu-img"
    }

    /// Whose command line it understands.
    pub(crate) fn dialect(&self) -> Dialect {
        if self.is_stock() { Dialect::Stock } else { Dialect::Own }
    }

    /// Prints `<name>: <message>` on standard error.
    pub(crate) fn complain(&self, message: &[u8]) {
        stderr_line(&[self.name.as_bytes(), b": ", message].concat());
    }

    /// Prints `<argument zero>: <message>` on standard error.
    pub(crate) fn complain_as_invoked(&self, message: &[u8]) {
        stderr_line(&[self.invoked.as_bytes(), b": ", message].concat());
    }

    /// Points to the help.
    pub(crate) fn point_to_help(&self) {
        stderr_line(&[b"Try '", self.invoked.as_bytes(), b" --help' for more info"].concat());
    }

    /// The first line of `--version`, and the rest.
    ///
    /// Under qemu-img's name the first line is of the shape scripts take apart: the third word is
    /// the version of the interface. What program this really is follows in brackets.
    pub(crate) fn version(&self) -> String {
        let own = env!("CARGO_PKG_VERSION");
        if self.is_stock() {
            format!(
                "qemu-img version {INTERFACE_VERSION} (tximg {own})\ntximg {own}, compatible with qemu-img {INTERFACE_VERSION}\n"
            )
        } else {
            format!("tximg version {own}\nCompatible with qemu-img {INTERFACE_VERSION}\n")
        }
    }
}

/// One line in one write, so that lines of several processes do not mix. A standard error that
/// cannot be written has nobody left to tell.
pub(crate) fn stderr_line(line: &[u8]) {
    let _ = std::io::stderr().write_all(&[&printed(line)[..], b"\n"].concat());
}
