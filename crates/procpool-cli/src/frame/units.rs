//! Quantities as people write them: `60s`, `2GiB`, `128x128`.

use std::time::Duration;

use procpool_cli::picture::Bounds;

/// A limit that can be switched off with the word `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit<T> {
    /// At most this much.
    AtMost(T),
    /// No limit.
    None,
}

impl<T> Limit<T> {
    /// The limit, if there is one.
    pub(crate) fn at_most(self) -> Option<T> {
        match self {
            Limit::AtMost(value) => Some(value),
            Limit::None => None,
        }
    }
}

/// Reads a length of time: `500ms`, `60s`, `2m`, `1h`, or `none`. A bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Limit<Duration>, String> {
    if text == "none" {
        return Ok(Limit::None);
    }
    let hint = "write a time such as 500ms, 60s, 2m or 1h, or none";
    let (number, unit) = split(text).ok_or(hint)?;
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(hint.into()),
    };
    let duration = Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|_| hint)?;
    if duration.is_zero() {
        return Err("a time must be more than 0".into());
    }
    Ok(Limit::AtMost(duration))
}

/// Reads a number of bytes: `512MiB`, `2GiB`, `2G` (the same), `100MB` (millions), or `none`. A bare number is bytes.
pub(crate) fn bytes(text: &str) -> Result<Limit<u64>, String> {
    if text == "none" {
        return Ok(Limit::None);
    }
    let hint = "write a size such as 512MiB, 2GiB or 2G, or none";
    let (number, unit) = split(text).ok_or(hint)?;
    let bytes_per_unit: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(hint.into()),
    };
    let bytes = number * bytes_per_unit;
    if !(1.0..1e18).contains(&bytes) {
        return Err(hint.into());
    }
    Ok(Limit::AtMost(bytes as u64))
}

/// Reads the width and height wanted of a picture, in pixels: `128x96`, `128` for a square, `256x` for the width alone, `x256`
/// for the height alone.
pub(crate) fn bounds(text: &str) -> Result<Bounds, String> {
    let hint =
        "write a size in pixels such as 128, 128x96, 256x (any height) or x256 (any width), from 1 to 65535 a side";
    let side = |text: &str| match text.parse::<u32>() {
        Ok(side @ 1..=65535) if !text.starts_with('+') => Ok(side),
        _ => Err(hint.to_owned()),
    };
    match text.split_once(['x', 'X']) {
        Some(("", "")) => Err(hint.to_owned()),
        Some((width, "")) => Ok(Bounds { width: Some(side(width)?), height: None }),
        Some(("", height)) => Ok(Bounds { width: None, height: Some(side(height)?) }),
        Some((width, height)) => Ok(Bounds::both(side(width)?, side(height)?)),
        None => side(text).map(Bounds::square),
    }
}

/// Reads a colour: `#3a7`, `#33aa77`, or one of a few names. Red, green, blue.
pub(crate) fn colour(text: &str) -> Result<[u8; 3], String> {
    let hint = "write a colour such as #33aa77, #3a7, white, black or grey";
    let digits = match text {
        "white" => "ffffff",
        "black" => "000000",
        "grey" | "gray" => "808080",
        _ => text.strip_prefix('#').ok_or(hint)?,
    };
    let values: Option<Vec<u8>> = digits.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    match values.as_deref() {
        Some(&[red, green, blue]) => Ok([red, green, blue].map(|digit| digit * 17)),
        Some(&[a, b, c, d, e, f]) => Ok([a * 16 + b, c * 16 + d, e * 16 + f]),
        _ => Err(hint.into()),
    }
}

/// A non-negative decimal number and the letters after it.
fn split(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A length of time for people: `4.2 ms`, `0.31 s`, `12.4 s`, `3 min 05 s`, `2 h 03 min`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 0.09995 {
        format!("{:.1} ms", seconds * 1e3)
    } else if seconds < 9.995 {
        format!("{seconds:.2} s")
    } else if seconds < 59.95 {
        format!("{seconds:.1} s")
    } else {
        let whole = seconds.round() as u64;
        if whole < 3600 {
            format!("{} min {:02} s", whole / 60, whole % 60)
        } else {
            format!("{} h {:02} min", whole / 3600, whole % 3600 / 60)
        }
    }
}

