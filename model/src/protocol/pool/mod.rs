//! The worker pool: its protocols, each as a program of its own.
//!
//! | protocol | the race to be won |
//! |---|---|
//! | [`EnqueueIdle`](Protocol::EnqueueIdle) | a worker arms, looks, and finds nothing; a submitter pushes, and finds nobody armed |
//! | [`ShardScan`](Protocol::ShardScan) | the same with two work lists: the look goes through both |
//! | [`Searching`](Protocol::Searching) | a submitter pushes, and sees that a worker searches; that one takes another job, looks, and finds nothing |
//! | [`Sparing`](Protocol::Sparing) | a worker takes a job, and sees that a submitter spares wakes; that one has stopped, looks, and finds nothing |
//! | [`Napping`](Protocol::Napping) | the same where a worker naps, and is going to look |
//! | [`Timeout`](Protocol::Timeout) | a submitter pushes, and sees no vacancy; a worker whose time is over makes one, looks, and finds nothing |
//! | [`Blocking`](Protocol::Blocking) | the same where the vacancy is the place that a blocked job lends |
//! | [`Hash`](Protocol::Hash) | a job ends and finds its chain empty; a submitter finds the hash busy, and puts the next job into the chain |
//! | [`Stalled`](Protocol::Stalled) | io-wq's own form of that, with its mark STALLED |
//! | [`Exit`](Protocol::Exit) | a worker arms, looks, and sees no EXIT; the shutdown sets EXIT, and finds nobody to wake |
//! | [`LastWorker`](Protocol::LastWorker) | a submitter has pushed, and is about to start a worker; whoever waits for the end sees no worker and no work |
//! | [`Cancel`](Protocol::Cancel) | a worker begins a job; a cancellation and a shutdown end it |
//! | [`CancelSearch`](Protocol::CancelSearch) | a job moves from its chain to a list to a worker; a cancellation looks for it |
//!
//! A **violation** is one of: nothing moves any more and a job waits, or waits for another one that nobody runs (so that a sleeper who
//! would have run it shows, and a worker that could have been started); nothing moves and a worker
//! sleeps that ought to have left, or an account has too many workers; or a claim in the code of a thread does not hold. Every
//! protocol has [`Mutant`]s that the same search rejects.
//!
//! The programs do what the crate `reveille` does, operation by operation, but for what a protocol does not need: a word that nobody
//! else touches (a job's state where nobody cancels), the receivers of outcomes, the join of a thread. Starting a thread is giving it a token;
//! a timeout is a choice, which a worker has a bounded number of times: a wake that is lost and made good only by the idle timeout is lost.
//!
//! ```
//! use reveille_model::memory::Memory;
//! use reveille_model::protocol::pool::{self, Mutant, Protocol};
//! use reveille_model::search::Verdict;
//!
//! let size = Protocol::EnqueueIdle.sizes()[0];
//! let report = pool::check(Protocol::EnqueueIdle, None, Memory::Tso, size)?;
//! assert_eq!(report.verdict, Verdict::Complete);
//! let unsound = Some(Mutant::WakerWithoutBarrier);
//! let report = pool::check(Protocol::EnqueueIdle, unsound, Memory::Tso, size)?;
//! assert!(matches!(report.verdict, Verdict::Violated(_)));
//! # Ok::<(), pool::Error>(())
//! ```

use std::fmt;

use crate::memory::Memory;
use crate::program::{BuildError, Builder, List, Program};
use crate::search::{self, End, Options, Report, Rest};

mod account;
mod cancel;
mod end;
mod hash;
mod idle;
mod queue;
mod stalled;
mod worker;

use idle::{Rests, Submits};

