//! `amend` where qemu-img cannot be asked.

use std::path::Path;

use testkit::oracle::stock;
use testkit::scene;
use testkit::tximg::own;

const SETUP: &str = "
    img create -q -f qcow2 -o cluster_size=2M a.qcow2 16M
    io -f qcow2 a.qcow2 | write -P 1 1M 2M | write -P 2 15M 1M | write -z 10M 2M
    img convert -f qcow2 -O qcow2 -o cluster_size=2M a.qcow2 b.qcow2
";

/// Refcounts of other widths, which under clusters of 2 MiB take qemu-img hours.
#[test]
fn large_clusters_get_refcounts_of_any_width() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = scene::empty();
    let dir: &Path = dir.path();
    testkit::script::run(SETUP, dir);
    for bits in ["1", "8", "64", "16"] {
        let outcome = own(dir, &format!("amend -o refcount_bits={bits} a.qcow2"));
        assert!(outcome.success(), "{}", outcome.err());
        let check = stock(dir, "check a.qcow2");
        assert!(check.out().starts_with("No errors"), "{}", check.out());
        stock(dir, "compare a.qcow2 b.qcow2");
        let line = format!("refcount bits: {bits}\n");
        assert!(stock(dir, "info a.qcow2").out().contains(&line));
    }
}
