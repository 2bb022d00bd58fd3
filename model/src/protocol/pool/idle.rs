//! Enqueue and idle; two work lists; the idle timeout; blocked regions.

use super::account::{Account, Roster, WorkList};
use super::queue::Queue;
use super::worker::{Answer, Begins, Seat};
use super::{BUSY, Debts, Mutant, SLEEP, START, Size};
use crate::memory::Barrier::SeqCst;
use crate::memory::Order::Relaxed;
use crate::program::{Builder, Code, List, Term};

impl Account {
    pub(super) fn debts(&self) -> Debts {
        Debts {
            lists: self.lists.iter().map(|list| list.jobs).collect(),
            rests: vec![SLEEP, START],
            roster: self.roster.as_ref().map(|roster| (roster.workers, roster.max as usize)),
            outcomes: None,
        }
    }
}

fn work_lists(b: &mut Builder, lists: usize) -> Vec<WorkList> {
    match lists {
        1 => vec![WorkList::new(b, "", &[])],
        _ => (0..lists).map(|list| WorkList::new(b, &format!("list {list}: "), &[])).collect(),
    }
}

/// How a submitter submits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Submits {
    /// One job after the other
    Singly,
    /// All of them together
    Batch,
    /// The same, and workers that find a job wake no others before the submitter has looked again
    Sparingly,
}

/// What workers without a job do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rests {
    /// They sleep
    Sleep,
    /// The last of them naps once
    Nap,
}

/// Submitters push jobs, in turn to the lists; workers run, and never leave. With two of them, job 0 waits for the last job.
pub(super) fn enqueue_idle(
    b: &mut Builder,
    lists: usize,
    submits: Submits,
    rests: Rests,
    size: Size,
    mutant: Option<Mutant>,
) -> Debts {
    let workers = usize::from(size.workers);
    let mut tokens = vec![0; workers];
    tokens[0] = i32::from(size.tokens);
    let account = Account {
        mutant,
        lists: work_lists(b, lists),
        queue: Queue::with_tokens(b, &tokens, mutant),
        // Where there are two lists, the look through them is what it is about.
        searching: (lists == 1).then(|| b.object("searching", 0)),
        sparing: (submits == Submits::Sparingly || rests == Rests::Nap).then(|| b.object("sparing", 0)),
        vacant: Some(b.object("vacant", 0)),
        roster: None,
        exit: Some(b.object("exit", 0)),
        leaves: false,
    };
    let jobs = usize::from(size.jobs);
    let answer = Answer { parker: b.object("answer", 0), last: jobs as i32 - 1 };
    let submitters = usize::from(size.submitters);
    for submitter in 0..submitters {
        let told = b.local_list(&format!("told by submitter {submitter}"));
        let mut p = Code::new(format!("submitter {submitter}"));
        // Of three jobs the one that waits is the second to come.
        let order: Vec<usize> = if jobs == 3 { vec![1, 0, 2] } else { (0..jobs).collect() };
        let jobs = order.into_iter().filter(|job| job % submitters == submitter);
        match submits {
            Submits::Singly => jobs.for_each(|job| account.submit(&mut p, told, job % lists, job as i32)),
            Submits::Batch | Submits::Sparingly => {
                let sparing = account.sparing.filter(|_| submits == Submits::Sparingly);
                if let Some(sparing) = sparing {
                    p.store("spare", sparing, 1, Relaxed);
                }
                jobs.for_each(|job| account.lists[job % lists].push(&mut p, job as i32));
                account.activate(&mut p, told);
                if sparing.is_some() {
                    account.end_sparing(&mut p);
                    if mutant != Some(Mutant::SparedForGood) {
                        account.activate_unprompted(&mut p, told);
                    }
                }
            }
        }
        b.thread(p);
    }
    for number in 0..workers {
        let told = b.local_list(&format!("told by worker {number}"));
        let naps = i32::from(rests == Rests::Nap && number == workers - 1);
        let seat =
            Seat { number: number as i32, home: number, begins: Begins::Free, timeouts: 0, naps, told };
        b.thread(account.worker(format!("worker {number}"), seat, &|p, job| {
            if workers > 1 {
                answer.perform(p, job);
            }
        }));
    }
    account.debts()
}

