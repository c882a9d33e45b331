//! What of two outcomes must be equal, and what is allowed to vary.
//!
//! Filters, all there are:
//!
//! * **Progress.** With `-p` both programs print percentages as they go; how many depends on how
//!   they cut the work. Only the first and the last of a series are compared.
//! * **Benchmark times.** The number in `Run completed in N seconds.`
//! * **Nodes without a name.** qemu-img calls them `#block` and three digits, of which two are random.
//! * **Identities.** VMDK images have random ones.
//! * **The end of a repaired image.** What a repair writes anew, tximg writes beside what is there, and
//!   QEMU over it: so their images end elsewhere.

use std::fmt::Write;

use crate::run::Outcome;

/// Something in which two programs can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// Exit status.
    Status,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The files that were made, and what other commands say of them.
    Content,
}

impl Aspect {
    /// The aspect of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "status" => Some(Self::Status),
            "stdout" => Some(Self::Stdout),
            "stderr" => Some(Self::Stderr),
            "content" => Some(Self::Content),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Content => "content",
        }
    }
}

/// One difference, with both sides as a person reads them.
#[derive(Debug, Clone)]
pub struct Difference {
    /// In what.
    pub aspect: Aspect,
    /// The whole story.
    pub text: String,
}

impl Difference {
    /// A difference in what was made.
    pub fn content(text: impl Into<String>) -> Self {
        Self { aspect: Aspect::Content, text: text.into() }
    }
}

/// All differences of two outcomes, `expected` being the oracle's.
pub fn outcomes(expected: &Outcome, got: &Outcome) -> Vec<Difference> {
    let mut all = Vec::new();
    let (left, right) = (expected.status_text(), got.status_text());
    if left != right {
        all.push(Difference {
            aspect: Aspect::Status,
            text: format!("status: expected {left}, got {right}"),
        });
    }
    let streams =
        [(Aspect::Stdout, &expected.stdout, &got.stdout), (Aspect::Stderr, &expected.stderr, &got.stderr)];
    for (aspect, left, right) in streams {
        let (left, right) = (filtered(left), filtered(right));
        if left != right {
            let text = format!("{}:\n{}", aspect.name(), lines(&left, &right));
            all.push(Difference { aspect, text });
        }
    }
    all
}

/// Two texts that differ, line by line: `-` is expected, `+` was got.
pub fn lines(expected: &str, got: &str) -> String {
    const SHOWN: usize = 12;
    let (left, right): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), got.lines().collect());
    let same = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
    let mut text = String::new();
    if same > 0 {
        let _ = writeln!(text, "    ({same} equal lines)");
    }
    for (sign, side) in [('-', &left), ('+', &right)] {
        let rest = &side[same..];
        for line in rest.iter().take(SHOWN) {
            let _ = writeln!(text, "    {sign} {}", line.escape_debug());
        }
        if rest.len() > SHOWN {
            let _ = writeln!(text, "    {sign} … {} more", rest.len() - SHOWN);
        }
    }
    if left == right {
        text.push_str("    the line ends differ\n");
    }
    text
}

/// Output without what may vary.
fn filtered(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    identities(&repaired_end(&node_names(&bench_times(&progress(&text)))))
}

/// Drops the identities of VMDK images, but for that of no image.
fn identities(text: &str) -> String {
    const NONE: &str = "4294967295";
    const BEFORE: [&str; 2] = ["cid: ", "cid\": "];
    let replaced = |text: String, before: &str| {
        let mut parts = text.split(before);
        let head = parts.next().unwrap_or_default().to_owned();
        parts.fold(head, |text, part| {
            let is_none = part.starts_with(NONE);
            let rest = if is_none { part } else { part.trim_start_matches(|c: char| c.is_ascii_digit()) };
            text + before + rest
        })
    };
    BEFORE.into_iter().fold(text.to_owned(), replaced)
}

fn node_names(text: &str) -> String {
    const BEFORE: &str = "#block";
    let mut parts = text.split(BEFORE);
    let head = parts.next().unwrap_or_default().to_owned();
    parts.fold(head, |text, part| text + BEFORE + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// Drops where a repaired image ends.
fn repaired_end(text: &str) -> String {
    const MARKS: [&str; 3] =
        ["Double checking the fixed image now", "\"corruptions-fixed\"", "\"leaks-fixed\""];
    const BEFORE: [&str; 2] = ["Image end offset: ", "\"image-end-offset\": "];
    if !MARKS.iter().any(|mark| text.contains(mark)) {
        return text.to_owned();
    }
    let end = BEFORE.iter().find_map(|before| text.split_once(before).map(|parts| (before, parts)));
    end.map_or(text.to_owned(), |(before, (head, tail))| {
        format!("{head}{before}N{}", tail.trim_start_matches(|c: char| c.is_ascii_digit()))
    })
}

/// Reduces each series of progress reports to its first and last.
fn progress(text: &str) -> String {
    if !text.contains("/100%)\r") {
        return text.to_owned();
    }
    let parts: Vec<&str> = text.split_inclusive('\r').collect();
    let report = |part: &str| part.trim_start().starts_with('(') && part.ends_with("/100%)\r");
    let mut kept = String::new();
    for (index, part) in parts.iter().enumerate() {
        let inside =
            index > 0 && report(parts[index - 1]) && parts.get(index + 1).is_some_and(|next| report(next));
        if !(report(part) && inside) {
            kept.push_str(part);
        }
    }
    kept
}

fn bench_times(text: &str) -> String {
    const BEFORE: &str = "Run completed in ";
    match text.split_once(BEFORE) {
        Some((head, tail)) => {
            let rest = tail.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            format!("{head}{BEFORE}N{rest}")
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_keeps_the_ends() {
        let series = "    (0.00/100%)\r    (50.00/100%)\r    (60.00/100%)\r    (100.00/100%)\r\n";
        assert_eq!(progress(series), "    (0.00/100%)\r    (100.00/100%)\r\n");
        assert_eq!(progress("plain\n"), "plain\n");
    }

    #[test]
    fn bench_times_are_dropped() {
        assert_eq!(bench_times("a\nRun completed in 0.123 seconds.\n"), "a\nRun completed in N seconds.\n");
    }
}
