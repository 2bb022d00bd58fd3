//! How to check a protocol of your own. Copy this file into your crate's `tests/`.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use reveille::gate::{Arm, Gate, Rearm, WakeOne};
use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};
use reveille_checks::scenario::{Consumer, Scenario};
use reveille_checks::{check, check_gate_for};

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
        let ready = Arc::new(P::Atomic::new("ready", 0));
        let sleeping = Arc::new(P::Atomic::new("sleeping", 0));
        let parker = Arc::new(P::Parker::new("sleeper"));
        let waker = P::spawn("waker", {
            let (ready, sleeping, parker) = (ready.clone(), sleeping.clone(), parker.clone());
            move || {
                ready.store(1, Release);
                if barriers {
                    P::fence(SeqCst);
                }
                if sleeping.load(Relaxed) == 1 {
                    parker.unpark();
                }
            }
        });
        sleeping.store(1, Relaxed);
        if barriers {
            P::fence(SeqCst);
        }
        while ready.load(Acquire) == 0 {
            parker.park();
        }
        waker.join().unwrap();
    }
}

#[test]
fn my_protocol_misses_no_wakeup() {
    check(MyProtocol { barriers: true }).expect_complete();
}

#[test]
#[should_panic(expected = "sleeper")]
fn without_its_barriers_it_does() {
    check(MyProtocol { barriers: false });
}

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

// For the checks only, some of which wake one. With one flag for the queue that is unsound: do not claim it in your program.
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
