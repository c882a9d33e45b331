//! What a LUKS header asks for ("LUKS1 On-Disk Format Specification", §2).

use super::concern::{Code, Concern};
use super::sample::Sample;

/// More iterations than this take minutes: somebody wants to keep a processor busy.
const MAX_ITERATIONS: u32 = 12_000_000;
/// `mk-digest-iter`: how often the master key is hashed.
const DIGEST: usize = 164;
/// Where the key slots begin, and how long each is.
const SLOTS: usize = 208;
const SLOT: usize = 48;
const ACTIVE: u32 = 0x00ac_71f3;

pub(super) fn concerns(sample: &Sample) -> Option<Concern> {
    let number = |at: usize| u32::from_be_bytes(sample.array(at));
    let slots = (0..8).map(|slot| SLOTS + slot * SLOT).filter(|&at| number(at) == ACTIVE);
    let most = slots.map(|at| number(at + 4)).chain([number(DIGEST)]).max()?;
    let detail = format!("A key takes {most} iterations, and at most {MAX_ITERATIONS} are wanted");
    (most > MAX_ITERATIONS).then(|| Concern::new(Code::LuksIterations, detail))
}
