//! One condition of a statement: an operator, a key, and the values read as the operator needs them.
//!
//! In:  one operator's entry of `Condition`.
//! Out: a [`Condition`].
//!
//! A request has at most one value of each key, so `ForAllValues:` and `ForAnyValue:` decide only
//! what holds without the key, as `...IfExists` does.

use serde_json::Value;

use super::{AddressBlock, Listed, Pattern, moment, pattern::Syntax};

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The fact that is asked for, in lower case.
    pub key: String,
    /// What holds for a request that has no such fact. [`Test::Absent`] does not look at it.
    pub holds_without_key: bool,
    /// What is asked of the fact.
    pub test: Test,
}

/// What is asked of a fact.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// `String...`: its text is, or matches, one of these or none.
    Text(Listed<Pattern>, LetterCase),
    /// `Arn...`: each of its six parts between colons matches that of one of these or of none.
    Arn(Listed<Pattern>),
    /// `Numeric...`: one of these, or for [`Comparison::NotEqual`] each.
    Number(Comparison, Vec<f64>),
    /// `Date...`: as for numbers; seconds since 1970.
    Moment(Comparison, Vec<i64>),
    /// `Bool`: one of these.
    Bool(Vec<bool>),
    /// `IpAddress`, `NotIpAddress`.
    Address(Listed<AddressBlock>),
    /// `Null`: whether it is absent; one of these.
    Absent(Vec<bool>),
}

/// Whether the case of letters counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterCase {
    /// `a` is not `A`.
    Counts,
    /// `a` is `A`.
    Ignored,
}

/// How a request's number or date relates to the policy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names are their definitions")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Why a condition was refused.
#[derive(Debug)]
pub(super) enum InvalidCondition {
    /// There is no such operator.
    Operator,
    /// The values should be this.
    Value(&'static str),
}

/// What an operator's name says.
#[derive(Clone, Copy)]
struct Operator {
    kind: Kind,
    negated: bool,
    holds_without_key: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Equals(LetterCase),
    Like,
    Arn,
    Number(Comparison),
    Moment(Comparison),
    Bool,
    Address,
    Null,
}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        let (set, name) = match name.split_once(':') {
            Some(("ForAllValues", name)) => (Some(true), name),
            Some(("ForAnyValue", name)) => (Some(false), name),
            Some(_) => return None,
            None => (None, name),
        };
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (kind, negated) = match name {
            "StringEquals" => (Kind::Equals(LetterCase::Counts), false),
            "StringNotEquals" => (Kind::Equals(LetterCase::Counts), true),
            "StringEqualsIgnoreCase" => (Kind::Equals(LetterCase::Ignored), false),
            "StringNotEqualsIgnoreCase" => (Kind::Equals(LetterCase::Ignored), true),
            "StringLike" => (Kind::Like, false),
            "StringNotLike" => (Kind::Like, true),
            // The two are the same to IAM.
            "ArnEquals" | "ArnLike" => (Kind::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Kind::Arn, true),
            "Bool" => (Kind::Bool, false),
            "IpAddress" => (Kind::Address, false),
            "NotIpAddress" => (Kind::Address, true),
            "Null" if !if_exists && set.is_none() => (Kind::Null, false),
            _ => {
                let comparison = |name| {
                    Some(match name {
                        "Equals" => Comparison::Equal,
                        "NotEquals" => Comparison::NotEqual,
                        "LessThan" => Comparison::Less,
                        "LessThanEquals" => Comparison::LessOrEqual,
                        "GreaterThan" => Comparison::Greater,
                        "GreaterThanEquals" => Comparison::GreaterOrEqual,
                        _ => return None,
                    })
                };
                let (kind, comparison) = match name.strip_prefix("Numeric") {
                    Some(name) => (Kind::Number as fn(_) -> _, comparison(name)?),
                    None => (Kind::Moment as fn(_) -> _, comparison(name.strip_prefix("Date")?)?),
                };
                (kind(comparison), comparison == Comparison::NotEqual)
            }
        };
        let holds_without_key = if_exists || set.unwrap_or(negated);
        Some(Self { kind, negated, holds_without_key })
    }
}

/// Whether there is an operator of that name.
pub(super) fn is_operator(name: &str) -> bool {
    Operator::parse(name).is_some()
}

impl Condition {
    pub(super) fn parse(
        operator: &str,
        key: &str,
        values: &Value,
        syntax: Syntax,
    ) -> Result<Self, InvalidCondition> {
        let Operator { kind, negated, holds_without_key } =
            Operator::parse(operator).ok_or(InvalidCondition::Operator)?;
        let values = texts(values).ok_or(InvalidCondition::Value(
            "a string, a number, a boolean, or a list of at least one of these",
        ))?;
        let patterns = |syntax: Syntax| {
            let needed = "text in which each `${` begins a variable such as ${aws:username}";
            read(&values, |text| Pattern::parse(text, syntax), needed)
        };
        let test = match kind {
            Kind::Equals(case) => {
                Test::Text(Listed::new(patterns(syntax.without_wildcards())?, negated), case)
            }
            Kind::Like => Test::Text(Listed::new(patterns(syntax)?, negated), LetterCase::Counts),
            Kind::Arn => Test::Arn(Listed::new(patterns(syntax)?, negated)),
            Kind::Number(comparison) => {
                Test::Number(comparison, read(&values, finite, "a number such as 10 or 0.5")?)
            }
            Kind::Moment(comparison) => {
                let needed = "a date such as 2026-11-22T11:59:53Z, or seconds since 1970";
                Test::Moment(comparison, read(&values, moment::parse, needed)?)
            }
            Kind::Bool => Test::Bool(read(&values, boolean, "\"true\" or \"false\"")?),
            Kind::Address => {
                let needed = "an address or a block such as 192.0.2.0/24";
                Test::Address(Listed::new(read(&values, AddressBlock::parse, needed)?, negated))
            }
            Kind::Null => Test::Absent(read(&values, boolean, "\"true\" or \"false\"")?),
        };
        Ok(Self { key: key.to_ascii_lowercase(), holds_without_key, test })
    }
}

