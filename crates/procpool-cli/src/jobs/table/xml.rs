//! Records out of XML.
//!
//! A value of a record is the text of an element below it (`child/grandchild`), an attribute (`@name`, `child/@name`), or the
//! record's own text (`#text`): what stands directly in the element, without the white space around it. An element that is
//! repeated gives one value.
//!
//! Entities other than the five predefined ones and characters by number are refused, whatever the document defines: so
//! nothing can be expanded beyond its own size.

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;

use super::document::Feed;
use super::json::Visit;
use super::plan::MAX_RECORD;
use super::records::{Path, Tree};
use super::window::too_long;
use crate::frame::failure::JobError;

/// How deep elements may be nested.
const MAX_DEPTH: usize = 256;
/// How many attributes an element of a record may have.
const MAX_ATTRIBUTES: usize = 1000;
/// How many different paths are looked at to find the records.
const MAX_PATHS: usize = 10_000;
/// The name of an element's own text.
const OWN_TEXT: &str = "#text";

/// Why a text is not XML as we take it, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The byte of the text.
    pub at: usize,
    /// What is wrong.
    pub what: String,
}

/// Which elements are records: those whose path from the root ends with these names. With a slash in front all of it must be
/// the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    whole: bool,
}

impl Pattern {
    /// Reads `a/b` or `/root/a/b`.
    pub(crate) fn new(text: &str) -> Pattern {
        let whole = text.starts_with('/');
        Pattern { text: format!("/{}", text.trim_matches('/')), whole }
    }

    /// `path` is `/root/a/b`.
    fn matches(&self, path: &str) -> bool {
        if self.whole { path == self.text } else { path.ends_with(&self.text) }
    }
}

/// An open element of a record.
#[derive(Debug, Default)]
struct Open {
    node: Option<usize>,
    text: String,
}

/// Walks a document and tells `visit` of its records. Records within records are parts of the outer ones.
pub(crate) fn records<V: Visit<Node = usize>>(text: &str, pattern: &Pattern, visit: &mut V) -> Result<(), Wrong> {
    let mut records = Records::new(pattern, visit, None);
    each(text, |step, _| records.step(step, 0))
}

/// Why a document cannot be read to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It is not XML as we take it.
    Wrong(Wrong),
    /// It cannot be read, or its records cannot be kept.
    Failed(JobError),
}

/// The same for a document that is read piece by piece and begins at byte `base` of the file.
pub(crate) fn stream<V: Visit<Node = usize>>(
    feed: Feed<'_>,
    base: u64,
    pattern: &Pattern,
    visit: &mut V,
) -> Result<(), Stop> {
    let mut records = Records::new(pattern, visit, Some(base));
    let mut reader = Reader::from_reader(feed);
    reader.config_mut().expand_empty_elements = true;
    let mut events = Events::default();
    let mut buffer = Vec::new();
    loop {
        let at = reader.buffer_position() as usize;
        let wrong = |what| Stop::Wrong(Wrong { at, what });
        buffer.clear();
        reader.get_mut().begin_event();
        let event = match reader.read_event_into(&mut buffer) {
            Ok(event) => event,
            Err(error) => {
                let failed = reader.get_mut().failed.take();
                return Err(failed.map_or_else(|| wrong(format!("is not XML: {error}")), Stop::Failed));
            }
        };
        let more = events.take(event, at, |step| records.step(step, at));
        let more = more.map_err(|what| records.failed.take().map_or_else(|| wrong(what), Stop::Failed))?;
        if !reader.get_ref().ascii
            && let Some(foreign) = events.foreign.take()
        {
            return Err(Stop::Wrong(foreign));
        }
        if !more {
            return Ok(());
        }
    }
}

/// Finds the records among the elements.
struct Records<'a, V> {
    walk: Walk<'a, V>,
    pattern: &'a Pattern,
    /// The path of the element that is open, outside of records.
    path: String,
    outside: usize,
    /// Where the document begins in its file, if it is read piece by piece.
    base: Option<u64>,
    /// Where the record begins.
    begun: usize,
    /// What has stopped it, if the document has not.
    failed: Option<JobError>,
}

impl<'a, V: Visit<Node = usize>> Records<'a, V> {
    fn new(pattern: &'a Pattern, visit: &'a mut V, base: Option<u64>) -> Self {
        let walk = Walk { visit, open: Vec::new(), depth: 0, name: String::new() };
        Records { walk, pattern, path: String::new(), outside: 0, base, begun: 0, failed: None }
    }

