//! Which of the library's orderings are needed, and by whom.
//!
//! The [`source`] says which orderings there are. Each is made [one step weaker](crate::flavour::Weakened),
//! and the exact engine searches the [`scenarios`] for an execution of the code that loses then. What nobody
//! needs has to say why it stays.

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Instant;

use reveille::gate::PerEntry;
use reveille_model::memory::{Barrier, Memory, Order};
use reveille_model::program::Weakening;
use serde::{Deserialize, Serialize};

use crate::engine::model::Twin;
use crate::engine::{self, AnyScenario, Budget, ENOUGH, Engine};
use crate::flavour::weakened::{
    Change, Executed, Mutation, Operation, Place, Strength, listing, with_mutation,
};
use crate::scenario::{
    Completions, Consumer, Executing, GivingUp, HandingOver, PollWake, PoolScenario, Protocol, ReactorSleep,
};
use crate::source::{self, Use};
use crate::verdict::{Counterexample, Verdict};

/// The scenarios that the library's orderings have to earn their place in.
pub fn scenarios() -> Vec<AnyScenario> {
    let mut scenarios: Vec<_> = Consumer::ALL
        .into_iter()
        .map(|consumer| AnyScenario::new(PollWake::<PerEntry>::new(consumer)))
        .collect();
    scenarios.push(AnyScenario::new(GivingUp::<PerEntry>::default()));
    scenarios.push(AnyScenario::new(Completions::<PerEntry>::new(1, &[&[2], &[1]])));
    scenarios.push(AnyScenario::new(Completions::<PerEntry>::new(2, &[&[3, 1]])));
    scenarios.push(AnyScenario::new(ReactorSleep::<PerEntry>::default()));
    scenarios.push(AnyScenario::new(HandingOver));
    scenarios.push(AnyScenario::new(Executing));
    let pool = Protocol::ALL.into_iter().filter(|protocol| protocol.fits_loom());
    scenarios.extend(pool.map(|protocol| AnyScenario::new(PoolScenario::<PerEntry>::new(protocol))));
    scenarios
}

/// An ordering of the library, and what is tried in its place.
#[derive(Debug, Clone)]
pub struct Row {
    /// The ordering.
    pub used: Use,
    /// The label of the object that it was seen on.
    pub label: &'static str,
    /// The names of the scenarios that come by.
    pub scenarios: Vec<String>,
    /// The ways to do one step less. A relaxed read-modify-write is split; there is nothing less than a relaxed load or store.
    pub changes: Vec<Change>,
}

impl Row {
    /// Whether any scenario comes by.
    pub fn is_reached(&self) -> bool {
        !self.scenarios.is_empty()
    }

    /// The row's mistakes.
    pub fn mutations(&self) -> impl Iterator<Item = Mutation> {
        let mutation = |&change| Mutation { place: self.used.place.clone(), label: None, change };
        self.changes.iter().map(mutation)
    }

    /// Whether the source explains what was found: what is needed has no excuse, and what is not has one. `needed` says whether every
    /// one of the [changes](Row::changes) lets something be lost.
    pub fn is_explained(&self, needed: bool) -> bool {
        match (self.changes.is_empty(), self.is_reached()) {
            (true, _) => true,
            (false, false) => self.used.why_unreached().is_some(),
            (false, true) => needed != self.used.why_kept().is_some() && self.used.why_unreached().is_none(),
        }
    }

    /// Why it stays, for what no scenario needs.
    pub fn why_kept(&self) -> Option<&str> {
        let weakest = self.changes.is_empty().then_some("relaxed: there is nothing weaker");
        let unreached = if self.is_reached() { None } else { self.used.why_unreached() };
        weakest.or(unreached).or(self.used.why_kept())
    }
}

/// One row for each ordering in the library's source. It is made once: all scenarios are run for it.
pub fn rows() -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
        // A few executions come by everything.
        let budget = Budget::of_executions(1_000);
        let mut executed = Vec::new();
        for scenario in scenarios() {
            let (_, places) = listing(|| scenario.search(ENGINE, budget));
            executed.extend(places.into_iter().map(|seen| (scenario.name.clone(), seen)));
        }
        source::uses().into_iter().map(|used| row(used, &executed)).collect()
    });
    &ROWS
}

/// `executed`: what the scenarios came by, each with the scenario's name.
fn row(used: Use, executed: &[(String, Executed)]) -> Row {
    let here =
        executed.iter().filter(|(_, seen)| seen.place == used.place && seen.operation == used.operation);
    let mut scenarios: Vec<_> = here.clone().map(|(scenario, _)| scenario.clone()).collect();
    scenarios.dedup();
    Row {
        label: here.clone().next().map_or("", |(_, seen)| seen.label),
        scenarios,
        changes: changes(&used),
        used,
    }
}

