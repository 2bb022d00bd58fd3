//! The wait queue: the one place where a wake is decided.
//!
//! A [`Waiter`] is an entry that a sleeper puts into the queue; a waker makes its condition true and calls
//! [`notify_all`](WaitQueue::notify_all) or [`notify_one`](WaitQueue::notify_one). The queue stores plain
//! [`std::task::Waker`]s, so a parked thread, an async task and a thread that sleeps in io_uring are woken alike.
//!
//! # The protocol
//!
//! ```text
//! sleeper                                      waker
//!   1. arm()                                     1. make the condition true
//!   2. look at the condition: true? done         2. notify: may it be skipped? (the gate, no lock)
//!   3. sleep, go to 1                            3. lock; take the wakers of the entries that are told; unlock
//!                                                4. call those wakers
//! ```
//!
//! **The look after the arm is the protocol.** A sleeper that looks only before it arms sleeps through a wake that falls
//! between. [`wait_until`](WaitQueue::wait_until) and [`until`](WaitQueue::until) do it right; prefer them, and
//! [`look`](Waiter::look) in a loop of one's own.
//!
//! # Why nothing is lost
//!
//! - *Between an arm and a notify*: the argument of the [gate](crate::gate). If the gate admits the wake, the waker takes the lock
//!   after the entry was pushed, or before: after, it finds the entry; before, the entry's push comes later in the lock's
//!   order, so its look, later still, sees the condition, which was true before the waker took the lock.
//! - *Between step 3 and 4 of the waker*: an entry that was told is awake or about to be. Its wake is called after the lock is
//!   released, so that it may call back into the queue; if the entry leaves meanwhile the wake comes too late and is
//!   spurious, nothing more.
//! - *A wake-one spent on an entry that leaves*: an exclusive entry is taken off the list by the wake that tells it, as the kernel's
//!   `autoremove_wake_function` does. An entry that leaves and is not on the list any more was told, and may not have acted on it: it
//!   hands the wake to the next, in the same critical section. This may wake one too many, never one too few.
//! - *A look that panics*: arming has said that the wake before it was heard, and nobody has acted on it. [`look`](Waiter::look) hands
//!   it on before the panic goes on.
//! - *A waker that panics*: those after it are called first, then the panic goes on, to whoever notified; but not out of a wait that
//!   has found something and passes a wake on, and not while another panic is on its way: there it is logged.
//!
//! Wakers are cloned, called and dropped without the lock, so each may use this very queue.
//!
//! A waiter that takes what it waited for and then does something long must [`disarm`](Waiter::disarm) first, or be dropped. While it
//! is armed it may be told in place of somebody who really sleeps. That it was woken does not say that it is off the list: a sleep
//! may end for no reason. [`woken`](Waiter::woken) sees to that.

mod list;

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};

use crossbeam_utils::CachePadded;
use smallvec::SmallVec;

use crate::gate::{Arm, Gate, PerEntry, Rearm, WakeOne};
use crate::sync::{Atomic, Mutex, Native, Note, Parker, Primitives};
use crate::unwind::{Deferred, contain};

use self::list::NOWHERE;

/// A queue of sleepers.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use reveille::wait_queue::{Kind, WaitQueue};
///
/// let ready = Arc::new(AtomicBool::new(false));
/// let queue: Arc<WaitQueue> = Arc::new(WaitQueue::new());
/// let sleeper = std::thread::spawn({
///     let (queue, ready) = (queue.clone(), ready.clone());
///     move || queue.wait_until(Kind::Shared, || ready.load(Ordering::Acquire).then_some(()))
/// });
/// ready.store(true, Ordering::Release); // first the condition,
/// queue.notify_all(); //                   then the wake
/// sleeper.join().unwrap();
/// ```
pub struct WaitQueue<P: Primitives = Native, G: Gate = PerEntry> {
    gate: CachePadded<G::Shared<P>>,
    /// How many entries are on the list. Written under the lock, read by [`Gate::admit`] without it.
    queued: CachePadded<P::Atomic>,
    list: P::Mutex<List<P, G>>,
    /// Whether exclusive entries are told in the order in which they came, or the last one first. Those have no others beside them.
    last_first: bool,
}