    #[inline]
    fn step(&mut self, step: Step<'_>, at: usize) -> Result<(), String> {
        if let Some(base) = self.base
            && self.walk.depth > 0
            && at - self.begun > MAX_RECORD
        {
            return Err(self.fail(too_long(base + self.begun as u64)));
        }
        match step {
            Step::Start(element) if self.walk.depth > 0 => self.walk.start(&element, false)?,
            Step::Start(element) => {
                let length = self.path.len();
                self.path.push('/');
                self.path.push_str(element.name().as_ref());
                if self.pattern.matches(&self.path) {
                    self.path.truncate(length);
                    if let Some(base) = self.base {
                        self.begun = at;
                        let begun = self.walk.visit.begin_record(base + at as u64);
                        begun.map_err(|error| self.fail(error))?;
                    }
                    self.walk.start(&element, true)?;
                } else {
                    self.outside += 1;
                }
            }
            Step::End if self.walk.depth > 0 => self.walk.end(),
            Step::End => {
                self.outside -= 1;
                self.path.truncate(self.path.rfind('/').unwrap_or(0));
            }
            Step::Text(text) => self.walk.text(text),
        }
        if self.walk.depth + self.outside > MAX_DEPTH { Err("is nested more than 256 deep".into()) } else { Ok(()) }
    }

    fn fail(&mut self, error: JobError) -> String {
        self.failed = Some(error);
        String::new()
    }
}

struct Walk<'a, V> {
    visit: &'a mut V,
    /// The open elements of the record, and used ones whose memory is kept.
    open: Vec<Open>,
    depth: usize,
    name: String,
}

