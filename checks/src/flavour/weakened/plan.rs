//! The plan of a search: which operation is changed, and what was executed.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use reveille::sync::Modify;
use serde::{Deserialize, Serialize};

/// A place in the source: of a call, where its name begins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The file, below `impl/src/` if it is one of the library's, else as the compiler names it.
    pub file: Cow<'static, str>,
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1.
    pub column: u32,
}

impl Place {
    fn of(location: &'static Location<'static>) -> Self {
        let file = location.file();
        let file = file.split_once("impl/src/").map_or(file, |(_, below)| below);
        Self { file: file.into(), line: location.line(), column: location.column() }
    }

    fn is(&self, location: &Location<'_>) -> bool {
        (self.line, self.column) == (location.line(), location.column())
            && location.file().ends_with(&*self.file)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What a place in the source does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub enum Operation {
    Load,
    Store,
    Swap,
    FetchAdd,
    FetchSub,
    FetchAnd,
    FetchOr,
    FetchXor,
    FetchMax,
    FetchMin,
    CompareExchange,
    CompareExchangeWeak,
    Fence,
    Lock,
    /// An `unpark`, directly or through a waker.
    Wake,
    /// What keeps a panic of foreign code from unwinding further. Listed where there was one.
    Guard,
}

impl Operation {
    /// The name that it has in the source.
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Store => "store",
            Self::Swap => "swap",
            Self::FetchAdd => "fetch_add",
            Self::FetchSub => "fetch_sub",
            Self::FetchAnd => "fetch_and",
            Self::FetchOr => "fetch_or",
            Self::FetchXor => "fetch_xor",
            Self::FetchMax => "fetch_max",
            Self::FetchMin => "fetch_min",
            Self::CompareExchange => "compare_exchange",
            Self::CompareExchangeWeak => "compare_exchange_weak",
            Self::Fence => "fence",
            Self::Lock => "lock",
            Self::Wake => "wake",
            Self::Guard => "guard",
        }
    }

    /// Those that read and write in one step.
    const RMW: [Self; 10] = [
        Self::Swap,
        Self::FetchAdd,
        Self::FetchSub,
        Self::FetchAnd,
        Self::FetchOr,
        Self::FetchXor,
        Self::FetchMax,
        Self::FetchMin,
        Self::CompareExchange,
        Self::CompareExchangeWeak,
    ];

    /// The read-modify-write that changes the value so.
    pub fn of<T>(by: Modify<T>) -> Self {
        match by {
            Modify::Swap(_) => Self::Swap,
            Modify::Add(_) => Self::FetchAdd,
            Modify::Sub(_) => Self::FetchSub,
            Modify::And(_) => Self::FetchAnd,
            Modify::Or(_) => Self::FetchOr,
            Modify::Xor(_) => Self::FetchXor,
            Modify::Max(_) => Self::FetchMax,
            Modify::Min(_) => Self::FetchMin,
        }
    }

    /// The operation that has an ordering and is called so in the source.
    pub fn ordered(name: &str) -> Option<Self> {
        let all = [Self::Load, Self::Store, Self::Fence].into_iter().chain(Self::RMW);
        all.into_iter().find(|operation| operation.name() == name)
    }

    /// Whether it reads and writes in one step.
    pub fn is_rmw(self) -> bool {
        Self::RMW.contains(&self)
    }
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Change {
    /// It has this order.
    Order(Strength),
    /// A compare-exchange that fails has this order.
    FailureOrder(Strength),
    /// The fence, the store, the wake or the guard is not there.
    Dropped,
    /// The read-modify-write is a load and then a store.
    Split,
}

/// [`Ordering`], which cannot be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // the std documentation of the same names holds
pub enum Strength {
    Relaxed,
    Acquire,
    Release,
    AcqRel,
    SeqCst,
}

impl Strength {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Relaxed, Self::Acquire, Self::Release, Self::AcqRel, Self::SeqCst];

    /// As std has it.
    pub fn ordering(self) -> Ordering {
        match self {
            Self::Relaxed => Ordering::Relaxed,
            Self::Acquire => Ordering::Acquire,
            Self::Release => Ordering::Release,
            Self::AcqRel => Ordering::AcqRel,
            Self::SeqCst => Ordering::SeqCst,
        }
    }

    /// The strongest that are weaker and that `operation` may have.
    pub fn weaker(self, operation: Operation) -> &'static [Strength] {
        use Strength::{AcqRel, Acquire, Relaxed, Release};
        match (self, operation) {
            (Self::SeqCst, Operation::Load) => &[Acquire],
            (Self::SeqCst, Operation::Store) => &[Release],
            (Self::SeqCst, _) => &[AcqRel],
            (Self::AcqRel, _) => &[Acquire, Release],
            // There is no relaxed fence.
            (Self::Acquire | Self::Release, Operation::Fence) | (Self::Relaxed, _) => &[],
            (Self::Acquire | Self::Release, _) => &[Relaxed],
        }
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Relaxed => "relaxed",
            Self::Acquire => "acquire",
            Self::Release => "release",
            Self::AcqRel => "acq_rel",
            Self::SeqCst => "seq_cst",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(order) => write!(f, "{order}"),
            Self::FailureOrder(order) => write!(f, "{order} on failure"),
            Self::Dropped => f.write_str("dropped"),
            Self::Split => f.write_str("a load and a store"),
        }
    }
}