/// Whom a wake reaches, and what the entry does afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Every wake reaches it. It stays on the list and arms again before it sleeps again.
    Shared,
    /// A [`notify_one`](WaitQueue::notify_one) reaches one of these. The wake takes it off the list, arming puts it back at the end.
    Exclusive,
    /// Every wake reaches it, always: it arms once and never again.
    Persistent,
}

/// What became of a wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wakeup {
    /// The gate said that nobody needs it; the lock was not taken.
    Skipped,
    /// So many entries were woken; 0 where everybody on the list had been told before or is just arming.
    Sent(usize),
}

/// The entries in the order in which they are told: shared and persistent ones in front, exclusive ones behind.
type List<P, G> = list::List<Entry<P, G>>;

struct Entry<P: Primitives, G: Gate> {
    mark: Arc<G::Mark<P>>,
    /// Shared with its [`Waiter`], so that nothing of the user's is cloned or dropped under the lock.
    waker: Arc<Waker>,
    exclusive: bool,
}

/// Wakers that were taken off the list under the lock and are to be called after it.
type Told = SmallVec<[Arc<Waker>; 8]>;

impl<P: Primitives, G: Gate> Default for WaitQueue<P, G> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Primitives, G: Gate> WaitQueue<P, G> {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            gate: CachePadded::new(G::shared::<P>()),
            queued: CachePadded::new(P::Atomic::new("queued", 0)),
            list: P::Mutex::new("wait queue", List::new()),
            last_first: false,
        }
    }

    /// An empty queue for exclusive entries only, of which the one that armed last is told first: its sleeper's memory is still in the
    /// caches, and those at the end sleep on.
    ///
    /// Who registers with it has to be [exclusive](Kind::Exclusive); in a debug build anything else panics.
    pub fn last_first() -> Self {
        Self { last_first: true, ..Self::new() }
    }

    /// A waiter whose sleeper is woken by `waker`. It is not on the list until it [arms](Waiter::arm).
    ///
    /// `waker` is called without the queue's lock and may call back into the queue. If it panics, so does whoever notified, when
    /// all others have been called.
    pub fn register(self: &Arc<Self>, kind: Kind, waker: Waker) -> Waiter<P, G> {
        debug_assert!(!self.last_first || kind == Kind::Exclusive, "the others come first in any case");
        let rearm = if kind == Kind::Persistent { Rearm::Never } else { Rearm::EachTime };
        Waiter {
            queue: self.clone(),
            mark: Arc::new(G::mark::<P>(rearm)),
            waker: Arc::new(waker),
            kind,
            enqueued: false,
            place: NOWHERE,
            heard: false,
        }
    }

    /// Wakes every entry that has to be told, exclusive ones too. The condition has been made true before.
    #[inline]
    #[track_caller]
    pub fn notify_all(&self) -> Wakeup {
        self.notify(usize::MAX)
    }

    /// Wakes the shared entries and one exclusive one.
    #[inline]
    #[track_caller]
    pub fn notify_one(&self) -> Wakeup
    where
        G: WakeOne,
    {
        self.notify(1)
    }

    /// Wakes the shared entries and up to `n` exclusive ones: as many as there is work for.
    #[inline]
    #[track_caller]
    pub fn notify_many(&self, n: usize) -> Wakeup
    where
        G: WakeOne,
    {
        self.notify(n)
    }

    /// [`notify_many`](WaitQueue::notify_many) if it is `needed`, which is asked after the gate's barrier; `None` if it is not. `told` is
    /// called under the lock, when an entry is told: whoever has [left the list](Waiter::woken) since sees what it did.
    #[inline]
    #[track_caller]
    pub(crate) fn notify_many_if(
        &self,
        n: usize,
        needed: impl FnOnce() -> bool,
        told: impl FnOnce(),
    ) -> Option<Wakeup>
    where
        G: WakeOne,
    {
        if !G::admit::<P>(&self.gate, &self.queued) {
            P::note(Note::WakeSkipped);
            return Some(Wakeup::Skipped);
        }
        if !needed() {
            return None;
        }
        let wakers = self.list.with(|list| {
            let wakers = self.tell(list, n);
            if !wakers.is_empty() {
                told();
            }
            wakers
        });
        P::note(Note::WakeSent(wakers.len()));
        Some(wake::<P>(wakers))
    }

    /// Wakes everybody without asking whether the wake may be skipped: for shutdown, and for news that changes what a
    /// wake means. For a gate it is the moment to forget what it knows.
    #[track_caller]
    pub fn broadcast(&self) -> Wakeup {
        G::reset::<P>(&self.gate);
        self.deliver(usize::MAX)
    }

    #[inline]
    #[track_caller]
    fn notify(&self, exclusive: usize) -> Wakeup {
        if G::admit::<P>(&self.gate, &self.queued) {
            self.deliver(exclusive)
        } else {
            P::note(Note::WakeSkipped);
            Wakeup::Skipped
        }
    }

    /// `#[track_caller]`, as all that leads here: the source line of a wake is that of whoever asked for it.
    #[track_caller]
    fn deliver(&self, exclusive: usize) -> Wakeup {
        let told = self.list.with(|list| self.tell(list, exclusive));
        P::note(Note::WakeSent(told.len()));
        wake::<P>(told)
    }

    /// Under the lock: marks the entries that take the wake, and takes the exclusive ones among them off the list.
    fn tell(&self, list: &mut List<P, G>, mut exclusive: usize) -> Told {
        let mut told = Told::new();
        let before = list.len();
        let mut next = list.first();
        while let Some(entry) = list.get(next) {
            if entry.exclusive && exclusive == 0 {
                break;
            }
            let place = next;
            next = list.after(place);
            if !G::notified::<P>(&self.gate, &entry.mark) {
                continue;
            }
            if entry.exclusive {
                exclusive -= 1;
                told.extend(list.remove(place).map(|entry| entry.waker));
            } else {
                told.push(entry.waker.clone());
            }
        }
        if list.len() != before {
            self.queued.store(list.len(), Relaxed);
        }
        told
    }

    /// Sleeps until `look` returns something, and returns that.
    ///
    /// `look` is called at least once, and again after every wake; it must not block.
    pub fn wait_until<T>(self: &Arc<Self>, kind: Kind, mut look: impl FnMut() -> Option<T>) -> T {
        if let Some(found) = look() {
            return found;
        }
        let parker = Arc::new(P::Parker::new("sleeper"));
        let mut waiter = self.register(kind, Waker::from(parker.clone()));
        loop {
            if let Some(found) = waiter.look(&mut look) {
                contain::<P, _>("a waker", || drop(waiter)); // it must not take along what was found
                return found;
            }
            parker.park();
        }
    }

    /// [`wait_until`](WaitQueue::wait_until) as a future. Dropping it leaves the queue, and passes on a wake-one that it did not use.
    pub fn until<T, F>(self: &Arc<Self>, kind: Kind, look: F) -> Until<P, G, F>
    where
        F: FnMut() -> Option<T> + Unpin,
    {
        Until { queue: self.clone(), waiter: None, kind, look }
    }
}

