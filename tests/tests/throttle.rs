//! Limits of throttle groups: what passes through them takes its time.

#![allow(clippy::disallowed_methods, reason = "files that tests make need not survive anything")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::time::Instant;

use testkit::oracle::stock;
use testkit::scene;
use testkit::script::noise;
use testkit::tximg::{binary, own};

/// Limits, the nodes through which 8 MiB are read, and the least and the most seconds that it takes.
const LIMITED: &[(&str, &str, f64, f64)] = &[
    ("limits.bps-total=4194304", OVER_FILE, 1.3, 60.0),
    ("x-bps-read=4194304", OVER_FILE, 1.3, 60.0),
    ("limits.iops-total=2", OVER_FILE, 1.0, 60.0),
    ("limits.iops-read=1,limits.iops-read-max=1000,limits.iops-size=65536", OVER_FILE, 0.0, 60.0),
    ("limits.bps-write=1", OVER_FILE, 0.0, 60.0),
    ("limits.bps-read=4194304", UNDER_RAW, 1.3, 60.0),
];
const OVER_FILE: &str = "driver=throttle,throttle-group=g,file.driver=file,file.filename=large";
const UNDER_RAW: &str = "driver=raw,file.driver=throttle,file.throttle-group=g,file.file.filename=large";

#[test]
fn what_is_limited_takes_its_time() {
    // What is built first is not to be timed.
    let _ = binary();
    let scene = scene::empty();
    fs::write(scene.path().join("large"), noise(8 << 20, 1)).expect("the scratch directory can be written");
    for (limits, nodes, least, most) in LIMITED {
        let line = format!("convert --object throttle-group,id=g,{limits} --image-opts -O raw {nodes} out");
        let begun = Instant::now();
        let outcome = own(scene.path(), &line);
        let took = begun.elapsed().as_secs_f64();
        assert!(outcome.success(), "{line}: {}", outcome.err());
        assert!(took >= *least && took < *most, "{line}: {took} s");
    }
}

#[test]
fn what_is_written_through_a_limit_takes_its_time() {
    // What is built first is not to be timed.
    let _ = binary();
    let scene = scene::empty();
    fs::write(scene.path().join("large"), noise(4 << 20, 1)).expect("the scratch directory can be written");
    assert!(own(scene.path(), "create -q -f qcow2 new 4M").success());
    for nodes in [
        "driver=throttle,throttle-group=g,file.driver=qcow2,file.file.filename=new",
        "driver=qcow2,file.driver=throttle,file.throttle-group=g,file.file.filename=new",
    ] {
        let object = "--object throttle-group,id=g,limits.bps-write=2097152";
        let begun = Instant::now();
        let outcome =
            own(scene.path(), &format!("convert -n {object} -f raw --target-image-opts large {nodes}"));
        let took = begun.elapsed().as_secs_f64();
        assert!(outcome.success(), "{nodes}: {}", outcome.err());
        assert!((0.8..60.0).contains(&took), "{nodes}: {took} s");
        let compared = stock(scene.path(), "compare -f raw -F qcow2 large new");
        assert!(compared.success(), "{}", compared.err());
    }
}
