//! Threads that are alike: a search that tries only one order of their turns finds what one finds that tries all.

use std::collections::BTreeSet;
use std::mem::Discriminant;
use std::sync::Mutex;

use reveille_model::memory::Memory::{self, Sc, Tso};
use reveille_model::memory::Order::Relaxed;
use reveille_model::program::{BuildError, Builder, Code, Object, Program, Term};
use reveille_model::protocol::poll_wake::{Consumer, Gate, PollWake, Size};
use reveille_model::search::{End, Options, Report, Verdict, Violation, check, check_liveness};

const NO_SYMMETRY: Options = Options { reduce: true, symmetry: false, max_states: None, max_time: None };

/// Nothing, or what kind of violation there is; of a miss, after how many steps.
fn kind(report: &Report) -> Option<(Discriminant<Violation>, Option<usize>)> {
    let Verdict::Violated(found) = &report.verdict else { return None };
    let length = matches!(found.violation, Violation::Owed(_)).then_some(found.steps.len());
    Some((std::mem::discriminant(&found.violation), length))
}

/// Compares the two searches of these cells.
fn compare(cells: Vec<(Gate, Consumer, Memory, Size)>) {
    let cells = Mutex::new(cells.into_iter());
    let wrong = Mutex::new(Vec::new());
    // Two threads, because the machines this has to be quick on have two processors.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((gate, consumer, memory, size)) = cells.lock().unwrap().next() else { return };
                    let protocol = PollWake::new(gate, consumer, size, None).unwrap();
                    let in_turn = protocol.check(memory, Options::default()).unwrap();
                    let all = protocol.check(memory, NO_SYMMETRY).unwrap();
                    let another_kind = matches!(consumer, Consumer::TwoPollers | Consumer::PasserBy);
                    let fewer = if size.pollers - u8::from(another_kind) > 1 {
                        in_turn.states < all.states
                    } else {
                        in_turn.states == all.states
                    };
                    if kind(&in_turn) != kind(&all) || !fewer {
                        wrong.lock().unwrap().push(format!("{gate} {consumer} {memory} {size:?}"));
                    }
                }
            });
        }
    });
    assert_eq!(wrong.into_inner().unwrap(), Vec::<String>::new());
}

/// Every gate and consumer with two pollers; with one completion where two take too long.
#[test]
fn turns_change_no_verdict_and_no_length_of_a_shortest_miss() {
    let mut cells = Vec::new();
    for &consumer in Consumer::ALL {
        for memory in Memory::ALL {
            let completions = match consumer {
                Consumer::TwoPollers | Consumer::Persistent | Consumer::ExclusivePair => 2,
                Consumer::PollOnce if memory == Sc => 2,
                _ => 1,
            };
            let size = Size { completions, pollers: 2, spurious: 0 };
            cells.extend(Gate::ALL.iter().map(|gate| (*gate, consumer, memory, size)));
        }
    }
    compare(cells);
}

#[test]
fn nor_do_the_turns_of_three() {
    let size = Size { completions: 1, pollers: 3, spurious: 0 };
    let mut cells = Vec::new();
    for gate in [Gate::HasSleeper, Gate::ArmedLate, Gate::PerEntry] {
        for consumer in [
            Consumer::PollOnce,
            Consumer::TwoPollers,
            Consumer::Persistent,
            Consumer::ExclusivePair,
            Consumer::PasserBy,
        ] {
            cells.extend([Sc, Tso].map(|memory| (gate, consumer, memory, size)));
        }
    }
    compare(cells);
}

/// Each gate with two producers, who end alike.
#[test]
fn nor_do_names_of_threads_that_end_alike() {
    for &gate in Gate::ALL {
        for memory in Memory::ALL {
            for completions in [2, 3] {
                let size = Size { completions, pollers: 1, spurious: 0 };
                let protocol = PollWake::new(gate, Consumer::EpollLevelTwoProducers, size, None).unwrap();
                let named = protocol.check(memory, Options::default()).unwrap();
                let all = protocol.check(memory, NO_SYMMETRY).unwrap();
                assert_eq!(kind(&named), kind(&all), "{gate} {memory} {completions}");
                assert!(named.states < all.states, "{gate} {memory} {completions}");
            }
        }
    }
}