/// Calls the wakers, the queue's lock being free: all of them, whichever panics.
fn wake<P: Primitives>(told: Told) -> Wakeup {
    let sent = Wakeup::Sent(told.len());
    let mut calls = Deferred::<P>::new();
    for waker in told {
        // With its last reference, if this is that.
        calls.call("a waker", move || waker.wake_by_ref());
    }
    calls.resume();
    sent
}

/// An entry of a [`WaitQueue`], owned by the sleeper. Dropping it leaves the queue.
pub struct Waiter<P: Primitives = Native, G: Gate = PerEntry> {
    queue: Arc<WaitQueue<P, G>>,
    mark: Arc<G::Mark<P>>,
    waker: Arc<Waker>,
    kind: Kind,
    /// Whether `arm` put the entry on the list and it has not left since. A wake-one may have taken it off.
    enqueued: bool,
    /// Where on the list it was put. Another entry may be there by now.
    place: usize,
    /// Whether the last `arm` came after a wake-one, which it declared heard.
    heard: bool,
}

impl<P: Primitives, G: Gate> Waiter<P, G> {
    /// Announces that this waiter is going to sleep. Look at the condition **after** this, and sleep only if it is false.
    ///
    /// The first time, and for an exclusive waiter every time, it takes the queue's lock. A persistent waiter that is on
    /// the list does nothing. Arming says that the last wake has been heard: an exclusive waiter that was woken, arms and
    /// then leaves without a look has lost that wake. So has one whose look panics, unless the panic itself drops it:
    /// [`look`](Waiter::look) sees to that.
    pub fn arm(&mut self) {
        let (queue, mark) = (&self.queue, &self.mark);
        if self.kind == Kind::Persistent && self.enqueued {
            return;
        }
        G::before_enqueue::<P>(&queue.gate, mark);
        let arm = match self.kind {
            _ if !self.enqueued => {
                self.heard = false;
                self.place = queue.list.with(|list| self.enqueue(list));
                Arm::First
            }
            Kind::Shared | Kind::Persistent => Arm::Again,
            // A wake may have taken it off; only the list knows.
            Kind::Exclusive => {
                let entered = queue.list.with(|list| match self.position(list) {
                    Some(_) => None,
                    None => Some(self.enqueue(list)),
                });
                self.heard = entered.is_some();
                self.place = entered.unwrap_or(self.place);
                if self.heard { Arm::First } else { Arm::Again }
            }
        };
        self.enqueued = true;
        G::after_enqueue::<P>(&queue.gate, mark, arm);
    }

