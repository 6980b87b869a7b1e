//! Reads JSON without building it: objects are walked along the tree of the wanted paths, the rest is checked and passed over.
//!
//! The text is known to be UTF-8 before it comes here.

use std::borrow::Cow;

use super::records::{Path, Tree};
use super::value::Value;
use crate::frame::failure::JobError;

mod scan;
mod stream;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use scan::Scanner;
pub(crate) use stream::{Stop, Walk};
pub(crate) use text::write_string;

/// How deep objects and lists may be nested.
pub(crate) const MAX_DEPTH: u32 = 128;

/// Why a text is not JSON, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The byte of the text.
    pub at: usize,
    /// What is wrong: "is not JSON: ...".
    pub what: &'static str,
}

type Read<T> = Result<T, Wrong>;

/// A value that is not an object.
#[derive(Debug)]
pub(crate) enum Scalar<'a> {
    /// `null`.
    Null,
    /// `true` or `false`, or a number, and its text.
    Plain(Value, &'a str),
    /// A string without its escapes.
    Text(Cow<'a, str>),
    /// A list, or an object that is wanted as a whole, as it is written.
    Raw(&'a str),
}

/// Who is told what the objects of a record hold.
pub(crate) trait Visit {
    /// What stands for the place of an object.
    type Node: Copy;
    /// The place of the value `key` of the object at `node`; `None` if nobody wants it.
    fn child(&mut self, node: Self::Node, key: &str) -> Option<Self::Node>;
    /// Whether an object at this place is wanted as it is written.
    fn whole(&self, node: Self::Node) -> bool;
    /// A value of JSON.
    fn scalar(&mut self, node: Self::Node, value: Scalar<'_>);
    /// A value of XML, which says nothing of its type. Empty is none.
    fn text(&mut self, node: Self::Node, text: &str);
    /// The record that the values since the last end belong to has ended.
    fn end_record(&mut self);
    /// A record begins at this byte of the file. Told where a document is read piece by piece.
    fn begin_record(&mut self, _at: u64) -> Result<(), JobError> {
        Ok(())
    }
    /// The values since the record was begun are none: there was not enough of it, and it comes again.
    fn forget_record(&mut self) {}
}

/// Reads all records of a document, which may also be several ones after the other: what lies at `path` below each, and if
/// that is a list, its elements. Lists on the way are looked through.
pub(crate) fn records<V: Visit<Node = usize>>(text: &str, path: &[String], visit: &mut V) -> Read<()> {
    let mut scanner = Scanner::new(text, 0);
    while !scanner.is_at_end() {
        scanner.descend(path, visit, 0, true)?;
    }
    Ok(())
}

/// Reads one record. What is no object has its value under the name `value`.
pub(crate) fn record<V: Visit<Node = usize>>(scanner: &mut Scanner<'_>, visit: &mut V, depth: u32) -> Read<()> {
    values(scanner, visit, depth)?;
    visit.end_record();
    Ok(())
}

/// Reads the values of a record, without its end.
fn values<V: Visit<Node = usize>>(scanner: &mut Scanner<'_>, visit: &mut V, depth: u32) -> Read<()> {
    if scanner.space() == b'{' {
        scanner.object(visit, Tree::ROOT, depth)?;
    } else {
        match visit.child(Tree::ROOT, "value") {
            Some(node) => scanner.value(visit, node, depth)?,
            None => scanner.skip(depth)?,
        }
    }
    Ok(())
}

/// The lists of objects in a document, but for those within others: the path of each and how many elements it has. A text that
/// ends too early is looked at as far as it goes.
pub(crate) fn lists(text: &str) -> Vec<(Path, u64)> {
    let mut found = Vec::new();
    let mut scanner = Scanner::new(text, 0);
    while !scanner.is_at_end() {
        if scanner.find_lists(&mut Path::new(), &mut found).is_err() {
            break;
        }
    }
    found
}
