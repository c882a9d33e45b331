//! Things worth telling that stop nothing.
//!
//! A notice is a `tracing` event whose target is [`TARGET`] or [`WARNING`]; whoever runs the
//! program decides where it is shown. The command line prints them to standard error, one line
//! each, the warnings behind its name.

/// Target of notices that are shown as they are.
pub const TARGET: &str = "tximg::notice";
/// Target of notices that are shown as warnings of the program.
pub const WARNING: &str = "tximg::warning";

/// Tells a line as it is.
pub(crate) fn tell(line: &str) {
    tracing::warn!(target: TARGET, "{line}");
}

/// Tells a warning.
pub(crate) fn warn(line: &str) {
    tracing::warn!(target: WARNING, "{line}");
}