/// The ways to do one step less than an ordering does.
pub fn changes(used: &Use) -> Vec<Change> {
    let order = if used.on_failure { Change::FailureOrder } else { Change::Order };
    let operation = if used.on_failure { Operation::Load } else { used.operation };
    if used.operation.is_rmw() && !used.is_ordered() && !used.on_failure {
        return vec![Change::Split];
    }
    if used.operation == Operation::Fence && used.order.weaker(operation).is_empty() {
        return vec![Change::Dropped];
    }
    used.order.weaker(operation).iter().copied().map(order).collect()
}

/// What an ordering costs on this machine: the time of the operation less that of the first of its changes, in nanoseconds.
/// `None` where there is no change.
pub fn price(row: &Row) -> Option<f64> {
    use std::sync::atomic::{AtomicUsize, Ordering, fence};
    let word = AtomicUsize::new(0);
    let order = row.used.order.ordering();
    let access = |order: Ordering| -> f64 {
        match row.used.operation {
            Operation::Load => time(|| word.load(order)),
            Operation::Store => time(|| word.store(1, order)),
            Operation::Swap => time(|| word.swap(1, order)),
            Operation::FetchAdd => time(|| word.fetch_add(1, order)),
            Operation::FetchSub => time(|| word.fetch_sub(1, order)),
            Operation::FetchAnd => time(|| word.fetch_and(1, order)),
            Operation::FetchOr => time(|| word.fetch_or(1, order)),
            Operation::FetchXor => time(|| word.fetch_xor(1, order)),
            Operation::FetchMax => time(|| word.fetch_max(1, order)),
            Operation::FetchMin => time(|| word.fetch_min(1, order)),
            Operation::CompareExchange | Operation::CompareExchangeWeak => {
                time(|| word.compare_exchange(1, 1, order, Ordering::Relaxed).is_ok())
            }
            Operation::Fence => time(|| fence(order)),
            Operation::Lock | Operation::Wake | Operation::Guard => 0.0,
        }
    };
    let weaker = match row.changes.first()? {
        Change::Order(weaker) | Change::FailureOrder(weaker) => access(weaker.ordering()),
        Change::Dropped => 0.0,
        Change::Split => time(|| word.store(word.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed)),
    };
    Some((access(order) - weaker).max(0.0))
}

/// The time of one call in nanoseconds, the least of some tries.
fn time<R>(body: impl Fn() -> R) -> f64 {
    const CALLS: u32 = 20_000;
    let once = || {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(body());
        }
        start.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    (0..20).map(|_| once()).fold(f64::INFINITY, f64::min)
}

/// Who judges: the exact engine, under the weakest memory, in which every execution of the others is one too.
pub const ENGINE: Engine = Engine::ExactRc11;

/// Where programs of the model do what a place of the library does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InTheModel {
    programs: Programs,
    site: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Programs {
    /// Poll wake behind the gate of production, with every consumer
    Gate,
    CompletionQueue,
}

/// The places by file, function, operation, object, and which one of those it is if there are several.
const IN_THE_MODEL: [(&str, &str, Operation, &str, usize, Programs, &str); 14] = {
    use Operation::{CompareExchange, Fence, FetchAdd, FetchSub, Load, Store, Swap};
    use Programs::{CompletionQueue, Gate};
    [
        ("gate.rs", "after_enqueue", FetchAdd, "armed", 0, Gate, "count armed"),
        ("gate.rs", "after_enqueue", Swap, "state", 0, Gate, "arm"),
        ("gate.rs", "after_enqueue", Fence, "", 0, Gate, "arm barrier"),
        ("gate.rs", "admit", Fence, "", 0, Gate, "waker barrier"),
        ("gate.rs", "notified", CompareExchange, "state", 0, Gate, "notify"),
        ("gate.rs", "notified", FetchSub, "armed", 0, Gate, "count notified"),
        ("gate.rs", "disarmed", Swap, "state", 0, Gate, "disarm"),
        ("gate.rs", "disarmed", FetchSub, "armed", 0, Gate, "count disarmed"),
        ("gate.rs", "reset", Fence, "", 0, Gate, "reset barrier"),
        ("completion.rs", "room", Load, "head", 0, CompletionQueue, "room"),
        ("completion.rs", "advance", Store, "tail", 0, CompletionQueue, "publish"),
        ("completion.rs", "pop", Store, "head", 0, CompletionQueue, "take"),
        ("completion.rs", "look", Load, "tail", 0, CompletionQueue, "look tail"),
        ("completion.rs", "look", Load, "tail", 1, CompletionQueue, "refilled tail"),
    ]
};

