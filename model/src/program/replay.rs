//! Does a thread's program accept a recorded sequence of operations?
//!
//! The operations that real code executed in one thread, with the values it read, are put to the thread's program one by
//! one. Memory is left out of it: whatever was read is believed. What the record does not show is guessed, in all ways at
//! once: choices, and the content of a shared list when its lock is taken, which other threads' operations decide. Where
//! all threads are replayed [together](ReplayAll), lists are not guessed: they are what the threads have left in them. Nor
//! does a record there have to say what plain data is: it has no races, so a load reads what was stored last, and a store
//! stores what its program says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::{
    Action, Expr, Instruction, Kind, ListAction, Position, Program, Sequence, Settled, Site, Thread,
};
use crate::memory::{Operation, Value};

/// One operation that a thread was seen to execute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recorded {
    /// What it did
    pub kind: Kind,
    /// To what, by its label; nothing for a fence
    pub object: Option<String>,
    /// In which order; nothing for locks and parkers, and for loads and stores of plain data
    pub order: Option<Ordering>,
    /// In which order a compare-exchange would have failed
    pub failure: Option<Ordering>,
    /// The value read; nothing for plain data
    pub read: Option<Value>,
    /// The value written; nothing for plain data
    pub written: Option<Value>,
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(object) = &self.object {
            write!(f, " {object}")?;
        }
        for order in [self.order, self.failure].into_iter().flatten() {
            write!(f, " {order:?}")?;
        }
        if let Some(value) = self.read {
            write!(f, " reads {value}")?;
        }
        if let Some(value) = self.written {
            write!(f, " writes {value}")?;
        }
        Ok(())
    }
}

/// An operation that the program does not accept where it was seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{thread}, operation {number}: {seen}; the program expects {}", if expected.is_empty() { "none".to_owned() } else { expected.join(" or ") })]
pub struct Mismatch {
    /// The thread
    pub thread: String,
    /// Which of its operations, from 1
    pub number: usize,
    /// What was seen
    pub seen: Recorded,
    /// What would have been right, with the sites
    pub expected: Vec<String>,
}

/// Where a thread may be, as far as the record tells.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    position: Position,
    lists: SmallVec<[Sequence; 6]>,
}

/// A replay of one thread's operations against its program.
#[derive(Clone, Debug)]
pub struct Replay<'a> {
    program: &'a Program,
    thread: &'a Thread,
    cursors: Vec<Cursor>,
    number: usize,
}

/// A replay of all threads of one execution, in the order in which their operations took effect.
#[derive(Clone, Debug)]
pub struct ReplayAll<'a> {
    threads: Vec<Replay<'a>>,
    data: Data,
}

/// What the threads have left for each other.
#[derive(Clone, Debug)]
struct Data {
    /// Of each list, what it may contain now
    lists: Vec<Vec<Sequence>>,
    /// Of each location, by its label, what may have been stored last
    newest: BTreeMap<String, BTreeSet<Value>>,
}

impl Recorded {
    /// Is it a load or a store of plain data?
    fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Load | Kind::Store) && self.order.is_none()
    }
}

impl Program {
    /// Starts a replay of all threads.
    pub fn replay_all(&self) -> ReplayAll<'_> {
        let threads = (0..self.threads.len()).filter_map(|thread| self.replay(thread)).collect();
        let lists = self.lists().map(|list| vec![list]).collect();
        let initial = self.labels.iter().cloned().zip(&self.initial);
        let newest = initial.map(|(label, value)| (label, BTreeSet::from([*value]))).collect();
        ReplayAll { threads, data: Data { lists, newest } }
    }

    /// The lists that the lock with this label guards.
    fn guarded(&self, lock: Option<&str>) -> impl Iterator<Item = usize> {
        let label = |list: usize| Some(self.label(self.lists[list].lock?.location(0)?));
        (0..self.lists.len()).filter(move |list| lock.is_some() && label(*list) == lock)
    }

    /// Starts a replay of a thread, by its number.
    pub fn replay(&self, thread: usize) -> Option<Replay<'_>> {
        let code = self.threads.get(thread)?;
        let start = Cursor { position: code.start(), lists: self.lists().collect() };
        let mut replay = Replay { program: self, thread: code, cursors: Vec::new(), number: 0 };
        replay.settle(start);
        Some(replay)
    }
}

