//! Texts of options: file names with `json:`, `--image-opts`, `-o` lists of both formats, and rules of `blkdebug` in a file.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::LazyLock;

use formats::Format;
use formats::create::{OptionList, OptionTable};
use journal::SimFs;
use libfuzzer_sys::fuzz_target;
use testkit::exercise::{self, Described};

static TREE: LazyLock<SimFs> = LazyLock::new(|| exercise::tree(b"a small raw file", &[("a.raw", b"another")]));

fuzz_target!(|text: &[u8]| {
    let [choice, text @ ..] = text else { return };
    let text = OsStr::from_bytes(text);
    match choice % 5 {
        0 => drop(exercise::options(&TREE, text, Described::ByName)),
        1 => drop(exercise::options(&TREE, text, Described::ByOptions)),
        2 => create_options(Format::Qcow2, text),
        3 => create_options(Format::Raw, text),
        _ => rules(text),
    }
});

fn rules(text: &OsStr) {
    let tree = exercise::tree(text.as_bytes(), &[("a.raw", b"a small raw file")]);
    let name = format!("blkdebug:{}:/a.raw", exercise::IMAGE);
    drop(exercise::options(&tree, OsStr::new(&name), Described::ByName));
}

fn create_options(format: Format, text: &OsStr) {
    let mut list = OptionList::default();
    if list.add(text).is_ok() && !list.asks_for_help() {
        drop(OptionTable::of_format(format).parse(&list));
    }
}
