//! A wait queue for programs that sleep in io_uring, which skips wakeups that nobody needs.
//!
//! Everything here is written once, against [`sync::Primitives`]: the atomics, fences, locks and parkers that it uses.
//! A program instantiates it with [`sync::Native`], the default everywhere, and pays nothing for the indirection. A
//! checker instantiates the very same code with its own primitives and explores its interleavings.
//!
//! | module | what it holds |
//! |---|---|
//! | [`sync`] | the trait [`Primitives`](sync::Primitives) and its std implementation |
//! | [`gate`] | "may this wake be skipped?": the trait [`Gate`](gate::Gate) and the sound gate, [`PerEntry`](gate::PerEntry) |
//! | [`wait_queue`] | [`WaitQueue`](wait_queue::WaitQueue): the only place where a wake is decided |
//! | [`completion`] | a bounded ring with an overflow list, one wake decision a batch |
//! | [`parker`] | [`FutexParker`](parker::FutexParker): what a thread sleeps on when it has no ring |
//! | [`pool`] | [`Pool`](pool::Pool): blocking work in other threads, in io-wq's terms |
//! | [`run_queue`] | [`Queued`](run_queue::Queued): whether a task is in an executor's run queue |
//! | [`uring`] | [`Reactor`](uring::Reactor): one stream of events from the kernel, the pool and other threads, one sleep |
//!
//! ```
//! use reveille::completion;
//!
//! let (completions, mut consumer) = completion::ring::<u64>(64);
//! let worker = std::thread::spawn(move || completions.publish([1, 2, 3]));
//! let mut sum = 0;
//! while sum < 6 {
//!     sum += consumer.wait(); // sleeps while the ring is empty
//! }
//! # worker.join().unwrap();
//! ```

mod burst;
pub mod completion;
pub mod gate;
pub mod parker;
pub mod pool;
pub mod run_queue;
mod slot;
pub mod sync;
mod unwind;
pub mod uring;
pub mod wait_queue;
mod yielding;
