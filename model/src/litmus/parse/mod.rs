//! The grammar of herd's C litmus files, as far as this crate understands it. A call is only a name
//! with arguments here; what it means is decided [later](super::calls).

mod statement;
mod token;

use winnow::ascii::{multispace0, till_line_ending};
use winnow::combinator::{alt, cut_err, delimited, eof, not, opt, preceded, repeat, separated};
use winnow::error::{ContextError, ErrMode, StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::stream::LocatingSlice;
use winnow::token::take_till;

use self::statement::{block, no_array, typed_name};
use self::token::{
    Input, at, expected, identifier, keyword, number, symbol, symbol_but, thread_number, token,
    without_comments,
};
use super::program::Binary;
use super::syntax::{At, Condition, Constant, Initial, Kind, Name, Test, Thread};
use super::{Error, Place};

/// Reads a whole file, which holds one test.
pub(super) fn one(text: &str) -> Result<Test, Error> {
    whole(text, test)
}

/// Reads a whole file, which holds one test or more.
pub(super) fn all(text: &str) -> Result<Vec<Test>, Error> {
    whole(text, |input: &mut Input<'_>| repeat(1.., test).parse_next(input))
}

fn whole<T>(text: &str, content: impl Fn(&mut Input<'_>) -> ModalResult<T>) -> Result<T, Error> {
    let bare = without_comments(text)?;
    delimited(multispace0, content, eof.context(expected("the end of the file")))
        .parse(LocatingSlice::new(bare.as_str()))
        .map_err(|error| syntax_error(text, error.offset(), error.inner()))
}

fn syntax_error(text: &str, offset: usize, context: &ContextError) -> Error {
    let label = context.context().find_map(|context| match context {
        StrContext::Label(what) => Some(*what),
        _ => None,
    });
    if let Some(what) = label {
        let rest = &text[offset..];
        let letters = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let name = rest.chars().take(letters.max(1)).collect();
        return Error::NotRead { place: Place::of(text, offset), what, name };
    }
    let expected = context.context().find_map(|context| match context {
        StrContext::Expected(StrContextValue::Description(what)) => Some((*what).to_owned()),
        StrContext::Expected(StrContextValue::StringLiteral(what)) => Some(format!("`{what}`")),
        _ => None,
    });
    Error::expected(text, offset, expected.as_deref().unwrap_or("something else"))
}

fn test(input: &mut Input<'_>) -> ModalResult<Test> {
    keyword("C").context(expected("a C litmus test (`C` and its name)")).parse_next(input)?;
    cut_err(named_test).parse_next(input)
}

fn named_test(input: &mut Input<'_>) -> ModalResult<Test> {
    let name =
        token(take_till(1.., char::is_whitespace)).context(expected("the test's name")).parse_next(input)?;
    repeat::<_, _, (), _, _>(0.., header).parse_next(input)?;
    let initial = delimited(symbol("{"), repeat(0.., initial), cut_err(symbol("}"))).parse_next(input)?;
    let initial: Vec<Option<Initial>> = initial;
    let threads = repeat(1.., thread).context(expected("a thread (`P0(..) {..}`)")).parse_next(input)?;
    let (mut observed, mut filter) = (Vec::new(), Condition::True);
    loop {
        if let Some(more) = opt(locations).parse_next(input)? {
            observed.extend(more);
        } else if opt(keyword("filter")).parse_next(input)?.is_some() {
            filter = cut_err(condition).parse_next(input)?;
        } else {
            break;
        }
    }
    let quantifier = alt((keyword("exists"), keyword("forall"), (symbol("~"), keyword("exists")).void()));
    let condition = opt(preceded(quantifier, cut_err(condition))).parse_next(input)?;
    opt(symbol(";")).parse_next(input)?;
    if condition.is_none() {
        // Whatever comes must be another test.
        alt((eof.void(), winnow::combinator::peek(keyword("C"))))
            .context(expected("`exists`, `~exists` or `forall`"))
            .parse_next(input)?;
    }
    let name = name.to_owned();
    let initial = initial.into_iter().flatten().collect();
    let condition = condition.unwrap_or(Condition::True);
    Ok(Test { name, initial, threads, locations: observed, filter, condition })
}

/// What generators write between a test's name and its locations: `"text"`, and lines as `Cycle=Rfe PodRR Fre`.
fn header(input: &mut Input<'_>) -> ModalResult<()> {
    let quoted = ('"', take_till(0.., '"'), '"').void();
    let line = (identifier, symbol("="), till_line_ending).void();
    token(alt((quoted, line))).parse_next(input)
}

/// `x=1;`, `int x = 1;`, `int *p = &x;`, `[x]=1;`, `0:r1=x;`, or only `int x;`. The last `;` may be missing.
fn initial(input: &mut Input<'_>) -> ModalResult<Option<Initial>> {
    if opt(symbol(";")).parse_next(input)?.is_some() {
        return Ok(None);
    }
    let typed =
        typed_name.map(|(words, name)| (Some(kind_of(&words)), At { it: name.it, offset: name.offset }));
    let typed =
        typed.map(|(kind, At { it: name, offset })| (kind, At { it: Name { thread: None, name }, offset }));
    let stars = repeat::<_, _, (), _, _>(0.., symbol("*"));
    let typed_register = preceded((identifier, stars), at(register)).map(|name| (None, name));
    let (kind, name) = alt((typed, typed_register, at(name).map(|name| (None, name)))).parse_next(input)?;
    no_array(input)?;
    let value = opt(preceded(symbol("="), cut_err(constant))).parse_next(input)?;
    cut_err(alt((symbol(";"), winnow::combinator::peek(symbol("}")))))
        .context(expected("`;`"))
        .parse_next(input)?;
    Ok(Some(Initial { name, kind, value: value.unwrap_or(Constant::Number(0)) }))
}

/// A number, an address, or a number in `ATOMIC_INIT()`.
fn constant(input: &mut Input<'_>) -> ModalResult<Constant> {
    let init = delimited((keyword("ATOMIC_INIT"), symbol("(")), number, cut_err(symbol(")")));
    alt((
        number.map(Constant::Number),
        init.map(Constant::Number),
        preceded(opt(symbol("&")), identifier).map(Constant::Address),
    ))
    .context(expected("a number or an address"))
    .parse_next(input)
}

fn kind_of(words: &[String]) -> Kind {
    let has = |test: fn(&str) -> bool| words.iter().any(|word| test(word));
    if has(|word| word == "spinlock_t") {
        Kind::Lock
    } else if has(|word| matches!(word, "atomic_t" | "atomic_long_t" | "atomic64_t")) {
        Kind::KernelAtomic
    } else if has(|word| word.starts_with("atomic_") || word == "_Atomic") {
        Kind::Atomic
    } else {
        Kind::Plain
    }
}

fn thread(input: &mut Input<'_>) -> ModalResult<Thread> {
    (opt(keyword("static")), opt(keyword("void"))).parse_next(input)?;
    let number = token(preceded('P', at(thread_number))).parse_next(input)?;
    let parameters =
        delimited(cut_err(symbol("(")), separated(0.., parameter, symbol(",")), cut_err(symbol(")")))
            .parse_next(input)?;
    let body = cut_err(block).parse_next(input)?;
    Ok(Thread { number, parameters, body })
}

fn parameter(input: &mut Input<'_>) -> ModalResult<(Kind, At<String>)> {
    typed_name
        .verify(|(words, _)| words.iter().any(|word| word == "*"))
        .context(expected("a pointer (`atomic_int *x`, `int *x`)"))
        .map(|(words, name)| (kind_of(&words), name))
        .parse_next(input)
}

fn locations(input: &mut Input<'_>) -> ModalResult<Vec<At<Name>>> {
    keyword("locations").parse_next(input)?;
    cut_err(symbol("[")).parse_next(input)?;
    let names = separated(0.., at(name), repeat::<_, _, (), _, _>(1.., symbol(";"))).parse_next(input)?;
    repeat::<_, _, (), _, _>(0.., symbol(";")).parse_next(input)?;
    cut_err(symbol("]")).parse_next(input)?;
    Ok(names)
}

/// `0:r0`.
fn register(input: &mut Input<'_>) -> ModalResult<Name> {
    (token(thread_number), preceded(symbol(":"), cut_err(identifier)))
        .map(|(thread, name)| Name { thread: Some(thread), name: name.it })
        .parse_next(input)
}

/// `x`, `[x]`, `*x` or `0:r0`.
fn name(input: &mut Input<'_>) -> ModalResult<Name> {
    let bracketed = delimited(symbol("["), identifier, cut_err(symbol("]")));
    let location = alt((bracketed, preceded(opt(symbol("*")), identifier)));
    alt((register, location.map(|name| Name { thread: None, name: name.it }))).parse_next(input)
}

/// `=>` binds loosest, then `\/`, then `/\`.
fn condition(input: &mut Input<'_>) -> ModalResult<Condition> {
    let left = disjunction.parse_next(input)?;
    match opt(preceded(symbol("=>"), cut_err(condition))).parse_next(input)? {
        None => Ok(left),
        Some(right) => Ok(Condition::Any(vec![Condition::Not(Box::new(left)), right])),
    }
}

fn disjunction(input: &mut Input<'_>) -> ModalResult<Condition> {
    separated(1.., conjunction, alt((symbol("\\/"), symbol("||")))).map(Condition::Any).parse_next(input)
}

fn conjunction(input: &mut Input<'_>) -> ModalResult<Condition> {
    separated(1.., proposition, alt((symbol("/\\"), symbol("&&")))).map(Condition::All).parse_next(input)
}

fn proposition(input: &mut Input<'_>) -> ModalResult<Condition> {
    let negation = preceded(alt((symbol_but("~", &[]), keyword("not"))), cut_err(proposition));
    let turned = (number, not(symbol(":")), comparison(), cut_err(at(name)));
    alt((
        negation.map(|condition| Condition::Not(Box::new(condition))),
        delimited(symbol("("), condition, cut_err(symbol(")"))),
        keyword("true").value(Condition::True),
        keyword("false").value(Condition::False),
        turned.map(|(value, (), comparison, name)| {
            Condition::Compare(name, comparison, Constant::Number(value))
        }),
        (at(name), comparison(), at(register))
            .map(|(left, comparison, right)| Condition::CompareBoth(left, comparison, right)),
        (at(name), cut_err((comparison(), constant)))
            .map(|(name, (comparison, value))| Condition::Compare(name, comparison, value)),
    ))
    .context(expected("a condition"))
    .parse_next(input)
}

fn comparison<'a>() -> impl Parser<Input<'a>, Binary, ErrMode<ContextError>> {
    alt((
        symbol("==").value(Binary::Equal),
        symbol("!=").value(Binary::Differs),
        symbol("<>").value(Binary::Differs),
        symbol_but("=", &['>']).value(Binary::Equal),
    ))
    .context(expected("`=` or `!=`"))
}
