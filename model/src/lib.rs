//! What a wakeup protocol may do, formally: under sequential consistency, x86-TSO, RC11 and, for litmus tests, the Linux kernel's
//! memory model.
//!
//! | module | what it knows |
//! |---|---|
//! | [`memory`] | what one operation on shared memory may do next; nothing of programs |
//! | [`program`] | a small language in which a protocol is written, to be read beside the code that it models |
//! | [`search`] | all states of a program under a memory model: the shortest miss, or none |
//! | [`litmus`] | herd's litmus tests in C11 and kernel C, by which the memory models are calibrated; the kernel's own model |
//! | [`protocol`] | the protocols in question |
//!
//! The semantics, what is not modelled, and measurements stand in the README of this crate.

#[cfg(feature = "models")]
mod candidates;
pub mod code;
pub mod explore;
#[cfg(test)]
mod fuzz;
pub mod graphs;
#[cfg(feature = "models")]
pub mod litmus;
pub mod memory;
#[cfg(feature = "models")]
pub mod program;
#[cfg(feature = "models")]
pub mod protocol;
#[cfg(feature = "models")]
pub mod search;
mod watch;
