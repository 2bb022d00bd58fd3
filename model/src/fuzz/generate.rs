//! Random programs. Each is a function of its seed.

use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

use fastrand::Rng;

use super::program::{Do, Program};
use crate::graphs::{Modify, Op, Until};

/// A random program.
pub fn program(seed: u64) -> Program {
    let mut rng = Rng::with_seed(seed);
    let orders = *pick(&mut rng, &[Orders::Any, Orders::Any, Orders::Relaxed, Orders::Pairs, Orders::SeqCst]);
    match rng.u32(..4) {
        0 | 1 => Make { rng, orders, shared: 0 }.accesses(),
        2 => Make { rng, orders, shared: 0 }.locks(),
        _ => Make { rng, orders, shared: 0 }.parkers(),
    }
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

/// Which orders the accesses of a program have.
#[derive(Clone, Copy)]
enum Orders {
    Any,
    Relaxed,
    /// Acquire and release
    Pairs,
    /// `seq_cst` mostly
    SeqCst,
}

struct Make {
    rng: Rng,
    orders: Orders,
    /// Locations from this on are the ones that are accessed in any way
    shared: u32,
}

/// The lock that is location `lock`.
fn lock(lock: u32) -> Do {
    wait_modify(lock, 0, 1)
}

/// Reads 0 if it takes the lock.
fn try_lock(lock: u32) -> Do {
    Do::Op(Op::Rmw {
        location: lock,
        order: Acquire,
        failure: Relaxed,
        modify: Modify::CompareExchange { expected: 0, new: 1 },
        until: None,
    })
}

fn unlock(lock: u32) -> Do {
    Do::Op(Op::Store { location: lock, order: Release, value: 0 })
}

fn unpark(token: u32) -> Do {
    Do::Op(Op::Rmw {
        location: token,
        order: Release,
        failure: Relaxed,
        modify: Modify::Swap(1),
        until: None,
    })
}

fn park(token: u32) -> Do {
    wait_modify(token, 1, 0)
}

fn wait_modify(location: u32, from: u64, to: u64) -> Do {
    let (modify, until) = (Modify::Swap(to), Some(Until::Is(from)));
    Do::Op(Op::Rmw { location, order: Acquire, failure: Relaxed, modify, until })
}

impl Make {
    fn order(&mut self, any: &[Ordering], pair: Ordering) -> Ordering {
        match self.orders {
            Orders::Any => *pick(&mut self.rng, any),
            Orders::Relaxed => Relaxed,
            Orders::Pairs => pair,
            Orders::SeqCst => {
                if self.rng.u32(..4) == 0 {
                    pair
                } else {
                    SeqCst
                }
            }
        }
    }

    fn load_order(&mut self) -> Ordering {
        self.order(&[Relaxed, Acquire, SeqCst], Acquire)
    }

    fn store_order(&mut self) -> Ordering {
        self.order(&[Relaxed, Release, SeqCst], Release)
    }

    fn modify_order(&mut self) -> Ordering {
        self.order(&[Relaxed, Acquire, Release, AcqRel, SeqCst], AcqRel)
    }

    fn fence(&mut self) -> Do {
        Do::Op(Op::Fence { order: *pick(&mut self.rng, &[Acquire, Release, AcqRel, SeqCst, SeqCst, SeqCst]) })
    }

    fn modify(&mut self) -> Modify {
        match self.rng.u32(..4) {
            0 => Modify::Swap(self.rng.u64(1..3)),
            1 => Modify::Add(1),
            _ => Modify::CompareExchange { expected: self.rng.u64(..2), new: self.rng.u64(1..3) },
        }
    }

    /// An access of a shared location.
    fn access(&mut self, locations: u32) -> Do {
        let location = self.shared + self.rng.u32(..locations);
        Do::Op(match self.rng.u32(..100) {
            0..40 => Op::Load { location, order: self.load_order(), until: None },
            40..70 => Op::Store { location, order: self.store_order(), value: self.rng.u64(1..3) },
            70..75 => return Do::StoreRegister { location, order: self.store_order() },
            _ => Op::Rmw {
                location,
                order: self.modify_order(),
                failure: self.load_order(),
                modify: self.modify(),
                until: None,
            },
        })
    }

    /// Any statement that begins no thread.
    fn statement(&mut self, locations: u32) -> Do {
        match self.rng.u32(..100) {
            0..10 => self.fence(),
            10..13 => Do::Op(Op::Choose { outcomes: 2 }),
            13..20 => {
                let then = vec![self.access(locations)];
                let otherwise = if self.rng.bool() { vec![self.access(locations)] } else { Vec::new() };
                Do::If(self.rng.u64(..2), then, otherwise)
            }
            20..25 => {
                let location = self.shared + self.rng.u32(..locations);
                let until = if self.rng.bool() { Until::Differs(0) } else { Until::Is(self.rng.u64(..3)) };
                Do::Op(match self.rng.bool() {
                    true => Op::Load { location, order: self.load_order(), until: Some(until) },
                    false => Op::Rmw {
                        location,
                        order: self.modify_order(),
                        failure: Relaxed,
                        modify: Modify::Swap(self.rng.u64(..3)),
                        until: Some(until),
                    },
                })
            }
            _ => self.access(locations),
        }
    }

    /// Threads of accesses in no order.
    fn accesses(mut self) -> Program {
        let locations = *pick(&mut self.rng, &[1, 2, 2, 2, 3]);
        let threads = self.rng.usize(2..5);
        let each = [0, 0, 6, 4, 3][threads];
        let mut bodies = Vec::new();
        for _ in 0..threads {
            let statements = self.rng.usize(each - 2..each + 1);
            bodies.push((0..statements).map(|_| self.statement(locations)).collect());
        }
        self.started(vec![0; locations as usize], bodies, locations)
    }

    /// Threads with sections of locks, one in another.
    fn locks(mut self) -> Program {
        let locks = self.rng.u32(1..4);
        self.shared = locks;
        let threads = self.rng.usize(2..5);
        let mut bodies = Vec::new();
        for _ in 0..threads {
            let mut body = Vec::new();
            for _ in 0..self.rng.usize(1..[0, 0, 4, 3, 2][threads]) {
                body.extend(self.section(locks, &mut Vec::new()));
            }
            bodies.push(body);
        }
        self.started(vec![0; locks as usize + 1], bodies, 1)
    }

    /// A section of a lock that is not held.
    fn section(&mut self, locks: u32, held: &mut Vec<u32>) -> Vec<Do> {
        let free: Vec<u32> = (0..locks).filter(|lock| !held.contains(lock)).collect();
        if free.is_empty() {
            return vec![self.access(1)];
        }
        let taken = *pick(&mut self.rng, &free);
        let tries = self.rng.u32(..6) == 0;
        let mut body = if tries { Vec::new() } else { vec![lock(taken)] };
        held.push(taken);
        match self.rng.u32(..4) {
            0 => body.push(self.access(1)),
            1 => {}
            _ => body.extend(self.section(locks, held)),
        }
        held.pop();
        body.push(unlock(taken));
        if tries {
            body = vec![try_lock(taken), Do::If(0, body, Vec::new())];
        }
        if self.rng.u32(..8) == 0 {
            body.push(self.access(1));
        }
        body
    }

    /// Threads that park and unpark each other, and set flags before.
    fn parkers(mut self) -> Program {
        let threads = self.rng.usize(2..5);
        let tokens = self.rng.u32(1..3);
        self.shared = tokens + 1;
        let mut bodies = Vec::new();
        for _ in 0..threads {
            let mut body = Vec::new();
            for _ in 0..self.rng.usize(2..[0, 0, 7, 6, 5][threads]) {
                let token = self.rng.u32(..tokens);
                match self.rng.u32(..10) {
                    0..4 => body.push(unpark(token)),
                    4..6 => body.push(park(token)),
                    6 => body.extend([lock(tokens), unpark(token), unlock(tokens)]),
                    7 => body.extend([lock(tokens), self.access(1), unlock(tokens)]),
                    _ => body.push(self.statement(1)),
                }
            }
            bodies.push(body);
        }
        self.started(vec![0; tokens as usize + 2], bodies, 1)
    }

    /// These threads with another one that starts them; or the first of these starts the others, and goes on
    /// meanwhile.
    fn started(mut self, locations: Vec<u64>, mut bodies: Vec<Vec<Do>>, shared: u32) -> Program {
        if self.rng.u32(..3) > 0 {
            bodies.insert(0, Vec::new());
        }
        let threads = bodies.len();
        // The last one may be started by the one before.
        let nested = threads > 2 && self.rng.u32(..4) == 0;
        for thread in (1..threads).rev() {
            let parent = if nested && thread == threads - 1 { thread - 1 } else { 0 };
            let at = match parent {
                0 => bodies[0]
                    .iter()
                    .position(|statement| matches!(statement, Do::Spawn(_)))
                    .unwrap_or(bodies[0].len()),
                _ => bodies[parent].len(),
            };
            let at = self.rng.usize(..at + 1);
            bodies[parent].insert(at, Do::Spawn(thread));
            if self.rng.bool() {
                let at = self.rng.usize(at + 1..bodies[parent].len() + 1);
                bodies[parent].insert(at, Do::Join(thread));
                if self.rng.u32(..4) == 0 {
                    let access = self.access(shared);
                    bodies[parent].push(access);
                }
            }
        }
        Program { locations, ordered: self.shared, threads: bodies }
    }
}
