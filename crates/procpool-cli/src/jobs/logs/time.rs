//! Times as logs write them.

use serde::{Deserialize, Serialize};

/// When something was, to the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// Seconds since 1970 of the clock on the wall where it was written down.
    pub local: i64,
    /// By how many seconds that clock was ahead of UTC.
    pub offset: i32,
}

const DAY: i64 = 86_400;
/// Years that are taken for years.
const YEARS: std::ops::RangeInclusive<i64> = 1970..=2199;

impl Moment {
    /// Days since 1970 on the wall.
    pub(super) fn day(self) -> i32 {
        self.local.div_euclid(DAY) as i32
    }

    /// The hour on the wall.
    pub(super) fn hour(self) -> usize {
        (self.local.rem_euclid(DAY) / 3600) as usize
    }

    /// Seconds since 1970, UTC.
    pub(super) fn utc(self) -> i64 {
        self.local - i64::from(self.offset)
    }

    /// The moment of a date and a time of day, both checked.
    fn of([year, month, day]: [i64; 3], [hour, minute, second]: [i64; 3], offset: i32) -> Option<Moment> {
        let is_date = YEARS.contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        // A leap second is the first of the next minute.
        let is_time = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..=60).contains(&second);
        let local = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
        (is_date && is_time).then_some(Moment { local, offset })
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// A day as `2026-11-21`.
pub(super) fn show_day(day: i32) -> String {
    let z = i64::from(day) + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

fn digits<const N: usize>(text: &[u8], at: usize) -> Option<i64> {
    let digits: &[u8; N] = text.get(at..at + N)?.first_chunk()?;
    digits.iter().try_fold(0_i64, |sum, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| sum * 10 + i64::from(digit))
    })
}

/// An offset such as `+0200` or `-07:30`.
fn offset(text: &[u8]) -> Option<i32> {
    let sign = match text.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let minutes_at = if text.get(3) == Some(&b':') { 4 } else { 3 };
    if text.len() != minutes_at + 2 {
        return None;
    }
    let (hours, minutes) = (digits::<2>(text, 1)?, digits::<2>(text, minutes_at)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60) as i32)
}

/// `10/Oct/2000:13:55:36 -0700`, as Apache and nginx write it.
pub(super) fn clf(text: &[u8]) -> Option<Moment> {
    let separators = [(2, b'/'), (6, b'/'), (11, b':'), (14, b':'), (17, b':'), (20, b' ')];
    if text.len() != 26 || separators.iter().any(|&(at, byte)| text[at] != byte) {
        return None;
    }
    let month = match &text[3..6] {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    };
    let date = [digits::<4>(text, 7)?, month, digits::<2>(text, 0)?];
    let time = [digits::<2>(text, 12)?, digits::<2>(text, 15)?, digits::<2>(text, 18)?];
    Moment::of(date, time, offset(&text[21..])?)
}

/// `2026-11-21`.
fn date(text: &[u8]) -> Option<[i64; 3]> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    Some([digits::<4>(text, 0)?, digits::<2>(text, 5)?, digits::<2>(text, 8)?])
}

/// `13:55`, `13:55:36` or `13:55:36.123`.
fn clock(text: &[u8]) -> Option<[i64; 3]> {
    let second = match text.get(5) {
        None => 0,
        Some(b':') => digits::<2>(text, 6)?,
        Some(_) => return None,
    };
    let fraction_ok = match text.get(8..) {
        None | Some([]) => text.len() == 5 || text.len() == 8,
        Some([b'.' | b',', rest @ ..]) => rest.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    };
    if !fraction_ok || text[2] != b':' {
        return None;
    }
    Some([digits::<2>(text, 0)?, digits::<2>(text, 3)?, second])
}

/// `2026-11-21T13:55:36+01:00`, with a fraction of the second or without, with `Z` or without a zone (UTC).
pub(super) fn iso(text: &[u8]) -> Option<Moment> {
    zoned(text).map(|(moment, _)| moment)
}

/// The moment, and whether it has a zone.
fn zoned(text: &[u8]) -> Option<(Moment, bool)> {
    let (day, rest) = text.split_at_checked(10)?;
    let date = date(day)?;
    let rest = match rest.split_first() {
        None => return Some((Moment::of(date, [0; 3], 0)?, false)),
        Some((b'T' | b't' | b' ', rest)) => rest,
        Some(_) => return None,
    };
    let zone_at = rest.iter().position(|byte| matches!(byte, b'Z' | b'z' | b'+' | b'-')).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    let offset = match zone {
        [] | b"Z" | b"z" => 0,
        zone => offset(zone)?,
    };
    Some((Moment::of(date, clock(time)?, offset)?, !zone.is_empty()))
}

