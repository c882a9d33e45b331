use super::rules::Sections;
use super::*;
use crate::blkdebug::rules::{Action, Event, Injection, Io, Rule};

fn parsed(text: &str) -> Result<Vec<Rule>> {
    let mut sections = Sections::default();
    config::parse(text.as_bytes(), &mut sections)?;
    sections.into_rules()
}

fn refused(text: &str) -> String {
    parsed(text).unwrap_err().to_string()
}

#[test]
fn a_file_has_sections_of_assignments() {
    let text = "# rules\n\n[inject-error \"a\"]\n  event = \"read_aio\" rest\nerrno= \"1\"\n";
    assert_eq!(refused(text), "Invalid parameter 'errno='");
    let text = "[set-state]rest\nevent = \"pwritev\"\nnew_state = \"2\"\n[inject-error]\nevent = \"none\"\n\
                state = \"2\"\niotype = \"flush\"\nsector = \"0x10\"\nerrno = \"28\"\nonce = \"on\"";
    let injection = Injection { io: Some(Io::Flush), errno: 28, at: Some(8192), once: true };
    assert_eq!(
        parsed(text).unwrap(),
        [
            Rule { event: Event::OPENED, state: 2, action: Action::Inject(injection) },
            Rule { event: Event::WRITE, state: 0, action: Action::SetState(2) },
        ]
    );
    assert_eq!(parsed("").unwrap(), []);
}

#[test]
fn bad_files_are_refused_as_qemu_does() {
    for (text, message) in [
        ("   \n", "parse error"),
        ("x\n", "no group defined"),
        ("[]\n", "no group defined"),
        ("[x]", "There is no option group 'x'"),
        ("[ set-state]\n", "There is no option group ' set-state'"),
        ("[set-state x\n", "There is no option group 'set-state x\n'"),
        ("[set-state]\n", "Missing event name for rule"),
        ("[set-state]\nevent = none\n", "invalid parameter value: "),
        ("[set-state]\nevent = \"a\n", "invalid parameter value: a\n"),
        ("[set-state]\nerrno = \"1\"\n", "Invalid parameter 'errno'"),
        ("[set-state]\nstate = \"x\"\n[y]\n", "Parameter 'state' expects a number"),
        ("[inject-error]\nonce = \"x\"\n", "Parameter 'once' expects 'on' or 'off'"),
        ("[inject-error]\nevent = \"none\"\niotype = \"x\"\n", "invalid parameter value: x"),
        ("[set-state \"1\"]\n", "Parameter 'id' expects an identifier"),
        ("[set-state \"a\"]\n[set-state \"a\"]\n", "Duplicate ID 'a' for set-state"),
    ] {
        assert_eq!(refused(text), message, "{text:?}");
    }
    let number = "[inject-error]\nerrno = \"99999999999999999999\"\n";
    assert_eq!(refused(number), "Value '99999999999999999999' is too large for parameter 'errno'");
}

#[test]
fn any_bytes_are_read_or_refused() {
    let mut bytes = Vec::new();
    let mut state = 1_u32;
    for round in 0..2000 {
        bytes.clear();
        for _ in 0..round % 90 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let choices = b"[]\"= \n\0#\xffinject-error set-state event none";
            bytes.push(choices[(state >> 16) as usize % choices.len()]);
        }
        let _ = config::parse(&bytes, &mut Sections::default());
    }
    let long = [b"[inject-error]\n".repeat(3), vec![b'a'; 5000]].concat();
    assert!(config::parse(&long, &mut Sections::default()).is_err());
}

fn dict(entries: &[(&str, &str)]) -> Dict {
    let mut dict = Dict::default();
    entries.iter().for_each(|(key, value)| dict.put(*key, Scalar::text(value)));
    dict
}

fn options(entries: &[(&str, &str)]) -> Result<Vec<Rule>> {
    let mut sections = Sections::default();
    sections.put_options(dict(entries), Dict::default())?;
    sections.into_rules()
}

#[test]
fn options_are_one_rule_or_a_list() {
    assert_eq!(options(&[("event", "none"), ("errno", "1")]).unwrap().len(), 1);
    assert_eq!(options(&[("0.event", "none"), ("1.event", "none")]).unwrap().len(), 2);
    for (entries, message) in [
        (&[("event", "none"), ("x", "y")][..], "Unknown option 'x' for [inject-error]"),
        (&[("x", "y")], "Unused option 'x' for [inject-error]"),
        (&[("1.event", "none")], "Unused option '1.event' for [inject-error]"),
        (&[("0", "none")], "[inject-error] section (index 0) does not consist of keys"),
        (&[("0.x", "y")], "[inject-error] section doesn't support the option 'x'"),
    ] {
        assert_eq!(options(entries).unwrap_err().to_string(), message);
    }
}

#[test]
fn names_have_a_config_and_an_image() {
    let named = |name: &str| {
        let mut options = Dict::default();
        put_name(OsStr::new(name), &mut options).map(|()| (options.take("config"), options.take("x-image")))
    };
    let text = |text: &str| Some(Scalar::text(text));
    assert_eq!(named("blkdebug:a:b:c").unwrap(), (text("a"), text("b:c")));
    assert_eq!(named("blkdebug::b").unwrap(), (None, text("b")));
    assert_eq!(named("b").unwrap(), (None, text("b")));
    assert!(named("blkdebug:b").is_err());
}

#[test]
fn limits_fit_to_one_another() {
    let limits = Limits { align: 4096, max_transfer: 8192, ..Limits::default() };
    assert!(limits.check(1).is_ok());
    let told = |limits: Limits| limits.check(1).unwrap_err().to_string();
    assert_eq!(told(Limits { align: 3, ..limits }), "Cannot meet constraints with align 3");
    assert_eq!(told(Limits { max_transfer: 512, ..limits }), "Cannot meet constraints with max-transfer 512");
    let zeroes = Limits { opt_write_zero: 8192, max_write_zero: 4096, ..limits };
    assert_eq!(told(zeroes), "Cannot meet constraints with max-write-zero 4096");
    let discard = Limits { max_discard: 1 << 31, ..limits };
    assert_eq!(told(discard), "Cannot meet constraints with max-discard 2147483648");
}

#[test]
fn permissions_are_a_list() {
    assert_eq!(permissions(Dict::default()).unwrap(), Permissions::NONE);
    let both = permissions(dict(&[("1", "write"), ("0", "resize")])).unwrap();
    assert_eq!(both, Permissions::WRITE | Permissions::RESIZE);
    for (entries, message) in [
        (&[("0", "x")][..], "Parameter 'null' does not accept value 'x'"),
        (&[("1", "write")], "List indices are not contiguous, saw 1 elements but 1 largest index"),
        (&[("0.x", "write")], "Invalid parameter type for '[0]', expected: string"),
        (&[("a", "write")], "Invalid parameter type for '<anonymous>', expected: array"),
        (&[("a", "write"), ("0", "write")], "Cannot mix list and non-list keys"),
    ] {
        assert_eq!(permissions(dict(entries)).unwrap_err().to_string(), message);
    }
}
