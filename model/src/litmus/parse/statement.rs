//! Statements and expressions of a thread: a small part of C.

use winnow::combinator::{
    alt, cut_err, delimited, fail, not, opt, peek, preceded, repeat, separated, terminated,
};
use winnow::error::StrContext;
use winnow::prelude::*;
use winnow::token::take_while;

use super::super::program::{Binary, Unary};
use super::super::syntax::{At, Expression, Statement, Term};
use super::token::{Input, at, expected, identifier, keyword, number, symbol, symbol_but};

/// Types by which a cast is recognized.
const TYPES: &[&str] = &[
    "int",
    "unsigned",
    "long",
    "short",
    "char",
    "void",
    "const",
    "volatile",
    "intptr_t",
    "uintptr_t",
    "size_t",
];

pub(super) fn block(input: &mut Input<'_>) -> ModalResult<Vec<Statement>> {
    let statements = repeat(0.., statement).fold(Vec::new, |mut all: Vec<_>, some| {
        all.extend(some);
        all
    });
    delimited(symbol("{"), statements, cut_err(symbol("}").context(expected("a statement or `}`"))))
        .parse_next(input)
}

/// One statement may declare several variables, or be none.
fn statement(input: &mut Input<'_>) -> ModalResult<Vec<Statement>> {
    alt((
        symbol(";").map(|()| Vec::new()),
        not_read,
        conditional.map(|statement| vec![statement]),
        block,
        terminated(declaration, cut_err(symbol(";"))),
        terminated(simple, cut_err(symbol(";"))).map(|statement| vec![statement]),
    ))
    .parse_next(input)
}

/// Statements that are known, and not modelled.
fn not_read(input: &mut Input<'_>) -> ModalResult<Vec<Statement>> {
    let what = alt((
        alt((keyword("while"), keyword("for"), keyword("do"))).value("loops"),
        alt((keyword("goto"), keyword("switch"), keyword("return"))).value("jumps"),
    ));
    let what = peek(what).parse_next(input)?;
    cut_err(fail).context(StrContext::Label(what)).parse_next(input)
}

fn conditional(input: &mut Input<'_>) -> ModalResult<Statement> {
    keyword("if").parse_next(input)?;
    let condition =
        delimited(cut_err(symbol("(")), cut_err(expression), cut_err(symbol(")"))).parse_next(input)?;
    let then = cut_err(statement).context(expected("a statement")).parse_next(input)?;
    let otherwise = opt(preceded(keyword("else"), cut_err(statement))).parse_next(input)?;
    Ok(Statement::If { condition, then, otherwise: otherwise.unwrap_or_default() })
}

/// `int r0 = 0, r1`: a type is one name or more before that of the variable.
fn declaration(input: &mut Input<'_>) -> ModalResult<Vec<Statement>> {
    let mut declarator = (
        preceded(repeat::<_, _, (), _, _>(0.., symbol("*")), identifier),
        opt(preceded(symbol_but("=", &['=']), cut_err(expression))),
    );
    let (_, name) = typed_name.parse_next(input)?;
    peek(alt((symbol_but("=", &['=']), symbol(","), symbol(";")))).parse_next(input)?;
    let value = opt(preceded(symbol_but("=", &['=']), cut_err(expression))).parse_next(input)?;
    let others: Vec<_> =
        repeat(0.., preceded(symbol(","), cut_err(declarator.by_ref()))).parse_next(input)?;
    let all = std::iter::once((name, value)).chain(others);
    Ok(all.map(|(name, value)| Statement::Declare(name, value)).collect())
}

/// A type and the name after it: the type's words, and the name.
pub(super) fn typed_name(input: &mut Input<'_>) -> ModalResult<(Vec<String>, At<String>)> {
    let mut stars = |input: &mut Input<'_>| repeat::<_, _, Vec<()>, _, _>(0.., symbol("*")).parse_next(input);
    let mut words = vec![identifier.parse_next(input)?];
    let mut pointers = stars.parse_next(input)?.len();
    words.push(identifier.parse_next(input)?);
    while let Some((more, word)) = opt((stars.by_ref(), identifier)).parse_next(input)? {
        pointers += more.len();
        words.push(word);
    }
    let name = words.pop().expect("there are two at least");
    let mut words: Vec<String> = words.into_iter().map(|word| word.it).collect();
    words.extend((0..pointers).map(|_| "*".to_owned()));
    Ok((words, name))
}

