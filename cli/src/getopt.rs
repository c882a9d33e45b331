//! The C library's option grammar, as scripts written for qemu-img rely on it.
//!
//! Options may follow positionals, short flags may be clustered and their values glued
//! (`-fqcow2`), long options may be cut short while they stay unambiguous, `--` ends the options,
//! and a lone `-` is a positional. The complaints are the C library's, byte for byte, and stand in
//! the sequence at the place where the C library would have met them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::command::{Dialect, Opt, Value};

/// Where options may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Anywhere among the positionals.
    Permute,
    /// Before the first positional only.
    OptionsFirst,
    /// Anywhere among the positionals, but a negative number behind the first one is a positional.
    PermuteSigned,
}

/// One option as it was given.
#[derive(Debug, Clone)]
pub(crate) struct Occurrence {
    /// Which option.
    pub(crate) opt: &'static Opt,
    /// Its value, if it takes one.
    pub(crate) value: Option<OsString>,
}

/// What is wrong with an argument, without the program's name in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem(pub(crate) OsString);

/// The arguments in two rows.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// Options as they were given; the first problem ends the row.
    pub(crate) options: Vec<Result<Occurrence, Problem>>,
    /// Everything that is not an option.
    pub(crate) positionals: Vec<OsString>,
}

/// Sorts `args` by what of the `table` is in the dialect.
pub(crate) fn parse(
    args: &[OsString],
    table: impl IntoIterator<Item = &'static Opt>,
    dialect: Dialect,
    order: Order,
) -> Parsed {
    let table = table.into_iter().filter(|opt| opt.is_in(dialect)).collect();
    let mut scan = Scan { table, args: args.iter(), parsed: Parsed::default() };
    while let Some(arg) = scan.args.next() {
        let bytes = arg.as_bytes();
        let found = if bytes == b"--" {
            break;
        } else if let Some(long) = bytes.strip_prefix(b"--") {
            scan.long(long)
        } else if bytes.len() > 1 && bytes[0] == b'-' {
            scan.cluster(&bytes[1..])
        } else {
            scan.parsed.positionals.push(arg.clone());
            match order {
                Order::Permute => Ok(()),
                Order::OptionsFirst => break,
                Order::PermuteSigned => {
                    scan.take_negative();
                    Ok(())
                }
            }
        };
        if let Err(problem) = found {
            scan.parsed.options.push(Err(problem));
            return scan.parsed;
        }
    }
    scan.parsed.positionals.extend(scan.args.cloned());
    scan.parsed
}

struct Scan<'a> {
    /// The options that there are.
    table: Vec<&'static Opt>,
    args: std::slice::Iter<'a, OsString>,
    parsed: Parsed,
}

impl Scan<'_> {
    /// Takes a negative number that stands behind the first positional.
    fn take_negative(&mut self) {
        let next = self.args.as_slice().first();
        let negative = next.filter(|arg| matches!(arg.as_bytes(), [b'-', b'0'..=b'9', ..]));
        if let (Some(number), [_]) = (negative, &self.parsed.positionals[..]) {
            self.parsed.positionals.push(number.clone());
            self.args.next();
        }
    }

    /// `--name`, `--name=value`, `--name value`.
    fn long(&mut self, text: &[u8]) -> Result<(), Problem> {
        let (name, glued) = match text.iter().position(|&byte| byte == b'=') {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        let (opt, full) = self.find_long(name, text)?;
        let value = match (opt.value, glued) {
            (Value::None, None) => None,
            (Value::None, Some(_)) => {
                return Err(problem(&[b"option '--", full.as_bytes(), b"' doesn't allow an argument"]));
            }
            (Value::Required(_), Some(value)) => Some(OsStr::from_bytes(value).to_owned()),
            (Value::Required(_), None) => match self.args.next() {
                Some(value) => Some(value.clone()),
                None => {
                    return Err(problem(&[b"option '--", full.as_bytes(), b"' requires an argument"]));
                }
            },
        };
        self.parsed.options.push(Ok(Occurrence { opt, value }));
        Ok(())
    }

    /// The option of that name, or the only one (up to synonyms) whose name begins so.
    fn find_long(&self, name: &[u8], text: &[u8]) -> Result<(&'static Opt, &'static str), Problem> {
        let names =
            || self.table.iter().copied().flat_map(|opt| opt.long.iter().map(move |&long| (opt, long)));
        if let Some(exact) = names().find(|(_, long)| long.as_bytes() == name) {
            return Ok(exact);
        }
        let begin = |long: &str| long.as_bytes().starts_with(name);
        let candidates: Vec<_> = names().filter(|(opt, long)| !opt.is_extra(long) && begin(long)).collect();
        let Some(&first) = candidates.first() else {
            return Err(problem(&[b"unrecognized option '--", text, b"'"]));
        };
        if candidates.iter().all(|(opt, _)| opt.id == first.0.id) {
            return Ok(first);
        }
        let mut message = [b"option '--", text, b"' is ambiguous; possibilities:"].concat();
        for (_, long) in candidates {
            message.extend_from_slice(b" '--");
            message.extend_from_slice(long.as_bytes());
            message.push(b'\'');
        }
        Err(problem(&[&message]))
    }

    /// `-a`, `-abc`, `-ovalue`, `-o value`.
    fn cluster(&mut self, flags: &[u8]) -> Result<(), Problem> {
        let mut rest = flags;
        while let Some((&flag, after)) = rest.split_first() {
            let Some(opt) =
                self.table.iter().copied().find(|opt| opt.short.map(u32::from) == Some(flag.into()))
            else {
                return Err(problem(&[b"invalid option -- '", &[flag], b"'"]));
            };
            rest = after;
            let value = match opt.value {
                Value::None => None,
                Value::Required(_) if !after.is_empty() => {
                    rest = &[];
                    Some(OsStr::from_bytes(after).to_owned())
                }
                Value::Required(_) => match self.args.next() {
                    Some(value) => Some(value.clone()),
                    None => return Err(problem(&[b"option requires an argument -- '", &[flag], b"'"])),
                },
            };
            self.parsed.options.push(Ok(Occurrence { opt, value }));
        }
        Ok(())
    }
}

