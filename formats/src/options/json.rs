//! The JSON that QEMU accepts in `json:{…}`: also single-quoted strings, and its own complaints.

use super::dict::{Dict, Scalar};
use super::json_lexer::{Lexer, Token};
use crate::shown::shown_bytes;

/// How deep objects and lists may nest, and how many tokens a text may have.
const MAX_NESTING: usize = 1024;
const MAX_TOKENS: usize = 2 << 20;

/// Why a text is no dictionary of options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonError {
    /// It is not JSON; with the whole complaint.
    Syntax(String),
    /// It is JSON, but not an object.
    NotAnObject,
}

impl JsonError {
    fn parse(what: &str) -> Self {
        Self::Syntax(format!("JSON parse error, {what}"))
    }
}

/// A JSON value; strings are bytes.
#[derive(Debug, Clone, PartialEq)]
enum Json {
    Scalar(Scalar),
    List(Vec<Json>),
    Object(Vec<(Vec<u8>, Json)>),
}

/// Reads an object and flattens it: nested objects and lists become dotted keys.
pub fn parse_options(text: &[u8]) -> Result<Dict, JsonError> {
    match parse(text)? {
        Json::Object(members) => {
            let mut flat = Dict::default();
            flatten_object(members, &[], &mut flat);
            Ok(flat)
        }
        _ => Err(JsonError::NotAnObject),
    }
}

/// Plain members go first, so that a nested object overrides the dotted keys beside it.
fn flatten_object(members: Vec<(Vec<u8>, Json)>, prefix: &[u8], flat: &mut Dict) {
    let (scalars, nested): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|(_, value)| matches!(value, Json::Scalar(_)));
    for (key, value) in scalars.into_iter().chain(nested) {
        flatten([prefix, &key].concat(), value, flat);
    }
}

fn flatten(key: Vec<u8>, value: Json, flat: &mut Dict) {
    let below = [&key[..], b"."].concat();
    match value {
        Json::Scalar(scalar) => flat.put(key, scalar),
        Json::List(items) if items.is_empty() => flat.put(key, Scalar::Empty),
        Json::Object(members) if members.is_empty() => flat.put(key, Scalar::Empty),
        Json::Object(members) => flatten_object(members, &below, flat),
        Json::List(items) => {
            for (place, item) in items.into_iter().enumerate() {
                flatten([&below[..], place.to_string().as_bytes()].concat(), item, flat);
            }
        }
    }
}

/// One value and nothing after it.
fn parse(text: &[u8]) -> Result<Json, JsonError> {
    let mut lexer = Lexer::new(text);
    let tokens = one_value(&mut lexer)?;
    if tokens.is_empty() {
        return Err(JsonError::Syntax("Expecting a JSON value".to_owned()));
    }
    let value = Parser { tokens: tokens.into_iter().peekable() }.value()?;
    match lexer.next() {
        None => Ok(value),
        Some(_) => Err(JsonError::Syntax("Expecting at most one JSON value".to_owned())),
    }
}

/// The tokens up to where all brackets are closed. A malformed token is met before any grammar.
fn one_value<'a>(lexer: &mut Lexer<'a>) -> Result<Vec<Token<'a>>, JsonError> {
    let (mut braces, mut brackets) = (0_isize, 0_isize);
    let mut tokens = Vec::new();
    for token in lexer {
        match token {
            Token::Stray(text) => {
                let text = shown_bytes(text);
                return Err(JsonError::parse(&format!("stray '{text}'")));
            }
            Token::Punctuation(b'{') => braces += 1,
            Token::Punctuation(b'}') => braces -= 1,
            Token::Punctuation(b'[') => brackets += 1,
            Token::Punctuation(b']') => brackets -= 1,
            _ => {}
        }
        tokens.push(token);
        if (braces <= 0 && brackets <= 0) || braces < 0 || brackets < 0 {
            break;
        }
        if (braces + brackets).unsigned_abs() > MAX_NESTING {
            return Err(JsonError::Syntax("JSON nesting depth limit exceeded".to_owned()));
        }
        if tokens.len() > MAX_TOKENS {
            return Err(JsonError::Syntax("JSON token count limit exceeded".to_owned()));
        }
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token<'a>>>,
}

