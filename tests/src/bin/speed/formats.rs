//! Conversions between raw and each format that is written.

use std::fs;

use super::copies::{self, Work};
use super::cost::must_run;
use super::{Options, Tools};

/// A format to convert to and from.
struct Target {
    name: &'static str,
    /// The options that make an image.
    output: &'static str,
    /// The options and the name of the image that is read.
    input: &'static str,
    /// Ratio of time that is wanted at most.
    goal: f64,
}

const fn target(name: &'static str, output: &'static str, input: &'static str) -> Target {
    Target { name, output, input, goal: 0.8 }
}

const SECRET: &str = "--object secret,id=s,data=pass";

const TARGETS: &[Target] = &[
    target("qcow2", "-O qcow2", "-f qcow2 source/image"),
    target("VDI, dynamic", "-O vdi", "-f vdi source/image"),
    target("VDI, static", "-O vdi -o static=on", "-f vdi source/image"),
    target("VPC, dynamic", "-O vpc -o force_size=on", "-f vpc source/image"),
    target("VPC, fixed", "-O vpc -o subformat=fixed,force_size=on", "-f vpc source/image"),
    target("VHDX, dynamic", "-O vhdx", "-f vhdx source/image"),
    target("VHDX, fixed", "-O vhdx -o subformat=fixed", "-f vhdx source/image"),
    target("VMDK, monolithicSparse", "-O vmdk", "-f vmdk source/image"),
    target("VMDK, monolithicFlat", "-O vmdk -o subformat=monolithicFlat", "-f vmdk source/image"),
    target("VMDK, twoGbMaxExtentSparse", "-O vmdk -o subformat=twoGbMaxExtentSparse", "-f vmdk source/image"),
    Target {
        goal: 0.6,
        ..target("VMDK, streamOptimized", "-O vmdk -o subformat=streamOptimized", "-f vmdk source/image")
    },
    target("QED", "-O qed", "-f qed source/image"),
    target("qcow", "-O qcow", "-f qcow source/image"),
    target("Parallels", "-O parallels", "-f parallels source/image"),
    Target {
        goal: 0.5,
        ..target(
            "LUKS",
            "-O luks -o key-secret=s,iter-time=10",
            "--image-opts driver=luks,key-secret=s,file.filename=source/image",
        )
    },
    Target {
        goal: 0.5,
        ..target(
            "qcow2, encrypted",
            "-O qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
            "--image-opts driver=qcow2,encrypt.key-secret=s,file.filename=source/image",
        )
    },
];

/// Prints the table.
pub fn table(options: &Options, tools: &Tools) {
    copies::heading();
    for target in TARGETS.iter().filter(|target| target.name.contains(&options.only)) {
        let needs_secret = target.output.contains("secret");
        let objects = if needs_secret { format!("{SECRET} ") } else { String::new() };
        let there = Work {
            name: format!("raw to {}", target.name),
            args: format!("convert {objects}-f raw disk.raw {} OUT", target.output),
            goal: target.goal,
            ..Work::default()
        };
        println!("{}", copies::row(&there, options, tools));
        let back = Work {
            name: format!("{} to raw", target.name),
            args: format!("convert {objects}{} -O raw OUT", target.input),
            goal: target.goal,
            ..Work::default()
        };
        // Made by the other program, and only while it is needed: all of them together would be large.
        let source = options.dir.join("source");
        let _ = fs::remove_dir_all(&source);
        fs::create_dir_all(&source).expect("the directory can be made");
        must_run(&tools.theirs, &options.dir, &there.args.replace("OUT", "source/image"));
        println!("{}", copies::row(&back, options, tools));
        let _ = fs::remove_dir_all(&source);
    }
}
