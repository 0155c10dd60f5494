//! What the operator may have meant.

/// The one of `known` that `word` is a likely misspelling of.
///
/// Case, `_` and `-` do not count, so that `routeSelectionExpression` leads to
/// `route_selection_expression`; beyond that, about one wrong letter in three is forgiven.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| -> Vec<char> {
        text.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect()
    };
    let word = plain(word);
    known
        .filter_map(|candidate| {
            let plain = plain(candidate);
            let most = (word.len().max(plain.len()) / 3).max(1);
            let near = word.len().abs_diff(plain.len()) <= most;
            let distance = if near { distance(&word, &plain) } else { usize::MAX };
            // Of a short word, the forgiven letter must leave more than it takes.
            (distance <= most && distance * 2 < plain.len().max(1)).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours from `a` to `b`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut two_ago: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(two_ago[j - 2] + 1);
            }
            row.push(best);
        }
        two_ago = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_the_one_meant() {
        let known = ["uri", "method", "timeout_ms", "route_selection_expression", "routes", "type"];
        let meant = |word| nearest(word, known.into_iter());
        assert_eq!(meant("metod"), Some("method"));
        assert_eq!(meant("mehtod"), Some("method"));
        assert_eq!(meant("timeout"), Some("timeout_ms"));
        assert_eq!(meant("routeSelectionExpression"), Some("route_selection_expression"));
        assert_eq!(meant("url"), Some("uri"));
        assert_eq!(meant("route"), Some("routes"));
        assert_eq!(meant("colour"), None);
        assert_eq!(meant(""), None);
        assert_eq!(meant(&"x".repeat(10_000)), None);
    }
}
