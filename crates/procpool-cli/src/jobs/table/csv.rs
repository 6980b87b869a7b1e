//! Records of separated values, as Python's `csv` module reads them: RFC 4180, and what deviates from it.
//!
//! A quote begins a quoted field only at the field's start; elsewhere it is a character like any other. What stands between
//! a closing quote and the next separator belongs to the field. A line ends with a line feed, a carriage return or both.
//! Blank lines are no records.

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// What separates fields.
    pub separator: u8,
}

/// One field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    start: usize,
    end: usize,
    quoted: bool,
    /// The text is in the scratch, not in the input, since it is not there in one piece.
    copied: bool,
}

/// The fields of one record, and room for the next.
#[derive(Debug, Default)]
pub(crate) struct Record {
    fields: Vec<Field>,
    scratch: Vec<u8>,
}

impl Record {
    /// How many fields it has.
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// The text of a field, and whether it began with a quote.
    #[inline]
    pub(crate) fn field<'a>(&'a self, text: &'a [u8], index: usize) -> (&'a [u8], bool) {
        let Field { start, end, quoted, copied } = self.fields[index];
        (if copied { &self.scratch[start..end] } else { &text[start..end] }, quoted)
    }

    /// Reads the record that begins at `at`, past blank lines. Returns where the next one begins; `None` if the text ends
    /// before the record does, or before it is certain that it has ended. At the `last` of the text every record ends.
    /// A record without fields is none: only blank lines were left.
    pub(crate) fn read(&mut self, dialect: Dialect, text: &[u8], mut at: usize, last: bool) -> Option<usize> {
        self.fields.clear();
        self.scratch.clear();
        while let Some(b'\n' | b'\r') = text.get(at) {
            at += 1;
        }
        if at >= text.len() {
            return last.then_some(text.len());
        }
        loop {
            let ended = match text.get(at) {
                Some(b'"') => self.quoted(dialect, text, at + 1, last)?,
                _ => {
                    let end = plain_end(dialect, text, at);
                    self.fields.push(Field { start: at, end, quoted: false, copied: false });
                    end
                }
            };
            match text.get(ended) {
                Some(b'\n') => return Some(ended + 1),
                Some(b'\r') => {
                    return match text.get(ended + 1) {
                        Some(b'\n') => Some(ended + 2),
                        None if !last => None,
                        _ => Some(ended + 1),
                    };
                }
                Some(_) => at = ended + 1,
                None => return last.then_some(ended),
            }
        }
    }

    /// Reads a field behind its opening quote. Returns where it ends.
    fn quoted(&mut self, dialect: Dialect, text: &[u8], start: usize, last: bool) -> Option<usize> {
        let mut piece = start;
        let begun = self.scratch.len();
        let mut copied = false;
        let mut at = start;
        loop {
            // Where no more text is to come, a quote that is not closed makes no record.
            let quote = at + memchr::memchr(b'"', &text[at..])?;
            if text.get(quote + 1) == Some(&b'"') {
                self.scratch.extend_from_slice(&text[piece..=quote]);
                copied = true;
                at = quote + 2;
                piece = at;
                continue;
            }
            if quote + 1 == text.len() && !last {
                return None;
            }
            let end = plain_end(dialect, text, quote + 1);
            if copied || end > quote + 1 {
                self.scratch.extend_from_slice(&text[piece..quote]);
                self.scratch.extend_from_slice(&text[quote + 1..end]);
                self.fields.push(Field { start: begun, end: self.scratch.len(), quoted: true, copied: true });
            } else {
                self.fields.push(Field { start, end: quote, quoted: true, copied: false });
            }
            return Some(end);
        }
    }
}

/// Where text without a quote at its start ends: at a separator, a line end, or the end of everything.
#[inline]
fn plain_end(dialect: Dialect, text: &[u8], from: usize) -> usize {
    let ends = |byte: u8| byte == dialect.separator || byte == b'\n' || byte == b'\r';
    let mut at = from;
    while let Some((word, _)) = text[at..].split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        // Bytes below 14 are line ends, or seldom.
        let low = word.wrapping_sub(LOW * 14) & !word & (LOW << 7);
        let found = has_byte(word, dialect.separator) | low;
        if found == 0 {
            at += 8;
            continue;
        }
        at += (found.trailing_zeros() / 8) as usize;
        if ends(text[at]) {
            return at;
        }
        at += 1;
    }
    at + text[at..].iter().position(|&byte| ends(byte)).unwrap_or(text.len() - at)
}

const LOW: u64 = 0x0101_0101_0101_0101;

/// The high bit of each byte of `word` that equals `byte`. Bytes above the first such one may be marked wrongly.
#[inline]
fn has_byte(word: u64, byte: u8) -> u64 {
    let differs = word ^ (LOW * u64::from(byte));
    differs.wrapping_sub(LOW) & !differs & (LOW << 7)
}

