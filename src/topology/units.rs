//! Sizes and durations with their units: `50MB`, `64KiB`, `10s`, `500ms`.

use std::time::Duration;

/// Why a text is not a quantity, and what was likely meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub reason: String,
    pub meant: Vec<String>,
}

const SIZE_UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

const DURATION_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// What people write for the units that there are.
const SAID_FOR_SIZES: [(&str, &str); 8] = [
    ("k", "kB"),
    ("m", "MB"),
    ("g", "GB"),
    ("t", "TB"),
    ("ki", "KiB"),
    ("mi", "MiB"),
    ("gi", "GiB"),
    ("bytes", "B"),
];
const SAID_FOR_DURATIONS: [(&str, &str); 9] = [
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("min", "m"),
    ("minute", "m"),
    ("minutes", "m"),
    ("hour", "h"),
    ("hours", "h"),
];

/// One kind of quantity.
struct Kind {
    units: &'static [(&'static str, u64)],
    said: &'static [(&'static str, &'static str)],
    unit_names: &'static str,
    format: fn(u64) -> String,
}

const SIZES: Kind = Kind {
    units: &SIZE_UNITS,
    said: &SAID_FOR_SIZES,
    unit_names: "sizes have the units B, kB, MB, GB, TB, KiB, MiB and GiB",
    format: format_size,
};

const DURATIONS: Kind = Kind {
    units: &DURATION_UNITS,
    said: &SAID_FOR_DURATIONS,
    unit_names: "durations have the units ms, s, m and h",
    format: |millis| format_duration(Duration::from_millis(millis)),
};

/// A number of bytes.
pub(super) fn parse_size(text: &str) -> Result<u64, Wrong> {
    match in_bits(text) {
        Some(wrong) => Err(wrong),
        None => parse(text, &SIZES),
    }
}

/// A duration. A number without a unit is an error: seconds and milliseconds are too easily confused.
pub(super) fn parse_duration(text: &str) -> Result<Duration, Wrong> {
    parse(text, &DURATIONS).map(Duration::from_millis)
}

/// A number of bytes, as a command line has it. The error is for people.
pub(crate) fn parse_size_text(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|wrong| wrong.reason)
}

/// A duration, as a command line has it. The error is for people.
pub(crate) fn parse_duration_text(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|wrong| wrong.reason)
}

/// A number of bytes in the largest unit that gives a whole number, as [`parse_size`] reads it.
pub(crate) fn format_size(bytes: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| bytes >= *factor && bytes.is_multiple_of(*factor);
    match SIZE_UNITS.iter().filter(fits).max_by_key(|(_, factor)| *factor) {
        Some((unit, factor)) if !unit.is_empty() => format!("{}{unit}", bytes / factor),
        _ => format!("{bytes}B"),
    }
}

/// A duration in the largest unit that gives a whole number, as [`parse_duration`] reads it.
pub(crate) fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let fits = |(_, factor): &&(&str, u64)| millis >= *factor && millis.is_multiple_of(*factor);
    match DURATION_UNITS
        .iter()
        .filter(fits)
        .max_by_key(|(_, factor)| *factor)
    {
        Some((unit, factor)) => format!("{}{unit}", millis / factor),
        None => format!("{millis}ms"),
    }
}

impl Wrong {
    pub(super) fn new(reason: String) -> Wrong {
        Wrong {
            reason,
            meant: Vec::new(),
        }
    }
}

impl Kind {
    /// The unit that was meant: people write `mb`, `M` and `MB/s`.
    fn meant(&self, unit: &str) -> Option<(&'static str, u64)> {
        let bare = unit.strip_suffix("/s").or_else(|| unit.strip_suffix("ps"));
        [Some(unit), bare].into_iter().flatten().find_map(|unit| {
            let known = |name: &str| self.units.iter().copied().find(|(unit, _)| *unit == name);
            let mut units = self.units.iter().copied();
            known(unit)
                .or_else(|| units.find(|(name, _)| name.eq_ignore_ascii_case(unit)))
                .or_else(|| {
                    let (_, name) = self
                        .said
                        .iter()
                        .find(|(word, _)| word.eq_ignore_ascii_case(unit))?;
                    known(name)
                })
        })
    }
}

fn parse(text: &str, kind: &Kind) -> Result<u64, Wrong> {
    let text = text.trim();
    let (number, fraction, unit) = split(text);
    let unit_names = kind.unit_names;
    if number.is_empty() {
        return Err(Wrong::new(format!("`{text}` does not begin with a number")));
    }
    if let Some(fraction) = fraction {
        let meant = kind.meant(unit);
        let meant = meant.and_then(|(_, factor)| exact(number, fraction, factor, 1));
        return Err(Wrong {
            reason: format!("`{text}` is not a whole number: take a smaller unit; {unit_names}"),
            meant: meant.map(kind.format).into_iter().collect(),
        });
    }
    let Some((_, factor)) = kind.units.iter().find(|(name, _)| *name == unit) else {
        if unit.is_empty() {
            return Err(Wrong {
                reason: format!("`{text}` has no unit; {unit_names}"),
                meant: vec![format!("{number}s"), format!("{number}ms")],
            });
        }
        let meant = kind.meant(unit).map(|(name, _)| format!("{number}{name}"));
        return Err(Wrong {
            reason: format!("there is no unit `{unit}`; {unit_names}"),
            meant: meant.into_iter().collect(),
        });
    };
    let value = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*factor));
    value.ok_or_else(|| Wrong::new(format!("`{text}` is too large")))
}

