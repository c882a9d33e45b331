//! Which internal snapshot of an image is meant.

use formats::{Error, ErrorKind, Image, Result, SnapshotInfo};

/// How a person names an internal snapshot (`-l`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotSelector {
    /// One word: first looked for among the ids, then among the names.
    IdOrName(String),
    /// `snapshot.id=…,snapshot.name=…`: what is given has to fit.
    Exact {
        /// The id.
        id: Option<String>,
        /// The name.
        name: Option<String>,
    },
}

impl SnapshotSelector {
    /// Where the snapshot stands in a list.
    pub fn find(&self, snapshots: &[SnapshotInfo]) -> Option<usize> {
        match self {
            Self::IdOrName(word) => snapshots
                .iter()
                .position(|snapshot| snapshot.id == *word)
                .or_else(|| snapshots.iter().position(|snapshot| snapshot.name == *word)),
            Self::Exact { id: None, name: None } => None,
            Self::Exact { id, name } => snapshots.iter().position(|snapshot| {
                id.as_ref().is_none_or(|id| snapshot.id == *id)
                    && name.as_ref().is_none_or(|name| snapshot.name == *name)
            }),
        }
    }

    /// The image as it was when the snapshot was taken, for reading.
    pub fn view(&self, image: &Image) -> Result<Image> {
        let failed = |kind, reason: String| Error::new(kind, reason).context("Failed to load snapshot");
        let snapshots = image.driver().snapshots().ok_or_else(|| {
            let format = image.format();
            let reason = format!(
                "Block format '{format}' used by device '' does not support temporarily loading internal snapshots"
            );
            failed(ErrorKind::Unsupported, reason)
        })?;
        let index = self
            .find(snapshots.list())
            .ok_or_else(|| failed(ErrorKind::NotFound, "Can't find snapshot".to_owned()))?;
        let driver = snapshots.view(index).map_err(|error| error.context("Failed to load snapshot"))?;
        Ok(Image::new(image.filename().to_owned(), driver, image.backing().cloned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(id: &str, name: &str) -> SnapshotInfo {
        SnapshotInfo {
            id: id.to_owned(),
            name: name.to_owned(),
            vm_state_size: 0,
            date_seconds: 0,
            date_nanoseconds: 0,
            vm_clock_nanoseconds: 0,
            icount: None,
            disk_size: 0,
        }
    }

    #[test]
    fn ids_come_before_names_and_exact_ones_must_fit_wholly() {
        let list = [snapshot("1", "2"), snapshot("2", "daily"), snapshot("3", "daily")];
        let word = |word: &str| SnapshotSelector::IdOrName(word.to_owned()).find(&list);
        assert_eq!((word("2"), word("daily"), word("weekly")), (Some(1), Some(1), None));
        let exact = |id: Option<&str>, name: Option<&str>| {
            SnapshotSelector::Exact { id: id.map(str::to_owned), name: name.map(str::to_owned) }.find(&list)
        };
        assert_eq!(exact(Some("3"), Some("daily")), Some(2));
        assert_eq!(exact(Some("1"), Some("daily")), None);
        assert_eq!(exact(None, Some("daily")), Some(1));
        assert_eq!(exact(None, None), None);
    }
}
