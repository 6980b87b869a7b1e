//! What was seen of all files, made into one set of columns. The order of the files is all that it depends on.

use std::collections::HashMap;

use super::plan::{Column, Syntax};
use super::records::{MAX_COLUMNS, Path};
use super::sample::Seen;
use super::value::Type;

/// A column that the user has picked: its name, and where its values are.
pub(crate) type Pick = (String, String);

/// How the steps of a path are joined in the name of a column.
pub(crate) fn joint(syntax: Syntax) -> &'static str {
    if syntax == Syntax::Xml { "/" } else { "." }
}

/// Where the values of a picked column may be: in a field of that name, a member of a member, an element of an element.
pub(crate) fn places(place: &str) -> Vec<Path> {
    let dots: Path = place.split('.').map(str::to_owned).collect();
    let slashes: Path = place.trim_matches('/').split('/').map(str::to_owned).collect();
    let mut paths = vec![vec![place.to_owned()], dots, slashes];
    paths.dedup();
    paths
}

/// All columns: the picked ones, or every one of any file, in the order in which they first appear.
pub(crate) fn columns<'a>(seen: impl Iterator<Item = &'a Seen>, picks: Option<&[Pick]>) -> Result<Vec<Column>, String> {
    let mut columns: Vec<Column> = Vec::new();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    let mut by_path: HashMap<Path, Vec<usize>> = HashMap::new();
    for (name, place) in picks.unwrap_or_default() {
        let paths = places(place);
        for path in &paths {
            by_path.entry(path.clone()).or_default().push(columns.len());
        }
        columns.push(Column { name: name.clone(), kind: Type::Empty, paths });
    }
    for seen in seen {
        for (path, kind) in &seen.columns {
            if picks.is_some() {
                for &column in by_path.get(path).into_iter().flatten() {
                    columns[column].kind = columns[column].kind.join(*kind);
                }
                continue;
            }
            let column = match by_path.get(path).and_then(|found| found.first()) {
                Some(&column) => column,
                None => {
                    let name = path.join(joint(seen.syntax));
                    let column = *by_name.entry(name.clone()).or_insert(columns.len());
                    if column == columns.len() {
                        columns.push(Column { name, kind: Type::Empty, paths: Vec::new() });
                    }
                    columns[column].paths.push(path.clone());
                    by_path.insert(path.clone(), vec![column]);
                    column
                }
            };
            columns[column].kind = columns[column].kind.join(*kind);
        }
        if columns.len() > MAX_COLUMNS {
            return Err(format!("all files together have more than {MAX_COLUMNS} columns; pick some with --columns"));
        }
    }
    for column in &mut columns {
        if column.kind == Type::Empty {
            column.kind = Type::Text;
        }
    }
    Ok(columns)
}

/// The column of each field of a file of separated values.
pub(crate) fn fields(seen: &Seen, by_path: &HashMap<&[String], usize>) -> Vec<Option<u32>> {
    seen.columns.iter().map(|(path, _)| by_path.get(path.as_slice()).map(|&column| column as u32)).collect()
}

/// Which column each path leads to.
pub(crate) fn by_path(columns: &[Column]) -> HashMap<&[String], usize> {
    let mut found = HashMap::new();
    for (number, column) in columns.iter().enumerate() {
        for path in &column.paths {
            found.entry(path.as_slice()).or_insert(number);
        }
    }
    found
}

/// Where the records of documents written in one syntax lie: of all places in all files the one with the fewest steps, of
/// these the one with the most records, of these the first.
pub(crate) fn place<'a>(seen: impl Iterator<Item = &'a Seen>, is_syntax: impl Fn(Syntax) -> bool) -> Option<Path> {
    let mut places: Vec<(&Path, u64)> = Vec::new();
    let mut known: HashMap<&Path, usize> = HashMap::new();
    for seen in seen.filter(|seen| is_syntax(seen.syntax)) {
        for (path, count) in &seen.places {
            let place = *known.entry(path).or_insert(places.len());
            if place == places.len() {
                places.push((path, 0));
            }
            places[place].1 += count;
        }
    }
    places
        .into_iter()
        .reduce(|best, other| {
            let better = (other.0.len(), std::cmp::Reverse(other.1)) < (best.0.len(), std::cmp::Reverse(best.1));
            if better { other } else { best }
        })
        .map(|(path, _)| path.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        text.split('/').map(str::to_owned).collect()
    }

    fn seen(syntax: Syntax, columns: &[(&str, Type)], places: &[(&str, u64)]) -> Seen {
        Seen {
            syntax,
            places: places.iter().map(|&(at, count)| (path(at), count)).collect(),
            columns: columns.iter().map(|&(at, kind)| (path(at), kind)).collect(),
            promised: None,
        }
    }

    fn show(columns: &[Column]) -> Vec<String> {
        columns.iter().map(|column| format!("{}:{}", column.name, column.kind.name())).collect()
    }

    #[test]
    fn columns_are_those_of_all_files_and_as_wide_as_they_must_be() {
        let csv = Syntax::Csv { separator: b',' };
        let all = [
            seen(csv, &[("b", Type::Int), ("x.y", Type::Empty), ("e", Type::Empty)], &[]),
            seen(Syntax::Lines, &[("a", Type::Bool), ("x/y", Type::Date), ("b", Type::Float)], &[]),
            seen(Syntax::Xml, &[("@b", Type::Text), ("x/y", Type::Time)], &[]),
        ];
        let columns = |picks| super::columns(all.iter(), picks).expect("columns");
        assert_eq!(show(&columns(None)), ["b:float", "x.y:time", "e:text", "a:bool", "@b:text"]);
        let pick = |name: &str, place: &str| (name.to_owned(), place.to_owned());
        let picks = [pick("when", "x.y"), pick("other", "x/y"), pick("b", "b"), pick("none", "none")];
        let picked = columns(Some(&picks));
        assert_eq!(show(&picked), ["when:time", "other:time", "b:float", "none:text"]);
        assert_eq!(fields(&all[0], &by_path(&picked)), [Some(2), Some(0), None]);
    }

    #[test]
    fn records_lie_at_the_shallowest_place_with_the_most_of_them() {
        let all = [
            seen(Syntax::Xml, &[], &[("r/a/b", 100), ("r/a", 3), ("r/c", 2)]),
            seen(Syntax::Xml, &[], &[("r/c", 2)]),
            seen(Syntax::Json, &[], &[("x", 1)]),
        ];
        assert_eq!(place(all.iter(), |syntax| syntax == Syntax::Xml), Some(path("r/c")));
        assert_eq!(place(all.iter(), |syntax| syntax == Syntax::Json), Some(path("x")));
        assert_eq!(place(all.iter(), |syntax| syntax == Syntax::Lines), None);
    }
}
