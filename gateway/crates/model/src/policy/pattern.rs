//! A policy's text with wildcards and variables, split into tokens.
//!
//! In:  an action, a resource or a condition's text as written.
//! Out: its tokens: characters, wildcards and variables.
//!
//! `*` is any run of characters, `?` is one. `${aws:username}` stands for a fact of the request;
//! `${aws:username, 'anonymous'}` has a value for a request without that fact. `${*}`, `${?}` and
//! `${$}` are the characters themselves (IAM user guide, "Policy variables").

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
    variables: Vec<PolicyVariable>,
}

/// One piece of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// Itself.
    Character(char),
    /// `?`: one character, whichever.
    AnyOne,
    /// `*`: any number of characters, `/` and `:` among them.
    AnyRun,
    /// What the variable of this index stands for; see [`Pattern::variable`].
    Variable(usize),
}

/// A variable of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVariable {
    /// A condition key, in lower case.
    pub key: String,
    /// What it stands for where the request does not have that key.
    pub default: Option<String>,
}

/// What has a meaning besides itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// Wildcards and variables.
    Full,
    /// `*` and `?`; `${` is text. Of the version 2008-10-17.
    WildcardsOnly,
    /// Variables; `*` and `?` are text. Of `StringEquals`.
    VariablesOnly,
    /// Nothing.
    Plain,
}

impl Syntax {
    /// The same, for an operator that compares rather than matches.
    pub(super) fn without_wildcards(self) -> Self {
        match self {
            Self::Full | Self::VariablesOnly => Self::VariablesOnly,
            Self::WildcardsOnly | Self::Plain => Self::Plain,
        }
    }
}

impl Pattern {
    /// `None` if a `${` begins no variable.
    pub(super) fn parse(text: &str, syntax: Syntax) -> Option<Self> {
        let wildcards = matches!(syntax, Syntax::Full | Syntax::WildcardsOnly);
        let with_variables = matches!(syntax, Syntax::Full | Syntax::VariablesOnly);
        let mut tokens = Vec::with_capacity(text.len());
        let mut variables = Vec::new();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            if with_variables && let Some(inner) = rest.strip_prefix("${") {
                let (inner, after) = inner.split_once('}')?;
                tokens.push(match inner {
                    "*" | "?" | "$" => Token::Character(char::from(inner.as_bytes()[0])),
                    _ => {
                        variables.push(PolicyVariable::parse(inner)?);
                        Token::Variable(variables.len() - 1)
                    }
                });
                rest = after;
                continue;
            }
            match character {
                // A run of them is one, and a pattern of many is matched no slower.
                '*' if wildcards => {
                    if tokens.last() != Some(&Token::AnyRun) {
                        tokens.push(Token::AnyRun);
                    }
                }
                '?' if wildcards => tokens.push(Token::AnyOne),
                _ => tokens.push(Token::Character(character)),
            }
            rest = &rest[character.len_utf8()..];
        }
        Some(Self { tokens, variables })
    }

    /// The pieces, in order.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Whether there are variables among the tokens.
    pub fn has_variables(&self) -> bool {
        !self.variables.is_empty()
    }

    /// The variable that [`Token::Variable`] names.
    pub fn variable(&self, index: usize) -> Option<&PolicyVariable> {
        self.variables.get(index)
    }
}

impl PolicyVariable {
    fn parse(inner: &str) -> Option<Self> {
        let (key, default) = match inner.split_once(',') {
            None => (inner, None),
            Some((key, default)) => {
                let quoted = default.trim().strip_prefix('\'')?.strip_suffix('\'')?;
                (key, Some(quoted.to_owned()))
            }
        };
        let key = key.trim();
        let is_key = |b: u8| b.is_ascii_graphic() && !b"${}'*?".contains(&b);
        (!key.is_empty() && key.bytes().all(is_key))
            .then(|| Self { key: key.to_ascii_lowercase(), default })
    }
}

#[cfg(test)]
mod tests {
    use super::{Syntax::*, Token::*, *};

    fn tokens(text: &str, syntax: Syntax) -> Vec<Token> {
        Pattern::parse(text, syntax).unwrap().tokens
    }

    #[test]
    fn wildcards_and_variables_are_told_from_text() {
        let text = "é*?${aws:username}";
        let [e, star, one] = ['é', '*', '?'].map(Character);
        let as_text: Vec<_> = "${aws:username}".chars().map(Character).collect();
        assert_eq!(tokens(text, Full), [e, AnyRun, AnyOne, Variable(0)]);
        assert_eq!(tokens(text, VariablesOnly), [e, star, one, Variable(0)]);
        assert_eq!(tokens(text, WildcardsOnly), [&[e, AnyRun, AnyOne], &as_text[..]].concat());
        assert_eq!(tokens(text, Plain), [&[e, star, one], &as_text[..]].concat());
        assert_eq!(tokens("${*}${?}${$}", Full), ['*', '?', '$'].map(Character));
        assert_eq!(tokens("$a$", Full), ['$', 'a', '$'].map(Character));
        assert_eq!(tokens("***", Full), [AnyRun]);
    }

    #[test]
    fn a_variable_has_a_key_and_perhaps_a_default() {
        let variable = |text: &str| Pattern::parse(text, Full)?.variable(0).cloned();
        let made = |key: &str, default: Option<&str>| {
            Some(PolicyVariable { key: key.to_owned(), default: default.map(str::to_owned) })
        };
        assert_eq!(variable("${aws:UserName}"), made("aws:username", None));
        assert_eq!(variable("${ aws:username , 'no one' }"), made("aws:username", Some("no one")));
        assert_eq!(variable("${a,''}"), made("a", Some("")));
        for bad in ["${", "${}", "${ }", "${aws:username", "${a,b}", "${a b}", "${${a}}", "${a,'}"]
        {
            assert_eq!(Pattern::parse(bad, Full), None, "{bad}");
        }
    }
}
