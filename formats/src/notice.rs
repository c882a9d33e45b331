//! Things worth telling that stop nothing.
//!
//! A notice is a `tracing` event whose target is [`TARGET`], [`ERROR`] or [`WARNING`]; whoever runs the
//! program decides where it is shown. The command line prints them to standard error, one line
//! each, the warnings behind its name.

/// Target of notices that are shown as they are.
pub const TARGET: &str = "tximg::notice";
/// Target of notices that are shown as errors of the program, although it goes on.
pub const ERROR: &str = "tximg::error";
/// Target of notices that are shown as warnings of the program.
pub const WARNING: &str = "tximg::warning";

/// Tells a line as it is.
pub fn tell(line: &str) {
    tracing::warn!(target: TARGET, "{line}");
}

/// Tells a warning.
pub fn warn(line: &str) {
    tracing::warn!(target: WARNING, "{line}");
}

/// Tells of an error that ends nothing.
pub fn complain(line: &str) {
    tracing::warn!(target: ERROR, "{line}");
}
