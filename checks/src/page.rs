//! The page that a text is printed on: how wide it is, and whether it has colours.
//!
//! A terminal has an edge, and a line that is longer than that is broken by it anywhere. So prose is wrapped
//! between words here, and a [`Sheet`](crate::sheet::Sheet) makes its table fit. A pipe and a file have no
//! edge: a program that reads them wants whole lines.

use std::env;
use std::io::IsTerminal;
use std::os::fd::AsFd;

/// Where a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The columns of a terminal; `None` for a pipe or a file.
    pub width: Option<usize>,
    /// Whether what is good, bad and odd has a colour.
    pub colours: bool,
}

/// The columns of a terminal that does not tell, as one on a serial line.
const USUAL: usize = 80;

/// No table fits less.
const LEAST: usize = 40;

/// Prose is wrapped here where nothing else bounds it: longer lines are hard to read.
const PROSE: usize = 100;

impl Page {
    /// A pipe or a file.
    pub const PLAIN: Self = Self { width: None, colours: false };

    /// The page behind a stream. Colours are for terminals, unless `NO_COLOR` is set and not empty.
    pub fn of(stream: &(impl AsFd + IsTerminal)) -> Self {
        if !stream.is_terminal() {
            return Self::PLAIN;
        }
        let columns = match rustix::termios::tcgetwinsize(stream) {
            Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
            _ => USUAL,
        };
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        Self { width: Some(columns.max(LEAST)), colours: !no_color && !is_dumb }
    }

    /// A text whose lines are all short enough, as a terminal needs it; a pipe gets it as it is.
    pub fn fit(self, text: &str) -> String {
        self.width.map_or_else(|| text.to_owned(), |width| wrap(text, width))
    }

    /// Prose, wrapped on every page.
    pub fn prose(self, text: &str) -> String {
        wrap(text, self.width.unwrap_or(PROSE).min(PROSE))
    }
}

/// The text with its long lines broken between words. What follows a break is indented as the line is, or
/// as the text behind the gap of two spaces is in a line such as `name   what it means`.
pub fn wrap(text: &str, width: usize) -> String {
    let lines: Vec<String> = text.split('\n').flat_map(|line| wrap_line(line, width)).collect();
    lines.join("\n")
}

/// No indentation takes more than this share of a page.
const DEEPEST: usize = 3;

fn wrap_line(line: &str, width: usize) -> Vec<String> {
    // What has colours is a table's, and fits already.
    if line.contains('\x1b') {
        return vec![line.to_owned()];
    }
    let indent = indentation(line).min(width / DEEPEST);
    let mut lines = Vec::new();
    // In characters: all that is printed here is one column wide.
    let mut rest: Vec<char> = line.chars().collect();
    while rest.len() > width {
        // A break inside the indentation would break nothing off.
        let cut = (indent + 1..=width).rev().find(|&at| rest[at] == ' ').unwrap_or(width);
        let tail = rest.split_off(cut);
        lines.push(rest.iter().collect::<String>().trim_end().to_owned());
        rest = vec![' '; indent];
        rest.extend(tail.into_iter().skip_while(|&char| char == ' '));
    }
    lines.push(rest.into_iter().collect());
    lines
}

/// The column at which the text of a line begins: behind its gap, if it has one.
fn indentation(line: &str) -> usize {
    let chars: Vec<char> = line.chars().collect();
    let start = chars.iter().take_while(|&&char| char == ' ').count();
    let gap = (start..chars.len().saturating_sub(2)).find(|&at| chars[at..at + 2] == [' ', ' ']);
    match gap {
        Some(gap) => gap + chars[gap..].iter().take_while(|&&char| char == ' ').count(),
        None => start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_broken_between_words_and_the_rest_is_indented_as_its_text() {
        assert_eq!(wrap("name  what it means here", 14), "name  what it\n    means here");
        assert_eq!(wrap("  one two three", 9), "  one two\n  three");
        assert_eq!(wrap("short\n\nlines", 9), "short\n\nlines");
    }

    #[test]
    fn no_line_is_longer_than_the_page_whatever_is_in_it() {
        let text = "a  gap and then words; onewordthatislongerthanthewholepageis, and some more of them";
        for width in 8..90 {
            let wrapped = wrap(text, width);
            assert!(wrapped.lines().all(|line| line.chars().count() <= width), "{width}:\n{wrapped}");
            let kept = |text: &str| text.chars().filter(|char| !char.is_whitespace()).collect::<String>();
            assert_eq!(kept(&wrapped), kept(text), "{width}");
        }
    }
}