/// Time left, as on a clock: `0:07`, `12:34`, `1:02:03`.
pub(crate) fn show_clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// A rate for people: three digits where that many mean something.
pub(crate) fn show_rate(per_second: f64) -> String {
    if per_second < 9.95 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

/// A number of pixels, with k, M or G for thousands, millions and milliards.
pub(crate) fn pixels(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        Some(b'G') => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    let count = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(factor));
    count.filter(|&count| count > 0).ok_or_else(|| "write a number of pixels such as 50000000, 50M or 2G".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_unit() {
        let at_most = |ms| Ok(Limit::AtMost(Duration::from_millis(ms)));
        assert_eq!(duration("500ms"), at_most(500));
        assert_eq!(duration("60s"), at_most(60_000));
        assert_eq!(duration("1.5s"), at_most(1_500));
        assert_eq!(duration("7"), at_most(7_000));
        assert_eq!(duration("2m"), at_most(120_000));
        assert_eq!(duration("1h"), at_most(3_600_000));
        assert_eq!(duration("none"), Ok(Limit::None));
        for wrong in ["", "s", "-1s", "1 day", "1e3s", "1.2.3s", "0s", "99999999999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_in_every_unit() {
        assert_eq!(bytes("512MiB"), Ok(Limit::AtMost(512 << 20)));
        assert_eq!(bytes("2GiB"), Ok(Limit::AtMost(2 << 30)));
        assert_eq!(bytes("2G"), Ok(Limit::AtMost(2 << 30)));
        assert_eq!(bytes("1.5g"), Ok(Limit::AtMost(3 << 29)));
        assert_eq!(bytes("100MB"), Ok(Limit::AtMost(100_000_000)));
        assert_eq!(bytes("4096"), Ok(Limit::AtMost(4096)));
        assert_eq!(bytes("none"), Ok(Limit::None));
        for wrong in ["", "GiB", "-1", "2XB", "0", "0.1", "9999999T"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_of_pictures_are_read_with_one_side_or_two() {
        assert_eq!(bounds("128x96"), Ok(Bounds::both(128, 96)));
        assert_eq!(bounds("128"), Ok(Bounds::both(128, 128)));
        assert_eq!(bounds("1X65535"), Ok(Bounds::both(1, 65535)));
        assert_eq!(bounds("256x"), Ok(Bounds { width: Some(256), height: None }));
        assert_eq!(bounds("x256"), Ok(Bounds { width: None, height: Some(256) }));
        for wrong in ["", "x", "0", "0x5", "0x", "65536", "x65536", "-1x5", "+5", "12.5", "1x2x3"] {
            assert!(bounds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn colours_are_read_as_on_web_pages() {
        assert_eq!(colour("#33aa77"), Ok([0x33, 0xaa, 0x77]));
        assert_eq!(colour("#3A7"), Ok([0x33, 0xaa, 0x77]));
        assert_eq!(colour("white"), Ok([255; 3]));
        for wrong in ["", "#", "#12", "#1234", "33aa77", "#33aa7g", "#é", "mauve"] {
            assert!(colour(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_and_rates_are_shown_in_a_fitting_unit() {
        let show = |seconds| show_duration(Duration::from_secs_f64(seconds));
        assert_eq!(show(0.0042), "4.2 ms");
        assert_eq!(show(0.314), "0.31 s");
        assert_eq!(show(12.36), "12.4 s");
        assert_eq!(show(59.97), "1 min 00 s");
        assert_eq!(show(185.2), "3 min 05 s");
        assert_eq!(show(7380.0), "2 h 03 min");
        assert_eq!(show_rate(0.25), "0.2");
        assert_eq!(show_rate(9.96), "10");
        assert_eq!(show_rate(1234.5), "1234");
    }

    #[test]
    fn the_time_left_is_shown_as_on_a_clock() {
        assert_eq!(show_clock(Duration::from_secs(7)), "0:07");
        assert_eq!(show_clock(Duration::from_secs(754)), "12:34");
        assert_eq!(show_clock(Duration::from_secs(3723)), "1:02:03");
    }

    #[test]
    fn pixels_are_counted_in_decimal_units() {
        assert_eq!(pixels("50M"), Ok(50_000_000));
        assert_eq!(pixels("1"), Ok(1));
        for wrong in ["", "0", "M", "-1", "1.5M", "99999999999G"] {
            assert!(pixels(wrong).is_err(), "{wrong}");
        }
    }
}
