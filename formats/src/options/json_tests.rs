use super::*;

fn complaint(text: &str) -> String {
    match parse_options(text.as_bytes()) {
        Err(JsonError::Syntax(complaint)) => {
            complaint.strip_prefix("JSON parse error, ").unwrap_or(&complaint).to_owned()
        }
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn complaints_are_worded_as_qemu_words_them() {
    for (text, expected) in [
        ("", "Expecting a JSON value"),
        (" ", "Expecting a JSON value"),
        ("{} x", "Expecting at most one JSON value"),
        ("{} @", "Expecting at most one JSON value"),
        ("{", "premature EOI"),
        ("{\"a\":1", "premature EOI"),
        ("{\"a\":[1,2", "premature EOI"),
        ("{\"a\":[1,}", "expecting value"),
        ("}", "expecting value"),
        ("[}", "expecting value"),
        ("{]", "expecting value"),
        ("{\"a\":}", "expecting value"),
        ("{\"a\":1,}", "expecting value"),
        ("{\"a\":1]}", "expected separator in dict"),
        ("{\"a\":1x}", "expected separator in dict"),
        ("[1 2]", "expected separator in list"),
        ("{\"a\" 1}", "missing : in object pair"),
        ("{5:1}", "key is not a string in object"),
        ("{\"a\":1,\"a\":2}", "duplicate key"),
        ("{a:1}", "invalid keyword 'a'"),
        ("{\"a\":tru}", "invalid keyword 'tru'"),
        ("{\"a\":TRUE}", "stray 'T'"),
        ("{\"a\":01}", "stray '01'"),
        ("{\"a\":-}", "stray '-}'"),
        ("{\"a\":1.}", "stray '1.}'"),
        ("{\"a\":1.5e}", "stray '1.5e}'"),
        ("{\"a\":%d}", "stray '%'"),
        ("{\"a\":\"raw", "stray '\"raw'"),
        ("{\"a\":\"x\\", "stray '\"x\\'"),
        ("'", "stray '''"),
        ("{\"a\":\"ra\\q\"}", "invalid escape sequence in string"),
        ("{\"a\":\"\\u00\"}", "\\u00\" is not a valid Unicode character"),
        ("{\"a\":\"\\ud800x\"}", "\\ud800 is not a valid Unicode character"),
        ("{\"a\":\"\\udc00\"}", "\\udc00 is not a valid Unicode character"),
        ("{\"a\":\"\\ud800\\u0041\"}", "\\ud800 is not a valid Unicode character"),
        ("{\"a\":\"\\ufffe\"}", "\\ufffe is not a valid Unicode character"),
    ] {
        assert_eq!(complaint(text), expected, "{text}");
    }
    assert_eq!(
        parse_options(b"{\"a\":\"\xc3(\"}"),
        Err(JsonError::Syntax("JSON parse error, invalid UTF-8 sequence in string".to_owned()))
    );
    for text in ["[]", "5", "-0", "null", "\"x\"", "[1]"] {
        assert_eq!(parse_options(text.as_bytes()), Err(JsonError::NotAnObject), "{text}");
    }
}

#[test]
fn objects_are_flattened_and_nesting_overrides_dots() {
    let dict = parse_options(
        br#" {'driver': "raw", "file": {"filename": "b", "x": [1, {"y": null}]}, "file.filename": "a", "z": {}}"#,
    )
    .unwrap();
    let mut expected = Dict::default();
    for (key, value) in [
        ("driver", Scalar::text("raw")),
        ("file.filename", Scalar::text("b")),
        ("file.x.0", Scalar::Integer(1)),
        ("file.x.1.y", Scalar::Null),
        ("z", Scalar::Empty),
    ] {
        assert_eq!(dict.get(key), Some(&value), "{key}");
        expected.put(key, value);
    }
}

#[test]
fn strings_and_numbers_have_their_values() {
    let dict = parse_options(
        br#"{"a": "\u0041\ud83d\ude00\/\n'\"", "b": 18446744073709551615, "c": 1.5, "d": 1e999, "e": '\''}"#,
    )
    .unwrap();
    assert_eq!(dict.get("a"), Some(&Scalar::text("A😀/\n'\"")));
    assert_eq!(dict.get("b"), Some(&Scalar::Unsigned(u64::MAX)));
    assert_eq!(dict.get("c"), Some(&Scalar::Double(1.5)));
    assert_eq!(dict.get("d"), Some(&Scalar::Double(f64::INFINITY)));
    assert_eq!(dict.get("e"), Some(&Scalar::text("'")));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert_eq!(parse_options(&nested(1024)), Err(JsonError::NotAnObject));
    assert_eq!(
        parse_options(&nested(1025)),
        Err(JsonError::Syntax("JSON nesting depth limit exceeded".to_owned()))
    );
}
