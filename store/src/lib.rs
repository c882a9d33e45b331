//! Operations on images.
