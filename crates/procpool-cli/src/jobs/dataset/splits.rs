//! Which split a picture belongs to: by its content and nothing else.

use std::fmt;

/// Shares are whole numbers of this part.
const PARTS: u64 = 1_000_000_000;
const DIGITS: usize = 9;

/// The splits of a set, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Splits(Vec<(String, u64)>);

impl Splits {
    /// Reads `train=0.8,val=0.1,test=0.1`.
    pub(crate) fn parse(text: &str) -> Result<Splits, String> {
        let mut splits = Vec::new();
        for part in text.split(',') {
            let (name, share) = part.split_once('=').ok_or("write names and shares, such as train=0.8,val=0.2")?;
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if !(1..=64).contains(&name.len()) || !name.chars().all(fits) || name.starts_with('-') {
                return Err(format!("the name of a split is made of letters, digits, _ and -, and {name:?} is not"));
            }
            if splits.iter().any(|(other, _)| other == name) {
                return Err(format!("the split {name} is there twice"));
            }
            let share = parts(share).ok_or(format!("the share of {name} is to be a number such as 0.8"))?;
            splits.push((name.to_owned(), share));
        }
        match splits.iter().map(|(_, share)| share).sum() {
            PARTS => Ok(Splits(splits)),
            sum => Err(format!("the shares are to add up to 1, and these make {}", sum as f64 / PARTS as f64)),
        }
    }

    /// The names.
    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The name of a split.
    pub(crate) fn name(&self, split: usize) -> &str {
        &self.0[split].0
    }

    /// The split of the training pictures: the one called so, else the first.
    pub(crate) fn training(&self) -> usize {
        self.names().position(|name| name == "train").unwrap_or(0)
    }

    /// The split of the picture whose file has this SHA-256.
    ///
    /// The first eight bytes, as a fraction of 2^64, say where between 0 and 1 the picture lies; the shares, one behind the
    /// other, are what it may lie in.
    pub(crate) fn of(&self, sha256: &[u8; 32]) -> usize {
        let [a, b, c, d, e, f, g, h, ..] = *sha256;
        let place = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let mut end = 0;
        for (split, (_, share)) in self.0.iter().enumerate() {
            end += share;
            if u128::from(place) * u128::from(PARTS) < u128::from(end) << 64 {
                return split;
            }
        }
        // The shares add up to 1, so that the last one ends behind everything.
        self.0.len() - 1
    }
}

/// As it was written.
impl fmt::Display for Splits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, share)) in self.0.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            write!(f, "{comma}{name}={}", *share as f64 / PARTS as f64)?;
        }
        Ok(())
    }
}

/// A decimal number from 0 to 1 in billionths.
fn parts(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) || fraction.len() > DIGITS {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let parts: u64 = format!("{fraction:0<DIGITS$}").parse().ok()?;
    whole.checked_mul(PARTS)?.checked_add(parts).filter(|parts| *parts <= PARTS)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn shares_add_up_to_one() {
        let splits = Splits::parse("train=0.8,val=.1,test=0.1").expect("splits");
        assert_eq!(splits.names().collect::<Vec<_>>(), ["train", "val", "test"]);
        assert_eq!(splits.training(), 0);
        assert_eq!(splits.to_string(), "train=0.8,val=0.1,test=0.1");
        assert_eq!(Splits::parse("a=0.5,train=0.5").expect("splits").training(), 1);
        assert_eq!(Splits::parse("all=1").expect("splits").training(), 0);
        assert!(Splits::parse("a=0.333333333,b=0.333333333,c=0.333333334").is_ok());
        for wrong in ["", "train", "train=", "train=.", "train=2", "train=-1", "a=0.5,b=0.6", "a=0.5", "a=0.5,a=0.5"] {
            assert!(Splits::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["=1", "../x=1", "a b=1", "-a=1", "a=1e0", "a=0.1234567891,b=0.8765432109", "a=+1"] {
            assert!(Splits::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Splits::parse("a=0.5,b=0.6"), Err("the shares are to add up to 1, and these make 1.1".into()));
    }

    #[test]
    fn pictures_are_shared_out_as_asked_and_stay_where_they_are() {
        let hash = |number: u32| -> [u8; 32] { Sha256::digest(number.to_le_bytes()).into() };
        let splits = Splits::parse("train=0.8,val=0.1,test=0.1").expect("splits");
        let mut counts = [0; 3];
        (0..10_000).for_each(|number| counts[splits.of(&hash(number))] += 1);
        // Of these very numbers.
        assert_eq!(counts, [7952, 1046, 1002]);
        // A share that grows at its end takes in more and gives nothing away.
        let more = Splits::parse("train=0.9,val=0.1").expect("splits");
        assert!((0..1000).all(|number| splits.of(&hash(number)) != 0 || more.of(&hash(number)) == 0));
    }

    #[test]
    fn the_bounds_are_exact() {
        let splits = Splits::parse("a=0.5,none=0,b=0.5").expect("splits");
        let at = |place: u64| {
            let mut hash = [0xff; 32];
            hash[..8].copy_from_slice(&place.to_be_bytes());
            splits.of(&hash)
        };
        assert_eq!([at(0), at((1 << 63) - 1), at(1 << 63), at(u64::MAX)], [0, 0, 2, 2]);
    }
}
