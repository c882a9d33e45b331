//! Rules of `blkdebug`, as options and as sections of a file.

use super::super::dict::{Dict, Scalar};
use super::super::image_opts::is_identifier;
use super::super::take;
use crate::blkdebug::rules::{Action, Event, Injection, Io, Rule};
use crate::{Error, Result};

/// What rules that make requests fail are under.
pub(crate) const INJECT_ERROR: &str = "inject-error";
/// What rules that change the state are under.
pub(crate) const SET_STATE: &str = "set-state";

/// More rules than this are no test any more.
const MAX_RULES: usize = 10_000;
/// The error where none is said.
const EIO: i32 = 5;
/// Bytes of a sector, in which rules count.
const SECTOR: u64 = 512;

/// Rules on their way to a disk.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    inject: Vec<Section>,
    set_state: Vec<Section>,
}

/// Kinds of section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    InjectError,
    SetState,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::InjectError => INJECT_ERROR,
            Self::SetState => SET_STATE,
        }
    }

    fn knows(self, key: &str) -> bool {
        match self {
            Self::InjectError => {
                ["event", "state", "iotype", "errno", "sector", "once", "immediately"].contains(&key)
            }
            Self::SetState => ["event", "state", "new_state"].contains(&key),
        }
    }
}

/// What one rule says.
#[derive(Debug, Default)]
struct Section {
    id: Option<String>,
    event: Option<String>,
    state: Option<u64>,
    io: Option<Scalar>,
    errno: Option<u64>,
    sector: Option<u64>,
    once: bool,
    new_state: Option<u64>,
}

impl Section {
    /// Takes those options that such a section has, in the order in which QEMU meets them.
    fn absorb(&mut self, kind: Kind, options: &mut Dict) -> Result<Dict> {
        let mut others = Dict::default();
        while let Some(key) = options.first_key() {
            if !kind.knows(&key) {
                others.join(options.split_off(&key));
                continue;
            }
            match key.as_str() {
                "event" => self.event = options.take("event").and_then(|value| value.spelled()),
                "iotype" => self.io = options.take("iotype").filter(|value| value.spelled().is_some()),
                "state" => self.state = take::number(options, "state")?,
                "errno" => self.errno = take::number(options, "errno")?,
                "sector" => self.sector = take::number(options, "sector")?,
                "new_state" => self.new_state = take::number(options, "new_state")?,
                "once" => self.once = take::switch(options, "once")? == Some(true),
                // When the error comes makes no difference to who waits for it.
                other => drop(take::switch(options, other)?),
            }
        }
        Ok(others)
    }

    fn event(&self) -> Result<Event> {
        let name = self.event.as_deref().ok_or_else(|| Error::invalid("Missing event name for rule"))?;
        Event::from_name(name).ok_or_else(|| Error::invalid(format!("invalid parameter value: {name}")))
    }

    /// Numbers are cut to 32 bits, as QEMU does it.
    fn rule(self, kind: Kind) -> Result<Rule> {
        let (event, state) = (self.event()?, self.state.unwrap_or(0) as i32);
        let action = match kind {
            Kind::SetState => Action::SetState(self.new_state.unwrap_or(0) as i32),
            Kind::InjectError => {
                let mut io = Dict::default();
                self.io.into_iter().for_each(|value| io.put("iotype", value));
                Action::Inject(Injection {
                    io: take::choice(&mut io, "iotype", &Io::NAMED)?,
                    errno: self.errno.map_or(EIO, |errno| errno as i32),
                    at: self.sector.filter(|sector| *sector != u64::MAX).map(|at| at.wrapping_mul(SECTOR)),
                    once: self.once,
                })
            }
        };
        Ok(Rule { event, state, action })
    }
}

impl Sections {
    /// A section of a file, with all that it says.
    pub(super) fn put(&mut self, name: &str, mut options: Dict) -> Result<()> {
        let kind = match name {
            INJECT_ERROR => Kind::InjectError,
            SET_STATE => Kind::SetState,
            _ => return Err(Error::invalid(format!("There is no option group '{name}'"))),
        };
        let id = options.take("id").and_then(|id| id.spelled());
        let mut section = self.new_section(kind, id)?;
        if let Some(key) = section.absorb(kind, &mut options)?.first_key() {
            return Err(Error::invalid(format!("Invalid parameter '{key}'")));
        }
        self.of(kind).push(section);
        Ok(())
    }

    /// The rules among the options: one, or a list of them.
    pub(crate) fn put_options(&mut self, inject: Dict, set_state: Dict) -> Result<()> {
        self.put_kind(Kind::InjectError, inject)?;
        self.put_kind(Kind::SetState, set_state)
    }

    fn put_kind(&mut self, kind: Kind, mut options: Dict) -> Result<()> {
        if options.is_empty() {
            return Ok(());
        }
        let count = options.entries().count();
        let mut only = self.new_section(kind, None)?;
        let mut rest = only.absorb(kind, &mut options)?;
        match rest.first_key() {
            None => self.of(kind).push(only),
            Some(key) if rest.entries().count() < count => {
                return Err(Error::invalid(format!("Unknown option '{key}' for [{}]", kind.name())));
            }
            Some(_) => self.put_list(kind, &mut rest)?,
        }
        Ok(())
    }

    fn put_list(&mut self, kind: Kind, options: &mut Dict) -> Result<()> {
        let name = kind.name();
        let mut items = Vec::new();
        loop {
            let key = items.len().to_string();
            let item = (options.take(&key), options.take_subtree(&key));
            match item {
                (None, below) if below.is_empty() => break,
                item => items.push(item),
            }
        }
        if let Some(key) = options.first_key() {
            return Err(Error::invalid(format!("Unused option '{key}' for [{name}]")));
        }
        for (index, (alone, mut item)) in items.into_iter().enumerate() {
            // A section without keys; so is an empty list, which QEMU refuses.
            if alone.is_some_and(|alone| alone != Scalar::Empty) {
                let text = format!("[{name}] section (index {index}) does not consist of keys");
                return Err(Error::invalid(text));
            }
            let mut section = self.new_section(kind, Some(format!("{name}.{index}")))?;
            if let Some(key) = section.absorb(kind, &mut item)?.first_key() {
                let text = format!("[{name}] section doesn't support the option '{key}'");
                return Err(Error::invalid(text));
            }
            self.of(kind).push(section);
        }
        Ok(())
    }

    fn new_section(&mut self, kind: Kind, id: Option<String>) -> Result<Section> {
        if self.of(kind).len() >= MAX_RULES {
            return Err(Error::invalid(format!("There are more than {MAX_RULES} rules")));
        }
        if let Some(id) = &id {
            if !is_identifier(id.as_bytes()) {
                return Err(Error::invalid("Parameter 'id' expects an identifier").with_hint(
                    "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.",
                ));
            }
            if self.of(kind).iter().any(|other| other.id.as_ref() == Some(id)) {
                return Err(Error::invalid(format!("Duplicate ID '{id}' for {}", kind.name())));
            }
        }
        Ok(Section { id, ..Section::default() })
    }

    fn of(&mut self, kind: Kind) -> &mut Vec<Section> {
        match kind {
            Kind::InjectError => &mut self.inject,
            Kind::SetState => &mut self.set_state,
        }
    }

    /// The rules, in order.
    pub(crate) fn into_rules(self) -> Result<Vec<Rule>> {
        let inject = self.inject.into_iter().map(|section| section.rule(Kind::InjectError));
        let set_state = self.set_state.into_iter().map(|section| section.rule(Kind::SetState));
        inject.chain(set_state).collect()
    }
}
