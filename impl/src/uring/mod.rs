//! A reactor on a real io_uring.
//!
//! A [`Reactor`] owns a ring, submits [`Request`]s to the kernel, [offloads](Reactor::offload) closures to the
//! [pool](crate::pool), and yields one stream of events, whichever of them they come from. Other threads reach it
//! through a [`Handle`], futures through an [`AsyncHandle`]; a program built round epoll has it as [one of its
//! descriptors](Reactor::poll_fd); an [`Executor`] runs futures on it.
//!
//! # The sleep
//!
//! Completions come from two sides. The kernel's arrive in the ring, and the kernel wakes who sleeps in
//! `io_uring_enter` for them. The pool's, and other threads', arrive in a [completion queue](crate::completion), of
//! which the reactor is the one consumer; the kernel knows nothing of them. So one request is kept outstanding in the
//! ring, a read of an eventfd, and the reactor's waker writes there:
//!
//! ```text
//! reactor                                            pool, other threads
//!   1. take what both queues have; something? done     1. publish
//!   2. arm: full barrier                               2. the gate: full barrier; is the reactor armed?
//!   3. look at the completion queue: something? 6.     3. if so: not armed any more; write to the eventfd
//!   4. submit everything, the read if none is out,
//!      and sleep until the ring has a completion:
//!      one system call
//!   5. take the ring's completions;
//!   6. at the first that is not the eventfd's, disarm
//!   7. take what the completion queue has
//! ```
//!
//! *Steps 1 to 3 on either side are the wait queue's, with its argument*: either the publisher sees the reactor armed
//! or the reactor's look sees what was published. What is left to argue is the way from there to the sleep.
//!
//! *A reactor has looked and found nothing, and somebody writes to the eventfd before it sleeps.* An eventfd keeps what
//! is written. If the read was outstanding it completes now, else as soon as step 4 submits it; either way the ring has
//! a completion, and a sleep that waits for one does not begin, or ends.
//!
//! *Two publishers, one write.* The first one's wake marks the reactor as told, the second one skips. The reactor is
//! then awake or about to be, and step 7 comes after the wake: it sees both.
//!
//! *The kernel ends the sleep.* The reactor is awake and armed still, and every publisher would write to the eventfd
//! for nothing, until one did: itself first of all, where a completion wakes a task of its own. So it disarms (step 6)
//! before it makes anything of the completion, and looks after that (step 7), and again before the next sleep (step 3).
//! A write that was already on its way is heard later, and wakes once for nothing.
//!
//! The kernel does its part of a completion in the reactor's thread, as task work, and with `DEFER_TASKRUN` only when
//! the thread asks for completions. Step 4 asks; an epoll on the ring does not, and would never be told. Therefore a
//! reactor that is to be [polled](Sleep::Elsewhere) has another [kind](Completing) of ring, and steps 2 to 4 are
//! [`prepare_to_sleep`](Reactor::prepare_to_sleep).
//!
//! *Before all that*, a reactor that waits for closures yields the CPU some times, be there requests in the kernel or not. If a
//! worker was waiting for that CPU it runs, and posts to a reactor that is not armed: no write, no read, no sleep. Meanwhile it [spares
//! wakes](crate::pool::Batch::submit_sparingly), and makes up for them as soon as jobs wait and none is taken between two yields, or
//! else before it goes on. What is for the kernel is submitted before the first yield; and what the kernel has completed, or could
//! complete in this thread, ends the yielding. It is a matter of speed only, twice as fast as without, with eight closures in
//! flight; and where yields take long it is left alone.
//!
//! # Who owns what the kernel writes to
//!
//! The [operation](Operation) owns its [buffer](IoBufMut) and its [file](IoFile); the reactor owns the operation from the submission to the
//! last completion, whatever becomes of those who asked for it. A future that is dropped asks for cancellation and
//! leaves the buffer where it is. A reactor that is dropped cancels what is in flight, waits for the last completions,
//! and frees the buffers then; if the ring refuses even that, it leaks them, since closing a ring does not wait for its
//! requests.
//!
//! # What is in the way
//!
//! | obstacle | what happens |
//! |---|---|
//! | the submission queue is full | [`submit`](Reactor::submit) hands the kernel what is there, [`try_submit`](Reactor::try_submit) gives the request back |
//! | the kernel's completion queue is full | the kernel keeps the rest, which [`turn`](Reactor::turn) fetches; nothing is lost, the order is kept |
//! | the kernel takes no requests before its completions are taken | they are taken, and kept for the next turn |
//! | the kernel lacks an operation | its error holds an [`Unsupported`] that names it |
//! | a signal | the turn returns early |
//! | the process forks | the ring stays its parent's: the child gets [`Error::Forked`], and what it drops does nothing. Its copies of handles still reach its own copy of the completion queue and its parent's eventfd: of no use, and harmless. Pools have no threads there |
//! | the kernel lacks, forbids or cannot afford a ring | an [`Error`] that says what to do |

mod bell;
mod buffer;
mod error;
mod executor;
mod fixed;
mod future;
mod handle;
mod op;
mod parker;
mod process;
mod provided;
mod reactor;
mod request;
mod stream;
mod support;
mod task;
mod whole;

pub use crate::completion::Gone;
pub use buffer::{IoBuf, IoBufMut, Slice};
pub use error::{Closed, Error};
pub use executor::{Executor, Task};
pub use fixed::Fixed;
pub use future::{AsyncHandle, Submitted};
pub use handle::{Handle, Ticket};
// What a program's own operations are made of.
pub use io_uring::{cqueue, opcode, squeue, types};
pub use op::{
    Accept, Close, Connect, Done, Fsync, IoFile, LinkTimeout, Multishot, Nop, Openat, Operation, Poll, Raw,
    Read, Received, Recv, RecvMsg, RecvMulti, Send, SendMsg, SendZc, Shutdown, Splice, Statx, Timeout, Write,
};
pub use parker::RingParker;
pub use provided::{BufferRing, Provided};
pub use reactor::{Cancellation, Completing, Config, Counts, Full, Reactor, Sleep, Wakes};
pub use request::{Request, Shot, Token};
pub use rustix::event::PollFlags;
pub use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
pub use rustix::net::addr::SocketAddrArg;
pub use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix};
pub use rustix::pipe::SpliceFlags;
pub use stream::Shots;
pub use support::Unsupported;
pub use task::{Spawned, Spawner, TaskError};
