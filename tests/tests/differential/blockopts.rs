//! Block options: plain names, `file:`, `json:{…}` and `--image-opts`, right and wrong.

use testkit::case::{Case, Traits, label};
use testkit::shapes::{self, Shape};

pub fn cases() -> Vec<Case> {
    [json(), image_opts(), names(), probing(), windows()].concat()
}

/// `json:` names, each seen through `info --output=json`.
fn json() -> Vec<Case> {
    const NAMES: &[&str] = &[
        r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"a.qcow2"}}"#,
        r#"json:{"driver":"qcow2","file.driver":"file","file.filename":"a.qcow2"}"#,
        r#"json: {"driver":"qcow2","file.filename":"a.qcow2"}"#,
        r#"json:{"file.filename":"a.qcow2"}"#,
        r#"json:{"file":{"filename":"a.qcow2"}}"#,
        r#"json:{"driver":"raw","file.filename":"a.qcow2"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","backing":null}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","backing":""}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","backing.driver":"raw"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","backing":{"driver":"raw","file.filename":"base.qcow2"}}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","backing.file.filename":"other.qcow2"}"#,
        r#"json:{"driver":"file","filename":"a.qcow2"}"#,
        r#"json:{"driver":"file"}"#,
        r#"json:{"filename":"a.qcow2"}"#,
        r#"json:{"driver":"qcow2"}"#,
        r#"json:{"driver":"qcow2","file":"a.qcow2"}"#,
        r#"json:{"driver":"qcow2","file":null}"#,
        r#"json:{"driver":"qcow2","file":{}}"#,
        r#"json:{"driver":"foo","file.filename":"a.qcow2"}"#,
        r#"json:{"driver":1,"file.filename":"a.qcow2"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","foo":"bar"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","file.foo":"bar"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","foo.bar":"baz"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","lazy-refcounts":true}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","lazy-refcounts":"on"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","cache-size":1048576}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","cache-size":"1M"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","overlap-check":"all"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","overlap-check":"foo"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","read-only":true}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","cache.direct":true}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","cache":{"direct":"on"}}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","discard":"unmap"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","discard":"foo"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","detect-zeroes":"on"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","node-name":"n1"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2","force-share":true}"#,
        r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"a.qcow2","locking":"off"}}"#,
        r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"a.qcow2","aio":"threads"}}"#,
        r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"a.qcow2","aio":"foo"}}"#,
        r#"json:{"driver":"qcow2","file":{"driver":"raw","file":{"driver":"file","filename":"a.qcow2"}}}"#,
        r#"json:{"driver":"qcow2","file":{"driver":"host_device","filename":"a.qcow2"}}"#,
        r#"json:{"driver":"qcow2","file":{"driver":"nbd","host":"localhost"}}"#,
        r#"json:{"driver":"qcow2","file.filename":"gone.qcow2"}"#,
        r#"json:{"driver":"qcow2","file.filename":""}"#,
        r#"json:{"driver":"qcow2","file.filename":"file:a.qcow2"}"#,
        r#"json:{"driver":"qcow2","file.filename":"json:{}"}"#,
        r#"json:{"driver":"qcow2","file.filename":["a.qcow2"]}"#,
        r#"json:{"driver":"qcow2","file.filename":17}"#,
        r#"json:{"driver":"qcow2","file.filename":true}"#,
        r#"json:{"driver":"qcow2","driver":"raw","file.filename":"a.qcow2"}"#,
        r#"json:{"driver":"qcow2","file":{"filename":"a.qcow2"},"file.filename":"b"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2"} trailing"#,
        r#"json:{"driver":"qcow2","file.filename":"a.qcow2""#,
        r#"json:{'driver':'qcow2','file.filename':'a.qcow2'}"#,
        r#"json:{"driver":"qcow2","file.filename":"\u0061.qcow2"}"#,
        r#"json:{"driver":"qcow2","file.filename":"a\/..\/a.qcow2"}"#,
        r"json:{}",
        r"json:",
        r"json:[]",
        r"json:null",
        r"json:1",
        r#"json:"a.qcow2""#,
        r"json:foo",
        r"json:{foo}",
        r#"json:{"driver"}"#,
        r#"json:{"driver":}"#,
        r#"json:{,}"#,
        r#"json:{"":""}"#,
        r#"json:{"driver":"null-co","size":65536}"#,
        r#"json:{"driver":"null-co","size":65536,"read-zeroes":true}"#,
        r#"json:{"driver":"blkdebug","image.filename":"a.qcow2"}"#,
        r#"json:{"driver":"copy-on-read","file.driver":"qcow2","file.file.filename":"a.qcow2"}"#,
    ];
    let shape = shapes::named("chain/two");
    let quoted = |name: &str| name.replace('\\', "\\x5c").replace('\'', "\\x27");
    let case = |name: &&str| {
        let line = format!("info --output=json '{}'", quoted(name));
        Case::reads(format!("blockopts/json/{}", label(name)), shape, &line)
    };
    NAMES.iter().map(case).collect()
}