named! {
    /// A protocol of the worker pool.
    Protocol ("protocol") {
        /// Submitters push jobs and wake; workers take, arm, look and sleep.
        EnqueueIdle = "enqueue-idle",
        /// The same with two work lists.
        ShardScan = "shard-scan",
        /// A submitter wakes one worker for all its jobs, which wakes the next when it has found one.
        Searching = "searching",
        /// The same, and the worker wakes no other while the submitter spares wakes, which looks when it has done with that.
        Sparing = "sparing",
        /// A worker naps on the free list, and a worker that has found a job wakes no other before that one has looked.
        Napping = "napping",
        /// A worker's idle timeout fires as work arrives, while the other worker is busy.
        Timeout = "timeout",
        /// A job in a blocked region lends its worker's place.
        Blocking = "blocking",
        /// Jobs of one hash run one at a time and in order, through its chain.
        Hash = "hash",
        /// io-wq's workers wait for a hash, and mark the work list STALLED.
        Stalled = "stalled",
        /// A shutdown wakes the workers of both accounts, while a submitter still pushes.
        Exit = "exit",
        /// Whoever waits for the end, when the last workers leave.
        LastWorker = "last-worker",
        /// A worker, a cancellation and a shutdown that cancels want to end the same job.
        Cancel = "cancel",
        /// A cancellation looks for a job that moves.
        CancelSearch = "cancel-search",
    }
}

named! {
    /// A mistake put into a protocol on purpose, to show that the search rejects it.
    Mutant ("mutant") {
        /// The waker asks who is armed without a full barrier before it.
        WakerWithoutBarrier = "waker-without-barrier",
        /// A worker arms without a full barrier after it.
        SleeperWithoutBarrier = "sleeper-without-barrier",
        /// A worker sleeps without a look after it has armed.
        NoLookAfterArm = "no-look-after-arm",
        /// A submitter wakes before it pushes.
        WakeBeforePush = "wake-before-push",
        /// A worker that was told and leaves the free list keeps the wake to itself.
        WakeNotPassedOn = "wake-not-passed-on",
        /// A worker that was woken by an old token runs jobs while it is on the free list.
        BusyWhileArmed = "busy-while-armed",
        /// The look before sleep leaves out a list.
        LookSkipsAList = "look-skips-a-list",
        /// A worker that has searched and found a job wakes nobody for the others.
        NotPassedOn = "not-passed-on",
        /// A worker ends its search without a full barrier after it.
        SearchWithoutBarrier = "search-without-barrier",
        /// A worker goes to sleep and does not end its search.
        SearchKept = "search-kept",
        /// A worker ends its search, arms, sees jobs, and does not search on.
        SearchNotResumed = "search-not-resumed",
        /// A submitter that has spared wakes does not look whether jobs still wait.
        SparedForGood = "spared-for-good",
        /// A worker that has napped, or a submitter that has spared wakes, does not say that it is not going to look any more.
        NapKept = "nap-kept",
        /// A worker takes from its own list only, and a wake may reach one that cannot run the job.
        OwnListOnly = "own-list-only",
        /// A worker gives up its place without a full barrier after it.
        LeaveWithoutBarrier = "leave-without-barrier",
        /// A worker gives up its place and does not look for work after it.
        NoLookAfterLeaving = "no-look-after-leaving",
        /// A worker looks for work before it gives up its place, not after.
        LookBeforeLeaving = "look-before-leaving",
        /// A worker gives up its place, looks, and then leaves the free list.
        LeavesWhileArmed = "leaves-while-armed",
        /// A submitter asks for a vacancy before it pushes.
        VacancyBeforePush = "vacancy-before-push",
        /// A worker is started without another look at the vacancy, under the lock.
        StartUnreserved = "start-unreserved",
        /// The last worker leaves when its time is over.
        LastLeaves = "last-leaves",
        /// A place is lent without a full barrier after it.
        LendWithoutBarrier = "lend-without-barrier",
        /// A place is lent and nobody looks for work after it.
        NoLookAfterLending = "no-look-after-lending",
        /// Nobody leaves when there is a worker too many.
        SurplusStays = "surplus-stays",
        /// A job is moved from its chain to a list, and nobody is activated for it.
        MovedWithoutActivation = "moved-without-activation",
        /// The next job of a hash is brought out before the one before it is over.
        FreedTooEarly = "freed-too-early",
        /// Whether a hash is busy is asked under the lock, and the job put into the chain under the lock taken again.
        StalledOutsideTheLock = "stalled-outside-the-lock",
        /// STALLED is set after the lock under which nothing runnable was found has been dropped.
        StalledLate = "stalled-late",
        /// A worker enters the hash's wait queue and does not look whether the hash is still busy.
        NoLookAtTheHash = "no-look-at-the-hash",
        /// The shutdown wakes the workers of the first account only.
        FirstAccountOnly = "first-account-only",
        /// EXIT is no part of what a worker looks at between arm and sleep.
        ExitNotLookedAt = "exit-not-looked-at",
        /// The shutdown wakes everybody without a full barrier before it.
        BroadcastWithoutBarrier = "broadcast-without-barrier",
        /// The shutdown does not close the work lists.
        ListsNotClosed = "lists-not-closed",
        /// Whoever waits for the end looks for workers only, not for work.
        EndBeforeTheStart = "end-before-the-start",
        /// Whoever waits for the end reads the count of workers and the lengths of the lists without the lock.
        EndOutsideTheLock = "end-outside-the-lock",
        /// The last worker leaves and wakes nobody who waits for the end.
        EndNotTold = "end-not-told",
        /// The cancellation reads a job's state and then stores another one.
        CancelByStore = "cancel-by-store",
        /// The worker reads a job's state and then stores another one.
        RunByStore = "run-by-store",
        /// The outcome is delivered before the job is over.
        OutcomeBeforeOver = "outcome-before-over",
        /// The cancellation looks through the lists first, and then through the chains.
        SearchAgainstTheMove = "search-against-the-move",
        /// A job is taken from its chain, and put into a list when the chains' lock has been dropped.
        MovedOutsideTheLock = "moved-outside-the-lock",
        /// A worker takes a job from a list, and says so when the list's lock has been dropped.
        BegunOutsideTheLock = "begun-outside-the-lock",
    }
}

