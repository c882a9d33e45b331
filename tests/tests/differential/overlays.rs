//! Images that stand on others, of every kind, as `rebase` and `commit` start from.

/// Options with which `a.qcow2`, the image on top, is made.
pub(crate) const TOPS: [(&str, &str); 10] = [
    ("64k", ""),
    ("512", "-o cluster_size=512"),
    ("4k", "-o cluster_size=4k"),
    ("2M", "-o cluster_size=2M"),
    ("v2", "-o compat=0.10"),
    ("v2-1k", "-o compat=0.10,cluster_size=1k"),
    ("subclusters", "-o extended_l2=on"),
    ("subclusters-16k", "-o extended_l2=on,cluster_size=16k"),
    ("refcount-1", "-o refcount_bits=1"),
    ("data-file", "-o data_file=a.data"),
];

/// What stands under it: how that is made, and how the image on top names it.
pub(crate) const BASES: [(&str, &str, &str); 13] = [
    ("raw", "noise base.raw 1M 1", "-b base.raw -F raw"),
    ("raw-short", "noise base.raw 300032 1", "-b base.raw -F raw"),
    ("raw-odd", "noise base.raw 700001 1", "-b base.raw -F raw"),
    ("raw-holes", "sparse base.raw 2M\nio -f raw base.raw | write -P 5 64k 1k | write -P 6 1M 100k", "-b base.raw -F raw"),
    ("qcow2", "noise n 1M 1\nimg convert -f raw -O qcow2 n base.qcow2\nremove n", "-b base.qcow2 -F qcow2"),
    (
        "qcow2-512",
        "img create -f qcow2 -o cluster_size=512 base.qcow2 1M
         io -f qcow2 base.qcow2 | write -P 1 10k 300k | write -z 100k 60k | write -P 2 900k 1k",
        "-b base.qcow2 -F qcow2",
    ),
    (
        "qcow2-2M-long",
        "img create -f qcow2 -o cluster_size=2M base.qcow2 5M\nio -f qcow2 base.qcow2 | write -P 1 0 5M",
        "-b base.qcow2 -F qcow2",
    ),
    (
        "v2-short",
        "img create -f qcow2 -o compat=0.10 base.qcow2 500k\nio -f qcow2 base.qcow2 | write -P 1 0 200k",
        "-b base.qcow2 -F qcow2",
    ),
    (
        "subclusters",
        "img create -f qcow2 -o extended_l2=on base.qcow2 1M
         io -f qcow2 base.qcow2 | write -P 1 3k 300k | write -z 100k 10k | write -P 2 900k 1k",
        "-b base.qcow2 -F qcow2",
    ),
    ("compressed", "prose n 1M 1\nimg convert -c -f raw -O qcow2 n base.qcow2\nremove n", "-b base.qcow2 -F qcow2"),
    (
        "snapshot",
        "img create -f qcow2 base.qcow2 1M\nio -f qcow2 base.qcow2 | write -P 1 0 600k\nimg snapshot -c s base.qcow2
         io -f qcow2 base.qcow2 | write -P 2 500k 200k",
        "-b base.qcow2 -F qcow2",
    ),
    (
        "chain",
        "noise root.raw 900k 1\nimg create -f qcow2 -b root.raw -F raw mid.qcow2 600k
         io -f qcow2 mid.qcow2 | write -P 3 300k 70k | write -z 64k 64k
         img create -f qcow2 -b mid.qcow2 -F qcow2 base.qcow2 800k\nio -f qcow2 base.qcow2 | write -P 4 0 10k",
        "-b base.qcow2 -F qcow2",
    ),
    (
        "data-file",
        "img create -f qcow2 -o data_file=base.data base.qcow2 1M
         io -f qcow2 base.qcow2 | write -P 1 100k 500k | write -z 200k 64k",
        "-b base.qcow2 -F qcow2",
    ),
];

/// What the image on top holds itself.
pub(crate) const WRITES: &str =
    "write -P 9 100k 70k | write -z 400k 64k | write -P 8 1M 1k | discard 128k 64k | write -P 0 700k 68k";

/// A script that makes an image of these options and that size on that base, with [`WRITES`].
pub(crate) fn script((_, options): (&str, &str), (_, made, named): (&str, &str, &str), size: &str) -> String {
    format!("{made}\nimg create -f qcow2 {options} {named} a.qcow2 {size}\nio -f qcow2 a.qcow2 | {WRITES}",)
}

/// A size that ends in the middle of a cluster.
pub(crate) const ODD_SIZE: &str = "1052672";
