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
use reveille_model::program::{Builder, Code};
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

/// All final states: the registers of all reads, and both locations.
fn states(threads: &Threads, memory: Memory) -> BTreeSet<Vec<Value>> {
    states_with(threads, memory, Options::default())
}

fn states_with(threads: &Threads, memory: Memory, options: Options) -> BTreeSet<Vec<Value>> {
    let mut program = Builder::new();
    let locations = [program.object("x", 0), program.object("y", 0)];
    let mut registers = Vec::new();
    for (number, statements) in threads.iter().enumerate() {
        let mut code = Code::new(format!("P{number}"));
        let reads = statements.iter().filter(|statement| !matches!(statement, Store(..) | Fence(_)));
        let mut into: Vec<_> = reads.map(|_| code.observed_register()).rev().collect();
        registers.extend(into.iter().map(|register| (number, *register)));
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
                    code.set(into.pop().unwrap(), read);
                }
            });
        }
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
    fn leaving_out_interleavings_loses_no_final_state(threads in threads()) {
        for memory in Memory::ALL {
            let full = states_with(&threads, memory, Options { reduce: false, ..Options::default() });
            prop_assert_eq!(states(&threads, memory), full, "{}", memory);
        }
    }
}
