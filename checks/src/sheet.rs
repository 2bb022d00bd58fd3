//! A table that fits its page.
//!
//! It is printed with the first of these that is narrow enough: as it is; with narrower gaps; with its
//! [texts](Column::Text) wrapped; in several parts one below the other, each with the
//! [names](Column::Name) of its rows again. No row is ever broken by the edge of a terminal.

use comfy_table::{CellAlignment, Color, ContentArrangement, LineStyle, Table, TableStyle};

use crate::page::{self, Page};

/// What a column holds, which decides what becomes of it on a narrow page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The name of a row: repeated in each part.
    Name,
    /// A few letters, flush left.
    Left,
    /// A number or a few letters, flush right.
    Right,
    /// Words, which may be wrapped.
    Text,
}

/// A cell: its text, and what it looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The text.
    pub text: String,
    colour: Option<Color>,
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.to_string(), colour: None }
    }
}

impl Cell {
    /// What is as it should be.
    pub fn good(text: impl ToString) -> Self {
        Self { colour: Some(Color::Green), ..text.into() }
    }

    /// What is lost.
    pub fn bad(text: impl ToString) -> Self {
        Self { colour: Some(Color::Red), ..text.into() }
    }

    /// What is to be looked at.
    pub fn odd(text: impl ToString) -> Self {
        Self { colour: Some(Color::Yellow), ..text.into() }
    }

    /// The width of its longest line.
    fn width(&self) -> usize {
        self.text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
    }

    fn wrapped(&self, width: usize) -> Self {
        Self { text: page::wrap(&self.text, width), colour: self.colour }
    }
}

/// A text column is not made narrower than this.
const NARROWEST: usize = 12;

/// The gap between two columns, where there is room.
const GAP: usize = 2;

