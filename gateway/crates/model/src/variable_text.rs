//! Text of the operator's with stage variables in it.
//!
//! In:  such as `http://${stageVariables.host}/messages`.
//! Out: the text for one stage.

use std::collections::BTreeMap;

use crate::request_parameters::is_parameter_name;

/// A text, taken apart at its variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VariableText {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    StageVariable(String),
}

/// `${` without `}`, or a variable that is no stage variable; as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadVariable(pub(crate) String);

/// The stage does not define this variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UndefinedVariable(pub(crate) String);

impl VariableText {
    pub(crate) fn parse(text: &str) -> Result<Self, BadVariable> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once("${") {
            let refused = || BadVariable(format!("${{{from}"));
            let (variable, after) = from.split_once('}').ok_or_else(refused)?;
            let name = variable
                .strip_prefix("stageVariables.")
                .filter(|name| is_parameter_name(name))
                .ok_or_else(|| BadVariable(format!("${{{variable}}}")))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::StageVariable(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn has_variables(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::StageVariable(_)))
    }

    /// Replaces the variables. What a variable stands for is not looked at again for variables.
    pub(crate) fn expand(
        &self,
        variables: &BTreeMap<String, String>,
    ) -> Result<String, UndefinedVariable> {
        let mut expanded = String::with_capacity(self.text.len());
        for piece in &self.pieces {
            expanded.push_str(match piece {
                Piece::Text(text) => text,
                Piece::StageVariable(name) => {
                    variables.get(name).ok_or_else(|| UndefinedVariable(name.clone()))?
                }
            });
        }
        Ok(expanded)
    }
}
