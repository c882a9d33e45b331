//! Files that survive.