fn image_opts() -> Vec<Case> {
    const OPTIONS: &[&str] = &[
        "driver=qcow2,file.filename=a.qcow2",
        "driver=qcow2,file.driver=file,file.filename=a.qcow2",
        "file.filename=a.qcow2",
        "filename=a.qcow2",
        "a.qcow2",
        "driver=qcow2",
        "driver=raw,file.filename=a.qcow2",
        "driver=foo,file.filename=a.qcow2",
        "driver=qcow2,file.filename=gone.qcow2",
        "driver=qcow2,file.filename=a.qcow2,foo=bar",
        "driver=qcow2,file.filename=a.qcow2,foo",
        "driver=qcow2,file.filename=a.qcow2,backing=",
        "driver=qcow2,file.filename=a.qcow2,backing.file.filename=other.qcow2",
        "driver=qcow2,file.filename=a.qcow2,backing.driver=qcow2,backing.file.filename=base.qcow2",
        "driver=qcow2,file.filename=a.qcow2,backing.driver=raw,backing.file.filename=base.qcow2",
        "driver=qcow2,file.filename=a.qcow2,lazy-refcounts=on",
        "driver=qcow2,file.filename=a.qcow2,lazy-refcounts=foo",
        "driver=qcow2,file.filename=a.qcow2,lazy-refcounts",
        "driver=qcow2,file.filename=a.qcow2,cache.direct=on",
        "driver=qcow2,file.filename=a.qcow2,cache.direct=foo",
        "driver=qcow2,file.filename=a.qcow2,cache.no-flush=on",
        "driver=qcow2,file.filename=a.qcow2,read-only=on",
        "driver=qcow2,file.filename=a.qcow2,discard=unmap",
        "driver=qcow2,file.filename=a.qcow2,detect-zeroes=unmap",
        "driver=qcow2,file.filename=a.qcow2,cache-size=1M",
        "driver=qcow2,file.filename=a.qcow2,cache-size=foo",
        "driver=qcow2,file.filename=a.qcow2,l2-cache-size=1M",
        "driver=qcow2,file.filename=a.qcow2,node-name=x",
        "driver=qcow2,file.filename=a.qcow2,file.locking=off",
        "driver=qcow2,file.filename=a.qcow2,file.locking=foo",
        "driver=qcow2,file.filename=a.qcow2,file.aio=native",
        "driver=qcow2,file.filename=a.qcow2,file.aio=io_uring",
        "driver=qcow2,file.filename=a.qcow2,file.foo=1",
        "driver=qcow2,file.filename=with,,comma.qcow2",
        "driver=qcow2,file.filename=a.qcow2,,b",
        "driver=qcow2,,file.filename=a.qcow2",
        "driver=qcow2,file.filename=a.qcow2,",
        ",driver=qcow2,file.filename=a.qcow2",
        "driver=qcow2,driver=raw,file.filename=a.qcow2",
        "driver=qcow2,file=a.qcow2",
        "driver=qcow2,file.filename=",
        "driver=file,filename=a.qcow2",
        "driver=host_device,filename=a.qcow2",
        "driver=null-co,size=1M",
        "id=x,driver=qcow2,file.filename=a.qcow2",
        "format=qcow2,file.filename=a.qcow2",
        "file.filename=json:{}",
        "",
        "=",
        "help",
    ];
    let shape = shapes::named("chain/two");
    let mut all = Vec::new();
    for options in OPTIONS {
        for (output, command) in
            [("json", "info --output=json"), ("human", "info"), ("map", "map --output=json")]
        {
            let line = format!("{command} --image-opts '{options}'");
            all.push(Case::reads(format!("blockopts/options/{}/{output}", label(options)), shape, &line));
        }
    }
    all
}

/// A directory full of strange names.
static STRANGE: Shape = Shape {
    name: "strange-names",
    image: "a.qcow2",
    format: "qcow2",
    traits: Traits::PLAIN,
    script: "img create -q -f qcow2 a.qcow2 1M\ndir sub\nlink link.qcow2 a.qcow2\nlink link2.qcow2 link.qcow2
        img create -q -f qcow2 ./with:colon 1M\nimg create -q -f qcow2 with,comma 1M
        img create -q -f qcow2 'with space' 1M\nimg create -q -f qcow2 with%20percent 1M
        img create -q -f qcow2 \\xff\\xfe 1M\nimg create -q -f qcow2 with\\x0anewline 1M
        img create -q -f qcow2 with\\x09tab 1M\nimg create -q -f qcow2 with\\x27quote 1M
        img create -q -f qcow2 with\\x22quote 1M\nimg create -q -f qcow2 with\\x5cback 1M
        img create -q -f qcow2 caf\\xc3\\xa9 1M\nimg create -q -f qcow2 with\\x01control 1M
        img create -q -f qcow2 ./json:{} 1M\nimg create -q -f qcow2 -- -dash 1M",
};

