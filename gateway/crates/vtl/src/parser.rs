//! From a template's text to its tree: text, comments, escapes and directives.
//!
//! In:  the characters of a template, or of a string in double quotes.
//! Out: nodes, or what is wrong and where.
//!
//! Holds always: blanks directly before `#set` are dropped only where they start right after
//! something that is not plain text; a directive alone on its line takes the newline with it.

use crate::{
    ast::{Expression, MAX_NESTING, Node, Reference},
    lexer::{Lexer, Wrong, is_name_start},
    prepared::Parts,
};

/// How far the arguments of an unknown `#word(...)` may reach.
const MAX_LITERAL_ARGUMENTS: usize = 4096;

const DIRECTIVES: [&str; 11] = [
    "set", "if", "elseif", "else", "end", "foreach", "define", "macro", "break", "stop", "include",
];

fn is_directive(word: &str) -> bool {
    word == "parse" || DIRECTIVES.contains(&word)
}

/// What ended a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Text,
    End,
    Else,
    ElseIf,
}

/// What is being parsed, which decides what a lone `$` or `#` at the very end means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Template,
    String,
}

/// Parses one text; strings in it are parsed by another that shares the parts.
pub(crate) struct Parser<'a> {
    pub(crate) lexer: Lexer,
    scope: Scope,
    depth: usize,
    /// Of the expression that is being parsed.
    pub(crate) operators: usize,
    pub(crate) parts: &'a mut Parts,
}

/// The nodes so far, and the plain text after the last of them.
#[derive(Default)]
struct Pieces {
    nodes: Vec<Node>,
    text: String,
}

impl Pieces {
    fn push(&mut self, node: Node) {
        self.end_text();
        self.nodes.push(node);
    }

    /// What was plain text up to here is over, also where nothing is to be printed.
    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.nodes.push(Node::Text(std::mem::take(&mut self.text)));
        }
    }
}

impl<'a> Parser<'a> {
    pub(crate) fn new(lexer: Lexer, scope: Scope, depth: usize, parts: &'a mut Parts) -> Self {
        Self { lexer, scope, depth, operators: 0, parts }
    }

    /// The whole text.
    pub(crate) fn parse(mut self) -> Result<Vec<Node>, Wrong> {
        let start = self.lexer.at();
        let (nodes, ending, at) = self.block()?;
        if ending == Ending::Text {
            return Ok(nodes);
        }
        self.lexer.go_to(at.max(start));
        Err(self.lexer.wrong("a directive that nothing before it opened"))
    }

    /// Nodes up to the end of a block, how it ended, and where that directive starts.
    fn block(&mut self) -> Result<(Vec<Node>, Ending, usize), Wrong> {
        self.deeper(|this| {
            let mut pieces = Pieces::default();
            loop {
                let at = this.lexer.at();
                let ending = match this.lexer.peek() {
                    None => Some(Ending::Text),
                    Some('$') => {
                        this.dollar(&mut pieces)?;
                        None
                    }
                    Some('#') => this.hash(&mut pieces)?,
                    Some('\\') => {
                        this.backslashes(&mut pieces)?;
                        None
                    }
                    Some(c) => {
                        pieces.text.push(c);
                        this.lexer.next();
                        None
                    }
                };
                if let Some(ending) = ending {
                    pieces.end_text();
                    return Ok((pieces.nodes, ending, at));
                }
            }
        })
    }