/// Whoever is first goes round once more, and is the last to leave his number.
#[test]
fn the_end_that_two_threads_have_in_common_has_no_way_out_of_it() {
    let mut b = Builder::new();
    let (number_of_last, somebody) = (b.object("number of the last", 0), b.object("somebody", 0));
    let arrived = b.object("arrived", 0);
    for number in [1, 2] {
        let mut p = Code::new(format!("thread {number}"));
        p.forever(|p| {
            p.store("be last", number_of_last, number, Relaxed);
            let others = p.swap("come", somebody, 1, Relaxed);
            p.add("arrive", arrived, 1, Relaxed);
            p.forever(|p| {
                let all = p.load("wait", arrived, Relaxed);
                p.when(all.above(1), |p| p.leave());
            });
            p.when(others, |p| p.leave());
        });
        b.thread(p);
    }
    b.end_alike([0, 1]);
    let program = b.build().unwrap();
    for memory in Memory::ALL {
        let mut last = BTreeSet::new();
        let report = check(&program, memory, Options::default(), |end| {
            last.insert(end.value(number_of_last));
            Vec::new()
        });
        assert_eq!(report.unwrap().verdict, Verdict::Complete);
        assert_eq!(last, BTreeSet::from([1, 2]), "{memory}");
    }
}

/// Each thread puts two entries on a list of its own. The second one is the last to count.
#[test]
fn threads_that_end_alike_exchange_their_lists_too() {
    let mut b = Builder::new();
    let count = b.object("count", 0);
    for number in [1, 2] {
        let own = b.local_list(&format!("list {number}"));
        let mut p = Code::new(format!("thread {number}"));
        let first = p.compute(1);
        p.maybe("the other kind", |p| p.set(first, 2));
        p.push(own, first);
        p.push(own, first.plus(2));
        p.drain(own, |p, entry| {
            p.swap("count", count, entry, Relaxed);
        });
        b.thread(p);
    }
    b.end_alike([0, 1]);
    let program = b.build().unwrap();
    let counts = |options| {
        let mut counts = BTreeSet::new();
        let report = check(&program, Sc, options, |end| {
            counts.insert(end.value(count));
            Vec::new()
        });
        (counts, report.unwrap().states)
    };
    let ((some, few), (all, many)) = (counts(Options::default()), counts(NO_SYMMETRY));
    assert_eq!((&some, &all), (&BTreeSet::from([3, 4]), &some));
    assert!(few < many);
}

#[test]
fn who_can_be_told_apart_does_not_end_alike() {
    let build = |threads, add: &dyn Fn(&mut Code, Object)| {
        let mut b = Builder::new();
        let lock = b.lock("lock");
        for number in [0, 1] {
            let mut p = Code::new(format!("thread {number}"));
            add(&mut p, lock);
            b.thread(p);
        }
        b.end_alike(threads);
        b.build().err()
    };
    let nothing = |_: &mut Code, _| ();
    assert_eq!(build([0, 1], &nothing), None);
    for threads in [[0, 2], [1, 1]] {
        assert_eq!(build(threads, &nothing), Some(BuildError::Ends(threads[0], threads[1])));
    }
    let turn = |p: &mut Code, lock| p.locked_in_turn(("lock", "unlock"), lock, |_| ());
    assert_eq!(build([0, 1], &turn), Some(BuildError::Ends(0, 1)));
    let looked_at = |p: &mut Code, _| {
        p.observed_register();
    };
    assert_eq!(build([0, 1], &looked_at), Some(BuildError::Ends(0, 1)));
}

/// Two threads that store, each its number, under a lock that they take in turn.
fn who_is_last(numbers: [i32; 2]) -> (Program, Object) {
    let mut b = Builder::new();
    let (lock, last) = (b.lock("lock"), b.object("last", 0));
    for number in numbers {
        let mut p = Code::new(format!("thread {number}"));
        p.locked_in_turn(("lock", "unlock"), lock, |p| p.store("be last", last, number, Relaxed));
        b.thread(p);
    }
    (b.build().unwrap(), last)
}

#[test]
fn threads_that_are_said_to_be_alike_and_are_not_lose_an_end() {
    let first_is_last = |numbers, options| {
        let (program, last) = who_is_last(numbers);
        let owed = |end: &End<'_>| {
            (end.value(last) == 1).then(|| "thread 1 is last".to_owned()).into_iter().collect()
        };
        matches!(check(&program, Sc, options, owed).unwrap().verdict, Verdict::Violated(_))
    };
    assert!(first_is_last([1, 1], NO_SYMMETRY) && first_is_last([1, 1], Options::default()));
    assert!(first_is_last([1, 2], NO_SYMMETRY) && !first_is_last([1, 2], Options::default()));
}