impl InTheModel {
    /// The place in the model of an operation at a place of the library.
    pub fn of(place: &Place) -> Option<Self> {
        let uses = source::uses();
        let used = uses.iter().find(|used| used.place == *place)?;
        IN_THE_MODEL.into_iter().find_map(|(file, function, operation, object, nth, programs, site)| {
            let mut same = uses.iter().filter(|other| {
                (&*other.place.file, &*other.function) == (file, function)
                    && (other.operation, &*other.object) == (operation, object)
                    && !other.on_failure
            });
            (same.nth(nth)?.place == used.place).then_some(Self { programs, site })
        })
    }

    fn programs(self) -> Vec<Twin> {
        match self.programs {
            Programs::Gate => Twin::of_the_gate(),
            Programs::CompletionQueue => Twin::of_the_completion_queue(),
        }
    }

    /// Whether the model's programs have at this place an operation of this order.
    pub fn is(self, used: &Use) -> bool {
        let places = self.programs().iter().flat_map(Twin::ordered).collect::<Vec<_>>();
        places.iter().any(|place| place.site == self.site && place.order == used.order.ordering())
    }

    /// Searches the model's programs with a mistake at this place.
    pub fn search(self, change: Change, memory: Memory, budget: Budget) -> Verdict {
        engine::model::weakened(&self.programs(), self.site, self.weakening(change), memory, budget)
    }

    fn weakening(self, change: Change) -> Weakening {
        let barrier = IN_THE_MODEL.iter().any(|row| row.2 == Operation::Fence && row.6 == self.site);
        match change {
            Change::Order(Strength::SeqCst) => Weakening::Barrier(Barrier::SeqCst),
            Change::Order(Strength::AcqRel) if barrier => Weakening::Barrier(Barrier::AcqRel),
            Change::Order(Strength::Acquire) if barrier => Weakening::Barrier(Barrier::Acquire),
            Change::Order(Strength::Release) if barrier => Weakening::Barrier(Barrier::Release),
            Change::Order(order) => Weakening::Order(order_in_the_model(order)),
            Change::FailureOrder(order) => Weakening::FailureOrder(order_in_the_model(order)),
            Change::Dropped => Weakening::Dropped,
            Change::Split => Weakening::Split,
        }
    }
}

fn order_in_the_model(order: Strength) -> Order {
    match order {
        Strength::Relaxed => Order::Relaxed,
        Strength::Acquire => Order::Acquire,
        Strength::Release => Order::Release,
        Strength::AcqRel | Strength::SeqCst => Order::AcqRel,
    }
}

/// What a mistake came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Probe {
    /// An execution of the code loses something.
    Needed {
        /// In this scenario,
        scenario: String,
        /// among so many executions in all.
        explored: u64,
        /// The execution.
        counterexample: Box<Counterexample>,
    },
    /// Nothing was found to be lost.
    NotNeeded {
        /// In so many scenarios,
        scenarios: usize,
        /// of which so many were searched to their end: nothing is lost in any execution of these.
        ended: usize,
        /// The executions looked at.
        explored: u64,
    },
}

impl Probe {
    /// Whether every execution of the scenarios was visited, of which there are some.
    pub fn is_complete(&self) -> bool {
        matches!(*self, Self::NotNeeded { scenarios, ended, .. } if scenarios == ended && ended > 0)
    }

    /// Whether a longer search would only say the same.
    pub fn says_something(&self) -> bool {
        matches!(self, Self::Needed { .. }) || self.is_complete() || self.explored() >= ENOUGH
    }

    /// The executions looked at.
    pub fn explored(&self) -> u64 {
        match self {
            Self::Needed { explored, .. } | Self::NotNeeded { explored, .. } => *explored,
        }
    }
}

/// How much of the budget each round gets; most mistakes show at once in one of the scenarios.
const ROUNDS: [f64; 3] = [0.02, 0.08, 0.9];

/// Makes a mistake in the scenarios, and searches them for an execution that loses something, within `budget` in all.
pub fn probe(mutation: &Mutation, scenarios: &[&AnyScenario], budget: Budget) -> Probe {
    let mut open = scenarios.to_vec();
    let (mut ended, mut of_ended, mut of_open) = (0, 0, 0);
    for share in ROUNDS {
        let share = budget.part(share / open.len().max(1) as f64);
        of_open = 0;
        let mut still_open = Vec::new();
        for scenario in open {
            let (verdict, _) = with_mutation(mutation, || scenario.search(ENGINE, share));
            match verdict {
                Verdict::Misses { counterexample, explored } => {
                    let explored = of_ended + of_open + explored;
                    let (scenario, counterexample) = (scenario.name.clone(), Box::new(counterexample));
                    return Probe::Needed { scenario, explored, counterexample };
                }
                Verdict::Complete { explored } => {
                    ended += 1;
                    of_ended += explored;
                }
                verdict => {
                    of_open += verdict.explored();
                    still_open.push(scenario);
                }
            }
        }
        open = still_open;
    }
    Probe::NotNeeded { scenarios: scenarios.len(), ended, explored: of_ended + of_open }
}
