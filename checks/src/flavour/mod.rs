//! The flavours of [`Primitives`](reveille::sync::Primitives) that the checkers bring.
//!
//! | flavour | an access is | sees |
//! |---|---|---|
//! | [`Exact`] | an event of the exact engine | everything that SC, x86-TSO or RC11 allow; weak exchanges fail for no reason, a spin is a wait |
//! | [`Loom`] | loom's | interleavings, and stale reads as far as loom models C11; no weak failures, and a spin in vain is too many steps |
//! | [`Shuttle`] | shuttle's | interleavings under sequential consistency; of weak failures and spins as loom |
//! | [`Sequential<P>`] | an AcqRel read-modify-write of `P` | under loom: interleavings only, no stale reads |
//! | [`Traced<P>`] | `P`'s, and a row in a [trace](crate::trace) | as `P` |
//! | [`Timed`] | the machine's, as `Native`'s; wakes and waits for a lock are counted | nothing: it is for [measurements](crate::bench) |
//! | [`Weakened<P>`] | `P`'s, but for one that a mistake is made in | what the mistake lets happen |
//! | [`Current`] | that of the engine which runs: [`Exact`], or [`Traced`] around [`Loom`], `Sequential<Loom>` or [`Shuttle`] | what that engine sees |
//!
//! They compose. Scenarios run on [`Checked`], whichever engine runs them: so they are compiled once.

pub(crate) mod current;
mod engines;
pub(crate) mod exact;
pub mod script;
mod sequential;
pub mod timed;
mod traced;
pub mod weakened;

pub use current::Current;
pub use engines::{Loom, ScriptedPanic, Shuttle};
pub use exact::Exact;
pub use sequential::Sequential;
pub use timed::Timed;
pub use traced::Traced;
pub use weakened::Weakened;

/// What the engines run scenarios on.
pub type Checked = Weakened<Current>;
