//! What a wakeup protocol may do, formally.

pub mod litmus;
pub mod memory;
pub mod program;
pub mod protocol;
pub mod search;
