//! A reactor on a real io_uring.

mod bell;
mod error;
mod executor;
mod handle;
mod op;
mod parker;
mod reactor;
mod request;

pub use error::{Closed, Error};
pub use executor::{Executor, Spawner, Task};
pub use handle::{Handle, Performing, Ticket};
pub use op::{
    Accept, Done, LinkTimeout, Multishot, Nop, Operation, Poll, PollFlags, Raw, Read, Timeout, Write,
};
pub use parker::RingParker;
pub use reactor::{Cancellation, Completing, Config, Counts, Full, Reactor, Sleep};
pub use request::{Request, Shot, Token};
