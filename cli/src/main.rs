//! The tximg command.
fn main() {}
