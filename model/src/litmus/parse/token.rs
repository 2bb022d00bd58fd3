//! Tokens of litmus files, and what is between them.

use std::ops::Range;

use winnow::ascii::{digit1, hex_digit1, multispace0};
use winnow::combinator::{alt, not, opt, preceded, terminated};
use winnow::error::{ContextError, ErrMode, StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::stream::LocatingSlice;
use winnow::token::{one_of, take_while};

use super::super::syntax::At;
use super::super::{Error, Place};
use crate::memory::Value;

pub(super) type Input<'a> = LocatingSlice<&'a str>;

/// The text with blanks in the place of its comments, so that every offset stays.
///
/// C's comments are `//` and `/* */`, herd's `(* *)`, which nests. But C has a parenthesis before a
/// star too: within braces `(*p` is that, unless a statement could begin there.
pub(super) fn without_comments(text: &str) -> Result<String, Error> {
    let mut result = String::with_capacity(text.len());
    let (mut rest, mut depth, mut before) = (text, 0_u32, ';');
    while let Some(next) = rest.chars().next() {
        let length = match rest.as_bytes() {
            [b'/', b'/', ..] => rest.find('\n').unwrap_or(rest.len()),
            [b'/', b'*', ..] => {
                after_comment(rest, "/*", "*/").ok_or_else(|| unclosed(text, rest, "`*/`"))?
            }
            [b'(', b'*', following @ ..] => {
                let is_name =
                    following.first().is_some_and(|c| c.is_ascii_alphabetic() || b"_(&*".contains(c));
                let is_operator = depth > 0 && is_name && !matches!(before, ';' | '{' | '}');
                match is_operator {
                    true => 0,
                    false => after_comment(rest, "(*", "*)").ok_or_else(|| unclosed(text, rest, "`*)`"))?,
                }
            }
            _ => 0,
        };
        if length > 0 {
            let blank = |c: char| if c.is_whitespace() { c.to_string() } else { " ".repeat(c.len_utf8()) };
            result.extend(rest[..length].chars().map(blank));
            rest = &rest[length..];
            continue;
        }
        match next {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if !next.is_whitespace() {
            before = next;
        }
        result.push(next);
        rest = &rest[next.len_utf8()..];
    }
    Ok(result)
}

/// How long a comment is, those within it included.
fn after_comment(text: &str, open: &str, close: &str) -> Option<usize> {
    let (mut at, mut depth) = (0, 0);
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with(close) && depth > 0 {
            depth -= 1;
            at += close.len();
            if depth == 0 {
                return Some(at);
            }
        } else if rest.starts_with(open) && (depth == 0 || open == "(*") {
            depth += 1;
            at += open.len();
        } else {
            at += rest.chars().next()?.len_utf8();
        }
    }
}

fn unclosed(text: &str, comment: &str, close: &str) -> Error {
    Error::Syntax {
        place: Place::of(text, text.len() - comment.len()),
        expected: format!("{close} somewhere after this comment"),
        found: "the end of the file".to_owned(),
    }
}

/// A token: what `parser` reads, and the blanks after it.
pub(super) fn token<'a, T>(
    parser: impl Parser<Input<'a>, T, ErrMode<ContextError>>,
) -> impl Parser<Input<'a>, T, ErrMode<ContextError>> {
    terminated(parser, multispace0)
}

pub(super) fn symbol<'a>(text: &'static str) -> impl Parser<Input<'a>, (), ErrMode<ContextError>> {
    token(text).void().context(StrContext::Expected(StrContextValue::StringLiteral(text)))
}

/// A symbol that another one may begin with, but for that one.
pub(super) fn symbol_but<'a>(
    text: &'static str,
    longer: &'static [char],
) -> impl Parser<Input<'a>, (), ErrMode<ContextError>> {
    token((text, not(one_of(longer)))).void()
}

pub(super) fn keyword<'a>(text: &'static str) -> impl Parser<Input<'a>, (), ErrMode<ContextError>> {
    token((text, not(one_of(|c: char| c.is_alphanumeric() || c == '_')))).void()
}

pub(super) fn expected(what: &'static str) -> StrContext {
    StrContext::Expected(StrContextValue::Description(what))
}

pub(super) fn at<'a, T>(
    parser: impl Parser<Input<'a>, T, ErrMode<ContextError>>,
) -> impl Parser<Input<'a>, At<T>, ErrMode<ContextError>> {
    parser.with_span().map(|(it, span): (T, Range<usize>)| At { it, offset: span.start })
}

pub(super) fn identifier(input: &mut Input<'_>) -> ModalResult<At<String>> {
    let letters = (
        one_of(|c: char| c.is_ascii_alphabetic() || c == '_'),
        take_while(0.., |c: char| c.is_ascii_alphanumeric() || c == '_'),
    );
    let name = letters.take().map(|name: &str| name.to_owned());
    token(at(name)).context(expected("a name")).parse_next(input)
}

/// A number of 32 bits, decimal or hexadecimal, with C's suffixes or without.
pub(super) fn number(input: &mut Input<'_>) -> ModalResult<Value> {
    let digits = alt((
        preceded(alt(("0x", "0X")), hex_digit1).map(|digits| i64::from_str_radix(digits, 16)),
        digit1.map(|digits: &str| digits.parse()),
    ));
    let magnitude = terminated(digits, take_while(0..=3, ['u', 'U', 'l', 'L']));
    token((opt('-'), magnitude))
        .verify_map(|(minus, magnitude)| {
            let magnitude: i64 = magnitude.ok()?;
            let value = if minus.is_some() { -magnitude } else { magnitude };
            Value::try_from(value).or_else(|_| u32::try_from(value).map(|bits| bits as Value)).ok()
        })
        .context(expected("a number of 32 bits"))
        .parse_next(input)
}

pub(super) fn thread_number(input: &mut Input<'_>) -> ModalResult<usize> {
    digit1.parse_to().parse_next(input)
}
