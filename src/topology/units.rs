//! Sizes and durations with their units: `50MB`, `64KiB`, `10s`, `500ms`.

use std::time::Duration;

/// Why a text is not a quantity, and what was likely meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub reason: String,
    pub meant: Option<String>,
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

/// A number of bytes.
pub(super) fn parse_size(text: &str) -> Result<u64, Wrong> {
    parse(
        text,
        &SIZE_UNITS,
        &SAID_FOR_SIZES,
        "sizes have the units B, kB, MB, GB, TB, KiB, MiB and GiB",
    )
}

/// A duration. A number without a unit is an error: seconds and milliseconds are too easily confused.
pub(super) fn parse_duration(text: &str) -> Result<Duration, Wrong> {
    let unit_names = "durations have the units ms, s, m and h";
    parse(text, &DURATION_UNITS, &SAID_FOR_DURATIONS, unit_names).map(Duration::from_millis)
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
        Wrong { reason, meant: None }
    }
}

fn parse(text: &str, units: &[(&str, u64)], said: &[(&str, &str)], unit_names: &str) -> Result<u64, Wrong> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim_start());
    if number.is_empty() {
        return Err(Wrong::new(format!("`{text}` does not begin with a number")));
    }
    if unit.starts_with('.') {
        return Err(Wrong::new(format!(
            "`{text}` is not a whole number: take a smaller unit; {unit_names}"
        )));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        if unit.is_empty() {
            return Err(Wrong::new(format!("`{text}` has no unit; {unit_names}")));
        }
        let same_letters = units
            .iter()
            .map(|(name, _)| *name)
            .find(|name| name.eq_ignore_ascii_case(unit));
        let known_word = said
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(unit))
            .map(|(_, name)| *name);
        let meant = same_letters.or(known_word).map(|name| format!("{number}{name}"));
        return Err(Wrong {
            reason: format!("there is no unit `{unit}`; {unit_names}"),
            meant,
        });
    };
    let value = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*factor));
    value.ok_or_else(|| Wrong::new(format!("`{text}` is too large")))
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
        let meant = |wrong: Wrong| wrong.meant;
        assert_eq!(meant(parse_size("50mb").unwrap_err()), Some("50MB".to_owned()));
        assert_eq!(meant(parse_size("5 M").unwrap_err()), Some("5MB".to_owned()));
        assert_eq!(meant(parse_size("5 parsecs").unwrap_err()), None);
        assert_eq!(
            meant(parse_duration("5 Minutes").unwrap_err()),
            Some("5m".to_owned())
        );
        let size = |text| parse_size(text).unwrap_err().reason;
        assert_eq!(
            size("5 parsecs"),
            "there is no unit `parsecs`; sizes have the units B, kB, MB, GB, TB, KiB, MiB and GiB"
        );
        assert!(size("1.5GB").starts_with("`1.5GB` is not a whole number"));
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