    /// Announces that this waiter is going to sleep, and looks. `None`: sleep. If `look` panics the waiter has left the list, and
    /// a wake that was spent on it has been passed on, before the panic goes on.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use reveille::wait_queue::{Kind, WaitQueue};
    /// # let (queue, mut tokens) = (Arc::new(<WaitQueue>::new()), Some(1));
    /// let sleeper = std::thread::current();
    /// # struct Unpark(std::thread::Thread);
    /// # impl std::task::Wake for Unpark {
    /// #     fn wake(self: Arc<Self>) {
    /// #         self.0.unpark();
    /// #     }
    /// # }
    /// let mut waiter = queue.register(Kind::Exclusive, Arc::new(Unpark(sleeper)).into());
    /// let token = loop {
    ///     match waiter.look(|| tokens.take()) {
    ///         Some(token) => break token,
    ///         None => std::thread::park(),
    ///     }
    /// };
    /// waiter.disarm(); // awake from here on: a wake for somebody else must not be spent on us
    /// # assert_eq!(token, 1);
    /// ```
    pub fn look<T>(&mut self, look: impl FnOnce() -> Option<T>) -> Option<T> {
        self.arm();
        match P::catch(look) {
            Ok(found) => found,
            Err(panic) => {
                // Two wakes at most: one that has come since it armed, and one that arming declared heard.
                let heard = self.heard;
                contain::<P, _>("a waker", || self.disarm());
                if heard {
                    // Kept: without it the waker's panic would go on in the place of the look's, and no more.
                    contain::<P, _>("a waker", || self.queue.deliver(1));
                }
                resume_unwind(panic)
            }
        }
    }

    /// Leaves the list: this waiter is not going to sleep for a while. Arming enters it again.
    ///
    /// An exclusive waiter that a wake was spent on hands that wake to the next one. Dropping the waiter does the same.
    pub fn disarm(&mut self) {
        self.heard = false;
        if !std::mem::take(&mut self.enqueued) {
            return;
        }
        let queue = &self.queue;
        let passed_on = queue.list.with(|list| {
            G::disarmed::<P>(&queue.gate, &self.mark);
            if let Some(i) = self.position(list) {
                list.remove(i);
                queue.queued.store(list.len(), Relaxed);
                return None;
            }
            if !G::PASSES_ON {
                return None;
            }
            // Told, and leaving. Whoever is still on the list and armed may be asleep because this one was told in its place.
            // No barrier here: the waker's stands before this critical section, by the order of the lock, so it counts
            // as ours. An entry whose mark we find not armed yet has its own barrier after it, and its look finds what
            // the wake was for.
            Some(queue.tell(list, 1))
        });
        if let Some(told) = passed_on {
            P::note(Note::WakePassedOn(told.len()));
            wake::<P>(told);
        }
    }

