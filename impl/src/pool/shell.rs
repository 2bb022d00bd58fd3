//! The boxes of jobs that are over, kept for jobs of the same type.
//!
//! A job is allocated by the thread that submits it and would be freed by the worker that runs it. Allocators do that worst: with 1024
//! jobs in flight on two CPUs it took more than half of all the time. So whoever gets the outcome gets the empty box with it, and uses it again.

use std::any::{Any, TypeId};

/// An empty box of a job.
pub(crate) type Shell = Box<dyn Any + Send>;

/// Empty boxes, by what fits into them. One thread's: it takes no lock.
#[derive(Default)]
pub(crate) struct Shells {
    by_type: Vec<(TypeId, Vec<Shell>)>,
    /// Where the last one was found: the next is most likely of the same type.
    last: usize,
}

/// For so many types, each the closure of a call somewhere in the program, boxes are kept,
const TYPES: usize = 64;

/// and so many of each.
const KEPT: usize = 1024;

impl Shells {
    /// A box for an `S`, if there is one.
    pub fn take<S: Any>(&mut self) -> Option<Box<S>> {
        let shell = self.of(TypeId::of::<S>())?.pop()?;
        shell.downcast().ok()
    }

    /// Keeps a box, or frees it.
    #[inline]
    pub fn put(&mut self, shell: Shell) {
        let (of, room) = ((*shell).type_id(), self.by_type.len() < TYPES);
        match self.of(of) {
            Some(shells) if shells.len() < KEPT => shells.push(shell),
            None if room => self.by_type.push((of, vec![shell])),
            _ => {}
        }
    }

    #[inline]
    fn of(&mut self, wanted: TypeId) -> Option<&mut Vec<Shell>> {
        if self.by_type.get(self.last).is_none_or(|(of, _)| *of != wanted) {
            self.last = self.by_type.iter().position(|(of, _)| *of == wanted)?;
        }
        Some(&mut self.by_type[self.last].1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::pool::{Config, Jobs, Pool, Work};

    #[test]
    fn a_job_is_put_into_the_box_of_the_one_before() {
        let pool: Pool = Pool::new(Config { bounded: 1, ..Config::default() });
        let (mut jobs, (home, shells)) = (Jobs::default(), mpsc::channel::<Option<Shell>>());
        let (mut boxes, mut taken) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let home = home.clone();
            jobs.enqueue_detached(Work::BOUNDED, |_| (), move |_, shell| home.send(shell).unwrap());
            pool.submit(&mut jobs);
            let shell = shells.recv().unwrap().expect("nobody cancels it by itself");
            let size = size_of_val(&*shell);
            boxes.push((&raw const *shell).cast::<()>());
            jobs.keep(shell);
            // Whoever frees the box would find it taken.
            taken.push(Vec::<u8>::with_capacity(size));
        }
        boxes.dedup();
        assert_eq!(boxes.len(), 1, "all three in one box: {boxes:?}");
    }

    #[test]
    fn a_box_comes_back_for_its_own_type_only_and_no_more_are_kept_than_said() {
        let mut shells = Shells::default();
        assert!(shells.take::<u64>().is_none());
        let first = Box::new(7_u64);
        let address = &raw const *first;
        shells.put(first);
        assert!(shells.take::<i64>().is_none(), "of the same size, but another type");
        assert_eq!(shells.take::<u64>().map(|shell| &raw const *shell), Some(address));
        assert!(shells.take::<u64>().is_none(), "it is out");
        (0..2 * KEPT as u64).for_each(|n| shells.put(Box::new(n)));
        assert_eq!(std::iter::from_fn(|| shells.take::<u64>()).count(), KEPT);
    }
}
