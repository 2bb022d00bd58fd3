//! The submitter's desk: it gives jobs to a pool, waits for them, and holds what became of them against the pool's promises.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use reveille::gate::WakeOne;
use reveille::pool::{
    AccountName, Batch, Config, Context, Outcome, Pool, Refusal, Shutdown, Submitter, Token, Work,
};
use reveille::sync::{Parker, Primitives, Unparked};

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Done,
    Panicked,
    Cancelled,
    TooLate,
    NoWorker,
}

impl From<Outcome<()>> for Ending {
    fn from(outcome: Outcome<()>) -> Self {
        match outcome {
            Outcome::Done(()) => Self::Done,
            Outcome::Panicked(_) => Self::Panicked,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Refused(Refusal::ShuttingDown) => Self::TooLate,
            Outcome::Refused(Refusal::NoWorker(_)) => Self::NoWorker,
        }
    }
}

/// A job that was enqueued.
pub(super) struct Job<P: Primitives>(Arc<Record<P>>);

impl<P: Primitives> Job<P> {
    /// Sleeps until the job is over. For the submitter's thread only.
    pub fn wait(self) -> Ending {
        while self.0.over.park_timeout(Duration::MAX) == Unparked::Early {}
        self.0.seen().endings[0]
    }

    /// Whether it has begun. Only for whoever knows by an operation of the pool that it has, or else has not.
    pub fn ran(&self) -> bool {
        self.0.seen().ran > 0
    }
}

/// What was seen of a job.
struct Record<P: Primitives> {
    /// Its token says that the job is over. The one operation by which a thread learns of it: what it finds in `seen`
    /// after that is what was there before.
    over: P::Parker,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    ran: usize,
    endings: Vec<Ending>,
}

impl<P: Primitives> Record<P> {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect(POISONED)
    }
}

struct Ledger<P: Primitives> {
    jobs: Vec<Arc<Record<P>>>,
    /// For each account, how many of its jobs run at this moment outside of blocked regions, and how many may.
    running: [usize; AccountName::ALL.len()],
    most: [usize; AccountName::ALL.len()],
    /// The first time that more ran
    too_many: Option<String>,
}

/// Keeps the ledger. An engine sees of it nothing but the parkers of the jobs: the locks are std's, order nothing that
/// the pool has to order, and are never held where threads are switched.
///
/// So no thread's way may depend on what is in there, beyond what an operation has told it before. The exact engine
/// runs the threads of an execution in any order that its reads allow, and what comes behind the engine's back comes
/// in that order. An assertion may look, if it holds in each of those orders; and it comes after the last operation,
/// so that where a pool is wrong no thread ends early in one order that goes on in another.
///
/// - What became of a job is looked at after a token, a lock or a join that comes after it.
/// - A job that runs has a worker, from before its place was taken until after it was given back. That is done under
///   the lock of the worker lists, whose sections come in one order, which all the engine's orders keep. So in none of
///   them do more jobs run than may, if the pool is right. If it is not, the ones that overlap need an operation
///   within, or none of the orders shows it.
pub(super) struct Desk<P: Primitives> {
    ledger: Mutex<Ledger<P>>,
}

/// The label of the parkers on which the submitter waits for jobs, and the name of its thread.
pub(super) const SUBMITTER: &str = "submitter";

const POISONED: &str = "an assertion that fails ends the execution";

