//! A request's query, taken apart (WHATWG URL, 5.1: `+` is a space).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Names and values, decoded, in order; a name without `=` has the empty value.
pub(crate) fn pairs(raw_query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    raw_query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

fn decoded(text: &str) -> String {
    let spaced: Cow<'_, str> =
        if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_in_order_with_duplicates() {
        let found: Vec<_> = pairs("a=1&b=x%20y+z&a=2&c&=e&%C3%A9=%2B").collect();
        let expected = [("a", "1"), ("b", "x y z"), ("a", "2"), ("c", ""), ("", "e"), ("é", "+")];
        assert_eq!(found, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }
}
