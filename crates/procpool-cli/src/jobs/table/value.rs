//! The types of a table's columns, and which of them a text is read as.
//!
//! The types form a lattice: [`Type::join`] is commutative, associative and idempotent, so what files disagree about comes
//! out the same in whatever order they are looked at. A value fits a column if its own type joined with the column's is the
//! column's.

use serde::{Deserialize, Serialize};

/// The type of a value or a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Type {
    /// Nothing is known: no value has been seen.
    Empty,
    /// `true` or `false`.
    Bool,
    /// A whole number that a double holds exactly.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A floating-point number of 64 bits.
    Float,
    /// A day.
    Date,
    /// A day and a time, without a zone, in microseconds.
    Time,
    /// A point in time, in microseconds of UTC.
    Instant,
    /// Anything.
    Text,
}

impl Type {
    /// The narrowest type that has the values of both.
    pub(crate) fn join(self, other: Type) -> Type {
        use Type::*;
        match (self, other) {
            (a, b) if a == b => a,
            (Empty, other) | (other, Empty) => other,
            (Int, Float) | (Float, Int) => Float,
            // With a double in the same column a longer one would lose its last digits, so that is text.
            (Int, Long) | (Long, Int) => Long,
            (Date, Time) | (Time, Date) => Time,
            _ => Text,
        }
    }

    /// Its name, for people and programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Type::Empty => "empty",
            Type::Bool => "bool",
            Type::Int | Type::Long => "int",
            Type::Float => "float",
            Type::Date => "date",
            Type::Time => "time",
            Type::Instant => "instant",
            Type::Text => "text",
        }
    }
}

/// Up to here a double holds every whole number.
pub(crate) const EXACT: u64 = 1 << 53;

/// A text, read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    /// No text.
    Empty,
    /// `true` or `false`, also `True`, `TRUE`, `False` and `FALSE`.
    Bool(bool),
    /// A whole number as JSON writes it, of 64 bits.
    Int(i64),
    /// Another number as JSON writes it, or `NaN`, `inf`, `-inf`.
    Float(f64),
    /// `2026-11-26`, in days since 1970.
    Date(i32),
    /// `2026-11-26 12:30:00` or with a `T` and up to six decimals, in microseconds since 1970.
    Time(i64),
    /// The same followed by `Z` or an offset such as `+01:00`, in microseconds of UTC.
    Instant(i64),
    /// Anything else: also whole numbers with leading zeros, which are often no numbers, and those beyond 64 bits.
    Text,
}

impl Value {
    /// Its type.
    pub(crate) fn kind(self) -> Type {
        match self {
            Value::Empty => Type::Empty,
            Value::Bool(_) => Type::Bool,
            Value::Int(value) if value.unsigned_abs() <= EXACT => Type::Int,
            Value::Int(_) => Type::Long,
            Value::Float(_) => Type::Float,
            Value::Date(_) => Type::Date,
            Value::Time(_) => Type::Time,
            Value::Instant(_) => Type::Instant,
            Value::Text => Type::Text,
        }
    }

    /// Reads a text.
    pub(crate) fn read(text: &[u8]) -> Value {
        match text {
            [] => Value::Empty,
            b"-inf" => Value::Float(f64::NEG_INFINITY),
            [b'0'..=b'9' | b'-', ..] => number(text).unwrap_or_else(|| date_or_time(text)),
            b"true" | b"True" | b"TRUE" => Value::Bool(true),
            b"false" | b"False" | b"FALSE" => Value::Bool(false),
            b"NaN" => Value::Float(f64::NAN),
            b"inf" => Value::Float(f64::INFINITY),
            _ => Value::Text,
        }
    }
}

/// Powers of ten that a double holds exactly.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Reads a text that is a number by JSON's grammar. `None` if it is none.
#[inline]
pub(crate) fn number(text: &[u8]) -> Option<Value> {
    number_at_start(text).filter(|(_, len)| *len == text.len()).map(|(value, _)| value)
}

