//! What else one would take: a channel with worker threads, or somebody's pool of blocking threads.
//!
//! All of them bring a result back by a channel and ring the sleeper's eventfd each time: none offers to skip that. They box the
//! closure once, as the library's own pool does.

use std::ops::Range;
use std::sync::{Arc, mpsc};
use std::task::Waker;
use std::thread::JoinHandle;

use super::Error;
use super::hand_off::Workers;
use super::load::{Body, Load};

type Job = Box<dyn FnOnce() -> u64 + Send>;

fn job(body: Body, token: u64) -> Job {
    Box::new(move || body.run(token))
}

fn worker(body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    Ok(std::thread::Builder::new().name("worker".into()).spawn(body)?)
}

/// `std::sync::mpsc`: a channel a worker, in turn, and one back.
pub(super) struct Mpsc {
    body: Body,
    jobs: Vec<mpsc::Sender<Job>>,
    results: mpsc::Receiver<u64>,
    threads: Vec<JoinHandle<()>>,
}

impl Mpsc {
    pub(super) fn new(load: Load, bell: Waker) -> Result<Self, Error> {
        let (result, results) = mpsc::channel();
        let (mut jobs, mut threads) = (Vec::new(), Vec::new());
        for _ in 0..load.workers {
            let (sender, receiver) = mpsc::channel::<Job>();
            let (result, bell) = (result.clone(), bell.clone());
            jobs.push(sender);
            threads.push(worker(move || {
                for job in receiver {
                    let _ = result.send(job());
                    bell.wake_by_ref();
                }
            })?);
        }
        Ok(Self { body: load.body, jobs, results, threads })
    }
}

impl Workers for Mpsc {
    fn submit(&mut self, tokens: Range<u64>) {
        for token in tokens {
            let worker = &self.jobs[token as usize % self.jobs.len()];
            worker.send(job(self.body, token)).expect("the workers live as long as this");
        }
    }
    fn take(&mut self) -> Option<u64> {
        self.results.try_recv().ok()
    }
}

impl Drop for Mpsc {
    fn drop(&mut self) {
        self.jobs.clear();
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// `crossbeam-channel`: one channel there, from which all workers take, and one back.
pub(super) struct Crossbeam {
    body: Body,
    jobs: Option<crossbeam_channel::Sender<Job>>,
    results: crossbeam_channel::Receiver<u64>,
    threads: Vec<JoinHandle<()>>,
}

impl Crossbeam {
    pub(super) fn new(load: Load, bell: Waker) -> Result<Self, Error> {
        let (result, results) = crossbeam_channel::unbounded();
        let (jobs, receiver) = crossbeam_channel::unbounded::<Job>();
        let thread = |_| {
            let (result, receiver, bell) = (result.clone(), receiver.clone(), bell.clone());
            worker(move || {
                for job in receiver {
                    let _ = result.send(job());
                    bell.wake_by_ref();
                }
            })
        };
        let threads = (0..load.workers).map(thread).collect::<Result<_, _>>()?;
        Ok(Self { body: load.body, jobs: Some(jobs), results, threads })
    }
}

impl Workers for Crossbeam {
    fn submit(&mut self, tokens: Range<u64>) {
        let jobs = self.jobs.as_ref().expect("it is there until it is dropped");
        let send = |token| jobs.send(job(self.body, token)).expect("the workers live as long as this");
        tokens.for_each(send);
    }
    fn take(&mut self) -> Option<u64> {
        self.results.try_recv().ok()
    }
}

impl Drop for Crossbeam {
    fn drop(&mut self) {
        self.jobs = None;
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// A pool that takes closures.
pub(super) trait Pool: Sized {
    fn new(workers: usize) -> Result<Self, Error>;
    fn spawn(&self, job: impl FnOnce() + Send + 'static);
}

/// Such a pool with a way back.
pub(super) struct Spawning<P> {
    body: Body,
    pool: P,
    back: Arc<(mpsc::Sender<u64>, Waker)>,
    results: mpsc::Receiver<u64>,
}

impl<P: Pool> Spawning<P> {
    pub(super) fn new(load: Load, bell: Waker) -> Result<Self, Error> {
        let (result, results) = mpsc::channel();
        Ok(Self { body: load.body, pool: P::new(load.workers)?, back: Arc::new((result, bell)), results })
    }
}

impl<P: Pool> Workers for Spawning<P> {
    fn submit(&mut self, tokens: Range<u64>) {
        for token in tokens {
            let (body, back) = (self.body, self.back.clone());
            self.pool.spawn(move || {
                let (result, bell) = &*back;
                let _ = result.send(body.run(token));
                bell.wake_by_ref();
            });
        }
    }
    fn take(&mut self) -> Option<u64> {
        self.results.try_recv().ok()
    }
}

/// `tokio::task::spawn_blocking`.
pub(super) struct Tokio(tokio::runtime::Runtime);

impl Pool for Tokio {
    fn new(workers: usize) -> Result<Self, Error> {
        Ok(Self(tokio::runtime::Builder::new_current_thread().max_blocking_threads(workers).build()?))
    }
    fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        self.0.spawn_blocking(job);
    }
}

/// `rayon::ThreadPool::spawn`.
pub(super) struct Rayon(rayon_core::ThreadPool);

impl Pool for Rayon {
    fn new(workers: usize) -> Result<Self, Error> {
        let pool = rayon_core::ThreadPoolBuilder::new().num_threads(workers).build();
        Ok(Self(pool.map_err(std::io::Error::other)?))
    }
    fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        self.0.spawn(job);
    }
}

/// `blocking::unblock`. Its one pool is the process's, and learns how many threads it may have from the environment.
pub(super) struct Blocking;

impl Blocking {
    /// The variable that says so.
    pub(super) const MAX_THREADS: &str = "BLOCKING_MAX_THREADS";
}

impl Pool for Blocking {
    fn new(_: usize) -> Result<Self, Error> {
        Ok(Self)
    }
    fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        blocking::unblock(job).detach();
    }
}
