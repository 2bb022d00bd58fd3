//! The kernel's wait queue, as the exhibits from Linux use it: a list behind a spinlock, and an emptiness
//! that is read without the lock.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use reveille::sync::{Atomic, Mutex, Parker, Primitives};

/// A `wait_queue_head`.
pub(super) struct WaitQueueHead<P: Primitives> {
    entries: P::Mutex<Vec<Entry<P>>>,
    /// Whether there are entries. Written under the lock, read without it.
    active: P::Atomic,
}

struct Entry<P: Primitives> {
    task: Arc<P::Parker>,
    exclusive: bool,
}

impl<P: Primitives> WaitQueueHead<P> {
    pub(super) fn new() -> Self {
        Self { entries: P::Mutex::new("wait queue", Vec::new()), active: P::Atomic::new("active", 0) }
    }

    /// `add_wait_queue`: the task is in the list after it, once. It has no barrier behind it; that is for
    /// the caller.
    pub(super) fn add(&self, task: &Arc<P::Parker>, exclusive: bool) {
        self.entries.with(|entries| {
            if !entries.iter().any(|entry| Arc::ptr_eq(&entry.task, task)) {
                entries.push(Entry { task: task.clone(), exclusive });
                self.active.store(1, Relaxed);
            }
        });
    }

    /// `finish_wait`. Whether the task was in the list still; if not, a wake has taken it off.
    pub(super) fn remove(&self, task: &Arc<P::Parker>) -> bool {
        self.entries.with(|entries| {
            let place = entries.iter().position(|entry| Arc::ptr_eq(&entry.task, task));
            if let Some(place) = place {
                entries.remove(place);
                self.active.store(usize::from(!entries.is_empty()), Relaxed);
            }
            place.is_some()
        })
    }

    /// `waitqueue_active`: no lock, and no barrier before it.
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Relaxed) == 1
    }

    /// `wake_up`: wakes the entries that are not exclusive, and so many of the others; takes them off.
    pub(super) fn wake_up(&self, mut exclusive: usize) {
        self.entries.with(|entries| {
            entries.retain(|entry| {
                if entry.exclusive && exclusive == 0 {
                    return true;
                }
                exclusive -= usize::from(entry.exclusive);
                entry.task.unpark();
                false
            });
            self.active.store(usize::from(!entries.is_empty()), Relaxed);
        });
    }
}