#[test]
fn a_search_that_does_not_reduce_and_one_for_ever_take_no_turns() {
    let (program, _) = who_is_last([1, 2]);
    let states = |options| check(&program, Tso, options, |_| Vec::new()).unwrap().states;
    let all = Options { reduce: false, ..Options::default() };
    assert_eq!(states(all), states(Options { symmetry: false, ..all }));
    let for_ever = check_liveness(&program, Tso, Options::default(), |_| Vec::new());
    assert_eq!(for_ever.unwrap().states, states(all));
}

/// Whoever comes to no turn keeps nobody from having one: that is the other one's execution.
#[test]
fn a_thread_that_waits_for_the_turn_of_one_that_has_none_is_no_end() {
    let mut b = Builder::new();
    let (lock, queued) = (b.lock("lock"), b.object("queued", 0));
    for number in [0, 1] {
        let mut p = Code::new(format!("thread {number}"));
        p.maybe("comes", |p| {
            p.locked_in_turn(("lock", "unlock"), lock, |p| {
                p.add("enqueue", queued, 1, Relaxed);
            });
        });
        b.thread(p);
    }
    let program = b.build().unwrap();
    for memory in Memory::ALL {
        let ends = |options| {
            let mut ends = BTreeSet::new();
            let verdict = check(&program, memory, options, |end| {
                ends.insert(end.value(queued));
                Vec::new()
            });
            assert_eq!(verdict.unwrap().verdict, Verdict::Complete);
            ends
        };
        assert_eq!(ends(Options::default()), ends(NO_SYMMETRY), "{memory}");
    }
}

/// A program of two threads that take turns at the first lock; what else they do is given.
fn two(differ: impl Fn(&mut Code, usize, &[Object])) -> Result<Program, BuildError> {
    let mut b = Builder::new();
    let objects =
        [b.lock("lock"), b.lock("another lock"), b.object("x", 0), b.object("y", 0), b.object("z", 1)];
    for number in [0, 1] {
        let mut p = Code::new(format!("thread {number}"));
        differ(&mut p, number, &objects);
        b.thread(p);
    }
    b.build()
}

#[test]
fn codes_of_different_shapes_are_not_alike() {
    let turn = |p: &mut Code, lock| p.locked_in_turn(("lock", "unlock"), lock, |_| ());
    let site = |result: Result<Program, BuildError>| match result {
        Err(BuildError::Unlike { thread, other, site }) => {
            assert_eq!((&*thread, &*other), ("thread 0", "thread 1"));
            site.to_string()
        }
        other => panic!("{other:?}"),
    };
    // Numbers, and whose object is whose.
    let alike = two(|p, number, objects| {
        turn(p, objects[0]);
        p.store("own", objects[2 + number], number as i32, Relaxed);
        p.load("look", objects[3 - number], Relaxed);
    });
    assert!(alike.is_ok(), "{alike:?}");
    // One of them does more.
    let more = two(|p, number, objects| {
        turn(p, objects[0]);
        if number == 1 {
            p.store("more", objects[2], 1, Relaxed);
        }
    });
    assert_eq!(site(more), "more");
    let less = two(|p, number, objects| {
        turn(p, objects[0]);
        if number == 0 {
            p.store("more", objects[2], 1, Relaxed);
        }
    });
    assert_eq!(site(less), "unlock");
    // What is one object for one of them is two for the other.
    let mixed = two(|p, number, objects| {
        turn(p, objects[0]);
        p.store("own", objects[2], 1, Relaxed);
        p.store("own again", objects[2 + number], 1, Relaxed);
    });
    assert_eq!(site(mixed), "own again");
    // They begin with different values.
    let started = two(|p, number, objects| {
        turn(p, objects[0]);
        p.store("own", objects[3 + number], 1, Relaxed);
    });
    assert_eq!(site(started), "own");
    // Each has its own lock, or its turn elsewhere.
    let locks = two(|p, number, objects| turn(p, objects[number]));
    assert_eq!(site(locks), "lock");
    let elsewhere = two(|p, number, objects| {
        for round in 0..2 {
            if round == number {
                turn(p, objects[0])
            } else {
                p.locked(("lock", "unlock"), objects[0], |_| ())
            }
        }
    });
    assert_eq!(site(elsewhere), "unlock");
    let message = two(|p, number, objects| turn(p, objects[number])).unwrap_err().to_string();
    assert_eq!(
        message,
        "threads `thread 0` and `thread 1` have turns, so they must be alike, and are not: see `lock`, or what follows it"
    );
}

#[test]
fn nobody_has_two_turns() {
    let twice = two(|p, _, objects| {
        for _ in 0..2 {
            p.locked_in_turn(("lock", "unlock"), objects[0], |_| ());
        }
    });
    assert_eq!(twice.unwrap_err(), BuildError::Turns("thread 0".to_owned()));
}
