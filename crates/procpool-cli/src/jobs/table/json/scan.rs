//! Walks over JSON byte by byte.

use std::borrow::Cow;

use super::text::{special, unescape};
use super::{MAX_DEPTH, Read, Scalar, Visit, Wrong, record};
use crate::jobs::table::records::Path;
use crate::jobs::table::value::{self, Value};

/// What is wrong, where it is said in several places.
pub(super) const TOO_DEEP: &str = "is nested more than 128 deep";
/// What more text could put right.
const NO_VALUE: &str = "is not JSON: expected a value";
const NO_WORD: &str = "is not JSON: no such word, and not a number";
const NO_END: &str = "is not JSON: a string that does not end";

/// A place in a text.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// At `at` in `text`.
    pub(crate) fn new(text: &'a str, at: usize) -> Scanner<'a> {
        Scanner { text, at }
    }

    /// The place.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Back to a place.
    pub(super) fn go_back(&mut self, at: usize) {
        self.at = at;
    }

    /// Whether the last byte that was passed is the end of a string, a list or an object.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.text.as_bytes()[..self.at].last(), Some(b'"' | b']' | b'}'))
    }

    /// Whether the text may just not go on far enough: what is wrong could be right with more of it.
    pub(super) fn is_cut_off(&self, wrong: &Wrong) -> bool {
        let rest = self.text.as_bytes().get(wrong.at..).unwrap_or_default();
        match wrong.what {
            _ if rest.is_empty() => true,
            NO_END => true,
            NO_VALUE => rest == b"-" || ["null", "true", "false"].iter().any(|word| word.as_bytes().starts_with(rest)),
            NO_WORD => rest.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')),
            _ => false,
        }
    }

    fn wrong<T>(&self, what: &'static str) -> Read<T> {
        Err(Wrong { at: self.at, what })
    }

    /// The next byte, which is not passed; 0 at the end. (Text with a NUL byte does not come here.)
    #[inline]
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// Passes white space; the answer is the byte behind it.
    #[inline]
    pub(crate) fn space(&mut self) -> u8 {
        loop {
            match self.peek() {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                other => return other,
            }
        }
    }

    /// Passes a byte that must be there.
    #[inline]
    fn expect(&mut self, byte: u8, what: &'static str) -> Read<()> {
        if self.space() == byte {
            self.at += 1;
            Ok(())
        } else {
            self.wrong(what)
        }
    }

    /// True if the text is at its end but for white space.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.space() == 0 && self.at >= self.text.len()
    }

    /// Reads a value and tells what it holds.
    pub(crate) fn value<V: Visit>(&mut self, visit: &mut V, node: V::Node, depth: u32) -> Read<()> {
        let first = self.space();
        if first == b'{' && !visit.whole(node) {
            return self.object(visit, node, depth);
        }
        let scalar = match first {
            b'"' => Scalar::Text(self.string()?),
            b'{' | b'[' => {
                let start = self.at;
                self.skip(depth)?;
                Scalar::Raw(&self.text[start..self.at])
            }
            _ => self.plain()?,
        };
        visit.scalar(node, scalar);
        Ok(())
    }

    pub(super) fn object<V: Visit>(&mut self, visit: &mut V, node: V::Node, depth: u32) -> Read<()> {
        if depth >= MAX_DEPTH {
            return self.wrong(TOO_DEEP);
        }
        self.at += 1;
        if self.space() == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.space() != b'"' {
                return self.wrong("is not JSON: expected a key");
            }
            let key = self.string()?;
            self.expect(b':', "is not JSON: expected a colon")?;
            match visit.child(node, &key) {
                Some(child) => self.value(visit, child, depth + 1)?,
                None => self.skip(depth + 1)?,
            }
            match self.space() {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.wrong("is not JSON: expected a comma or a closing brace"),
            }
        }
    }

    /// Begins a list: behind its bracket.
    pub(crate) fn enter_list(&mut self) -> Read<()> {
        self.expect(b'[', "is not JSON: expected a list")
    }

    /// Whether there is another element in a list that has been entered. `first` before the first.
    pub(crate) fn more(&mut self, first: bool) -> Read<bool> {
        match self.space() {
            b']' => {
                self.at += 1;
                Ok(false)
            }
            _ if first => Ok(true),
            b',' => {
                self.at += 1;
                Ok(true)
            }
            _ => self.wrong("is not JSON: expected a comma or a closing bracket"),
        }
    }

    /// Begins an object, as [`enter_list`](Self::enter_list).
    pub(crate) fn enter_object(&mut self) -> Read<()> {
        self.expect(b'{', "is not JSON: expected an object")
    }

    /// The next key of an object that has been entered, and past its colon; `None` behind the last.
    pub(crate) fn next_key(&mut self, first: bool) -> Read<Option<Cow<'a, str>>> {
        match self.space() {
            b'}' => {
                self.at += 1;
                return Ok(None);
            }
            b',' if !first => {
                self.at += 1;
                self.space();
            }
            _ if first => {}
            _ => return self.wrong("is not JSON: expected a comma or a closing brace"),
        }
        if self.peek() != b'"' {
            return self.wrong("is not JSON: expected a key");
        }
        let key = self.string()?;
        self.expect(b':', "is not JSON: expected a colon")?;
        Ok(Some(key))
    }

    /// Passes white space up to the end of the line; false if there is something else on it.
    pub(crate) fn ends_line(&mut self) -> bool {
        while matches!(self.peek(), b' ' | b'\t' | b'\r') {
            self.at += 1;
        }
        self.at >= self.text.len() || self.peek() == b'\n'
    }

    pub(super) fn descend<V: Visit<Node = usize>>(
        &mut self,
        path: &[String],
        visit: &mut V,
        depth: u32,
        open: bool,
    ) -> Read<()> {
        if depth >= MAX_DEPTH {
            return self.wrong(TOO_DEEP);
        }
        match (self.space(), path) {
            // The elements of a list are records; a list among them is one too.
            (b'[', path) if open || !path.is_empty() => {
                self.enter_list()?;
                let mut first = true;
                while self.more(first)? {
                    self.descend(path, visit, depth + 1, false)?;
                    first = false;
                }
                Ok(())
            }
            (_, []) => record(self, visit, depth),
            (b'{', [step, below @ ..]) => {
                self.enter_object()?;
                let mut first = true;
                while let Some(key) = self.next_key(first)? {
                    if key == step.as_str() {
                        self.descend(below, visit, depth + 1, true)?;
                    } else {
                        self.skip(depth + 1)?;
                    }
                    first = false;
                }
                Ok(())
            }
            _ => self.skip(depth),
        }
    }

    pub(super) fn find_lists(&mut self, path: &mut Path, found: &mut Vec<(Path, u64)>) -> Read<()> {
        if path.len() >= MAX_DEPTH as usize {
            return self.wrong(TOO_DEEP);
        }
        let mut first = true;
        match self.space() {
            b'[' => {
                self.enter_list()?;
                let index = found.len();
                if self.space() == b'{' {
                    found.push((path.clone(), 0));
                }
                while self.more(first)? {
                    if let Some((_, count)) = found.get_mut(index) {
                        *count += 1;
                    }
                    self.skip(path.len() as u32 + 1)?;
                    first = false;
                }
                Ok(())
            }
            b'{' => {
                self.enter_object()?;
                while let Some(key) = self.next_key(first)? {
                    path.push(key.into_owned());
                    self.find_lists(path, found)?;
                    path.pop();
                    first = false;
                }
                Ok(())
            }
            _ => self.skip(path.len() as u32),
        }
    }

    /// Passes a value, and checks it.
    pub(crate) fn skip(&mut self, depth: u32) -> Read<()> {
        match self.space() {
            b'"' => self.string().map(drop),
            opening @ (b'{' | b'[') => {
                if depth >= MAX_DEPTH {
                    return self.wrong(TOO_DEEP);
                }
                let mut first = true;
                if opening == b'{' {
                    self.enter_object()?;
                    while self.next_key(first)?.is_some() {
                        self.skip(depth + 1)?;
                        first = false;
                    }
                } else {
                    self.enter_list()?;
                    while self.more(first)? {
                        self.skip(depth + 1)?;
                        first = false;
                    }
                }
                Ok(())
            }
            _ => self.plain().map(drop),
        }
    }

    /// Reads a number, `true`, `false` or `null`.
    #[inline]
    fn plain(&mut self) -> Read<Scalar<'a>> {
        let rest = &self.text[self.at..];
        let (scalar, len) = match value::number_at_start(rest.as_bytes()) {
            Some((value, len)) => (Scalar::Plain(value, &rest[..len]), len),
            None if rest.starts_with("null") => (Scalar::Null, 4),
            None if rest.starts_with("true") => (Scalar::Plain(Value::Bool(true), "true"), 4),
            None if rest.starts_with("false") => (Scalar::Plain(Value::Bool(false), "false"), 5),
            None => return self.wrong(NO_VALUE),
        };
        // What follows ends the word, or the word is no value.
        if !matches!(rest.as_bytes().get(len), None | Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t')) {
            return self.wrong(NO_WORD);
        }
        self.at += len;
        Ok(scalar)
    }

    /// Passes a string; the answer is where its contents lie and whether they have escapes.
    #[inline]
    fn string_end(&mut self) -> Read<(usize, usize, bool)> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let (mut at, mut escaped) = (start, false);
        loop {
            at += special(&bytes[at.min(bytes.len())..]);
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok((start, at, escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                }
                Some(_) => {
                    self.at = at;
                    return self.wrong("is not JSON: a control character in a string");
                }
                None => {
                    self.at = start - 1;
                    return self.wrong(NO_END);
                }
            }
        }
    }

    #[inline]
    fn string(&mut self) -> Read<Cow<'a, str>> {
        let (start, end, escaped) = self.string_end()?;
        let text = &self.text[start..end];
        if !escaped {
            return Ok(Cow::Borrowed(text));
        }
        match unescape(text) {
            Some(text) => Ok(Cow::Owned(text)),
            None => Err(Wrong { at: start, what: "is not JSON: an escape that there is not" }),
        }
    }
}
