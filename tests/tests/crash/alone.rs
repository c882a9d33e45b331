//! Each image of a change leads to the journal: whoever opens one of them alone finds all images old, or all new.

use std::path::Path;
use std::sync::Arc;

use journal::sim::Frozen;
use journal::{Fs, Recovery};

use crate::explore::{Explorer, Failure, Promise, reason};
use crate::meddle::is_journal;
use crate::place::Place;
use crate::scenario::Watched;

impl Explorer<'_> {
    /// Opens each image of the change alone, in a state that a power cut has left.
    pub fn meet_each(&mut self, left: &Frozen, place: &Place) -> Result<(), Failure> {
        if self.changed.len() < 2 || !left.names().any(is_journal) {
            return Ok(());
        }
        for image in self.changed.clone() {
            let fs = left.thaw();
            let met = image.meet(Arc::new(fs.clone()));
            met.map_err(|error| self.failure(Promise::Recoverable, place, reason(error)))?;
            let found = self.opinions(&fs.freeze());
            if found != self.old && found != self.new {
                let mut failure = self.torn(&found, place);
                failure.what = format!("whoever opens {} finds that {}", image.path, failure.what);
                return Err(failure);
            }
        }
        Ok(())
    }
}

impl Watched {
    /// Does what whoever opens this image does first.
    fn meet(&self, fs: Arc<dyn Fs>) -> journal::Result<()> {
        let recovery = Recovery::new(fs);
        recovery.recover(&recovery.journal_of(Path::new(&self.path))?).map(drop)
    }

    /// Whether the file is there in both trees, or in none, with the same bytes.
    pub fn is_same_in(&self, one: &Frozen, other: &Frozen) -> bool {
        let bytes = |tree: &Frozen| tree.thaw().bytes(Path::new(&self.path));
        bytes(one) == bytes(other)
    }
}