fn simple(input: &mut Input<'_>) -> ModalResult<Statement> {
    let left = expression.context(expected("a statement")).parse_next(input)?;
    if !matches!(left.it, Term::Name(_) | Term::Target(_) | Term::Call(..)) {
        return not_a_statement(input);
    }
    let right = opt(preceded(symbol_but("=", &['=']), cut_err(expression))).parse_next(input)?;
    match (left.it, right) {
        (Term::Name(name), Some(value)) => Ok(Statement::Assign(At { it: name, offset: left.offset }, value)),
        (Term::Target(pointer), Some(value)) => Ok(Statement::Store(*pointer, value)),
        (it @ Term::Call(..), None) => Ok(Statement::Call(At { it, offset: left.offset })),
        _ => not_a_statement(input),
    }
}

fn not_a_statement<T>(input: &mut Input<'_>) -> ModalResult<T> {
    fail.context(expected("a statement")).parse_next(input)
}

pub(super) fn expression(input: &mut Input<'_>) -> ModalResult<Expression> {
    binary(input, 0)
}

/// Operators by how tightly they bind, the loosest first. Longer ones come before those they begin with.
const OPERATORS: &[&[(&str, &[char], Binary)]] = &[
    &[("||", &[], Binary::Or)],
    &[("&&", &[], Binary::And)],
    &[("|", &['|'], Binary::BitOr)],
    &[("^", &[], Binary::BitXor)],
    &[("&", &['&'], Binary::BitAnd)],
    &[("==", &[], Binary::Equal), ("!=", &[], Binary::Differs)],
    &[
        ("<=", &[], Binary::LessOrEqual),
        (">=", &[], Binary::GreaterOrEqual),
        ("<", &['<'], Binary::Less),
        (">", &['>'], Binary::Greater),
    ],
    &[("<<", &[], Binary::ShiftLeft), (">>", &[], Binary::ShiftRight)],
    &[("+", &[], Binary::Add), ("-", &[], Binary::Subtract)],
    &[("*", &[], Binary::Multiply), ("/", &[], Binary::Divide), ("%", &[], Binary::Remainder)],
];

fn binary(input: &mut Input<'_>, level: usize) -> ModalResult<Expression> {
    let Some(operators) = OPERATORS.get(level) else { return unary(input) };
    let mut left = binary(input, level + 1)?;
    loop {
        let mut operator = |input: &mut Input<'_>| {
            for &(text, longer, operator) in *operators {
                if opt(symbol_but(text, longer)).parse_next(input)?.is_some() {
                    return Ok(operator);
                }
            }
            fail.parse_next(input)
        };
        let Some(operator) = opt(operator.by_ref()).parse_next(input)? else { return Ok(left) };
        let right = cut_err(|input: &mut Input<'_>| binary(input, level + 1)).parse_next(input)?;
        let offset = left.offset;
        left = At { it: Term::Binary(operator, Box::new([left, right])), offset };
    }
}

fn unary(input: &mut Input<'_>) -> ModalResult<Expression> {
    let boxed = |input: &mut Input<'_>| unary.map(Box::new).parse_next(input);
    let operator = at(alt((
        number.map(Term::Number),
        preceded(symbol_but("&", &['&']), cut_err(identifier)).map(|name| Term::Address(name.it)),
        preceded(symbol("*"), cut_err(boxed)).map(Term::Target),
        preceded(symbol_but("!", &['=']), cut_err(boxed)).map(|term| Term::Unary(Unary::Not, term)),
        preceded(symbol("~"), cut_err(boxed)).map(|term| Term::Unary(Unary::Complement, term)),
        preceded(symbol("-"), cut_err(boxed)).map(|term| Term::Unary(Unary::Minus, term)),
    )));
    alt((operator, preceded(cast, unary), delimited(symbol("("), expression, cut_err(symbol(")"))), named))
        .context(expected("an expression"))
        .parse_next(input)
}

/// `(int *)`: values have no types here.
fn cast(input: &mut Input<'_>) -> ModalResult<()> {
    let word = identifier.verify(|word| TYPES.contains(&word.it.as_str()));
    let words = repeat::<_, _, (), _, _>(1.., word.void());
    let stars = take_while(0.., ['*', ' ']);
    delimited(symbol("("), (words, stars), symbol(")")).void().parse_next(input)
}

/// Arrays are not read.
pub(super) fn no_array(input: &mut Input<'_>) -> ModalResult<()> {
    cut_err(not("[")).context(StrContext::Label("arrays")).parse_next(input)
}

/// A variable or a call.
fn named(input: &mut Input<'_>) -> ModalResult<Expression> {
    let name = identifier.parse_next(input)?;
    let arguments = opt(delimited(
        symbol("("),
        separated(0.., expression, symbol(",")),
        cut_err(symbol(")").context(expected("`,` or `)`"))),
    ))
    .parse_next(input)?;
    no_array(input)?;
    let it = match arguments {
        None => Term::Name(name.it),
        Some(arguments) => Term::Call(name.it, arguments),
    };
    Ok(At { it, offset: name.offset })
}
