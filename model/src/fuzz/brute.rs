//! All executions of a program by brute force: events are added in any order of the threads, reads read from any
//! write, writes take any place, and what the [axioms](super::axioms) allow is kept. Graphs that were seen are not
//! followed again.
//!
//! A read reads from a write that is there: in some order of the threads it is.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use foldhash::fast::FixedState;

use super::axioms;
use super::program::{Next, Program, with_order};
use crate::graphs::{self, EventId, Op, Value};

/// An event without what follows from the rest of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub op: Op,
    pub reads_from: EventId,
    /// The value read, or the outcome of a choice, or the thread that is started
    pub read: Value,
    pub wrote: Option<Value>,
    pub blocked: bool,
}

impl Step {
    /// The order that took effect.
    pub fn order(&self) -> Option<Ordering> {
        match self.op {
            Op::Load { order, .. } | Op::Store { order, .. } | Op::Fence { order } => Some(order),
            Op::Rmw { order, failure, .. } => Some(if self.wrote.is_some() { order } else { failure }),
            _ => None,
        }
    }
}

/// A graph with what tells executions apart, and nothing else. Threads have the numbers of the program's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bare {
    pub threads: Vec<Arc<Vec<Step>>>,
    /// The writes of each location, without the initial one
    pub coherence: Vec<Arc<Vec<EventId>>>,
}

/// What was read says what was done, in executions of one program.
impl Hash for Bare {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for thread in &self.threads {
            state.write_usize(thread.len());
            for step in thread.iter() {
                state.write_usize(step.reads_from.thread() << 16 | step.reads_from.index());
                state.write_u64(step.read);
            }
        }
        for write in self.coherence.iter().flat_map(|writes| writes.iter()) {
            state.write_usize(write.thread() << 16 | write.index());
        }
    }
}

/// A set with a fast hash.
pub type Set<T> = HashSet<T, FixedState>;

/// An execution, and whether it is one under SC, x86-TSO and RC11.
pub struct Allowed {
    pub graph: Bare,
    pub by: [bool; 3],
    /// Whether no thread can go on, though not all have ended
    pub stuck: bool,
}

/// All executions. `None` if more graphs than `most` would have to be looked at.
pub fn executions(program: &Program, most: usize) -> Option<Vec<Allowed>> {
    if program.most_events() > axioms::MOST {
        return None;
    }
    let empty = Bare {
        threads: vec![Arc::default(); program.threads.len()],
        coherence: vec![Arc::default(); program.locations.len()],
    };
    let mut executions = Vec::new();
    let mut seen: Set<Bare> = Set::default();
    let mut stack = vec![(empty, [true; 3])];
    while let Some((graph, by)) = stack.pop() {
        let next: Vec<Next> = (0..program.threads.len()).map(|thread| graph.next(program, thread)).collect();
        if next.iter().all(|next| matches!(next, Next::None)) {
            executions.push(Allowed { graph: graph.clone(), by, stuck: false });
        } else if let Some(stuck) = graph.stuck(program, &next) {
            executions.push(Allowed { by: axioms::allowed(&stuck, by), graph: stuck, stuck: true });
        }
        // What has one outcome and is not prevented by others is added at once.
        let is_alone = |op: &Op| matches!(op, Op::Fence { .. } | Op::Spawn | Op::Join { .. });
        let can_move = |thread: &usize| match next[*thread] {
            Next::Op(op, _) => graph.has_to_wait_for(program, op).is_none(),
            Next::None => false,
        };
        let mut movers: Vec<usize> = (0..next.len()).filter(can_move).collect();
        if let Some(&alone) =
            movers.iter().find(|&&thread| matches!(&next[thread], Next::Op(op, _) if is_alone(op)))
        {
            movers = vec![alone];
        }
        for thread in movers {
            let Next::Op(op, started) = next[thread] else { continue };
            for successor in graph.successors(program, thread, op, started) {
                if seen.contains(&successor) {
                    continue;
                }
                let by = axioms::allowed(&successor, by);
                if by != [false; 3] {
                    seen.insert(successor.clone());
                    stack.push((successor, by));
                }
            }
        }
        if seen.len() > most {
            return None;
        }
    }
    Some(executions)
}

impl Bare {
    /// What the engine's graph is without its clocks and stamps.
    pub fn of(graph: &graphs::Graph, program: &Program) -> Self {
        // The number of a thread depends on who was started first: its path says which it is.
        let numbers: Vec<usize> = graph.threads.iter().map(|thread| program.number(&thread.path)).collect();
        let renumber = |id: EventId| match id.is_initial() {
            true => id,
            false => EventId::new(numbers[id.thread()], id.index()),
        };
        let mut threads: Vec<Arc<Vec<Step>>> = vec![Arc::default(); program.threads.len()];
        for (thread, &number) in graph.threads.iter().zip(&numbers) {
            let events = thread.events.iter().filter(|event| event.op != Op::End);
            threads[number] = Arc::new(
                events
                    .map(|event| Step {
                        op: match event.op {
                            Op::Join { thread } => Op::Join { thread: numbers[thread as usize] as u8 },
                            op => op,
                        },
                        reads_from: renumber(event.reads_from),
                        read: if event.op == Op::Spawn {
                            numbers[event.read as usize] as Value
                        } else {
                            event.read
                        },
                        wrote: event.writes.then_some(event.wrote),
                        blocked: event.blocked,
                    })
                    .collect(),
            );
        }
        let writes = |location: &graphs::Location| {
            Arc::new(location.writes[1..].iter().map(|&id| renumber(id)).collect())
        };
        Bare { threads, coherence: graph.locations.iter().map(writes).collect() }
    }

