//! Picked columns for which nothing was seen: often a path that is written wrongly, so what is nearest to it is told.

use std::collections::HashSet;

use super::merge::{Pick, joint, places};
use super::sample::Seen;

/// How many paths are named.
const NAMED: usize = 3;
/// How alike a path must be to be meant, from 0 to 1.
const ALIKE: f64 = 0.5;
/// Longer paths are not compared: comparing takes time that grows with the product of the lengths.
const LONGEST: usize = 200;

/// A picked column for which nothing was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unseen {
    /// Its name.
    pub column: String,
    /// Where its values should be.
    pub path: String,
    /// The paths that are most like it.
    pub nearest: Vec<String>,
    /// These are just what there is, and not like it.
    pub unlike: bool,
}

impl Unseen {
    /// As a line for people.
    pub(crate) fn line(&self) -> String {
        let Unseen { column, path, nearest, unlike } = self;
        let place = if column == path { column.clone() } else { format!("{path}, for the column {column}") };
        let near = match (nearest.as_slice(), unlike) {
            ([], _) => String::new(),
            (nearest, false) => format!("; did you mean {}?", nearest.join(" or ")),
            (nearest, true) => format!("; there is {}", nearest.join(", ")),
        };
        format!("no record that was looked at has {place}{near}")
    }
}

/// The picks that nothing was seen for, if anything was seen at all.
pub(crate) fn unseen<'a>(seen: impl Iterator<Item = &'a Seen>, picks: &[Pick]) -> Vec<Unseen> {
    let mut paths = HashSet::new();
    let mut names: Vec<String> = Vec::new();
    for seen in seen {
        for (path, _) in &seen.columns {
            if paths.insert(path.as_slice()) {
                names.push(path.join(joint(seen.syntax)));
            }
        }
    }
    if names.is_empty() {
        return Vec::new();
    }
    let is_missing = |pick: &&Pick| !places(&pick.1).iter().any(|place| paths.contains(place.as_slice()));
    let missing = picks.iter().filter(is_missing);
    missing
        .map(|(column, path)| {
            let mut near: Vec<(f64, &String)> = names.iter().map(|name| (likeness(path, name), name)).collect();
            // Equal ones stay in the order in which they were seen.
            near.sort_by(|a, b| b.0.total_cmp(&a.0));
            let alike: Vec<String> = near
                .iter()
                .take_while(|(alike, _)| *alike >= ALIKE)
                .take(NAMED)
                .map(|(_, name)| (*name).clone())
                .collect();
            let unlike = alike.is_empty();
            let nearest = if unlike { names.iter().take(NAMED).cloned().collect() } else { alike };
            Unseen { column: column.clone(), path: path.clone(), nearest, unlike }
        })
        .collect()
}

/// How alike two paths are, or their last steps if these are more alike.
fn likeness(path: &str, other: &str) -> f64 {
    if path.len().max(other.len()) > LONGEST {
        return 0.0;
    }
    let (path, other) = (path.to_lowercase(), other.to_lowercase());
    let last = |text: &str| text.rsplit(['.', '/']).next().unwrap_or_default().trim_start_matches('@').to_owned();
    let whole = strsim::normalized_damerau_levenshtein(&path, &other);
    // The same name at another place comes behind the same path in other letters.
    let of_last = strsim::normalized_damerau_levenshtein(&last(&path), &last(&other));
    whole.max(0.9 * of_last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::table::plan::Syntax;
    use crate::jobs::table::value::Type;

    #[test]
    fn what_is_nearest_is_told() {
        let columns = |paths: &[&str]| {
            paths.iter().map(|path| (path.split('/').map(str::to_owned).collect(), Type::Text)).collect::<Vec<_>>()
        };
        let all = [
            Seen {
                syntax: Syntax::Lines,
                places: vec![],
                columns: columns(&["id", "user/name", "price"]),
                promised: None,
            },
            Seen { syntax: Syntax::Xml, places: vec![], columns: columns(&["id", "item/@prize"]), promised: None },
        ];
        let pick = |name: &str, path: &str| (name.to_owned(), path.to_owned());
        let lines = |picks: &[Pick]| unseen(all.iter(), picks).iter().map(Unseen::line).collect::<Vec<_>>();
        assert_eq!(lines(&[pick("id", "id"), pick("n", "user.name"), pick("z", "item/@prize")]), [""; 0]);
        let picks = [pick("Price", "Price"), pick("who", "name"), pick("x", "entirely.other")];
        let expected = [
            "no record that was looked at has Price; did you mean price or item/@prize?",
            "no record that was looked at has name, for the column who; did you mean user.name?",
            "no record that was looked at has entirely.other, for the column x; there is id, user.name, price",
        ];
        assert_eq!(lines(&picks), expected);
        assert_eq!(unseen([].iter(), &picks), []);
    }
}
