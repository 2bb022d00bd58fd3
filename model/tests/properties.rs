//! Laws of the memory models, on random small programs.
//!
//! The mapping under which the inclusions must hold is the usual one of compilers: on x86-TSO loads and stores of any
//! order are `mov`, every read-modify-write is locked, `fence(seq_cst)` is `mfence`, other fences are nothing.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use reveille_model::memory::Memory::{self, Rc11, Sc, Tso};
use reveille_model::memory::Order::{self, AcqRel, Acquire, Relaxed, Release};
use reveille_model::memory::{Barrier, Value};
use reveille_model::program::{Builder, Code, Expr, Object, Register, Term};
use reveille_model::search::{Options, check};

/// One statement. Locations are 0 and 1; every read goes to a register of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Statement {
    Load(usize, Order),
    Store(usize, Value, Order),
    Swap(usize, Value, Order),
    Add(usize, Order),
    CompareExchange(usize, Value, Value, Order, Order),
    Fence(Barrier),
}
use Statement::{Add, CompareExchange, Fence, Load, Store, Swap};

type Threads = Vec<Vec<Statement>>;

fn statement() -> impl Strategy<Value = Statement> {
    let location = || 0..2_usize;
    let value = || 0..3;
    let read = || select(vec![Relaxed, Acquire]);
    let write = || select(vec![Relaxed, Release]);
    let both = || select(vec![Relaxed, Acquire, Release, AcqRel]);
    prop_oneof![
        3 => (location(), read()).prop_map(|(x, order)| Load(x, order)),
        3 => (location(), value(), write()).prop_map(|(x, value, order)| Store(x, value, order)),
        1 => (location(), value(), both()).prop_map(|(x, value, order)| Swap(x, value, order)),
        1 => (location(), both()).prop_map(|(x, order)| Add(x, order)),
        1 => (location(), value(), value(), both(), read())
            .prop_map(|(x, old, new, success, failure)| CompareExchange(x, old, new, success, failure)),
        1 => select(vec![Barrier::Acquire, Barrier::Release, Barrier::AcqRel]).prop_map(Fence),
        2 => Just(Fence(Barrier::SeqCst)),
    ]
}

/// Two threads of up to four statements, or three of up to three.
fn threads() -> impl Strategy<Value = Threads> {
    let thread = |most| prop::collection::vec(statement(), 1..=most);
    prop_oneof![prop::collection::vec(thread(4), 2), prop::collection::vec(thread(3), 3)]
}

/// A register for every read.
fn registers_of(code: &mut Code, statements: &[Statement]) -> Vec<Register> {
    let reads = statements.iter().filter(|statement| !matches!(statement, Store(..) | Fence(_)));
    reads.map(|_| code.observed_register()).collect()
}

fn execute(
    code: &mut Code,
    statements: &[Statement],
    locations: [Object; 2],
    into: &mut impl Iterator<Item = Register>,
    keep: impl Fn(Register) -> Expr,
) {
    for statement in statements {
        code.scope(|code| {
            let read = match *statement {
                Load(x, order) => Some(code.load("load", locations[x], order)),
                Swap(x, value, order) => Some(code.swap("swap", locations[x], value, order)),
                Add(x, order) => Some(code.add("add", locations[x], 1, order)),
                CompareExchange(x, old, new, success, failure) => {
                    Some(code.compare_exchange("cas", locations[x], (old, new), (success, failure)))
                }
                Store(x, value, order) => {
                    code.store("store", locations[x], value, order);
                    None
                }
                Fence(barrier) => {
                    code.fence("fence", barrier);
                    None
                }
            };
            if let Some(read) = read {
                code.set(into.next().unwrap(), keep(read));
            }
        });
    }
}

/// All final states: the registers of all reads, and both locations.
fn states(threads: &Threads, memory: Memory) -> BTreeSet<Vec<Value>> {
    states_with(threads, memory, Options::default())
}

fn states_with(threads: &Threads, memory: Memory, options: Options) -> BTreeSet<Vec<Value>> {
    observed_states(threads, memory, options, 2, Expr::from)
}

