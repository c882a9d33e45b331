//! `amend`: other features of an image.

use formats::amend::{AmendRequest, Force};
use formats::create::{CreateOptions, OptionList, OptionTable};
use formats::resize::{Fit, NewSize};
use formats::{Amend, Durability, Error, Format, Image, OpenContext, Result, Writer};

use super::resize;
use crate::Progress;

/// Steps of an amendment, as far as anybody is told.
const STEPS: u64 = 3;

/// The options that can be changed of images of a format.
pub fn options(format: Format) -> Result<OptionTable> {
    OptionTable::for_amending(format).ok_or_else(|| not_amendable(format.name()))
}

/// A change of features, as its image understands it.
#[derive(Debug)]
pub struct AmendPlan<'a> {
    image: &'a Image,
    options: CreateOptions,
}

/// Reads the options for an image that was opened for writing. Nothing is changed.
pub fn plan<'a>(image: &'a Image, list: &OptionList) -> Result<AmendPlan<'a>> {
    if amender(image).is_none() {
        return Err(not_amendable(image.driver_name()));
    }
    let table = options(image.format())?;
    let options = table.parse(list).map_err(|error| {
        // What is known of new images alone is told of.
        match table.with_creation().parse(list) {
            Ok(_) => error.with_hint("This option is only supported for image creation"),
            Err(_) => error,
        }
    })?;
    Ok(AmendPlan { image, options })
}

impl AmendPlan<'_> {
    /// Changes the image.
    pub fn run(&self, context: &OpenContext<'_>, force: Force, progress: &dyn Progress) -> Result<()> {
        let image = self.image;
        let Some((writer, amender)) = amender(image) else { return Err(not_amendable(image.driver_name())) };
        let amendment = amender.plan(&AmendRequest { options: &self.options, context, force })?;
        let tell = |step: u64| {
            if amendment.has_steps() {
                progress.set(step, STEPS);
            }
        };
        tell(0);
        amender.add(&amendment)?;
        tell(1);
        if let Some(size) = amendment.size {
            resize::apply(image, writer, NewSize::plain(size, Fit::Exact))?;
        }
        tell(2);
        amender.remove(&amendment)?;
        writer.commit(Durability::Durable)
    }
}

fn amender(image: &Image) -> Option<(&dyn Writer, &dyn Amend)> {
    let writer = image.driver().writer()?;
    Some((writer, writer.amender()?))
}

fn not_amendable(driver: &str) -> Error {
    Error::unsupported(format!("Format driver '{driver}' does not support option amendment"))
}