    /// The graph without orders and fences, which have nothing to do with what happens in it.
    pub fn without_orders(&self) -> Self {
        let is_fence = |step: &&Step| matches!(step.op, Op::Fence { .. });
        let renumber = |id: &EventId| match id.is_initial() {
            true => *id,
            false => {
                let fences = self.threads[id.thread()][..id.index()].iter().filter(is_fence).count();
                EventId::new(id.thread(), id.index() - fences)
            }
        };
        let bare = |step: &Step| {
            let (op, reads_from) = (with_order(step.op, Ordering::Relaxed), renumber(&step.reads_from));
            Step { op, reads_from, ..step.clone() }
        };
        let thread = |steps: &Arc<Vec<Step>>| {
            Arc::new(steps.iter().filter(|step| !is_fence(step)).map(bare).collect())
        };
        let writes = |writes: &Arc<Vec<EventId>>| Arc::new(writes.iter().map(renumber).collect());
        Bare {
            threads: self.threads.iter().map(thread).collect(),
            coherence: self.coherence.iter().map(writes).collect(),
        }
    }

    fn next(&self, program: &Program, thread: usize) -> Next {
        let starts = |step: &Step| step.op == Op::Spawn && step.read == thread as Value;
        match thread == 0 || self.threads.iter().any(|steps| steps.iter().any(starts)) {
            true => program.next(thread, &self.threads[thread]),
            false => Next::None,
        }
    }

    fn value(&self, program: &Program, location: u32, write: EventId) -> Value {
        match write.is_initial() {
            true => program.locations[location as usize],
            false => self.threads[write.thread()][write.index()].wrote.expect("a write"),
        }
    }

    /// The thread whose end the operation waits for.
    fn has_to_wait_for(&self, program: &Program, op: Op) -> Option<u8> {
        match op {
            Op::Join { thread } if !matches!(self.next(program, thread as usize), Next::None) => Some(thread),
            _ => None,
        }
    }

    /// The graph with all threads blocked that have not ended, if none of them can go on: each waits for the end of
    /// a thread, or for another value than the newest.
    fn stuck(&self, program: &Program, next: &[Next]) -> Option<Bare> {
        let mut stuck = self.clone();
        for (thread, next) in next.iter().enumerate() {
            let Next::Op(op, _) = *next else { continue };
            if self.has_to_wait_for(program, op).is_some() {
                continue;
            }
            let (until, location) = (op.until()?, op.atomic()?);
            let newest = self.coherence[location as usize].last().copied().unwrap_or(EventId::INITIAL);
            let read = self.value(program, location, newest);
            if until.satisfied(read) {
                return None;
            }
            Arc::make_mut(&mut stuck.threads[thread]).push(Step {
                op,
                reads_from: newest,
                read,
                wrote: None,
                blocked: true,
            });
        }
        Some(stuck)
    }

    /// The graph with one more event, in all ways, consistent or not.
    fn successors(&self, program: &Program, thread: usize, op: Op, started: usize) -> Vec<Bare> {
        let mut successors = Vec::new();
        let id = EventId::new(thread, self.threads[thread].len());
        let mut add = |step: Step, place: Option<usize>| {
            let mut graph = self.clone();
            if let (Some(place), Some(location)) = (place, op.atomic()) {
                Arc::make_mut(&mut graph.coherence[location as usize]).insert(place, id);
            }
            Arc::make_mut(&mut graph.threads[thread]).push(step);
            successors.push(graph);
        };
        let step = Step { op, reads_from: EventId::INITIAL, read: 0, wrote: None, blocked: false };
        match op {
            Op::Store { location, value, .. } => {
                for place in 0..=self.coherence[location as usize].len() {
                    add(Step { wrote: Some(value), ..step.clone() }, Some(place));
                }
            }
            Op::Load { location, .. } | Op::Rmw { location, .. } => {
                let initial = [EventId::INITIAL];
                let writes = initial.iter().chain(self.coherence[location as usize].iter());
                for (place, &reads_from) in writes.enumerate() {
                    let read = self.value(program, location, reads_from);
                    let wrote = match op {
                        Op::Rmw { modify, .. } => modify.apply(read),
                        _ => None,
                    };
                    if op.until().is_none_or(|until| until.satisfied(read)) {
                        add(Step { reads_from, read, wrote, ..step.clone() }, wrote.map(|_| place));
                    }
                }
            }
            Op::Choose { outcomes } => {
                (0..outcomes).for_each(|read| add(Step { read: read as Value, ..step.clone() }, None));
            }
            Op::Spawn => add(Step { read: started as Value, ..step }, None),
            _ => add(step, None),
        }
        successors
    }
}