/// The same, where nobody asks for the value of any but the first few locations: it is 0. And where this is kept of what is read.
fn observed_states(
    threads: &Threads,
    memory: Memory,
    options: Options,
    observed: usize,
    keep: impl Fn(Register) -> Expr,
) -> BTreeSet<Vec<Value>> {
    let mut program = Builder::new();
    let locations = [program.object("x", 0), program.object("y", 0)];
    if observed < 2 {
        program.observe_only(&locations[..observed]);
    }
    let mut registers = Vec::new();
    for (number, statements) in threads.iter().enumerate() {
        let mut code = Code::new(format!("P{number}"));
        let into = registers_of(&mut code, statements);
        registers.extend(into.iter().map(|register| (number, *register)));
        execute(&mut code, statements, locations, &mut into.into_iter(), &keep);
        program.thread(code);
    }
    let program = program.build().unwrap();
    let mut states = BTreeSet::new();
    check(&program, memory, options, |end| {
        let registers = registers.iter().map(|(thread, register)| end.register(*thread, *register));
        states.insert(registers.chain(locations.map(|x| end.value(x))).collect());
        Vec::new()
    })
    .unwrap();
    states
}

/// Two to four threads that read and write much, and read each location at most once, so that the order of what is written can be
/// forgotten.
fn readers_of_one_message() -> impl Strategy<Value = Threads> {
    let order = |orders: Vec<Order>| select(orders);
    let statement = prop_oneof![
        4 => (0..2_usize, 0..3, order(vec![Relaxed, Release])).prop_map(|(x, value, order)| Store(x, value, order)),
        3 => (0..2_usize, order(vec![Relaxed, Acquire])).prop_map(|(x, order)| Load(x, order)),
        3 => (0..2_usize, 0..3, order(vec![Relaxed, Acquire, Release, AcqRel]))
            .prop_map(|(x, value, order)| Swap(x, value, order)),
        1 => (0..2_usize, order(vec![Relaxed, AcqRel])).prop_map(|(x, order)| Add(x, order)),
        1 => (0..2_usize, 0..2).prop_map(|(x, old)| CompareExchange(x, old, 2, AcqRel, Acquire)),
        1 => Just(Fence(Barrier::SeqCst)),
    ];
    let thread = prop::collection::vec(statement, 1..=3).prop_map(|mut statements| {
        let mut read = [false; 2];
        statements.retain(|statement| match statement {
            Load(x, _) | Swap(x, ..) | Add(x, _) | CompareExchange(x, ..) => {
                !std::mem::replace(&mut read[*x], true)
            }
            _ => true,
        });
        statements
    });
    prop::collection::vec(thread, 2..=4)
}

/// Two threads that begin differently and end alike, and one that looks on.
#[derive(Clone, Debug)]
struct EndAlike {
    beginnings: [Vec<Statement>; 2],
    end: Vec<Statement>,
    other: Vec<Statement>,
}

fn end_alike() -> impl Strategy<Value = EndAlike> {
    let part = |most| prop::collection::vec(statement(), 0..=most);
    (part(1), part(2), part(2), part(2)).prop_map(|(one, two, end, other)| EndAlike {
        beginnings: [one, two],
        end,
        other,
    })
}

/// All final states: the registers of whoever looks on, and all locations. In one of them the others note what they read.
fn states_of_ends(program: &EndAlike, memory: Memory, options: Options) -> (BTreeSet<Vec<Value>>, usize) {
    let EndAlike { beginnings, end, other } = program;
    let mut program = Builder::new();
    let locations = [program.object("x", 0), program.object("y", 0)];
    let notes = program.object("notes", 0);
    for (number, beginning) in beginnings.iter().enumerate() {
        let mut code = Code::new(format!("P{number}"));
        for statement in beginning.iter().chain(end) {
            code.scope(|code| {
                let read = code.compute(-1);
                execute(code, &[*statement], locations, &mut [read].into_iter(), Expr::from);
                code.when(read.above(-1), |code| {
                    code.swap("note", notes, read.plus(1), Relaxed);
                });
            });
        }
        program.thread(code);
    }
    let mut code = Code::new("other");
    let others = registers_of(&mut code, other);
    execute(&mut code, other, [notes, locations[0]], &mut others.iter().copied(), Expr::from);
    program.thread(code);
    program.end_alike([0, 1]);
    let program = program.build().unwrap();
    let mut states = BTreeSet::new();
    let report = check(&program, memory, options, |end| {
        let registers = others.iter().map(|register| end.register(2, *register));
        let values = locations.into_iter().chain([notes]).map(|x| end.value(x));
        states.insert(registers.chain(values).collect());
        Vec::new()
    });
    (states, report.unwrap().states)
}