/// A table with a line under its header and no other.
#[derive(Debug, Clone)]
pub struct Sheet {
    header: Vec<Cell>,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Sheet {
    /// A table with these columns and no row.
    pub fn new<T: ToString>(columns: impl IntoIterator<Item = (T, Column)>) -> Self {
        let (header, columns) = columns.into_iter().map(|(name, column)| (Cell::from(name), column)).unzip();
        Self { header, columns, rows: Vec::new() }
    }

    /// Adds a row; cells that it lacks are empty.
    pub fn row<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let mut row: Vec<Cell> = cells.into_iter().map(Into::into).collect();
        row.resize(self.columns.len(), "".into());
        self.rows.push(row);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table on this page.
    pub fn on(&self, page: Page) -> String {
        self.in_one_piece(page).unwrap_or_else(|| self.in_parts(page))
    }

    /// The table on this page, if it fits it in one piece.
    pub fn in_one_piece(&self, page: Page) -> Option<String> {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let widths: Vec<usize> = all.iter().map(|&column| self.width(column)).collect();
        let fits = |widths: &[usize], gap| page.width.is_none_or(|page| total(widths, gap) <= page);
        for gap in [GAP, 1] {
            if fits(&widths, gap) {
                return Some(self.part(&all, &widths, gap, page));
            }
        }
        let narrow = self.narrowed(&widths, page.width?, GAP)?;
        Some(self.part(&all, &narrow, GAP, page))
    }

    /// The widths with which the texts are wrapped, if they need not be too narrow for that.
    fn narrowed(&self, widths: &[usize], page: usize, gap: usize) -> Option<Vec<usize>> {
        let mut widths = widths.to_vec();
        let mut texts: Vec<usize> =
            (0..widths.len()).filter(|&column| self.columns[column] == Column::Text).collect();
        let others: usize =
            (0..widths.len()).filter(|column| !texts.contains(column)).map(|i| widths[i]).sum();
        let mut left = page.checked_sub(others + gap * widths.len().saturating_sub(1))?;
        // Texts that are short enough keep their width; the others share what is left.
        while !texts.is_empty() {
            let share = left / texts.len();
            let Some(at) = texts.iter().position(|&column| widths[column] <= share) else {
                texts.iter().for_each(|&column| widths[column] = share);
                return (share >= NARROWEST).then_some(widths);
            };
            left -= widths[texts.swap_remove(at)];
        }
        (total(&widths, gap) <= page).then_some(widths)
    }

    /// The names of the rows with as many of the other columns as fit, again and again.
    fn in_parts(&self, page: Page) -> String {
        let room = page.width.unwrap_or(usize::MAX);
        let is_name = |&column: &usize| self.columns[column] == Column::Name;
        let (names, others): (Vec<usize>, Vec<usize>) = (0..self.columns.len()).partition(is_name);
        let width = |column: usize| match self.columns[column] {
            Column::Text => self.width(column).min(room / 2),
            Column::Name => self.width(column).min(room / 2 / names.len()),
            _ => self.width(column),
        };
        let mut parts = Vec::new();
        let mut others = others.as_slice();
        while !others.is_empty() {
            let mut columns = names.clone();
            let mut widths: Vec<usize> = columns.iter().map(|&column| width(column)).collect();
            let mut taken = 0;
            for &column in others {
                widths.push(width(column));
                if taken > 0 && total(&widths, 1) > room {
                    widths.pop();
                    break;
                }
                columns.push(column);
                taken += 1;
            }
            others = &others[taken..];
            let gap = if total(&widths, GAP) <= room { GAP } else { 1 };
            // A column that is too wide for the page by itself is wrapped, whatever it holds.
            let over = total(&widths, gap).saturating_sub(room);
            if let Some(last) = widths.last_mut() {
                *last = last.saturating_sub(over).max(1);
            }
            parts.push(self.part(&columns, &widths, gap, page));
        }
        parts.join("\n\n")
    }

    /// These columns, as wide as that.
    fn part(&self, columns: &[usize], widths: &[usize], gap: usize, page: Page) -> String {
        let mut table = Table::new();
        let rule = LineStyle::none().fill('─').junction('─');
        table.load_style(TableStyle::new().header_separator(rule));
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.force_no_tty();
        if page.colours {
            table.enforce_styling();
        }
        let line = |cells: &[Cell]| -> Vec<comfy_table::Cell> {
            let cell = |(&column, &width): (&usize, &usize)| {
                let Cell { text, colour } = cells[column].wrapped(width);
                let cell = comfy_table::Cell::new(text);
                colour.map_or(cell.clone(), |colour| cell.fg(colour))
            };
            columns.iter().zip(widths).map(cell).collect()
        };
        table.set_header(line(&self.header));
        self.rows.iter().for_each(|row| {
            table.add_row(line(row));
        });
        for (place, column) in table.column_iter_mut().enumerate() {
            // Where two columns meet there is a space already.
            column.set_padding((0, if place + 1 < columns.len() { gap as u16 - 1 } else { 0 }));
            if self.columns[columns[place]] == Column::Right {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| &row[column]);
        cells.chain([&self.header[column]]).map(Cell::width).max().unwrap_or(0)
    }
}

fn total(widths: &[usize], gap: usize) -> usize {
    widths.iter().sum::<usize>() + gap * widths.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(width: usize) -> Page {
        Page { width: Some(width), colours: false }
    }

    fn numbers() -> Sheet {
        let columns = (0..12).map(|i| (format!("column {i}"), Column::Right));
        let mut sheet = Sheet::new([("name".to_owned(), Column::Name)].into_iter().chain(columns));
        for row in 0..3 {
            sheet.row(
                [format!("row-{row}")].into_iter().chain((0..12).map(|i| format!("{}", row * i * 1000))),
            );
        }
        sheet
    }

    #[test]
    fn a_table_is_never_wider_than_its_page_and_nothing_of_it_is_lost() {
        let mut texts = Sheet::new([("#", Column::Right), ("does", Column::Text), ("where", Column::Left)]);
        texts.row(["1", "a store that is seen late, by a thread that looked before", "gate.rs:12"]);
        for width in 40..160 {
            for sheet in [&numbers(), &texts] {
                let text = sheet.on(page(width));
                assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
                for cell in sheet.rows.iter().flatten().flat_map(|cell| cell.text.split(' ')) {
                    assert!(text.contains(cell), "{width}: no {cell} in\n{text}");
                }
            }
        }
    }

    #[test]
    fn each_part_of_a_folded_table_names_its_rows() {
        let text = numbers().on(page(60));
        let parts = text.split("\n\n").collect::<Vec<_>>();
        assert!(parts.len() > 1 && parts.iter().all(|part| part.contains("row-2")), "{text}");
    }

    #[test]
    fn colours_are_there_if_the_page_has_them_and_only_then() {
        let mut sheet = Sheet::new([("a", Column::Left)]);
        sheet.row([Cell::bad("MISS")]);
        assert!(!sheet.on(page(80)).contains('\x1b'));
        assert!(sheet.on(Page { width: Some(80), colours: true }).contains("\x1b["));
    }
}