impl<P: Primitives> Desk<P> {
    /// `config` says how many jobs of an account may run at a time.
    pub fn new(config: &Config) -> Arc<Self> {
        let most = [config.bounded, config.unbounded];
        let ledger = Ledger { jobs: Vec::new(), running: [0; AccountName::ALL.len()], most, too_many: None };
        Arc::new(Self { ledger: Mutex::new(ledger) })
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger<P>> {
        self.ledger.lock().expect(POISONED)
    }

    /// Enqueues a job.
    pub fn enqueue<G: WakeOne>(
        self: &Arc<Self>,
        to: &Submitter<P, G>,
        work: Work,
        body: impl FnOnce(&Context<'_, P, G>) + Send + 'static,
    ) -> (Job<P>, Token<P, G>) {
        self.add(&mut to.batch(), work, body)
    }

    /// Adds a job to a batch.
    pub fn add<G: WakeOne>(
        self: &Arc<Self>,
        batch: &mut Batch<'_, P, G>,
        work: Work,
        body: impl FnOnce(&Context<'_, P, G>) + Send + 'static,
    ) -> (Job<P>, Token<P, G>) {
        let record = Arc::new(Record { over: P::Parker::new(SUBMITTER), seen: Mutex::default() });
        self.ledger().jobs.push(record.clone());
        let token = batch.enqueue(
            work,
            {
                let (desk, record) = (self.clone(), record.clone());
                move |context| {
                    record.seen().ran += 1;
                    let _running = desk.running(work.account);
                    body(context);
                }
            },
            {
                let record = record.clone();
                move |outcome| {
                    record.seen().endings.push(outcome.into());
                    record.over.unpark();
                }
            },
        );
        (Job(record), token)
    }

    /// A job runs until this is dropped.
    fn running(&self, account: AccountName) -> Running<'_, P> {
        let ledger = &mut *self.ledger();
        let (running, most) = (&mut ledger.running[account as usize], ledger.most[account as usize]);
        *running += 1;
        if *running > most {
            let found = || format!("{running} jobs of the {account:?} account ran at a time, and {most} may");
            ledger.too_many.get_or_insert_with(found);
        }
        Running { desk: self, account }
    }

    /// A blocked region of a job. The one that comes back may be one too many from then on.
    pub fn blocked<G: WakeOne>(
        &self,
        context: &Context<'_, P, G>,
        account: AccountName,
        body: impl FnOnce(),
    ) {
        self.ledger().running[account as usize] -= 1;
        context.blocking(body);
        let mut ledger = self.ledger();
        ledger.running[account as usize] += 1;
        ledger.most[account as usize] += 1;
    }

    /// From now on so many jobs of the account may run at a time; never less than before, since a worker that has taken a
    /// job keeps it.
    pub fn resized(&self, account: AccountName, max: usize) {
        let most = &mut self.ledger().most[account as usize];
        *most = max.max(*most);
    }

    /// Shuts the pool down, and holds the ledger against what a pool promises.
    pub fn close<G: WakeOne>(&self, pool: &Pool<P, G>, how: Shutdown) {
        pool.shutdown(how).expect("this is no job of the pool");
        let stats = pool.stats();
        let ledger = self.ledger();
        for (i, record) in ledger.jobs.iter().enumerate() {
            let Seen { ran, endings } = &*record.seen();
            assert_eq!(endings.len(), 1, "job {i} has these outcomes: {endings:?}");
            let should_run = matches!(endings[0], Ending::Done | Ending::Panicked);
            assert_eq!(
                *ran,
                usize::from(should_run),
                "job {i} ran {ran} times, and its outcome is {endings:?}"
            );
        }
        assert_eq!(ledger.too_many, None);
        let ended = stats.done + stats.panicked + stats.cancelled + stats.refused;
        assert_eq!(stats.submitted, ledger.jobs.len() as u64, "{stats:?}");
        assert_eq!(stats.submitted, ended, "{stats:?}");
        for account in stats.accounts {
            assert_eq!((account.waiting, account.workers, account.blocked), (0, 0, 0), "{stats:?}");
        }
    }
}

/// See [`Desk::running`].
struct Running<'a, P: Primitives> {
    desk: &'a Desk<P>,
    account: AccountName,
}

impl<P: Primitives> Drop for Running<'_, P> {
    fn drop(&mut self) {
        // An assertion that fails may have poisoned it; the execution is over then.
        if let Ok(mut ledger) = self.desk.ledger.lock() {
            let running = &mut ledger.running[self.account as usize];
            *running = running.saturating_sub(1);
        }
    }
}