    /// Says that the sleeper is awake and going to look. If no wake has taken its entry off the list, it leaves: its sleep may
    /// have ended for no reason, or by the token of a wake that came when it was leaving.
    ///
    /// Unlike [`disarm`](Waiter::disarm) it passes no wake on. Whoever calls it after a wake looks for what the wake was for, or
    /// disarms.
    pub fn woken(&mut self) {
        if !self.enqueued {
            return;
        }
        // The list alone knows, and its lock orders this thread after the waker, which an old token does not.
        let queue = &self.queue;
        self.enqueued = queue.list.with(|list| {
            let Some(i) = self.position(list) else { return true };
            G::disarmed::<P>(&queue.gate, &self.mark);
            list.remove(i);
            queue.queued.store(list.len(), Relaxed);
            false
        });
    }

    /// Exchanges the waker, as a task has to do that is polled with another one than before. Arm after it.
    pub fn set_waker(&mut self, waker: &Waker) {
        if self.waker.will_wake(waker) {
            return;
        }
        let new = Arc::new(waker.clone());
        let old = std::mem::replace(&mut self.waker, new.clone());
        if self.enqueued {
            // What the list had is dropped outside: the last reference to a task may leave this very queue.
            let replaced = self.queue.list.with(|list| {
                let place = self.position(list)?;
                list.get_mut(place).map(|entry| std::mem::replace(&mut entry.waker, new))
            });
            drop(replaced);
        }
        drop(old);
    }

    fn position(&self, list: &List<P, G>) -> Option<usize> {
        let entry = list.get(self.place)?;
        Arc::ptr_eq(&entry.mark, &self.mark).then_some(self.place)
    }

    /// Where it is then.
    fn enqueue(&self, list: &mut List<P, G>) -> usize {
        let exclusive = self.kind == Kind::Exclusive;
        let entry = Entry { mark: self.mark.clone(), waker: self.waker.clone(), exclusive };
        let in_front = !exclusive || self.queue.last_first;
        let place = if in_front { list.push_front(entry) } else { list.push_back(entry) };
        self.queue.queued.store(list.len(), Relaxed);
        place
    }
}

impl<P: Primitives, G: Gate> Drop for Waiter<P, G> {
    fn drop(&mut self) {
        if P::tearing_down() {
            return;
        }
        let heard = self.heard;
        self.disarm();
        // A look that panicked may have come after an arm that followed a wake: then the list does not tell that the wake
        // is lost with us. One too many is better. Not if the panic has been caught meanwhile: hence `look`.
        if heard && std::thread::panicking() {
            self.queue.deliver(1);
        }
    }
}

/// The future of [`WaitQueue::until`].
#[must_use = "a future does nothing until it is polled"]
pub struct Until<P: Primitives, G: Gate, F> {
    queue: Arc<WaitQueue<P, G>>,
    waiter: Option<Waiter<P, G>>,
    kind: Kind,
    look: F,
}

impl<P: Primitives, G: Gate, F, T> Future for Until<P, G, F>
where
    F: FnMut() -> Option<T> + Unpin,
{
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Self { queue, waiter, kind, look } = self.get_mut();
        let waiter = match waiter {
            Some(waiter) => {
                waiter.set_waker(cx.waker());
                waiter
            }
            None => {
                if let Some(found) = look() {
                    return Poll::Ready(found);
                }
                waiter.insert(queue.register(*kind, cx.waker().clone()))
            }
        };
        match waiter.look(look) {
            Some(found) => {
                contain::<P, _>("a waker", || waiter.disarm());
                Poll::Ready(found)
            }
            None => Poll::Pending,
        }
    }
}
