use super::super::image_opts;
use super::*;

fn named(name: &str) -> Result<NodeOptions> {
    ParsedNode::new(Some(OsStr::new(name)), Dict::default(), Slot::Image).map(|parsed| parsed.node)
}

fn described(text: &str) -> Result<NodeOptions> {
    let options = image_opts::parse(text.as_bytes())?.options;
    ParsedNode::new(None, options, Slot::Image).map(|parsed| parsed.node)
}

fn format(node: NodeOptions) -> FormatNode {
    match node {
        NodeOptions::Format(node) => node,
        other => panic!("{other:?}"),
    }
}

fn file(node: NodeOptions) -> (Option<DriverName>, String) {
    match *format(node).file {
        NodeOptions::Protocol(file) => (file.driver, file.options.filename.to_string_lossy().into_owned()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_notation_gives_the_same_tree() {
    let plain = format(named("a").unwrap());
    assert_eq!(plain.image.format, FormatOptions::Probe);
    let texts = [
        "json:{\"driver\":\"qcow2\",\"file\":{\"filename\":\"a\"}}",
        "json: {\"driver\":\"qcow2\",\"file.filename\":\"a\"}",
    ];
    let expected = described("driver=qcow2,file.filename=a").unwrap();
    for text in texts {
        assert_eq!(named(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn protocols_are_taken_from_names_only_where_names_are_plain() {
    assert_eq!(file(named("file:a").unwrap()), (None, "a".to_owned()));
    assert_eq!(file(named("file:a:b").unwrap()), (None, "./a:b".to_owned()));
    assert_eq!(file(named("host_device:a").unwrap()), (Some(DriverName::HostDevice), "a".to_owned()));
    assert_eq!(file(named("./x:a").unwrap()), (None, "./x:a".to_owned()));
    assert_eq!(file(described("file.filename=file:a").unwrap()), (None, "file:a".to_owned()));
    let driver = described("driver=raw,file.driver=file,file.filename=nbd:x").unwrap();
    assert_eq!(file(driver), (Some(DriverName::File), "nbd:x".to_owned()));
}

#[test]
fn complaints_are_qemus() {
    for (text, expected) in [
        ("", "Must specify either driver or file"),
        ("filename=a", "Must specify either driver or file"),
        ("driver=qcow2", "A block device must be specified for \"file\""),
        ("driver=foo", "Unknown driver 'foo'"),
        ("a", "Cannot find device='a' nor node-name='a'"),
        (
            "a,file.filename=b",
            "Cannot reference an existing block device with additional options or a new filename",
        ),
        ("driver=raw,file.filename=a,size=-1", "Value '-1' is out of range for parameter 'size'"),
        ("driver=raw,file.filename=a,size=x", "Parameter 'size' expects a non-negative number below 2^64"),
        ("file.filename=a,read-only=maybe", "Parameter 'read-only' expects 'on' or 'off'"),
        ("file.filename=a,node-name=1", "Invalid node-name: '1'"),
        ("file.filename=a,node-name=x,file.node-name=x", "Duplicate nodes with node-name='x'"),
        ("file.filename=a,discard=x", "Invalid discard option"),
        ("file.filename=a,file.locking=x", "invalid parameter value: x"),
        (
            "driver=qcow2,file.filename=a,overlap-check=x",
            "Unsupported value 'x' for qcow2 option 'overlap-check'. Allowed are any of the following: none, constant, cached, all",
        ),
        (
            "driver=qcow2,file.filename=a,cache-size=1,l2-cache-size=2",
            "l2-cache-size may not exceed cache-size",
        ),
        ("driver=nbd,host=x", "The driver 'nbd' is not supported yet"),
    ] {
        assert_eq!(described(text).unwrap_err().report(), expected, "{text}");
    }
    assert_eq!(named("foo:a").unwrap_err().report(), "Unknown protocol 'foo'");
    assert_eq!(named("json:[]").unwrap_err().report(), "Invalid JSON object given");
    assert_eq!(
        named("json:{").unwrap_err().report(),
        "Could not parse the JSON options: JSON parse error, premature EOI"
    );
}

#[test]
fn what_nobody_knows_is_kept_for_the_refusal() {
    let node = format(described("driver=qcow2,file.filename=a,lazy-refcounts=on,x=1").unwrap());
    assert_eq!(node.image.unknown.first_key().as_deref(), Some("x"));
    let node = format(described("file.filename=a,size=512").unwrap());
    assert_eq!(node.image.unknown.first_key().as_deref(), Some("size"));
    let raw = node.image.with_format(Format::Raw).unwrap();
    assert_eq!(raw.unknown.first_key(), None);
}

#[test]
fn a_backing_image_can_be_left_out_or_replaced() {
    let backing = |text: &str| format(described(text).unwrap()).image.backing;
    assert_eq!(backing("file.filename=a,backing="), Backing::None);
    assert_eq!(backing("file.filename=a"), Backing::Header(Dict::default()));
    match backing("file.filename=a,backing.file.filename=b") {
        Backing::Header(options) => assert!(options.has("file.filename")),
        Backing::None => panic!("the backing image was lost"),
    }
    let null = named("json:{\"file\":{\"filename\":\"a\"},\"backing\":null}").unwrap();
    assert_eq!(format(null).image.backing, Backing::None);
}

#[test]
fn names_of_names_come_to_an_end() {
    let deep = |count: usize| named(&format!("{}a", "blkdebug::".repeat(count)));
    assert!(deep(256).is_ok());
    assert_eq!(deep(10_000).unwrap_err().report(), "Too many nodes are one over another");
}
