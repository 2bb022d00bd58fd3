//! A job: a closure with a place to deliver its outcome to, and, if others may cancel it, a state that says who may still take it.

use std::any::Any;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context as TaskContext, Poll, Waker};

use crate::gate::{PerEntry, WakeOne};
use crate::slot::Slot;
use crate::sync::{Atomic, Cell, Native, Parker, Primitives};
use crate::unwind::{contain, discard};

use super::shell::{Shell, Shells};
use super::worker::{Context, Worker};

/// Which of the two accounts a job is charged to; each has its own workers and its own maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AccountName {
    /// Work that is sure to end: file I/O, computation.
    #[default]
    Bounded = 0,
    /// Work that may wait for somebody else for ever: sockets, pipes, locks.
    Unbounded = 1,
}

impl AccountName {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Bounded, Self::Unbounded];
}

/// What is to be known about a job, decided once, when it is enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Work {
    /// The account it is charged to.
    pub account: AccountName,
    /// Jobs of one hash run one at a time and in order; `None` runs at any time.
    pub hash: Option<u64>,
    /// A number of the user's, by which [`cancel_where`](super::Submitter::cancel_where) finds it; a job without one it does
    /// not find.
    pub tag: Option<u64>,
}

impl Work {
    /// For the bounded account.
    pub const BOUNDED: Work = Work { account: AccountName::Bounded, hash: None, tag: None };
    /// For the unbounded account.
    pub const UNBOUNDED: Work = Work { account: AccountName::Unbounded, hash: None, tag: None };

    /// The same, one at a time and in order with all others of this hash.
    pub fn hashed(self, hash: u64) -> Work {
        Work { hash: Some(hash), ..self }
    }

    /// The same, with a tag.
    pub fn tagged(self, tag: u64) -> Work {
        Work { tag: Some(tag), ..self }
    }
}

/// What became of a job. Every job that was enqueued has exactly one.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It ran, and returned this.
    Done(T),
    /// It ran, and panicked with this. Its worker lives on.
    Panicked(Box<dyn Any + Send>),
    /// It was cancelled before it ran.
    Cancelled,
    /// The pool could not take it.
    Refused(Refusal),
}

impl<T> Outcome<T> {
    /// What the job returned, if it did.
    pub fn done(self) -> Option<T> {
        match self {
            Outcome::Done(value) => Some(value),
            _ => None,
        }
    }
}

/// Why a pool did not take a job.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// Its shutdown has begun.
    #[error("the pool is shutting down")]
    ShuttingDown,
    /// The account has no worker, and the system refuses to start a thread.
    #[error("no worker could be started: {0}")]
    NoWorker(Arc<io::Error>),
}

/// What a cancellation found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// The job had not begun and will not; it completes as [`Outcome::Cancelled`].
    BeforeItRan,
    /// It is running and has been told: [`Context::cancelled`] is true from now on. It completes as it likes.
    WhileRunning,
    /// It is over already.
    NotFound,
}

/// A completion in a [`CompletionQueue`](crate::completion::CompletionQueue).
#[derive(Debug)]
pub struct Completion<T> {
    /// The number given with the job.
    pub user_data: u64,
    /// What became of it.
    pub outcome: Outcome<T>,
}

/// How a job is brought to its end.
pub(super) enum Fate<'a, P: Primitives, G: WakeOne> {
    Run(&'a Worker<P, G>),
    Cancelled,
    Refused(Refusal),
}

/// A job of any type, as lists and workers have it. Whoever has it brings it to its end.
///
/// Two kinds: an [`Owned`] one belongs to whoever has taken it out of a list, and to nobody else; a [`Task`] may be cancelled by
/// others meanwhile.
pub(super) trait Job<P: Primitives, G: WakeOne>: Send {
    fn work(&self) -> &Work;

    /// Brings the job to its end, if nobody else has; it is then the one to do so.
    ///
    /// `Some` says how it ended; `None` that somebody else was first.
    fn conclude(self: Box<Self>, fate: Fate<'_, P, G>) -> Option<Ending>;

    /// What cancels it, if it has a tag, by which it may be looked for.
    fn tagged(&self) -> Option<AnyTask<P, G>>;
}

/// A job that others can cancel.
pub(super) trait Cancellable<P: Primitives, G: WakeOne>: Send + Sync {
    fn work(&self) -> &Work;

    fn cancel(&self) -> Cancel;

    fn told(&self) -> bool;
}

/// An [`Outcome`] without its value, for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Done,
    Panicked,
    Cancelled,
    Refused,
}

pub(super) type AnyJob<P, G> = Box<dyn Job<P, G>>;
pub(super) type AnyTask<P, G> = Arc<dyn Cancellable<P, G>>;

/// A closure, and where its outcome goes.
struct Body<F, D, T> {
    run: F,
    deliver: D,
    returns: PhantomData<fn() -> T>,
}

impl<F, D, T> Body<F, D, T> {
    fn new(run: F, deliver: D) -> Self {
        Self { run, deliver, returns: PhantomData }
    }

