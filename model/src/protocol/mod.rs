//! Protocols whose wakeups are in question, each written as a [program](crate::program).

pub mod poll_wake;
