//! The list of known differences, read from the document that tells users of them.
//!
//! An entry of `docs/DIFFERENCES.md` that tests may meet ends in a line like
//!
//! ```text
//! Tests: stdout of `help/convert`, `help/bench/*`
//! ```
//!
//! naming the streams that differ (status, stdout, stderr, content) and the cases. A case on the
//! list must differ, and only there: so the document cannot outlive the difference.

use std::fs;
use std::path::Path;

use crate::compare::Aspect;
use crate::glob;

/// A difference that users are told of.
#[derive(Debug, Clone)]
pub struct Known {
    /// The entry's heading.
    pub title: String,
    /// What may differ.
    pub aspects: Vec<Aspect>,
    /// Patterns of case names.
    pub cases: Vec<String>,
}

impl Known {
    /// Whether a case of that name is meant.
    pub fn covers(&self, case: &str) -> bool {
        self.cases.iter().any(|pattern| glob::matches(pattern, case))
    }
}

/// All entries of a document; none if there is no document.
pub fn read(path: &Path) -> Vec<Known> {
    parse(&fs::read_to_string(path).unwrap_or_default())
}

fn parse(text: &str) -> Vec<Known> {
    let mut title = String::new();
    let mut all = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced {
        } else if let Some(heading) = line.strip_prefix('#') {
            title = heading.trim_start_matches('#').trim().to_owned();
        } else if let Some(tests) = line.strip_prefix("Tests: ") {
            let (aspects, cases) = tests.split_once(" of ").expect("Tests: <streams> of <cases>");
            all.push(Known { title: title.clone(), aspects: words(aspects), cases: patterns(cases) });
        }
    }
    all
}

fn words(text: &str) -> Vec<Aspect> {
    let word = |word: &str| {
        Aspect::from_name(word.trim()).unwrap_or_else(|| panic!("no stream is called '{word}' in: {text}"))
    };
    text.split(',').map(word).collect()
}

fn patterns(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let all = parse("# Known\n\n## One thing\nIt is so.\n\nTests: stdout, stderr of `a/*`, `b`\n");
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].title, "One thing");
        assert_eq!(all[0].aspects, [Aspect::Stdout, Aspect::Stderr]);
        assert!(all[0].covers("a/x") && all[0].covers("b") && !all[0].covers("c"));
    }
}