/// Threads that are alike: how many, and what each does before, in, and after its turn. And what another one does.
#[derive(Clone, Debug)]
struct Alike {
    number: usize,
    parts: [Vec<Statement>; 3],
    other: Vec<Statement>,
}

fn alike() -> impl Strategy<Value = Alike> {
    let part = |most| prop::collection::vec(statement(), 0..=most);
    (2..=3_usize, part(1), part(2), part(2), part(2)).prop_map(|(number, before, inside, after, other)| {
        Alike { number, parts: [before, inside, after], other }
    })
}

/// All final states: the registers of those that are alike, whoever is who; the other one's registers, and both locations.
fn nameless_states(
    alike: &Alike,
    memory: Memory,
    options: Options,
) -> BTreeSet<(Vec<Vec<Value>>, Vec<Value>)> {
    let mut program = Builder::new();
    let locations = [program.object("x", 0), program.object("y", 0)];
    let lock = program.lock("lock");
    let mut own = Vec::new();
    for number in 0..alike.number {
        let mut code = Code::new(format!("P{number}"));
        let [before, inside, after] = &alike.parts;
        own.push(registers_of(&mut code, &alike.parts.concat()));
        let mut into = own[number].iter().copied();
        execute(&mut code, before, locations, &mut into, Expr::from);
        code.locked_in_turn(("lock", "unlock"), lock, |code| {
            execute(code, inside, locations, &mut into, Expr::from)
        });
        execute(&mut code, after, locations, &mut into, Expr::from);
        program.thread(code);
    }
    let mut code = Code::new("other");
    let others = registers_of(&mut code, &alike.other);
    execute(&mut code, &alike.other, locations, &mut others.iter().copied(), Expr::from);
    program.thread(code);
    let program = program.build().unwrap();
    let mut states = BTreeSet::new();
    check(&program, memory, options, |end| {
        let values = |thread, registers: &[Register]| -> Vec<Value> {
            registers.iter().map(|register| end.register(thread, *register)).collect()
        };
        let mut of_alike: Vec<_> = own.iter().enumerate().map(|(thread, own)| values(thread, own)).collect();
        of_alike.sort();
        let mut rest = values(alike.number, &others);
        rest.extend(locations.map(|x| end.value(x)));
        states.insert((of_alike, rest));
        Vec::new()
    })
    .unwrap();
    states
}

/// The statement with each of its orders one step stronger, where there is one.
fn strengthened(statement: Statement) -> Statement {
    let read = |_| Acquire;
    let write = |_| Release;
    let both = |order| match order {
        Relaxed => Acquire,
        _ => AcqRel,
    };
    match statement {
        Load(x, order) => Load(x, read(order)),
        Store(x, value, order) => Store(x, value, write(order)),
        Swap(x, value, order) => Swap(x, value, both(order)),
        Add(x, order) => Add(x, both(order)),
        CompareExchange(x, old, new, success, failure) => {
            CompareExchange(x, old, new, both(success), read(failure))
        }
        Fence(Barrier::Acquire | Barrier::Release) => Fence(Barrier::AcqRel),
        Fence(_) => Fence(Barrier::SeqCst),
    }
}

/// Does it make no difference what nobody asks for in the end?
fn makes_no_difference(threads: &Threads) -> Result<(), TestCaseError> {
    for memory in Memory::ALL {
        let all = states(threads, memory);
        for observed in 0..2 {
            let asked = |mut state: Vec<Value>, exactly: bool| {
                let registers = state.len() - 2;
                state[registers + observed..].fill(0);
                if !exactly {
                    state[..registers].iter_mut().for_each(|value| *value = Value::from(*value != 0));
                }
                state
            };
            let exact = observed_states(threads, memory, Options::default(), observed, Expr::from);
            let expected = all.iter().cloned().map(|state| asked(state, true)).collect();
            prop_assert_eq!(exact, expected, "{} {}", memory, observed);
            let any = |read: Register| read.differs(0);
            let zero_or_not = observed_states(threads, memory, Options::default(), observed, any);
            let expected = all.iter().cloned().map(|state| asked(state, false)).collect();
            prop_assert_eq!(zero_or_not, expected, "{} {}, 0 or not", memory, observed);
        }
    }
    Ok(())
}