impl<V: Visit<Node = usize>> Walk<'_, V> {
    fn start(&mut self, element: &BytesStart<'_>, is_record: bool) -> Result<(), String> {
        let node = if is_record {
            Some(Tree::ROOT)
        } else {
            let parent = self.open[self.depth - 1].node;
            parent.and_then(|parent| self.visit.child(parent, element.name().as_ref()))
        };
        if self.open.len() == self.depth {
            self.open.push(Open::default());
        }
        let open = &mut self.open[self.depth];
        open.node = node;
        open.text.clear();
        self.depth += 1;
        // Each is compared with all before it.
        for (number, attribute) in element.attributes().enumerate() {
            if number >= MAX_ATTRIBUTES {
                return Err(format!("has an element with more than {MAX_ATTRIBUTES} attributes"));
            }
            let attribute = attribute.map_err(|error| format!("is not XML: {error}"))?;
            let Some(node) = node else { continue };
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| unresolved(&error))?;
            self.name.clear();
            self.name.push('@');
            self.name.push_str(attribute.key.as_ref());
            if let Some(node) = self.visit.child(node, &self.name) {
                self.visit.text(node, &value);
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.depth > 0 && self.open[self.depth - 1].node.is_some() {
            self.open[self.depth - 1].text.push_str(text);
        }
    }

    fn end(&mut self) {
        self.depth -= 1;
        let Open { node, text } = &self.open[self.depth];
        let text = text.trim_matches(is_space);
        if let Some(node) = *node
            && !text.is_empty()
        {
            let node = if self.depth == 0 { self.visit.child(node, OWN_TEXT) } else { Some(node) };
            if let Some(node) = node {
                self.visit.text(node, text);
            }
        }
        if self.depth == 0 {
            self.visit.end_record();
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn unresolved(error: &quick_xml::Error) -> String {
    match error {
        quick_xml::Error::Escape(quick_xml::escape::EscapeError::UnrecognizedEntity(_, name)) => foreign(name),
        error => format!("is not XML: {error}"),
    }
}

fn foreign(name: &str) -> String {
    format!("uses the entity &{name}; which is not one of XML's own and is not expanded")
}

enum Step<'a> {
    Start(BytesStart<'a>),
    End,
    Text(&'a str),
}

/// Hands every event of a document that matters to `step`, and the byte where it begins.
fn each(text: &str, mut step: impl FnMut(Step<'_>, usize) -> Result<(), String>) -> Result<(), Wrong> {
    let mut reader = Reader::from_str(text);
    // An empty element is one that ends at once.
    reader.config_mut().expand_empty_elements = true;
    let mut events = Events::default();
    loop {
        let at = reader.buffer_position() as usize;
        let wrong = |what: String| Wrong { at, what };
        let event = reader.read_event().map_err(|error| wrong(format!("is not XML: {error}")))?;
        let more = events.take(event, at, |taken| step(taken, at)).map_err(wrong)?;
        if let Some(foreign) = events.foreign.take()
            && !text.is_ascii()
        {
            return Err(foreign);
        }
        if !more {
            return Ok(());
        }
    }
}

/// What is known of a document from its events so far.
#[derive(Default)]
struct Events {
    open: u64,
    roots: u64,
    /// It says that it is written in something else than UTF-8, which is wrong unless all of it is ASCII.
    foreign: Option<Wrong>,
}

impl Events {
    /// Hands an event to `step` if it matters. False at the end.
    #[inline]
    fn take(
        &mut self,
        event: Event<'_>,
        at: usize,
        mut step: impl FnMut(Step<'_>) -> Result<(), String>,
    ) -> Result<bool, String> {
        match event {
            Event::Start(element) => {
                self.roots += u64::from(self.open == 0);
                self.open += 1;
                step(Step::Start(element))?;
            }
            Event::End(_) => {
                self.open -= 1;
                step(Step::End)?;
            }
            Event::Text(text) if self.open == 0 && !text.trim_matches(is_space).is_empty() => {
                return Err("is not XML: there is text outside of its elements".into());
            }
            Event::Text(text) if text.contains('\r') => step(Step::Text(&text.xml10_content()))?,
            Event::Text(text) => step(Step::Text(&text))?,
            Event::CData(text) => step(Step::Text(&text.xml10_content()))?,
            Event::GeneralRef(reference) => step(Step::Text(&resolve(&reference)?))?,
            Event::Decl(declaration) => {
                if let Some(Ok(name)) = declaration.encoding()
                    && !is_utf8(&name)
                {
                    let what = format!("is written in {name}, which is not read; convert it to UTF-8");
                    self.foreign = Some(Wrong { at, what });
                }
            }
            Event::Eof if self.open > 0 => return Err("is not XML: it ends before its elements do".into()),
            Event::Eof if self.roots == 0 => return Err("is not XML: there is no element".into()),
            Event::Eof => return Ok(false),
            _ => {}
        }
        Ok(true)
    }
}

fn is_utf8(name: &str) -> bool {
    ["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn resolve(reference: &BytesRef<'_>) -> Result<String, String> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Ok(character.to_string()),
        Ok(None) => {
            let found = resolve_predefined_entity(reference);
            found.map(str::to_owned).ok_or_else(|| foreign(reference))
        }
        Err(error) => Err(format!("is not XML: {error}")),
    }
}

/// Which elements could be records: the path of every element that stands more than once in its parent, in the order of their
/// first appearance, and how often it was seen. A text that ends too early is looked at as far as it goes.
pub(crate) fn repeated(text: &str) -> Vec<(Path, u64)> {
    #[derive(Default)]
    struct Seen {
        path: Path,
        children: std::collections::HashMap<String, usize>,
        count: u64,
        repeated: bool,
        /// In which element it was seen last.
        parent: u64,
    }
    let mut seen = vec![Seen::default()];
    // The open elements: which of `seen`, and which element of all.
    let mut open: Vec<(Option<usize>, u64)> = vec![(Some(0), 0)];
    let mut elements = 0;
    let walked = each(text, |step, _| {
        match step {
            Step::Start(element) => {
                elements += 1;
                let (parent, number) = open.last().copied().unwrap_or_default();
                let child = parent.and_then(|parent| {
                    let name = element.name();
                    if let Some(&child) = seen[parent].children.get(name.as_ref()) {
                        return Some(child);
                    }
                    let child = seen.len();
                    if child > MAX_PATHS {
                        return None;
                    }
                    let mut path = seen[parent].path.clone();
                    path.push(name.as_ref().to_owned());
                    seen[parent].children.insert(name.as_ref().to_owned(), child);
                    seen.push(Seen { path, ..Seen::default() });
                    Some(child)
                });
                if let Some(child) = child {
                    let child = &mut seen[child];
                    child.repeated |= child.count > 0 && child.parent == number;
                    child.count += 1;
                    child.parent = number;
                }
                open.push((child, elements));
            }
            Step::End => {
                open.pop();
            }
            Step::Text(_) => {}
        }
        if open.len() > MAX_DEPTH { Err(String::new()) } else { Ok(()) }
    });
    // What is wrong with the document is told when it is read.
    drop(walked);
    seen.into_iter().filter(|seen| seen.repeated).map(|seen| (seen.path, seen.count)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::records::Survey;
    use super::super::value::Type;
    use super::*;
    use crate::jobs::table::json::Scalar;

    /// Collects values as `path=text`, and a bar behind each record.
    #[derive(Default)]
    struct Values {
        paths: Vec<String>,
        text: String,
    }

    impl Visit for Values {
        type Node = usize;

        fn child(&mut self, node: usize, key: &str) -> Option<usize> {
            if self.paths.is_empty() {
                self.paths.push(String::new());
            }
            let path = format!("{}/{key}", self.paths[node]);
            self.paths.push(path);
            Some(self.paths.len() - 1)
        }

        fn whole(&self, _: usize) -> bool {
            false
        }

        fn scalar(&mut self, _: usize, _: Scalar<'_>) {}

        fn text(&mut self, node: usize, text: &str) {
            self.text += &format!("{}={text} ", self.paths[node]);
        }

        fn end_record(&mut self) {
            self.text += "| ";
        }
    }

    fn read(text: &str, pattern: &str) -> Result<String, String> {
        let mut values = Values::default();
        records(text, &Pattern::new(pattern), &mut values).map_err(|wrong| wrong.what)?;
        Ok(values.text)
    }

    #[test]
    fn records_give_attributes_elements_and_their_own_text() {
        let text = "<?xml version=\"1.0\"?><!DOCTYPE a><a><r id='1' t='x&#9;&amp;\ny'>own <b>B&lt;<!-- c -->1</b>\r\n<c><d e=\"f\"/> \
                    </c><![CDATA[<x>]]></r><r/><s><r><r>in</r></r></s></a>";
        let all = "/@id=1 /@t=x\t& y /b=B<1 /c/d/@e=f /#text=own \n<x> | | /r=in | ";
        assert_eq!(read(text, "r").as_deref(), Ok(all));
        assert_eq!(read(text, "a/s/r").as_deref(), Ok("/r=in | "));
        assert_eq!(read(text, "/a/s/r").as_deref(), Ok("/r=in | "));
        assert_eq!(read(text, "/s/r").as_deref(), Ok(""));
        assert_eq!(read(text, "/a/s").as_deref(), Ok("/r/r=in | "));
    }

    #[test]
    fn what_is_no_xml_or_not_taken_is_refused() {
        let refused = |text: &str| read(text, "r").expect_err(text);
        let bomb = "<!DOCTYPE r [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><r>&b;</r>";
        assert_eq!(refused(bomb), foreign("b"));
        assert_eq!(refused("<r a='&b;'/>"), foreign("b"));
        assert_eq!(refused("<r><x></r>"), "is not XML: ill-formed document: expected `</x>`, but `</r>` was found");
        assert_eq!(refused("<r>"), "is not XML: it ends before its elements do");
        assert_eq!(refused("plain"), "is not XML: there is text outside of its elements");
        assert_eq!(refused(" "), "is not XML: there is no element");
        assert_eq!(refused(&"<r>".repeat(1_000_000)), "is nested more than 256 deep");
        let latin = "<?xml version='1.0' encoding='ISO-8859-1'?><r>é</r>";
        assert_eq!(refused(latin), "is written in ISO-8859-1, which is not read; convert it to UTF-8");
        assert!(refused("<r a='1' a='2'/>").starts_with("is not XML: "));
    }

    #[test]
    fn repeated_elements_are_found_and_surveyed() {
        let text = "<rss><channel><title>t</title><item><c>1</c><c>2</c></item><item n='3'><c>x</c></item><ite";
        let path = |steps: &[&str]| steps.iter().map(|&step| step.to_owned()).collect::<Path>();
        let expected = [(path(&["rss", "channel", "item"]), 2), (path(&["rss", "channel", "item", "c"]), 3)];
        assert_eq!(repeated(text), expected);
        let mut survey = Survey::new();
        assert!(records(text, &Pattern::new("item"), &mut survey).is_err());
        assert_eq!(survey.columns(), [(path(&["c"]), Type::Text), (path(&["@n"]), Type::Int)]);
    }
}
