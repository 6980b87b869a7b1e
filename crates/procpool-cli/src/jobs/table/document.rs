//! Documents of JSON and XML: small ones as a whole, larger ones piece by piece, with the same records.

use std::io::{self, BufRead, Read};

use super::plan::{MAX_RECORD, Spec};
use super::read::not_json;
use super::records::Fill;
use super::window::{Source, Window, check, refuse_utf16, too_long};
use super::{json, xml};
use crate::frame::failure::{Cause, JobError};
use crate::frame::names;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Reads what is read as a whole. Passes the mark at the start of the text. False if there is more.
fn begin(window: &mut Window, source: &mut Source, whole: u64) -> Result<bool, JobError> {
    window.began = Some(window.base);
    // One more byte shows whether it has ended.
    window.read_to(source, usize::try_from(whole).unwrap_or(usize::MAX).saturating_add(1))?;
    refuse_utf16(window.bytes(), 0)?;
    if window.bytes().starts_with(BOM) {
        window.drop_before(BOM.len());
    }
    Ok(window.ended)
}

fn len(window: &Window) -> u64 {
    window.base + window.bytes().len() as u64
}

/// Reads a document of JSON. Returns its length in bytes.
pub(crate) fn json(
    window: &mut Window,
    source: &mut Source,
    spec: &Spec,
    fill: &mut Fill<'_>,
) -> Result<u64, JobError> {
    if begin(window, source, spec.whole())? {
        let text = check(window.bytes(), window.base)?;
        json::records(text, &spec.json_path, fill).map_err(|wrong| not_json(&wrong, window.base))?;
        return Ok(len(window));
    }
    let mut walk = json::Walk::new(&spec.json_path);
    loop {
        let (text, wrong) = window.text();
        let last = window.ended && wrong.is_none();
        let base = window.base;
        let come = walk.go_on((text, base, last), MAX_RECORD, fill).map_err(|stop| match stop {
            json::Stop::Wrong(wrong) => not_json(&wrong, base),
            json::Stop::TooLong(at) => too_long(base + at as u64),
            json::Stop::Failed(error) => error,
        })?;
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        if last {
            return Ok(len(window));
        }
        window.drop_before(come);
        window.more(source, 0)?;
    }
}

/// Reads a document of XML. Returns its length in bytes.
pub(crate) fn xml(window: &mut Window, source: &mut Source, spec: &Spec, fill: &mut Fill<'_>) -> Result<u64, JobError> {
    let pattern = xml::Pattern::new(&spec.xml_pattern);
    let not_xml = |wrong: xml::Wrong, base: u64| {
        let message = format!("{} (at byte {})", names::show_message(&wrong.what), base + wrong.at as u64);
        JobError::new(Cause::Damaged, message)
    };
    if begin(window, source, spec.whole())? {
        let text = check(window.bytes(), window.base)?;
        xml::records(text, &pattern, fill).map_err(|wrong| not_xml(wrong, window.base))?;
        return Ok(len(window));
    }
    let base = window.base;
    let feed = Feed::new(window, source);
    xml::stream(feed, base, &pattern, fill).map_err(|stop| match stop {
        xml::Stop::Wrong(wrong) => not_xml(wrong, base),
        xml::Stop::Failed(error) => error,
    })?;
    Ok(len(window))
}

/// The text of a file, to be read in order and to its end.
pub(crate) struct Feed<'w> {
    window: &'w mut Window,
    source: &'w mut Source,
    /// How much of the window is read, and how much of it is text.
    at: usize,
    valid: usize,
    /// What is wrong behind that.
    wrong: Option<JobError>,
    /// How much was read since the last event.
    since: u64,
    /// Nothing but ASCII has been seen.
    pub ascii: bool,
    /// Why reading has failed: no [`io::Error`] can say it.
    pub failed: Option<JobError>,
}

impl<'w> Feed<'w> {
    /// From the start of the window.
    pub(crate) fn new(window: &'w mut Window, source: &'w mut Source) -> Feed<'w> {
        let mut feed = Feed { window, source, at: 0, valid: 0, wrong: None, since: 0, ascii: true, failed: None };
        feed.check();
        feed
    }

    /// An event begins here.
    pub(crate) fn begin_event(&mut self) {
        self.since = 0;
    }

    fn check(&mut self) {
        let (text, wrong) = self.window.text();
        (self.valid, self.wrong) = (text.len(), wrong);
        self.ascii &= text.is_ascii();
    }

    fn read_on(&mut self) -> Result<(), JobError> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        if self.since > MAX_RECORD as u64 {
            return Err(too_long(self.window.base + self.at as u64 - self.since));
        }
        self.window.drop_before(self.at);
        (self.at, self.valid) = (0, 0);
        while self.valid == 0 && !self.window.ended {
            self.window.step(self.source)?;
            self.check();
            if self.valid == 0
                && let Some(wrong) = self.wrong.take()
            {
                return Err(wrong);
            }
        }
        Ok(())
    }
}

impl BufRead for Feed<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.valid
            && let Err(error) = self.read_on()
        {
            self.failed = Some(error);
            return Err(io::Error::other("see there"));
        }
        Ok(&self.window.bytes()[self.at..self.valid])
    }

    fn consume(&mut self, len: usize) {
        self.at = (self.at + len).min(self.valid);
        self.since += len as u64;
    }
}

impl Read for Feed<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let len = there.len().min(room.len());
        room[..len].copy_from_slice(&there[..len]);
        self.consume(len);
        Ok(len)
    }
}
