//! What the engine cannot do is said in words, and ends neither the process nor this test.

use std::cell::Cell as StdCell;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use super::fiber::in_engine;
use super::{Failure, Instead, Limit, Limits, Location, Lock, Token, spawn};
use crate::explore::{Failed, Options, Report, explore, sample};
use crate::graphs::Modify;
use crate::graphs::wait::Waits;
use crate::memory::Memory;

fn search(program: impl Fn() + Send + Sync + 'static) -> Report {
    explore(Memory::Rc11, Options { workers: 1, ..Options::default() }, program)
}

fn failure(program: impl Fn() + Send + Sync + 'static) -> Failure {
    search(program).failed.map(|Failed { failure, .. }| failure).expect("an execution goes wrong")
}

/// The limit that ends the search, and its text.
fn limit(program: impl Fn() + Send + Sync + 'static) -> (Limit, String) {
    match failure(program) {
        Failure::Limit(limit) => (limit.clone(), limit.to_string()),
        other => panic!("no limit, but: {other}"),
    }
}

/// A search whose watcher has little patience. The programs that need it never come back, so nothing depends
/// on how fast anything is.
fn impatient(workers: usize) -> Options {
    let limits = Limits { silence: Some(Duration::from_millis(200)), ..Limits::default() };
    Options { workers, limits, ..Options::default() }
}

/// Two threads, so that there is more than one execution; `first` is what the first of them does before it
/// reads.
fn twice(first: impl Fn(Location)) {
    let word = Location::new("word", 0);
    let other = spawn("other", move || word.store(1, Relaxed));
    first(word);
    word.load(Relaxed);
    other.join();
}

/// Whether it is the first time that somebody asks.
fn is_first(asked: &AtomicUsize) -> bool {
    asked.fetch_add(1, Relaxed) == 0
}

#[test]
fn code_that_does_another_operation_when_it_is_repeated_diverges_and_its_likely_causes_are_named() {
    let asked = AtomicUsize::new(0);
    let (limit, text) = limit(move || {
        twice(|word| {
            if !is_first(&asked) {
                word.store(2, Relaxed);
            }
        });
    });
    assert!(matches!(limit, Limit::Diverged(_)), "{text}");
    for cause in
        ["did a load at", "and now a store at", "a static", "std atomic or lock", "std thread_local!"]
    {
        assert!(text.contains(cause), "{cause}: {text}");
    }
}

#[test]
fn a_std_thread_local_that_is_kept_over_executions_diverges() {
    thread_local! {
        static CALLS: StdCell<u64> = const { StdCell::new(0) };
    }
    let (_, text) = limit(|| {
        twice(|word| {
            CALLS.set(CALLS.get() + 1);
            word.store(CALLS.get(), Relaxed);
        });
    });
    assert!(text.contains("with another object or value") && text.contains("thread_local!"), "{text}");
}

#[test]
fn a_thread_that_returns_before_it_has_done_what_it_did_diverges() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (limit, text) = limit(move || {
        let word = Location::new("word", 0);
        let asked = asked.clone();
        let other = spawn("other", move || {
            if is_first(&asked) {
                word.store(1, Relaxed);
            }
        });
        word.load(Relaxed);
        other.join();
    });
    assert!(matches!(limit, Limit::Diverged(_)), "{text}");
    assert!(text.contains("did a store") && text.contains("now the end of a thread"), "{text}");
}

#[test]
fn a_thread_that_waits_for_something_else_than_it_did_diverges() {
    let asked = AtomicUsize::new(0);
    let (limit, text) = limit(move || {
        let tokens = [Token::new("one"), Token::new("two")];
        let nth = usize::from(!is_first(&asked));
        let other = spawn("putter", move || tokens.into_iter().for_each(Token::put));
        tokens[nth].take();
        twice(|_| ());
        other.join();
    });
    assert!(matches!(limit, Limit::Diverged(_)), "{text}");
}