impl<T> Listed<T> {
    fn new(items: Vec<T>, negated: bool) -> Self {
        if negated { Self::NoneOf(items) } else { Self::AnyOf(items) }
    }
}

/// One scalar, or a list of at least one, as text.
fn texts(value: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match value {
        Value::Array(list) if !list.is_empty() => list.iter().map(text).collect(),
        single => text(single).map(|text| vec![text]),
    }
}

fn read<T>(
    texts: &[String],
    read: impl Fn(&str) -> Option<T>,
    needed: &'static str,
) -> Result<Vec<T>, InvalidCondition> {
    texts.iter().map(|text| read(text).ok_or(InvalidCondition::Value(needed))).collect()
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn boolean(text: &str) -> Option<bool> {
    [("true", true), ("false", false)]
        .into_iter()
        .find_map(|(word, value)| text.eq_ignore_ascii_case(word).then_some(value))
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "`json!` makes values")]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(operator: &str, values: Value) -> Option<Condition> {
        Condition::parse(operator, "aws:SourceIp", &values, Syntax::Full).ok()
    }

    #[test]
    fn an_operator_reads_its_values() {
        let test = |operator, values| parsed(operator, values).unwrap().test;
        let number = |comparison, number| Test::Number(comparison, vec![number]);
        assert_eq!(test("NumericLessThanEquals", json!(5)), number(Comparison::LessOrEqual, 5.0));
        assert_eq!(test("NumericEquals", json!("1.5")), number(Comparison::Equal, 1.5));
        assert_eq!(test("NumericNotEquals", json!(-1)), number(Comparison::NotEqual, -1.0));
        assert_eq!(
            test("DateGreaterThan", json!(["2026-11-22T11:59:53Z", 7])),
            Test::Moment(Comparison::Greater, vec![1_795_348_793, 7])
        );
        assert_eq!(test("Bool", json!([true, "False"])), Test::Bool(vec![true, false]));
        assert_eq!(test("Null", json!("true")), Test::Absent(vec![true]));
        assert!(matches!(
            test("NotIpAddress", json!("10.0.0.0/8")),
            Test::Address(Listed::NoneOf(blocks)) if blocks.len() == 1
        ));
        assert!(matches!(
            test("StringNotEqualsIgnoreCase", json!(["a", "b"])),
            Test::Text(Listed::NoneOf(texts), LetterCase::Ignored) if texts.len() == 2
        ));
        assert_eq!(test("ArnLike", json!("a")), test("ArnEquals", json!("a")));
        assert_ne!(test("StringLike", json!("a*")), test("StringEquals", json!("a*")));
        assert_eq!(test("StringLike", json!("a")), test("StringEquals", json!("a")));
    }

    #[test]
    fn what_holds_without_the_key_follows_from_the_name() {
        for (operator, holds) in [
            ("StringEquals", false),
            ("StringNotEquals", true),
            ("NumericLessThan", false),
            ("NumericNotEquals", true),
            ("DateNotEquals", true),
            ("NotIpAddress", true),
            ("ArnNotLike", true),
            ("StringEqualsIfExists", true),
            ("StringEqualsIgnoreCaseIfExists", true),
            ("ForAllValues:StringEquals", true),
            ("ForAnyValue:StringEquals", false),
            ("ForAnyValue:StringNotEquals", false),
            ("ForAnyValue:StringEqualsIfExists", true),
        ] {
            let condition = parsed(operator, json!("1")).or_else(|| parsed(operator, json!("::1")));
            assert_eq!(condition.unwrap().holds_without_key, holds, "{operator}");
        }
    }

    #[test]
    fn unknown_operators_and_wrong_values_are_refused() {
        for operator in [
            "",
            "stringEquals",
            "StringEqual",
            "StringLikeIgnoreCase",
            "NullIfExists",
            "IfExists",
            "ForSomeValues:StringEquals",
            "ForAllValues:ForAnyValue:Bool",
            "NotBool",
            "Numeric",
            "DateEqualsifexists",
            "BinaryEquals",
            "ForAllValues:Null",
        ] {
            let error = Condition::parse(operator, "k", &json!("1"), Syntax::Full).unwrap_err();
            assert!(matches!(error, InvalidCondition::Operator), "{operator}");
        }
        for (operator, values) in [
            ("StringEquals", json!([])),
            ("StringEquals", json!(null)),
            ("StringEquals", json!([["a"]])),
            ("StringEquals", json!("${")),
            ("NumericEquals", json!("x")),
            ("NumericEquals", json!("inf")),
            ("DateEquals", json!("tomorrow")),
            ("Bool", json!("yes")),
            ("Null", json!(0)),
            ("IpAddress", json!(["::1", "x"])),
        ] {
            let error = Condition::parse(operator, "k", &values, Syntax::Full).unwrap_err();
            assert!(matches!(error, InvalidCondition::Value(_)), "{operator} {values}");
        }
    }
}