fn is(mutant: Option<Mutant>, other: Mutant) -> bool {
    mutant == Some(other)
}

impl Protocol {
    /// The mistakes that the search rejects.
    pub fn mutants(self) -> &'static [Mutant] {
        use Mutant::*;
        match self {
            Protocol::EnqueueIdle => &[
                WakerWithoutBarrier,
                SleeperWithoutBarrier,
                NoLookAfterArm,
                WakeBeforePush,
                BusyWhileArmed,
                SearchWithoutBarrier,
                SearchKept,
            ],
            Protocol::ShardScan => &[LookSkipsAList, NoLookAfterArm, OwnListOnly],
            Protocol::Searching => &[WakerWithoutBarrier, NoLookAfterArm, NotPassedOn],
            Protocol::Sparing => &[NoLookAfterArm, SparedForGood],
            Protocol::Napping => &[WakerWithoutBarrier, NoLookAfterArm, NapKept],
            Protocol::Timeout => &[
                WakerWithoutBarrier,
                LeaveWithoutBarrier,
                NoLookAfterLeaving,
                LookBeforeLeaving,
                LeavesWhileArmed,
                VacancyBeforePush,
                StartUnreserved,
                LastLeaves,
            ],
            Protocol::Blocking => {
                &[WakerWithoutBarrier, LendWithoutBarrier, NoLookAfterLending, SurplusStays]
            }
            Protocol::Hash => &[FreedTooEarly, StalledOutsideTheLock],
            Protocol::Stalled => &[StalledLate, NoLookAtTheHash],
            Protocol::Exit => &[
                FirstAccountOnly,
                ExitNotLookedAt,
                BroadcastWithoutBarrier,
                LeaveWithoutBarrier,
                NoLookAfterLeaving,
            ],
            Protocol::LastWorker => {
                &[MovedWithoutActivation, ListsNotClosed, EndBeforeTheStart, EndOutsideTheLock, EndNotTold]
            }
            Protocol::Cancel => &[CancelByStore, RunByStore, OutcomeBeforeOver],
            Protocol::CancelSearch => &[SearchAgainstTheMove, MovedOutsideTheLock, BegunOutsideTheLock],
        }
    }
}

impl Protocol {
    /// What is left out here without harm: the search finds nothing wrong.
    ///
    /// A wake need not be passed on where whoever leaves the free list looks through all lists after it, be it to go on working or to
    /// leave for good. A job that a worker moves from a chain to a list of its own account needs nobody activated: that worker looks
    /// next.
    pub fn redundant(self) -> &'static [Mutant] {
        match self {
            Protocol::EnqueueIdle | Protocol::Timeout => &[Mutant::WakeNotPassedOn],
            Protocol::Hash => &[Mutant::MovedWithoutActivation],
            _ => &[],
        }
    }
}

