use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::de::WINDOW;
use super::output::LARGE;
use super::*;
use crate::bulk::{Region, Room};

fn bytes_of<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = b"before".to_vec();
    let mut output = Output::new(&mut bytes);
    write(value, &mut output)?;
    assert_eq!(output.finish(), Some(false));
    Ok(bytes.split_off(6))
}

fn read_all<T: DeserializeOwned>(source: &mut Source<'_>) -> Result<T, String> {
    let value = read(source).map_err(|e| e.to_string())?;
    if source.left() == 0 { Ok(value) } else { Err(format!("{} bytes are left", source.left())) }
}

/// A region of which everything changes as soon as it was copied.
struct Once(std::cell::RefCell<Vec<u8>>);

impl Region for Once {
    fn len(&self) -> usize {
        self.0.borrow().len()
    }

    fn copy(&self, at: usize, room: &mut Room<'_>) {
        let mut bytes = self.0.borrow_mut();
        let end = (at + room.left()).min(bytes.len());
        room.put(&bytes[at..end]);
        bytes[at..end].fill(0xff);
    }
}

/// Holds what it is given, up to a limit.
struct Shelf(Vec<u8>, usize);

impl Spill for Shelf {
    fn append(&mut self, staged: &[u8], run: &[u8]) -> bool {
        if self.0.len() + staged.len() + run.len() > self.1 {
            return false;
        }
        self.0.extend_from_slice(staged);
        self.0.extend_from_slice(run);
        true
    }

    fn give_back(&mut self, bytes: &mut Vec<u8>) {
        bytes.append(&mut self.0);
    }
}

