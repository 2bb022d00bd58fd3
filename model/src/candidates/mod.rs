//! Candidate executions: all that a litmus test's threads may do, each judged by the axioms of a memory model.
//!
//! An engine that executes one operation after the other cannot have a model in which a read may
//! read what is written later: *load buffering*, which the Linux kernel's model allows. So here the
//! values come first. Each read may read any value that its location may have; that gives the
//! [traces](trace) of each thread. Then, for traces that supply each other with what they read,
//! every location by itself has its [choices](coherence) of reads-from and coherence order. A
//! choice for each location is a candidate, and a model accepts it or not: the kernel's, [lkmm], or
//! [rc11].
//!
//! So an execution is found once: a choice of reads-from and of coherence order, as herd7 counts them.

mod coherence;
mod execution;
pub(crate) mod lkmm;
mod rc11;
mod relation;
mod trace;

use std::collections::BTreeSet;

use self::coherence::{Order as CoherenceOrder, orders};
use self::execution::{Sets, Skeleton, Witness};
use self::lkmm::{Axiom, Barriers, Judgement};
use self::relation::{EVENTS, Relation, Set};
use self::trace::{Dead, Event, Part, Role, Trace, Values, What, traces};
use crate::litmus::program::{Fence, Order, Program, Where};
use crate::litmus::{Access, Error, Place, Race};
use crate::memory::Value;

/// The memory model that judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// The Linux kernel's, perhaps without one of its axioms, to see what it is for
    Lkmm {
        left_out: Option<Axiom>,
    },
    Rc11,
}

impl Rules {
    fn left_out(self) -> Option<Axiom> {
        match self {
            Rules::Lkmm { left_out } => left_out,
            Rules::Rc11 => None,
        }
    }
}

/// What became of a test under a memory model.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub executions: u64,
    pub states: BTreeSet<Vec<Value>>,
    /// The race whose accesses come first in the text
    pub race: Option<Race>,
}

/// How many candidates are tried, and combinations of traces.
const LIMIT: u64 = 5_000_000;

/// All executions that the model allows.
pub(crate) fn executions(program: &Program, text: &str, rules: Rules) -> Result<Found, Error> {
    let mut search = Search {
        program,
        text,
        rules,
        traces: all_traces(program, text, rules.left_out() != Some(Axiom::Coherence))?,
        found: Found::default(),
        tried: 0,
    };
    let supplies = search.supplies();
    search.combine(&mut Vec::new(), &supplies)?;
    Ok(search.found)
}

/// The traces of each thread. Which values a location may have depends on what is written, and that on
/// what is read: the values grow until they are enough. A value that takes more steps to compute than
/// there are writes would have to come from itself.
///
/// Meanwhile conditions may turn out either way. For the kernel's model lets a branch be taken because of what is
/// written in it (*out of thin air*, where no dependency of syntax stands in the way).
fn all_traces(program: &Program, text: &str, is_coherent: bool) -> Result<Vec<Vec<Trace>>, Error> {
    let own: Vec<Value> = program.locations.iter().map(|location| location.initial).collect();
    // What each thread writes to each location.
    let mut written = vec![vec![BTreeSet::new(); own.len()]; program.threads.len()];
    let (mut rounds, mut is_free) = (0, true);
    loop {
        let mut found = Vec::new();
        for (thread, code) in program.threads.iter().enumerate() {
            let mut foreign = vec![BTreeSet::new(); own.len()];
            for (other, written) in written.iter().enumerate() {
                // Of its own writes a thread may read the last one only, and what was there at first only before it
                // has written.
                if other != thread || !is_coherent {
                    foreign.iter_mut().zip(written).for_each(|(all, more)| all.extend(more));
                }
            }
            if !is_coherent {
                foreign.iter_mut().zip(&own).for_each(|(all, initial)| all.extend([*initial]));
            }
            let values = Values { foreign, own: own.clone(), is_free };
            found.push(traces(code, &values).map_err(|dead| impossible(dead, text))?);
        }
        let mut grown = written.clone();
        for (grown, traces) in grown.iter_mut().zip(&found) {
            for (location, value) in traces.iter().flat_map(|trace| trace.values(Role::Write)) {
                grown[location].insert(value);
            }
        }
        let writes = |traces: &Vec<Trace>| traces.iter().map(|trace| trace.values(Role::Write).count()).max();
        let longest: usize = found.iter().filter_map(writes).sum();
        if !is_free {
            return Ok(found);
        }
        is_free = grown != written && rounds <= longest;
        written = grown;
        rounds += 1;
    }
}