/// Of two messages with the same value thread 2 may read the one that teaches nothing; it was written when the other was there.
#[test]
fn of_messages_that_say_the_same_the_one_that_teaches_less_is_kept() {
    let threads = vec![
        vec![Store(1, 1, Relaxed), Store(0, 1, Release)],
        vec![Load(0, Relaxed), Store(0, 1, Relaxed)],
        vec![Swap(0, 0, Acquire), Load(1, Relaxed)],
    ];
    makes_no_difference(&threads).unwrap();
    let taught_nothing = |state: &Vec<Value>| state[..3] == [1, 1, 0];
    assert!(states(&threads, Rc11).iter().any(taught_nothing));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_sc_allows_tso_allows_and_what_tso_allows_rc11_allows(threads in threads()) {
        let [sc, tso, rc11] = [Sc, Tso, Rc11].map(|memory| states(&threads, memory));
        prop_assert!(!sc.is_empty());
        prop_assert!(sc.is_subset(&tso));
        prop_assert!(tso.is_subset(&rc11));
    }

    #[test]
    fn one_more_fence_never_adds_a_final_state(
        threads in threads(),
        thread in any::<Index>(),
        place in any::<Index>(),
        barrier in select(vec![Barrier::Acquire, Barrier::Release, Barrier::AcqRel, Barrier::SeqCst]),
    ) {
        let mut fenced = threads.clone();
        let statements = thread.get_mut(&mut fenced);
        statements.insert(place.index(statements.len() + 1), Fence(barrier));
        for memory in Memory::ALL {
            prop_assert!(states(&fenced, memory).is_subset(&states(&threads, memory)), "{}", memory);
        }
    }

    #[test]
    fn a_stronger_order_never_adds_a_final_state(threads in threads(), thread in any::<Index>(), place in any::<Index>()) {
        let mut stronger = threads.clone();
        let statement = place.get_mut(&mut thread.get_mut(&mut stronger[..])[..]);
        *statement = strengthened(*statement);
        for memory in Memory::ALL {
            prop_assert!(states(&stronger, memory).is_subset(&states(&threads, memory)), "{}", memory);
        }
    }

    #[test]
    fn with_a_full_barrier_between_each_two_statements_every_model_is_sc(threads in threads()) {
        let fenced: Threads = threads
            .iter()
            .map(|statements| statements.iter().flat_map(|statement| [*statement, Fence(Barrier::SeqCst)]).collect())
            .collect();
        let sc = states(&fenced, Sc);
        prop_assert_eq!(&states(&fenced, Tso), &sc);
        prop_assert_eq!(&states(&fenced, Rc11), &sc);
    }

    #[test]
    fn what_nobody_asks_for_in_the_end_makes_no_other_difference(threads in readers_of_one_message()) {
        makes_no_difference(&threads)?;
    }

    #[test]
    fn leaving_out_interleavings_loses_no_final_state(threads in threads()) {
        for memory in Memory::ALL {
            let full = states_with(&threads, memory, Options { reduce: false, ..Options::default() });
            prop_assert_eq!(states(&threads, memory), full, "{}", memory);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn turns_of_threads_that_are_alike_lose_no_final_state_but_for_names(alike in alike()) {
        for memory in Memory::ALL {
            let all = nameless_states(&alike, memory, Options { reduce: false, ..Options::default() });
            prop_assert_eq!(nameless_states(&alike, memory, Options::default()), all, "{}", memory);
        }
    }

    #[test]
    fn names_of_threads_that_end_alike_make_no_difference_to_anybody_else(ends in end_alike()) {
        for memory in Memory::ALL {
            let (all, many) = states_of_ends(&ends, memory, Options { symmetry: false, ..Options::default() });
            let (some, few) = states_of_ends(&ends, memory, Options::default());
            prop_assert_eq!(some, all, "{}", memory);
            prop_assert!(few <= many, "{}: {} {}", memory, few, many);
        }
    }
}