/// Out and back, by every way there is.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let bytes = bytes_of(value).unwrap();
    assert_eq!(&read_all::<T>(&mut Source::slice(&bytes)).unwrap(), value);
    let once = Once(bytes.clone().into());
    assert_eq!(&read_all::<T>(&mut Source::region(&once)).unwrap(), value);
    for limit in [0, bytes.len() / 2, bytes.len()] {
        let (mut shelf, mut rest) = (Shelf(Vec::new(), limit), b"before".to_vec());
        let mut output = Output::with_spill(&mut rest, Some(&mut shelf));
        write(value, &mut output).unwrap();
        if output.finish().unwrap() {
            assert_eq!((shelf.0, rest.as_slice()), (bytes.clone(), &b"before"[..]));
        } else {
            assert_eq!((rest.split_off(6), shelf.0.len()), (bytes.clone(), 0));
        }
    }
    // Whatever is missing or different: an error or another value, no panic.
    for cut in (0..bytes.len()).rev().step_by(bytes.len() / 40 + 1) {
        let _ = read_all::<T>(&mut Source::slice(&bytes[..cut]));
        let mut damaged = bytes.clone();
        damaged[cut] ^= 1 << (cut % 8);
        let _ = read_all::<T>(&mut Source::slice(&damaged));
        damaged[cut] = 0xff;
        let _ = read_all::<T>(&mut Source::slice(&damaged));
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct New(Vec<u8>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Choice {
    Nothing,
    One(Box<Tree>),
    Two(u8, String),
    Named { numbers: Vec<f32>, pair: (i128, char) },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tree {
    bytes: Vec<u8>,
    words: Vec<String>,
    longs: Vec<i64>,
    sizes: Box<[usize]>,
    flags: Vec<bool>,
    letters: Vec<char>,
    option: Option<Option<u16>>,
    map: BTreeMap<String, Vec<u32>>,
    table: HashMap<u8, ()>,
    queue: VecDeque<i8>,
    array: [u16; 5],
    unit: Unit,
    new: New,
    choices: Vec<Choice>,
    bits: (bool, i8, u64, i16, u128, isize, ()),
    nested: Vec<Vec<f64>>,
}

/// Numbers that look random, the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 ^ self.0 >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn many<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let most = [3, 20, 300][self.below(3) as usize];
        (0..self.below(most)).map(|_| one(self)).collect()
    }

    fn text(&mut self) -> String {
        self.many(|r| char::from_u32(r.below(0x300) as u32).unwrap()).into_iter().collect()
    }

    fn choice(&mut self, depth: u32) -> Choice {
        match self.below(if depth == 0 { 3 } else { 4 }) {
            0 => Choice::Nothing,
            1 => Choice::Two(self.next() as u8, self.text()),
            2 => Choice::Named {
                numbers: self.many(|r| r.next() as f32 / 7.0),
                pair: (-i128::from(self.next()) << 50, 'ß'),
            },
            _ => Choice::One(Box::new(self.tree(depth - 1))),
        }
    }

    fn tree(&mut self, depth: u32) -> Tree {
        Tree {
            bytes: self.many(|r| r.next() as u8),
            words: self.many(|r| r.text()),
            longs: self.many(|r| r.next() as i64),
            sizes: self.many(|r| r.next() as usize).into(),
            flags: self.many(|r| r.below(2) == 0),
            letters: self.many(|_| 'x'),
            option: [None, Some(None), Some(Some(self.next() as u16))][self.below(3) as usize],
            map: self.many(|r| (r.text(), r.many(|r| r.next() as u32))).into_iter().collect(),
            table: self.many(|r| (r.next() as u8, ())).into_iter().collect(),
            queue: self.many(|r| r.next() as i8).into(),
            array: [self.next() as u16; 5],
            unit: Unit,
            new: New(self.many(|r| r.next() as u8)),
            choices: match depth {
                0 => vec![Choice::Nothing],
                _ => (0..self.below(4)).map(|_| self.choice(depth)).collect(),
            },
            bits: (true, -1, self.next(), -300, u128::MAX - 5, -7, ()),
            nested: self.many(|r| r.many(|r| r.next() as f64)),
        }
    }
}

#[test]
fn values_come_back_as_they_were() {
    let mut random = Random(1);
    for _ in 0..60 {
        check(&random.tree(2));
    }
}

#[test]
fn numbers_in_bulk_are_the_numbers_one_by_one() {
    fn numbers<T: Serialize + DeserializeOwned + PartialEq + Debug + Clone>(some: [T; 3]) {
        for count in [0, 1, 3, 1000, LARGE / size_of::<T>() + 1, 3 * WINDOW] {
            let many: Vec<T> = some.iter().cloned().cycle().take(count).collect();
            check(&many);
            let one_by_one: VecDeque<T> = many.iter().cloned().collect();
            assert_eq!(bytes_of(&many).unwrap(), bytes_of(&one_by_one).unwrap());
            let bytes = bytes_of(&many.as_slice()).unwrap();
            assert_eq!(bytes, bytes_of(&one_by_one).unwrap());
            assert_eq!(read_all::<VecDeque<T>>(&mut Source::slice(&bytes)).unwrap(), one_by_one);
            check(&(many.clone(), 7u8, many));
        }
    }
    numbers([1u8, 2, 255]);
    numbers([1u16, 2, u16::MAX]);
    numbers([1u32, 2, u32::MAX]);
    numbers([1u64, 2, u64::MAX]);
    numbers([1i8, -2, i8::MIN]);
    numbers([1i16, -2, i16::MIN]);
    numbers([1i32, -2, i32::MIN]);
    numbers([1i64, -2, i64::MIN]);
    numbers([1usize, 2, usize::MAX]);
    numbers([1isize, -2, isize::MIN]);
    numbers([1.5f32, -0.0, f32::INFINITY]);
    numbers([1.5f64, -0.0, f64::MIN_POSITIVE]);
    numbers([true, false, true]);
    numbers(['a', 'ß', '\u{10ffff}']);
    numbers([u128::MAX, 1, 2]);
    numbers([Some(1u8), None, Some(255)]);
}

#[test]
fn large_texts_and_bytes_travel_whole() {
    for len in [0, 1, 127, 128, WINDOW - 1, WINDOW, WINDOW + 1, 5 * WINDOW] {
        check(&"ß".repeat(len));
        check(&("x".repeat(len), 1u64, "y".repeat(len)));
    }
}

/// Says less about its length than it could.
struct Unknown(u32);

impl Serialize for Unknown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..self.0).filter(|n| n % 2 == 0).map(|n| vec![n as u8; LARGE + 1]))
    }
}

