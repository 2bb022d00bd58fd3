//! Small programs that a checker runs again and again, each time scheduled differently.

mod completion;
mod parker;
mod poll_wake;
mod pool;
mod ring;
mod run_queue;
mod unwind;
mod wait_queue;

pub use completion::{Completions, ReactorSleep};
pub use parker::HandingOver;
pub use poll_wake::{Consumer, POLL_WAKE_LEGEND, PollWake};
pub use pool::{Misuse, POOL_LEGEND, PoolScenario, Protocol};
pub use ring::Ring;
pub use run_queue::Executing;
pub use unwind::{Form, Held, Unwinding, unwinding};
pub use wait_queue::{GivingUp, PanickingLook};

use reveille::sync::Primitives;

use crate::flavour::script::Script;
use crate::trace::Trace;

/// A program to be checked. Every execution of it has to end; one in which all threads are blocked is a miss.
///
/// ```
/// use std::sync::{Arc, atomic::Ordering::SeqCst};
/// use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};
/// use reveille_checks::scenario::Scenario;
///
/// /// One thread sets a flag and wakes the other.
/// #[derive(Clone)]
/// struct Handover;
///
/// impl Scenario for Handover {
///     fn name(&self) -> String {
///         "handover".into()
///     }
///     fn run<P: Primitives>(&self) {
///         let shared = Arc::new((P::Atomic::new("flag", 0), P::Parker::new("sleeper")));
///         let waker = P::spawn("waker", {
///             let shared = shared.clone();
///             move || {
///                 shared.0.store(1, SeqCst);
///                 shared.1.unpark();
///             }
///         });
///         while shared.0.load(SeqCst) == 0 {
///             shared.1.park();
///         }
///         waker.join().unwrap();
///     }
/// }
/// # reveille_checks::check(Handover);
/// ```
pub trait Scenario: Clone + Send + Sync + 'static {
    /// What reports call it.
    fn name(&self) -> String;

    /// What counterexamples call the thread that runs [`run`](Scenario::run).
    fn main_thread(&self) -> &'static str {
        "main"
    }

    /// What the labels of the shared objects mean, for the reader of a counterexample.
    fn legend(&self) -> &'static str {
        ""
    }

    /// What a counterexample shows in place of a value of the atomic with this label: `parked` for 2, say.
    /// `None`: the number; of a truth value `true` or `false`, of a mask, whose bits are set or cleared, in
    /// hexadecimal, and just below 0 `-1`.
    fn value_name(&self, label: &str, value: usize) -> Option<String> {
        let _ = (label, value);
        None
    }

    /// One execution. Make every shared object here, and every thread with `P::spawn`; share them in
    /// `std::sync::Arc`s. A panic is reported as a violation, all threads blocked as a miss.
    fn run<P: Primitives>(&self);

    /// What is owed in a state in which nothing moves: the line under a counterexample. `None`: nothing that this
    /// scenario knows of.
    fn owed(&self, _: &Trace) -> Option<String> {
        None
    }

    /// The early returns to be tried, one search each.
    fn scripts(&self) -> Vec<Script> {
        vec![Script::none()]
    }
}
