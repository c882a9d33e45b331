//! One operation on one tree, and how it is run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use formats::{Error, OpenContext, Result};
use journal::sim::Frozen;
use journal::{Fs, Recovery, SimFs, Transaction};
use testkit::judge::Judge;

use crate::subject::{PASSPHRASES, context};

/// An extent of an image, which may be longer than its image needs.
pub const EXTENT: &str = "extent";
/// An encrypted qcow2 image, as those see it who may have a passphrase.
pub const ENCRYPTED: &str = "encrypted qcow2";

/// What an operation does.
type Run = dyn Fn(&OpenContext<'_>) -> Result<()> + Send + Sync;

/// An operation on images.
pub struct Scenario {
    /// `operation/shape`.
    pub name: String,
    /// The tree before.
    pub before: Arc<Frozen>,
    /// The images that must be old or new together.
    pub images: Vec<Watched>,
    /// What a program that knows nothing of recovery must find.
    pub foreign: Foreign,
    run: Box<Run>,
}

/// A file that must be old or new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    pub path: String,
    /// The format, or the block options by which it is looked at.
    pub format: &'static str,
}

impl Watched {
    /// Whether programs that know nothing of recovery find it whole at any time.
    pub fn is_qcow2(&self) -> bool {
        self.format == "qcow2"
    }
}

/// What a program that knows nothing of recovery finds in a qcow2 image after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// The old image or the new one, sound.
    OldOrNew,
    /// Nothing is promised: raw data is changed in place.
    Anything,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Scenario {
    /// An operation on a tree, in which it changes some images.
    pub fn new(
        name: String,
        before: Arc<Frozen>,
        images: Vec<Watched>,
        run: impl Fn(&OpenContext<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { name, before, images, foreign: Foreign::OldOrNew, run: Box::new(run) }
    }

    /// The part of the name before the slash.
    pub fn operation(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// Judges of its images.
    pub fn judges(&self) -> Vec<Judge> {
        let judge = |image: &Watched| match image.format {
            "qcow2" => Judge::of_qcow2(&image.path),
            "raw" => Judge::of_raw(&image.path),
            options if options.starts_with("driver=") => Judge::of_options(&image.path, options),
            EXTENT => Judge::of_part(&image.path),
            ENCRYPTED => Judge::of_encrypted(&image.path, "qcow2", PASSPHRASES),
            "luks" => Judge::of_encrypted(&image.path, "luks", PASSPHRASES),
            other => Judge::of_format(&image.path, other),
        };
        self.images.iter().map(judge).collect()
    }

    /// Runs the operation as the program runs a command: as one transaction.
    pub fn run(&self, fs: Arc<dyn Fs>) -> Result<()> {
        self.run_through(fs, |transaction| transaction)
    }

    /// The same, with something between the operation and its transaction.
    pub fn run_through(&self, fs: Arc<dyn Fs>, wrap: impl Fn(Arc<dyn Fs>) -> Arc<dyn Fs>) -> Result<()> {
        let transaction = Arc::new(Transaction::begin(fs, Arc::new(AtomicBool::new(false))));
        let between = wrap(Arc::<Transaction>::clone(&transaction));
        (self.run)(&context(&*between))?;
        drop(between);
        let transaction = Arc::try_unwrap(transaction).map_err(|_| Error::unsupported("It is still used"))?;
        Ok(transaction.commit()?)
    }

    /// Does what the next command does before it looks at the images.
    pub fn recover(&self, fs: Arc<dyn Fs>) -> journal::Result<()> {
        self.recover_at(fs, |path| PathBuf::from(path))
    }

    /// The same where the images stand at other places.
    pub fn recover_at(&self, fs: Arc<dyn Fs>, place: impl Fn(&str) -> PathBuf) -> journal::Result<()> {
        let recovery = Recovery::new(fs);
        // A pointer to a journal that was never decided goes when its image is met once more.
        for image in self.images.iter().chain(&self.images) {
            recovery.recover(&recovery.journal_of(&place(&image.path))?)?;
        }
        Ok(())
    }

    /// Drops whatever journals the images have.
    pub fn discard(&self, fs: &SimFs) -> journal::Result<()> {
        let recovery = Recovery::new(Arc::new(fs.clone()));
        for image in self.images.iter().chain(&self.images) {
            recovery.discard(&recovery.journal_of(Path::new(&image.path))?)?;
        }
        Ok(())
    }
}

/// A qcow2 image that is watched.
pub fn qcow2(path: &str) -> Watched {
    Watched { path: path.to_owned(), format: "qcow2" }
}

/// A raw file that is watched.
pub fn raw(path: &str) -> Watched {
    Watched { path: path.to_owned(), format: "raw" }
}

/// An image of another format that is watched.
pub fn other(path: &str, format: &'static str) -> Watched {
    Watched { path: path.to_owned(), format }
}
