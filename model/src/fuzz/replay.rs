//! Records of executions, on random programs.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use super::generate;
use crate::code::{Execution, Limits, Location, RunEnd, fence, spawn};
use crate::explore::{Difference, Options, ReplayError, again, explore, explore_with, replay};
use crate::graphs::wait::Waits;
use crate::graphs::{Event, EventId, Graph, Record, Value, cycle::cycle};
use crate::memory::Memory;

/// An event without what does not make the execution: where it stands in the source, when it was added.
type Bare = (EventId, Value, Value, bool, bool, u16);

/// What makes an execution the one that it is.
fn essence(graph: &Graph) -> Vec<Vec<Bare>> {
    let essence = |event: &Event| {
        (event.reads_from, event.read, event.wrote, event.writes, event.blocked, event.position)
    };
    // A thread that was taken back has left its number behind.
    let alive = (0..graph.threads.len()).rposition(|thread| graph.is_alive(thread)).unwrap_or(0);
    graph.threads[..=alive].iter().map(|thread| thread.events.iter().map(essence).collect()).collect()
}

#[test]
fn every_execution_of_random_programs_has_a_record_of_its_own_from_which_it_is_made_again() {
    let (mut executions, mut cycles) = (0, 0);
    for seed in 0..300 {
        let program = generate::program(seed);
        for memory in Memory::ALL {
            let found: Arc<Mutex<Vec<Graph>>> = Arc::default();
            let visit = {
                let found = found.clone();
                move |graph: &Graph, end: &RunEnd| {
                    let mut found = found.lock().unwrap();
                    if matches!(end, RunEnd::Complete | RunEnd::Stuck) {
                        found.push(graph.clone());
                    }
                    if found.len() < 200 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                }
            };
            let options = Options { workers: 1, more_after_failure: u64::MAX, ..Options::default() };
            explore_with(memory, options, program.clone().code(), visit);
            let graphs = std::mem::take(&mut *found.lock().unwrap());
            let mut texts = HashSet::new();
            let mut execution = Execution::new(Limits::default(), Waits::Plain, Arc::default());
            for graph in &graphs {
                let text = Record::of(graph).to_string();
                assert!(texts.insert(text.clone()), "seed {seed}: {text} is another one's too");
                let record: Record = text.parse().expect("it was written so");
                assert_eq!(record, Record::of(graph));
                let (_, difference) = again(&mut execution, record, &(Arc::new(program.clone().code()) as _));
                assert_eq!(difference, None, "seed {seed}, {memory}: {text}");
                assert_eq!(essence(&execution.graph), essence(graph), "seed {seed}, {memory}: {text}");
                executions += 1;
                let is_interleaving = cycle(graph).is_none();
                assert!(is_interleaving || memory != Memory::Sc, "seed {seed}: {text}");
                // The same schedule is an execution of sequential consistency, or it is refused.
                let sc: Record = text.replacen(memory.name(), "sc", 1).parse().unwrap();
                let (_, difference) = again(&mut execution, sc, &(Arc::new(program.clone().code()) as _));
                assert_eq!(difference.is_none(), is_interleaving, "seed {seed}, {memory}: {text}");
                cycles += usize::from(!is_interleaving);
            }
        }
    }
    assert!(executions > 20_000 && cycles > 400, "{executions} executions, {cycles} of them with cycles");
}

/// Store buffering, which fails where nobody sees a store.
fn program(fenced: bool) -> impl Fn() + Send + Sync + 'static {
    use std::sync::atomic::Ordering::Relaxed;
    move || {
        let (x, y) = (Location::new("x", 0), Location::new("y", 0));
        let seen = Location::new("seen", 0);
        let other = spawn("other", move || {
            y.store(1, Relaxed);
            seen.store(x.load(Relaxed), Relaxed);
        });
        x.store(1, Relaxed);
        if fenced {
            fence(SeqCst);
        }
        let first = y.load(Relaxed);
        other.join();
        assert!(first + seen.load(Relaxed) > 0, "nobody has seen a store");
    }
}

#[test]
fn a_failure_is_made_again_and_a_text_that_is_none_of_this_program_says_why_in_one_line() {
    let options = || Options { workers: 1, ..Options::default() };
    let failed = explore(Memory::Tso, options(), program(false)).failed.expect("the stores may be late");
    let text = failed.record();
    let same = replay(Limits::default(), &text, program(false)).expect("it fails again");
    assert_eq!((&same.failure, essence(&same.graph)), (&failed.failure, essence(&failed.graph)));

    let refused = |text: &str, fenced| {
        let error = replay(Limits::default(), text, program(fenced)).expect_err("it is refused");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
        error
    };
    for malformed in
        ["", "tso", "tso.00000000", "psc.00000000.a", "tso.0.a1", "tso.00000000.1a", "tso.00000000.a~"]
    {
        assert!(matches!(refused(malformed, false), ReplayError::Malformed(..)), "{malformed}");
    }
    let huge = "tso.00000000.a99999999999";
    assert!(matches!(refused(huge, false), ReplayError::Malformed(..)));
    assert!(matches!(refused(&text, true), ReplayError::Differs(_)), "another program");
    let under_sc = text.replacen("tso", "sc", 1);
    assert!(matches!(refused(&under_sc, false), ReplayError::Differs(Difference::At(_))), "no interleaving");
    let shorter = &text[..text.rfind(|c: char| c.is_ascii_lowercase()).unwrap()];
    assert!(matches!(refused(shorter, false), ReplayError::Differs(_)), "{shorter}");
}
