//! Where the parser is in a template's text: characters, names, numbers, strings and whitespace.
//!
//! Holds always: `at` never passes the end, and each character knows its byte offset in the whole
//! template, also inside a string whose doubled quotes were made one.

use crate::{
    ast::Place,
    numbers::{MAX_DIGITS, Number},
};

/// A parse failure: where, and what is wrong.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) place: Place,
    pub(crate) message: String,
}

/// Characters of a template or of a string in it.
#[derive(Debug)]
pub(crate) struct Lexer {
    chars: Vec<(Place, char)>,
    end: Place,
    at: usize,
}

impl Lexer {
    /// The whole template. Its length fits, for the caller has checked it.
    pub(crate) fn new(text: &str) -> Self {
        let place = |offset| Place::try_from(offset).unwrap_or(Place::MAX);
        let chars = text.char_indices().map(|(offset, c)| (place(offset), c)).collect();
        Self { chars, end: place(text.len()), at: 0 }
    }

    fn inside(chars: Vec<(Place, char)>, end: Place) -> Self {
        Self { chars, end, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn go_to(&mut self, at: usize) {
        self.at = at.min(self.chars.len());
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.chars.len()
    }

    pub(crate) fn place(&self) -> Place {
        self.chars.get(self.at).map_or(self.end, |(place, _)| *place)
    }

    pub(crate) fn wrong(&self, message: impl Into<String>) -> Wrong {
        Wrong { place: self.place(), message: message.into() }
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.peek_at(0)
    }

    pub(crate) fn peek_at(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).map(|(_, c)| *c)
    }

    pub(crate) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    /// Takes the text, if it is next.
    pub(crate) fn takes(&mut self, text: &str) -> bool {
        let is_next = text.chars().enumerate().all(|(i, c)| self.peek_at(i) == Some(c));
        if is_next {
            self.at += text.chars().count();
        }
        is_next
    }

    /// The characters from `from` up to here.
    pub(crate) fn since(&self, from: usize) -> String {
        self.chars[from..self.at].iter().map(|(_, c)| c).collect()
    }

    pub(crate) fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t')) {
            self.at += 1;
        }
    }

    pub(crate) fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    /// After a directive: blanks and one newline go, if nothing else is on the line.
    pub(crate) fn swallow_line_end(&mut self) {
        let before = self.at;
        self.skip_blanks();
        if !self.takes_newline() {
            self.at = before;
        }
    }

    pub(crate) fn takes_newline(&mut self) -> bool {
        self.takes("\r\n") || self.takes("\n") || self.takes("\r")
    }

    /// A name, `[A-Za-z_][A-Za-z0-9_-]*`, if one is next: hyphens belong to it.
    pub(crate) fn name(&mut self) -> Option<String> {
        let from = self.at;
        if !self.peek().is_some_and(is_name_start) {
            return None;
        }
        while self.peek().is_some_and(is_name_part) {
            self.at += 1;
        }
        Some(self.since(from))
    }

    /// The word after a `#` that is next, with or without braces, and where it ends. Takes nothing.
    pub(crate) fn directive_word(&self) -> Option<(String, usize)> {
        let mut at = self.at + 1;
        let char_at = |at: usize| self.chars.get(at).map(|(_, c)| *c);
        let has_brace = char_at(at) == Some('{');
        at += usize::from(has_brace);
        let from = at;
        if !char_at(at).is_some_and(is_name_start) {
            return None;
        }
        while char_at(at).is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            at += 1;
        }
        let word = self.chars[from..at].iter().map(|(_, c)| c).collect();
        match (has_brace, char_at(at)) {
            (true, Some('}')) => Some((word, at + 1)),
            (true, _) => None,
            (false, _) => Some((word, at)),
        }
    }

    /// A word operator or `true`, `false`, `null`, `in`, if it is next and ends there.
    pub(crate) fn takes_word(&mut self, word: &str) -> bool {
        let before = self.at;
        if self.takes(word) && !self.peek().is_some_and(is_name_part) {
            return true;
        }
        self.at = before;
        false
    }

    /// Whether a number starts here; a minus glued to a digit is part of it.
    pub(crate) fn is_at_number(&self) -> bool {
        let sign = usize::from(self.peek() == Some('-'));
        let is_digit = |ahead| self.peek_at(ahead).is_some_and(|c: char| c.is_ascii_digit());
        is_digit(sign) || (self.peek_at(sign) == Some('.') && is_digit(sign + 1))
    }

    /// A number, which is next.
    pub(crate) fn number(&mut self) -> Result<Number, Wrong> {
        let start = self.at;
        let wrong_place = self.place();
        self.takes("-");
        self.skip_digits();
        // `1..5` is a range, and `1.` is not a number.
        let has_digit =
            |this: &Self, ahead| this.peek_at(ahead).is_some_and(|c: char| c.is_ascii_digit());
        if self.peek() == Some('.') && has_digit(self, 1) {
            self.at += 1;
            self.skip_digits();
        }
        let sign = usize::from(matches!(self.peek_at(1), Some('-' | '+')));
        if matches!(self.peek(), Some('e' | 'E')) && has_digit(self, 1 + sign) {
            self.at += 1 + sign;
            self.skip_digits();
        }
        let text = self.since(start);
        Number::from_text(&text).ok_or_else(|| Wrong {
            place: wrong_place,
            message: format!("an integer has at most {MAX_DIGITS} digits"),
        })
    }

    fn skip_digits(&mut self) {
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
    }

    /// A string, whose opening quote is next: what is in it, doubled quotes made one.
    pub(crate) fn string(&mut self) -> Result<Self, Wrong> {
        let start = self.wrong("a string without its closing quote");
        let quote = self.next();
        let mut chars = Vec::new();
        loop {
            let place = self.place();
            let c = self.next();
            if c == quote {
                if self.peek() != quote {
                    return Ok(Self::inside(chars, place));
                }
                self.at += 1;
            }
            match c {
                Some(c) => chars.push((place, c)),
                None => return Err(start),
            }
        }
    }

    /// All characters.
    pub(crate) fn text(&self) -> String {
        self.chars.iter().map(|(_, c)| c).collect()
    }

    /// Skips to after the parenthesis that closes the one that is next, past strings. Takes nothing
    /// if there is none within `max` characters.
    pub(crate) fn skip_parentheses(&mut self, max: usize) -> bool {
        let before = self.at;
        let mut depth = 0_usize;
        let mut quote = None;
        while self.at - before < max {
            match (quote, self.next()) {
                (_, None) => break,
                (Some(open), Some(c)) => quote = (c != open).then_some(open),
                (None, Some(c @ ('"' | '\''))) => quote = Some(c),
                (None, Some('(')) => depth += 1,
                (None, Some(')')) => {
                    depth -= 1;
                    if depth == 0 {
                        return true;
                    }
                }
                (None, Some(_)) => {}
            }
        }
        self.at = before;
        false
    }
}

pub(crate) fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_name_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}