    /// Goes one level down, or refuses to.
    pub(crate) fn deeper<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, Wrong>,
    ) -> Result<T, Wrong> {
        if self.depth >= MAX_NESTING {
            return Err(self.lexer.wrong(format!("a template nests at most {MAX_NESTING} deep")));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn is_alone_at_the_end(&self) -> bool {
        self.scope == Scope::Template && self.lexer.peek_at(1).is_none()
    }

    fn dollar(&mut self, pieces: &mut Pieces) -> Result<(), Wrong> {
        if self.is_alone_at_the_end() {
            return Err(self.lexer.wrong("a `$` at the very end of a template"));
        }
        match self.reference()? {
            Some(reference) => pieces.push(Node::Reference(reference)),
            None => {
                pieces.text.push('$');
                self.lexer.next();
            }
        }
        Ok(())
    }

    /// Backslashes escape a reference or a directive that follows them, and nothing else.
    fn backslashes(&mut self, pieces: &mut Pieces) -> Result<(), Wrong> {
        let mut count = 0;
        while self.lexer.takes("\\") {
            count += 1;
        }
        let from = self.lexer.at();
        let is_escape = match self.lexer.peek() {
            Some('$') => self.reference()?.is_some(),
            Some('#') => match self.lexer.directive_word() {
                Some((word, end)) if is_directive(&word) => {
                    self.lexer.go_to(end);
                    true
                }
                _ => false,
            },
            _ => false,
        };
        let kept = if is_escape { count / 2 } else { count };
        pieces.text.extend(std::iter::repeat_n('\\', kept));
        if is_escape && count % 2 == 1 {
            pieces.text.push_str(&self.lexer.since(from));
        } else {
            self.lexer.go_to(from);
            if !is_escape && self.lexer.peek() == Some('#') {
                // Not a comment either: `\##` is text.
                pieces.text.push('#');
                self.lexer.next();
            }
        }
        Ok(())
    }

    fn hash(&mut self, pieces: &mut Pieces) -> Result<Option<Ending>, Wrong> {
        if self.lexer.takes("##") {
            while !self.lexer.is_at_end() && !self.lexer.takes_newline() {
                self.lexer.next();
            }
            pieces.end_text();
            return Ok(None);
        }
        let opening = self.lexer.wrong("");
        if self.lexer.takes("#*") {
            self.skip_past("*#", opening.place, "a comment without its `*#`")?;
            pieces.end_text();
            return Ok(None);
        }
        if self.lexer.takes("#[[") {
            let text = self.skip_past("]]#", opening.place, "a text block without its `]]#`")?;
            pieces.push(Node::Text(text));
            return Ok(None);
        }
        match self.lexer.directive_word() {
            Some((word, end)) if is_directive(&word) => self.directive(&word, end, pieces),
            Some((_, end)) => {
                // No directive: it and its arguments are text, references and all.
                let from = self.lexer.at();
                self.lexer.go_to(end);
                if self.lexer.peek() == Some('(') {
                    self.lexer.skip_parentheses(MAX_LITERAL_ARGUMENTS);
                }
                pieces.text.push_str(&self.lexer.since(from));
                Ok(None)
            }
            None if self.is_alone_at_the_end() => {
                Err(self.lexer.wrong("a `#` at the very end of a template"))
            }
            None => {
                pieces.text.push('#');
                self.lexer.next();
                Ok(None)
            }
        }
    }

    /// What is before `end`, which is taken, too.
    fn skip_past(&mut self, end: &str, place: u32, missing: &str) -> Result<String, Wrong> {
        let mut text = String::new();
        while !self.lexer.takes(end) {
            match self.lexer.next() {
                Some(c) => text.push(c),
                None => return Err(Wrong { place, message: missing.to_owned() }),
            }
        }
        Ok(text)
    }

    fn directive(
        &mut self,
        word: &str,
        end: usize,
        pieces: &mut Pieces,
    ) -> Result<Option<Ending>, Wrong> {
        let place = self.lexer.place();
        self.lexer.go_to(end);
        match word {
            "end" => {
                self.lexer.swallow_line_end();
                return Ok(Some(Ending::End));
            }
            "else" => {
                self.lexer.swallow_line_end();
                return Ok(Some(Ending::Else));
            }
            "elseif" => return Ok(Some(Ending::ElseIf)),
            "set" => {
                if pieces.text.chars().all(|c| matches!(c, ' ' | '\t')) {
                    pieces.text.clear();
                }
                let node = self.set()?;
                pieces.push(node);
            }
            "if" => {
                let node = self.branches(place)?;
                pieces.push(node);
            }
            "foreach" => {
                let node = self.foreach(place)?;
                pieces.push(node);
            }
            "define" => {
                let node = self.define(place)?;
                pieces.push(node);
            }
            "macro" => {
                self.lexer.skip_blanks();
                self.lexer.skip_parentheses(MAX_LITERAL_ARGUMENTS);
                self.body_up_to_end(place, "macro")?;
                pieces.end_text();
            }
            "break" => pieces.push(Node::Break),
            "stop" => pieces.push(Node::Stop),
            _ => {
                let directive = if word == "parse" { "parse" } else { "include" };
                self.lexer.skip_blanks();
                if !self.lexer.skip_parentheses(MAX_LITERAL_ARGUMENTS) {
                    return Err(self.lexer.wrong(format!("no `(...)` after #{directive}")));
                }
                pieces.push(Node::Resource { place, directive });
            }
        }
        Ok(None)
    }

    fn set(&mut self) -> Result<Node, Wrong> {
        while self.lexer.takes(" ") {}
        self.expect("(", "after #set, with nothing but spaces before it")?;
        self.lexer.skip_whitespace();
        let target = self.required_reference("as the target of #set")?;
        if let Some(crate::ast::Step::Method(name, _)) = target.steps.last() {
            return Err(self.lexer.wrong(format!("#set cannot assign to a call of {name}")));
        }
        self.lexer.skip_whitespace();
        self.expect("=", "after the target of #set")?;
        let value = self.whole_expression()?;
        self.close("after the value of #set")?;
        self.lexer.swallow_line_end();
        Ok(Node::Set { target, value })
    }

    fn branches(&mut self, place: u32) -> Result<Node, Wrong> {
        let mut branches = Vec::new();
        let mut condition = Some(self.condition("#if")?);
        let mut otherwise = Vec::new();
        loop {
            let (nodes, ending, at) = self.block()?;
            match (condition.take(), ending) {
                (_, Ending::Text) => {
                    return Err(Wrong { place, message: "an #if without its #end".to_owned() });
                }
                (Some(tested), Ending::ElseIf) => {
                    branches.push((tested, nodes));
                    condition = Some(self.condition("#elseif")?);
                }
                (Some(tested), Ending::Else) => branches.push((tested, nodes)),
                (Some(tested), Ending::End) => {
                    branches.push((tested, nodes));
                    return Ok(Node::If { branches, otherwise });
                }
                (None, Ending::End) => {
                    otherwise = nodes;
                    return Ok(Node::If { branches, otherwise });
                }
                (None, Ending::Else | Ending::ElseIf) => {
                    self.lexer.go_to(at);
                    return Err(self.lexer.wrong("after #else there is only #end"));
                }
            }
        }
    }

    fn condition(&mut self, directive: &str) -> Result<Expression, Wrong> {
        self.lexer.skip_blanks();
        self.expect("(", &format!("after {directive}"))?;
        let condition = self.whole_expression()?;
        self.close(&format!("after the condition of {directive}"))?;
        self.lexer.swallow_line_end();
        Ok(condition)
    }

    fn foreach(&mut self, place: u32) -> Result<Node, Wrong> {
        self.lexer.skip_blanks();
        self.expect("(", "after #foreach")?;
        self.lexer.skip_whitespace();
        let variable = self.required_reference("as the variable of #foreach")?.name;
        self.lexer.skip_whitespace();
        if !self.lexer.takes_word("in") {
            return Err(self.lexer.wrong("no `in` after the variable of #foreach"));
        }
        let items = self.parameter()?;
        self.close("after the items of #foreach")?;
        self.lexer.swallow_line_end();
        let body = self.body_up_to_end(place, "foreach")?;
        Ok(Node::Foreach { place, variable, items, body })
    }

    fn define(&mut self, place: u32) -> Result<Node, Wrong> {
        self.lexer.skip_blanks();
        self.expect("(", "after #define")?;
        self.lexer.skip_whitespace();
        let name = self.required_reference("as the name of #define")?.name;
        self.close("after the name of #define")?;
        self.lexer.swallow_line_end();
        let body = self.body_up_to_end(place, "define")?;
        let block = self.parts.blocks.len();
        self.parts.blocks.push(body);
        Ok(Node::Define { name, block })
    }

    fn body_up_to_end(&mut self, place: u32, directive: &str) -> Result<Vec<Node>, Wrong> {
        let (nodes, ending, at) = self.block()?;
        match ending {
            Ending::End => Ok(nodes),
            Ending::Text => {
                Err(Wrong { place, message: format!("a #{directive} without its #end") })
            }
            Ending::Else | Ending::ElseIf => {
                self.lexer.go_to(at);
                Err(self.lexer.wrong(format!("a #{directive} has no #else")))
            }
        }
    }

    fn required_reference(&mut self, what: &str) -> Result<Reference, Wrong> {
        let wrong = self.lexer.wrong(format!("no reference {what}"));
        self.reference()?.ok_or(wrong)
    }

    pub(crate) fn expect(&mut self, text: &str, what: &str) -> Result<(), Wrong> {
        if self.lexer.takes(text) {
            return Ok(());
        }
        Err(self.lexer.wrong(format!("no `{text}` {what}")))
    }

    /// A closing parenthesis after whitespace.
    fn close(&mut self, what: &str) -> Result<(), Wrong> {
        self.lexer.skip_whitespace();
        if self.lexer.peek() == Some('-') && self.lexer.is_at_number() {
            return Err(self.lexer.wrong("a minus glued to digits is their sign: write `1 - 1`"));
        }
        self.expect(")", what)
    }

    /// A string in quotes, which is next.
    pub(crate) fn string(&mut self) -> Result<Expression, Wrong> {
        let is_double = self.lexer.peek() == Some('"');
        let inside = self.lexer.string()?;
        let text = inside.text();
        if !is_double || !text.contains(['$', '#']) {
            return Ok(Expression::Text(text.into()));
        }
        self.deeper(|this| {
            let parser = Parser::new(inside, Scope::String, this.depth, this.parts);
            parser.parse().map(Expression::Interpolated)
        })
    }

    /// Whether a reference can start at the `$` that is next.
    pub(crate) fn is_at_reference(&self) -> bool {
        let mut ahead = 1;
        ahead += usize::from(self.lexer.peek_at(ahead) == Some('!'));
        ahead += usize::from(self.lexer.peek_at(ahead) == Some('{'));
        self.lexer.peek_at(ahead).is_some_and(is_name_start)
    }
}
