//! Missed wakeups that really happened, each as a small program in a file of its own.
//!
//! An exhibit has two forms: as it lost, and mended. A checker is worth its name if it finds the miss of
//! the first under the memory that shows it, and under no stronger one, and nothing in the second. What is
//! known of an exhibit is its [`Card`]; what it broke is a [`Discipline`], and the page beside this file
//! is the list of those, for reading wakeup code with.
//!
//! The code is that of its time, cut down to the race: its names, its orderings, its order of steps. Two
//! props are shared, because half of the exhibits sleep on one of them: the kernel's wait queue and its
//! futex.

mod case;
pub mod discipline;
mod futex;
mod page;
mod wait_queue_head;

mod aborted_exclusive;
mod blind_store;
mod brpc_relaxed_count;
mod brpc_unchanged_word;
mod check_before_lock;
mod clear_after_wake;
mod coalesced_no_publish;
mod cq_tail_barrier;
mod event_listener_early_out;
mod folly_no_retry;
mod hotspot_parker;
mod io_wq_exit;
mod io_wq_stalled;
mod old_value;
mod owner_died_bit;
mod pipe_close;
mod pipe_torn;
mod poll_wait_barrier;
mod posted;
mod rayon_broadcast;
mod seqcst_load;
mod tokio_idle;
mod tokio_notify;
mod uv_async;
mod wrong_worker;

use std::fmt;
use std::str::FromStr;

use reveille::sync::Primitives;

use crate::names;
use crate::scenario::Scenario;
use crate::subject::Needs;
use crate::trace::Trace;

pub(crate) use case::PREFIX;
pub use discipline::Discipline;
pub use page::tables;

/// What is known of an exhibit.
#[derive(Debug)]
pub struct Card {
    /// Its name.
    pub name: &'static str,
    /// When it was mended, the first of them if there are several; when it was reported, if there was
    /// nothing to mend.
    pub year: u16,
    /// The commit, issue or mail; those of the same shape after it.
    pub source: &'static str,
    /// The weakest thing that it takes for the miss.
    pub needs: Needs,
    /// How many threads it has.
    pub threads: usize,
    /// What it broke: first what the program shows.
    pub broke: &'static [Discipline],
    /// How long the mistake was there, where the history of its source says so.
    pub unseen: Option<&'static str>,
    /// What was lost, and how.
    pub story: &'static str,
    /// What the labels in a counterexample mean, where they do not say it.
    legend: &'static str,
    /// What counterexamples call the first thread.
    main: &'static str,
    /// The line under a counterexample.
    owed: &'static str,
}

/// One list of the exhibits, from which the table of the cards and that of the programs are made.
macro_rules! gallery {
    ($($exhibit:ident)*) => {
        const CARDS: &[Card] = &[$($exhibit::CARD),*];

        fn run<P: Primitives>(Shown { exhibit, form }: Shown) {
            let programs: &[fn(Form)] = &[$($exhibit::run::<P>),*];
            programs[exhibit.0](form);
        }
    };
}

// In the order of the table: those from the kernel, from libraries and virtual machines, from runtimes.
gallery! {
    io_wq_stalled
    io_wq_exit
    poll_wait_barrier
    cq_tail_barrier
    seqcst_load
    pipe_torn
    pipe_close
    aborted_exclusive
    clear_after_wake
    check_before_lock
    hotspot_parker
    owner_died_bit
    folly_no_retry
    tokio_idle
    tokio_notify
    coalesced_no_publish
    rayon_broadcast
    wrong_worker
    old_value
    brpc_unchanged_word
    brpc_relaxed_count
    uv_async
    blind_store
    posted
    event_listener_early_out
}

/// What went wrong once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Exhibit(usize);

impl Exhibit {
    /// All of them, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..CARDS.len()).map(Self)
    }

    /// What is known of it.
    pub fn card(self) -> &'static Card {
        &CARDS[self.0]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.card().name
    }
}

impl fmt::Display for Exhibit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Exhibit {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::all()
            .find(|exhibit| exhibit.name() == name)
            .ok_or_else(|| names::not_among("exhibit", name, Self::all().map(Self::name)))
    }
}

/// Which form of an exhibit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// As it lost; as it was reported, where nothing was lost.
    Losing,
    /// As it was mended.
    Mended,
}

impl Form {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Losing, Self::Mended];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Losing => "losing",
            Self::Mended => "mended",
        }
    }
}

/// An exhibit, to be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the types have the documentation
pub struct Shown {
    pub exhibit: Exhibit,
    pub form: Form,
}

impl Shown {
    /// Both forms of all exhibits, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        Exhibit::all().flat_map(|exhibit| Form::ALL.map(|form| Self { exhibit, form }))
    }

    /// What it takes for a miss of this form.
    pub fn needs(self) -> Needs {
        match self.form {
            Form::Losing => self.exhibit.card().needs,
            Form::Mended => Needs::Nothing,
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.form {
            Form::Losing if self.exhibit.card().needs == Needs::Nothing => "as it was reported",
            Form::Losing => "as it lost",
            Form::Mended => "mended",
        };
        write!(f, "{}, {form}", self.exhibit)
    }
}

impl Scenario for Shown {
    fn name(&self) -> String {
        self.to_string()
    }

    fn main_thread(&self) -> &'static str {
        self.exhibit.card().main
    }

    fn legend(&self) -> &'static str {
        self.exhibit.card().legend
    }

    fn run<P: Primitives>(&self) {
        run::<P>(*self);
    }

    fn owed(&self, _: &Trace) -> Option<String> {
        Some(self.exhibit.card().owed.into())
    }
}
