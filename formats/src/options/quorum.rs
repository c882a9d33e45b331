//! What `quorum` can be told: which images there are, and how many of them have to agree.

use super::dict::{Dict, Scalar};
use super::driver::GenericOptions;
use super::node::NodeOptions;
use super::take;
use crate::{Error, Result};

/// A quorum of images.
#[derive(Debug, Clone, PartialEq)]
pub struct QuorumNode {
    /// The images, at least one.
    pub children: Vec<NodeOptions>,
    /// How it is decided what they say.
    pub voting: Voting,
    /// The options by which it is named, as they were spelled.
    pub spelled: Vec<(&'static str, Scalar)>,
    /// What every node is told.
    pub generic: GenericOptions,
    /// Options that the driver does not know.
    pub unknown: Dict,
}

/// How it is decided what the images say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voting {
    /// So many have to agree.
    pub threshold: usize,
    /// Who is asked.
    pub pattern: Pattern,
    /// Whether it is told where two images differ.
    pub verifies: bool,
    /// Whether those that disagree are written to.
    pub rewrites: bool,
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// All images.
    Vote,
    /// The first one that can be read.
    First,
}

/// The options of each image, in order.
pub(super) fn take_children(options: &mut Dict) -> Result<Vec<Dict>> {
    let mut entries = options.take_subtree("children");
    let mut children = Vec::new();
    loop {
        let child = super::node::take_child(&mut entries, &children.len().to_string());
        if child.is_empty() {
            break;
        }
        children.push(child);
    }
    if !entries.is_empty() {
        return Err(Error::invalid("Option children is not a valid array"));
    }
    if children.is_empty() {
        return Err(Error::invalid("Number of provided children must be 1 or more"));
    }
    Ok(children)
}

/// The options by which a quorum is named.
pub(super) const SPELLED: &[&str] = &["vote-threshold", "blkverify", "rewrite-corrupted", "read-pattern"];

impl Voting {
    /// Takes how so many images vote.
    pub(super) fn take(options: &mut Dict, children: usize) -> Result<Self> {
        let threshold = take::number(options, "vote-threshold")?.unwrap_or(0);
        let verifies = take::switch(options, "blkverify")? == Some(true);
        let rewrites = take::switch(options, "rewrite-corrupted")? == Some(true);
        // QEMU keeps the number in 32 bits with a sign.
        let threshold = usize::try_from(threshold as i32).unwrap_or(0);
        if threshold == 0 {
            return Err(Error::invalid("Parameter 'vote-threshold' expects a value >= 1"));
        }
        if threshold > children {
            return Err(Error::invalid("threshold may not exceed children count"));
        }
        let pattern = match options.take("read-pattern").and_then(|value| value.spelled()).as_deref() {
            None | Some("quorum") => Pattern::Vote,
            Some("fifo") => {
                return Ok(Self { threshold, pattern: Pattern::First, verifies: false, rewrites: false });
            }
            Some(_) => return Err(Error::invalid("Please set read-pattern as fifo or quorum")),
        };
        if verifies && (children, threshold) != (2, 2) {
            let text = "blkverify=on can only be set if there are exactly two files and vote-threshold is 2";
            return Err(Error::invalid(text));
        }
        if verifies && rewrites {
            return Err(Error::invalid("rewrite-corrupted=on cannot be used with blkverify=on"));
        }
        Ok(Self { threshold, pattern, verifies, rewrites })
    }
}