impl Protocol {
    /// Mistakes that show in a larger size only, which takes half a minute under RC11.
    pub fn mutants_of_larger_sizes(self) -> &'static [(Mutant, Size)] {
        match self {
            Protocol::EnqueueIdle => const { &[(Mutant::SearchNotResumed, size(1, 2, 3))] },
            _ => &[],
        }
    }
}

/// How large a configuration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Threads that submit
    pub submitters: u8,
    /// Workers that run from the start
    pub workers: u8,
    /// Jobs that are submitted
    pub jobs: u8,
    /// Tokens in the first worker's parker from before: 0 or 1
    pub tokens: u8,
}

const fn size(submitters: u8, workers: u8, jobs: u8) -> Size {
    Size { submitters, workers, jobs, tokens: 0 }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size { submitters, workers, jobs, tokens } = self;
        let counted = |n: &u8, what| format!("{n} {what}{}", if *n == 1 { "" } else { "s" });
        write!(f, "{}, ", counted(submitters, "submitter"))?;
        write!(f, "{}, {}", counted(workers, "worker"), counted(jobs, "job"))?;
        if *tokens > 0 { write!(f, ", an old token") } else { Ok(()) }
    }
}

impl Protocol {
    /// The sizes that are searched. Each passes under every memory model, and each mutant is rejected in one of them.
    pub fn sizes(self) -> &'static [Size] {
        match self {
            Protocol::EnqueueIdle => {
                const { &[size(2, 1, 2), size(1, 2, 2), Size { tokens: 1, ..size(1, 2, 2) }] }
            }
            Protocol::ShardScan => const { &[size(1, 2, 2), size(1, 1, 2), size(2, 1, 2)] },
            Protocol::Searching | Protocol::Sparing => const { &[size(1, 1, 2), size(1, 2, 2)] },
            Protocol::Napping => const { &[size(1, 2, 2)] },
            Protocol::Timeout => const { &[size(1, 2, 0), size(1, 2, 1), size(1, 2, 2)] },
            Protocol::Blocking => const { &[size(1, 1, 1)] },
            Protocol::Hash => const { &[size(1, 2, 1), size(2, 2, 1)] },
            Protocol::Stalled => const { &[size(1, 2, 2)] },
            Protocol::Exit => const { &[size(0, 2, 0), size(1, 1, 1)] },
            Protocol::LastWorker => const { &[size(2, 0, 2)] },
            Protocol::Cancel => const { &[size(0, 1, 1)] },
            Protocol::CancelSearch => const { &[size(0, 1, 2)] },
        }
    }

    /// Is it written for this size?
    fn fits(self, size: Size) -> bool {
        let Size { submitters, workers, jobs, tokens } = size;
        match self {
            Protocol::EnqueueIdle
            | Protocol::ShardScan
            | Protocol::Searching
            | Protocol::Sparing
            | Protocol::Napping => {
                (1..=2).contains(&submitters)
                    && (1..=2).contains(&workers)
                    && (workers..=4).contains(&jobs)
                    && tokens <= 1
            }
            Protocol::Timeout => (submitters, workers, tokens) == (1, 2, 0) && jobs <= 2,
            Protocol::Hash => {
                (1..=2).contains(&submitters) && (workers, tokens) == (2, 0) && (1..=3).contains(&jobs)
            }
            _ => self.sizes().contains(&size),
        }
    }
}

/// A question that cannot be searched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Outside of what the protocol is written for
    #[error("{protocol} is not written for {size}")]
    Size {
        /// The protocol
        protocol: Protocol,
        /// The size asked for
        size: Size,
    },
    /// A mutant of another protocol
    #[error("{protocol} has no mutant {mutant}")]
    Mutant {
        /// The protocol
        protocol: Protocol,
        /// The mutant asked for
        mutant: Mutant,
    },
    /// The program cannot be built
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The search failed
    #[error(transparent)]
    Search(#[from] search::Error),
}

/// Where a worker sleeps
const SLEEP: &str = "sleep";
/// Where a worker waits to be started
const START: &str = "start";
/// Where the shutdown waits for the last worker
const END: &str = "wait for the end";
/// Where a job waits for another one
const BUSY: &str = "wait for another job";

