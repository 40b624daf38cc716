//! Tables as kubectl lays them out, and the cells that many of them share.

use std::{collections::BTreeMap, io};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::base::time;

/// The least width of a column, the gap after it included.
const LEAST: usize = 6;
/// The gap after a column.
const GAP: usize = 3;

/// A table that is printed row by row. Columns never get narrower, so that the rows of a watch stay
/// under their headers.
#[derive(Debug, Default)]
pub struct Table {
    /// The widths so far, without the gaps.
    widths: Vec<usize>,
}

impl Table {
    /// Prints rows; the first may be the headers.
    pub fn print(&mut self, rows: &[Vec<String>], out: &mut dyn io::Write) -> io::Result<()> {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
        for row in &rows {
            self.widths.resize(self.widths.len().max(row.len()), 0);
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &rows {
            let mut line = String::new();
            for (index, (cell, width)) in row.iter().zip(&self.widths).enumerate() {
                line.push_str(cell);
                if index + 1 < row.len() {
                    let gap = (width + GAP).max(LEAST) - cell.chars().count();
                    line.extend(std::iter::repeat_n(' ', gap));
                }
            }
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

/// A cell ends at its first line.
fn one_line(cell: &str) -> String {
    match cell.split_once('\n') {
        Some((first, _)) => format!("{}...", first.trim_end_matches('\r')),
        None => cell.to_owned(),
    }
}

/// How long ago something was.
pub fn age(since: Option<&Time>, now: Timestamp) -> String {
    match since {
        None => "<unknown>".to_owned(),
        // A clock that is a second ahead is no news.
        Some(since) if since.0.as_second() > now.as_second() + 1 => "<invalid>".to_owned(),
        Some(since) => time::age(time::elapsed(since.0, now)),
    }
}

/// A text, or `<none>`.
pub fn or_none(text: Option<&str>) -> String {
    match text {
        None | Some("") => "<none>".to_owned(),
        Some(text) => text.to_owned(),
    }
}

/// Labels in one cell, sorted by key.
pub fn pairs(labels: Option<&BTreeMap<String, String>>) -> String {
    let labels = labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}"));
    or_none(Some(&labels.collect::<Vec<_>>().join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(table: &mut Table, rows: &[&[&str]]) -> String {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        let mut out = Vec::new();
        table.print(&rows, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_padded_as_kubectl_pads_them() {
        let text = print(&mut Table::default(), &[&["A", "NAME", "AGE"], &["1", "long", "5s"]]);
        assert_eq!(text, "A     NAME   AGE\n1     long   5s\n");
    }

    #[test]
    fn later_rows_stay_under_the_headers() {
        let mut table = Table::default();
        print(&mut table, &[&["NAME", "AGE"], &["quite-long", "5s"]]);
        assert_eq!(print(&mut table, &[&["short", "6s"]]), "short        6s\n");
    }

    #[test]
    fn a_cell_ends_at_its_first_line() {
        assert_eq!(print(&mut Table::default(), &[&["a\nb"]]), "a...\n");
    }

    #[test]
    fn ages_tell_the_unknown_and_the_future() {
        let at = |second| Time(Timestamp::from_second(second).unwrap());
        let now = at(100).0;
        assert_eq!(age(None, now), "<unknown>");
        assert_eq!(age(Some(&at(40)), now), "60s");
        assert_eq!(age(Some(&at(101)), now), "0s");
        assert_eq!(age(Some(&at(102)), now), "<invalid>");
    }
}
