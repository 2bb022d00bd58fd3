//! The end of a pool, and of jobs that no worker runs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::account::Account;
use super::hash::{Chains, Next};
use super::job::{Fate, Refusal};
use super::stats::Counts;
use super::threads::Thread;
use super::{CANCEL, EXIT, InsideJob, Shared, Shutdown};
use crate::gate::WakeOne;
use crate::sync::{Atomic, Mutex, Primitives};
use crate::wait_queue::Kind;

impl<P: Primitives, G: WakeOne> Shared<P, G> {
    /// Brings all jobs in an account's lists to their end without running them. If jobs of the other account came out
    /// of their chains meanwhile, that account.
    pub(super) fn refuse_all(&self, account: &Account<P, G>, error: io::Error) -> Option<&Account<P, G>> {
        let why = Refusal::NoWorker(Arc::new(error));
        let mut other = None;
        loop {
            let jobs = account.drain();
            if jobs.is_empty() {
                return other;
            }
            for job in jobs {
                let hash = job.work().hash;
                self.refuse(job, why.clone());
                let next = hash.map(|hash| self.bring_out(hash, None));
                if let Some(Next::Pushed(next)) = next
                    && next.name != account.name
                {
                    other = Some(next);
                }
            }
        }
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> Result<(), InsideJob> {
        tracing::debug!(?how, "shutdown");
        self.chains.with(Chains::close);
        self.accounts.iter().for_each(Account::close);
        if how == Shutdown::Cancel {
            // Before the jobs that run are told: a worker whose job ends for that must not find one that waits.
            self.holding_jobs(|| {
                // The chains first: then nothing comes out of them for a job that is cancelled in its list.
                for job in self.chains.with(Chains::drain) {
                    self.counters.count(job.conclude(Fate::Cancelled));
                }
                for job in self.accounts.iter().flat_map(Account::drain) {
                    let hash = job.work().hash;
                    self.counters.count(job.conclude(Fate::Cancelled));
                    if let Some(hash) = hash {
                        self.bring_out(hash, None);
                    }
                }
            });
        }
        let exit = match how {
            Shutdown::Drain => EXIT,
            Shutdown::Cancel => EXIT | CANCEL,
        };
        if how == Shutdown::Cancel || !self.is_exiting() {
            self.exit.store(exit, Relaxed);
        }
        // Everyone, in every account.
        for account in &self.accounts {
            account.idle.broadcast();
        }
        self.wait_for_the_end()
    }

    pub(super) fn wait_for_the_end(&self) -> Result<(), InsideJob> {
        let me = P::thread();
        let inside = self
            .threads
            .with(|threads| threads.running.iter().any(|thread| thread.station.thread.get() == Some(&me)));
        if inside {
            return Err(InsideJob);
        }
        // A job that was pushed before the lists were closed may have nobody yet: its submitter is about to start somebody.
        // All questions and the end are one step under the lock under which workers start and go. Asked one after the
        // other without it, "nobody is alive" may be from before a worker was started and "no work" from after it took
        // the job; and for what it then brings out of a chain nobody could be started any more.
        let last = self.end.wait_until(Kind::Shared, || {
            self.threads.with(|threads| {
                let over = threads.alive() == 0
                    && threads.holding == 0
                    && !self.accounts.iter().any(Account::has_work);
                over.then(|| {
                    let first = !std::mem::replace(&mut threads.ended, true);
                    first.then(|| std::mem::take(&mut threads.running))
                })
            })
        });
        match last {
            Some(running) => {
                let retired = running.into_iter().map(Thread::join).sum::<Counts>();
                self.threads.with(|threads| threads.retired += retired);
                // Release: pairs with the acquire load of `down` in `wait_for_the_end`; what the workers did is before our
                // callers' return. Kept: what their jobs did is that by the lock of `threads` too. Only the ends of the
                // threads themselves, with the destructors of what is local to them, come by this; no scenario has any.
                self.down.store(1, Release);
                self.end.notify_all();
            }
            None => self.end.wait_until(Kind::Shared, || {
                // Acquire: pairs with the release store of `down` in `wait_for_the_end`. Kept: as there.
                (self.down.load(Acquire) == 1).then_some(())
            }),
        }
        Ok(())
    }
}
