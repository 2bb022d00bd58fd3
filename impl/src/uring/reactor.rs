//! The reactor.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::{IoUring, Parameters, opcode, squeue, types};
use rustix::io::Errno;
use smallvec::SmallVec;

use super::bell::Listener;
use super::error::Error;
use super::fixed::{Fixed, Table};
use super::handle::{Command, Handle, Posted, Shared, check_length};
use super::op::timespec;
use super::process;
use super::provided::BufferRing;
use super::request::{BELL, Events, Flights, IGNORED, Prepared, Request, Token, link};
use super::support::Support;
use crate::burst::give_back;
use crate::completion::{CompletionQueue, Consumer};
use crate::pool::{self, Context, Jobs, Outcome, Pool, Shell, Shutdown, Submitter, Work};
use crate::sync::Native;
use crate::unwind::{contain, discard, discard_all};
use crate::yielding::{YIELDS, Yielder};

/// How a reactor is to be set up.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// How many requests the submission queue holds between two turns, rounded up to a power of two. 256 by default.
    pub submissions: u32,
    /// How many completions the kernel's completion queue holds; what does not fit is kept by the kernel, which costs
    /// more. `None` for twice as many as `submissions`.
    pub completions: Option<u32>,
    /// Where the program sleeps.
    pub sleep: Sleep,
    /// How often a turn that waits for closures lets other threads run before it sleeps (`sched_yield`). That saves sleeps and wakes, of
    /// the reactor and of workers, where closures are short. Where they are long, or where another program wants the CPU, the
    /// reactor notices and does so seldom. 0 for never.
    pub yields: usize,
    /// Whether other threads wake it each time that they post.
    pub wakes: Wakes,
    /// How many [fixed files](Reactor::fix) there may be. 0 by default.
    pub fixed_files: u32,
    /// The pool that closures are offloaded to. It starts no thread before the first one.
    pub pool: pool::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            submissions: 256,
            completions: None,
            sleep: Sleep::InRing,
            yields: YIELDS,
            wakes: Wakes::Spared,
            fixed_files: 0,
            pool: pool::Config::default(),
        }
    }
}

impl Config {
    /// The same, with so many submissions.
    pub fn submissions(self, submissions: u32) -> Self {
        Self { submissions, ..self }
    }

    /// The same, with so many completions.
    pub fn completions(self, completions: u32) -> Self {
        Self { completions: Some(completions), ..self }
    }

    /// The same, with another place to sleep.
    pub fn sleep(self, sleep: Sleep) -> Self {
        Self { sleep, ..self }
    }

    /// The same, yielding so often before it sleeps.
    pub fn yields(self, yields: usize) -> Self {
        Self { yields, ..self }
    }

    /// The same, woken less or more often.
    pub fn wakes(self, wakes: Wakes) -> Self {
        Self { wakes, ..self }
    }

    /// The same, with a table of so many fixed files.
    pub fn fixed_files(self, fixed_files: u32) -> Self {
        Self { fixed_files, ..self }
    }

    /// The same, with another pool.
    pub fn pool(self, pool: pool::Config) -> Self {
        Self { pool, ..self }
    }
}

/// Where the thread of a reactor sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sleep {
    /// In [`Reactor::turn`], which is the cheapest.
    #[default]
    InRing,
    /// Wherever it likes, in `epoll_wait` say, with the reactor's [file descriptor](Reactor::poll_fd) among others.
    Elsewhere,
}

/// When somebody who posts to a reactor writes to its eventfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wakes {
    /// When the thread sleeps or is about to, and has not been told yet.
    #[default]
    Spared,
    /// Each time, as the kernel wakes an epoll for each completion of a ring: what sparing them is measured against.
    Always,
}

/// When the kernel does its part of a completion.
///
/// It is done in the reactor's thread, as task work. The rings differ in what makes the thread do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completing {
    /// `IORING_SETUP_DEFER_TASKRUN` (Linux 6.1): when the thread asks for completions, in one batch. An epoll on such a
    /// ring is not told, since nobody asks.
    Deferred,
    /// `IORING_SETUP_COOP_TASKRUN` (Linux 5.19): when the thread is in the kernel for whatever reason.
    Cooperative,
    /// At once; the thread is interrupted.
    Interrupting,
}

