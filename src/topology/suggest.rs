//! Near misses: which of the possible words was meant.

/// The word that is nearest to what was written, if it is near enough to be a slip.
pub(crate) fn nearest<'a>(written: &str, possible: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Distances are quadratic in the lengths, and no word here is long.
    let length = written.chars().count();
    if length > 64 {
        return None;
    }
    let plain = |word: &str| word.to_lowercase().replace(['-', '.'], "_");
    let limit = (length / 3).clamp(1, 3);
    possible
        .into_iter()
        .map(|word| (distance(&plain(written), &plain(word)), word))
        .filter(|(distance, word)| *distance <= limit && *distance < word.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Insertions, deletions, changes and swaps of neighbours that turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before_last[j - 2] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_seen() {
        let keys = ["port", "brokers", "data", "host", "bootstrap_servers", "built_in"];
        let nearest = |written| nearest(written, keys);
        assert_eq!(nearest("prot"), Some("port"));
        assert_eq!(nearest("broker"), Some("brokers"));
        assert_eq!(nearest("bootstrap.servers"), Some("bootstrap_servers"));
        assert_eq!(nearest("Built-In"), Some("built_in"));
        assert_eq!(nearest("bootstrap_server"), Some("bootstrap_servers"));
        assert_eq!(nearest("security"), None);
        assert_eq!(nearest("x"), None);
        assert_eq!(nearest(""), None);
        assert_eq!(nearest(&"p".repeat(100_000)), None);
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "ab", 2),
            ("ab", "ba", 1),
            ("kitten", "sitting", 3),
            ("a", "a", 0),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }
}
