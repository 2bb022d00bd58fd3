//! The submitter's desk: it gives jobs to a pool, waits for them, and holds what became of them against the pool's promises.

use std::sync::{Arc, Mutex, MutexGuard};

use reveille::gate::WakeOne;
use reveille::pool::{
    AccountName, Batch, Config, Context, Outcome, Pool, Refusal, Shutdown, Submitter, Token, Work,
};
use reveille::sync::{Parker, Primitives};

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

/// A job that was enqueued, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Job(usize);

/// What was seen of a job.
#[derive(Debug, Default)]
struct Record {
    ran: usize,
    endings: Vec<Ending>,
}

#[derive(Default)]
struct Ledger {
    jobs: Vec<Record>,
    /// For each account, how many of its jobs run at this moment outside of blocked regions, and how many may.
    running: [usize; AccountName::ALL.len()],
    most: [usize; AccountName::ALL.len()],
}

/// Keeps the ledger. An engine sees of it nothing but the submitter's parker: the ledger's lock is std's, orders nothing that the
/// pool has to order, and is never held where threads are switched.
pub(super) struct Desk<P: Primitives> {
    ledger: Mutex<Ledger>,
    /// What the submitter sleeps on while it waits for jobs.
    submitter: P::Parker,
}

/// The label of the submitter's parker, and the name of its thread.
pub(super) const SUBMITTER: &str = "submitter";

impl<P: Primitives> Desk<P> {
    /// `config` says how many jobs of an account may run at a time.
    pub fn new(config: &Config) -> Arc<Self> {
        let ledger = Ledger { most: [config.bounded, config.unbounded], ..Ledger::default() };
        Arc::new(Self { ledger: Mutex::new(ledger), submitter: P::Parker::new(SUBMITTER) })
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("an assertion that fails ends the execution")
    }

    /// Enqueues a job. When it is over, the submitter's thread is unparked.
    pub fn enqueue<G: WakeOne>(
        self: &Arc<Self>,
        to: &Submitter<P, G>,
        work: Work,
        body: impl FnOnce(&Context<'_, P, G>) + Send + 'static,
    ) -> (Job, Token<P, G>) {
        self.add(&mut to.batch(), work, body)
    }

    /// Adds a job to a batch.
    pub fn add<G: WakeOne>(
        self: &Arc<Self>,
        batch: &mut Batch<'_, P, G>,
        work: Work,
        body: impl FnOnce(&Context<'_, P, G>) + Send + 'static,
    ) -> (Job, Token<P, G>) {
        let job = {
            let mut ledger = self.ledger();
            ledger.jobs.push(Record::default());
            Job(ledger.jobs.len() - 1)
        };
        let (run, deliver) = (self.clone(), self.clone());
        let token = batch.enqueue(
            work,
            move |context| {
                let _running = run.running(job, work.account);
                body(context);
            },
            move |outcome| {
                deliver.ledger().jobs[job.0].endings.push(outcome.into());
                deliver.submitter.unpark();
            },
        );
        (job, token)
    }

    /// The job runs until this is dropped.
    fn running(&self, job: Job, account: AccountName) -> Running<'_, P> {
        let mut ledger = self.ledger();
        ledger.jobs[job.0].ran += 1;
        let running = &mut ledger.running[account as usize];
        *running += 1;
        let (running, most) = (*running, ledger.most[account as usize]);
        drop(ledger);
        assert!(running <= most, "{running} jobs of the {account:?} account run at a time, and {most} may");
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

    pub fn ending(&self, job: Job) -> Option<Ending> {
        self.ledger().jobs[job.0].endings.first().copied()
    }

    pub fn ran(&self, job: Job) -> bool {
        self.ledger().jobs[job.0].ran > 0
    }

    /// Sleeps until the job is over. For the submitter's thread only.
    pub fn wait(&self, job: Job) -> Ending {
        loop {
            if let Some(ending) = self.ending(job) {
                return ending;
            }
            self.submitter.park();
        }
    }

    /// Shuts the pool down, and holds the ledger against what a pool promises.
    pub fn close<G: WakeOne>(&self, pool: &Pool<P, G>, how: Shutdown) {
        pool.shutdown(how).expect("this is no job of the pool");
        for (i, Record { ran, endings }) in self.ledger().jobs.iter().enumerate() {
            assert_eq!(endings.len(), 1, "job {i} has these outcomes: {endings:?}");
            let should_run = matches!(endings[0], Ending::Done | Ending::Panicked);
            assert_eq!(
                *ran,
                usize::from(should_run),
                "job {i} ran {ran} times, and its outcome is {endings:?}"
            );
        }
        let stats = pool.stats();
        let ended = stats.done + stats.panicked + stats.cancelled + stats.refused;
        assert_eq!(stats.submitted, self.ledger().jobs.len() as u64, "{stats:?}");
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