impl Completing {
    /// The kinds of ring from the best to the one that every kernel has.
    fn candidates(sleep: Sleep) -> &'static [Completing] {
        const ALL: &[Completing] = &[Completing::Deferred, Completing::Cooperative, Completing::Interrupting];
        match sleep {
            Sleep::InRing => ALL,
            Sleep::Elsewhere => &ALL[1..],
        }
    }

    /// The best kind of ring that `setup` can set up.
    fn best<R>(sleep: Sleep, setup: impl Fn(Self) -> io::Result<R>) -> Result<(Self, R), Error> {
        let mut refused = Error::Missing;
        for &completing in Self::candidates(sleep) {
            match setup(completing) {
                Ok(ring) => return Ok((completing, ring)),
                // What an older kernel says to flags that it does not know.
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                    refused = Error::setup(error);
                }
                Err(error) => return Err(Error::setup(error)),
            }
        }
        Err(refused)
    }

    fn setup(self, config: &Config) -> io::Result<IoUring> {
        let mut builder = IoUring::builder();
        builder.setup_clamp();
        let submissions = config.submissions.max(1);
        if let Some(completions) = config.completions {
            builder.setup_cqsize(completions.max(submissions));
        }
        match self {
            Self::Deferred => {
                builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_submit_all();
            }
            Self::Cooperative => {
                builder.setup_coop_taskrun().setup_taskrun_flag().setup_submit_all();
            }
            Self::Interrupting => {}
        }
        builder.build(submissions)
    }
}

/// What a reactor has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Calls of `io_uring_enter`.
    pub enters: u64,
    /// How many of them were to sleep.
    pub sleeps: u64,
    /// Calls of `sched_yield`.
    pub yields: u64,
    /// What was posted, by the pool, by other threads and by the thread itself. Each might have been a wake.
    pub posted: u64,
    /// Writes to the eventfd that were heard: wakes.
    pub wakes: u64,
    /// How often the kernel's completion queue was found to have overflowed.
    pub overflows: u64,
    /// Completions that belonged to no request of this reactor, and were ignored: somebody else has used its ring.
    pub strays: u64,
}

/// What a cancellation found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// The kernel is going to be asked. The request ends in its own completion, with `ECANCELED` or with what it came
    /// to before.
    Asked,
    /// The request has ended.
    NotFound,
}

/// There is no room in the submission queue for this request.
#[derive(Debug, thiserror::Error)]
#[error("the submission queue is full: turn the reactor, or use `submit`, which makes room")]
pub struct Full<T>(
    /// The request, unharmed.
    pub Request<T>,
);

/// One stream of events, of the type `T`, from requests to the kernel, from offloaded closures and from other threads.
///
/// ```
/// use std::{fs::File, io};
///
/// use reveille::pool::Work;
/// use reveille::uring::{Config, Error, Reactor, Read, Request};
///
/// enum Event {
///     Opened(Option<io::Result<File>>),
///     Read(io::Result<usize>, Vec<u8>),
/// }
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut reactor = Reactor::new(Config::default())?;
/// // An open may block for long: a closure for the pool. The last argument makes the event.
/// reactor.offload(Work::BOUNDED, |_| File::open("Cargo.toml"), |outcome| Event::Opened(outcome.done()));
/// let mut events = Vec::new();
/// loop {
///     reactor.turn(&mut events, None)?; // submits, sleeps if there is nothing, takes what there is
///     for event in events.drain(..) {
///         match event {
///             // A request for the kernel owns its file and its buffer until it has ended.
///             Event::Opened(Some(file)) => {
///                 let read = Read::new(file?, vec![0; 4096]);
///                 reactor.submit(Request::new(read, |(n, buffer)| Event::Read(n, buffer)))?;
///             }
///             Event::Opened(None) => return Err(io::Error::other("the closure panicked").into()),
///             Event::Read(n, buffer) => return Ok(print!("{}", String::from_utf8_lossy(&buffer[..n?]))),
///         }
///     }
/// }
/// # }
/// # match run() {
/// #     Err(error) if matches!(error.downcast_ref(), Some(Error::Missing | Error::Forbidden)) => {}
/// #     result => result.unwrap(),
/// # }
/// ```
///
/// It stays in the thread that made it: the kernel runs the requests of a ring on behalf of that thread. Others talk to
/// it through a [`Handle`].
///
/// ```compile_fail
/// fn send<T: Send>() {}
/// send::<reveille::uring::Reactor<()>>(); // does not compile
/// ```
///
/// Dropping it cancels what is in flight and waits until the kernel has done with it, so that every buffer can be
/// freed, and until the closures that are running in a pool of its own have returned. Its events are lost;
/// [`shutdown`](Reactor::shutdown) hands them out.
pub struct Reactor<T: Send + 'static> {
    ring: IoUring,
    completing: Completing,
    config: Config,
    flights: Flights<T>,
    listener: Listener,
    consumer: Consumer<Posted<T>>,
    shared: Arc<Shared<T>>,
    submitter: Submitter,
    /// The pool, if it is our own.
    pool: Option<Pool>,
    /// Closures that go to the pool with the next turn.
    jobs: Jobs,
    /// Closures whose outcomes are still to come.
    offloaded: usize,
    /// Commands that were taken from the list and are still to be done.
    commands: VecDeque<Command<T>>,
    /// Events that came up while there was room to be made.
    early: Vec<T>,
    /// Whether the consumer announced that it is going to sleep, and how many wakes were heard by then.
    armed: Option<u64>,
    /// Whether anybody wants the events of requests: not while it is dropped.
    events: Events,
    counts: Counts,
    yielder: Yielder,
    support: Support,
    fixed: Table,
    /// Into which the kernel may write until the ring has come to its end.
    provided: Vec<BufferRing>,
    /// Whose ring it is.
    process: u32,
    not_send: PhantomData<*const ()>,
}