#[test]
fn a_sequence_of_unknown_length_travels() {
    let expected: Vec<Vec<u8>> = (0..5).map(|n| vec![2 * n; LARGE + 1]).collect();
    assert_eq!(read_all::<Vec<Vec<u8>>>(&mut Source::slice(&bytes_of(&Unknown(10)).unwrap())).unwrap(), expected);
    let (mut shelf, mut rest) = (Shelf(Vec::new(), usize::MAX), Vec::new());
    let mut output = Output::with_spill(&mut rest, Some(&mut shelf));
    write(&(vec![1u8; LARGE], Unknown(10), vec![2u8; LARGE]), &mut output).unwrap();
    assert_eq!((output.finish(), rest.is_empty()), (Some(true), true));
    type Three = (Vec<u8>, Vec<Vec<u8>>, Vec<u8>);
    let three = (vec![1u8; LARGE], expected, vec![2u8; LARGE]);
    assert_eq!(read_all::<Three>(&mut Source::slice(&shelf.0)).unwrap(), three);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    a: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sometimes {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    a: Option<u8>,
    b: u8,
}

#[test]
fn what_cannot_travel_says_why() {
    let refused = |e: Option<Error>| e.map(|e| e.to_string()).unwrap_or_default();
    let flat = Flat { a: 1, rest: BTreeMap::from([("b".to_string(), 2)]) };
    assert!(refused(bytes_of(&flat).err()).contains("#[serde(flatten)]"));
    let untagged = bytes_of(&Untagged::Number(1)).unwrap();
    assert!(read_all::<Untagged>(&mut Source::slice(&untagged)).unwrap_err().contains("untagged"));
    check(&Sometimes { a: Some(1), b: 2 });
    assert!(refused(bytes_of(&Sometimes { a: None, b: 2 }).err()).contains("\"a\""));
    let path =
        <std::path::PathBuf as From<std::ffi::OsString>>::from(std::os::unix::ffi::OsStringExt::from_vec(vec![255]));
    assert!(refused(bytes_of(&path).err()).contains("UTF-8"));
}

#[test]
fn claims_are_not_believed() {
    let claim = |n: u64| {
        let mut bytes = Vec::new();
        let mut output = Output::new(&mut bytes);
        let at = output.gap();
        output.fill_gap(at, n);
        output.finish();
        bytes
    };
    for n in [1, 1 << 32, 1 << 40, u64::MAX / 8 + 1, u64::MAX] {
        let bytes = claim(n);
        assert_eq!(Source::slice(&bytes).left(), 10);
        assert!(read_all::<Vec<u8>>(&mut Source::slice(&bytes)).is_err());
        assert!(read_all::<Vec<u64>>(&mut Source::slice(&bytes)).is_err());
        assert!(read_all::<Vec<String>>(&mut Source::slice(&bytes)).is_err());
        assert!(read_all::<String>(&mut Source::slice(&bytes)).is_err());
        assert!(read_all::<BTreeMap<u8, u8>>(&mut Source::slice(&bytes)).is_err());
    }
    assert_eq!(read_all::<Vec<()>>(&mut Source::slice(&claim(1000))).unwrap().len(), 1000);

    /// No bytes when it travels, many in memory.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Hollow {
        #[serde(skip)]
        inside: [u64; 16],
    }
    check(&(0..1000).map(|_| Hollow { inside: [0; 16] }).collect::<Vec<_>>());
    assert!(read_all::<Vec<Hollow>>(&mut Source::slice(&claim(1 << 40))).is_err());

    assert!(read_all::<u64>(&mut Source::slice(&[1; 7])).is_err());
    assert!(read_all::<bool>(&mut Source::slice(&[2])).is_err());
    assert!(read_all::<Option<u8>>(&mut Source::slice(&[2, 2])).is_err());
    assert!(read_all::<char>(&mut Source::slice(&[0, 0xd8, 0, 0])).is_err());
    assert!(read_all::<String>(&mut Source::slice(&[1, 0xff])).is_err());
    assert!(read_all::<Choice>(&mut Source::slice(&[9])).is_err());
    assert!(read_all::<Vec<u8>>(&mut Source::slice(&[0xff; 12])).is_err(), "an endless length");
}
