//! Numbers as Java has them: integers that grow when they must, and doubles.
//!
//! Holds always: `Big` is beyond 64 bits and has at most [`MAX_BIG_BITS`] bits, so arithmetic on
//! it is short. An operation without a result (division by zero) is `None`.

use std::{cmp::Ordering, fmt};

use num_bigint::BigInt;

/// The longest integer that a template or a body may have, about a thousand digits.
pub(crate) const MAX_BIG_BITS: u64 = 4096;

/// The most digits an integer in a text may have.
pub(crate) const MAX_DIGITS: usize = 1000;

/// A number of a template or of JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum Number {
    /// An integer of up to 64 bits.
    Int(i64),
    /// An integer of more than 64 bits.
    Big(BigInt),
    /// Anything with a point or an exponent.
    Double(f64),
}

/// Why there is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoNumber {
    /// Division by zero.
    Undefined,
    /// More than [`MAX_BIG_BITS`].
    TooLong,
}

impl Number {
    /// Reads digits with an optional minus, and an optional fraction and exponent.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        if text.contains(['.', 'e', 'E']) {
            return text.parse().ok().map(Self::Double);
        }
        if let Ok(int) = text.parse() {
            return Some(Self::Int(int));
        }
        if text.len() > MAX_DIGITS {
            return None;
        }
        text.parse().ok().map(Self::from_big)
    }

    fn from_big(big: BigInt) -> Self {
        i64::try_from(&big).map_or(Self::Big(big), Self::Int)
    }

    fn big(&self) -> Option<BigInt> {
        match self {
            Self::Int(int) => Some(BigInt::from(*int)),
            Self::Big(big) => Some(big.clone()),
            Self::Double(_) => None,
        }
    }

    /// The nearest double.
    pub(crate) fn double(&self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "this is what Java's widening does")]
            Self::Int(int) => *int as f64,
            // A text of digits always reads as a double, at worst an infinite one.
            Self::Big(big) => big.to_string().parse().unwrap_or(f64::NAN),
            Self::Double(double) => *double,
        }
    }

    /// The integer part, cut to 64 bits as Java's `longValue` does for doubles.
    pub(crate) fn long(&self) -> i64 {
        match self {
            Self::Int(int) => *int,
            Self::Big(big) => {
                let low = big & BigInt::from(u64::MAX);
                u64::try_from(&low).unwrap_or(0).cast_signed()
            }
            #[expect(clippy::cast_possible_truncation, reason = "saturates, as in Java")]
            Self::Double(double) => *double as i64,
        }
    }

    /// The integer part, cut to 32 bits as Java's `intValue` does.
    pub(crate) fn int(&self) -> i32 {
        #[expect(clippy::cast_possible_truncation, reason = "Java drops the upper bits, too")]
        match self {
            Self::Double(double) => *double as i32,
            Self::Int(_) | Self::Big(_) => self.long() as i32,
        }
    }

    fn is_zero(&self) -> bool {
        match self {
            Self::Int(int) => *int == 0,
            Self::Big(_) => false,
            Self::Double(double) => *double == 0.0,
        }
    }

    pub(crate) fn add(&self, other: &Self) -> Result<Self, NoNumber> {
        self.combine(other, i64::checked_add, |a, b| a + b, |a, b| a + b)
    }

    pub(crate) fn subtract(&self, other: &Self) -> Result<Self, NoNumber> {
        self.combine(other, i64::checked_sub, |a, b| a - b, |a, b| a - b)
    }

    pub(crate) fn multiply(&self, other: &Self) -> Result<Self, NoNumber> {
        self.combine(other, i64::checked_mul, |a, b| a * b, |a, b| a * b)
    }

    pub(crate) fn divide(&self, other: &Self) -> Result<Self, NoNumber> {
        if other.is_zero() {
            return Err(NoNumber::Undefined);
        }
        self.combine(other, i64::checked_div, |a, b| a / b, |a, b| a / b)
    }

    pub(crate) fn remainder(&self, other: &Self) -> Result<Self, NoNumber> {
        if other.is_zero() {
            return Err(NoNumber::Undefined);
        }
        self.combine(other, i64::checked_rem, |a, b| a % b, |a, b| a % b)
    }

    fn combine(
        &self,
        other: &Self,
        ints: fn(i64, i64) -> Option<i64>,
        bigs: fn(BigInt, BigInt) -> BigInt,
        doubles: fn(f64, f64) -> f64,
    ) -> Result<Self, NoNumber> {
        if let (Self::Int(a), Self::Int(b)) = (self, other)
            && let Some(int) = ints(*a, *b)
        {
            return Ok(Self::Int(int));
        }
        match (self.big(), other.big()) {
            (Some(a), Some(b)) => {
                let big = bigs(a, b);
                if big.bits() > MAX_BIG_BITS {
                    return Err(NoNumber::TooLong);
                }
                Ok(Self::from_big(big))
            }
            _ => Ok(Self::Double(doubles(self.double(), other.double()))),
        }
    }

    /// By value, whatever the types: 1 is 1.0. `None` where one is not a number.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            _ => match (self.big(), other.big()) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => self.double().partial_cmp(&other.double()),
            },
        }
    }
}

impl fmt::Display for Number {
    /// As Java's `toString`: `100000000.0` is `1.0E8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(int) => int.fmt(f),
            Self::Big(big) => big.fmt(f),
            Self::Double(double) => f.write_str(&java_double(*double)),
        }
    }
}

/// Java's `Double.toString`: plain from 10^-3 up to 10^7, else one digit, a point and an exponent.
fn java_double(double: f64) -> String {
    if double.is_nan() {
        return "NaN".to_owned();
    }
    if double.is_infinite() {
        return if double > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let size = double.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        // The shortest digits that read back as the same double, with at least one after the point.
        return format!("{double:?}");
    }
    let scientific = format!("{double:e}");
    match scientific.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
        Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
        None => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(double: f64) -> String {
        Number::Double(double).to_string()
    }

    #[test]
    fn doubles_print_as_in_java() {
        assert_eq!(text(10.0), "10.0");
        assert_eq!(text(1e5), "100000.0");
        assert_eq!(text(1e8), "1.0E8");
        assert_eq!(text(1e7), "1.0E7");
        assert_eq!(text(9_999_999.5), "9999999.5");
        assert_eq!(text(0.001), "0.001");
        assert_eq!(text(0.000_123), "1.23E-4");
        assert_eq!(text(-2.5e-10), "-2.5E-10");
        assert_eq!(text(-0.0), "-0.0");
    }

    #[test]
    fn an_integer_grows_when_it_must_and_shrinks_when_it_can() {
        let max = Number::Int(i64::MAX);
        let more = max.add(&Number::Int(1)).unwrap();
        assert_eq!(more.to_string(), "9223372036854775808");
        assert_eq!(more.subtract(&Number::Int(1)), Ok(max));
        let least = Number::Int(i64::MIN);
        assert_eq!(least.divide(&Number::Int(-1)).unwrap().to_string(), "9223372036854775808");
        assert_eq!(least.remainder(&Number::Int(-1)), Ok(Number::Int(0)));
    }

    #[test]
    fn an_integer_does_not_grow_without_end() {
        let mut number = Number::Int(3);
        let end = (0..20).find_map(|_| match number.multiply(&number) {
            Ok(next) => {
                number = next;
                None
            }
            Err(err) => Some(err),
        });
        assert_eq!(end, Some(NoNumber::TooLong));
    }
}