/// What separates the fields of a file, by its first line: the most frequent of comma, semicolon, tab and bar outside of
/// quotes, and a comma if there is none.
pub(crate) fn sniff(text: &[u8]) -> Dialect {
    let mut counts = [(b',', 0u32), (b';', 0), (b'\t', 0), (b'|', 0)];
    let mut quoted = false;
    for &byte in text {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted => break,
            _ if !quoted => counts.iter_mut().filter(|(mark, _)| *mark == byte).for_each(|(_, count)| *count += 1),
            _ => {}
        }
    }
    let mut best = counts[0];
    for other in &counts[1..] {
        if other.1 > best.1 {
            best = *other;
        }
    }
    Dialect { separator: best.0 }
}

/// Where a record may begin after `at`, when nothing is known of what is before: behind a line end, at the first place from
/// which three records have `width` fields each; failing that behind the first line end. `None` if there is no line end.
///
/// A guess. Whoever makes it finds out when the text before has been read.
pub(crate) fn guess(dialect: Dialect, text: &[u8], width: usize, last: bool) -> Option<usize> {
    let mut record = Record::default();
    let mut first = None;
    let mut from = 0;
    for _ in 0..64 {
        let Some(end) = memchr::memchr2(b'\n', b'\r', &text[from..]).map(|found| from + found) else { break };
        let begin = end + if text[end..].starts_with(b"\r\n") { 2 } else { 1 };
        first.get_or_insert(begin);
        let mut at = Some(begin);
        let fits = (0..3).all(|_| {
            at = at.and_then(|at| record.read(dialect, text, at, last));
            at.is_some() && (record.len() == width || (last && record.len() == 0))
        });
        if fits {
            return Some(begin);
        }
        from = begin;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMA: Dialect = Dialect { separator: b',' };

    fn records(text: &str) -> Vec<Vec<String>> {
        let mut record = Record::default();
        let (mut at, mut all) = (0, Vec::new());
        while at < text.len() {
            at = record.read(COMMA, text.as_bytes(), at, true).expect("a record");
            if record.len() > 0 {
                let field = |k| String::from_utf8(record.field(text.as_bytes(), k).0.to_vec()).expect("text");
                all.push((0..record.len()).map(field).collect());
            }
        }
        all
    }

    #[test]
    fn accidents_read_as_python_reads_them() {
        // Each list is what list(csv.reader(io.StringIO(text, newline=""))) says, without the empty lists of blank lines.
        assert_eq!(records("a,b\n1,2\r\n3,4\r5,6"), [["a", "b"], ["1", "2"], ["3", "4"], ["5", "6"]]);
        assert_eq!(records("\n\na\n\n"), [["a"]]);
        assert_eq!(records("\"a,\"\"b\"\"\n\",c\n"), [["a,\"b\"\n", "c"]]);
        assert_eq!(records("5\" disk,a \"b\" c\n"), [["5\" disk", "a \"b\" c"]]);
        assert_eq!(records("\"ab\"c\"d\",e\n"), [["abc\"d\"", "e"]]);
        assert_eq!(records(",\n,,"), [vec!["", ""], vec!["", "", ""]]);
        assert_eq!(records("\"\",\"x\"\n"), [["", "x"]]);
        assert_eq!(
            records("a long field of many words, and another\n"),
            [["a long field of many words", " and another"]]
        );
    }

    #[test]
    fn a_record_ends_where_it_is_certain_to() {
        let read = |text: &str, last| Record::default().read(COMMA, text.as_bytes(), 0, last);
        assert_eq!((read("a,b", false), read("a,b", true)), (None, Some(3)));
        assert_eq!((read("a\r", false), read("a\r", true)), (None, Some(2)));
        assert_eq!((read("\"a\"", false), read("\"a\"", true)), (None, Some(3)));
        assert_eq!((read("\"a", false), read("\"a", true)), (None, None));
        assert_eq!((read("a\r\nb", false), read("a\rb", false)), (Some(3), Some(2)));
        assert_eq!((read("\n\n", false), read("\n\n", true)), (None, Some(2)));
    }

    #[test]
    fn separators_are_seen_in_the_first_line() {
        assert_eq!(sniff(b"a;b;c,d\n1,2,3,4,5,6").separator, b';');
        assert_eq!(sniff(b"\"a,b,c\"\td\n").separator, b'\t');
        assert_eq!(sniff(b"name\n").separator, b',');
        assert_eq!(sniff(b"a|b").separator, b'|');
    }

    #[test]
    fn the_guess_sees_through_fields_of_several_lines() {
        let text = b"of text\nand, more,\nlines, too\",2\n\"x\ny\",3\n4,5\n6,7\n";
        let begin = guess(COMMA, text, 2, true).expect("a line end");
        assert_eq!(&text[begin..begin + 3], b"\"x\n");
        assert_eq!(guess(COMMA, b"no end", 2, true), None);
    }
}
