//! IAM policy documents as data (websocket-api, 9.3 and 9.4). Evaluation is in `flow`.
//!
//! In:  a policy document as JSON: an authorizer's answer, or an access key's `policy`.
//! Out: its statements, with patterns split and the conditions' values read.
//!
//! Holds always: what is not understood is refused, never passed over. An unknown element of a
//! statement or an unknown operator might have been what narrows an `Allow`.

mod address_block;
mod condition;
mod moment;
mod pattern;

use serde_json::{Map, Value};

pub use self::{
    address_block::AddressBlock,
    condition::{Comparison, Condition, LetterCase, Test},
    pattern::{Pattern, PolicyVariable, Token},
};
use self::{condition::InvalidCondition, pattern::Syntax};

/// A parsed policy document.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyDocument {
    /// In the document's order, which decides nothing.
    pub statements: Vec<Statement>,
}

/// One statement: it applies to a request that all its parts fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// What it does where it applies.
    pub effect: Effect,
    /// `Action` or `NotAction`. The case of letters does not matter.
    pub actions: Listed<Pattern>,
    /// `Resource` or `NotResource`. Case matters.
    pub resources: Listed<Pattern>,
    /// `Condition`: all must hold.
    pub conditions: Vec<Condition>,
}

/// `Effect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names are their definitions")]
pub enum Effect {
    Allow,
    Deny,
}

/// What a list asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Listed<T> {
    /// One of these at least fits: `Action`, `StringEquals`.
    AnyOf(Vec<T>),
    /// None of these fits: `NotAction`, `StringNotEquals`.
    NoneOf(Vec<T>),
}

/// Why a policy was refused. Whoever wrote it is at fault; of a policy's values none is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// Not an object, or no statements in it.
    #[error("a policy is an object with `Statement`, which is an object or a list of objects")]
    Form,
    /// `Version` is there and none of the two that exist.
    #[error("`Version` is \"2012-10-17\" or \"2008-10-17\"")]
    Version,
    /// Something is wrong with one statement.
    #[error("statement {number}: {problem}")]
    Statement {
        /// From 1.
        number: usize,
        /// What is wrong.
        problem: InvalidStatement,
    },
}

/// Why a statement was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStatement {
    /// Not an object.
    #[error("a statement is an object with `Effect`, `Action` and `Resource`")]
    Form,
    /// An element that identity policies do not have, or a misspelt one.
    #[error(
        "`{0}` is no element of a statement: Sid, Effect, Action, NotAction, Resource, NotResource, Condition"
    )]
    UnknownElement(String),
    /// Absent or another word.
    #[error("`Effect` is \"Allow\" or \"Deny\"")]
    Effect,
    /// Somebody in particular: such a policy belongs to a resource.
    #[error("`Principal` may only be \"*\" here: a policy is about whoever it was given for")]
    Principal,
    /// Both or neither.
    #[error("a statement has either `{0}` or `Not{0}`")]
    EitherOr(&'static str),
    /// Another type, or an empty list.
    #[error("`{0}` is a string or a list of strings, at least one")]
    Texts(&'static str),
    /// `${` is not closed, or does not hold a variable.
    #[error("`{0}` holds a `${{` that begins no variable: ${{aws:username}} is one")]
    Variable(&'static str),
    /// Not an object of objects.
    #[error(
        "`Condition` is an object of operators, each an object of keys: {{\"IpAddress\": {{\"aws:SourceIp\": \"192.0.2.0/24\"}}}}"
    )]
    Condition,
    /// An operator that does not exist, or whose values have no meaning here.
    #[error("`{0}` is no condition operator that is known here")]
    Operator(String),
    /// A value that its operator cannot take.
    #[error("{operator} of {key} needs {needed}")]
    Value {
        /// As written.
        operator: String,
        /// As written.
        key: String,
        /// What would be right.
        needed: &'static str,
    },
}