/// What to say of a number of bits, as rates of networks are given: taken for bytes it would be 8 times as much.
fn in_bits(text: &str) -> Option<Wrong> {
    let text = text.trim();
    let (number, fraction, unit) = split(text);
    let rate = unit.strip_suffix("/s").or_else(|| unit.strip_suffix("ps"));
    let lower = rate.unwrap_or(unit).to_ascii_lowercase();
    let prefix = match lower.strip_suffix("bits").or_else(|| lower.strip_suffix("bit")) {
        Some(prefix) => prefix,
        // In `Mbps` the small b tells bits from the bytes of `MBps`.
        None => lower
            .strip_suffix('b')
            .filter(|_| rate.is_some_and(|rate| rate.ends_with('b')))?,
    };
    let prefixes = ["", "k", "m", "g", "t", "ki", "mi", "gi"];
    let unit_of_bytes = format!("{}b", prefixes.iter().find(|known| **known == prefix)?);
    let (_, factor) = SIZES.meant(&unit_of_bytes)?;
    let meant = exact(number, fraction.unwrap_or_default(), factor, 8);
    Some(Wrong {
        reason: format!("`{text}` is in bits, and 8 bits are a byte; {}", SIZES.unit_names),
        meant: meant.map(SIZES.format).into_iter().collect(),
    })
}

/// Digits, the digits after a point if there is one, and what follows.
fn split(text: &str) -> (&str, Option<&str>, &str) {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits(text));
    let Some(rest) = rest.strip_prefix('.') else {
        return (number, None, rest.trim_start());
    };
    let (fraction, rest) = rest.split_at(digits(rest));
    (number, Some(fraction), rest.trim_start())
}

/// A number with a fraction, times a factor and through a divisor, if that is a whole number.
fn exact(number: &str, fraction: &str, factor: u64, divisor: u64) -> Option<u64> {
    let scale = 10u128.checked_pow(fraction.len().try_into().ok()?)?;
    let digits: u128 = format!("{number}{fraction}").parse().ok()?;
    let (value, divisor) = (
        digits.checked_mul(factor.into())?,
        scale.checked_mul(divisor.into())?,
    );
    (value % divisor == 0).then(|| u64::try_from(value / divisor).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("1kB", 1_000),
            ("50MB", 50_000_000),
            ("64KiB", 65_536),
            ("2 GiB", 2 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_quantity() {
        for (text, meant) in [
            ("50mb", &["50MB"][..]),
            ("5 M", &["5MB"]),
            ("5 parsecs", &[]),
            ("50MB/s", &["50MB"]),
            ("1.5GB", &["1500MB"]),
            ("1.5 gib", &["1536MiB"]),
            ("0.3B", &[]),
            ("0.00000000000000000000000000000000000000001GB", &[]),
            ("50 MBit", &["6250KB"]),
            ("1.5 Gbit/s", &["187500KB"]),
            ("100 Mbps", &["12500KB"]),
            ("100 MBps", &["100MB"]),
            ("8bit", &["1B"]),
            ("9 bits", &[]),
            ("rabbit", &[]),
        ] {
            assert_eq!(parse_size(text).unwrap_err().meant, meant, "{text}");
        }
        for (text, meant) in [
            ("5 Minutes", &["5m"][..]),
            ("1.5s", &["1500ms"]),
            ("0.5 min", &["30s"]),
            ("10", &["10s", "10ms"]),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().meant, meant, "{text}");
        }
        let size = |text| parse_size(text).unwrap_err().reason;
        assert_eq!(
            size("5 parsecs"),
            "there is no unit `parsecs`; sizes have the units B, kB, MB, GB, TB, KiB, MiB and GiB"
        );
        assert!(size("1.5GB").starts_with("`1.5GB` is not a whole number"));
        assert!(size("50 MBit").starts_with("`50 MBit` is in bits, and 8 bits are a byte"));
        assert_eq!(size("MB"), "`MB` does not begin with a number");
        assert_eq!(size("-1MB"), "`-1MB` does not begin with a number");
        assert_eq!(size("99999999999TB"), "`99999999999TB` is too large");
        let duration = |text| parse_duration(text).unwrap_err().reason;
        assert_eq!(
            duration("10"),
            "`10` has no unit; durations have the units ms, s, m and h"
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(bytes in any::<u64>(), millis in 0..u64::MAX / 2) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_a_quantity_or_a_reason(text in any::<String>()) {
            let _ = (parse_size(&text), parse_duration(&text));
        }
    }
}