/// Reads the longest number by JSON's grammar that a text begins with, and says how long it is.
#[inline]
pub(crate) fn number_at_start(text: &[u8]) -> Option<(Value, usize)> {
    let digit_at = |at: usize| text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9);
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let (mut at, mut whole) = (start, 0u64);
    // Up to 19 digits fit; of more the value is not used.
    while let Some(digit) = digit_at(at) {
        whole = whole.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
        if whole == 0 {
            break;
        }
    }
    let digits = at - start;
    if digits == 0 {
        return None;
    }
    let mut decimals = 0;
    if text.get(at) == Some(&b'.') && digit_at(at + 1).is_some() {
        at += 1;
        while let Some(digit) = digit_at(at) {
            whole = whole.wrapping_mul(10).wrapping_add(u64::from(digit));
            at += 1;
            decimals += 1;
        }
    }
    let mut exponent = false;
    if let Some(b'e' | b'E') = text.get(at) {
        let behind = at + 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        if digit_at(behind).is_some() {
            exponent = true;
            at = behind;
            while digit_at(at).is_some() {
                at += 1;
            }
        }
    }
    let fits = digits + decimals <= 19;
    if decimals == 0 && !exponent {
        let value = match fits && whole <= i64::MAX as u64 + u64::from(negative) {
            true if negative => Value::Int((whole as i64).wrapping_neg()),
            true => Value::Int(whole as i64),
            false => Value::Text,
        };
        return Some((value, at));
    }
    // Exact operands and one rounding give the nearest double (Clinger 1990); what is longer is left to the library.
    if fits && !exponent && whole <= EXACT && decimals < TENS.len() {
        let value = whole as f64 / TENS[decimals];
        return Some((Value::Float(if negative { -value } else { value }), at));
    }
    let value = std::str::from_utf8(&text[..at]).ok()?.parse().ok()?;
    Some((Value::Float(value), at))
}

fn date_or_time(text: &[u8]) -> Value {
    let Some((days, rest)) = date(text) else { return Value::Text };
    let [b' ' | b'T', clock @ ..] = rest else {
        return if rest.is_empty() { Value::Date(days) } else { Value::Text };
    };
    let Some((micros, rest)) = time_of_day(clock) else { return Value::Text };
    let local = i64::from(days) * 86_400_000_000 + micros;
    match rest {
        [] => Value::Time(local),
        b"Z" => Value::Instant(local),
        [sign @ (b'+' | b'-'), h1, h2, rest @ ..] => {
            let minutes = match rest {
                [] => Some(0),
                [b':', m1, m2] | [m1, m2] => two(*m1, *m2, 59),
                _ => None,
            };
            match (two(*h1, *h2, 23), minutes) {
                (Some(hours), Some(minutes)) => {
                    let offset = i64::from(hours * 60 + minutes) * 60_000_000;
                    Value::Instant(if *sign == b'+' { local - offset } else { local + offset })
                }
                _ => Value::Text,
            }
        }
        _ => Value::Text,
    }
}

fn two(tens: u8, ones: u8, most: u32) -> Option<u32> {
    if !(tens.is_ascii_digit() && ones.is_ascii_digit()) {
        return None;
    }
    let number = u32::from(tens - b'0') * 10 + u32::from(ones - b'0');
    (number <= most).then_some(number)
}

/// `YYYY-MM-DD` at the start of a text: days since 1970, and the rest.
fn date(text: &[u8]) -> Option<(i32, &[u8])> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, rest @ ..] = text else { return None };
    let year = two(*y1, *y2, 99)? * 100 + two(*y3, *y4, 99)?;
    let (month, day) = (two(*m1, *m2, 12)?, two(*d1, *d2, 31)?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if month == 0 || day == 0 || day > last {
        return None;
    }
    Some((days_from_civil(year as i32, month as i32, day as i32), rest))
}

/// `HH:MM:SS` with up to six decimals at the start of a text: microseconds, and the rest.
fn time_of_day(text: &[u8]) -> Option<(i64, &[u8])> {
    let [h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = text else { return None };
    let seconds = (two(*h1, *h2, 23)? * 60 + two(*m1, *m2, 59)?) * 60 + two(*s1, *s2, 59)?;
    let mut micros = i64::from(seconds) * 1_000_000;
    let [b'.', decimals @ ..] = rest else { return Some((micros, rest)) };
    let count = decimals.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=6).contains(&count) {
        return None;
    }
    let mut scale = 100_000;
    for digit in &decimals[..count] {
        micros += i64::from(digit - b'0') * scale;
        scale /= 10;
    }
    Some((micros, &decimals[count..]))
}