fn problem(parts: &[&[u8]]) -> Problem {
    Problem(OsString::from_vec(parts.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Id;

    const TABLE: &[Opt] = &[
        Opt::new(Id::Help, Some('h'), &["help"], Value::None, ""),
        Opt::new(Id::Quiet, Some('q'), &["quiet"], Value::None, ""),
        Opt::new(Id::Format, Some('f'), &["format", "left-format"], Value::Required("FMT"), ""),
        Opt::new(Id::ForceShare, Some('U'), &["force-share"], Value::None, ""),
        Opt::new(Id::Progress, Some('p'), &["progress"], Value::None, "").extra(&["progress"]),
        Opt::new(Id::Force, None, &["force"], Value::None, "").own(),
    ];

    fn sorted(args: &[&str], order: Order) -> (String, String) {
        sorted_in(Dialect::Stock, args, order)
    }

    fn sorted_in(dialect: Dialect, args: &[&str], order: Order) -> (String, String) {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let parsed = parse(&args, TABLE, dialect, order);
        let options: Vec<String> = parsed
            .options
            .iter()
            .map(|option| match option {
                Ok(Occurrence { opt, value: Some(value) }) => format!("{:?}={}", opt.id, value.display()),
                Ok(Occurrence { opt, value: None }) => format!("{:?}", opt.id),
                Err(Problem(message)) => message.display().to_string(),
            })
            .collect();
        let positionals: Vec<String> =
            parsed.positionals.iter().map(|positional| positional.display().to_string()).collect();
        (options.join("|"), positionals.join("|"))
    }

    #[test]
    fn accepts_what_the_c_library_accepts() {
        let cases: &[(&[&str], &str, &str)] = &[
            (&["a", "-q", "b"], "Quiet", "a|b"),
            (&["-fqcow2", "a"], "Format=qcow2", "a"),
            (&["-f", "qcow2"], "Format=qcow2", ""),
            (&["-qUf", "raw"], "Quiet|ForceShare|Format=raw", ""),
            (&["-qUfraw"], "Quiet|ForceShare|Format=raw", ""),
            (&["--format=raw", "--format", "x"], "Format=raw|Format=x", ""),
            (&["--form", "x", "--q"], "Format=x|Quiet", ""),
            (&["--format="], "Format=", ""),
            (&["-f", ""], "Format=", ""),
            (&["-f", "--"], "Format=--", ""),
            (&["-", "--", "-q"], "", "-|-q"),
            (&["--left", "x"], "Format=x", ""),
            (&["--progress"], "Progress", ""),
        ];
        for (args, options, positionals) in cases {
            assert_eq!(
                sorted(args, Order::Permute),
                (options.to_string(), positionals.to_string()),
                "{args:?}"
            );
        }
    }

    #[test]
    fn complains_as_the_c_library_does() {
        let cases: &[(&[&str], &str)] = &[
            (&["-Z"], "invalid option -- 'Z'"),
            (&["-qZ", "-f"], "Quiet|invalid option -- 'Z'"),
            (&["-:"], "invalid option -- ':'"),
            (&["-f"], "option requires an argument -- 'f'"),
            (&["--foo"], "unrecognized option '--foo'"),
            (&["--zz=3"], "unrecognized option '--zz=3'"),
            (&["--form"], "option '--format' requires an argument"),
            (&["--qu=1"], "option '--quiet' doesn't allow an argument"),
            (&["--f=1"], "option '--f=1' is ambiguous; possibilities: '--format' '--force-share'"),
            (&["--p"], "unrecognized option '--p'"),
        ];
        for (args, expected) in cases {
            assert_eq!(sorted(args, Order::Permute).0, *expected, "{args:?}");
        }
    }

    #[test]
    fn own_options_exist_in_the_own_dialect_only() {
        let sorted = |dialect| sorted_in(dialect, &["--force"], Order::Permute).0;
        assert_eq!((sorted(Dialect::Stock), sorted(Dialect::Own)), ("ForceShare".into(), "Force".into()));
    }

    #[test]
    fn options_first_stops_at_the_command() {
        assert_eq!(sorted(&["-q", "info", "-U"], Order::OptionsFirst), ("Quiet".into(), "info|-U".into()));
    }
}
