//! Sizes and durations with their units: `50MB`, `64KiB`, `10s`, `500ms`.

use std::time::Duration;

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

/// A number of bytes. The error says what is wrong, and what was likely meant if that can be told.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, &SIZE_UNITS, "bytes have the units B, kB, MB, GB, TB, KiB, MiB and GiB")
}

/// A duration. A number without a unit is an error: seconds and milliseconds are too easily confused.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    parse(text, &DURATION_UNITS, "durations have the units ms, s, m and h").map(Duration::from_millis)
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
    match DURATION_UNITS.iter().filter(fits).max_by_key(|(_, factor)| *factor) {
        Some((unit, factor)) => format!("{}{unit}", millis / factor),
        None => format!("{millis}ms"),
    }
}

fn parse(text: &str, units: &[(&str, u64)], unit_names: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim_start());
    if number.is_empty() {
        return Err(format!("`{text}` does not begin with a number; {unit_names}"));
    }
    if unit.starts_with('.') {
        return Err(format!("`{text}` has a fraction: write whole numbers of a smaller unit; {unit_names}"));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let same_letters = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit) && !name.is_empty());
        return Err(match (unit, same_letters) {
            (_, Some((name, _))) => format!("`{text}` has the unit `{unit}`; did you mean `{number}{name}`?"),
            ("", None) => format!("`{text}` has no unit; {unit_names}"),
            _ => format!("`{text}` has the unit `{unit}`, which does not exist here; {unit_names}"),
        });
    };
    let value = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
    value.ok_or_else(|| format!("`{text}` is too large"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("1kB", 1_000), ("50MB", 50_000_000), ("64KiB", 65_536), ("2 GiB", 2 << 30)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_quantity() {
        let size = |text| parse_size(text).unwrap_err();
        assert_eq!(size("50mb"), "`50mb` has the unit `mb`; did you mean `50MB`?");
        assert_eq!(
            size("5 parsecs"),
            "`5 parsecs` has the unit `parsecs`, which does not exist here; bytes have the units B, kB, MB, GB, TB, KiB, \
             MiB and GiB"
        );
        assert!(size("1.5GB").starts_with("`1.5GB` has a fraction"));
        assert!(size("MB").starts_with("`MB` does not begin with a number"));
        assert!(size("-1MB").starts_with("`-1MB` does not begin with a number"));
        assert_eq!(size("99999999999TB"), "`99999999999TB` is too large");
        let duration = |text| parse_duration(text).unwrap_err();
        assert_eq!(duration("10"), "`10` has no unit; durations have the units ms, s, m and h");
        assert_eq!(duration("10S"), "`10S` has the unit `S`; did you mean `10s`?");
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
