//! The exact engine against brute force, on random programs.
//!
//! ```text
//! REVEILLE_FUZZ=1000000 cargo test --release -p reveille-model fuzz    # so many programs
//! REVEILLE_FUZZ_SEED=17 cargo test --release -p reveille-model engine_finds -- --nocapture    # this one
//! ```

mod axioms;
mod brute;
mod generate;
mod program;
mod replay;

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use brute::{Allowed, Bare, Set};
use foldhash::fast::FixedState;
use program::Program;

use crate::code::{Limits, RunEnd};
use crate::explore::{Options, explore_with};
use crate::graphs::rules::{Rule, tests::LEFT_OUT};
use crate::graphs::wait::Waits;
use crate::memory::Memory;

/// Programs with more graphs than these are left out. The largest ones take most of the time.
const MOST_GRAPHS: usize = 500;

/// The same where one asks for more than the tests do.
const MOST_GRAPHS_WHEN_ASKED: usize = 3_000;

/// More, if it is about one program only.
fn most_graphs() -> usize {
    match (seed(), asked()) {
        (Some(_), _) => usize::MAX,
        (None, Some(_)) => MOST_GRAPHS_WHEN_ASKED,
        (None, None) => MOST_GRAPHS,
    }
}

/// The only program that is asked for.
fn seed() -> Option<u64> {
    std::env::var("REVEILLE_FUZZ_SEED").ok().map(|seed| seed.parse().expect("REVEILLE_FUZZ_SEED is a number"))
}

/// So many programs are enough to see that a rule is left out.
const MOST_PROGRAMS_FOR_A_RULE: u64 = 4_000;

fn asked() -> Option<u64> {
    std::env::var("REVEILLE_FUZZ").ok().map(|n| n.parse().expect("REVEILLE_FUZZ is a number"))
}

/// How many programs.
fn programs() -> u64 {
    asked().unwrap_or(if cfg!(debug_assertions) { 200 } else { 12_500 })
}

/// What the engine says about a program.
struct Searched {
    /// Executions, those that got stuck with `true`
    executions: Vec<(Bare, bool)>,
    stale: u64,
    /// Why it did not come to its end
    failed: Option<String>,
}

