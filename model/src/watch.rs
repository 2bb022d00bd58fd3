//! Workers on threads of their own, and a watcher over them.
//!
//! The code under search runs on a worker's stack. If it never comes back, in a loop without operations or at
//! a lock of the operating system's that another of its threads holds, the worker cannot go on, and nothing
//! can stop it. The watcher then leaves its thread of the machine where it is, for ever, with all that it
//! has, and the search ends with a [`Limit::Silent`].

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::code::{Limit, Pulse};

/// What a worker does, and its signs of life while it does.
pub(crate) struct Work<T> {
    pub pulse: Arc<Pulse>,
    pub body: Box<dyn FnOnce() -> T + Send>,
}

/// A time of silence is looked at so often. If the whole process stands still, the watcher does too, and
/// counts none.
const LOOKS: u32 = 20;

/// Does the works, each on a thread of its own, and returns what came of them, in no order. If one is silent
/// for too long, `stop` is called for the others, and what it does is returned besides.
///
/// If nobody watches, a single work is done on the calling thread.
pub(crate) fn over<T: Send + 'static>(
    silence: Option<Duration>,
    mut works: Vec<Work<T>>,
    stop: impl Fn(),
) -> (Vec<T>, Option<Limit>) {
    if silence.is_none() && works.len() == 1 {
        let work = works.pop().expect("there is one");
        return (vec![(work.body)()], None);
    }
    let (sender, ends) = mpsc::channel();
    let mut watched: Vec<Option<Watched>> = Vec::new();
    for (number, Work { pulse, body }) in works.into_iter().enumerate() {
        watched.push(Some(Watched { pulse, beats: None, quiet: 0 }));
        let sender = sender.clone();
        thread::spawn(move || {
            let result = panic::catch_unwind(AssertUnwindSafe(body));
            // Nobody listens any more if another worker has panicked.
            let _ = sender.send((number, result));
        });
    }
    let look = silence.map_or(Duration::MAX, |silence| silence / LOOKS);
    let (mut results, mut limit) = (Vec::new(), None);
    while watched.iter().any(Option::is_some) {
        match ends.recv_timeout(look) {
            Ok((number, Ok(result))) => {
                watched[number] = None;
                results.push(result);
            }
            // The engine has a mistake. Its message has been shown.
            Ok((_, Err(payload))) => {
                stop();
                panic::resume_unwind(payload);
            }
            Err(RecvTimeoutError::Timeout) => {
                for one in &mut watched {
                    let silent = one.take_if(|one| one.is_quiet() && one.quiet >= LOOKS);
                    if let (Some(silent), Some(time)) = (silent, silence) {
                        limit = Some(Limit::Silent { time, last: silent.pulse.last() });
                        stop();
                    }
                }
            }
            Err(RecvTimeoutError::Disconnected) => unreachable!("a sender is here"),
        }
    }
    (results, limit)
}

/// A worker as seen from outside.
struct Watched {
    pulse: Arc<Pulse>,
    /// Its signs of life when it was looked at last
    beats: Option<u64>,
    /// How many looks have found no other
    quiet: u32,
}

impl Watched {
    /// Looks at it.
    fn is_quiet(&mut self) -> bool {
        let beats = self.pulse.beats();
        let is_quiet = beats.is_some() && beats == self.beats;
        self.quiet = if is_quiet { self.quiet + 1 } else { 0 };
        self.beats = beats;
        is_quiet
    }
}
