//! The grammar of herd's C litmus files, as far as this crate understands it.

use std::ops::Range;

use winnow::ascii::{dec_int, digit1, multispace1};
use winnow::combinator::{
    alt, cut_err, delimited, eof, fail, not, opt, preceded, repeat, separated, terminated,
};
use winnow::error::{ContextError, ErrMode, StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::stream::LocatingSlice;
use winnow::token::{one_of, take_till, take_until, take_while};

use super::{Error, Place};
use crate::memory::Value;

type Input<'a> = LocatingSlice<&'a str>;

/// Something and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub it: T,
    pub offset: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Test {
    pub name: String,
    pub initial: Vec<(At<String>, Value)>,
    pub threads: Vec<Thread>,
    pub locations: Vec<At<Name>>,
    pub condition: Condition,
}

#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub number: At<usize>,
    /// Parameters: is it atomic, and its name
    pub parameters: Vec<(bool, At<String>)>,
    pub body: Vec<Statement>,
}

/// A register of a thread, or a location.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub thread: Option<usize>,
    pub name: String,
}

#[derive(Clone, Debug)]
pub(super) enum Condition {
    True,
    Equal(At<Name>, Value),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

#[derive(Clone, Debug)]
pub(super) enum Operand {
    Constant(Value),
    Register(At<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Relaxed,
    Acquire,
    Release,
    AcqRel,
    SeqCst,
}

#[derive(Clone, Debug)]
pub(super) enum Read {
    Operand(Operand),
    Plain(At<String>),
    Load {
        location: At<String>,
        order: Order,
    },
    Exchange {
        location: At<String>,
        value: Operand,
        order: Order,
    },
    FetchAdd {
        location: At<String>,
        value: Operand,
        negative: bool,
        order: Order,
    },
    CompareExchange {
        location: At<String>,
        expected: At<String>,
        new: Operand,
        success: Order,
        failure: Order,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Statement {
    /// `int r;` or `int r = ..;`
    Declare(At<String>, Option<At<Read>>),
    Assign(At<String>, At<Read>),
    /// A read-modify-write whose result nobody takes
    Discard(At<Read>),
    Store {
        location: At<String>,
        value: Operand,
        order: Order,
        offset: usize,
    },
    PlainStore(At<String>, Operand),
    Fence {
        order: Order,
        offset: usize,
    },
    If {
        register: At<String>,
        equal: bool,
        value: Value,
        then: Vec<Statement>,
        otherwise: Vec<Statement>,
    },
}

/// Reads a whole file, which holds one test.
pub(super) fn one(text: &str) -> Result<Test, Error> {
    whole(text, test)
}

/// Reads a whole file, which holds one test or more.
pub(super) fn all(text: &str) -> Result<Vec<Test>, Error> {
    whole(text, repeat(1.., test))
}

fn whole<'a, T>(
    text: &'a str,
    content: impl Parser<Input<'a>, T, ErrMode<ContextError>>,
) -> Result<T, Error> {
    delimited(blank, content, eof.context(expected("the end of the file")))
        .parse(LocatingSlice::new(text))
        .map_err(|error| {
            let offset = error.offset();
            let expected: Vec<String> = error
                .inner()
                .context()
                .filter_map(|context| match context {
                    StrContext::Expected(StrContextValue::Description(what)) => Some((*what).to_owned()),
                    StrContext::Expected(StrContextValue::StringLiteral(what)) => Some(format!("`{what}`")),
                    StrContext::Expected(StrContextValue::CharLiteral(what)) => Some(format!("`{what}`")),
                    _ => None,
                })
                .collect();
            let found = text.get(offset..).and_then(|rest| rest.split_whitespace().next());
            Error::Syntax {
                place: Place::of(text, offset),
                expected: expected.first().cloned().unwrap_or_else(|| "something else".to_owned()),
                found: found.map_or_else(|| "the end of the file".to_owned(), |word| format!("`{word}`")),
            }
        })
}

/// White space and comments.
fn blank(input: &mut Input<'_>) -> ModalResult<()> {
    let comment = alt((
        ("(*", take_until(0.., "*)"), "*)").void(),
        ("/*", take_until(0.., "*/"), "*/").void(),
        ("//", take_till(0.., '\n')).void(),
    ));
    repeat(0.., alt((multispace1.void(), comment))).parse_next(input)
}

/// A token: what `parser` reads, and the blanks after it.
fn token<'a, T>(
    parser: impl Parser<Input<'a>, T, ErrMode<ContextError>>,
) -> impl Parser<Input<'a>, T, ErrMode<ContextError>> {
    terminated(parser, blank)
}

fn symbol<'a>(text: &'static str) -> impl Parser<Input<'a>, (), ErrMode<ContextError>> {
    token(text).void().context(StrContext::Expected(StrContextValue::StringLiteral(text)))
}

