//! Command lines as such: help, versions, commands and options that do not exist.

use testkit::case::{Case, label};
use testkit::shapes;

/// Commands that this version has, and those that are still to come.
const COMMANDS: [&str; 12] = [
    "amend", "bench", "check", "compare", "convert", "create", "dd", "info", "map", "measure", "resize",
    "snapshot",
];

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    const LINES: &[&str] = &[
        "",
        "foo",
        "--foo",
        "-x",
        "--version",
        "-V",
        "--help",
        "-h",
        "--hel",
        "--vers",
        "-T",
        "--trace",
        "info --version",
        "-V info",
        "-h info",
        "info -",
        "''",
        "INFO a.qcow2",
        "inf a.qcow2",
        "-T foo info a.qcow2",
        "-T enable=foo info a.qcow2",
        "--trace enable=foo,file=t info a.qcow2",
        "-T help",
        "snapshot",
        "snapshot -l",
        "snapshot -l gone.qcow2",
        "snapshot -l a.qcow2 extra",
        "snapshot -l -l a.qcow2",
        "snapshot -q -l a.qcow2",
        "snapshot -U -l a.qcow2",
        "snapshot --list a.qcow2",
        "snapshot -x a.qcow2",
        "snapshot --image-opts -l driver=qcow2,file.filename=a.qcow2",
        "info",
        "info a.qcow2 b.qcow2",
        "info -f foo a.qcow2",
        "info -f '' a.qcow2",
        "info -f vmdk a.qcow2",
        "info -f bochs a.qcow2",
        "info -f host_device a.qcow2",
        "info -f file a.qcow2",
        "info --output=yaml a.qcow2",
        "info --output a.qcow2",
        "info --output=JSON a.qcow2",
        "info -b a.qcow2",
        "info --backing a.qcow2",
        "info -Uf qcow2 a.qcow2",
        "info a.qcow2 -f qcow2",
        "info a.qcow2 --output=json",
        "info -fqcow2 a.qcow2",
        "info --format=qcow2 a.qcow2",
        "info --format qcow2 a.qcow2",
        "info -f qcow2 -f raw a.qcow2",
        "info --image-opts --output=json driver=qcow2,file.filename=a.qcow2",
        "info --image-opts -f qcow2 driver=qcow2,file.filename=a.qcow2",
        "info --object secret,id=s,data=x a.qcow2",
        "info --object secret,id=s a.qcow2",
        "info --object foo,id=s a.qcow2",
        "info --object help",
        "info -t none a.qcow2",
        "info --limits a.qcow2",
        "info gone.qcow2",
        "info --output=json gone.qcow2",
        "info -U gone.qcow2",
    ];
    let shape = shapes::named("qcow2/fragmented");
    for line in LINES {
        all.push(Case::reads(format!("usage/line/{}", label(line)), shape, line));
    }
    for command in COMMANDS {
        for (variant, line) in [
            ("bare", String::new()),
            ("help", "--help".to_owned()),
            ("short-help", "-h".to_owned()),
            ("help-late", "a.qcow2 --help".to_owned()),
            ("unknown-long", "--no-such-option".to_owned()),
            ("unknown-short", "-Z".to_owned()),
            ("valued-flag", "--help=x".to_owned()),
            ("missing-value", "-f".to_owned()),
            ("missing-long-value", "--format".to_owned()),
            ("missing-object", "--object".to_owned()),
        ] {
            all.push(Case::reads(format!("usage/{command}/{variant}"), shape, &format!("{command} {line}")));
        }
    }
    all
}