impl PolicyDocument {
    /// Reads a policy document.
    ///
    /// Elements of the document besides `Version` and `Statement` are passed over, as there are
    /// none that narrow it. Without a `Version` it is `2008-10-17`, which knows no variables.
    ///
    /// # Errors
    /// What is wrong with it; of a document with several faults, the first.
    pub fn from_json(document: &Value) -> Result<Self, InvalidPolicy> {
        let document = document.as_object().ok_or(InvalidPolicy::Form)?;
        let syntax = match document.get("Version") {
            None => Syntax::WildcardsOnly,
            Some(Value::String(version)) if version == "2008-10-17" => Syntax::WildcardsOnly,
            Some(Value::String(version)) if version == "2012-10-17" => Syntax::Full,
            Some(_) => return Err(InvalidPolicy::Version),
        };
        let statements = match document.get("Statement") {
            Some(Value::Array(statements)) => statements.as_slice(),
            Some(statement @ Value::Object(_)) => std::slice::from_ref(statement),
            _ => return Err(InvalidPolicy::Form),
        };
        let read = |(index, value)| {
            Statement::from_json(value, syntax)
                .map_err(|problem| InvalidPolicy::Statement { number: index + 1, problem })
        };
        Ok(Self { statements: statements.iter().enumerate().map(read).collect::<Result<_, _>>()? })
    }
}

impl Statement {
    fn from_json(statement: &Value, syntax: Syntax) -> Result<Self, InvalidStatement> {
        let statement = statement.as_object().ok_or(InvalidStatement::Form)?;
        const ELEMENTS: [&str; 8] = [
            "Sid",
            "Effect",
            "Principal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ];
        if let Some(unknown) = statement.keys().find(|name| !ELEMENTS.contains(&name.as_str())) {
            return Err(InvalidStatement::UnknownElement(unknown.clone()));
        }
        let effect = match statement.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err(InvalidStatement::Effect),
        };
        if !statement.get("Principal").is_none_or(is_everybody) {
            return Err(InvalidStatement::Principal);
        }
        Ok(Self {
            effect,
            // Actions have no variables (IAM user guide, "Policy variables").
            actions: listed(statement, "Action", "NotAction", Syntax::WildcardsOnly)?,
            resources: listed(statement, "Resource", "NotResource", syntax)?,
            conditions: conditions(statement.get("Condition"), syntax)?,
        })
    }
}

/// `"*"`, `{"AWS": "*"}` or `{"AWS": ["*"]}`.
fn is_everybody(principal: &Value) -> bool {
    match principal {
        Value::String(name) => name == "*",
        Value::Array(names) => !names.is_empty() && names.iter().all(|name| name == "*"),
        Value::Object(kinds) => {
            !kinds.is_empty()
                && kinds.values().all(|names| !names.is_object() && is_everybody(names))
        }
        _ => false,
    }
}

/// The element `name` or its opposite.
fn listed(
    statement: &Map<String, Value>,
    name: &'static str,
    opposite: &'static str,
    syntax: Syntax,
) -> Result<Listed<Pattern>, InvalidStatement> {
    let patterns = |element: &'static str, value: &Value| {
        let texts = texts(value).ok_or(InvalidStatement::Texts(element))?;
        let parse = |text| Pattern::parse(text, syntax).ok_or(InvalidStatement::Variable(element));
        texts.into_iter().map(parse).collect::<Result<Vec<_>, _>>()
    };
    match (statement.get(name), statement.get(opposite)) {
        (Some(value), None) => patterns(name, value).map(Listed::AnyOf),
        (None, Some(value)) => patterns(opposite, value).map(Listed::NoneOf),
        _ => Err(InvalidStatement::EitherOr(name)),
    }
}