fn keyword<'a>(text: &'static str) -> impl Parser<Input<'a>, (), ErrMode<ContextError>> {
    token((text, not(one_of(|c: char| c.is_alphanumeric() || c == '_')))).void()
}

fn expected(what: &'static str) -> StrContext {
    StrContext::Expected(StrContextValue::Description(what))
}

fn at<'a, T>(
    parser: impl Parser<Input<'a>, T, ErrMode<ContextError>>,
) -> impl Parser<Input<'a>, At<T>, ErrMode<ContextError>> {
    parser.with_span().map(|(it, span): (T, Range<usize>)| At { it, offset: span.start })
}

fn identifier(input: &mut Input<'_>) -> ModalResult<At<String>> {
    let letters = (
        one_of(|c: char| c.is_ascii_alphabetic() || c == '_'),
        take_while(0.., |c: char| c.is_ascii_alphanumeric() || c == '_'),
    );
    let name = letters.take().map(|name: &str| name.to_owned());
    token(at(name)).context(expected("a name")).parse_next(input)
}

fn number(input: &mut Input<'_>) -> ModalResult<Value> {
    token(dec_int).context(expected("a number")).parse_next(input)
}

fn thread_number(input: &mut Input<'_>) -> ModalResult<usize> {
    digit1.parse_to().parse_next(input)
}

fn test(input: &mut Input<'_>) -> ModalResult<Test> {
    keyword("C").context(expected("a C litmus test (`C` and its name)")).parse_next(input)?;
    cut_err(named_test).parse_next(input)
}

fn named_test(input: &mut Input<'_>) -> ModalResult<Test> {
    let name =
        token(take_till(1.., char::is_whitespace)).context(expected("the test's name")).parse_next(input)?;
    repeat::<_, _, (), _, _>(0.., token(('"', take_till(0.., '"'), '"'))).parse_next(input)?;
    let initial =
        delimited(symbol("{"), repeat(0.., initial_value), cut_err(symbol("}"))).parse_next(input)?;
    let threads = repeat(1.., thread).context(expected("a thread (`P0(..) {..}`)")).parse_next(input)?;
    let locations = opt(locations).parse_next(input)?.unwrap_or_default();
    alt((keyword("exists"), keyword("forall"), (symbol("~"), keyword("exists")).void()))
        .context(expected("`exists`, `~exists` or `forall`"))
        .parse_next(input)?;
    let condition = cut_err(condition).parse_next(input)?;
    Ok(Test { name: name.to_owned(), initial, threads, locations, condition })
}

fn initial_value(input: &mut Input<'_>) -> ModalResult<(At<String>, Value)> {
    opt(alt((keyword("int"), keyword("atomic_int")))).parse_next(input)?;
    let name =
        alt((delimited(symbol("["), identifier, cut_err(symbol("]"))), identifier)).parse_next(input)?;
    let value = cut_err(preceded(symbol("="), number)).parse_next(input)?;
    cut_err(symbol(";")).parse_next(input)?;
    Ok((name, value))
}

fn thread(input: &mut Input<'_>) -> ModalResult<Thread> {
    let number = token(preceded('P', at(thread_number))).parse_next(input)?;
    let parameters =
        delimited(cut_err(symbol("(")), separated(0.., parameter, symbol(",")), cut_err(symbol(")")))
            .parse_next(input)?;
    let body = cut_err(block).parse_next(input)?;
    Ok(Thread { number, parameters, body })
}