/// One mistake: an operation by its place, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mutation {
    /// Where the operation stands.
    pub place: Place,
    /// Only on the objects that were made with this label; on all of them without one.
    pub label: Option<Cow<'static, str>>,
    /// What becomes of it.
    pub change: Change,
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.label {
            Some(label) => write!(f, "{} on {label}: {}", self.place, self.change),
            None => write!(f, "{}: {}", self.place, self.change),
        }
    }
}

/// What was executed somewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Executed {
    /// Where.
    pub place: Place,
    /// What.
    pub operation: Operation,
    /// On the object with which label; empty for a fence.
    pub label: &'static str,
}

/// An operation by its place, and the label of its object.
type Seen = (&'static Location<'static>, Operation, &'static str);

/// What becomes of the operations of some executions.
///
/// Those of loom and shuttle run on the operating system's thread that asked for them, those of the exact
/// engine on several. So the plan is shared, and [followed](Followed::again) by each of them.
#[derive(Default)]
struct Plan {
    mutation: Option<Mutation>,
    /// How often the mutation took effect.
    struck: AtomicU64,
    listed: Option<Mutex<BTreeSet<Seen>>>,
}

thread_local! {
    // All simulated threads of an execution run on one of the operating system's threads.
    static PLAN: RefCell<Option<Arc<Plan>>> = const { RefCell::new(None) };
    static ACTIVE: Cell<bool> = const { Cell::new(false) };
}

/// Puts a plan, or none, into force on this operating system's thread. Returns the one that was.
fn put_in_force(plan: Option<Arc<Plan>>) -> Option<Arc<Plan>> {
    ACTIVE.set(plan.is_some());
    PLAN.replace(plan)
}

/// The plan that is in force where this was made.
#[derive(Clone)]
pub(crate) struct Followed(Option<Arc<Plan>>);

impl Followed {
    /// That of this operating system's thread.
    pub(crate) fn here() -> Self {
        Self(PLAN.with_borrow(Clone::clone))
    }

    /// Follows it on this operating system's thread too, from now on.
    pub(crate) fn again(&self) {
        put_in_force(self.0.clone());
    }
}

/// Has a plan in force, and the previous one again when it is dropped.
struct InForce {
    plan: Arc<Plan>,
    previous: Option<Arc<Plan>>,
}

impl InForce {
    fn new(plan: Plan) -> Self {
        let plan = Arc::new(plan);
        Self { previous: put_in_force(Some(plan.clone())), plan }
    }
}

impl Drop for InForce {
    fn drop(&mut self) {
        put_in_force(self.previous.take());
    }
}

/// Runs `body` with this mistake in every execution that it searches. Says how often it took effect: 0 means
/// that nobody came by, and what was found does not speak of it.
pub fn with_mutation<R>(mutation: &Mutation, body: impl FnOnce() -> R) -> (R, u64) {
    let in_force = InForce::new(Plan { mutation: Some(mutation.clone()), ..Plan::default() });
    let result = body();
    (result, in_force.plan.struck.load(Ordering::Relaxed))
}

/// Runs `body` and lists what the executions that it searches came by.
pub fn listing<R>(body: impl FnOnce() -> R) -> (R, BTreeSet<Executed>) {
    let in_force = InForce::new(Plan { listed: Some(Mutex::default()), ..Plan::default() });
    let result = body();
    let listed = in_force.plan.listed.as_ref().expect("it was given");
    let listed = listed.lock().expect("no panic inside").clone();
    let executed =
        listed.into_iter().map(|(at, operation, label)| Executed { place: Place::of(at), operation, label });
    (result, executed.collect())
}

/// Whether there is a plan.
#[inline]
pub(super) fn is_active() -> bool {
    ACTIVE.get()
}

/// What has to become of this operation, if it is the one.
#[track_caller]
#[inline]
pub(super) fn change(operation: Operation, label: &'static str) -> Option<Change> {
    if is_active() { change_at(Location::caller(), operation, label) } else { None }
}

#[cold]
pub(super) fn change_at(
    at: &'static Location<'static>,
    operation: Operation,
    label: &'static str,
) -> Option<Change> {
    PLAN.with_borrow(|plan| {
        let plan = plan.as_ref()?;
        if let Some(listed) = &plan.listed {
            listed.lock().expect("no panic inside").insert((at, operation, label));
        }
        let mutation = plan.mutation.as_ref()?;
        let here = mutation.place.is(at) && mutation.label.as_ref().is_none_or(|of| *of == label);
        if here {
            plan.struck.fetch_add(1, Ordering::Relaxed);
        }
        here.then_some(mutation.change)
    })
}
