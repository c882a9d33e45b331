//! `check`: whether an image's metadata is consistent, and making it so.

use formats::{CheckReport, Error, Finding, Image, Repair};

/// What a check of an image came to.
#[derive(Debug)]
pub enum Verdict {
    /// The format has no check.
    Impossible,
    /// The image was checked to its end, after the repair if there was one.
    Checked(CheckReport),
    /// The check, or the repair, was given up; the image is as it was.
    Failed {
        /// What had been found till then.
        report: CheckReport,
        /// Why, without a sentence.
        reason: Error,
    },
}

/// What is told while a check or a repair goes on.
#[derive(Debug)]
pub enum News<'a> {
    /// Something was found.
    Found(Finding),
    /// The image was repaired, and is going to be checked once more.
    Repaired(&'a CheckReport),
}

/// Checks an image that was opened with [`formats::OpenFlags::check`], changing nothing.
pub fn check(image: &Image, tell: &mut dyn FnMut(News<'_>)) -> Verdict {
    if !image.driver().can_check() {
        return Verdict::Impossible;
    }
    match image.driver().check(&mut |finding| tell(News::Found(finding))) {
        Ok(report) => Verdict::Checked(report),
        Err(reason) => Verdict::Failed { report: CheckReport::default(), reason },
    }
}

/// Repairs an image that was opened with [`formats::OpenFlags::check`] and for writing.
///
/// If anything was repaired the image is checked again, so that the report is that of the image as it
/// is now.
pub fn repair(image: &Image, what: Repair, tell: &mut dyn FnMut(News<'_>)) -> Verdict {
    let Some(repairer) = image.driver().repairer() else { return Verdict::Impossible };
    let repaired = repairer.repair(what, &mut |finding| tell(News::Found(finding)));
    let report = repaired.report;
    let image = match repaired.image {
        Ok(image) => image,
        Err(reason) => return Verdict::Failed { report, reason },
    };
    if report.corruptions_fixed == 0 && report.leaks_fixed == 0 {
        return Verdict::Checked(report);
    }
    tell(News::Repaired(&report));
    let (corruptions_fixed, leaks_fixed) = (report.corruptions_fixed, report.leaks_fixed);
    match image.check(&mut |finding| tell(News::Found(finding))) {
        Ok(again) => {
            let corruptions = again.corruptions + repaired.lost;
            Verdict::Checked(CheckReport { corruptions, corruptions_fixed, leaks_fixed, ..again })
        }
        Err(reason) => Verdict::Failed { report, reason },
    }
}
