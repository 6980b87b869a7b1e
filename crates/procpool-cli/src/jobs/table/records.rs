//! Where the values of nested records go: a tree of the wanted paths, and the two who walk it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::build::Build;
use super::json::{Scalar, Visit};
use super::value::{Type, Value};
use crate::frame::failure::JobError;

/// The most columns a table can have.
pub(crate) const MAX_COLUMNS: usize = 10_000;

/// The steps from a record to a value.
pub(crate) type Path = Vec<String>;

/// With how many children a node is looked through; beyond, they are hashed.
const FEW: usize = 16;

#[derive(Debug, Default)]
struct Node {
    children: Vec<(String, usize)>,
    hashed: HashMap<String, usize>,
    /// The child that is probably asked for next: records have their keys in the same order.
    next: usize,
    column: Option<usize>,
    parent: usize,
}

/// A tree of paths.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// Just the root.
    pub(crate) const ROOT: usize = 0;

    /// An empty tree.
    pub(crate) fn new() -> Tree {
        Tree { nodes: vec![Node::default()] }
    }

    /// The child of `node` that is called `key`.
    #[inline]
    fn find(&mut self, node: usize, key: &str) -> Option<usize> {
        let Node { children, hashed, next, .. } = &mut self.nodes[node];
        let found = match children.get(*next) {
            Some((name, _)) if name == key => *next,
            _ if children.len() > FEW => *hashed.get(key)?,
            _ => children.iter().position(|(name, _)| name == key)?,
        };
        *next = if found + 1 < children.len() { found + 1 } else { 0 };
        Some(children[found].1)
    }

    /// The same, and there is one.
    fn find_or_add(&mut self, node: usize, key: &str) -> usize {
        if let Some(child) = self.find(node, key) {
            return child;
        }
        let child = self.nodes.len();
        self.nodes.push(Node { parent: node, ..Node::default() });
        let parent = &mut self.nodes[node];
        parent.hashed.insert(key.to_owned(), parent.children.len());
        parent.children.push((key.to_owned(), child));
        child
    }

    /// Leads a path to a column.
    pub(crate) fn lead(&mut self, path: &[String], column: usize) {
        let node = path.iter().fold(Self::ROOT, |node, key| self.find_or_add(node, key));
        self.nodes[node].column = Some(column);
    }
}

/// Why a value is not in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Why {
    /// It is of another type than its column.
    Type,
    /// There is no column for it: the sample had none.
    NoColumn,
    /// The record has another value for the column already.
    Repeated,
}

impl Why {
    /// Its name for programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Why::Type => "type",
            Why::NoColumn => "no-column",
            Why::Repeated => "repeated",
        }
    }
}

/// A value that is not in the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Misfit {
    /// The part of the group that it comes from.
    pub part: u32,
    /// The number of its record in the part, from 0.
    pub record: u64,
    /// Its column, or where it was found.
    pub column: String,
    /// Why.
    pub why: Why,
    /// Its text.
    pub value: String,
}

/// Fills a table with the values of records.
#[derive(Debug)]
pub(crate) struct Fill<'a> {
    /// The table, and what does not fit.
    pub build: &'a mut Build,
    /// Where the paths lead.
    pub tree: &'a mut Tree,
    /// The names of the columns.
    pub names: &'a [String],
    /// The part that is read.
    pub part: u32,
    /// The number of the record in it.
    pub record: u64,
    /// Values without a column are misfits: nobody has picked columns.
    pub tell_unknown: bool,
    /// What stands between the steps of a path in the name of a column.
    pub joint: &'a str,
    /// The last path that led nowhere.
    lost: String,
    /// The column with the name of the file, and that name.
    source: Option<(usize, &'a str)>,
    /// How many misfits came before the record, where records are begun by name.
    misfits_before: usize,
}

/// The node of values that no column wants.
const NOWHERE: usize = usize::MAX;

impl<'a> Fill<'a> {
    /// With nothing read yet.
    pub(crate) fn new(build: &'a mut Build, tree: &'a mut Tree, names: &'a [String], tell_unknown: bool) -> Self {
        Fill {
            build,
            tree,
            names,
            part: 0,
            record: 0,
            tell_unknown,
            joint: ".",
            lost: String::new(),
            source: None,
            misfits_before: 0,
        }
    }

    /// Gives every record the name of its file.
    pub(crate) fn with_source(mut self, source: Option<(usize, &'a str)>) -> Self {
        self.source = source;
        self
    }

    /// Notes a value that is not in the table.
    #[cold]
    pub(crate) fn misfit(&mut self, column: Option<usize>, why: Why, value: &str) {
        let column = column.map_or_else(|| self.lost.clone(), |column| self.names[column].clone());
        self.build.misfits.push(Misfit { part: self.part, record: self.record, column, why, value: value.to_owned() });
    }

    /// Notes a value that has not even a path.
    pub(crate) fn misplaced(&mut self, place: &str, value: &str) {
        self.lost = place.to_owned();
        self.misfit(None, Why::NoColumn, value);
    }

    /// Ends the record.
    #[inline]
    pub(crate) fn end_record(&mut self) {
        if let Some((column, name)) = self.source {
            // A text column takes any text.
            let _ = self.build.columns.text(column, name.as_bytes(), true);
        }
        self.build.columns.end_row();
        self.record += 1;
    }

    fn path_of(&self, mut node: usize) -> Vec<&str> {
        let mut steps = Vec::new();
        while node != Tree::ROOT {
            let parent = &self.tree.nodes[self.tree.nodes[node].parent];
            steps.extend(parent.children.iter().find(|(_, child)| *child == node).map(|(name, _)| name.as_str()));
            node = self.tree.nodes[node].parent;
        }
        steps.reverse();
        steps
    }
}

impl Visit for Fill<'_> {
    type Node = usize;