/// All executions by the engine. It stops after `most` graphs, executions or not.
fn search(program: &Program, memory: Memory, waits: Waits, most: usize) -> Searched {
    let found = Arc::new(Mutex::new((Vec::new(), 0)));
    let visit = {
        let (found, program) = (found.clone(), program.clone());
        move |graph: &crate::graphs::Graph, end: &RunEnd| {
            let mut found = found.lock().unwrap();
            match end {
                RunEnd::Complete => found.0.push((Bare::of(graph, &program), false)),
                RunEnd::Stuck => found.0.push((Bare::of(graph, &program), true)),
                RunEnd::Stale => found.1 += 1,
                RunEnd::Failed(_) => return ControlFlow::Break(()),
            }
            if found.0.len() + found.1 > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    };
    // The rules that are left out are the calling thread's.
    let limits = Limits { silence: None, ..Limits::default() };
    let options = Options { workers: 1, limits, more_after_failure: u64::MAX, waits, ..Options::default() };
    let report = explore_with(memory, options, program.clone().code(), visit);
    let mut found = found.lock().unwrap();
    let failed = match report.failed {
        Some(failed) if failed.failure != crate::code::Failure::Stuck => Some(failed.failure.to_string()),
        _ if found.0.len() + found.1 > most => Some("it does not end".to_owned()),
        _ => None,
    };
    Searched { executions: std::mem::take(&mut found.0), stale: found.1 as u64, failed }
}

/// What the engine has wrong, compared with the brute force.
fn wrong(searched: &Searched, allowed: &[&Allowed]) -> Option<String> {
    let mut text =
        searched.failed.iter().map(|failure| format!("the engine fails: {failure}\n")).collect::<String>();
    let mut times: HashMap<(&Bare, bool), u32, FixedState> = HashMap::default();
    for (graph, stuck) in &searched.executions {
        *times.entry((graph, *stuck)).or_default() += 1;
    }
    let should: Set<(&Bare, bool)> = allowed.iter().map(|allowed| (&allowed.graph, allowed.stuck)).collect();
    assert_eq!(should.len(), allowed.len(), "the brute force finds each execution once");
    let mut count = [0; 3];
    let mut say = |kind: usize, what: &str, graph: &Bare| {
        count[kind] += 1;
        if count[kind] == 1 {
            writeln!(text, "{what}:\n{}", show(graph)).unwrap();
        }
    };
    for (&(graph, stuck), &times) in &times {
        if !should.contains(&(graph, stuck)) {
            say(0, "not allowed", graph);
        }
        if times > 1 {
            say(1, "found more than once", graph);
        }
    }
    for &(graph, stuck) in &should {
        if !times.contains_key(&(graph, stuck)) {
            say(2, "missing", graph);
        }
    }
    if text.is_empty() {
        return None;
    }
    let [more, twice, less] = count;
    write!(text, "{} executions, of which {more} not allowed, {twice} repeated, {less} missing", times.len())
        .unwrap();
    Some(text)
}

fn show(graph: &Bare) -> String {
    let mut text = String::new();
    for (thread, steps) in graph.threads.iter().enumerate() {
        for (index, step) in steps.iter().enumerate() {
            write!(text, "    {thread}.{index} {:?}", step.op).unwrap();
            if step.op.reads() {
                write!(text, " reads {} from {:?}", step.read, step.reads_from).unwrap();
            }
            if let Some(wrote) = step.wrote {
                write!(text, " writes {wrote}").unwrap();
            }
            text.push_str(if step.blocked { " blocked\n" } else { "\n" });
        }
    }
    write!(text, "    coherence {:?}", graph.coherence).unwrap();
    text
}

/// Sums over programs.
#[derive(Default)]
struct Sums {
    programs: AtomicU64,
    too_large: AtomicU64,
    executions: [AtomicU64; 3],
    stuck: [AtomicU64; 3],
    /// In the plain form of waits, and in the retry form
    stale: [AtomicU64; 2],
}

/// A memory model and a form of waits.
type Search = (Memory, Waits);

/// The first search in which the engine is wrong about the program, and what is wrong. `None` if it is right, or if the
/// program is too large.
fn compare(program: &Program, sums: &Sums) -> Option<(Search, String)> {
    let Some(allowed) = brute::executions(program, most_graphs()) else {
        sums.too_large.fetch_add(1, Relaxed);
        return None;
    };
    sums.programs.fetch_add(1, Relaxed);
    judge(program, &allowed, sums)
}

/// See [`compare`].
fn judge(program: &Program, allowed: &[Allowed], sums: &Sums) -> Option<(Search, String)> {
    Memory::ALL.into_iter().enumerate().find_map(|(index, memory)| {
        let allowed: Vec<&Allowed> = allowed.iter().filter(|allowed| allowed.by[index]).collect();
        sums.executions[index].fetch_add(allowed.len() as u64, Relaxed);
        sums.stuck[index].fetch_add(allowed.iter().filter(|allowed| allowed.stuck).count() as u64, Relaxed);
        [Waits::Plain, Waits::Retry].into_iter().zip(&sums.stale).find_map(|(waits, stale)| {
            let searched = search(program, memory, waits, 20 * allowed.len() + 1000);
            stale.fetch_add(searched.stale, Relaxed);
            let all_retry = waits == Waits::Retry && !program.waits_for_words();
            let wrong = match wrong(&searched, &allowed) {
                None if all_retry && searched.stale > 0 => Some("redundant ends".to_owned()),
                wrong => wrong,
            };
            wrong.map(|wrong| ((memory, waits), wrong))
        })
    })
}

/// The smallest program that is wrong still, and what is wrong.
fn shrink(mut program: Program, mut wrong: (Search, String)) -> (Program, Search, String) {
    let sums = Sums::default();
    while let Some((smaller, why)) = program
        .smaller()
        .into_iter()
        .filter(|smaller| smaller.gives_back_what_it_took())
        .find_map(|smaller| compare(&smaller, &sums).map(|wrong| (smaller, wrong)))
    {
        (program, wrong) = (smaller, why);
    }
    (program, wrong.0, wrong.1)
}

/// Does it for each of so many seeds, on all CPUs.
fn for_seeds(seeds: std::ops::Range<u64>, each: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Relaxed)).filter(|seed| seeds.contains(seed)) {
                    each(seed);
                }
            });
        }
    });
}

