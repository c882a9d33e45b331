//! Encrypted images, opened with the passphrases that all cases use.

use std::path::Path;

use crate::compare::Difference;
use crate::effects::{Pair, both, run_oracle, run_tximg};
use crate::run::Outcome;

/// The options that define the secrets `s` and `n`.
pub const SECRETS: &str = "--object secret,id=s,data=pass --object secret,id=n,data=new";

/// Block options for an image of that format.
pub fn options(format: &str, file: &str, secret: &str) -> String {
    let option = if format == "luks" { "key-secret" } else { "encrypt.key-secret" };
    format!("driver={format},{option}={secret},file.filename={file}")
}

/// How two images differ that were made alike, in what they hold and in who can open them.
pub fn differences(pair: Pair<'_>, name: &str, format: &str) -> Vec<Difference> {
    ["s", "n"].into_iter().flat_map(|secret| with_secret(pair, name, format, secret)).collect()
}

fn with_secret(pair: Pair<'_>, name: &str, format: &str, secret: &str) -> Vec<Difference> {
    let here = options(format, &format!("./{name}"), secret);
    let map = |dir: &Path| run_oracle(dir, line("map --output=json", &[&here]));
    let (expected, got) = (map(pair.expected), map(pair.got));
    let complain =
        |text: String| vec![Difference::content(format!("'{name}' with secret '{secret}': {text}"))];
    if expected.success() != got.success() {
        return complain(format!("expected {}, got {}: {}", told(&expected), told(&got), got.err()));
    }
    let mut all = both(pair.got, &line("map --output=json", &[&here]));
    if !expected.success() {
        return all;
    }
    let there = options(format, &pair.got.join(name).to_string_lossy(), secret);
    let compare = line("compare", &[&here, &there]);
    for (who, outcome) in [
        ("the oracle", run_oracle(pair.expected, &compare)),
        ("the program under test", run_tximg(pair.expected, &compare)),
    ] {
        if outcome.code() != Some(0) {
            all.extend(complain(format!("{who} compares: {}{}", outcome.out(), outcome.err())));
        }
    }
    all
}

fn told(outcome: &Outcome) -> String {
    outcome.status_text()
}

fn line(command: &str, images: &[&String]) -> Vec<String> {
    let words = format!("{command} {SECRETS} --image-opts");
    words.split(' ').map(str::to_owned).chain(images.iter().map(|image| (*image).clone())).collect()
}
