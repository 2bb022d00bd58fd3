//! A pool from its first job to its end, in one program: made of the same pieces as the protocols, to hold code against.

use super::account::{Account, Roster, WorkList};
use super::hash::{self, Chain};
use super::queue::Queue;
use super::worker::{Begins, Seat};
use super::{Debts, Mutant, START};
use crate::memory::Order::Relaxed;
use crate::program::{Builder, Code, Register, Term};

/// What happens in a pool's life. One account; the first job has been pushed, and its worker started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Life {
    /// The most workers, 1 or 2
    pub max: u8,
    /// Jobs in all, 1 or 2
    pub jobs: u8,
    /// Are they all of one hash?
    pub hashed: bool,
    /// How often the first worker's idle timeout may fire
    pub timeouts: u8,
}

pub(super) fn life(b: &mut Builder, life: Life, mutant: Option<Mutant>) -> Debts {
    let max = i32::from(life.max);
    // Whoever may be started, in the order in which they are: also in place of one that has left.
    let unborn = [1, 2];
    let queue = Queue::of_workers(b, 1 + unborn.len(), mutant);
    let exit = b.object("exit", 0);
    let account = Account {
        mutant,
        lists: vec![WorkList::new(b, "", &[0])],
        vacant: Some(b.object("vacant", max - 1)),
        roster: Some(Roster::new(b, max, 1, &unborn, queue.parkers)),
        queue,
        exit: Some(exit),
        leaves: true,
    };
    let chain = Chain::new(b, &[], life.hashed);
    let closed = b.list("chains closed", chain.lock, &[]);

    let told = b.local_list("told by the submitter");
    let mut p = Code::new("submitter");
    for job in 1..i32::from(life.jobs) {
        match life.hashed {
            true => hash::submit(&account, chain, &mut p, told, job),
            false => account.submit(&mut p, told, 0, job),
        }
    }
    p.locked(("close chains lock", "close chains unlock"), chain.lock, |p| p.push(closed, 0));
    account.lists[0].close(&mut p);
    p.scope(|p| {
        let exiting = p.load("exiting already", exit, Relaxed);
        p.claim("there is one shutdown", exiting.is(0));
    });
    p.store("set EXIT", exit, 1, Relaxed);
    account.queue.broadcast(&mut p, told);
    // Asked when no worker is alive; that is not modelled here, so no claim.
    p.scope(|p| {
        p.load("any work in the end", account.lists[0].len, Relaxed);
    });
    b.thread(p);

    for number in [0].into_iter().chain(unborn) {
        let (begins, timeouts) = match number {
            0 => (Begins::Free, i32::from(life.timeouts)),
            _ => (Begins::Unborn, 0),
        };
        let told = b.local_list(&format!("told by worker {number}"));
        let seat = Seat { number, home: 0, begins, timeouts, told };
        let hashed = |p: &mut Code, job: Register| {
            p.forever(|p| {
                let next = p.register();
                hash::bring_out(&account, chain, p, told, next);
                p.when(next.is(-1), |p| p.leave());
                p.set(job, next);
            });
        };
        let nothing = |_: &mut Code, _: Register| ();
        let perform: &dyn Fn(&mut Code, Register) = if life.hashed { &hashed } else { &nothing };
        b.thread(account.worker(format!("worker {number}"), seat, perform));
    }
    let lists = vec![account.lists[0].jobs, chain.waiting];
    Debts { lists, rests: vec![START], ..Debts::default() }
}