/// Days since 1970 of a day in the Gregorian calendar, by the era arithmetic of Howard Hinnant's `days_from_civil`.
fn days_from_civil(year: i32, month: i32, day: i32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i32) -> (i32, i32, i32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i32::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// Appends a day as `YYYY-MM-DD`.
pub(crate) fn write_date(out: &mut Vec<u8>, days: i32) {
    let (year, month, day) = civil_from_days(days);
    out.extend_from_slice(format!("{year:04}-{month:02}-{day:02}").as_bytes());
}

/// Appends a time as `YYYY-MM-DDTHH:MM:SS`, with decimals if there are any.
pub(crate) fn write_time(out: &mut Vec<u8>, micros: i64) {
    let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    write_date(out, days as i32);
    let (seconds, decimals) = (rest / 1_000_000, rest % 1_000_000);
    out.extend_from_slice(format!("T{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60).as_bytes());
    if decimals != 0 {
        out.extend_from_slice(format!(".{decimals:06}").trim_end_matches('0').as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Type; 9] = [
        Type::Empty,
        Type::Bool,
        Type::Int,
        Type::Long,
        Type::Float,
        Type::Date,
        Type::Time,
        Type::Instant,
        Type::Text,
    ];

    #[test]
    fn types_are_a_lattice() {
        for a in ALL {
            assert_eq!(a.join(a), a);
            assert_eq!(a.join(Type::Empty), a);
            assert_eq!(a.join(Type::Text), Type::Text);
            for b in ALL {
                assert_eq!(a.join(b), b.join(a));
                for c in ALL {
                    assert_eq!(a.join(b).join(c), a.join(b.join(c)), "{a:?} {b:?} {c:?}");
                }
            }
        }
    }

    #[test]
    fn texts_are_read_as_what_they_look_like() {
        let read = |text: &str| Value::read(text.as_bytes());
        assert_eq!(read(""), Value::Empty);
        assert_eq!(read("0"), Value::Int(0));
        assert_eq!(read("-12"), Value::Int(-12));
        assert_eq!(read("9223372036854775807"), Value::Int(i64::MAX));
        assert_eq!(read("-9223372036854775808"), Value::Int(i64::MIN));
        assert_eq!(read("1.50"), Value::Float(1.5));
        assert_eq!(read("-0.1"), Value::Float(-0.1));
        assert_eq!(read("1e3"), Value::Float(1000.0));
        assert_eq!(read("2.5E-1"), Value::Float(0.25));
        assert_eq!(read("-inf"), Value::Float(f64::NEG_INFINITY));
        assert_eq!(read("TRUE"), Value::Bool(true));
        assert_eq!(read("1970-01-02"), Value::Date(1));
        assert_eq!(read("2000-02-29"), Value::Date(11016));
        assert_eq!(read("1970-01-01 00:00:01"), Value::Time(1_000_000));
        assert_eq!(read("1969-12-31T23:59:59.5"), Value::Time(-500_000));
        assert_eq!(read("1970-01-01T01:00:00.000001+01:00"), Value::Instant(1));
        assert_eq!(read("1970-01-01T00:00:00Z"), Value::Instant(0));
        assert_eq!(read("1970-01-01T00:00:00-0130"), Value::Instant(5_400_000_000));
        for text in [
            "007",
            "+5",
            ".5",
            "5.",
            "1e",
            "1e+",
            "--1",
            "-",
            "0x10",
            "1_000",
            "1,5",
            "9223372036854775808",
            " 1",
            "18446744073709551615",
            "18446744073709551616",
            "99999999999999999999999",
            "yes",
            "nan",
            "1900-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-01-00",
            "2026-1-1",
            "2026-01-01 24:00:00",
            "2026-01-01 10:00",
            "2026-01-01T10:00:00.",
            "2026-01-01T10:00:00.1234567",
            "2026-01-01T10:00:00+1",
            "2026-01-01x",
            "tru",
        ] {
            assert_eq!(read(text), Value::Text, "{text}");
        }
        assert!(matches!(read("NaN"), Value::Float(value) if value.is_nan()));
    }

    #[test]
    fn floats_are_the_nearest_ones() {
        // A small linear congruential generator: the same texts in every run.
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 11
        };
        for _ in 0..20_000 {
            let digits = next() % 10u64.pow((next() % 17 + 1) as u32);
            let text = match next() % 3 {
                0 => format!("{}.{}", digits / 1000, next() % 100_000),
                1 => format!("{digits}.{:012}", next() % 1_000_000_000_000),
                _ => format!("-{}.5e{}", digits, next() % 300),
            };
            assert_eq!(Value::read(text.as_bytes()), Value::Float(text.parse().expect("number")), "{text}");
        }
    }

    #[test]
    fn days_and_times_are_written_as_they_are_read() {
        let mut out = Vec::new();
        for days in (-719_528..2_932_896).step_by(97) {
            out.clear();
            write_date(&mut out, days);
            assert_eq!(Value::read(&out), Value::Date(days));
        }
        for micros in [0, -1, 1_764_160_000_123_450, 86_399_999_999, -62_167_219_200_000_000] {
            out.clear();
            write_time(&mut out, micros);
            assert_eq!(Value::read(&out), Value::Time(micros));
        }
    }
}
