//! The memory models from their axioms, on whole graphs: relations between events as bit matrices, and what has to
//! be acyclic. Slow and literal, and nothing of it is shared with [`consistency`](crate::graphs::consistency).

use std::sync::atomic::Ordering;

use super::brute::{Bare, Step};
use crate::graphs::{EventId, Op};

/// The most events of a graph, starts and ends of threads included.
pub const MOST: usize = 56;

/// A set of events.
type Set = u64;

/// Row `a` has the bit `b` if `a` is related to `b`.
#[derive(Clone, Copy)]
struct Relation {
    rows: [Set; MOST],
    len: usize,
}

impl Relation {
    fn new(len: usize, row: impl Fn(usize) -> Set) -> Self {
        let mut relation = Relation { rows: [0; MOST], len };
        for a in 0..len {
            relation.rows[a] = row(a);
        }
        relation
    }

    fn or(&self, other: &Self) -> Self {
        Self::new(self.len, |a| self.rows[a] | other.rows[a])
    }

    fn and(&self, other: &Self) -> Self {
        Self::new(self.len, |a| self.rows[a] & other.rows[a])
    }

    fn minus(&self, other: &Self) -> Self {
        Self::new(self.len, |a| self.rows[a] & !other.rows[a])
    }

    /// `[from] ; self ; [to]`
    fn between(&self, from: Set, to: Set) -> Self {
        Self::new(self.len, |a| if from >> a & 1 == 1 { self.rows[a] & to } else { 0 })
    }

    /// `self ; other`
    fn then(&self, other: &Self) -> Self {
        Self::new(self.len, |a| bits(self.rows[a]).fold(0, |row, b| row | other.rows[b]))
    }

    /// `self?`
    fn or_same(&self) -> Self {
        Self::new(self.len, |a| self.rows[a] | 1 << a)
    }

    /// `self+`
    fn closure(&self) -> Self {
        let mut closed = *self;
        for middle in 0..self.len {
            let further = closed.rows[middle];
            if further != 0 {
                for row in &mut closed.rows[..self.len] {
                    *row |= further * (*row >> middle & 1);
                }
            }
        }
        closed
    }

    fn is_irreflexive(&self) -> bool {
        (0..self.len).all(|a| self.rows[a] >> a & 1 == 0)
    }

    fn is_empty(&self) -> bool {
        self.rows[..self.len].iter().all(|&row| row == 0)
    }

    fn is_acyclic(&self) -> bool {
        // Events that lead nowhere are on no cycle: they are taken away until none is left.
        let mut left: Set = (1 << self.len) - 1;
        loop {
            let on = bits(left).filter(|&a| self.rows[a] & left != 0).fold(0, |on, a| on | 1 << a);
            if on == left {
                return left == 0;
            }
            left = on;
        }
    }
}

fn bits(set: Set) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(set), |&set| Some(set & set.wrapping_sub(1)))
        .take_while(|&set| set != 0)
        .map(|set| set.trailing_zeros() as usize)
}

/// Which models allow a graph, of those that are asked: SC, x86-TSO, RC11.
pub fn allowed(graph: &Bare, asked: [bool; 3]) -> [bool; 3] {
    let relations = Relations::new(graph);
    if !relations.rmw_are_atomic() {
        return [false; 3];
    }
    [asked[0] && relations.sc(), asked[1] && relations.tso(), asked[2] && relations.rc11()]
}

struct Relations<'a> {
    /// Thread by thread. The first of each thread is its start, the last its end, which are no operations
    events: Vec<Option<&'a Step>>,
    /// Program order
    po: Relation,
    /// From who starts a thread to its start, and from its end to who waits for that
    threads: Relation,
    rf: Relation,
    co: Relation,
    fr: Relation,
    /// Accesses of the same location
    loc: Relation,
}

impl<'a> Relations<'a> {
    fn new(graph: &'a Bare) -> Self {
        let mut starts = Vec::new();
        let mut events: Vec<Option<&Step>> = Vec::new();
        for thread in &graph.threads {
            starts.push(events.len());
            events.push(None);
            events.extend(thread.iter().map(Some));
            events.push(None);
        }
        starts.push(events.len());
        let len = events.len();
        assert!(len <= MOST);
        let number = |id: EventId| starts[id.thread()] + 1 + id.index();
        let end = |thread: usize| starts[thread + 1] - 1;
        let none = Relation::new(len, |_| 0);
        let (mut po, mut threads, mut rf, mut co, mut fr) = (none, none, none, none, none);
        for next in starts.windows(2) {
            for a in next[0]..next[1] {
                po.rows[a] = (1 << next[1]) - (2 << a);
            }
        }
        for (a, event) in events.iter().enumerate() {
            let Some(event) = event else { continue };
            match event.op {
                Op::Spawn => threads.rows[a] = 1 << starts[event.read as usize],
                Op::Join { thread: joined } => threads.rows[end(joined as usize)] |= 1 << a,
                _ => {}
            }
            if event.op.reads() && !event.reads_from.is_initial() {
                rf.rows[number(event.reads_from)] |= 1 << a;
            }
        }
        for writes in &graph.coherence {
            let mut later = 0;
            for &write in writes.iter().rev() {
                co.rows[number(write)] = later;
                later |= 1 << number(write);
            }
        }
        let mut accesses = vec![0; graph.coherence.len()];
        for (a, event) in events.iter().enumerate() {
            let Some((event, location)) = event.and_then(|event| Some((event, event.op.atomic()? as usize)))
            else {
                continue;
            };
            accesses[location] |= 1 << a;
            if event.op.reads() {
                let later = match event.reads_from.is_initial() {
                    true => graph.coherence[location].iter().fold(0, |all, &write| all | 1 << number(write)),
                    false => co.rows[number(event.reads_from)],
                };
                fr.rows[a] = later & !(1 << a);
            }
        }
        let loc = Relation::new(len, |a| {
            events[a].and_then(|event| event.op.atomic()).map_or(0, |location| accesses[location as usize])
        });
        Relations { events, po, threads, rf, co, fr, loc }
    }

