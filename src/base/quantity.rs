//! Kubernetes quantities: `250m`, `1.5`, `64Mi`, `1e3`.

use std::fmt;

/// An amount, exact to a billionth, as the Kubernetes API keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount {
    /// The amount times 10^9.
    nanos: i128,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a quantity; write a number with an optional suffix such as 100m, 2, 64Mi or 1e3")]
pub struct NotAQuantity;

const NANOS: i128 = 1_000_000_000;

impl Amount {
    /// Reads a quantity.
    pub fn parse(text: &str) -> Result<Self, NotAQuantity> {
        let (sign, digits) = match text.as_bytes().first() {
            Some(b'-') => (-1, &text[1..]),
            Some(b'+') => (1, &text[1..]),
            _ => (1, text),
        };
        let end = digits.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(digits.len());
        let (number, suffix) = digits.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(NotAQuantity);
        }
        let scale = Scale::of(suffix).ok_or(NotAQuantity)?;
        let mut nanos = scale.apply(parse_digits(whole)?, 0).ok_or(NotAQuantity)?;
        if !fraction.is_empty() {
            // Beyond eighteen places nothing of a billionth is left whatever the suffix.
            let kept = &fraction[..fraction.len().min(18)];
            let places = u32::try_from(kept.len()).map_err(|_| NotAQuantity)?;
            let part = scale.apply(parse_digits(kept)?, places).ok_or(NotAQuantity)?;
            nanos = nanos.checked_add(part).ok_or(NotAQuantity)?;
        }
        Ok(Self { nanos: sign * nanos })
    }

    /// The amount in thousandths, rounded up: millicores.
    pub fn milli(self) -> i64 {
        ceil_div(self.nanos, NANOS / 1000)
    }

    /// The amount in whole units, rounded up: bytes.
    pub fn value(self) -> i64 {
        ceil_div(self.nanos, NANOS)
    }

    /// Whether the amount is below zero.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether the amount is nothing at all.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos % NANOS == 0 {
            write!(f, "{}", self.nanos / NANOS)
        } else {
            write!(f, "{}m", self.milli())
        }
    }
}

/// What a suffix multiplies by.
enum Scale {
    /// A power of ten.
    Decimal(i32),
    /// A power of two.
    Binary(u32),
}

impl Scale {
    /// The scale that a suffix names.
    fn of(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "" => Self::Decimal(0),
            "n" => Self::Decimal(-9),
            "u" => Self::Decimal(-6),
            "m" => Self::Decimal(-3),
            "k" => Self::Decimal(3),
            "M" => Self::Decimal(6),
            "G" => Self::Decimal(9),
            "T" => Self::Decimal(12),
            "P" => Self::Decimal(15),
            "E" => Self::Decimal(18),
            "Ki" => Self::Binary(10),
            "Mi" => Self::Binary(20),
            "Gi" => Self::Binary(30),
            "Ti" => Self::Binary(40),
            "Pi" => Self::Binary(50),
            "Ei" => Self::Binary(60),
            _ => {
                let exponent = suffix.strip_prefix(['e', 'E'])?;
                let exponent: i32 = exponent.parse().ok()?;
                Self::Decimal(exponent)
            }
        })
    }

    /// `digits` / 10^`places`, scaled, in billionths, rounded up.
    fn apply(&self, digits: i128, places: u32) -> Option<i128> {
        let (up, down) = match *self {
            Self::Decimal(power) => {
                let power = power + 9 - i32::try_from(places).ok()?;
                let ten = 10i128.checked_pow(power.unsigned_abs())?;
                if power < 0 { (1, ten) } else { (ten, 1) }
            }
            Self::Binary(power) => ((1i128 << power) * NANOS, 10i128.checked_pow(places)?),
        };
        let scaled = digits.checked_mul(up)?;
        Some(scaled / down + i128::from(scaled % down != 0))
    }
}

/// Decimal digits as a number; no digits are nothing.
fn parse_digits(digits: &str) -> Result<i128, NotAQuantity> {
    if digits.is_empty() { Ok(0) } else { digits.parse().map_err(|_| NotAQuantity) }
}

/// Division that rounds up, held within an `i64`.
fn ceil_div(value: i128, by: i128) -> i64 {
    let quotient = value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0);
    i64::try_from(quotient).unwrap_or(if quotient < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_mean_what_kubernetes_means() {
        for (text, milli, value) in [
            ("0", 0, 0),
            ("1", 1000, 1),
            ("100m", 100, 1),
            ("0.15", 150, 1),
            ("1.5", 1500, 2),
            ("64Mi", 67_108_864_000, 67_108_864),
            ("1.5Gi", 1_610_612_736_000, 1_610_612_736),
            ("1e3", 1_000_000, 1000),
            ("1E3", 1_000_000, 1000),
            ("2E", i64::MAX, 2_000_000_000_000_000_000),
            ("1500u", 2, 1),
            ("-1", -1000, -1),
            (".5", 500, 1),
            ("5.", 5000, 5),
            ("100M", 100_000_000_000, 100_000_000),
        ] {
            let amount = Amount::parse(text).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!((amount.milli(), amount.value()), (milli, value), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "m", "1.2.3", "1 Gi", "1gi", "1KB", "abc", "1e", "--1", "+", "1mi", "."] {
            assert_eq!(Amount::parse(text), Err(NotAQuantity), "{text:?}");
        }
    }
}
