//! Whether recovery leaves alone what somebody else has made since the crash.

use std::path::Path;
use std::sync::Arc;

use journal::sim::Frozen;
use journal::{ErrorKind, Fs, SimFs};

use crate::broken::{BrokenFs, Rule};
use crate::explore::{Ended, Explorer, Failure, Promise, Side, describe, reason};
use crate::meddle::{Meddling, elsewhere, files, is_journal};
use crate::place::Place;

impl Explorer<'_> {
    /// What is done next to which image: each in turn.
    pub fn next_meddling(&self) -> (Meddling, usize) {
        let turn = self.tally.meddled;
        (Meddling::ALL[turn % Meddling::ALL.len()].1, turn / Meddling::ALL.len() % self.scenario.images.len())
    }

    /// Somebody does something to what a crash left, and then it is recovered.
    pub fn meddle(&mut self, tree: &Frozen, place: &Place, side: Side) -> Result<(), Failure> {
        let Some((kind, index)) = place.meddled else { return Ok(()) };
        let Some(image) = self.scenario.images.get(index) else { return Ok(()) };
        // Of the other formats a change may be one sector, which is old or new by itself, and a file may have room that is
        // given back: what becomes of those is not told apart here.
        if !tree.names().any(is_journal) || !matches!(image.format, "raw" | "qcow2") {
            return Ok(());
        }
        // Nobody writes to what he cannot read.
        let writes = matches!(kind, Meddling::Written | Meddling::WrittenInPlace);
        let fs = tree.thaw();
        let is_readable = matches!(self.opinions(tree)[index], Some(Ok(_)));
        self.tally.meddled += 1;
        if (writes && !is_readable) || kind.act(&fs, image).is_none() {
            return Ok(());
        }
        let careless = |what: String| self.failure(Promise::Careful, place, what);
        let made = fs.freeze();
        let seen: Arc<dyn Fs> = match self.broken {
            Some(Rule::ChangesAreSeen) => Arc::new(BrokenFs::blind(fs.clone(), tree.thaw())),
            _ => Arc::new(fs.clone()),
        };
        let refused = match self.scenario.recover_at(seen, |path| kind.place_of(path)) {
            Ok(()) => false,
            Err(error) if error.kind() == ErrorKind::Conflict && kind.may_be_refused() => true,
            Err(error) => return Err(careless(reason(error))),
        };
        if refused && files(&fs) != files(&made.thaw()) {
            return Err(careless("recovery was refused, and files are different".to_owned()));
        }
        if let Some(what) = self.harm(kind, index, &made, &fs) {
            return Err(self.failure(Promise::Careful, place, what));
        }
        if kind.is_harmless() {
            kind.undo(&fs, image).map_err(|error| self.failure(Promise::Works, place, reason(error)))?;
            let again = self.look(&fs, place, Ended::Otherwise)?;
            if again != side {
                let what =
                    format!("recovery went to the {again:?} state, and undisturbed to the {side:?} one");
                return Err(self.failure(Promise::Careful, place, what));
            }
        } else if refused {
            return self.discard(&fs, place);
        }
        Ok(())
    }

    /// What recovery has done to that which somebody had made.
    fn harm(&mut self, kind: Meddling, index: usize, made: &Frozen, fs: &SimFs) -> Option<String> {
        let image = Path::new(&self.scenario.images[index].path);
        let path = match kind {
            Meddling::ImageCopied | Meddling::AllCopied | Meddling::Renamed => elsewhere(image),
            Meddling::AllMoved => return None,
            _ => image.to_owned(),
        };
        if made.thaw().bytes(&path) == fs.bytes(&path) {
            return None;
        }
        match kind {
            Meddling::Written | Meddling::WrittenInPlace if self.judges[index].is_qcow2() => {
                let before = self.opinions(made).swap_remove(index);
                let after = self.opinions(&fs.freeze()).swap_remove(index);
                let (old, new) = (&self.old[index], &self.new[index]);
                (before != after).then(|| format!("what was written is {}", describe(&after, old, new)))
            }
            Meddling::Written | Meddling::WrittenInPlace if kind.stands(fs, &path) => None,
            _ => Some(format!("{} was changed", path.display())),
        }
    }

    /// Drops a journal that recovery refuses.
    fn discard(&mut self, fs: &SimFs, place: &Place) -> Result<(), Failure> {
        let before = files(fs);
        let discarded = self.scenario.discard(fs);
        discarded.map_err(|error| self.failure(Promise::Recoverable, place, reason(error)))?;
        if files(fs) != before {
            let what = "files are different after their journal was dropped".to_owned();
            return Err(self.failure(Promise::Careful, place, what));
        }
        if let Some(name) = fs.names().iter().find(|name| is_journal(name)) {
            return Err(self.failure(Promise::Tidy, place, format!("{} stays behind", name.display())));
        }
        Ok(())
    }
}