    fn set(&self, is_in: impl Fn(&Step) -> bool) -> Set {
        let events = self.events.iter().enumerate();
        events.filter(|(_, event)| event.is_some_and(&is_in)).fold(0, |set, (a, _)| set | 1 << a)
    }

    /// No write comes between a read-modify-write and what it reads.
    fn rmw_are_atomic(&self) -> bool {
        let itself = Relation::new(self.events.len(), |a| 1 << a);
        self.fr.then(&self.co).and(&itself).is_empty()
    }

    /// Program order, threads' starts and ends included.
    fn sequenced(&self) -> Relation {
        self.po.or(&self.threads).closure()
    }

    fn sc(&self) -> bool {
        self.po.or(&self.threads).or(&self.rf).or(&self.co).or(&self.fr).is_acyclic()
    }

    /// As in herd's `cos.cat` with the mapping of C11 to x86: a `seq_cst` store is a store and an `mfence`.
    fn tso(&self) -> bool {
        let po = self.sequenced();
        let communication = self.rf.or(&self.fr).or(&self.co);
        if !po.and(&self.loc).or(&communication).is_acyclic() {
            return false;
        }
        let memory = self.set(|event| event.op.atomic().is_some());
        let stores = self.set(|event| matches!(event.op, Op::Store { .. }));
        let loads = self.set(|event| matches!(event.op, Op::Load { .. }));
        let fences = self.set(|event| match event.op {
            Op::Fence { order } => order == Ordering::SeqCst,
            Op::Spawn | Op::Join { .. } => true,
            _ => false,
        });
        let full_stores = self.set(|event| matches!(event.op, Op::Store { order: Ordering::SeqCst, .. }));
        let preserved = self.po.between(memory, memory).minus(&self.po.between(stores, loads));
        let fenced = po.between(memory, fences).then(&po.between(fences, memory));
        let stored = po.between(full_stores, memory);
        let from_others = self.rf.minus(&self.po);
        preserved.or(&fenced).or(&stored).or(&from_others).or(&self.fr).or(&self.co).is_acyclic()
    }

    /// As in herd's `rc11.cat`, where a read-modify-write is a single event.
    fn rc11(&self) -> bool {
        let all = !0;
        let releases = self.set(|event| {
            matches!(event.order(), Some(Ordering::Release | Ordering::AcqRel | Ordering::SeqCst))
        });
        let acquires = self.set(|event| {
            matches!(event.order(), Some(Ordering::Acquire | Ordering::AcqRel | Ordering::SeqCst))
        });
        let seq_cst = self.set(|event| event.order() == Some(Ordering::SeqCst));
        let fences = self.set(|event| matches!(event.op, Op::Fence { .. }));
        let writes = self.set(|event| event.wrote.is_some());
        let reads = self.set(|event| event.op.reads());
        let rmws = reads & writes;
        let sb = self.po;
        // Synchronizes-with.
        let chains = self.rf.between(all, rmws).closure().or_same();
        let sequences =
            sb.and(&self.loc).between(writes, writes).or_same().between(writes, writes).then(&chains);
        let released = sb.between(fences, all).or_same().then(&sequences).between(releases, all);
        let acquired = sb.between(reads, fences).or_same().between(reads, acquires);
        let sw = released.then(&self.rf).then(&acquired);
        // Coherence.
        let hb = sb.or(&sw).or(&self.threads).closure();
        let eco = self.rf.or(&self.co).or(&self.fr).closure();
        if !hb.is_irreflexive() || !hb.then(&eco).is_irreflexive() {
            return false;
        }
        if seq_cst == 0 {
            return true;
        }
        // The partial order of seq_cst.
        let elsewhere = sb.minus(&self.loc);
        let by_others = elsewhere.then(&hb).then(&elsewhere);
        let scb = sb.or(&by_others).or(&hb.and(&self.loc)).or(&self.co).or(&self.fr);
        let seq_cst_fences = fences & seq_cst;
        let from = hb.or_same().between(seq_cst_fences, all).or(&self.same(seq_cst));
        let to = hb.or_same().between(all, seq_cst_fences).or(&self.same(seq_cst));
        let base = from.then(&scb).then(&to);
        let of_fences = hb.or(&hb.then(&eco).then(&hb)).between(seq_cst_fences, seq_cst_fences);
        base.or(&of_fences).is_acyclic()
    }

    /// `[set]`
    fn same(&self, set: Set) -> Relation {
        Relation::new(self.events.len(), |a| set & 1 << a)
    }
}
