//! Internal snapshots, as a table and as JSON.

use formats::SnapshotInfo;
use formats::shown::printed;
use serde_json::{Value, json};

use super::time;
use crate::size;

const SECOND: u64 = 1_000_000_000;

/// The table, each line behind `indent` spaces. Names are printed byte for byte.
pub(crate) fn table(snapshots: &[SnapshotInfo], indent: usize) -> Vec<u8> {
    let margin = " ".repeat(indent);
    let mut text = format!("{margin}Snapshot list:\n{margin}").into_bytes();
    text.extend(row([b"ID", b"TAG"], ["VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT"]));
    for snapshot in snapshots {
        let icount = snapshot.icount.map_or_else(|| "--".to_owned(), |icount| icount.to_string());
        let (id, name) = (printed(snapshot.id.as_bytes()), printed(snapshot.name.as_bytes()));
        text.extend(margin.bytes());
        text.extend(row(
            [&id, &name],
            [
                &size::human(snapshot.vm_state_size),
                &time::local(snapshot.date_seconds),
                &clock(snapshot.vm_clock_nanoseconds),
                &icount,
            ],
        ));
    }
    text
}

/// A line. Columns are counted in bytes.
fn row([id, tag]: [&[u8]; 2], [size, date, clock, icount]: [&str; 4]) -> Vec<u8> {
    let mut line = Vec::new();
    for (text, width) in [(id, 7), (tag, 16)] {
        line.extend_from_slice(text);
        line.extend(std::iter::repeat_n(b' ', width - text.len().min(width) + 1));
    }
    line.extend(format!("{size:>8} {date:>19} {clock:>15} {icount:>10}\n").bytes());
    line
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
        let rows = row([b"ID", b"TAG"], ["VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT"]);
        assert_eq!(
            rows,
            b"ID      TAG               VM_SIZE                DATE        VM_CLOCK     ICOUNT\n"
        );
        let figures = ["112 TiB", "2029-07-18 05:49:52", "12300:05:06.789", "1234567890123"];
        let long = row([b"1", b"a name of many words"], figures);
        assert_eq!(
            long,
            b"1       a name of many words  112 TiB 2029-07-18 05:49:52 12300:05:06.789 1234567890123\n"
        );
    }

    #[test]
    fn the_clock_counts_hours() {
        assert_eq!(clock(0), "0000:00:00.000");
        assert_eq!(clock((3600 * 12_300 + 5 * 60 + 6) * SECOND + 789_999_999), "12300:05:06.789");
    }
}
