//! How to check a protocol of your own. [`YOUR_OWN.md`](../YOUR_OWN.md) shows this file, and what it prints.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use reveille::sync::{Atomic, AtomicBool, JoinHandle, Parker, Primitives};
use reveille_checks::check;
use reveille_checks::scenario::Scenario;

/// One thread makes `ready` true and wakes the other, but only if that has said that it is going to sleep.
#[derive(Clone)]
struct MyProtocol {
    barriers: bool,
}

impl Scenario for MyProtocol {
    fn name(&self) -> String {
        "my protocol".into()
    }

    fn run<P: Primitives>(&self) {
        let barriers = self.barriers;
        let flag = |label| Arc::new(AtomicBool::<P>::new(label, false));
        let (ready, sleeping) = (flag("ready"), flag("sleeping"));
        let parker = Arc::new(P::Parker::new("sleeper"));
        let waker = P::spawn("waker", {
            let (ready, sleeping, parker) = (ready.clone(), sleeping.clone(), parker.clone());
            move || {
                ready.store(true, Release);
                if barriers {
                    P::fence(SeqCst);
                }
                if sleeping.load(Relaxed) {
                    parker.unpark();
                }
            }
        });
        sleeping.store(true, Relaxed);
        if barriers {
            P::fence(SeqCst);
        }
        while !ready.load(Acquire) {
            parker.park();
        }
        waker.join().unwrap();
    }
}

#[test]
fn my_protocol_loses_no_wake() {
    check(MyProtocol { barriers: true }).expect_complete();
}

mod what_was_lost {
    use super::MyProtocol;
    use reveille_checks::{Replayed, replay};

    /// What a counterexample without the barriers ends with.
    const LOSING: &str = "dc2c46f1.0.tso.15ba7466.a4b2~1b";

    #[test]
    fn is_lost_as_long_as_the_barriers_are_missing() {
        assert!(matches!(replay(MyProtocol { barriers: false }, LOSING), Replayed::Loses(_)));
        assert!(matches!(replay(MyProtocol { barriers: true }, LOSING), Replayed::Diverged { .. }));
    }
}

mod gate {
    use std::sync::atomic::Ordering::{Relaxed, SeqCst};

    use reveille::gate::{Arm, Gate, Rearm, WakeOne};
    use reveille::sync::{Atomic, Primitives};
    use reveille_checks::check_gate_for;
    use reveille_checks::scenario::Consumer;

    /// A gate of one's own: a single flag, set after the enqueue.
    enum MyGate {}

    impl Gate for MyGate {
        const NAME: &'static str = "my gate";
        type Shared<P: Primitives> = P::Atomic;
        type Mark<P: Primitives> = ();

        fn shared<P: Primitives>() -> P::Atomic {
            P::Atomic::new("armed", 0)
        }
        fn mark<P: Primitives>(_: Rearm) {}

        fn after_enqueue<P: Primitives>(armed: &P::Atomic, _: &(), _: Arm) {
            armed.store(1, Relaxed);
            P::fence(SeqCst);
        }
        fn admit<P: Primitives>(armed: &P::Atomic, _: &P::Atomic) -> bool {
            P::fence(SeqCst);
            armed.swap(0, Relaxed) == 1
        }
    }

    // For the checks only, some of which wake one. With one flag for the queue that is unsound: do not claim
    // it in your program.
    impl WakeOne for MyGate {}

    #[test]
    fn my_gate_serves_a_poller_that_comes_back() {
        check_gate_for::<MyGate>(&[Consumer::EpollEdge, Consumer::PollOnce]);
    }

    #[test]
    #[should_panic(expected = "my gate × persistent: a wakeup is missed")]
    fn my_gate_fails_a_poller_that_does_not() {
        check_gate_for::<MyGate>(&[Consumer::Persistent]);
    }
}

mod page {
    use std::panic::catch_unwind;

    use super::MyProtocol;
    use reveille_checks::check;

    const PAGE: &str = include_str!("../YOUR_OWN.md");

    /// A block of the page that begins so, without its fence.
    fn block(beginning: &str) -> &'static str {
        let at = PAGE.find(beginning).unwrap_or_else(|| panic!("no block begins with {beginning}"));
        PAGE[at..].split("\n```\n").next().unwrap()
    }

    #[test]
    fn the_page_shows_this_program() {
        let source = include_str!("your_own.rs");
        let program = source.split("\n\n").skip(1).collect::<Vec<_>>().join("\n\n");
        let (program, rest) = program.split_once("\n\nmod what_was_lost").unwrap();
        assert_eq!(block("use std::sync::Arc;"), program);
        let lines = rest.lines().skip(1).take_while(|line| *line != "}").collect::<Vec<_>>();
        let lost = lines.into_iter().map(|line| line.strip_prefix("    ").unwrap_or(line));
        assert_eq!(block("use super::MyProtocol;"), lost.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn no_program_of_the_page_is_longer_than_fifty_lines() {
        for program in PAGE.split("```rust\n").skip(1) {
            let lines = program.lines().take_while(|line| *line != "```").count();
            assert!(lines <= 50, "{lines} lines: {program}");
        }
    }

    #[test]
    fn the_page_shows_what_comes_out() {
        let passes = check(MyProtocol { barriers: true }).to_string();
        assert_eq!(block("my protocol: exact sc"), passes);
        let panic = catch_unwind(|| check(MyProtocol { barriers: false })).expect_err("it loses a wake");
        let shown: Vec<_> = block("my protocol: every thread is blocked").lines().collect();
        let text = panic.downcast::<String>().unwrap();
        // The last line names the test that runs.
        let text: Vec<_> = text.trim().lines().map(str::trim_end).collect();
        assert_eq!(shown[..shown.len() - 1], text[..text.len() - 1], "{}", text.join("\n"));
        let record = |line: &str| line.split('\'').nth(1).map(str::to_owned);
        assert_eq!(record(shown[shown.len() - 1]), record(text[text.len() - 1]));
    }
}