/// A string, or a list of at least one; `None` for anything else.
fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) if !list.is_empty() => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn conditions(block: Option<&Value>, syntax: Syntax) -> Result<Vec<Condition>, InvalidStatement> {
    let Some(block) = block else { return Ok(Vec::new()) };
    let operators = block.as_object().ok_or(InvalidStatement::Condition)?;
    let mut conditions = Vec::new();
    for (operator, keys) in operators {
        for (key, values) in keys.as_object().ok_or(InvalidStatement::Condition)? {
            let condition =
                Condition::parse(operator, key, values, syntax).map_err(|err| match err {
                    InvalidCondition::Operator => InvalidStatement::Operator(operator.clone()),
                    InvalidCondition::Value(needed) => InvalidStatement::Value {
                        operator: operator.clone(),
                        key: key.clone(),
                        needed,
                    },
                })?;
            conditions.push(condition);
        }
        // It holds nothing, but its name must still be one.
        if keys.as_object().is_some_and(Map::is_empty) && !condition::is_operator(operator) {
            return Err(InvalidStatement::Operator(operator.clone()));
        }
    }
    Ok(conditions)
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "`json!` makes values")]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn with(statement: Value) -> Result<PolicyDocument, InvalidPolicy> {
        PolicyDocument::from_json(&json!({"Version": "2012-10-17", "Statement": statement}))
    }

    /// A statement that is right but for what `changed` sets; `null` takes an element away.
    fn problem(changed: Value) -> Option<InvalidStatement> {
        let mut statement = json!({"Effect": "Allow", "Action": "a:b", "Resource": "*"});
        let elements = statement.as_object_mut().unwrap();
        for (name, value) in changed.as_object().unwrap() {
            if value.is_null() {
                elements.remove(name);
            } else {
                elements.insert(name.clone(), value.clone());
            }
        }
        match with(statement) {
            Ok(_) => None,
            Err(InvalidPolicy::Statement { number: 1, problem }) => Some(problem),
            Err(other) => panic!("{other}"),
        }
    }

    /// websocket-api, 9.3.
    #[test]
    fn the_contracts_example_parses() {
        let policy = with(json!([
            {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "arn:aws:execute-api:*"}
        ]))
        .unwrap();
        let [statement] = policy.statements.as_slice() else { panic!("one statement") };
        assert_eq!(statement.effect, Effect::Allow);
        assert!(matches!(&statement.actions, Listed::AnyOf(actions) if actions.len() == 1));
        assert!(statement.conditions.is_empty());
    }

    #[test]
    fn one_statement_needs_no_list_and_one_text_needs_none_either() {
        let single = json!({"Sid": "x", "Effect": "Deny", "NotAction": "a:*", "NotResource": "r"});
        let list = json!([
            {"Sid": "x", "Effect": "Deny", "NotAction": ["a:*"], "NotResource": ["r"]}
        ]);
        assert_eq!(with(single.clone()), with(list));
        let policy = with(single).unwrap();
        assert!(matches!(policy.statements[0].actions, Listed::NoneOf(_)));
        assert!(matches!(policy.statements[0].resources, Listed::NoneOf(_)));
    }

    /// It allows nothing, but it is a policy.
    #[test]
    fn a_policy_may_have_no_statement_in_its_list() {
        assert!(with(json!([])).unwrap().statements.is_empty());
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for document in [
            json!(null),
            json!([]),
            json!("{}"),
            json!({}),
            json!({"statusCode": 401}),
            json!({"Statement": "x"}),
            json!({"statement": []}),
        ] {
            assert_eq!(
                PolicyDocument::from_json(&document),
                Err(InvalidPolicy::Form),
                "{document}"
            );
        }
        for version in [json!("2012-10-18"), json!(20121017), json!(null), json!("")] {
            let document = json!({"Version": version, "Statement": []});
            assert_eq!(PolicyDocument::from_json(&document), Err(InvalidPolicy::Version));
        }
        let second = json!([{"Effect": "Allow", "Action": "*", "Resource": "*"}, 7]);
        assert_eq!(
            with(second),
            Err(InvalidPolicy::Statement { number: 2, problem: InvalidStatement::Form })
        );
    }

    #[test]
    fn a_fault_in_a_statement_is_named() {
        use InvalidStatement::{
            Condition, Effect, EitherOr, Form, Operator, Principal, Texts, UnknownElement, Variable,
        };
        assert_eq!(with(json!([[]])).unwrap_err().to_string(), format!("statement 1: {Form}"));
        for (changed, expected) in [
            (json!({"Conditions": {}}), UnknownElement("Conditions".to_owned())),
            (json!({"effect": "Allow"}), UnknownElement("effect".to_owned())),
            (json!({"NotPrincipal": "*"}), UnknownElement("NotPrincipal".to_owned())),
            (json!({"Effect": "allow"}), Effect),
            (json!({"Effect": null}), Effect),
            (json!({"Effect": true}), Effect),
            (json!({"Principal": "u1"}), Principal),
            (json!({"Principal": {"AWS": ["*", "arn:aws:iam::1:root"]}}), Principal),
            (json!({"Principal": {}}), Principal),
            (json!({"Action": null}), EitherOr("Action")),
            (json!({"NotAction": "b"}), EitherOr("Action")),
            (json!({"Resource": null}), EitherOr("Resource")),
            (json!({"NotResource": "b"}), EitherOr("Resource")),
            (json!({"Action": []}), Texts("Action")),
            (json!({"Action": 1}), Texts("Action")),
            (json!({"Resource": ["*", 1]}), Texts("Resource")),
            (json!({"Resource": null, "NotResource": []}), Texts("NotResource")),
            (json!({"Resource": "a/${aws:username"}), Variable("Resource")),
            (json!({"Condition": []}), Condition),
            (json!({"Condition": {"Bool": "x"}}), Condition),
            (json!({"Condition": {"StringMatches": {"k": "v"}}}), Operator("StringMatches".into())),
            (json!({"Condition": {"StringMatches": {}}}), Operator("StringMatches".into())),
        ] {
            assert_eq!(problem(changed.clone()), Some(expected), "{changed}");
        }
        let value = problem(json!({"Condition": {"IpAddress": {"aws:SourceIp": "x"}}}));
        assert_eq!(
            value.unwrap().to_string(),
            "IpAddress of aws:SourceIp needs an address or a block such as 192.0.2.0/24"
        );
    }

    #[test]
    fn a_principal_that_is_everybody_changes_nothing() {
        for everybody in [json!("*"), json!({"AWS": "*"}), json!({"AWS": ["*"]})] {
            assert_eq!(problem(json!({"Principal": everybody})), None);
        }
    }

    #[test]
    fn variables_are_read_in_the_newer_version_only() {
        let statement =
            json!({"Effect": "Allow", "Action": "${a:b}", "Resource": "r/${aws:username}"});
        let variables = |document: Value| {
            let policy = PolicyDocument::from_json(&document).unwrap();
            let Listed::AnyOf(resources) = &policy.statements[0].resources else { panic!() };
            let Listed::AnyOf(actions) = &policy.statements[0].actions else { panic!() };
            let is_variable = |token: &&Token| matches!(token, Token::Variable(_));
            assert_eq!(actions[0].tokens().iter().filter(is_variable).count(), 0);
            resources[0].tokens().iter().filter(is_variable).count()
        };
        assert_eq!(variables(json!({"Version": "2012-10-17", "Statement": statement})), 1);
        assert_eq!(variables(json!({"Version": "2008-10-17", "Statement": statement})), 0);
        assert_eq!(variables(json!({"Statement": statement})), 0);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let word = prop::sample::select(vec![
            "Version",
            "2012-10-17",
            "Statement",
            "Effect",
            "Allow",
            "Deny",
            "Action",
            "Resource",
            "Condition",
            "IpAddress",
            "aws:SourceIp",
            "10.0.0.0/8",
            "DateLessThan",
            "2026-11-22",
            "ForAnyValue:StringLikeIfExists",
            "${aws:username}",
            "*",
            "Null",
            "true",
            "Bool",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            word.clone().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 5, move |inner| {
            let name = word.clone().prop_map(str::to_owned);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn parsing_never_panics(document in any_json(), condition in any_json()) {
            let _ = PolicyDocument::from_json(&document);
            let _ = problem(json!({"Condition": condition}));
        }
    }
}