/// Names of files that look like something else.
fn names() -> Vec<Case> {
    const NAMES: &[(&str, &str)] = &[
        ("colon", "with:colon"),
        ("dot-colon", "./with:colon"),
        ("file-colon", "file:with:colon"),
        ("file-scheme", "file:a.qcow2"),
        ("file-slashes", "file:///a.qcow2"),
        ("file-dot", "file:./a.qcow2"),
        ("comma", "with,comma"),
        ("space", "'with space'"),
        ("percent", "with%20percent"),
        ("bytes", "\\xff\\xfe"),
        ("newline", "with\\x0anewline"),
        ("tab", "with\\x09tab"),
        ("quote", "with\\x27quote"),
        ("double-quote", "with\\x22quote"),
        ("backslash", "with\\x5cback"),
        ("accent", "caf\\xc3\\xa9"),
        ("control", "with\\x01control"),
        ("json-prefix", "./json:{}"),
        ("dash", "-- -dash"),
        ("relative", "./sub/../a.qcow2"),
        ("double-slash", ".//a.qcow2"),
        ("link", "link.qcow2"),
        ("link-to-link", "link2.qcow2"),
        ("directory", "sub"),
        ("directory-slash", "sub/"),
        ("through-file", "a.qcow2/x"),
        ("nbd", "nbd://localhost:1/x"),
        ("nbd-old", "nbd:unix:/none"),
        ("http", "http://localhost:1/x"),
        ("unknown-scheme", "foo:bar"),
        ("unknown-url", "foo://bar"),
        ("fat", "fat:sub"),
        ("null", "null-co://"),
        ("dev-null", "/dev/null"),
        ("dev-zero", "/dev/zero"),
        ("dev-full", "/dev/full"),
        ("fd", "/dev/fd/0"),
        ("fdset", "/dev/fdset/1"),
        (
            "long",
            "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
        ),
    ];
    let mut all = Vec::new();
    for (variant, name) in NAMES {
        for (output, command) in [("human", "info"), ("json", "info --output=json")] {
            let line = format!("{command} {name}");
            all.push(Case::reads(format!("blockopts/name/{variant}/{output}"), &STRANGE, &line));
        }
    }
    all
}

/// What is found when no format is named, and the warning where that is dangerous.
fn probing() -> Vec<Case> {
    const FILES: &[(&str, &str)] = &[
        ("empty", "sparse a 0"),
        ("zeroes", "sparse a 1M"),
        ("noise", "noise a 1M 1"),
        ("short", "text a QFI"),
        ("magic-only", "text a QFI\\xfb"),
        ("version-3", "text a QFI\\xfb\\x00\\x00\\x00\\x03\ncut a 1M"),
        ("version-9", "text a QFI\\xfb\\x00\\x00\\x00\\x09\ncut a 1M"),
        ("qcow1", "img create -f qcow a 1M"),
        ("qed", "img create -f qed a 1M"),
        ("vmdk", "img create -f vmdk a 1M"),
        ("vdi", "img create -f vdi a 1M"),
        ("vpc", "img create -f vpc a 1M"),
        ("vhdx", "img create -f vhdx a 1M"),
        ("parallels", "img create -f parallels a 1M"),
    ];
    let mut all = Vec::new();
    for (variant, setup) in FILES {
        for (command, line) in [
            ("info", "info a"),
            ("map", "map a"),
            ("convert", "convert -O qcow2 a out"),
            ("compare", "compare a a"),
            ("check", "check a"),
            ("measure", "measure -O qcow2 a"),
            ("dd", "dd if=a of=out"),
            ("bench", "bench -c 1 -s 1 a"),
            ("snapshot", "snapshot -l a"),
            ("bench-write", "bench -w -c 1 -s 512 a"),
        ] {
            all.push(Case::after(format!("blockopts/probe/{variant}/{command}"), *setup, line));
        }
    }
    all
}

/// raw's `offset` and `size`.
fn windows() -> Vec<Case> {
    const WINDOWS: &[&str] = &[
        "offset=0",
        "offset=65536",
        "offset=65536,size=65536",
        "offset=512,size=1000",
        "size=4096",
        "size=4M",
        "offset=4M",
        "offset=3M",
        "offset=1,size=512",
        "offset=-1",
        "offset=foo",
        "size=0",
        "offset=1M,size=9223372036854775807",
    ];
    let shape = shapes::named("raw/mixed");
    let mut all = Vec::new();
    for window in WINDOWS {
        let options = format!("driver=raw,{window},file.filename=a.raw");
        all.push(Case::reads(
            format!("blockopts/window/{}/info", label(window)),
            shape,
            &format!("info --output=json --image-opts {options}"),
        ));
        all.push(Case::reads(
            format!("blockopts/window/{}/map", label(window)),
            shape,
            &format!("map --output=json --image-opts {options}"),
        ));
        all.push(Case::makes(
            format!("blockopts/window/{}/convert", label(window)),
            shape,
            &format!("convert --image-opts -O qcow2 {options} out"),
        ));
    }
    all
}
