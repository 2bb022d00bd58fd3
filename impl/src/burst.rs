//! Lists give their memory back after a burst.
//!
//! A list that is filled and emptied again and again should keep its memory; one that was once a thousand times as long
//! as ever since should not. So whoever takes something from a list has it [looked after](give_back): when no more than a
//! quarter of it is in use, it is made half as long. From one time to the next as many items have been taken as are moved
//! then, so it costs each of them the same little, and short lists nothing.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash};

/// So many items a list may always keep room for.
const KEPT: usize = 4096;

/// A list that keeps its memory until it is told otherwise.
pub(crate) trait Shrink {
    fn used(&self) -> usize;
    fn room(&self) -> usize;
    fn shrink(&mut self, room: usize);
}

impl<T> Shrink for Vec<T> {
    #[inline]
    fn used(&self) -> usize {
        self.len()
    }
    #[inline]
    fn room(&self) -> usize {
        self.capacity()
    }
    fn shrink(&mut self, room: usize) {
        self.shrink_to(room);
    }
}

impl<T> Shrink for VecDeque<T> {
    #[inline]
    fn used(&self) -> usize {
        self.len()
    }
    #[inline]
    fn room(&self) -> usize {
        self.capacity()
    }
    fn shrink(&mut self, room: usize) {
        self.shrink_to(room);
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Shrink for HashMap<K, V, S> {
    #[inline]
    fn used(&self) -> usize {
        self.len()
    }
    #[inline]
    fn room(&self) -> usize {
        self.capacity()
    }
    fn shrink(&mut self, room: usize) {
        self.shrink_to(room);
    }
}

/// Its keys are in use elsewhere, so that it gives memory back only when it is empty.
impl<T> Shrink for slab::Slab<T> {
    #[inline]
    fn used(&self) -> usize {
        if self.is_empty() { 0 } else { self.capacity() }
    }
    #[inline]
    fn room(&self) -> usize {
        self.capacity()
    }
    fn shrink(&mut self, _: usize) {
        self.shrink_to_fit();
    }
}

/// Something has been taken from the list.
#[inline]
pub(crate) fn give_back(list: &mut impl Shrink) {
    if list.room() > KEPT && list.used() <= list.room() / 4 {
        half(list);
    }
}

/// Apart, since it is seldom needed.
#[cold]
fn half(list: &mut impl Shrink) {
    list.shrink((2 * list.used()).max(KEPT));
}
