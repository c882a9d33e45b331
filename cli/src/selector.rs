//! `-l SNAPSHOT`: which internal snapshot is meant.

use formats::create::OptionList;
use store::SnapshotSelector;

use crate::command::{Env, Given};
use crate::report::Failure;

/// Reads the value of `-l`: an id or a name, or `snapshot.id=ID,snapshot.name=NAME`.
pub(crate) fn snapshot(env: &Env<'_>, given: &Given<'_>) -> Result<SnapshotSelector, Failure> {
    let text = given.text();
    if !text.starts_with("snapshot.") {
        return Ok(SnapshotSelector::IdOrName(text.into_owned()));
    }
    let failed = || Failure::message(format!("Failed in parsing snapshot param '{text}'"));
    let mut list = OptionList::default();
    list.add(given.value()).map_err(|_| failed())?;
    let (mut id, mut name) = (None, None);
    for item in list.items() {
        let value = String::from_utf8_lossy(&item.value).into_owned();
        match &item.name[..] {
            b"snapshot.id" => id = Some(value),
            b"snapshot.name" => name = Some(value),
            other => {
                env.program.complain(&[b"Invalid parameter '", other, b"'"].concat());
                return Err(failed());
            }
        }
    }
    Ok(SnapshotSelector::Exact { id, name })
}