    /// `over` is called when it has run, before its outcome is out. Nothing of the user's unwinds out of this, be it the
    /// closure, what it holds, or the receiver: this job's end is not the end of those that come after.
    fn conclude<P: Primitives, G: WakeOne>(
        self,
        fate: Fate<'_, P, G>,
        task: Option<&dyn Cancellable<P, G>>,
        over: impl FnOnce(),
        shell: Option<Shell>,
    ) -> Ending
    where
        F: FnOnce(&Context<'_, P, G>) -> T,
        D: FnOnce(Outcome<T>, Option<Shell>),
    {
        let Self { run, deliver, .. } = self;
        let (ending, outcome) = match fate {
            Fate::Run(worker) => {
                let result = P::catch(|| run(&Context { worker, task }));
                over();
                match result {
                    Ok(value) => (Ending::Done, Outcome::Done(value)),
                    Err(panic) => (Ending::Panicked, Outcome::Panicked(panic)),
                }
            }
            Fate::Cancelled => {
                discard::<P>("the destructor of a cancelled job", run);
                (Ending::Cancelled, Outcome::Cancelled)
            }
            Fate::Refused(why) => {
                discard::<P>("the destructor of a refused job", run);
                (Ending::Refused, Outcome::Refused(why))
            }
        };
        contain::<P, _>("the receiver of an outcome", || deliver(outcome, shell));
        ending
    }
}

/// A job without a token and without a tag, so that nobody can cancel it but with all that wait: it needs no state and no counted
/// references. Its outcome is delivered with its empty box.
pub(super) struct Owned<F, D, T> {
    work: Work,
    body: Option<Body<F, D, T>>,
}

impl<P, G, F, D, T> Job<P, G> for Owned<F, D, T>
where
    P: Primitives,
    G: WakeOne,
    F: FnOnce(&Context<'_, P, G>) -> T + Send + 'static,
    D: FnOnce(Outcome<T>, Option<Shell>) + Send + 'static,
    T: 'static,
{
    fn work(&self) -> &Work {
        &self.work
    }

    fn conclude(mut self: Box<Self>, fate: Fate<'_, P, G>) -> Option<Ending> {
        let body = self.body.take()?;
        Some(body.conclude(fate, None, || {}, Some(self)))
    }

    fn tagged(&self) -> Option<AnyTask<P, G>> {
        None
    }
}

/// The states of a task. Whoever moves it out of `PENDING` owns the closure: an exchange, so that there is only one.
///
/// | state | meaning | left by |
/// |---|---|---|
/// | `PENDING` | in a work list or in the chain of its hash | a worker → `RUNNING`; a cancellation or refusal → `OVER` |
/// | `RUNNING` | its closure runs | its worker → `OVER`; a cancellation → `TOLD` |
/// | `TOLD` | its closure runs and is asked to end | its worker → `OVER` |
/// | `OVER` | its outcome is being delivered, or was | |
const PENDING: usize = 0;
const RUNNING: usize = 1;
const TOLD: usize = 2;
const OVER: usize = 3;

/// A job that may be cancelled: a closure, where its outcome goes, and the state.
pub(super) struct Task<P: Primitives, F: Send + 'static, D: Send + 'static, T: 'static> {
    work: Work,
    state: P::Atomic,
    body: P::Cell<Option<Body<F, D, T>>>,
}

/// A job that nobody cancels by itself, in the box of another one if there is a fitting one.
pub(super) fn detached<P, G, F, D, T>(shells: &mut Shells, work: Work, run: F, deliver: D) -> AnyJob<P, G>
where
    P: Primitives,
    G: WakeOne,
    F: FnOnce(&Context<'_, P, G>) -> T + Send + 'static,
    D: FnOnce(Outcome<T>, Option<Shell>) + Send + 'static,
    T: 'static,
{
    if work.tag.is_some() {
        return cancellable(work, run, |outcome| deliver(outcome, None)).0;
    }
    let mut shell = shells.take().unwrap_or_else(|| Box::new(Owned { work, body: None }));
    shell.work = work;
    shell.body = Some(Body::new(run, deliver));
    shell
}

/// A job, and what cancels it.
pub(super) fn cancellable<P, G, F, D, T>(work: Work, run: F, deliver: D) -> (AnyJob<P, G>, Token<P, G>)
where
    P: Primitives,
    G: WakeOne,
    F: FnOnce(&Context<'_, P, G>) -> T + Send + 'static,
    D: FnOnce(Outcome<T>) + Send + 'static,
    T: 'static,
{
    let deliver = |outcome, _| deliver(outcome);
    let task = Arc::new(Task::<P, _, _, _> {
        work,
        state: P::Atomic::new("job", PENDING),
        body: P::Cell::new("body", Some(Body::new(run, deliver))),
    });
    (Box::new(task.clone()), Token(task))
}

impl<P: Primitives, F: Send + 'static, D: Send + 'static, T: 'static> Task<P, F, D, T> {
    /// Moves the state on, if it is `from`. Relaxed: only the exchange's being one matters. What the closure needs came
    /// with the reference to the job, through the lock of a list or out of the hands of who enqueued it.
    fn advance(&self, from: usize, to: usize) -> bool {
        self.state.compare_exchange(from, to, Relaxed, Relaxed).is_ok()
    }

    fn is(&self, state: usize) -> bool {
        self.state.load(Relaxed) == state
    }

    /// Brings it to its end, if nobody else has.
    fn settle<G: WakeOne>(&self, fate: Fate<'_, P, G>) -> Option<Ending>
    where
        F: FnOnce(&Context<'_, P, G>) -> T,
        D: FnOnce(Outcome<T>, Option<Shell>),
        Self: Cancellable<P, G>,
    {
        let runs = matches!(fate, Fate::Run(_));
        if !self.advance(PENDING, if runs { RUNNING } else { OVER }) {
            return None;
        }
        // SAFETY: we moved the state out of PENDING, and nobody ever moves it back: we are the only one to come here.
        let body = self.body.with_mut(|body| unsafe { (*body).take() })?;
        // Over before the outcome is out: whoever has it finds nothing to cancel any more.
        Some(body.conclude(fate, Some(self), || self.state.store(OVER, Relaxed), None))
    }
}

impl<P, G, F, D, T> Job<P, G> for Arc<Task<P, F, D, T>>
where
    P: Primitives,
    G: WakeOne,
    F: FnOnce(&Context<'_, P, G>) -> T + Send + 'static,
    D: FnOnce(Outcome<T>, Option<Shell>) + Send + 'static,
    T: 'static,
{
    fn work(&self) -> &Work {
        &self.work
    }

    fn conclude(self: Box<Self>, fate: Fate<'_, P, G>) -> Option<Ending> {
        self.settle(fate)
    }

    fn tagged(&self) -> Option<AnyTask<P, G>> {
        self.work.tag.map(|_| self.clone() as _)
    }
}

impl<P, G, F, D, T> Cancellable<P, G> for Task<P, F, D, T>
where
    P: Primitives,
    G: WakeOne,
    F: FnOnce(&Context<'_, P, G>) -> T + Send + 'static,
    D: FnOnce(Outcome<T>, Option<Shell>) + Send + 'static,
    T: 'static,
{
    fn work(&self) -> &Work {
        &self.work
    }

    fn cancel(&self) -> Cancel {
        match self.settle::<G>(Fate::Cancelled) {
            Some(_) => Cancel::BeforeItRan,
            None if self.advance(RUNNING, TOLD) || self.is(TOLD) => Cancel::WhileRunning,
            None => Cancel::NotFound,
        }
    }

    fn told(&self) -> bool {
        self.is(TOLD)
    }
}

/// Cancels one job. Cheap to clone; outliving the job does no harm.
pub struct Token<P: Primitives = Native, G: WakeOne = PerEntry>(pub(super) AnyTask<P, G>);

impl<P: Primitives, G: WakeOne> Clone for Token<P, G> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P: Primitives, G: WakeOne> Token<P, G> {
    /// Cancels the job if it has not begun; tells it if it has.
    pub fn cancel(&self) -> Cancel {
        let found = self.0.cancel();
        tracing::debug!(tag = self.0.work().tag, ?found, "cancel");
        found
    }
}

impl<P: Primitives, G: WakeOne> fmt::Debug for Token<P, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Token").field(self.0.work()).finish()
    }
}

/// The outcome of a job, to be waited for by a thread or as a future. Dropping it lets the job run on.
#[must_use = "without its handle the outcome of a job is lost"]
pub struct Handle<T: Send + 'static, P: Primitives = Native, G: WakeOne = PerEntry> {
    pub(super) slot: Arc<Slot<P, Outcome<T>>>,
    pub(super) token: Token<P, G>,
}

impl<T: Send + 'static, P: Primitives, G: WakeOne> Handle<T, P, G> {
    /// Sleeps until the job is over.
    ///
    /// Inside of a job of the same pool, wrap it in [`Context::blocking`]: else a worker is lost to its account
    /// meanwhile, and with a maximum of one the pool waits for itself.
    pub fn wait(self) -> Outcome<T> {
        let parker = Arc::new(P::Parker::new("waiting for a job"));
        let waker = Waker::from(parker.clone());
        loop {
            if let Some(outcome) = self.slot.poll(&waker) {
                return outcome;
            }
            parker.park();
        }
    }

    /// Cancels the job if it has not begun; tells it if it has. The outcome still arrives.
    pub fn cancel(&self) -> Cancel {
        self.token.cancel()
    }

    /// What cancels this job from elsewhere.
    pub fn token(&self) -> Token<P, G> {
        self.token.clone()
    }
}

impl<T: Send + 'static, P: Primitives, G: WakeOne> Future for Handle<T, P, G> {
    type Output = Outcome<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Outcome<T>> {
        self.slot.poll(cx.waker()).map_or(Poll::Pending, Poll::Ready)
    }
}