#[test]
fn a_thread_that_is_not_started_again_diverges() {
    let asked = AtomicUsize::new(0);
    let (limit, text) = limit(move || {
        let third = is_first(&asked).then(|| spawn("third", || ()));
        twice(|_| ());
        third.into_iter().for_each(super::Thread::join);
    });
    assert!(matches!(limit, Limit::Diverged(_)), "{text}");
    assert!(text.contains("did the start of a thread"), "{text}");
}

#[test]
fn a_panic_instead_of_an_operation_that_was_done_before_is_no_panic_of_the_program() {
    let asked = AtomicUsize::new(0);
    let (limit, text) = limit(move || twice(|_| assert!(is_first(&asked), "not the first time")));
    let Limit::Diverged(diverged) = limit else { panic!("{text}") };
    assert_eq!(diverged.now, Instead::Panics("not the first time".into()));
}

#[test]
fn an_object_that_begins_with_another_value_diverges() {
    let asked = AtomicUsize::new(0);
    let (limit, text) = limit(move || {
        let word = Location::new("word", asked.fetch_add(1, Relaxed) as u64);
        let other = spawn("other", move || word.store(1, Relaxed));
        word.load(Relaxed);
        other.join();
    });
    let Limit::Diverged(diverged) = limit else { panic!("{text}") };
    assert_eq!(diverged.now, Instead::Makes("word"));
}

#[test]
fn an_object_that_is_kept_in_a_static_is_named_with_its_place() {
    let kept = StdMutex::new(None);
    let (_, text) = limit(move || {
        let word = *kept.lock().unwrap().get_or_insert_with(|| Location::new("word", 0));
        let other = spawn("other", move || word.store(1, Relaxed));
        word.load(Relaxed);
        other.join();
    });
    assert!(text.contains("from one execution to another") && text.contains("code/tests.rs"), "{text}");
}

#[test]
fn a_panic_of_the_engine_is_a_panic_of_the_search_and_not_of_the_program() {
    for silence in [None, Some(Duration::from_secs(10))] {
        let limits = Limits { silence, ..Limits::default() };
        let options = Options { workers: 1, limits, ..Options::default() };
        let result = panic::catch_unwind(|| {
            explore(Memory::Rc11, options, || {
                twice(|_| {
                    in_engine(|| {
                        panic!("an assertion of the engine, which is to be seen in this test's output")
                    })
                });
            })
        });
        let payload = result.expect_err("it is nobody else's");
        let message = payload.downcast_ref::<&str>().copied().unwrap_or_default();
        assert!(message.starts_with("an assertion of the engine"), "{message}");
    }
    // Other searches go on.
    assert!(search(|| twice(|_| ())).complete);
}