fn parameter(input: &mut Input<'_>) -> ModalResult<(bool, At<String>)> {
    opt(keyword("volatile")).parse_next(input)?;
    let atomic = alt((keyword("atomic_int").value(true), keyword("int").value(false)))
        .context(expected("`atomic_int *` or `int *`"))
        .parse_next(input)?;
    let name = preceded(cut_err(symbol("*")), cut_err(identifier)).parse_next(input)?;
    Ok((atomic, name))
}

fn block(input: &mut Input<'_>) -> ModalResult<Vec<Statement>> {
    delimited(
        symbol("{"),
        repeat(0.., statement),
        cut_err(symbol("}").context(expected("a statement or `}`"))),
    )
    .parse_next(input)
}

fn statement(input: &mut Input<'_>) -> ModalResult<Statement> {
    alt((conditional, terminated(simple, cut_err(symbol(";"))))).parse_next(input)
}

fn conditional(input: &mut Input<'_>) -> ModalResult<Statement> {
    keyword("if").parse_next(input)?;
    cut_err(symbol("(")).parse_next(input)?;
    let register = cut_err(identifier).parse_next(input)?;
    let compared = opt((alt((symbol("==").value(true), symbol("!=").value(false))), cut_err(number)))
        .parse_next(input)?;
    let (equal, value) = compared.unwrap_or((false, 0));
    cut_err(symbol(")")).parse_next(input)?;
    let then = cut_err(branch).parse_next(input)?;
    let otherwise = opt(preceded(keyword("else"), cut_err(branch))).parse_next(input)?.unwrap_or_default();
    Ok(Statement::If { register, equal, value, then, otherwise })
}

fn branch(input: &mut Input<'_>) -> ModalResult<Vec<Statement>> {
    alt((block, statement.map(|statement| vec![statement]))).parse_next(input)
}

fn simple(input: &mut Input<'_>) -> ModalResult<Statement> {
    alt((
        preceded(keyword("int"), (cut_err(identifier), opt(preceded(symbol("="), cut_err(at(read))))))
            .map(|(name, value)| Statement::Declare(name, value)),
        at(preceded(keyword("atomic_thread_fence"), cut_err(delimited(symbol("("), order, symbol(")")))))
            .map(|At { it, offset }| Statement::Fence { order: it, offset }),
        at(call3("atomic_store", operand)).map(|At { it: (location, value, order), offset }| {
            Statement::Store { location, value, order, offset }
        }),
        (preceded(symbol("*"), cut_err(identifier)), cut_err(preceded(symbol("="), operand)))
            .map(|(name, value)| Statement::PlainStore(name, value)),
        (identifier, preceded(symbol("="), cut_err(at(read))))
            .map(|(name, value)| Statement::Assign(name, value)),
        at(call).map(Statement::Discard),
    ))
    .context(expected("a statement"))
    .parse_next(input)
}

fn operand(input: &mut Input<'_>) -> ModalResult<Operand> {
    alt((number.map(Operand::Constant), identifier.map(Operand::Register)))
        .context(expected("a number or a register"))
        .parse_next(input)
}

fn read(input: &mut Input<'_>) -> ModalResult<Read> {
    alt((preceded(symbol("*"), cut_err(identifier)).map(Read::Plain), call, operand.map(Read::Operand)))
        .parse_next(input)
}

/// An atomic call that gives a value.
fn call(input: &mut Input<'_>) -> ModalResult<Read> {
    alt((
        load,
        call3("atomic_exchange", operand).map(|(location, value, order)| Read::Exchange {
            location,
            value,
            order,
        }),
        call3("atomic_fetch_add", operand).map(|(location, value, order)| Read::FetchAdd {
            location,
            value,
            negative: false,
            order,
        }),
        call3("atomic_fetch_sub", operand).map(|(location, value, order)| Read::FetchAdd {
            location,
            value,
            negative: true,
            order,
        }),
        compare_exchange,
    ))
    .parse_next(input)
}

/// `name(` or `name_explicit(`: is it the explicit one?
fn open<'a>(name: &'static str) -> impl Parser<Input<'a>, bool, ErrMode<ContextError>> {
    let explicit = (name, "_explicit", blank, "(").value(true);
    token(alt((explicit, (name, blank, "(").value(false))))
}

