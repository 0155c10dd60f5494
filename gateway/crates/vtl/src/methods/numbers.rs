//! Methods of numbers, with the static ones that are called through an instance.

use std::cmp::Ordering;

use crate::{
    evaluator::{Evaluator, Interrupt},
    numbers::Number,
    value::Value,
};

impl Evaluator<'_> {
    pub(super) fn number_method(
        &mut self,
        number: &Number,
        name: &str,
        arguments: &[Value],
    ) -> Result<Option<Value>, Interrupt> {
        let answer = match (name, arguments) {
            ("intValue", []) => Number::Int(i64::from(number.int())),
            ("longValue", []) => Number::Int(number.long()),
            ("doubleValue" | "floatValue", []) => Number::Double(number.double()),
            ("compareTo", [Value::Number(other)]) => {
                let order = number.compare(other).unwrap_or(Ordering::Equal);
                Number::Int(i64::from(order as i8))
            }
            ("parseInt", [Value::Text(text)]) => {
                Number::Int(i64::from(parse::<i32>("parseInt", text)?))
            }
            ("parseLong", [Value::Text(text)]) => Number::Int(parse("parseLong", text)?),
            ("parseDouble" | "parseFloat", [Value::Text(text)]) => {
                Number::Double(parse("parseDouble", text.trim())?)
            }
            ("valueOf", [Value::Text(text)]) => match number {
                Number::Double(_) => Number::Double(parse("valueOf", text.trim())?),
                Number::Int(_) | Number::Big(_) => Number::Int(parse("valueOf", text)?),
            },
            _ => return Ok(None),
        };
        Ok(Some(Value::Number(answer)))
    }
}

/// What Java's parsers throw on.
fn parse<T: std::str::FromStr>(method: &str, text: &str) -> Result<T, Interrupt> {
    let shown: String = text.chars().take(40).collect();
    text.parse().map_err(|_| Interrupt::method(format!("{method}: {shown:?} is no such number")))
}