#[test]
fn a_loop_without_operations_ends_the_search_and_names_its_thread_and_the_last_operation() {
    for workers in [1, 2] {
        let report = explore(Memory::Rc11, impatient(workers), || {
            twice(|word| {
                word.load(Relaxed);
                loop {
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        });
        assert!(!report.complete);
        let text = report.failed.expect("it does not end").to_string();
        for part in ["no operation for 200ms", "an endless loop", "thread 0 (`main`)", "code/tests.rs"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[test]
fn a_thread_that_spins_on_a_std_atomic_is_caught_in_random_descents_too() {
    let found = sample(Memory::Rc11, &impatient(1), 1, 10, || {
        let flag = Arc::new(AtomicUsize::new(0));
        let other = spawn("spinner", {
            let flag = flag.clone();
            move || {
                while flag.load(Acquire) == 0 {
                    std::thread::yield_now();
                }
            }
        });
        other.join();
        flag.store(1, Release);
    });
    let text = found.failed.expect("it does not end").to_string();
    assert!(text.contains("thread 1 (`spinner`), before its first operation"), "{text}");
}

#[test]
fn a_std_mutex_that_is_held_across_an_operation_is_named_as_a_possibility() {
    let report = explore(Memory::Rc11, impatient(1), || {
        let held = Arc::new(StdMutex::new(()));
        let token = Token::new("token");
        let other = spawn("other", {
            let held = held.clone();
            move || {
                drop(held.lock());
                token.put();
            }
        });
        let guard = held.lock();
        token.take();
        drop(guard);
        other.join();
    });
    let text = report.failed.expect("nothing can go on").to_string();
    assert!(text.contains("(a std Mutex?) held across an operation") && text.contains("`other`"), "{text}");
}

/// Uses stack, and is no loop.
#[inline(never)]
fn descend(deep: &StdCell<u64>, at: u64) -> u64 {
    deep.set(at);
    if at == u64::MAX { 0 } else { descend(deep, at + 1) + deep.get() }
}

#[test]
fn a_recursion_without_operations_overflows_its_stack_and_not_the_process() {
    for _ in 0..3 {
        let (limit, text) = limit(|| {
            twice(|word| {
                word.load(Relaxed);
                descend(&StdCell::new(0), 0);
            });
        });
        let Limit::Stack { last, .. } = limit else { panic!("{text}") };
        assert_eq!((last.thread, last.name), (0, "main"));
        assert!(text.contains("1024 KiB") && text.contains("code/tests.rs"), "{text}");
    }
}

#[test]
fn a_recursion_of_operations_overflows_no_stack() {
    fn descend(word: Location, at: u64) {
        // A thousand of these fill a stack.
        let used = [at; 128];
        word.store(std::hint::black_box(used)[7], Relaxed);
        if at < u64::MAX {
            descend(word, at + 1);
        }
        std::hint::black_box(used);
    }
    let (limit, text) = limit(|| descend(Location::new("word", 0), 0));
    assert!(matches!(limit, Limit::Stack { .. }), "{text}");
}

/// Asserts something of a word when it is dropped, and writes it.
struct Guard(Location);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(2, Release);
        assert_eq!(self.0.load(Acquire), 2);
    }
}

#[test]
fn a_guard_that_asserts_when_it_is_dropped_finds_memory_when_an_execution_is_taken_down() {
    let stuck = failure(|| {
        let _guard = Guard(Location::new("guarded", 1));
        Token::new("never put").take();
    });
    assert_eq!(stuck, Failure::Stuck);
}

#[test]
fn a_panic_that_the_program_catches_is_its_own_and_destructors_may_do_operations_meanwhile() {
    let report = search(|| {
        let word = Location::new("word", 0);
        let caught = panic::catch_unwind(AssertUnwindSafe(|| {
            let _guard = Guard(word);
            panic!("caught");
        }));
        assert!(caught.is_err());
        let other = spawn("other", move || assert!(!std::thread::panicking()));
        assert_eq!(word.load(Relaxed), 2);
        other.join();
    });
    assert!(report.complete && report.executions == 1, "{report:?}");
}

#[test]
fn a_panic_unwinds_one_thread_and_no_other_one_runs_meanwhile() {
    let seen = Arc::new(AtomicUsize::new(0));
    let text = {
        let seen = seen.clone();
        limit(move || {
            let lock = Lock::new("lock");
            let held = Token::new("held");
            let other = spawn("holder", {
                let seen = seen.clone();
                move || {
                    lock.acquire();
                    held.put();
                    seen.fetch_add(usize::from(std::thread::panicking()), Relaxed);
                    Token::new("never put").take();
                }
            });
            held.take();
            struct Acquires(Lock);
            impl Drop for Acquires {
                fn drop(&mut self) {
                    self.0.acquire();
                }
            }
            let _acquires = Acquires(lock);
            let _not_sent = Rc::new(other);
            panic!("unwinds");
        })
        .1
    };
    for part in ["a destructor has to wait", "`main`", "the panic says: unwinds"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(seen.load(Relaxed), 0);
}

/// What a destructor does, and what others do meanwhile.
#[derive(Clone, Copy, Debug)]
enum Dropped {
    Stores,
    Adds,
    WakesAnother,
    Locks,
    /// The other thread may answer in between
    AsksAndIsAnswered,
}

/// A thread drops a guard, because a panic unwinds its stack or because its scope ends, while another and the
/// first one use the same objects.
fn drops(dropped: Dropped, by_panic: bool) {
    #[derive(Clone, Copy)]
    struct Shared {
        words: [Location; 2],
        lock: Lock,
        token: Token,
    }
    struct Guard(Dropped, Shared);
    impl Drop for Guard {
        fn drop(&mut self) {
            let Shared { words: [x, y], lock, token } = self.1;
            match self.0 {
                Dropped::Stores => {
                    x.store(1, Release);
                    y.store(1, Release);
                }
                Dropped::Adds => {
                    x.modify(Modify::Add(1), Relaxed, Relaxed);
                    y.store(1, Release);
                }
                Dropped::AsksAndIsAnswered => {
                    x.modify(Modify::Add(1), Relaxed, Relaxed);
                    x.load(Relaxed);
                }
                Dropped::WakesAnother => {
                    x.store(1, Release);
                    token.put();
                    y.store(1, Release);
                }
                Dropped::Locks => {
                    lock.acquire();
                    x.store(1, Relaxed);
                    lock.release();
                }
            }
        }
    }
    let words = [Location::new("x", 0), Location::new("y", 0)];
    let shared = Shared { words, lock: Lock::new("lock"), token: Token::new("token") };
    let job = move |by_panic: bool| {
        words[1].load(Relaxed);
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            let _guard = Guard(dropped, shared);
            if by_panic {
                panic::resume_unwind(Box::new("a job's"));
            }
        }));
        assert_eq!(result.is_err(), by_panic);
        words[0].load(Acquire);
        words[1].store(2, Release);
    };
    let threads = [
        spawn("job", move || job(by_panic)),
        spawn("other", move || {
            words[0].load(Acquire);
            assert!(!std::thread::panicking());
            words[1].store(3, Relaxed);
            words[0].modify(Modify::Add(4), Relaxed, Relaxed);
            assert!(!std::thread::panicking());
        }),
    ];
    if let Dropped::WakesAnother = dropped {
        shared.token.take();
    }
    words[1].load(Acquire);
    assert!(!std::thread::panicking());
    words[0].load(Acquire);
    threads.into_iter().for_each(super::Thread::join);
}

#[test]
fn destructors_have_as_many_executions_when_a_panic_unwinds_the_stack_as_when_their_scope_ends() {
    for memory in [Memory::Sc, Memory::Tso, Memory::Rc11] {
        for waits in [Waits::Plain, Waits::Retry] {
            for dropped in [Dropped::Stores, Dropped::Adds, Dropped::WakesAnother, Dropped::Locks] {
                let count = |by_panic| {
                    let options = Options { workers: 1, waits, ..Options::default() };
                    let report = explore(memory, options, move || drops(dropped, by_panic));
                    let failed = report.failed.map(|failed| failed.to_string());
                    assert!(report.complete, "{memory}, {waits:?}, {dropped:?}, {by_panic}: {failed:?}");
                    report.executions
                };
                assert_eq!(count(true), count(false), "{memory}, {waits:?}, {dropped:?}");
            }
        }
    }
}

#[test]
fn destructors_that_talk_with_another_thread_while_a_panic_unwinds_the_stack_are_a_limit() {
    let (limit, text) = limit(|| drops(Dropped::AsksAndIsAnswered, true));
    assert!(matches!(limit, Limit::Unwinding { .. }), "{text}");
    assert!(search(|| drops(Dropped::AsksAndIsAnswered, false)).complete);
}

/// Set in the child process that overflows the stack of an ordinary thread.
const CHILD: &str = "REVEILLE_TEST_OVERFLOWS";

#[test]
fn the_overflow_of_a_thread_that_is_none_of_the_programs_ends_the_process_as_ever() {
    if std::env::var_os(CHILD).is_some() {
        search(|| twice(|_| ()));
        let depth = std::thread::spawn(|| descend(&StdCell::new(0), 0)).join();
        unreachable!("it came back: {depth:?}");
    }
    let test = "code::tests::the_overflow_of_a_thread_that_is_none_of_the_programs_ends_the_process_as_ever";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stderr);
    assert!(
        !child.status.success() && text.contains("has overflowed its stack"),
        "{:?}\n{text}",
        child.status
    );
}
