//! Holds the code of `reveille` against its checkers, and says whether it can miss a wakeup.
//!
//! [`check`] is for your own protocol, in an ordinary test: a [`Scenario`](scenario::Scenario) goes in, and a counterexample comes out
//! as a table of threads. [`check_gate`] does the same for a [`Gate`](reveille::gate::Gate) of yours, with every consumer that this project
//! knows. The binary `reveille` prints the verdict on the gates of the question.

pub mod bench;
mod check;
pub mod engine;
pub mod flavour;
pub mod gates;
pub mod kernel;
pub mod mutants;
pub mod names;
pub mod orderings;
pub mod page;
pub mod picture;
pub mod report;
pub mod scenario;
pub mod sheet;
pub mod soak;
pub mod source;
pub mod stress;
pub mod subject;
pub mod trace;
pub mod verdict;
pub mod zoo;
pub use check::{Checked, Searched, check, check_gate, check_gate_for, check_under, replay};
pub use engine::Replayed;