fn impossible(dead: Dead, text: &str) -> Error {
    match dead {
        Dead::Lost { address, offset } => Error::Meaning {
            place: Place::of(text, offset),
            what: format!("{address} is not the address of a location"),
        },
        Dead::Long | Dead::Needs(_) | Dead::Waits => too_large(),
    }
}

fn too_large() -> Error {
    Error::Execution(format!("an execution has more than {EVENTS} events, initial writes included"))
}

struct Search<'a> {
    program: &'a Program,
    text: &'a str,
    rules: Rules,
    traces: Vec<Vec<Trace>>,
    found: Found,
    /// Combinations of traces and candidates so far
    tried: u64,
}

/// A value of a location.
type Pair = (usize, Value);

impl Search<'_> {
    /// For each thread what it, those after it and the initial writes can supply.
    fn supplies(&self) -> Vec<BTreeSet<Pair>> {
        let initial = self.program.locations.iter().enumerate().map(|(location, it)| (location, it.initial));
        let mut supplies = vec![initial.collect::<BTreeSet<Pair>>()];
        for traces in self.traces.iter().rev() {
            let mut more = supplies[supplies.len() - 1].clone();
            more.extend(traces.iter().flat_map(|trace| trace.values(Role::Write)));
            supplies.push(more);
        }
        supplies.reverse();
        supplies
    }

    /// Chooses a trace for each thread in turn, as long as what they read can still be supplied.
    fn combine(&mut self, chosen: &mut Vec<usize>, supplies: &[BTreeSet<Pair>]) -> Result<(), Error> {
        let thread = chosen.len();
        self.tried += 1;
        if self.tried > LIMIT {
            return Err(Error::TooMany(LIMIT));
        }
        let is_supplied = |pair: &Pair| {
            supplies[thread].contains(pair)
                || chosen
                    .iter()
                    .zip(&self.traces)
                    .any(|(&trace, traces)| traces[trace].values(Role::Write).any(|written| written == *pair))
        };
        let read = |(&trace, traces): (&usize, &Vec<Trace>)| {
            traces[trace].values(Role::Read).all(|pair| is_supplied(&pair))
        };
        if !chosen.iter().zip(&self.traces).all(read) {
            return Ok(());
        }
        if thread == self.traces.len() {
            return self.candidates(chosen);
        }
        for trace in 0..self.traces[thread].len() {
            chosen.push(trace);
            self.combine(chosen, supplies)?;
            chosen.pop();
        }
        Ok(())
    }

    /// The candidates in which the threads have these traces.
    fn candidates(&mut self, chosen: &[usize]) -> Result<(), Error> {
        let threads: Vec<&Trace> =
            chosen.iter().zip(&self.traces).map(|(&trace, traces)| &traces[trace]).collect();
        let events = Events::new(&threads, self.program)?;
        let left_out = self.rules.left_out();
        let mut choices = Vec::new();
        for (initial, &location) in events.locations.iter().enumerate() {
            let value = self.program.locations[location].initial;
            let orders = orders(initial, value, &events.accesses(location), left_out);
            if orders.is_empty() {
                return Ok(());
            }
            choices.push(orders);
        }
        let skeleton = events.skeleton();
        let barriers = Barriers::new(&skeleton);
        let mut races = BTreeSet::new();
        let mut picked = vec![0; choices.len()];
        loop {
            self.tried += 1;
            if self.tried > LIMIT {
                return Err(Error::TooMany(LIMIT));
            }
            let orders: Vec<&CoherenceOrder> =
                picked.iter().zip(&choices).map(|(&choice, orders)| &orders[choice]).collect();
            let witness = witness(skeleton.events, &orders);
            let judgement = match self.rules {
                Rules::Lkmm { left_out } => lkmm::judge(&skeleton, &barriers, &witness, left_out),
                Rules::Rc11 => rc11::judge(&skeleton, &witness),
            };
            if let Judgement::Allowed { race } = judgement {
                let state = events.state(self.program, &threads, &orders);
                if self.program.filter.holds(&state) {
                    self.found.executions += 1;
                    self.found.states.insert(state);
                    races.extend(race);
                }
            }
            // The next combination of choices.
            let Some(next) =
                picked.iter().zip(&choices).position(|(&choice, orders)| choice + 1 < orders.len())
            else {
                break;
            };
            picked[next] += 1;
            picked[..next].fill(0);
        }
        let races: Vec<Race> =
            races.into_iter().map(|pair| events.race(pair, self.program, self.text)).collect();
        let found = self.found.race.take().into_iter().chain(races);
        self.found.race = found.min_by_key(|race| (race.first.place, race.second.place));
        Ok(())
    }
}