/// A date and a time of day in fields of their own, in UTC.
pub(super) fn date_and_clock(day: &[u8], time: &[u8]) -> Option<Moment> {
    Moment::of(date(day)?, clock(time)?, 0)
}

/// Seconds since 1970, UTC.
pub(super) fn unix(seconds: f64) -> Option<Moment> {
    let in_range = (0.0..(days(*YEARS.end() + 1, 1, 1) * DAY) as f64).contains(&seconds);
    in_range.then_some(Moment { local: seconds as i64, offset: 0 })
}

/// An end of a range of time. Without a zone it is by the clock of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Bound {
    /// By the clock of the log.
    Local(i64),
    /// Seconds since 1970, UTC.
    Utc(i64),
}

impl Bound {
    /// Reads `2026-11-21`, `2026-11-21T13:55` and so on, with a zone or without.
    pub(crate) fn parse(text: &str) -> Result<Bound, String> {
        let hint = "write a time such as 2026-11-21, 2026-11-21T13:55 or 2026-11-21T13:55:36+01:00";
        let (moment, has_zone) = zoned(text.as_bytes()).ok_or(hint)?;
        Ok(if has_zone { Bound::Utc(moment.utc()) } else { Bound::Local(moment.local) })
    }

    /// How far a moment is behind the bound, in seconds; negative before it.
    pub(super) fn to(self, moment: Moment) -> i64 {
        match self {
            Bound::Local(bound) => moment.local - bound,
            Bound::Utc(bound) => moment.utc() - bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_logs_are_read() {
        let at = |local, offset| Some(Moment { local, offset });
        // Seconds by Python's calendar.timegm.
        assert_eq!(clf(b"10/Oct/2000:13:55:36 -0700"), at(971_186_136, -25_200));
        assert_eq!(clf(b"29/Feb/2024:00:00:00 +0000"), at(1_709_164_800, 0));
        assert_eq!(clf(b"01/Jan/1970:00:00:00 +0530"), at(0, 19_800));
        for wrong in [
            "10/Okt/2000:13:55:36 -0700",
            "10/Oct/2000:24:55:36 -0700",
            "10/Oct/2000:13:55:36",
            "",
            "10/Oct/1900:13:55:36 -0700",
        ] {
            assert_eq!(clf(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(iso(b"2000-10-10T13:55:36-07:00"), at(971_186_136, -25_200));
        assert_eq!(iso(b"2000-10-10T13:55:36.123456Z"), at(971_186_136, 0));
        assert_eq!(iso(b"2000-10-10 13:55"), at(971_186_100, 0));
        assert_eq!(iso(b"2000-10-10"), at(971_136_000, 0));
        for wrong in
            ["2000-10-10T", "2000-10-10T1", "2000-13-10", "2000-10-10T13:55:36x", "2000-10-10T13:55:36+1", "x", ""]
        {
            assert_eq!(iso(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(date_and_clock(b"2000-10-10", b"13:55:36"), at(971_186_136, 0));
        assert_eq!(unix(971_186_136.9), at(971_186_136, 0));
        assert_eq!([unix(-1.0), unix(f64::NAN), unix(1e12)], [None; 3]);
    }

    #[test]
    fn days_go_there_and_back() {
        for day in -10..84_000 {
            let shown = show_day(day);
            let [year, month, of_month] = date(shown.as_bytes()).expect("a date");
            assert_eq!(days(year, month, of_month), i64::from(day), "{shown}");
        }
        assert_eq!(show_day(20_778), "2026-11-21");
    }

    #[test]
    fn bounds_with_a_zone_are_absolute() {
        let moment = clf(b"10/Oct/2000:13:55:36 -0700").expect("a time");
        let to = |text: &str| Bound::parse(text).map(|bound| bound.to(moment));
        assert_eq!(to("2000-10-10T13:55:30"), Ok(6));
        assert_eq!(to("2000-10-10T20:55:40Z"), Ok(-4));
        assert!(to("yesterday").is_err());
    }
}
