//! The exact engine's ground: execution graphs, what makes one consistent, and how one is extended so that each comes up once.
//!
//! It knows no code: a graph is given operations, and says what they may read. Who asks for them is [`code`](crate::code).

mod clock;
mod closed;
pub mod consistency;
pub mod cycle;
mod event;
mod graph;
mod linear;
mod message;
pub mod record;
pub mod revisit;
pub(crate) mod rules;
pub mod wait;

pub use clock::Clock;
pub use event::{Event, EventId, Modify, Op, Until, Value};
pub use graph::{Graph, Location, Thread};
pub use linear::linearize;
pub use record::Record;