/// The order after a comma, if the call is explicit; else `seq_cst`.
fn order_if(explicit: bool) -> impl FnMut(&mut Input<'_>) -> ModalResult<Order> {
    move |input| match explicit {
        true => preceded(symbol(","), order).parse_next(input),
        false => Ok(Order::SeqCst),
    }
}

fn load(input: &mut Input<'_>) -> ModalResult<Read> {
    let explicit = open("atomic_load").parse_next(input)?;
    let location = cut_err(identifier).parse_next(input)?;
    let order = cut_err(order_if(explicit)).parse_next(input)?;
    cut_err(symbol(")")).parse_next(input)?;
    Ok(Read::Load { location, order })
}

/// A call with a location, one more argument and an order.
fn call3<'a, T>(
    name: &'static str,
    mut argument: impl Parser<Input<'a>, T, ErrMode<ContextError>>,
) -> impl Parser<Input<'a>, (At<String>, T, Order), ErrMode<ContextError>> {
    move |input: &mut Input<'a>| {
        let explicit = open(name).parse_next(input)?;
        let location = cut_err(identifier).parse_next(input)?;
        cut_err(symbol(",")).parse_next(input)?;
        let argument = cut_err(argument.by_ref()).parse_next(input)?;
        let order = cut_err(order_if(explicit)).parse_next(input)?;
        cut_err(symbol(")")).parse_next(input)?;
        Ok((location, argument, order))
    }
}

fn compare_exchange(input: &mut Input<'_>) -> ModalResult<Read> {
    let explicit = open("atomic_compare_exchange_strong").parse_next(input)?;
    let location = cut_err(identifier).parse_next(input)?;
    let expected = cut_err(preceded(symbol(","), identifier)).parse_next(input)?;
    let new = cut_err(preceded(symbol(","), operand)).parse_next(input)?;
    let success = cut_err(order_if(explicit)).parse_next(input)?;
    let failure = cut_err(order_if(explicit)).parse_next(input)?;
    cut_err(symbol(")")).parse_next(input)?;
    Ok(Read::CompareExchange { location, expected, new, success, failure })
}

fn order(input: &mut Input<'_>) -> ModalResult<Order> {
    alt((
        keyword("memory_order_relaxed").value(Order::Relaxed),
        keyword("memory_order_acquire").value(Order::Acquire),
        keyword("memory_order_release").value(Order::Release),
        keyword("memory_order_acq_rel").value(Order::AcqRel),
        keyword("memory_order_seq_cst").value(Order::SeqCst),
        fail,
    ))
    .context(expected("`memory_order_relaxed`, `_acquire`, `_release`, `_acq_rel` or `_seq_cst`"))
    .parse_next(input)
}

fn locations(input: &mut Input<'_>) -> ModalResult<Vec<At<Name>>> {
    keyword("locations").parse_next(input)?;
    let entry = terminated(at(name), cut_err(symbol(";")));
    delimited(cut_err(symbol("[")), repeat(0.., entry), cut_err(symbol("]"))).parse_next(input)
}

fn name(input: &mut Input<'_>) -> ModalResult<Name> {
    let thread = opt(terminated(token(thread_number), symbol(":"))).parse_next(input)?;
    let name = identifier.parse_next(input)?.it;
    Ok(Name { thread, name })
}

fn condition(input: &mut Input<'_>) -> ModalResult<Condition> {
    separated(1.., conjunction, symbol("\\/")).map(Condition::Any).parse_next(input)
}

fn conjunction(input: &mut Input<'_>) -> ModalResult<Condition> {
    separated(1.., proposition, symbol("/\\")).map(Condition::All).parse_next(input)
}

fn proposition(input: &mut Input<'_>) -> ModalResult<Condition> {
    let negation = preceded(alt((symbol("~"), keyword("not"))), cut_err(proposition));
    let equality = (at(name), preceded((symbol("="), opt(symbol("="))), cut_err(number)));
    alt((
        negation.map(|condition| Condition::Not(Box::new(condition))),
        delimited(symbol("("), condition, cut_err(symbol(")"))),
        keyword("true").value(Condition::True),
        equality.map(|(name, value)| Condition::Equal(name, value)),
    ))
    .context(expected("a condition"))
    .parse_next(input)
}
