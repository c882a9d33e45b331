//! The ends of images, as strict comparison sees them.

use formats::Image;

use super::Run;

/// Where the last run of an image may begin.
///
/// In qemu-img's strict comparison a run that ends with its image differs from one that does not,
/// and a run never goes beyond what one cached piece of an L2 table describes. Two images of one
/// size and content may so differ by their cluster sizes alone; whoever asks for that comparison
/// is told the same here.
#[derive(Debug)]
pub(super) struct Tail {
    /// For each layer, from the top: where its last piece of an L2 table begins.
    layers: Vec<u64>,
}

/// The largest piece of an L2 table that is cached.
const L2_PIECE: u64 = 64 << 10;

impl Tail {
    pub(super) fn of(image: &Image) -> Self {
        let end = image.virtual_size();
        let chain = std::iter::successors(Some(image), |layer| layer.backing().map(|next| &**next));
        Self { layers: chain.map(|layer| last_piece(layer, end)).collect() }
    }

    pub(super) fn apply(&self, run: &mut Run, at: u64, depth: u32, image_end: u64) {
        if run.end < image_end {
            return;
        }
        let begins = self.layers.iter().take(depth as usize + 1).copied().max().unwrap_or(0);
        if at < begins {
            run.end = begins;
        } else {
            run.kind.last = true;
        }
    }
}

fn last_piece(layer: &Image, end: u64) -> u64 {
    let Some(piece) = layer.driver().details().ok().and_then(|details| {
        let extended = details.specific.as_ref().is_some_and(|it| it["data"]["extended-l2"] == true);
        let entry = if extended { 16 } else { 8 };
        details.cluster_size.map(|size| size.min(L2_PIECE) / entry * size)
    }) else {
        return 0;
    };
    end.saturating_sub(1) / piece.max(1) * piece
}