/// The completion queue's ring. What does not fit goes to its overflow list, so this is a matter of speed only.
const POSTED: usize = 1024;

/// How many entries of the completion queue one turn takes, so that the kernel's get their turn.
const BATCH: usize = 1024;

impl<T: Send + 'static> Reactor<T> {
    /// Sets up a ring, of the best kind that the kernel has.
    ///
    /// # Errors
    /// [`Error`] says whether the kernel lacks io_uring, forbids it, has too little memory for it, or is too old.
    pub fn new(config: Config) -> Result<Self, Error> {
        let pool = Pool::new(config.pool.clone());
        Self::set_up(config, pool.submitter(), Some(pool))
    }

    /// The same with a pool of somebody else's, instead of one of its own.
    ///
    /// # Errors
    /// As for [`new`](Reactor::new).
    pub fn with_pool(config: Config, submitter: Submitter) -> Result<Self, Error> {
        Self::set_up(config, submitter, None)
    }

    fn set_up(config: Config, submitter: Submitter, pool: Option<Pool>) -> Result<Self, Error> {
        let (completing, ring) = Completing::best(config.sleep, |completing| completing.setup(&config))?;
        Self::with_ring(ring, completing, config, submitter, pool)
    }

    fn with_ring(
        ring: IoUring,
        completing: Completing,
        config: Config,
        submitter: Submitter,
        pool: Option<Pool>,
    ) -> Result<Self, Error> {
        check(ring.params())?;
        let listener = Listener::new()?;
        let (posted, mut consumer) = CompletionQueue::with_capacity(POSTED);
        match config.wakes {
            Wakes::Spared => consumer.set_waker(&listener.waker()),
            Wakes::Always => consumer.wake_always(&listener.waker()),
        }
        let shared = Arc::new(Shared::new(posted, submitter.clone(), ring.params().sq_entries() as usize));
        let yielder = Yielder::new(config.yields);
        let (support, fixed) = (Support::of(&ring), Table::new(&ring, config.fixed_files)?);
        Ok(Self {
            ring,
            completing,
            config,
            flights: Flights::new(),
            listener,
            consumer,
            shared,
            submitter,
            pool,
            jobs: Jobs::default(),
            offloaded: 0,
            commands: VecDeque::new(),
            early: Vec::new(),
            armed: None,
            events: Events::Wanted,
            counts: Counts::default(),
            yielder,
            support,
            fixed,
            provided: Vec::new(),
            process: process::current(),
            not_send: PhantomData,
        })
    }

    /// What other threads and futures reach this reactor by.
    pub fn handle(&self) -> Handle<T> {
        Handle::new(self.shared.clone())
    }

    /// The kind of ring that was found.
    pub fn completing(&self) -> Completing {
        self.completing
    }

    /// How many requests the kernel has, or is going to have with the next turn.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        Counts { wakes: self.listener.heard(), strays: self.flights.strays(), ..self.counts }
    }

    /// What the pool that closures are offloaded to has done so far.
    pub fn pool_stats(&self) -> pool::Stats {
        self.submitter.stats()
    }

    /// What to wait for, for reading, in an epoll or poll of one's own; `None` if the ring was [set up](Config::sleep)
    /// to be slept in, as an epoll might never hear of it. [`prepare_to_sleep`](Reactor::prepare_to_sleep) before.
    pub fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        (self.config.sleep == Sleep::Elsewhere).then(|| self.ring.as_fd())
    }

    /// Sets up so many buffers of this size, rounded up to a power of two and 32,768 at most, from which the kernel takes
    /// one when something has [arrived](super::RecvMulti). They stay as long as the reactor.
    ///
    /// # Errors
    /// [`Error::TooOld`] before Linux 5.19; and of the ring, if there is no memory for them.
    pub fn provide_buffers(&mut self, count: u16, size: u32) -> Result<BufferRing, Error> {
        self.is_ours()?;
        let buffers = BufferRing::new(&self.ring, &self.support, count, size)?;
        self.provided.push(buffers.clone());
        Ok(buffers)
    }

    /// Puts a file into the ring's table, which has room for [so many](Config::fixed_files): operations take the [`Fixed`]
    /// one in its place, and save the kernel the way from the descriptor to the file. The descriptor may be closed.
    ///
    /// # Errors
    /// [`Error::TooManyFixed`] if the table is full; and of the ring.
    pub fn fix(&mut self, file: impl AsFd) -> Result<Fixed, Error> {
        self.is_ours()?;
        self.fixed.fix(&self.ring, &file)
    }

    /// Hands a request over, to be submitted with the next [`turn`](Reactor::turn). If the submission queue is full,
    /// what is there is submitted first.
    ///
    /// # Errors
    /// Of the ring, if it takes no requests; this one is dropped.
    pub fn submit(&mut self, request: Request<T>) -> Result<Token, Error> {
        self.make_room(1)?;
        Ok(self.push(request.prepare()))
    }

    /// [`submit`](Reactor::submit) that does not enter the kernel.
    ///
    /// # Errors
    /// The request comes back if the submission queue is full, and in the child of a fork.
    pub fn try_submit(&mut self, request: Request<T>) -> Result<Token, Full<T>> {
        if self.is_ours().is_err() || self.ring.submission().is_full() {
            return Err(Full(request));
        }
        Ok(self.push(request.prepare()))
    }

    /// Hands over a chain: each request starts when the one before has ended well. When one fails, those after it end
    /// with `ECANCELED`.
    ///
    /// # Errors
    /// [`Error::ChainTooLong`] if the chain is longer than the submission queue, through which it goes in one piece.
    /// The requests are dropped.
    pub fn submit_linked(
        &mut self,
        chain: impl IntoIterator<Item = Request<T>>,
    ) -> Result<Vec<Token>, Error> {
        let chain = link(chain);
        check_length(chain.len(), self.ring.params().sq_entries() as usize)?;
        self.make_room(chain.len())?;
        let chain: Vec<_> = chain.into_iter().map(Request::prepare).collect();
        Ok(chain.into_iter().map(|request| self.push(request)).collect())
    }

    /// Hands a closure over, to be run by the pool; it is submitted with the next [`turn`](Reactor::turn), in one batch
    /// with others. `then` makes the event, in the worker, from what became of it: every closure that was offloaded has
    /// one.
    ///
    /// ```
    /// # use reveille::uring::{Config, Error, Reactor};
    /// use reveille::pool::{Outcome, Work};
    /// # let mut reactor = match Reactor::<Option<u32>>::new(Config::default()) {
    /// #     Err(Error::Missing | Error::Forbidden) => return, // no io_uring on this machine
    /// #     reactor => reactor.unwrap(),
    /// # };
    /// reactor.offload(Work::BOUNDED, |_| 6 * 7, Outcome::done);
    /// let mut events = Vec::new();
    /// while events.is_empty() {
    ///     reactor.turn(&mut events, None).unwrap();
    /// }
    /// assert_eq!(events, [Some(42)]);
    /// ```
    pub fn offload<R, F>(&mut self, work: Work, run: F, then: impl FnOnce(Outcome<R>) -> T + Send + 'static)
    where
        R: 'static,
        F: FnOnce(&Context<'_>) -> R + Send + 'static,
    {
        let delivery = self.expect_delivery();
        self.jobs.enqueue_detached(work, run, move |outcome, shell| delivery.post(then(outcome), shell));
    }

    /// [`offload`](Reactor::offload), and what cancels the closure. It has its event then too: `then` is told
    /// [`Outcome::Cancelled`].
    pub fn offload_cancellable<R, F>(
        &mut self,
        work: Work,
        run: F,
        then: impl FnOnce(Outcome<R>) -> T + Send + 'static,
    ) -> pool::Token
    where
        R: 'static,
        F: FnOnce(&Context<'_>) -> R + Send + 'static,
    {
        let delivery = self.expect_delivery();
        self.jobs.enqueue(work, run, move |outcome| delivery.post(then(outcome), None))
    }

    fn expect_delivery(&mut self) -> Delivery<T> {
        self.offloaded += 1;
        Delivery(Some(self.shared.posted.clone()))
    }

    /// Asks the kernel to end a request, with the next turn. Of a chain it finds the one that is being done, whose end
    /// is the end of all; not those that wait.
    ///
    /// # Errors
    /// Of the ring, if it takes no requests.
    pub fn cancel(&mut self, token: Token) -> Result<Cancellation, Error> {
        if !self.flights.is_in_flight(token) {
            return Ok(Cancellation::NotFound);
        }
        self.make_room(1)?;
        self.push_entry(&opcode::AsyncCancel::new(token.user_data()).build().user_data(IGNORED));
        Ok(Cancellation::Asked)
    }

    /// One turn: submits what was handed over, sleeps if there is nothing to report, and appends to `events` what there
    /// is.
    ///
    /// With a `timeout` it sleeps no longer than that: not at all if it is zero. It may come back early and with
    /// nothing, as when a signal arrives. It takes what is at hand without a system call.
    ///
    /// # Errors
    /// Of the ring. The events so far are in `events`; turn again, if it was lack of memory or so.
    pub fn turn(&mut self, events: &mut Vec<T>, timeout: Option<Duration>) -> Result<(), Error> {
        self.is_ours()?;
        self.fixed.sweep(&self.ring)?;
        let before = events.len();
        events.append(&mut self.early);
        give_back(&mut self.early);
        let may_sleep = timeout != Some(Duration::ZERO);
        if may_sleep && events.is_empty() && self.waits_for_closures() {
            self.let_workers_run()?;
        } else {
            self.submitter.submit(&mut self.jobs);
        }
        self.reap(events)?;
        self.awake();
        self.take_posted(events)?;
        if may_sleep && events.len() == before && self.announce_sleep()? {
            self.counts.sleeps += 1;
            self.enter(Wait::ForOne(timeout))?;
        } else if self.must_enter() {
            self.enter(Wait::No)?;
        }
        self.reap(events)?;
        self.awake();
        self.take_posted(events)
    }

    /// Submits what was handed over, [yields](Config::yields) if closures are out, and announces that the thread
    /// is going to sleep until the [file descriptor](Reactor::poll_fd) is readable. If this returns false there is something to do:
    /// [`turn`](Reactor::turn) instead.
    ///
    /// # Errors
    /// Of the ring.
    pub fn prepare_to_sleep(&mut self) -> Result<bool, Error> {
        self.is_ours()?;
        if self.waits_for_closures() {
            self.let_workers_run()?;
        } else {
            self.submitter.submit(&mut self.jobs);
        }
        if !self.commands.is_empty() || !self.announce_sleep()? {
            return Ok(false);
        }
        if self.must_enter() {
            self.enter(Wait::No)?;
        }
        Ok(self.ring.completion().is_empty())
    }

    /// Is there nothing to report, and are there closures, of its own or of futures, that may end the sleep that
    /// comes? They may well be over once the workers have had this CPU.
    fn waits_for_closures(&mut self) -> bool {
        (self.offloaded > 0 || self.shared.is_waited_for())
            && self.yielder.is_ready()
            && self.consumer.is_empty()
            && !has_news(&mut self.ring)
    }

    /// Submits closures, and yields this CPU as long as the workers get on with them. One worker may do them all before a second one is
    /// awake: the others are woken only when jobs wait and none is taken. In the end nothing waits for somebody who is asleep.
    ///
    /// The kernel's completions do not wait for that: they end it, and what is for the kernel it gets before.
    fn let_workers_run(&mut self) -> Result<(), Error> {
        if !self.ring.submission().is_empty() {
            self.enter(Wait::No)?;
        }
        let Self { ring, yielder, counts, consumer, submitter, jobs, .. } = self;
        let spared = submitter.submit_sparingly(jobs);
        if has_news(ring) {
            return Ok(());
        }
        let mut waiting = spared.waiting();
        yielder.yield_until::<Native>(|| {
            counts.yields += 1;
            let left = spared.waiting();
            let stuck = left > 0 && left >= waiting;
            if stuck {
                spared.wake();
            }
            waiting = left;
            has_news(ring) || (stuck || left == 0) && !consumer.is_empty()
        });
        Ok(())
    }

    /// Arms the gate, and has the eventfd listened to. False if something has been posted, or came up while room was
    /// made.
    fn announce_sleep(&mut self) -> Result<bool, Error> {
        // Who is to be woken each time stays armed.
        self.armed = (self.config.wakes == Wakes::Spared).then(|| self.listener.heard());
        if !self.consumer.prepare_to_sleep() {
            return Ok(false);
        }
        if !self.listener.outstanding() {
            self.make_room(1)?;
            self.listener.listen(&mut self.ring.submission(), BELL);
        }
        Ok(self.early.is_empty())
    }

    /// After a sleep: whoever posts from now on need not ring. If somebody rang, the gate knows that we are awake.
    fn awake(&mut self) {
        if self.armed.take() == Some(self.listener.heard()) {
            self.consumer.awake();
        }
    }

    /// Is there something that only a system call will move?
    fn must_enter(&mut self) -> bool {
        let submissions = self.ring.submission();
        let overflown = submissions.cq_overflow();
        self.counts.overflows += u64::from(overflown);
        overflown || submissions.taskrun() || !submissions.is_empty()
    }

    fn enter(&mut self, wait: Wait) -> Result<(), Error> {
        self.counts.enters += 1;
        let submitter = self.ring.submitter();
        let entered = match wait {
            Wait::No => submitter.submit(),
            Wait::ForOne(None) => submitter.submit_and_wait(1),
            Wait::ForOne(Some(time)) => {
                submitter.submit_with_args(1, &types::SubmitArgs::new().timespec(&timespec(time)))
            }
        };
        let Err(error) = entered else { return Ok(()) };
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            // A signal, the end of the time, or completions that have to be reaped before the kernel takes more
            // requests.
            Some(Errno::INTR | Errno::TIME | Errno::BUSY) => Ok(()),
            Some(Errno::BADR) => Err(Error::CompletionsLost),
            _ => Err(error.into()),
        }
    }

    /// A child of a fork must not even look into the ring.
    fn is_ours(&self) -> Result<(), Error> {
        if process::current() == self.process { Ok(()) } else { Err(Error::Forked) }
    }

    /// Sees to it that the submission queue has room for so many, which are not more than it can hold.
    fn make_room(&mut self, wanted: usize) -> Result<(), Error> {
        self.is_ours()?;
        while self.room() < wanted {
            let before = self.room();
            self.enter(Wait::No)?;
            if self.room() == before {
                // The kernel takes no more before its completions are taken.
                let Self { ring, listener, flights, early, events, .. } = self;
                // Armed, it stays so: nobody may look at the completion queue before the sleep.
                if reap(ring, listener, flights, *events, early, || {})? == 0 {
                    return Err(io::Error::from(Errno::BUSY).into());
                }
            }
        }
        Ok(())
    }

    fn room(&mut self) -> usize {
        let submissions = self.ring.submission();
        submissions.capacity() - submissions.len()
    }

    /// There is room.
    fn push(&mut self, request: Prepared<T>) -> Token {
        let (token, entry) = self.flights.start(request, &self.support);
        self.push_entry(&entry);
        token
    }

    fn push_entry(&mut self, entry: &squeue::Entry) {
        // SAFETY: the entry has no addresses, or is that of a flight, which keeps them valid until its last completion.
        let pushed = unsafe { self.ring.submission().push(entry) };
        pushed.expect("there is room for a submission");
    }

    /// Takes the kernel's completions.
    fn reap(&mut self, events: &mut Vec<T>) -> Result<usize, Error> {
        let Self { ring, listener, flights, armed, consumer, .. } = self;
        reap(ring, listener, flights, self.events, events, || {
            if armed.take().is_some() {
                consumer.awake();
            }
        })
    }

    /// Takes what the pool and other threads have posted.
    fn take_posted(&mut self, events: &mut Vec<T>) -> Result<(), Error> {
        for _ in 0..BATCH {
            let Some(posted) = self.consumer.pop() else { break };
            self.counts.posted += 1;
            match posted {
                Posted::Event(event) => events.push(event),
                Posted::Offloaded(event, shell) => {
                    self.offloaded -= 1;
                    shell.into_iter().for_each(|shell| self.jobs.keep(shell));
                    events.extend(event);
                }
                Posted::Commands => self.shared.take(&mut self.commands),
            }
        }
        self.obey()
    }

    /// Does what other threads have asked for.
    fn obey(&mut self) -> Result<(), Error> {
        while let Some(command) = self.commands.front() {
            let wanted = match command {
                Command::Submit(chain) => chain.len(),
                Command::Cancel(_) => 1,
            };
            // If there is none, or somebody's event panics, it stays for the next turn.
            self.make_room(wanted)?;
            let Some(command) = self.commands.pop_front() else { break };
            give_back(&mut self.commands);
            match command {
                Command::Submit(chain) => {
                    let prepare = |(request, ticket): (Request<T>, _)| (request.prepare(), ticket);
                    let chain: SmallVec<[_; 1]> = chain.into_iter().map(prepare).collect();
                    chain.into_iter().for_each(|(request, ticket)| ticket.submitted(self.push(request)));
                }
                Command::Cancel(ticket) => {
                    if let Some(token) = ticket.token() {
                        self.cancel(token)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends everything that is in flight, and appends the events of that, and all that were posted, to `events`.
    ///
    /// [`Shutdown::Drain`] lets requests and closures come to their own end, and waits for ever for one that has none;
    /// multishot requests are cancelled. [`Shutdown::Cancel`] cancels all, and waits for the closures that are running;
    /// in a pool of somebody else's it cancels none, and waits for all of this reactor's. Handles are told
    /// [`Closed`](super::Closed) from now on; what they have handed over before is submitted and drained, or dropped.
    ///
    /// # Errors
    /// Of the ring. What could not be brought to its end is leaked.
    pub fn shutdown(mut self, how: Shutdown, events: &mut Vec<T>) -> Result<(), Error> {
        self.settle(how, events)
    }

    fn settle(&mut self, how: Shutdown, events: &mut Vec<T>) -> Result<(), Error> {
        self.is_ours()?;
        self.commands.extend(self.shared.close());
        if how == Shutdown::Cancel {
            self.commands.drain(..).for_each(Command::discard);
        }
        self.submitter.submit(&mut self.jobs);
        if let Some(pool) = &self.pool {
            pool.shutdown(how).expect("a reactor is not inside of a job of its own pool");
        }
        // A cancellation finds nothing where a chain has just gone on to its next request, so it is repeated. Not at
        // once: what runs in one of the kernel's workers may take its time.
        let mut patience = Duration::from_millis(1);
        let mut next = Instant::now();
        loop {
            let before = events.len();
            self.turn(events, Some(Duration::ZERO))?;
            let over = self.flights.len() == 0
                && match self.events {
                    // A turn that takes less than a batch has seen the end of what was posted.
                    Events::Wanted => {
                        self.commands.is_empty() && self.offloaded == 0 && events.len() - before < BATCH
                    }
                    Events::Unwanted => true,
                };
            if over {
                // Whoever posts after this has his event back; what came in between is the last.
                self.consumer.close();
                while !self.consumer.is_empty() {
                    self.take_posted(events)?;
                }
                return Ok(());
            }
            if Instant::now() >= next {
                for token in self.flights.tokens(how == Shutdown::Drain) {
                    self.cancel(token)?;
                }
                next = Instant::now() + patience;
                patience = (patience * 2).min(Duration::from_secs(1));
            }
            self.turn(events, Some(next.saturating_duration_since(Instant::now())))?;
        }
    }
}

impl<T: Send + 'static> Drop for Reactor<T> {
    fn drop(&mut self) {
        if self.is_ours().is_err() {
            // The requests go on, and are leaked here. Of the pool there are no threads to wait for, and locks that nobody will
            // release.
            std::mem::forget((self.pool.take(), std::mem::take(&mut self.jobs)));
            return;
        }
        self.events = Events::Unwanted;
        let mut events = Vec::new();
        let settled = self.settle(Shutdown::Cancel, &mut events);
        discard_all::<Native, _>(
            "the destructor of an event",
            events.into_iter().chain(self.early.drain(..)),
        );
        // The read of the eventfd comes to its end by a ring of the bell.
        self.listener.waker().wake();
        while self.listener.outstanding() {
            let heard = self.enter(Wait::ForOne(None)).and_then(|()| self.reap(&mut Vec::new()));
            if settled.is_err() || heard.is_err() {
                // Closing the ring ends what is left, but not before it has returned. So the memory of that is leaked:
                // the flights do so by themselves.
                self.listener.abandon();
                std::mem::forget(std::mem::take(&mut self.provided));
            }
        }
    }
}

/// The obligation to post the event of an offloaded closure. It is posted when this is dropped: without an event if
/// what should have made it panicked.
struct Delivery<T: Send + 'static>(Option<Arc<CompletionQueue<Posted<T>>>>);

impl<T: Send + 'static> Delivery<T> {
    #[inline]
    fn post(mut self, event: T, shell: Option<Shell>) {
        if let Some(posted) = self.0.take() {
            posted.publish_one(Posted::Offloaded(Some(event), shell));
        }
    }
}

impl<T: Send + 'static> Drop for Delivery<T> {
    fn drop(&mut self) {
        if let Some(posted) = self.0.take() {
            posted.publish_one(Posted::Offloaded(None, None));
        }
    }
}

/// Takes the kernel's completions, and says how many there were.
///
/// Each is off the ring before its event is made. If that panics, those behind it stay for the next time, and those
/// before it are in `events`, which therefore is no place on the stack. Where nobody wants events, nobody gets the panic.
///
/// Before an event is made `awake` is called: the kernel has ended the sleep, if there was one, and what is made may post to
/// this reactor, as a waker of its own tasks does. That should not ring.
fn reap<T: 'static>(
    ring: &mut IoUring,
    listener: &mut Listener,
    flights: &mut Flights<T>,
    wanted: Events,
    events: &mut Vec<T>,
    mut awake: impl FnMut(),
) -> Result<usize, Error> {
    let mut reaped = 0;
    for entry in ring.completion() {
        reaped += 1;
        if entry.user_data() != BELL {
            awake();
        }
        match (entry.user_data(), wanted) {
            (BELL, _) => listener.completed(entry.result())?,
            (IGNORED, _) => {}
            (_, Events::Wanted) => events.extend(flights.completed(&entry, wanted)),
            (_, Events::Unwanted) => {
                let made = contain::<Native, _>("the end of a request", || flights.completed(&entry, wanted));
                discard::<Native>("the destructor of an event", made);
            }
        }
    }
    Ok(reaped)
}

/// Whether the kernel has completions, or has work to do in this thread that brings some.
fn has_news(ring: &mut IoUring) -> bool {
    let submissions = ring.submission();
    let owes = submissions.taskrun() || submissions.cq_overflow();
    drop(submissions);
    owes || !ring.completion().is_empty()
}

enum Wait {
    No,
    ForOne(Option<Duration>),
}

/// Whether the kernel has what cannot be done without.
fn check(ring: &Parameters) -> Result<(), Error> {
    if !ring.is_feature_nodrop() {
        return Err(Error::TooOld("IORING_FEAT_NODROP (Linux 5.5)"));
    }
    if !ring.is_feature_ext_arg() {
        return Err(Error::TooOld("IORING_FEAT_EXT_ARG (Linux 5.11)"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use super::*;
    use crate::gate::{Gate, PerEntry};
    use crate::sync::Primitives;
    use crate::uring::{Nop, Timeout, Unsupported};

    /// A test of the verdict says of this gate that it is the one called sound.
    #[test]
    fn the_reactors_wakes_are_decided_by_the_librarys_gate() {
        fn gate_of<T: Send + 'static, P: Primitives, G: Gate + 'static>(
            _: fn(&Reactor<u32>) -> &Consumer<T, P, G>,
        ) -> TypeId {
            TypeId::of::<G>()
        }
        assert_eq!(gate_of(|reactor| &reactor.consumer), TypeId::of::<PerEntry>());
    }

    #[test]
    fn an_older_kernel_gets_the_best_ring_that_it_knows() {
        let kernel = |knows: Completing| {
            move |asked| if asked == knows { Ok(()) } else { Err(io::Error::from(Errno::INVAL)) }
        };
        for knows in [Completing::Deferred, Completing::Cooperative, Completing::Interrupting] {
            assert!(
                matches!(Completing::best(Sleep::InRing, kernel(knows)), Ok((found, ())) if found == knows)
            );
        }
        let refused = Completing::best(Sleep::Elsewhere, kernel(Completing::Deferred));
        assert!(matches!(refused, Err(Error::Other(_))), "not for an epoll");
        let forbidden = |_| Err::<(), _>(io::Error::from(Errno::PERM));
        assert!(matches!(Completing::best(Sleep::InRing, forbidden), Err(Error::Forbidden)));
    }

    /// What a reactor is for, in short.
    fn works(mut reactor: Reactor<u32>) {
        let handle = reactor.handle();
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            handle.post(0).unwrap();
        });
        reactor.offload(Work::BOUNDED, |_| std::thread::sleep(Duration::from_millis(3)), |_| 1);
        reactor.submit(Request::new(Timeout::after(Duration::from_millis(4)), |_| 2)).unwrap();
        for i in 3..103 {
            reactor.submit(Request::new(Nop, move |_| i)).unwrap(); // overflows
        }
        let mut events = Vec::new();
        while events.len() < 103 {
            reactor.turn(&mut events, None).unwrap();
        }
        events.sort();
        assert_eq!(events, Vec::from_iter(0..103));
        other.join().unwrap();
        reactor.submit(Request::new(Timeout::after(Duration::from_secs(3600)), |_| 0)).unwrap();
        reactor.turn(&mut events, Some(Duration::ZERO)).unwrap();
    }

    #[test]
    fn a_completion_of_no_request_is_counted_and_ignored() {
        let config = Config::default();
        let Ok(mut reactor) = Reactor::<u32>::new(config) else { return eprintln!("SKIPPED: no io_uring") };
        reactor.push_entry(&opcode::Nop::new().build().user_data(7));
        reactor.submit(Request::new(Nop, |_| 1)).unwrap();
        let mut events = Vec::new();
        while events.is_empty() {
            reactor.turn(&mut events, None).unwrap();
        }
        assert_eq!((events, reactor.counts().strays), (vec![1], 1));
    }

    #[test]
    fn what_the_kernel_lacks_is_an_error_of_its_own_type_and_what_is_invalid_is_not() {
        type Result = (io::Result<()>, io::Result<u32>);
        let Ok(mut reactor) = Reactor::<Result>::new(Config::default()) else {
            return eprintln!("SKIPPED: no io_uring");
        };
        let mut ask = |lacks: bool| {
            if lacks {
                reactor.support = Support::nothing();
            }
            // No request stands before it, so the kernel calls it invalid.
            let invalid = crate::uring::LinkTimeout::after(Duration::ZERO);
            // SAFETY: there are no addresses in the entry.
            let no_file = unsafe { crate::uring::Raw::new(opcode::Fsync::new(types::Fd(-1)).build(), ()) };
            reactor.submit(Request::new(invalid, |done| (done, Ok(0)))).unwrap();
            reactor.submit(Request::new(no_file, |(done, ())| (Ok(()), done.result))).unwrap();
            let mut events = Vec::new();
            while events.len() < 2 {
                reactor.turn(&mut events, None).unwrap();
            }
            let invalid = events.iter().find_map(|event| event.0.as_ref().err()).unwrap();
            let no_file = events.iter().find_map(|event| event.1.as_ref().err()).unwrap();
            assert_eq!(no_file.raw_os_error(), Some(Errno::BADF.raw_os_error()));
            (Unsupported::of(invalid).map(|lacks| lacks.name), invalid.kind())
        };
        assert_eq!(ask(false), (None, io::ErrorKind::InvalidInput));
        assert_eq!(ask(true), (Some("such operation"), io::ErrorKind::Unsupported));
    }

    #[test]
    fn a_reactor_works_on_each_kind_of_ring() {
        let config = Config::default().submissions(4).completions(8);
        for completing in [Completing::Deferred, Completing::Cooperative, Completing::Interrupting] {
            let pool = Pool::new(config.pool.clone());
            match completing.setup(&config) {
                Ok(ring) => {
                    let submitter = pool.submitter();
                    let config = config.clone();
                    works(Reactor::with_ring(ring, completing, config, submitter, Some(pool)).unwrap());
                }
                Err(error) => eprintln!("SKIPPED: {completing:?}: {}", Error::setup(error)),
            }
        }
    }

    #[test]
    fn a_ring_without_the_features_that_are_needed_is_refused_by_their_names() {
        // SAFETY: the parameters are plain numbers, and this kernel has no features.
        let parameters = unsafe { std::mem::zeroed::<Parameters>() };
        assert!(matches!(check(&parameters), Err(Error::TooOld(feature)) if feature.contains("NODROP")));
    }
}
