//! A channel without bound, from many threads to one.
//!
//! The list is under a lock that is relaxed: it orders nothing. What orders a message's send before its receipt is a
//! token of the message's own.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::Location as Source;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError};
use std::time::Duration;

use reveille_model::code::{self, Kind, Late};

use crate::rt::{self, At, Freak};

/// What both ends share.
struct Channel<T> {
    late: Late,
    state: RefCell<State<T>>,
}

struct State<T> {
    messages: VecDeque<(code::Location, T)>,
    senders: usize,
    has_receiver: bool,
    /// The receiver's token, while it waits
    waiting: Option<Arc<Late>>,
}

// SAFETY: the state is used under the lock, and the engine runs one thread at a time.
unsafe impl<T: Send> Sync for Channel<T> {}
// SAFETY: the same.
unsafe impl<T: Send> Send for Channel<T> {}

impl<T> Channel<T> {
    /// Does something under the lock. What it wakes is woken after that.
    fn locked<R>(&self, source: At, body: impl FnOnce(&mut State<T>) -> (R, Option<Arc<Late>>)) -> R {
        let lock = self.late.location("channel", Kind::Lock, |_| 0);
        rt::acquire(lock, Relaxed, source);
        let (result, woken) = body(&mut self.state.borrow_mut());
        rt::store(lock, 0, Relaxed, source);
        if let Some(token) = woken {
            rt::put(location(&token), Relaxed, source);
        }
        result
    }
}

/// The token of a receiver that waits. It is for the next operation.
fn location(token: &Late) -> code::Location {
    token.location("channel's wait", Kind::Token, |_| 0)
}

/// The end that messages are put into.
pub struct Sender<T> {
    channel: Arc<Channel<T>>,
}

/// The end that messages are taken from.
pub struct Receiver<T> {
    channel: Arc<Channel<T>>,
}

/// A new channel.
#[track_caller]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let state = State { messages: VecDeque::new(), senders: 1, has_receiver: true, waiting: None };
    let channel = Arc::new(Channel { late: Late::new(), state: RefCell::new(state) });
    (Sender { channel: channel.clone() }, Receiver { channel })
}

impl<T> Sender<T> {
    /// Puts a message into the channel.
    ///
    /// # Errors
    /// With the message, if the receiver is gone.
    #[track_caller]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        let source = Source::caller();
        let late = Late::made_at(source);
        let sent = late.location("message", Kind::Token, |_| 0);
        rt::put(sent, Release, source);
        self.channel.locked(source, |state| {
            if !state.has_receiver {
                return (Err(SendError(message)), None);
            }
            state.messages.push_back((sent, message));
            (Ok(()), state.waiting.take())
        })
    }
}

impl<T> Clone for Sender<T> {
    #[track_caller]
    fn clone(&self) -> Self {
        self.channel.locked(Source::caller(), |state| {
            state.senders += 1;
            ((), None)
        });
        Sender { channel: self.channel.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if !code::is_running() {
            return;
        }
        self.channel.locked(self.channel.late.source(), |state| {
            state.senders -= 1;
            ((), if state.senders == 0 { state.waiting.take() } else { None })
        });
    }
}

impl<T> Receiver<T> {
    /// Waits for a message, and takes it.
    ///
    /// # Errors
    /// If there is none and all senders are gone.
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_at(false, Source::caller()).map_err(|_| RecvError)
    }

    /// The same. That the time is over happens as often as `LOOM_TIMEOUTS` says.
    ///
    /// # Errors
    /// If there is none and all senders are gone, or the time is over.
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        let _ = timeout;
        self.recv_at(true, Source::caller())
    }

    /// Takes a message, if there is one.
    ///
    /// # Errors
    /// If there is none.
    #[track_caller]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let source = Source::caller();
        let (message, is_alone) =
            self.channel.locked(source, |state| ((state.messages.pop_front(), state.senders == 0), None));
        match message {
            Some((sent, message)) => {
                rt::take(sent, Acquire, source);
                Ok(message)
            }
            None if is_alone => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    fn recv_at(&self, has_limit: bool, source: At) -> Result<T, RecvTimeoutError> {
        loop {
            let token = Arc::new(Late::made_at(source));
            let found = self.channel.locked(source, |state| {
                let message = state.messages.pop_front();
                if message.is_none() && state.senders > 0 {
                    state.waiting = Some(token.clone());
                }
                ((message, state.senders == 0), None)
            });
            match found {
                (Some((sent, message)), _) => {
                    rt::take(sent, Acquire, source);
                    return Ok(message);
                }
                (None, true) => return Err(RecvTimeoutError::Disconnected),
                (None, false) if code::is_taken_down() => return Err(RecvTimeoutError::Disconnected),
                (None, false) if has_limit && rt::happens(Freak::Timeout, source) => {
                    return Err(RecvTimeoutError::Timeout);
                }
                (None, false) => rt::take(location(&token), Relaxed, source),
            }
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if !code::is_running() {
            return;
        }
        let left = self.channel.locked(self.channel.late.source(), |state| {
            state.has_receiver = false;
            (std::mem::take(&mut state.messages), None)
        });
        drop(left);
    }
}

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> std::fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
