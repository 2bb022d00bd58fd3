//! The workers' threads: they are started where there is a vacancy, and joined when they are gone.

use std::sync::Arc;
use std::{io, panic};

use super::Shared;
use super::account::Account;
use super::job::AccountName;
use super::stats::Counts;
use super::worker::{self, Station, Worker};
use crate::gate::WakeOne;
use crate::sync::{JoinHandle, Mutex, Primitives};
use crate::unwind::discard_payload;

/// How often the system is asked for a thread before it is believed that there is none.
const ATTEMPTS: usize = 3;

/// The workers' threads.
pub(super) struct Threads<P: Primitives, G: WakeOne> {
    /// Those that were started and not joined
    pub(super) running: Vec<Thread<P, G>>,
    pub(super) started: [usize; AccountName::ALL.len()],
    /// What those that have been joined had counted
    pub(super) retired: Counts,
    /// Those who have taken jobs out of the lists to cancel or refuse them, and are not done with that
    pub(super) holding: usize,
    /// None is started any more
    pub(super) ended: bool,
}

pub(super) struct Thread<P: Primitives, G: WakeOne> {
    pub(super) station: Arc<Station<P, G>>,
    pub(super) handle: P::JoinHandle,
    /// It has ended, or is about to and takes no lock of ours any more
    pub(super) gone: bool,
}

impl<P: Primitives, G: WakeOne> Threads<P, G> {
    pub(super) fn alive(&self) -> usize {
        self.running.iter().filter(|thread| !thread.gone).count()
    }

    pub(super) fn gone(&mut self, station: &Station<P, G>) {
        let thread = self.running.iter_mut().find(|thread| std::ptr::eq(&*thread.station, station));
        if let Some(thread) = thread {
            thread.gone = true;
        }
    }

    /// Joins those that are gone.
    pub(super) fn reap(&mut self) {
        let gone = self.running.extract_if(.., |thread| thread.gone);
        self.retired += gone.map(Thread::join).sum();
    }
}

impl<P: Primitives, G: WakeOne> Thread<P, G> {
    /// Waits for the thread's end, and takes over what it has counted.
    pub(super) fn join(self) -> Counts {
        // A worker does not panic, but what is local to its thread may when it ends.
        if let Err(panic) = self.handle.join() {
            discard_payload::<P>(panic);
        }
        self.station.counters.get()
    }
}

impl<P: Primitives, G: WakeOne> Shared<P, G> {
    /// Starts a worker if there is a vacancy. An error if the system refuses and the account has no worker that could run
    /// its jobs.
    pub(super) fn start(self: &Arc<Self>, account: &Account<P, G>) -> io::Result<()> {
        if !account.reserve() {
            return Ok(());
        }
        let mut attempts = 0;
        let error = loop {
            match self.threads.with(|threads| self.start_thread(account.name, threads)) {
                Ok(worker) => {
                    // Without the lock: who listens may ask the pool for its counters.
                    tracing::debug!(account = ?account.name, worker, "worker started");
                    return Ok(());
                }
                Err(error) if attempts + 1 == ATTEMPTS => break error,
                Err(_) => attempts += 1,
            }
        };
        let deserted = account.roster(|roster| {
            roster.workers -= 1;
            roster.workers == roster.lent
        });
        tracing::warn!(account = ?account.name, %error, deserted, "no worker could be started");
        // Somebody may have relied on the search of the worker that does not come.
        let relied_on = account.end_search();
        if !deserted {
            if relied_on && account.has_work() {
                account.wake(1);
            }
            return Ok(()); // those that run look for work before they sleep
        }
        // A submitter may have relied on the worker that does not come. No barrier between the vacancy and the look for work:
        // that look, in `refuse_all`, takes the lists' locks. A job that is pushed before it has the lock, it finds; whoever
        // pushes after it sees the vacancy.
        Err(error)
    }

    /// Under the lock. The number of the worker.
    pub(super) fn start_thread(
        self: &Arc<Self>,
        account: AccountName,
        threads: &mut Threads<P, G>,
    ) -> io::Result<usize> {
        threads.reap();
        if threads.ended {
            // For somebody who refuses the jobs of an account, and in whose hands they were when the end came: those that
            // follow them out of their chains are refused too.
            return Err(io::Error::other("the pool has ended"));
        }
        let number = threads.started[account as usize];
        let station = Arc::new(Station::new(number, account));
        let worker = Worker { shared: self.clone(), station: station.clone() };
        // Under the lock, which a worker that leaves takes: so its handle is there before it is gone.
        let handle = P::try_spawn(worker::name(account, number), move || worker.run())?;
        threads.started[account as usize] += 1;
        threads.running.push(Thread { station, handle, gone: false });
        Ok(number)
    }

    /// Runs `body`, which takes jobs out of the lists and brings them to their end. The pool does not end before: another
    /// shutdown would find the lists empty, and return while the outcomes are still on their way.
    pub(super) fn holding_jobs<R>(&self, body: impl FnOnce() -> R) -> R {
        self.threads.with(|threads| threads.holding += 1);
        // Unreached: what is foreign in there has guards of its own.
        let result = P::catch(body);
        self.threads.with(|threads| threads.holding -= 1);
        self.end.notify_all();
        result.unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    /// A worker that has left its account has nothing more to do.
    pub(super) fn gone(&self, station: &Station<P, G>) {
        let alive = self.threads.with(|threads| {
            threads.gone(station);
            threads.alive()
        });
        if alive == 0 {
            self.end.notify_all();
        }
    }
}