impl Parser<'_> {
    /// Recursion is as deep as the brackets nest, which [`one_value`] has bounded.
    fn value(&mut self) -> Result<Json, JsonError> {
        match self.token()? {
            Token::Punctuation(b'{') => self.members().map(Json::Object),
            Token::Punctuation(b'[') => self.items().map(Json::List),
            Token::Keyword(b"true") => Ok(Json::Scalar(Scalar::Bool(true))),
            Token::Keyword(b"false") => Ok(Json::Scalar(Scalar::Bool(false))),
            Token::Keyword(b"null") => Ok(Json::Scalar(Scalar::Null)),
            Token::Keyword(word) => {
                Err(JsonError::parse(&format!("invalid keyword '{}'", shown_bytes(word))))
            }
            Token::Number(text) => Ok(Json::Scalar(number(text))),
            Token::Text(quoted) => Ok(Json::Scalar(Scalar::text(unescape(quoted)?))),
            Token::Punctuation(_) | Token::Stray(_) => Err(JsonError::parse("expecting value")),
        }
    }

    fn members(&mut self) -> Result<Vec<(Vec<u8>, Json)>, JsonError> {
        let mut members = Vec::new();
        let mut known = std::collections::HashSet::new();
        if self.closes(b'}')? {
            return Ok(members);
        }
        loop {
            let (key, value) = self.member(&known)?;
            known.insert(key.clone());
            members.push((key, value));
            match self.token()? {
                Token::Punctuation(b'}') => return Ok(members),
                Token::Punctuation(b',') => {}
                _ => return Err(JsonError::parse("expected separator in dict")),
            }
        }
    }

    fn member(&mut self, known: &std::collections::HashSet<Vec<u8>>) -> Result<(Vec<u8>, Json), JsonError> {
        let Json::Scalar(Scalar::Text(key)) = self.value()? else {
            return Err(JsonError::parse("key is not a string in object"));
        };
        let key = std::os::unix::ffi::OsStringExt::into_vec(key);
        if self.token()? != Token::Punctuation(b':') {
            return Err(JsonError::parse("missing : in object pair"));
        }
        let value = self.value()?;
        if known.contains(&key) {
            return Err(JsonError::parse("duplicate key"));
        }
        Ok((key, value))
    }

    fn items(&mut self) -> Result<Vec<Json>, JsonError> {
        let mut items = Vec::new();
        if self.closes(b']')? {
            return Ok(items);
        }
        loop {
            items.push(self.value()?);
            match self.token()? {
                Token::Punctuation(b']') => return Ok(items),
                Token::Punctuation(b',') => {}
                _ => return Err(JsonError::parse("expected separator in list")),
            }
        }
    }

    /// Whether the bracket closes at once; if so it is taken.
    fn closes(&mut self, bracket: u8) -> Result<bool, JsonError> {
        match self.tokens.peek() {
            None => Err(JsonError::parse("premature EOI")),
            Some(token) if *token == Token::Punctuation(bracket) => {
                self.tokens.next();
                Ok(true)
            }
            Some(_) => Ok(false),
        }
    }
}

impl<'a> Parser<'a> {
    fn token(&mut self) -> Result<Token<'a>, JsonError> {
        self.tokens.next().ok_or_else(|| JsonError::parse("premature EOI"))
    }
}

fn number(text: &[u8]) -> Scalar {
    // The lexer lets only ASCII digits, signs, points and exponents through.
    let text = String::from_utf8_lossy(text);
    if let Ok(number) = text.parse::<i64>() {
        return Scalar::Integer(number);
    }
    if let Ok(number) = text.parse::<u64>() {
        return Scalar::Unsigned(number);
    }
    Scalar::Double(text.parse().unwrap_or(f64::INFINITY))
}

/// The bytes that a string literal stands for.
fn unescape(quoted: &[u8]) -> Result<Vec<u8>, JsonError> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(inner.len());
    let mut at = 0;
    while let Some(&byte) = inner.get(at) {
        if byte != b'\\' {
            let len = sequence_len(&inner[at..])
                .ok_or_else(|| JsonError::parse("invalid UTF-8 sequence in string"))?;
            bytes.extend_from_slice(&inner[at..at + len]);
            at += len;
            continue;
        }
        let plain = match inner.get(at + 1) {
            Some(byte @ (b'"' | b'\'' | b'\\' | b'/')) => *byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                at += unicode_escape(&quoted[1 + at..], &mut bytes)?;
                continue;
            }
            _ => return Err(JsonError::parse("invalid escape sequence in string")),
        };
        bytes.push(plain);
        at += 2;
    }
    Ok(bytes)
}

/// Decodes an escape of four hexadecimal digits, or a pair of them; returns how many bytes of the text that took.
fn unicode_escape(text: &[u8], bytes: &mut Vec<u8>) -> Result<usize, JsonError> {
    let refuse = || {
        let end = text.len().min(6);
        let shown = shown_bytes(&text[..end]);
        JsonError::parse(&format!("{shown} is not a valid Unicode character"))
    };
    let unit = |at: usize| {
        let escape = text.get(at..at + 6)?;
        let digits = std::str::from_utf8(escape.strip_prefix(b"\\u")?).ok()?;
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let first = unit(0).ok_or_else(refuse)?;
    if first == 0 {
        // QEMU keeps its strings free of NUL bytes by an overlong sequence.
        bytes.extend_from_slice(b"\xc0\x80");
        return Ok(6);
    }
    let (code, len) = match (first, unit(6)) {
        (0xd800..=0xdbff, Some(second @ 0xdc00..=0xdfff)) => {
            (0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12)
        }
        _ => (first, 6),
    };
    let character = char::from_u32(code).filter(|c| !is_noncharacter(*c)).ok_or_else(refuse)?;
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(len)
}

/// The length of the UTF-8 sequence at the start of `bytes`, if it is one that QEMU takes.
fn sequence_len(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\xc0\x80") {
        return Some(2);
    }
    let len = match bytes.first()? {
        0..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let character = std::str::from_utf8(bytes.get(..len)?).ok()?.chars().next()?;
    (!is_noncharacter(character)).then_some(len)
}

fn is_noncharacter(character: char) -> bool {
    let code = u32::from(character);
    (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
