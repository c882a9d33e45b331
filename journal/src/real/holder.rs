//! Who holds a lock: open-file-description locks have no owner, but each open file of a process
//! tells of its own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// What it is called.
    pub program: String,
}

/// The processes that hold a lock on that byte of a file, as far as they can be seen from here.
pub(crate) fn holders(path: &Path, byte: u64) -> Vec<Holder> {
    let Ok(file) = fs::metadata(path) else { return Vec::new() };
    let identity = (file.dev(), file.ino());
    let mut pids: Vec<u32> = numbers(Path::new("/proc"));
    pids.sort_unstable();
    pids.into_iter()
        .filter(|&pid| holds(pid, identity, byte))
        .map(|pid| Holder { pid, program: program(pid) })
        .collect()
}

/// Names in a directory that are numbers.
fn numbers(dir: &Path) -> Vec<u32> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn holds(pid: u32, identity: (u64, u64), byte: u64) -> bool {
    let dir = format!("/proc/{pid}/fd");
    numbers(Path::new(&dir)).into_iter().any(|fd| {
        let is_file =
            fs::metadata(format!("{dir}/{fd}")).is_ok_and(|status| (status.dev(), status.ino()) == identity);
        is_file
            && fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}"))
                .is_ok_and(|info| info.lines().any(|line| is_lock_on(line, byte)))
    })
}

/// Whether a line of a descriptor's description is that of a lock on a byte:
/// `lock: 1: OFDLCK  ADVISORY  READ -1 08:01:1234 100 100`.
fn is_lock_on(line: &str, byte: u64) -> bool {
    let Some(lock) = line.strip_prefix("lock:") else { return false };
    let mut words = lock.split_whitespace().rev();
    let (last, first) = (words.next(), words.next().and_then(|word| word.parse::<u64>().ok()));
    let last = match last {
        Some("EOF") => Some(u64::MAX),
        other => other.and_then(|word| word.parse().ok()),
    };
    first.zip(last).is_some_and(|(first, last)| (first..=last).contains(&byte))
}

/// The name that a process was started by, or what the kernel calls it.
fn program(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let zeroth = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let name = zeroth.rsplit(|&byte| byte == b'/').next().filter(|name| !name.is_empty());
    match name {
        Some(name) => String::from_utf8_lossy(name).into_owned(),
        None => fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_locks() {
        let line = "lock:\t1: OFDLCK ADVISORY  READ -1 08:01:1234 100 101";
        assert!(is_lock_on(line, 100) && is_lock_on(line, 101) && !is_lock_on(line, 102));
        assert!(is_lock_on("lock:\t2: POSIX  ADVISORY  WRITE 77 08:01:1234 0 EOF", 203));
        assert!(!is_lock_on("pos:\t100", 100) && !is_lock_on("lock:", 0) && !is_lock_on("lock: EOF", 0));
    }
}
