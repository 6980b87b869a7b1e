//! Which requests count.

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::time::Bound;

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Filter {
    /// Not before this.
    pub since: Option<Bound>,
    /// Before this.
    pub until: Option<Bound>,
    /// First and last status of each range; all if there is none.
    pub statuses: Vec<(u16, u16)>,
    /// A pattern for the path without the query.
    pub path: Option<String>,
}

/// Reads `404`, `5xx` or `400-499`. The error is a message for the user.
pub(crate) fn statuses(text: &str) -> Result<(u16, u16), String> {
    let hint = "write statuses such as 404, 5xx or 400-499";
    let status = |text: &str| text.parse::<u16>().ok().filter(|status| (100..=999).contains(status)).ok_or(hint);
    if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
        let class = class.parse::<u16>().ok().filter(|class| (1..=9).contains(class)).ok_or(hint)?;
        return Ok((class * 100, class * 100 + 99));
    }
    match text.split_once('-') {
        Some((first, last)) => Ok((status(first)?, status(last)?)),
        None => status(text).map(|status| (status, status)).map_err(String::from),
    }
}

/// Makes a pattern for paths: `*` is anything but a slash, `**` anything. The error is a message for the user.
pub(crate) fn path_pattern(text: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(text).literal_separator(true).build().map_err(|error| error.kind().to_string())?;
    Ok(glob.compile_matcher())
}

/// A filter, ready to be used.
pub(super) struct Ready {
    filter: Filter,
    path: Option<GlobMatcher>,
}

impl Ready {
    /// Of a filter whose pattern is one.
    pub(super) fn new(filter: Filter) -> Ready {
        let path = filter.path.as_deref().and_then(|text| path_pattern(text).ok());
        Ready { filter, path }
    }

    /// Whether a request counts. One without a time is in no range of time.
    #[inline]
    pub(super) fn takes(&self, entry: &Entry<'_>) -> bool {
        let Filter { since, until, statuses, .. } = &self.filter;
        if since.is_some() || until.is_some() {
            let Some(time) = entry.time else { return false };
            if since.is_some_and(|since| since.to(time) < 0) || until.is_some_and(|until| until.to(time) >= 0) {
                return false;
            }
        }
        let is_status = |&(first, last): &(u16, u16)| (first..=last).contains(&entry.status);
        if !statuses.is_empty() && !statuses.iter().any(is_status) {
            return false;
        }
        let path = || String::from_utf8_lossy(entry.path_alone());
        self.path.as_ref().is_none_or(|pattern| pattern.is_match(path().as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::time;
    use super::*;

    #[test]
    fn statuses_are_single_or_ranges() {
        assert_eq!(statuses("404"), Ok((404, 404)));
        assert_eq!(statuses("5xx"), Ok((500, 599)));
        assert_eq!(statuses("400-499"), Ok((400, 499)));
        for wrong in ["", "xx", "0xx", "99", "4x", "a-b", "400-"] {
            assert!(statuses(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_request_counts_if_everything_fits() {
        let entry = Entry { status: 404, path: b"/a/b.html?q", time: time::unix(1000.0), ..Entry::default() };
        let takes = |filter: Filter| Ready::new(filter).takes(&entry);
        assert!(takes(Filter::default()));
        let at = |since, until| {
            takes(Filter { since: Some(Bound::Utc(since)), until: Some(Bound::Local(until)), ..Filter::default() })
        };
        assert_eq!([at(1000, 1001), at(1001, 2000), at(0, 1000)], [true, false, false]);
        let path = |text: &str| takes(Filter { path: Some(text.into()), ..Filter::default() });
        assert_eq!(["/a/*", "/a/*.html", "/*", "/**", "/a/b.html?q"].map(path), [true, true, false, true, false]);
        assert!(!takes(Filter { statuses: vec![(200, 299), (500, 599)], ..Filter::default() }));
        assert!(takes(Filter { statuses: vec![(200, 299), (400, 404)], ..Filter::default() }));
        assert!(!Ready::new(Filter { since: Some(Bound::Utc(0)), ..Filter::default() }).takes(&Entry::default()));
    }
}
