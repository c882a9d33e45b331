//! The tokens of QEMU's JSON.

/// A token, as it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// One of `{ } [ ] : ,`.
    Punctuation(u8),
    /// A run of lower-case letters.
    Keyword(&'a [u8]),
    /// A number.
    Number(&'a [u8]),
    /// A string with its quotes, escapes and all.
    Text(&'a [u8]),
    /// What is no token, up to and including the byte that made it none.
    Stray(&'a [u8]),
}

/// Splits a text into tokens.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    rest: &'a [u8],
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let blank = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
        self.rest = &self.rest[blank..];
        let first = *self.rest.first()?;
        let kind = match first {
            b'{' | b'}' | b'[' | b']' | b':' | b',' => Scan::Found(1),
            b'a'..=b'z' => Scan::Found(run(self.rest, |byte| byte.is_ascii_lowercase())),
            b'-' | b'0'..=b'9' => scan_number(self.rest),
            b'"' | b'\'' => scan_text(self.rest, first),
            _ => Scan::Bad(1),
        };
        let (len, good) = match kind {
            Scan::Found(len) => (len, true),
            Scan::Bad(len) => (len.min(self.rest.len()), false),
        };
        let (text, rest) = self.rest.split_at(len);
        self.rest = rest;
        Some(match (good, first) {
            (false, _) => Token::Stray(text),
            (true, b'a'..=b'z') => Token::Keyword(text),
            (true, b'-' | b'0'..=b'9') => Token::Number(text),
            (true, b'"' | b'\'') => Token::Text(text),
            (true, mark) => Token::Punctuation(mark),
        })
    }
}

/// How long a token is, or how long the text is that shows it is none.
enum Scan {
    Found(usize),
    Bad(usize),
}

fn run(text: &[u8], wanted: impl Fn(&u8) -> bool) -> usize {
    text.iter().take_while(|byte| wanted(byte)).count()
}

fn scan_text(text: &[u8], quote: u8) -> Scan {
    let mut at = 1;
    loop {
        match text.get(at) {
            None => return Scan::Bad(at),
            Some(byte) if *byte == quote => return Scan::Found(at + 1),
            Some(b'\\') => match text.get(at + 1) {
                Some(0x20..=0xfd) => at += 2,
                _ => return Scan::Bad(at + 2),
            },
            Some(0x20..=0xfd) => at += 1,
            Some(_) => return Scan::Bad(at + 1),
        }
    }
}

fn scan_number(text: &[u8]) -> Scan {
    let digits = |at: usize| text.get(at..).map_or(0, |rest| run(rest, u8::is_ascii_digit));
    let mut at = usize::from(text[0] == b'-');
    let whole = digits(at);
    match text.get(at) {
        Some(b'0') if whole > 1 => return Scan::Bad(at + 2),
        _ if whole == 0 => return Scan::Bad(at + 1),
        _ => at += whole,
    }
    if text.get(at) == Some(&b'.') {
        match digits(at + 1) {
            0 => return Scan::Bad(at + 2),
            fraction => at += 1 + fraction,
        }
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        match digits(at + 1 + sign) {
            0 => return Scan::Bad(at + sign + 2),
            exponent => at += 1 + sign + exponent,
        }
    }
    Scan::Found(at)
}
