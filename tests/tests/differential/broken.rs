//! Chains that do not hold: which commands open what is behind an image, and what they say if they cannot.

use testkit::case::{Case, label};

/// What is wrong behind or beside `top`. (Of a chain that is a loop qemu-img never gets out.)
const CHAINS: &[(&str, &str)] = &[
    ("gone", "img create -q -f qcow2 base 1M\nimg create -q -f qcow2 -b base -F qcow2 top\nremove base"),
    ("other-format", "img create -q -f qcow2 -u -b base -F qed top 1M\nimg create -q -f qcow2 base 1M"),
    (
        "deep",
        "img create -q -f qcow2 a 1M\nimg create -q -f qcow2 -b a -F qcow2 b\nimg create -q -f qcow2 -b b -F qcow2 top\nremove a",
    ),
    ("cut", "img create -q -f qcow2 base 1M\nimg create -q -f qcow2 -b base -F qcow2 top\ncut base 60"),
    ("directory", "dir base\nimg create -q -f qcow2 -u -b base -F qcow2 top 1M"),
    ("json", "img create -q -f qcow2 -u -b 'json:{\"driver\":\"qcow2\"' -F qcow2 top 1M"),
    ("protocol", "img create -q -f qcow2 -u -b nonsense:base -F qcow2 top 1M"),
    ("data-file", "img create -q -f qcow2 -o data_file=data top 1M\nremove data"),
    ("data-file-cut", "img create -q -f qcow2 -o data_file=data,data_file_raw=on top 1M\ncut data 512"),
];

/// What is done to `top`.
const LINES: &[&str] = &[
    "info top",
    "info --output=json top",
    "info --backing-chain top",
    "map top",
    "map --output=json top",
    "measure -O raw top",
    "check top",
    "check -r all top",
    "compare top top",
    "snapshot -l top",
    "snapshot -c s top",
    "snapshot -a s top",
    "snapshot -d s top",
    "bitmap --add top b",
    "bitmap --remove top b",
    "amend -o lazy_refcounts=on top",
    "resize top 2M",
    "resize --shrink top 512k",
    "commit top",
    "commit -d top",
    "rebase -u -b other -F raw top",
    "rebase -b '' top",
    "rebase -b other -F raw top",
    "convert -O raw top out",
    "convert -n -O qcow2 other top",
    "convert -O qcow2 -B base -F qcow2 top out",
    "dd if=top of=out",
    "bench -c 1 top",
    "create -f qcow2 -b top -F qcow2 over",
    "create -f qcow2 -u -b top -F qcow2 over 1M",
];

pub fn cases() -> Vec<Case> {
    let case = |(chain, script): &(&str, &str), line: &&str| {
        Case::after(format!("broken/{chain}/{}", label(line)), format!("{script}\nsparse other 1M"), line)
    };
    CHAINS.iter().flat_map(|chain| LINES.iter().map(move |line| case(chain, line))).chain(sources()).collect()
}

/// Bitmaps of an image whose chain is broken.
fn sources() -> Vec<Case> {
    const PAIR: &str =
        "img create -q -f qcow2 a 1M\nimg bitmap --add a b\nimg create -q -f qcow2 -u -b gone -F qcow2 top 1M
        img bitmap --add top b";
    const LINES: &[&str] = &[
        "bitmap --merge b -b top -F qcow2 a b",
        "bitmap --merge b -b a -F qcow2 top b",
        "bitmap --merge b -b top a b",
    ];
    LINES.iter().map(|line| Case::after(format!("broken/source/{}", label(line)), PAIR, line)).collect()
}