    #[inline]
    fn child(&mut self, node: usize, key: &str) -> Option<usize> {
        if node == NOWHERE {
            return Some(NOWHERE);
        }
        let child = self.tree.find(node, key);
        if child.is_some() || !self.tell_unknown {
            return child;
        }
        let mut path = self.path_of(node);
        path.push(key);
        self.lost = path.join(self.joint);
        Some(NOWHERE)
    }

    fn whole(&self, node: usize) -> bool {
        // An object where only its whole text can be wanted.
        match self.tree.nodes.get(node) {
            Some(node) => node.children.is_empty() && node.column.is_some(),
            None => true,
        }
    }

    #[inline]
    fn scalar(&mut self, node: usize, value: Scalar<'_>) {
        let column = self.tree.nodes.get(node).map(|node| node.column);
        let Some(Some(column)) = column else {
            // A value where the sample had objects, or where it had nothing.
            if self.tell_unknown && !matches!(value, Scalar::Null) {
                if node != NOWHERE {
                    self.lost = self.path_of(node).join(self.joint);
                }
                let text = match &value {
                    Scalar::Null => "",
                    Scalar::Plain(_, text) | Scalar::Raw(text) => text,
                    Scalar::Text(text) => text,
                };
                self.misfit(None, Why::NoColumn, text);
            }
            return;
        };
        let (fits, text) = match &value {
            Scalar::Null => {
                self.build.columns.nothing(column);
                return;
            }
            Scalar::Plain(value, text) => (self.build.columns.value(column, *value, text.as_bytes()), *text),
            Scalar::Text(text) => (self.build.columns.value(column, Value::Text, text.as_bytes()), text.as_ref()),
            Scalar::Raw(text) => (self.build.columns.value(column, Value::Text, text.as_bytes()), *text),
        };
        if fits.is_err() {
            self.misfit(Some(column), Why::Type, text);
        }
    }

    fn text(&mut self, node: usize, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some(Some(column)) = self.tree.nodes.get(node).map(|node| node.column) {
            if self.build.columns.is_set(column) {
                self.misfit(Some(column), Why::Repeated, text);
            } else if self.build.columns.text(column, text.as_bytes(), false).is_err() {
                self.misfit(Some(column), Why::Type, text);
            }
        } else if self.tell_unknown {
            if node != NOWHERE {
                self.lost = self.path_of(node).join(self.joint);
            }
            self.misfit(None, Why::NoColumn, text);
        }
    }

    fn end_record(&mut self) {
        Fill::end_record(self);
    }

    fn begin_record(&mut self, at: u64) -> Result<(), JobError> {
        self.build.before_record(at)?;
        self.misfits_before = self.build.misfits.len();
        Ok(())
    }

    fn forget_record(&mut self) {
        let rows = self.build.columns.rows();
        self.build.columns.truncate(rows);
        self.build.misfits.truncate(self.misfits_before);
    }
}

/// Finds out which paths records have, and of what types their values are.
#[derive(Debug)]
pub(crate) struct Survey {
    tree: Tree,
    /// Of each node: its path, and the type of its own values if it has any.
    seen: Vec<(Path, Option<Type>)>,
    /// The nodes in the order in which they first had values.
    order: Vec<usize>,
    /// How many records there were.
    pub records: u64,
}

impl Survey {
    /// Nothing seen.
    pub(crate) fn new() -> Survey {
        Survey { tree: Tree::new(), seen: vec![(Path::new(), None)], order: Vec::new(), records: 0 }
    }

    fn note(&mut self, node: usize, kind: Type) {
        let seen = &mut self.seen[node].1;
        if seen.is_none() {
            self.order.push(node);
        }
        *seen = Some(seen.unwrap_or(Type::Empty).join(kind));
    }

    /// The paths of values, in the order of their first appearance, and the types.
    pub(crate) fn columns(&self) -> Vec<(Path, Type)> {
        let column = |&node: &usize| {
            let (path, kind) = &self.seen[node];
            (path.clone(), kind.unwrap_or(Type::Empty))
        };
        self.order.iter().map(column).collect()
    }
}

impl Visit for Survey {
    type Node = usize;

    fn child(&mut self, node: usize, key: &str) -> Option<usize> {
        if let Some(child) = self.tree.find(node, key) {
            return Some(child);
        }
        if self.seen.len() > MAX_COLUMNS {
            return None;
        }
        let child = self.tree.find_or_add(node, key);
        let mut path = self.seen[node].0.clone();
        path.push(key.to_owned());
        self.seen.push((path, None));
        Some(child)
    }

    fn whole(&self, _node: usize) -> bool {
        false
    }

    fn scalar(&mut self, node: usize, value: Scalar<'_>) {
        self.note(
            node,
            match value {
                Scalar::Null => Type::Empty,
                Scalar::Plain(value, _) => value.kind(),
                Scalar::Text(_) | Scalar::Raw(_) => Type::Text,
            },
        );
    }

    fn text(&mut self, node: usize, text: &str) {
        if !text.is_empty() {
            self.note(node, Value::read(text.as_bytes()).kind());
        }
    }

    fn end_record(&mut self) {
        self.records += 1;
    }
}
