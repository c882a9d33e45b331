//! `compare`: equal and unequal images, of equal and unequal sizes, strict and not.

use testkit::case::{Case, Traits, label};
use testkit::shapes::{self, Shape};

pub fn cases() -> Vec<Case> {
    let walked = shapes::readable().filter(|shape| shape.name != "qcow2/pebibyte");
    let mut all: Vec<Case> = walked.flat_map(of_shape).collect();
    all.extend(pairs());
    all.extend(lines());
    all
}

/// An image with itself, with a converted copy, and with a copy that was written to.
fn of_shape(shape: &'static Shape) -> Vec<Case> {
    let case =
        |variant: &str, line: &str| Case::reads(format!("compare/{}/{variant}", shape.name), shape, line);
    let mut all = vec![
        case("itself", "compare -f {fmt} -F {fmt} {img} {img}"),
        case("itself-strict", "compare -s {img} {img}"),
        case("as-raw", "compare -f {fmt} -F raw {img} {img}"),
    ];
    if !shape.traits.huge {
        let copies = [("copy", ""), ("copy-strict", "-s "), ("copy-progress", "-p ")];
        all.extend(copies.map(|(variant, option)| {
            let line = format!("compare {option}-f {{fmt}} -F raw {{img}} copy.raw");
            let setup = format!("img convert -f {} -O raw {} copy.raw", shape.format, shape.image);
            Case::makes(format!("compare/{}/{variant}", shape.name), shape, &line).setup(setup)
        }));
    }
    all
}

/// Images to be held against one another.
static IMAGES: Shape = Shape {
    name: "compare-pairs",
    image: "a.raw",
    format: "raw",
    traits: Traits::PLAIN,
    script: "prose a.raw 1M 1\nprose b.raw 1M 1\nprose long.raw 2M 1\nprose c.raw 1M 2
        img convert -f raw -O qcow2 a.raw a.qcow2
        img convert -f raw -O qcow2 -c a.raw z.qcow2
        prose padded.raw 1M 1\ncut padded.raw 3M\nsparse zero.raw 1M\nsparse none.raw 0
        img create -f qcow2 zero.qcow2 4M
        img create -f qcow2 written.qcow2 4M\nio -f qcow2 written.qcow2 | write -P 0 1M 1M
        img create -f qcow2 zeroed.qcow2 4M\nio -f qcow2 zeroed.qcow2 | write -z 1M 1M
        prose d.raw 1M 1\nio -f raw d.raw | write -P 255 700000 1
        prose e.raw 1M 1\nio -f raw e.raw | write -P 255 1048575 1
        prose odd.raw 1000001 1\nsparse g.raw 3T\nsparse h.raw 3T\nio -f raw h.raw | write -P 1 2T 512",
};

fn pairs() -> Vec<Case> {
    const PAIRS: &[&str] = &[
        "-f raw -F raw a.raw b.raw",
        "-f raw -F raw a.raw c.raw",
        "-f raw -F raw a.raw d.raw",
        "-f raw -F raw a.raw e.raw",
        "-f raw -F raw a.raw long.raw",
        "-f raw -F raw long.raw a.raw",
        "-s -f raw -F raw a.raw long.raw",
        "-f raw -F raw a.raw padded.raw",
        "-f raw -F raw padded.raw a.raw",
        "-s -f raw -F raw a.raw padded.raw",
        "-q -f raw -F raw a.raw c.raw",
        "-q -f raw -F raw a.raw b.raw",
        "-p -f raw -F raw a.raw padded.raw",
        "-p -q -f raw -F raw a.raw b.raw",
        "-f raw -F qcow2 a.raw a.qcow2",
        "-F qcow2 -f raw a.raw z.qcow2",
        "-s -f raw -F qcow2 a.raw a.qcow2",
        "-s -f qcow2 -F qcow2 a.qcow2 z.qcow2",
        "a.qcow2 z.qcow2",
        "a.raw a.qcow2",
        "a.raw b.raw",
        "-f raw a.raw b.raw",
        "-F raw a.raw b.raw",
        "zero.qcow2 written.qcow2",
        "-s zero.qcow2 written.qcow2",
        "-s written.qcow2 zero.qcow2",
        "zero.qcow2 zeroed.qcow2",
        "-s zero.qcow2 zeroed.qcow2",
        "-s written.qcow2 zeroed.qcow2",
        "-f raw -F qcow2 zero.raw zero.qcow2",
        "-f raw -F raw none.raw zero.raw",
        "-f raw -F raw none.raw a.raw",
        "-f raw -F raw none.raw none.raw",
        "-f raw -F raw odd.raw a.raw",
        "-f raw -F raw g.raw h.raw",
        "-f raw -F raw g.raw g.raw",
        "-s -f raw -F raw g.raw h.raw",
        "-f raw -F raw gone.raw a.raw",
        "-f raw -F raw a.raw gone.raw",
        "-f qcow2 -F raw a.raw a.raw",
        "-f raw -F qcow2 a.raw a.raw",
    ];
    let case = |pair: &&str| {
        Case::reads(format!("compare/pair/{}", label(pair)), &IMAGES, &format!("compare {pair}"))
    };
    PAIRS.iter().map(case).collect()
}

fn lines() -> Vec<Case> {
    const LINES: &[&str] = &[
        "compare",
        "compare a.qcow2",
        "compare a.qcow2 a.qcow2 a.qcow2",
        "compare -f foo a.qcow2 a.qcow2",
        "compare -F foo a.qcow2 a.qcow2",
        "compare -T foo a.qcow2 a.qcow2",
        "compare -T none a.qcow2 a.qcow2",
        "compare -T directsync a.qcow2 a.qcow2",
        "compare -U a.qcow2 a.qcow2",
        "compare --strict a.qcow2 a.qcow2",
        "compare --a-format=qcow2 --b-format=qcow2 a.qcow2 a.qcow2",
        "compare --image-opts driver=qcow2,file.filename=a.qcow2 driver=qcow2,file.filename=a.qcow2",
        "compare --image-opts -f qcow2 driver=qcow2,file.filename=a.qcow2 driver=qcow2,file.filename=a.qcow2",
        "compare --image-opts a.qcow2 a.qcow2",
        "compare a.qcow2 json:{\"driver\":\"raw\",\"file.filename\":\"a.qcow2\"}",
        "compare a.qcow2 a.qcow2 -s -f qcow2",
        "compare -x a.qcow2 a.qcow2",
    ];
    let shape = shapes::named("qcow2/fragmented");
    let case = |line: &&str| Case::reads(format!("compare/line/{}", label(line)), shape, line);
    LINES.iter().map(case).collect()
}
