//! Images in other directories, by names relative to the current one: where the files are looked for that they name.

use testkit::case::{Case, label};

/// How `d/top` and what it names are made.
const SETUPS: &[(&str, &str)] = &[
    ("beside", "img create -q -f qcow2 d/base 1M\nimg create -q -f qcow2 -b base -F qcow2 d/top"),
    ("above", "img create -q -f qcow2 base 1M\nimg create -q -f qcow2 -b ../base -F qcow2 d/top"),
    ("below", "dir d/e\nimg create -q -f qcow2 d/e/base 1M\nimg create -q -f qcow2 -b e/base -F qcow2 d/top"),
    (
        "chain",
        "dir e\nimg create -q -f qcow2 e/a 1M\nimg create -q -f qcow2 -b a -F qcow2 e/base
         img create -q -f qcow2 -b ../e/base -F qcow2 d/top",
    ),
    (
        "link",
        "dir e\nimg create -q -f qcow2 e/base 1M\nimg create -q -f qcow2 -b base -F qcow2 e/top\nlink d/top ../e/top\nimg create -q -f qcow2 d/base 2M",
    ),
    (
        "protocol",
        "img create -q -f qcow2 d/base 1M\nimg create -q -f qcow2 -u -b file:base -F qcow2 d/top 1M",
    ),
    (
        "json",
        "img create -q -f qcow2 d/base 1M\nimg create -q -f qcow2 -u -b 'json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"d/base\"}}' -F qcow2 d/top 1M",
    ),
    ("colon", "img create -q -f qcow2 d/a:b 1M\nimg create -q -f qcow2 -u -b ./a:b -F qcow2 d/top 1M"),
    ("data-file", "img create -q -f qcow2 -o data_file=data d/top 1M"),
    ("data-file-below", "img create -q -f qcow2 -o data_file=d/data d/top 1M"),
    (
        "data-file-of-base",
        "img create -q -f qcow2 -o data_file=data d/base 1M\nimg create -q -f qcow2 -b base -F qcow2 d/top",
    ),
    ("data-file-raw", "img create -q -f qcow2 -o data_file=data,data_file_raw=on d/top 1M"),
    ("data-file-protocol", "img create -q -f qcow2 -o data_file=file:data d/top 1M"),
    ("extents", "img create -q -f vmdk -o subformat=monolithicFlat d/top 1M"),
    (
        "extents-of-base",
        "img create -q -f vmdk -o subformat=twoGbMaxExtentSparse d/base 1M\nimg create -q -f qcow2 -b base -F vmdk d/top",
    ),
];

/// What is done to it.
const LINES: &[&str] = &[
    "info d/top",
    "info --output=json --backing-chain d/top",
    "info ./d/top",
    "map d/top",
    "map --output=json ./d/top",
    "check d/top",
    "measure -O raw d/top",
    "convert -O qcow2 d/top d/out",
    "convert -O qcow2 -B top -F qcow2 d/top d/out",
    "convert -O qcow2 -o data_file=more d/top d/out",
    "create -f qcow2 -b top -F qcow2 d/over",
    "create -f qcow2 -b d/top -F qcow2 over",
    "create -f qcow2 -o data_file=more d/new 1M",
    "snapshot -c s d/top",
    "resize d/top 2M",
    "amend -o data_file=more d/top",
    "commit d/top",
    "rebase -b '' d/top",
    "rebase -b other -F raw d/top",
    "rebase -u -b other -F raw d/top",
    "dd if=d/top of=d/out",
    "convert -n -O qcow2 d/other d/top",
];

pub fn cases() -> Vec<Case> {
    let case = |(setup, script): &(&str, &str), line: &&str| {
        let script = format!("dir d\n{script}\nnoise d/other 1M 7");
        Case::after(format!("directories/{setup}/{}", label(line)), script, line)
    };
    SETUPS.iter().flat_map(|setup| LINES.iter().map(move |line| case(setup, line))).collect()
}
