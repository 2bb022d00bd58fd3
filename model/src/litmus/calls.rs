//! What the operations of both dialects are called.

use super::program::{Binary, Fence, Order};

/// An operation of the kernel. `atomic_add(1, x)` has its location last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// `(*x)`
    ReadOnce,
    /// `(*x, value)`
    WriteOnce(Order),
    /// `(*x, value)`, a marked store and a full barrier
    StoreMb,
    /// `(x)`
    Load(Order),
    /// `(x, value)`
    Store(Order),
    /// `(x, value)`
    Exchange(Order),
    /// `(x, expected, new)`; gives the old value
    CompareExchange(Order),
    /// `(by, x)`, or only `(x)` if it goes by one
    Atomic {
        operator: Binary,
        by_one: bool,
        order: Order,
        gives: Gives,
    },
    /// `(x, by, unless)`; gives whether it added
    AddUnless,
    /// `(x)`
    Lock,
    Unlock,
    TryLock,
    IsLocked,
    /// `()`
    Fence(Fence),
    /// What holds back the compiler only, which litmus tests do not have
    CompilerBarrier,
}

/// An operation of C11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum C11 {
    Load,
    Store,
    Exchange,
    Fetch(Binary),
    /// `(x, &expected, new)`; gives whether it exchanged
    CompareExchange {
        is_weak: bool,
    },
    Fence,
}

/// What an atomic operation gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gives {
    Nothing,
    Old,
    New,
    /// Whether the new value compares so with 0
    NewIs(Binary),
}

/// An operation of C11 by its name, and whether its last arguments are memory orders. If not it is `seq_cst`.
pub(super) fn c11(name: &str) -> Option<(C11, bool)> {
    let (base, explicit) = match name.strip_suffix("_explicit") {
        Some(base) => (base, true),
        None => (name, false),
    };
    let call = match base {
        "atomic_load" => C11::Load,
        "atomic_store" => C11::Store,
        "atomic_exchange" => C11::Exchange,
        "atomic_fetch_add" => C11::Fetch(Binary::Add),
        "atomic_fetch_sub" => C11::Fetch(Binary::Subtract),
        "atomic_fetch_or" => C11::Fetch(Binary::BitOr),
        "atomic_fetch_and" => C11::Fetch(Binary::BitAnd),
        "atomic_fetch_xor" => C11::Fetch(Binary::BitXor),
        "atomic_compare_exchange_strong" => C11::CompareExchange { is_weak: false },
        "atomic_compare_exchange_weak" => C11::CompareExchange { is_weak: true },
        // Its argument is always there.
        "atomic_thread_fence" if !explicit => return Some((C11::Fence, true)),
        _ => return None,
    };
    Some((call, explicit))
}

/// An operation of the kernel by its name.
pub(super) fn kernel(name: &str) -> Option<Call> {
    Some(match name {
        "READ_ONCE" | "rcu_dereference" => Call::ReadOnce,
        "WRITE_ONCE" => Call::WriteOnce(Order::Relaxed),
        "rcu_assign_pointer" => Call::WriteOnce(Order::Release),
        "smp_store_mb" => Call::StoreMb,
        "smp_load_acquire" | "atomic_read_acquire" => Call::Load(Order::Acquire),
        "atomic_read" => Call::Load(Order::Relaxed),
        "smp_store_release" | "atomic_set_release" => Call::Store(Order::Release),
        "atomic_set" => Call::Store(Order::Relaxed),
        "spin_lock" => Call::Lock,
        "spin_unlock" => Call::Unlock,
        "spin_trylock" => Call::TryLock,
        "spin_is_locked" => Call::IsLocked,
        "smp_mb" => Call::Fence(Fence::Mb),
        "smp_rmb" => Call::Fence(Fence::Rmb),
        "smp_wmb" => Call::Fence(Fence::Wmb),
        "smp_mb__before_atomic" => Call::Fence(Fence::BeforeAtomic),
        "smp_mb__after_atomic" => Call::Fence(Fence::AfterAtomic),
        "smp_mb__after_spinlock" => Call::Fence(Fence::AfterSpinlock),
        "smp_mb__after_unlock_lock" => Call::Fence(Fence::AfterUnlockLock),
        "barrier" => Call::CompilerBarrier,
        "atomic_add_unless" => Call::AddUnless,
        _ => return read_modify_write(name),
    })
}

/// `xchg`, `cmpxchg`, and the arithmetic on `atomic_t`: a name, and perhaps a suffix that makes it weaker.
fn read_modify_write(name: &str) -> Option<Call> {
    const SUFFIXES: [(&str, Order); 3] =
        [("_relaxed", Order::Relaxed), ("_acquire", Order::Acquire), ("_release", Order::Release)];
    let suffixed =
        SUFFIXES.iter().find_map(|(suffix, order)| Some((name.strip_suffix(suffix)?, Some(*order))));
    let (base, suffix) = suffixed.unwrap_or((name, None));
    let order = suffix.unwrap_or(Order::Full);
    let base =
        base.strip_prefix("atomic_").unwrap_or_else(|| if is_plain_exchange(base) { base } else { "" });
    match base {
        "xchg" => return Some(Call::Exchange(order)),
        "cmpxchg" => return Some(Call::CompareExchange(order)),
        _ => {}
    }
    let atomic = |operator, by_one, order, gives| Some(Call::Atomic { operator, by_one, order, gives });
    // These have no weaker forms.
    match (base, suffix) {
        ("sub_and_test", None) => return atomic(Binary::Subtract, false, order, Gives::NewIs(Binary::Equal)),
        ("dec_and_test", None) => return atomic(Binary::Subtract, true, order, Gives::NewIs(Binary::Equal)),
        ("inc_and_test", None) => return atomic(Binary::Add, true, order, Gives::NewIs(Binary::Equal)),
        ("add_negative", None) => return atomic(Binary::Add, false, order, Gives::NewIs(Binary::Less)),
        _ => {}
    }
    let (operation, gives) = match (base.strip_prefix("fetch_"), base.strip_suffix("_return")) {
        (Some(operation), _) => (operation, Gives::Old),
        (None, Some(operation)) => (operation, Gives::New),
        (None, None) => (base, Gives::Nothing),
    };
    let (operator, by_one) = match operation {
        "add" => (Binary::Add, false),
        "sub" => (Binary::Subtract, false),
        "inc" => (Binary::Add, true),
        "dec" => (Binary::Subtract, true),
        "or" if gives != Gives::New => (Binary::BitOr, false),
        "and" if gives != Gives::New => (Binary::BitAnd, false),
        "xor" if gives != Gives::New => (Binary::BitXor, false),
        _ => return None,
    };
    match (gives, suffix) {
        (Gives::Nothing, Some(_)) => None,
        (Gives::Nothing, None) => atomic(operator, by_one, Order::NoReturn, gives),
        _ => atomic(operator, by_one, order, gives),
    }
}

fn is_plain_exchange(name: &str) -> bool {
    matches!(name, "xchg" | "cmpxchg")
}

/// What an operation belongs to that is known, and not read.
pub(super) fn not_read(name: &str) -> &'static str {
    match name {
        _ if name.contains("srcu") => "SRCU",
        _ if name.contains("rcu") => "RCU",
        _ if name.contains("membarrier") || name == "smp_memb" => "membarrier",
        _ => "this operation",
    }
}
