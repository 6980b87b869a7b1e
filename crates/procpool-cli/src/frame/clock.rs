//! The time in the log: as people write it down, and counted from the beginning of the run.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that began with the run. What it shows never goes back, whatever happens to the time of day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    day: SystemTime,
    began: Instant,
}

impl Clock {
    /// Begins now.
    pub(crate) fn start() -> Clock {
        Clock { day: SystemTime::now(), began: Instant::now() }
    }

    /// Nanoseconds since the beginning.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The time of day so many nanoseconds after the beginning.
    pub(crate) fn at(&self, ns: u64) -> String {
        rfc3339(self.day.checked_add(Duration::from_nanos(ns)).unwrap_or(self.day))
    }
}

/// As RFC 3339 has it, in UTC, with all nine digits. Times before 1970 are shown as its beginning.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", since.subsec_nanos())
}

/// Year, month and day so many days after the first of January 1970.
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from the first of March 2000, leap days come last in their year, their century and their four centuries.
    const TO_MARCH_2000: u64 = 11_017;
    const FOUR_CENTURIES: u64 = 146_097;
    let days = days + FOUR_CENTURIES - TO_MARCH_2000;
    let (fours, rest) = (days / FOUR_CENTURIES, days % FOUR_CENTURIES);
    let century = (rest / 36_524).min(3);
    let rest = rest - century * 36_524;
    let (leaps, rest) = (rest / 1461, rest % 1461);
    let year = (rest / 365).min(3);
    let mut rest = rest - year * 365;
    let mut month = 0;
    for length in [31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31] {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    let year = 1600 + fours * 400 + century * 100 + leaps * 4 + year;
    // January and February belong to the year that began ten months before.
    if month < 10 { (year, month + 3, rest + 1) } else { (year + 1, month - 9, rest + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_has_it() {
        let show = |seconds, nanos| rfc3339(UNIX_EPOCH + Duration::new(seconds, nanos));
        // Each is what `date -u -d @SECONDS +%FT%TZ` says.
        assert_eq!(show(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(show(951_782_399, 7), "2000-02-28T23:59:59.000000007Z");
        assert_eq!(show(951_782_400, 0), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(show(951_868_800, 0), "2000-03-01T00:00:00.000000000Z");
        assert_eq!(show(1_709_164_800, 0), "2024-02-29T00:00:00.000000000Z");
        assert_eq!(show(1_735_689_599, 999_999_999), "2024-12-31T23:59:59.999999999Z");
        assert_eq!(show(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
    }

    #[test]
    fn every_day_is_the_day_after_the_one_before() {
        let mut last = date(0);
        for days in 1..200_000 {
            let (year, month, day) = date(days);
            let next = match last {
                (y, m, d) if (year, month) == (y, m) => (y, m, d + 1),
                (y, 12, 31) => (y + 1, 1, 1),
                (y, 2, 28 | 29) => (y, 3, 1),
                (y, m @ (4 | 6 | 9 | 11), 30) => (y, m + 1, 1),
                (y, m, 31) => (y, m + 1, 1),
                other => other,
            };
            assert_eq!((year, month, day), next);
            last = next;
        }
    }
}
