//! What may be shown of a text that a stranger chose and that was refused.
//!
//! In:  any text.
//! Out: enough of it to recognize it by, too little to fill a log or an answer with.
//!
//! Holds always: at most 64 characters and `...`, and no control characters, which could forge a
//! line of a log.

/// Characters of a refused text that its error keeps.
const KEPT_CHARACTERS: usize = 64;

/// The beginning of a refused text, each control character replaced by U+FFFD.
pub(crate) fn beginning_of(text: &str) -> String {
    let mut characters = text.chars();
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut kept: String = characters.by_ref().take(KEPT_CHARACTERS).map(shown).collect();
    if characters.next().is_some() {
        kept.push_str("...");
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_long_text_is_kept_and_no_control_character() {
        assert_eq!(beginning_of(&"ä".repeat(65)), format!("{}...", "ä".repeat(64)));
        assert_eq!(beginning_of(&"ä".repeat(64)), "ä".repeat(64));
        assert_eq!(beginning_of("a\nb\u{1b}[31m"), "a\u{fffd}b\u{fffd}[31m");
        assert_eq!(beginning_of(""), "");
    }
}