/// Reads-from, coherence order and from-reads of the choices for all locations.
fn witness(events: usize, orders: &[&CoherenceOrder]) -> Witness {
    let mut witness =
        Witness { rf: Relation::empty(events), co: Relation::empty(events), fr: Relation::empty(events) };
    for order in orders {
        let later =
            |place: usize| order.writes[place + 1..].iter().fold(0, |all: Set, write| all | 1 << write);
        for (place, &write) in order.writes.iter().enumerate() {
            witness.co.insert_all(write, later(place));
        }
        for &(read, place) in &order.reads {
            witness.rf.insert(order.writes[place], read);
            witness.fr.insert_all(read, later(place));
        }
    }
    witness
}

/// The events of all threads with their numbers: first the initial writes of the locations that are
/// accessed, then thread by thread.
struct Events<'a> {
    /// The locations of the initial writes
    locations: Vec<usize>,
    /// Each with its thread, and the number of that thread's first event
    all: Vec<(usize, usize, &'a Event)>,
}

impl<'a> Events<'a> {
    fn new(threads: &[&'a Trace], program: &Program) -> Result<Self, Error> {
        let accessed: BTreeSet<usize> = threads
            .iter()
            .flat_map(|trace| trace.values(Role::Read).chain(trace.values(Role::Write)))
            .map(|(location, _)| location)
            .collect();
        debug_assert!(accessed.iter().all(|location| *location < program.locations.len()));
        let locations: Vec<usize> = accessed.into_iter().collect();
        let mut all = Vec::new();
        for (thread, trace) in threads.iter().enumerate() {
            let first = locations.len() + all.len();
            all.extend(trace.events.iter().map(|event| (thread, first, event)));
        }
        match locations.len() + all.len() <= EVENTS {
            true => Ok(Events { locations, all }),
            false => Err(too_large()),
        }
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &(usize, usize, &'a Event))> {
        self.all.iter().enumerate().map(|(index, event)| (self.locations.len() + index, event))
    }

    /// The accesses of a location, thread by thread.
    fn accesses(&self, wanted: usize) -> Vec<coherence::Access> {
        let access = |(number, (thread, _, event)): (usize, &(usize, usize, &Event))| match event.what {
            What::Access { location, value, role, part, .. } if location == wanted => {
                let is_rmw = matches!(part, Part::ReadModifyWrite | Part::Lock);
                let role = match role {
                    Role::Read => coherence::Role::Read,
                    Role::Write => coherence::Role::Write { is_rmw },
                };
                Some(coherence::Access { event: number, thread: *thread, value, role })
            }
            _ => None,
        };
        self.numbered().filter_map(access).collect()
    }

    fn skeleton(&self) -> Skeleton {
        let initial = self.locations.len();
        let count = initial + self.all.len();
        let none = || Relation::empty(count);
        let mut skeleton = Skeleton {
            events: count,
            sets: Sets { initial: (1 << initial) - 1, writes: (1 << initial) - 1, ..Sets::default() },
            po: none(),
            same_thread: Relation::identity(count, !0),
            same_location: none(),
            rmw: none(),
            address: none(),
            data: none(),
            control: none(),
        };
        for (number, &(thread, first, event)) in self.numbered() {
            for (other, _) in self.numbered().filter(|(_, (theirs, ..))| *theirs == thread) {
                skeleton.same_thread.insert(number, other);
                if number < other {
                    skeleton.po.insert(number, other);
                }
            }
            if let What::Access { location, .. } = event.what {
                let is_same =
                    |other: &Event| matches!(other.what, What::Access { location: at, .. } if at == location);
                let others =
                    self.numbered().filter(|(_, (.., other))| is_same(other)).map(|(other, _)| other);
                let initial = self.locations.iter().position(|known| *known == location);
                for other in others.chain(initial) {
                    skeleton.same_location.insert(number, other);
                    skeleton.same_location.insert(other, number);
                }
            }
            let [address, data, control] = event.dependencies(first);
            address.for_each(|read| skeleton.address.insert(read, number));
            data.for_each(|read| skeleton.data.insert(read, number));
            control.for_each(|read| skeleton.control.insert(read, number));
            skeleton.sets.include(number, event.what);
            if let What::Access { role: Role::Write, part: Part::ReadModifyWrite | Part::Lock, .. } =
                event.what
            {
                skeleton.rmw.insert(number - 1, number);
            }
        }
        skeleton
    }

    /// The final state.
    fn state(&self, program: &Program, threads: &[&Trace], orders: &[&CoherenceOrder]) -> Vec<Value> {
        let newest = |location: usize| {
            let order = self.locations.iter().position(|known| *known == location).map(|at| orders[at]);
            let last = *order?.writes.last()?;
            match self.all.get(last.checked_sub(self.locations.len())?)?.2.what {
                What::Access { value, .. } => Some(value),
                What::Fence(_) => None,
            }
        };
        let value = |place: &Where| match *place {
            Where::Register(thread, register) => threads[thread].registers[register],
            Where::Location(location) => newest(location).unwrap_or(program.locations[location].initial),
        };
        program.variables.iter().map(|(_, place)| value(place)).collect()
    }

    fn race(&self, (a, b): (usize, usize), program: &Program, text: &str) -> Race {
        let access = |number: usize| {
            let (thread, _, event) = self.all[number - self.locations.len()];
            let writes = matches!(event.what, What::Access { role: Role::Write, .. });
            Access { thread, writes, place: Place::of(text, event.offset) }
        };
        let location = match self.all[a - self.locations.len()].2.what {
            What::Access { location, .. } => program.locations[location].name.clone(),
            What::Fence(_) => unreachable!("a fence does not race"),
        };
        Race::new(location, [access(a), access(b)])
    }
}

impl Sets {
    /// Puts an event into the sets that it belongs to.
    fn include(&mut self, number: usize, what: What) {
        let put = |set: &mut Set| *set |= 1 << number;
        let (role, order, part) = match what {
            What::Access { role, order, part, .. } => (role, order, part),
            What::Fence(Fence::C11(order)) => {
                if matches!(order, Order::Acquire | Order::AcqRel | Order::SeqCst) {
                    put(&mut self.acquire);
                }
                if matches!(order, Order::Release | Order::AcqRel | Order::SeqCst) {
                    put(&mut self.release);
                }
                if order == Order::SeqCst {
                    put(&mut self.seq_cst);
                }
                return;
            }
            What::Fence(fence) => {
                return put(match fence {
                    Fence::C11(_) => unreachable!("it was handled"),
                    Fence::Mb => &mut self.mb,
                    Fence::Rmb => &mut self.rmb,
                    Fence::Wmb => &mut self.wmb,
                    Fence::BeforeAtomic => &mut self.before_atomic,
                    Fence::AfterAtomic => &mut self.after_atomic,
                    Fence::AfterSpinlock => &mut self.after_spinlock,
                    Fence::AfterUnlockLock => &mut self.after_unlock_lock,
                });
            }
        };
        put(if role == Role::Read { &mut self.reads } else { &mut self.writes });
        match (role, part) {
            (_, Part::ReadModifyWrite) => put(&mut self.atomic),
            (Role::Read, Part::Lock) => put(&mut self.lock_reads),
            (Role::Write, Part::Lock) => put(&mut self.lock_writes),
            (_, Part::Unlock) => put(&mut self.unlocks),
            (_, Part::Single) => {}
        }
        if order == Order::SeqCst {
            put(&mut self.seq_cst);
        }
        match (role, order) {
            (_, Order::Plain) => put(&mut self.plain),
            (Role::Read, Order::Acquire | Order::AcqRel | Order::SeqCst) => put(&mut self.acquire),
            (Role::Write, Order::Release | Order::AcqRel | Order::SeqCst) => put(&mut self.release),
            (_, Order::Full) => put(&mut self.full),
            (Role::Read, Order::NoReturn) => put(&mut self.no_return),
            _ => {}
        }
    }
}
