//! Owed for ever under weak fairness.

use reveille_model::memory::Barrier::SeqCst;
use reveille_model::memory::Memory::{self, Rc11, Sc, Tso};
use reveille_model::memory::Order::{AcqRel, Acquire, Relaxed, Release};
use reveille_model::program::{Builder, Code, Program, Term};
use reveille_model::search::{End, Options, Report, Rest, Verdict, Violation, check_liveness};

fn search(program: &Program, memory: Memory) -> Report {
    let unfinished = |end: &End<'_>| {
        let threads = program.threads().iter().enumerate();
        let late = threads.filter(|(thread, _)| end.rest(*thread) != Rest::Finished);
        late.map(|(_, thread)| format!("{} has not come through", thread.name())).collect()
    };
    check_liveness(program, memory, Options::default(), unfinished).unwrap()
}

#[test]
fn a_waiter_that_spins_on_a_flag_comes_through_because_no_store_is_delayed_for_ever() {
    let mut b = Builder::new();
    let flag = b.object("flag", 0);
    let mut setter = Code::new("setter");
    setter.store("set", flag, 1, Release);
    b.thread(setter);
    let mut waiter = Code::new("waiter");
    waiter.forever(|p| {
        let seen = p.load("spin", flag, Acquire);
        p.when(seen, |p| p.leave());
    });
    b.thread(waiter);
    let program = b.build().unwrap();
    for memory in Memory::ALL {
        assert_eq!(search(&program, memory).verdict, Verdict::Complete, "{memory}");
    }
}

/// Two threads, each of which announces itself, and withdraws and tries again if it sees the other.
fn polite(retries: bool) -> Program {
    let mut b = Builder::new();
    let wants = b.array("wants", &[0, 0]);
    for me in [0, 1] {
        let mut p = Code::new(format!("thread {me}"));
        p.forever(|p| {
            p.swap("announce", wants.at(me), 1, AcqRel);
            p.fence("barrier", SeqCst);
            let other = p.load("look", wants.at(1 - me), Relaxed);
            p.when(other.is(0), |p| p.leave());
            p.swap("withdraw", wants.at(me), 0, AcqRel);
            if !retries {
                p.leave();
            }
        });
        p.swap("done", wants.at(me), 0, AcqRel);
        b.thread(p);
    }
    b.build().unwrap()
}

#[test]
fn two_threads_that_give_way_to_each_other_may_do_so_for_ever() {
    for memory in [Sc, Tso] {
        let report = search(&polite(true), memory);
        let Verdict::Violated(lasso) = report.verdict else { panic!("{report:?}") };
        let Violation::OwedForEver { debts, from } = &lasso.violation else { panic!("{lasso}") };
        assert_eq!(debts.len(), 2);
        let cycle = &lasso.steps[*from..];
        for thread in ["thread 0", "thread 1"] {
            assert!(cycle.iter().any(|step| step.thread == thread && step.site == "withdraw"), "{lasso}");
        }
        assert_eq!(search(&polite(false), memory).verdict, Verdict::Complete);
    }
}

#[test]
fn a_sleeper_that_nobody_wakes_is_owed_for_ever_too() {
    let mut b = Builder::new();
    let parker = b.object("parker", 0);
    let mut p = Code::new("sleeper");
    p.park("sleep", parker);
    b.thread(p);
    let report = search(&b.build().unwrap(), Rc11);
    let Verdict::Violated(lasso) = report.verdict else { panic!("{report:?}") };
    assert!(matches!(lasso.violation, Violation::Owed(_)));
    assert_eq!(lasso.sleepers[0].thread, "sleeper");
}

#[test]
fn a_thread_that_could_always_move_is_not_kept_waiting_by_one_that_spins() {
    let mut b = Builder::new();
    let (go, other) = (b.object("go", 0), b.object("other", 0));
    let mut spinner = Code::new("spinner");
    spinner.forever(|p| {
        let seen = p.load("spin", go, Acquire);
        p.when(seen, |p| p.leave());
    });
    b.thread(spinner);
    let mut worker = Code::new("worker");
    worker.add("work", other, 1, Relaxed);
    worker.store("release the spinner", go, 1, Release);
    b.thread(worker);
    assert_eq!(search(&b.build().unwrap(), Sc).verdict, Verdict::Complete);
}