/// Two workers, which is the maximum. The idle timeout of one fires, while the other one is busy with job 0 until the last job runs, or, without
/// jobs, while its own fires too. Others can be started. A submitter pushes.
pub(super) fn timeout(b: &mut Builder, size: Size, mutant: Option<Mutant>) -> Debts {
    let jobs = i32::from(size.jobs);
    let unborn: Vec<i32> = (2..2 + jobs).collect();
    let workers = 2 + unborn.len();
    let queue = match workers {
        // More objects would be too many.
        4 => Queue::new(b, "", &[0; 4], true, mutant),
        _ => Queue::of_workers(b, workers, mutant),
    };
    let account = Account {
        mutant,
        lists: work_lists(b, 1),
        vacant: Some(b.object("vacant", 0)),
        roster: Some(Roster::new(b, 2, 2, &unborn, queue.parkers)),
        queue,
        searching: Some(b.object("searching", 0)),
        sparing: None,
        exit: None,
        leaves: true,
    };
    let answer = Answer { parker: b.object("answer", 0), last: jobs };
    let told = b.local_list("told by the submitter");
    let mut p = Code::new("submitter");
    for job in 1..=jobs {
        account.submit(&mut p, told, 0, job);
    }
    b.thread(p);
    let (second, timeouts) = if jobs > 0 { (Begins::Busy, 0) } else { (Begins::Free, 1) };
    let first = [(0, Begins::Free, 1), (1, second, timeouts)];
    for (number, begins, timeouts) in
        first.into_iter().chain(unborn.into_iter().map(|number| (number, Begins::Unborn, 0)))
    {
        let told = b.local_list(&format!("told by worker {number}"));
        let seat = Seat { number, home: 0, begins, timeouts, naps: 0, told };
        b.thread(account.worker(format!("worker {number}"), seat, &|p, job| answer.perform(p, job)));
    }
    account.debts()
}

/// One worker, which is the maximum, runs job 0; it lends its place while it waits for job 1. A submitter pushes that.
pub(super) fn blocking(b: &mut Builder, mutant: Option<Mutant>) -> Debts {
    let queue = Queue::of_workers(b, 2, mutant);
    let account = Account {
        mutant,
        lists: work_lists(b, 1),
        vacant: Some(b.object("vacant", 0)),
        roster: Some(Roster::new(b, 1, 1, &[1], queue.parkers)),
        queue,
        searching: Some(b.object("searching", 0)),
        sparing: None,
        exit: None,
        leaves: true,
    };
    let answer = Answer { parker: b.object("answer", 0), last: 1 };
    let told = b.local_list("told by the submitter");
    let mut p = Code::new("submitter");
    account.submit(&mut p, told, 0, 1);
    b.thread(p);
    for (number, begins) in [(0, Begins::Busy), (1, Begins::Unborn)] {
        let told = b.local_list(&format!("told by worker {number}"));
        let seat = Seat { number, home: 0, begins, timeouts: 0, naps: 0, told };
        b.thread(account.worker(format!("worker {number}"), seat, &|p, job| {
            p.when_else(
                job.is(0),
                |p| blocked(&account, p, told, |p| p.park(BUSY, answer.parker)),
                |p| p.unpark("answer", answer.parker),
            );
        }));
    }
    account.debts()
}

/// A job in a blocked region.
fn blocked(account: &Account, p: &mut Code, told: List, body: impl FnOnce(&mut Code)) {
    account.lend(p, true);
    if !account.is(Mutant::LendWithoutBarrier) {
        p.fence("lend barrier", SeqCst);
    }
    if !account.is(Mutant::NoLookAfterLending) {
        account.activate_unprompted(p, told);
    }
    body(p);
    account.lend(p, false);
}
