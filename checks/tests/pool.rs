//! What the worker pool promises, each sentence a test under loom. The same search that finds nothing in the pool finds every
//! mutant that it can see. See one again: `cargo run --release -- explain PROTOCOL [MUTANT]`.

use reveille_checks::engine::{self, Budget, ENOUGH, Engine};
use reveille_checks::report;
use reveille_checks::scenario::Protocol;
use reveille_checks::subject::pool::{MUTANTS, Mutant};
use reveille_checks::subject::{Case, Needs, PoolCase};
use reveille_checks::verdict::Verdict;
use reveille_checks::zoo::{Exhibit, Form, Shown};

/// For a search that has to find something: it ends when it has.
const TO_FIND: Budget = Budget::of_executions(ENOUGH);
/// For a search that is to find nothing. `REVEILLE_BUDGET` makes it longer.
fn to_pass() -> Budget {
    Budget::to_pass(2_000)
}

const LOOM: [Engine; 2] = [Engine::LoomSc, Engine::LoomC11];

/// Nothing is found, within the bound that is printed.
#[track_caller]
fn passes(what: &str, engine: Engine, verdict: &Verdict) {
    if let Some(counterexample) = verdict.counterexample() {
        panic!("{}\nsee it again: cargo run --release -- explain {what}", report::render(counterexample));
    }
    println!("{what}, {engine:?}: {} executions, {:?}", verdict.explored(), verdict.bound());
    assert_eq!(verdict.misses(), Some(false), "{what}, {engine:?}: {verdict:?}");
}

#[track_caller]
fn holds(protocol: Protocol) {
    let case = PoolCase::new(protocol.name(), None).unwrap();
    let mut caught = 0;
    for engine in LOOM {
        passes(protocol.name(), engine, &case.search(engine, to_pass()));
        for mutant in Mutant::of(protocol).filter(|mutant| mutant.shows_under(engine)) {
            let verdict = mutant.search(engine, TO_FIND);
            assert_eq!(
                verdict.misses(),
                Some(true),
                "{protocol}, {}, {engine:?} survives: {verdict:?}",
                mutant.name
            );
            println!(
                "{protocol}, {}, {engine:?}: found after {} executions",
                mutant.name,
                verdict.explored()
            );
            caught += 1;
        }
    }
    assert!(caught > 0, "no mutant of {protocol}: its pass says nothing");
}

#[test]
fn no_job_waits_while_the_worker_that_may_run_it_goes_to_sleep() {
    holds(Protocol::EnqueueIdle);
}

#[test]
fn a_worker_that_runs_dry_looks_at_every_list_before_it_sleeps() {
    holds(Protocol::ShardScan);
}

#[test]
fn a_worker_that_has_found_a_job_wakes_the_next_for_those_that_wait() {
    holds(Protocol::Searching);
}

#[test]
fn wakes_that_are_spared_at_first_are_made_up_for() {
    holds(Protocol::Sparing);
}

#[test]
fn two_jobs_have_two_sleeping_workers_told() {
    holds(Protocol::TwoIdle);
}

#[test]
fn a_timeout_that_fires_as_work_arrives_loses_neither_the_work_nor_the_place() {
    holds(Protocol::Timeout);
}

#[test]
fn no_more_jobs_of_an_account_run_at_a_time_than_may() {
    holds(Protocol::Maximum);
}

#[test]
fn jobs_of_one_hash_never_overlap_and_keep_their_order_across_the_accounts() {
    holds(Protocol::Hash);
}

#[test]
fn exit_wakes_the_workers_of_both_accounts() {
    holds(Protocol::Exit);
}

#[test]
fn a_cancelled_job_has_one_outcome_the_one_that_the_cancellation_says() {
    holds(Protocol::Cancel);
}

#[test]
fn a_job_that_panics_has_one_outcome_and_its_worker_lives_on() {
    holds(Protocol::Panic);
}

#[test]
fn a_worker_that_cannot_be_started_leaves_no_job_without_an_outcome() {
    holds(Protocol::NoThread);
}

#[test]
fn a_job_enqueued_during_shutdown_has_one_outcome_and_the_shutdown_ends() {
    holds(Protocol::Nested);
}

#[test]
fn a_blocked_region_lends_its_slot() {
    holds(Protocol::Blocking);
}

#[test]
fn a_raised_maximum_is_used_by_the_jobs_that_wait_already() {
    holds(Protocol::Resize);
}

#[test]
fn every_protocol_has_a_mutant_and_no_two_have_one_name() {
    for protocol in Protocol::ALL {
        let mut names: Vec<_> = Mutant::of(protocol).map(|mutant| mutant.name).collect();
        assert!(!names.is_empty(), "{protocol}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Mutant::of(protocol).count(), "{protocol}");
    }
    assert_eq!(
        Protocol::ALL.map(|protocol| Mutant::of(protocol).count()).iter().sum::<usize>(),
        MUTANTS.len()
    );
}

#[test]
fn an_unknown_mutant_gets_a_line_that_lists_those_there_are() {
    let error = PoolCase::new("timeout", Some("no-such-mistake")).unwrap_err();
    assert!(error.contains("leave-without-barrier") && error.lines().count() == 1, "{error}");
    let error = PoolCase::new("no-such-protocol", None).unwrap_err();
    assert!(error.contains("shard-scan") && error.lines().count() == 1, "{error}");
}

#[test]
fn what_any_machine_lost_once_is_found_and_its_mended_form_passes() {
    for exhibit in Exhibit::all().filter(|exhibit| exhibit.card().needs == Needs::Interleaving) {
        let [losing, mended] = Form::ALL.map(|form| Shown { exhibit, form });
        for engine in LOOM {
            let verdict = engine::search(engine, &losing, TO_FIND);
            assert_eq!(verdict.misses(), Some(true), "{exhibit}, {engine:?}: {verdict:?}");
            let verdict = engine::search(engine, &mended, to_pass());
            // Under c11 loom lets an exchange read an old value, past a store that happens before it.
            if (exhibit.name(), engine) == ("aborted-exclusive", Engine::LoomC11) {
                let judge = engine::search(Engine::ExactRc11, &mended, TO_FIND);
                let verdict = verdict.adjudicated(Engine::ExactRc11, &judge);
                assert!(matches!(verdict, Verdict::Alarm { .. }), "no alarm any more: {verdict:?}");
                continue;
            }
            passes(exhibit.name(), engine, &verdict);
        }
    }
}