#[test]
fn the_engine_finds_what_brute_force_finds() {
    let sums = Sums::default();
    let only = seed();
    let seeds = only.map_or(0..programs(), |seed| seed..seed + 1);
    let start = std::time::Instant::now();
    for_seeds(seeds, |seed| {
        let program = generate::program(seed);
        if only.is_some() {
            println!("{program}");
        }
        if let Some(wrong) = compare(&program, &sums) {
            let (smaller, (memory, waits), wrong) = shrink(program.clone(), wrong);
            panic!(
                "seed {seed}, {memory}, {waits:?}: program\n{program}shrunk to\n{smaller}{wrong}\nsee REVEILLE_FUZZ_SEED={seed}"
            );
        }
    });
    let load = |sums: &[AtomicU64; 3]| sums.each_ref().map(|sum| sum.load(Relaxed));
    let [plain, retry] = sums.stale.each_ref().map(|sum| sum.load(Relaxed));
    println!(
        "{} programs, {} of more than {} graphs left out; executions {:?}, of which stuck {:?}; stale ends: {plain} in the plain form of \
         waits, {retry} in the retry form; {:?}",
        sums.programs.load(Relaxed),
        sums.too_large.load(Relaxed),
        most_graphs(),
        load(&sums.executions),
        load(&sums.stuck),
        start.elapsed()
    );
}

/// The executions that the engine finds, without orders and fences. `None` if they are too many.
fn found(program: &Program, memory: Memory) -> Option<Set<(Bare, bool)>> {
    let searched = search(program, memory, Waits::Retry, 1_000);
    let executions = searched.executions.into_iter();
    searched
        .failed
        .is_none()
        .then(|| executions.map(|(graph, stuck)| (graph.without_orders(), stuck)).collect())
}

/// What SC allows is allowed on x86-TSO, and what that allows in RC11. A stronger order or one more fence allows
/// nothing new. And with `seq_cst` everywhere all models are SC.
#[test]
fn the_models_obey_their_laws() {
    let judged = AtomicU64::new(0);
    let judge = |seed: u64| {
        let mut program = generate::program(seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut before = Memory::ALL.map(|memory| found(&program, memory));
        let fails = |law: &str, program: &Program| panic!("seed {seed}: {law}\n{program}");
        for _ in 0..3 {
            let [Some(sc), Some(tso), Some(rc11)] = &before else { return };
            if !sc.is_subset(tso) || !tso.is_subset(rc11) {
                fails("the models are not in each other", &program);
            }
            let mut stronger = program.stronger();
            let now = stronger.swap_remove(rng.usize(..stronger.len()));
            let after = Memory::ALL.map(|memory| found(&now, memory));
            for (before, after) in before.iter().flatten().zip(after.iter().flatten()) {
                if !after.is_subset(before) {
                    fails(&format!("this allows more than\n{program}"), &now);
                }
            }
            (program, before) = (now, after);
        }
        let all = Memory::ALL.map(|memory| found(&program.clone().seq_cst(), memory));
        if all[0] != before[0] || all[1] != all[0] || all[2] != all[0] {
            fails("seq_cst everywhere is not SC", &program);
        }
        judged.fetch_add(1, Relaxed);
    };
    for_seeds(0..programs() / 10, judge);
    println!("{} programs obey the laws", judged.into_inner());
}

/// Leaves out one rule of the engine after the other. Each time a program shows that it is needed.
#[test]
fn every_rule_is_needed() {
    let mut left: Vec<Rule> = Rule::ALL.to_vec();
    // `LooksAgain` shows in few programs. That one is known spares the search for it, as long as programs are made as they are.
    let known = [2276];
    for seed in (0..400).chain(known).chain(400..MOST_PROGRAMS_FOR_A_RULE) {
        let program = generate::program(seed);
        let Some(allowed) = brute::executions(&program, MOST_GRAPHS_WHEN_ASKED) else { continue };
        left.retain(|&rule| {
            LEFT_OUT.set(Some(rule));
            // Without a rule the engine may come to what it holds to be impossible.
            let judged = panic::catch_unwind(|| judge(&program, &allowed, &Sums::default()));
            LEFT_OUT.set(None);
            let why = match judged {
                Ok(None) => return true,
                Ok(Some(((memory, waits), why))) => {
                    format!("{memory}, {waits:?}, {}", why.lines().last().unwrap_or(""))
                }
                Err(_) => "a panic".to_owned(),
            };
            println!("{rule:?}: {} programs; {why}", seed + 1);
            false
        });
        if left.is_empty() {
            return;
        }
    }
    panic!("nobody misses {left:?}");
}
