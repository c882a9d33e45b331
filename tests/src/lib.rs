//! Oracles and builders.