impl Thread {
    /// The sites of all its operations and choices.
    pub fn sites(&self) -> BTreeSet<Site> {
        self.code.iter().filter_map(Instruction::site).cloned().collect()
    }
}

impl<'a> ReplayAll<'a> {
    /// Puts a thread's next operation to its program, as [`Replay::accept`] does; `None` if there is no such thread.
    pub fn accept(&mut self, thread: usize, seen: &Recorded) -> Option<Result<BTreeSet<Site>, Mismatch>> {
        let replay = self.threads.get_mut(thread)?;
        let accepted = replay.step(seen, Some(&mut self.data));
        if seen.kind == Kind::Unlock && accepted.is_ok() {
            for list in replay.program.guarded(seen.object.as_deref()) {
                let contents = &mut self.data.lists[list];
                contents.clear();
                for cursor in &replay.cursors {
                    if !contents.contains(&cursor.lists[list]) {
                        contents.push(cursor.lists[list]);
                    }
                }
            }
        }
        Some(accepted)
    }

    /// Where a thread is.
    pub fn thread(&self, thread: usize) -> Option<&Replay<'a>> {
        self.threads.get(thread)
    }
}

impl Replay<'_> {
    /// Puts the next operation to the program: the sites in the program where it may have been, or what was expected
    /// instead. After a mismatch the replay is where it was before.
    pub fn accept(&mut self, seen: &Recorded) -> Result<BTreeSet<Site>, Mismatch> {
        self.step(seen, None)
    }

    fn step(&mut self, seen: &Recorded, mut data: Option<&mut Data>) -> Result<BTreeSet<Site>, Mismatch> {
        let mut sites = BTreeSet::new();
        let (mut reached, mut stored) = (Vec::new(), BTreeSet::new());
        let newest = seen.object.as_ref().and_then(|object| data.as_ref()?.newest.get(object));
        let reads: Vec<Option<Value>> = match seen.kind {
            Kind::Load if seen.is_plain() => newest.into_iter().flatten().copied().map(Some).collect(),
            _ => vec![seen.read],
        };
        for cursor in &self.cursors {
            for &read in &reads {
                if let Some((site, position, written)) = self.matches(cursor, seen, read) {
                    sites.insert(site);
                    stored.extend(written);
                    reached.push(Cursor { position, lists: cursor.lists.clone() });
                }
            }
        }
        if reached.is_empty() {
            let expected = self.expected();
            return Err(Mismatch {
                thread: self.thread.name.clone(),
                number: self.number + 1,
                seen: seen.clone(),
                expected,
            });
        }
        if let (false, Some(object), Some(data)) = (stored.is_empty(), &seen.object, data.as_deref_mut()) {
            data.newest.insert(object.clone(), stored);
        }
        self.number += 1;
        self.cursors.clear();
        for cursor in reached {
            let guesses = match seen.kind {
                Kind::Lock => {
                    let known = data.as_deref().map(|data| &*data.lists);
                    self.guess_lists(cursor, seen.object.as_deref(), known)
                }
                _ => vec![cursor],
            };
            guesses.into_iter().for_each(|cursor| self.settle(cursor));
        }
        Ok(sites)
    }

    /// Could the thread have finished?
    pub fn may_end(&self) -> bool {
        self.cursors.iter().any(|cursor| self.thread.next(&cursor.position).is_none())
    }

    /// What the program would accept next, with the sites.
    pub fn expected(&self) -> Vec<String> {
        let mut expected = BTreeSet::new();
        for cursor in &self.cursors {
            match self.thread.next(&cursor.position) {
                Some(next) => {
                    let location = next.operation(&cursor.position).and_then(|(location, _)| location);
                    let object = location.map_or("", |location| self.program.label(location));
                    expected
                        .insert(format!("{}: {} {object}", next.site(), next.kind()).trim_end().to_owned());
                }
                None => {
                    expected.insert("the end".to_owned());
                }
            }
        }
        expected.into_iter().collect()
    }

    /// Is `seen`, which read this value, the next operation at this cursor? Its site, the position after it, and the value stored.
    fn matches(
        &self,
        cursor: &Cursor,
        seen: &Recorded,
        read: Option<Value>,
    ) -> Option<(Site, Position, Option<Value>)> {
        let next = self.thread.next(&cursor.position)?;
        let (location, operation) = next.operation(&cursor.position)?;
        let object = location.map(|location| self.program.label(location));
        if next.kind() != seen.kind || object != seen.object.as_deref() {
            return None;
        }
        let (site, mut position) = (next.site().to_owned().into(), cursor.position.clone());
        next.done(&mut position, read);
        // A lock's and a parker's word is nobody's business, and so is its order.
        if matches!(seen.kind, Kind::Lock | Kind::Unlock | Kind::Park | Kind::Unpark) {
            return Some((site, position, None));
        }
        let written = match operation {
            Operation::Store { value, .. } => Some(value),
            Operation::Modify { update, .. } => update.written(read?),
            Operation::Load { .. } | Operation::Fence(_) => None,
        };
        let reads = matches!(operation, Operation::Load { .. } | Operation::Modify { .. });
        let as_recorded = written == seen.written && next.orders() == (seen.order, seen.failure);
        (reads == read.is_some() && (as_recorded || seen.is_plain())).then_some((site, position, written))
    }

    /// All contents that the lists of a lock may have when it is taken: those that are known, or every arrangement of some
    /// of their entries.
    fn guess_lists(
        &self,
        cursor: Cursor,
        lock: Option<&str>,
        known: Option<&[Vec<Sequence>]>,
    ) -> Vec<Cursor> {
        let mut cursors = vec![cursor];
        for index in self.program.guarded(lock) {
            let contents =
                known.map_or_else(|| arrangements(&self.entries(index)), |known| known[index].clone());
            let guess = |cursor: &Cursor, content: &Sequence| {
                let mut cursor = cursor.clone();
                cursor.lists[index] = *content;
                cursor
            };
            cursors = cursors
                .iter()
                .flat_map(|cursor| contents.iter().map(|content| guess(cursor, content)))
                .collect();
        }
        cursors
    }

    /// Everything that is ever put into a list: its first content, and the constants that are pushed.
    fn entries(&self, list: usize) -> BTreeSet<Value> {
        let mut entries: BTreeSet<Value> = self.program.lists[list].initial.iter().collect();
        for instruction in self.program.threads.iter().flat_map(|thread| &thread.code) {
            match instruction {
                Instruction::List {
                    list: pushed,
                    action:
                        ListAction::Push(Expr::Constant(entry)) | ListAction::PushFront(Expr::Constant(entry)),
                    ..
                } if pushed.index() == list => {
                    entries.insert(*entry);
                }
                _ => (),
            }
        }
        entries
    }

    /// Runs a cursor up to its next operation, taking choices both ways, and keeps it unless it is known.
    fn settle(&mut self, mut cursor: Cursor) {
        match self.thread.settle(&mut cursor.position, &mut cursor.lists).0 {
            Settled::Violated | Settled::Broken => return,
            Settled::Waiting | Settled::Finished => (),
        }
        if let Some(next) = self.thread.next(&cursor.position).filter(|next| next.is_choice()) {
            for taken in [1, 0] {
                let mut position = cursor.position.clone();
                next.done(&mut position, Some(taken));
                self.settle(Cursor { position, lists: cursor.lists.clone() });
            }
        } else if !self.cursors.contains(&cursor) {
            self.cursors.push(cursor);
        }
    }
}

/// Every sequence of different entries.
fn arrangements(entries: &BTreeSet<Value>) -> Vec<Sequence> {
    let mut all = vec![Sequence::default()];
    let mut from = 0;
    while from < all.len() {
        let sequence = all[from];
        for entry in entries.iter().filter(|entry| sequence.iter().all(|other| other != **entry)) {
            let mut longer = sequence;
            if longer.push(*entry) {
                all.push(longer);
            }
        }
        from += 1;
    }
    all
}

impl Action {
    /// In which order it fails, if it can.
    pub(super) fn failure(&self) -> Option<Ordering> {
        match self {
            Action::CompareExchange { failure, .. } => Some((*failure).into()),
            _ => None,
        }
    }
}