/// What must not be when nothing moves any more.
#[derive(Clone, Debug, Default)]
struct Debts {
    /// A job in one of these lists
    lists: Vec<List>,
    /// A thread that is parked anywhere but here
    rests: Vec<&'static str>,
    /// More workers than so many
    roster: Option<(List, usize)>,
    /// Not just so many outcomes
    outcomes: Option<(List, usize)>,
}

/// One protocol, as a program.
#[derive(Clone, Debug)]
pub struct Pool {
    program: Program,
    debts: Debts,
}

impl Pool {
    /// The protocol, or a mutant of it.
    pub fn new(protocol: Protocol, mutant: Option<Mutant>, size: Size) -> Result<Pool, Error> {
        if !protocol.fits(size) {
            return Err(Error::Size { protocol, size });
        }
        let larger = protocol.mutants_of_larger_sizes().iter().map(|(mutant, _)| mutant);
        let known: Vec<_> = protocol.mutants().iter().chain(protocol.redundant()).chain(larger).collect();
        if let Some(mutant) = mutant.filter(|mutant| !known.contains(&mutant)) {
            return Err(Error::Mutant { protocol, mutant });
        }
        let mut b = Builder::new();
        let debts = match protocol {
            Protocol::EnqueueIdle => {
                idle::enqueue_idle(&mut b, 1, Submits::Singly, Rests::Sleep, size, mutant)
            }
            Protocol::ShardScan => idle::enqueue_idle(&mut b, 2, Submits::Singly, Rests::Sleep, size, mutant),
            Protocol::Searching => idle::enqueue_idle(&mut b, 1, Submits::Batch, Rests::Sleep, size, mutant),
            Protocol::Sparing => {
                idle::enqueue_idle(&mut b, 1, Submits::Sparingly, Rests::Sleep, size, mutant)
            }
            Protocol::Napping => idle::enqueue_idle(&mut b, 1, Submits::Batch, Rests::Nap, size, mutant),
            Protocol::Timeout => idle::timeout(&mut b, size, mutant),
            Protocol::Blocking => idle::blocking(&mut b, mutant),
            Protocol::Hash => hash::hash(&mut b, size, mutant),
            Protocol::Stalled => stalled::stalled(&mut b, mutant),
            Protocol::Exit => end::exit(&mut b, size, mutant),
            Protocol::LastWorker => end::last_worker(&mut b, mutant),
            Protocol::Cancel => cancel::cancel(&mut b, mutant),
            Protocol::CancelSearch => cancel::search(&mut b, mutant),
        };
        Ok(Pool { program: b.build()?, debts })
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Searches all states under a memory model.
    pub fn check(&self, memory: Memory, options: Options) -> Result<Report, Error> {
        Ok(search::check(&self.program, memory, options, |end| self.owed(end))?)
    }

    /// What is owed in a state in which nothing moves.
    fn owed(&self, end: &End<'_>) -> Vec<String> {
        let mut owed = Vec::new();
        for list in &self.debts.lists {
            owed.extend(end.list(*list).iter().map(|job| format!("job {job} waits")));
        }
        for (number, thread) in self.program.threads().iter().enumerate() {
            if let Rest::Parked(site) = end.rest(number)
                && !self.debts.rests.contains(&site)
            {
                owed.push(format!("{} rests for ever: {site}", thread.name()));
            }
        }
        if let Some((workers, max)) = self.debts.roster {
            let workers = end.list(workers).len();
            if workers > max {
                owed.push(format!("{workers} workers where there may be {max}"));
            }
        }
        if let Some((delivered, jobs)) = self.debts.outcomes {
            let delivered = end.list(delivered).len();
            if delivered != jobs {
                owed.push(format!("{delivered} outcomes of {jobs} jobs"));
            }
        }
        owed
    }
}

/// Searches all states of a protocol, or of a mutant of it, under a memory model.
pub fn check(
    protocol: Protocol,
    mutant: Option<Mutant>,
    memory: Memory,
    size: Size,
) -> Result<Report, Error> {
    Pool::new(protocol, mutant, size)?.check(memory, Options::default())
}
