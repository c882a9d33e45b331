//! Internal snapshots, as a table and as JSON.

use formats::SnapshotInfo;
use serde_json::{Value, json};

use super::time;
use crate::size;

const SECOND: u64 = 1_000_000_000;

/// The table, each line behind `indent` spaces.
pub(crate) fn table(snapshots: &[SnapshotInfo], indent: usize) -> String {
    let margin = " ".repeat(indent);
    let mut text = format!("{margin}Snapshot list:\n{margin}");
    text += &row(["ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT"]);
    for snapshot in snapshots {
        let icount = snapshot.icount.map_or_else(|| "--".to_owned(), |icount| icount.to_string());
        text += &margin;
        text += &row([
            &snapshot.id,
            &snapshot.name,
            &size::human(snapshot.vm_state_size),
            &time::local(snapshot.date_seconds),
            &clock(snapshot.vm_clock_nanoseconds),
            &icount,
        ]);
    }
    text
}

fn row([id, tag, size, date, clock, icount]: [&str; 6]) -> String {
    format!("{id:<7} {tag:<16} {size:>8} {date:>19} {clock:>15} {icount:>10}\n")
}

/// Hours, minutes, seconds and milliseconds.
fn clock(nanoseconds: u64) -> String {
    let seconds = nanoseconds / SECOND;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:04}:{minutes:02}:{:02}.{:03}", seconds % 60, nanoseconds / 1_000_000 % 1000)
}

/// The list as `info --output=json` shows it.
pub(crate) fn json(snapshots: &[SnapshotInfo]) -> Value {
    snapshots.iter().map(snapshot).collect()
}

fn snapshot(info: &SnapshotInfo) -> Value {
    let mut value = json!({
        "id": info.id,
        "name": info.name,
        "vm-state-size": info.vm_state_size,
        "date-sec": info.date_seconds,
        "date-nsec": info.date_nanoseconds,
        "vm-clock-sec": info.vm_clock_nanoseconds / SECOND,
        "vm-clock-nsec": info.vm_clock_nanoseconds % SECOND,
    });
    if let Some(icount) = info.icount {
        value["icount"] = icount.into();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_give_way_to_long_texts() {
        let rows = row(["ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT"]);
        assert_eq!(
            rows,
            "ID      TAG               VM_SIZE                DATE        VM_CLOCK     ICOUNT\n"
        );
        let long = row([
            "1",
            "a name of many words",
            "112 TiB",
            "2029-07-18 05:49:52",
            "12300:05:06.789",
            "1234567890123",
        ]);
        assert_eq!(
            long,
            "1       a name of many words  112 TiB 2029-07-18 05:49:52 12300:05:06.789 1234567890123\n"
        );
    }

    #[test]
    fn the_clock_counts_hours() {
        assert_eq!(clock(0), "0000:00:00.000");
        assert_eq!(clock((3600 * 12_300 + 5 * 60 + 6) * SECOND + 789_999_999), "12300:05:06.789");
    }
}
