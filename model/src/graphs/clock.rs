//! Vector clocks: for each thread, how many of its events are included.

use smallvec::SmallVec;

use super::EventId;

/// A set of events that is closed under program order: a prefix of every thread.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Clock(SmallVec<[u16; 8]>);

impl Clone for Clock {
    /// A plain copy: the derived one goes over the elements, and a search clones clocks all the time.
    #[inline]
    fn clone(&self) -> Self {
        Clock(SmallVec::from_slice(&self.0))
    }
}

impl Clock {
    /// How many events of the thread are included.
    #[inline]
    pub fn of(&self, thread: usize) -> usize {
        self.0.get(thread).map_or(0, |&events| events as usize)
    }

    /// Whether the event is included. The initial writes always are.
    #[inline]
    pub fn contains(&self, event: EventId) -> bool {
        event.is_initial() || event.index() < self.of(event.thread())
    }

    /// Includes at least so many events of the thread.
    #[inline]
    pub fn include(&mut self, thread: usize, events: usize) {
        if self.0.len() <= thread {
            self.0.resize(thread + 1, 0);
        }
        self.0[thread] = self.0[thread].max(events as u16);
    }

    /// Includes what the other one does.
    #[inline]
    pub fn join(&mut self, other: &Clock) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).max(*theirs);
        }
    }
}
