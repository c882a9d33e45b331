//! What a throttle group can be told.

use crate::{Error, Result};

/// The largest rate.
const MAX_RATE: u64 = 1_000_000_000_000_000;
/// The names of the buckets, in the order of [`Limits`].
const NAMES: [&str; 6] = ["bps-total", "bps-read", "bps-write", "iops-total", "iops-read", "iops-write"];

/// A limit on one thing that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    /// So many a second; 0 is no limit.
    pub(super) rate: u64,
    /// So many a second for a short time; 0 if that is not said.
    pub(super) burst: u64,
    /// How many seconds that may be.
    pub(super) burst_seconds: u64,
}

/// All limits of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in total, read and written, then requests in total, read and written.
    pub(super) each: [Limit; 6],
    /// A request that is longer counts as several; 0 if each counts as one.
    pub(super) request_size: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { each: [Limit { rate: 0, burst: 0, burst_seconds: 1 }; 6], request_size: 0 }
    }
}

impl Limits {
    /// The limits that parameters of the object describe, `x-…` or `limits.…` each.
    pub fn new<'a>(parameters: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<Self> {
        let mut limits = Self::default();
        let (mut properties, mut members) = (Vec::new(), Vec::new());
        for (key, value) in parameters {
            let name = String::from_utf8_lossy(key).into_owned();
            match name.split_once('.') {
                None => properties.push((name, value)),
                Some(_) => members.push((name, value)),
            }
        }
        // What is said of `limits` is set last.
        for (name, value) in properties.into_iter().chain(members) {
            limits.set(&name, value)?;
        }
        limits.check()?;
        Ok(limits)
    }

    fn set(&mut self, name: &str, value: &[u8]) -> Result<()> {
        let unexpected = || Error::invalid(format!("Parameter '{name}' is unexpected"));
        let (is_property, known) = match (name.strip_prefix("x-"), name.strip_prefix("limits.")) {
            (Some(known), _) => (true, known),
            (None, Some(known)) => (false, known),
            (None, None) => return Err(unexpected()),
        };
        let place = self.place(known).ok_or_else(unexpected)?;
        let number =
            integer(value).ok_or_else(|| Error::invalid(format!("Parameter '{name}' expects integer")))?;
        *place = match u64::try_from(number) {
            Ok(number) if known.ends_with("-length") && number > u64::from(u32::MAX) => {
                let text = format!("{known} value must be in the range [0, {}]", u32::MAX);
                return Err(Error::invalid(text));
            }
            Ok(number) => number,
            Err(_) if is_property => return Err(Error::invalid("Property values cannot be negative")),
            Err(_) => return Err(out_of_range()),
        };
        Ok(())
    }

    fn place(&mut self, known: &str) -> Option<&mut u64> {
        if known == "iops-size" {
            return Some(&mut self.request_size);
        }
        let index = NAMES.iter().position(|name| known.starts_with(name))?;
        let limit = self.each.get_mut(index)?;
        match known.strip_prefix(NAMES.get(index)?)? {
            "" => Some(&mut limit.rate),
            "-max" => Some(&mut limit.burst),
            "-max-length" => Some(&mut limit.burst_seconds),
            _ => None,
        }
    }

    fn check(&self) -> Result<()> {
        let [bytes, bytes_read, bytes_written, requests, reads, writes] = self.each;
        let is_twofold = |of: fn(&Limit) -> u64| {
            let both = |total: &Limit, one: &Limit, other: &Limit| of(total) > 0 && of(one) + of(other) > 0;
            both(&bytes, &bytes_read, &bytes_written) || both(&requests, &reads, &writes)
        };
        if self.each.iter().any(|limit| limit.rate.max(limit.burst) > MAX_RATE) {
            return Err(out_of_range());
        }
        if is_twofold(|limit| limit.rate) || is_twofold(|limit| limit.burst) {
            return Err(Error::invalid(
                "bps/iops/max total values and read/write values cannot be used at the same time",
            ));
        }
        if self.request_size > 0 && requests.rate + reads.rate + writes.rate == 0 {
            return Err(Error::invalid("iops size requires an iops value to be set"));
        }
        self.each.iter().try_for_each(Limit::check)
    }

    /// Whether there is no limit at all.
    pub(super) fn is_empty(&self) -> bool {
        self.each.iter().all(|limit| limit.rate == 0)
    }
}

impl Limit {
    fn check(&self) -> Result<()> {
        let complaint = match self {
            Self { burst_seconds: 0, .. } => "the burst length cannot be 0",
            Self { burst: 0, burst_seconds: 2.., .. } => "burst length set without burst rate",
            Self { burst: 1.., .. } if self.burst_seconds > MAX_RATE / self.burst => {
                "burst length too high for this burst rate"
            }
            Self { rate: 0, burst: 1.., .. } => "bps_max/iops_max require corresponding bps/iops values",
            Self { burst: 1.., .. } if self.burst < self.rate => {
                "bps_max/iops_max cannot be lower than bps/iops"
            }
            _ => return Ok(()),
        };
        Err(Error::invalid(complaint))
    }
}

fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn out_of_range() -> Error {
    Error::invalid(format!("bps/iops/max values must be within [0, {MAX_RATE}]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(parameters: &str) -> String {
        let pairs = parameters.split(',').filter_map(|pair| pair.split_once('='));
        let limits = Limits::new(pairs.map(|(key, value)| (key.as_bytes(), value.as_bytes())));
        limits.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn limits_are_checked_as_qemu_img_checks_them() {
        let cases = [
            ("limits.bps-total=524288", ""),
            ("x-bps-total=1,limits.bps-total=2", ""),
            ("limits.iops-total=0", ""),
            ("limits.bps-total=512k", "Parameter 'limits.bps-total' expects integer"),
            ("x-bps-total=x", "Parameter 'x-bps-total' expects integer"),
            ("limits.foo=1", "Parameter 'limits.foo' is unexpected"),
            ("x-foo=1", "Parameter 'x-foo' is unexpected"),
            ("x-bps-total=-5", "Property values cannot be negative"),
            ("limits.iops-total=-1", "bps/iops/max values must be within [0, 1000000000000000]"),
            (
                "limits.bps-total=10000000000000000",
                "bps/iops/max values must be within [0, 1000000000000000]",
            ),
            ("limits.bps-total-max=5", "bps_max/iops_max require corresponding bps/iops values"),
            ("limits.bps-total=10,limits.bps-total-max=5", "bps_max/iops_max cannot be lower than bps/iops"),
            (
                "limits.bps-total=1,limits.bps-read=1",
                "bps/iops/max total values and read/write values cannot be used at the same time",
            ),
            ("limits.bps-total-max-length=0", "the burst length cannot be 0"),
            ("limits.bps-total-max-length=5", "burst length set without burst rate"),
            ("x-iops-size=5", "iops size requires an iops value to be set"),
            (
                "limits.bps-total-max-length=1000000000000000",
                "bps-total-max-length value must be in the range [0, 4294967295]",
            ),
        ];
        for (parameters, expected) in cases {
            assert_eq!(complaint(parameters), expected, "{parameters}");
        }
    }
}
