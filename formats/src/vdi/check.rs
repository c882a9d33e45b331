//! Whether a VDI image's table is consistent.

use super::Vdi;
use crate::paged_table::Bits;
use crate::{CheckReport, Finding, Result};

/// Looks at every entry, and counts.
pub(super) fn check(image: &Vdi, tell: &mut dyn FnMut(Finding)) -> Result<CheckReport> {
    let header = &image.header;
    let mut report = CheckReport::default();
    let mut found = |text: String| {
        report.corruptions += 1;
        tell(Finding::Line(text));
    };
    let mut used = Bits::new(header.blocks.into());
    let mut allocated = 0_u32;
    for guest_block in 0..u64::from(header.blocks) {
        let Some(block) = image.block(guest_block)? else { continue };
        if block >= header.blocks {
            found(format!("ERROR: block index {guest_block} too large, is {block}"));
            continue;
        }
        allocated += 1;
        if !used.insert(block.into()) {
            found(format!("ERROR: block index {block} also used by {block}"));
        }
    }
    if allocated != header.allocated {
        let counted = header.allocated;
        found(format!("ERROR: allocated blocks mismatch, is {allocated}, should be {counted}"));
    }
    Ok(report)
}
