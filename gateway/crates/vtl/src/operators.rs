//! Truth, comparison and arithmetic.

use std::cmp::Ordering;

use crate::{
    ast::{Expression, Operator},
    evaluator::{Evaluator, Interrupt},
    numbers::{MAX_BIG_BITS, NoNumber, Number},
    value::{Origin, Value},
};

impl Evaluator<'_> {
    /// Whether `#if` takes it. A reference is false only if it is the Boolean false, a literal is
    /// true only if it is the Boolean true.
    pub(crate) fn is_true(&mut self, expression: &Expression) -> Result<bool, Interrupt> {
        self.spend(1)?;
        self.deeper(|this| match expression {
            Expression::Reference(reference) => {
                Ok(!matches!(this.reference(reference)?, Value::Bool(false)))
            }
            Expression::Bool(bool) => Ok(*bool),
            Expression::Not(inner) => Ok(!this.is_true(inner)?),
            Expression::Binary(operator, left, right) => {
                Ok(matches!(this.binary(*operator, left, right)?, Value::Bool(true)))
            }
            // A string in double quotes runs what is in it, though its truth is known.
            Expression::Interpolated(_)
            | Expression::Null
            | Expression::Number(_)
            | Expression::Text(_)
            | Expression::List(_)
            | Expression::Range(..)
            | Expression::Map(_) => Ok(false),
        })
    }

    pub(crate) fn binary(
        &mut self,
        operator: Operator,
        left: &Expression,
        right: &Expression,
    ) -> Result<Value, Interrupt> {
        match operator {
            Operator::Or => return Ok(Value::Bool(self.is_true(left)? || self.is_true(right)?)),
            Operator::And => return Ok(Value::Bool(self.is_true(left)? && self.is_true(right)?)),
            _ => {}
        }
        let left = self.value(left)?;
        let right = self.value(right)?;
        match operator {
            Operator::Equal => self.equal(&left, &right).map(Value::Bool),
            Operator::NotEqual => self.equal(&left, &right).map(|equal| Value::Bool(!equal)),
            Operator::Less => Ok(compare(&left, &right, Ordering::is_lt)),
            Operator::LessOrEqual => Ok(compare(&left, &right, Ordering::is_le)),
            Operator::Greater => Ok(compare(&left, &right, Ordering::is_gt)),
            Operator::GreaterOrEqual => Ok(compare(&left, &right, Ordering::is_ge)),
            Operator::Add => self.add(&left, &right),
            Operator::Subtract => arithmetic(&left, &right, Number::subtract),
            Operator::Multiply => arithmetic(&left, &right, Number::multiply),
            Operator::Divide => arithmetic(&left, &right, Number::divide),
            Operator::Remainder => arithmetic(&left, &right, Number::remainder),
            // Answered above, without evaluating the right side.
            Operator::Or | Operator::And => Ok(Value::Null),
        }
    }

    /// A string on either side makes it a concatenation.
    fn add(&mut self, left: &Value, right: &Value) -> Result<Value, Interrupt> {
        if matches!(left, Value::Text(_)) || matches!(right, Value::Text(_)) {
            let mut text = String::new();
            self.print(left, &mut text)?;
            self.print(right, &mut text)?;
            return Ok(Value::text(text));
        }
        arithmetic(left, right, Number::add)
    }

    /// `==`: numbers by value; values of one class by what they hold; others by what they print.
    pub(crate) fn equal(&mut self, left: &Value, right: &Value) -> Result<bool, Interrupt> {
        if self.is_same_class(left, right) {
            return self.equals(left, right);
        }
        let left = self.text_of(left)?;
        let right = self.text_of(right)?;
        self.spend_text(left.len().min(right.len()))?;
        Ok(left == right)
    }

    fn is_same_class(&self, left: &Value, right: &Value) -> bool {
        let origin = |id| -> Origin { self.heap.list(id).origin };
        match (left, right) {
            (Value::List(a), Value::List(b)) => origin(*a) == origin(*b),
            _ => std::mem::discriminant(left) == std::mem::discriminant(right),
        }
    }

    /// Java's `equals`, except that numbers are equal by value: lists and maps by what they hold.
    pub(crate) fn equals(&mut self, left: &Value, right: &Value) -> Result<bool, Interrupt> {
        self.spend(1)?;
        match (left, right) {
            (Value::Null, Value::Null)
            | (Value::Input, Value::Input)
            | (Value::Util, Value::Util)
            | (Value::Uncalled, Value::Uncalled) => Ok(true),
            (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
            (Value::Number(a), Value::Number(b)) => Ok(a.compare(b) == Some(Ordering::Equal)),
            (Value::Text(a), Value::Text(b)) => {
                self.spend_text(a.len().min(b.len()))?;
                Ok(a == b)
            }
            (Value::List(a), Value::List(b)) => {
                if a == b {
                    return Ok(true);
                }
                let (a, b) = (self.heap.list(*a), self.heap.list(*b));
                if a.items.len() != b.items.len() {
                    return Ok(false);
                }
                let (a, b) = (a.items.clone(), b.items.clone());
                self.all_equal(a.iter().zip(&b))
            }
            (Value::Map(a), Value::Map(b)) => {
                if a == b {
                    return Ok(true);
                }
                let (a, b) = (self.heap.map(*a), self.heap.map(*b));
                if a.len() != b.len() {
                    return Ok(false);
                }
                let pairs: Option<Vec<(Value, Value)>> = a
                    .iter()
                    .map(|(key, value)| Some((value.clone(), b.get(key)?.clone())))
                    .collect();
                match pairs {
                    Some(pairs) => self.all_equal(pairs.iter().map(|(a, b)| (a, b))),
                    None => Ok(false),
                }
            }
            (Value::Entry(a), Value::Entry(b)) => {
                let (a, b) = (self.heap.entry(*a), self.heap.entry(*b));
                let pairs = [(a.key.clone(), b.key.clone()), (a.value.clone(), b.value.clone())];
                self.all_equal(pairs.iter().map(|(a, b)| (a, b)))
            }
            (Value::Iterator(a), Value::Iterator(b)) => Ok(a == b),
            (Value::Loop(a), Value::Loop(b)) => Ok(a == b),
            (Value::Block(a), Value::Block(b)) => Ok(a == b),
            _ => Ok(false),
        }
    }

    fn all_equal<'v>(
        &mut self,
        pairs: impl ExactSizeIterator<Item = (&'v Value, &'v Value)>,
    ) -> Result<bool, Interrupt> {
        self.spend(pairs.len())?;
        self.deeper(|this| {
            for (a, b) in pairs {
                if !this.equals(a, b)? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }
}

/// `<` and its like are false for what is not a number.
fn compare(left: &Value, right: &Value, holds: fn(Ordering) -> bool) -> Value {
    let ordering = match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.compare(b),
        _ => None,
    };
    Value::Bool(ordering.is_some_and(holds))
}

/// Null for what is not a number and for a division by zero.
fn arithmetic(
    left: &Value,
    right: &Value,
    operation: fn(&Number, &Number) -> Result<Number, NoNumber>,
) -> Result<Value, Interrupt> {
    let (Value::Number(left), Value::Number(right)) = (left, right) else { return Ok(Value::Null) };
    match operation(left, right) {
        Ok(number) => Ok(Value::Number(number)),
        Err(NoNumber::Undefined) => Ok(Value::Null),
        Err(NoNumber::TooLong) => {
            Err(Interrupt::method(format!("an integer of more than {MAX_BIG_BITS} bits")))
        }
    }
}
