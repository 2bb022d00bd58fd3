//! What other threads hold of a reactor.
//!
//! Only its own thread may touch a ring. Everybody else leaves a [`Command`] on a list, and one entry in the completion
//! queue that says "look at the list": so it is the queue's wake decision that wakes the reactor. A list that was not
//! empty needs no entry: there is one that the reactor has not come to yet, or it has and is about to take the whole
//! list. The lock of the list also decides who comes too late: a reactor closes the list in the same critical section in
//! which it takes the last commands.

use std::sync::{Arc, Mutex, OnceLock};

use smallvec::SmallVec;

use super::error::{Closed, Error};
use super::future::AsyncHandle;
use super::request::{Request, Token, link};
use crate::burst::give_back;
use crate::completion::{CompletionQueue, Gone};
use crate::pool::{self, Shell, Submitter, Work};
use crate::sync::{Mutex as _, Native};
use crate::unwind::discard_all;
use crate::wait_queue::Wakeup;

/// An entry of a reactor's completion queue.
pub(super) enum Posted<T> {
    /// An event of the user's.
    Event(T),
    /// What became of a closure that the reactor offloaded, and its empty box.
    Offloaded(Option<T>, Option<Shell>),
    /// There are commands.
    Commands,
}

impl<T> Posted<T> {
    fn event(self) -> Option<T> {
        match self {
            Self::Event(event) => Some(event),
            Self::Offloaded(..) | Self::Commands => None,
        }
    }
}

/// What the reactor's thread is asked to do.
pub(super) enum Command<T> {
    /// To submit these, as a chain if there are several.
    Submit(SmallVec<[(Request<T>, Ticket); 1]>),
    /// To cancel a request whose `Submit` came before.
    Cancel(Ticket),
}

impl<T> Command<T> {
    /// Drops it, whatever panics.
    pub fn discard(self) {
        if let Self::Submit(chain) = self {
            discard_all::<Native, _>("the destructor of a request", chain);
        }
    }
}

/// Names a request that was submitted through a [`Handle`].
#[derive(Debug, Clone, Default)]
pub struct Ticket(Arc<OnceLock<Token>>);

impl Ticket {
    /// The reactor has submitted the request.
    pub(super) fn submitted(&self, token: Token) {
        let first = self.0.set(token).is_ok();
        debug_assert!(first, "a ticket is for one request");
    }

    pub(super) fn token(&self) -> Option<Token> {
        self.0.get().copied()
    }
}

pub(super) struct Shared<T: Send + 'static> {
    pub posted: Arc<CompletionQueue<Posted<T>>>,
    commands: Mutex<Commands<T>>,
    submitter: Submitter,
    /// Each closure of a future that is out has a clone: the reactor asks whether there are any.
    out: Arc<()>,
    /// The length of the submission queue, and of the longest chain.
    capacity: usize,
}

struct Commands<T> {
    list: Vec<Command<T>>,
    closed: bool,
}

impl<T: Send + 'static> Shared<T> {
    pub fn new(posted: Arc<CompletionQueue<Posted<T>>>, submitter: Submitter, capacity: usize) -> Self {
        let commands = Mutex::new(Commands { list: Vec::new(), closed: false });
        Self { posted, commands, submitter, out: Arc::default(), capacity }
    }

    fn command(&self, command: Command<T>) -> Result<(), Closed> {
        let late = self.commands.with(|commands| {
            if commands.closed {
                return Some(command);
            }
            commands.list.push(command);
            if commands.list.len() == 1 {
                // Under the lock, which nobody holds for long: else the reactor might take the list in between, and
                // find the word about it later, for nothing.
                self.posted.publish_one(Posted::Commands);
            }
            None
        });
        // Dropped outside of the lock: it may be somebody's last reference to anything.
        late.map_or(Ok(()), |_| Err(Closed))
    }

    /// Whether futures wait for closures.
    pub fn is_waited_for(&self) -> bool {
        Arc::strong_count(&self.out) > 1
    }

    /// The commands up to now, in order.
    pub fn take(&self, into: &mut impl Extend<Command<T>>) {
        self.commands.with(|commands| {
            into.extend(commands.list.drain(..));
            give_back(&mut commands.list);
        });
    }

    /// The same, and there will be no more.
    pub fn close(&self) -> Vec<Command<T>> {
        self.commands.with(|commands| {
            commands.closed = true;
            std::mem::take(&mut commands.list)
        })
    }
}

/// A reactor, as seen from other threads. Cheap to clone. It does not keep the reactor alive.
///
/// ```
/// use reveille::uring::{Config, Error, Nop, Reactor, Request};
///
/// let mut reactor = match Reactor::<&str>::new(Config::default()) {
///     Err(Error::Missing | Error::Forbidden) => return, // no io_uring on this machine
///     reactor => reactor.unwrap(),
/// };
/// let handle = reactor.handle();
/// let other = std::thread::spawn(move || {
///     handle.post("hello").unwrap();
///     handle.submit(Request::new(Nop, |_| "from the kernel")).unwrap();
/// });
/// let mut events = Vec::new();
/// while events.len() < 2 {
///     reactor.turn(&mut events, None).unwrap(); // sleeps until something has happened
/// }
/// assert_eq!(events, ["hello", "from the kernel"]);
/// # other.join().unwrap();
/// ```
pub struct Handle<T: Send + 'static> {
    shared: Arc<Shared<T>>,
}

impl<T: Send + 'static> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T: Send + 'static> std::fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Handle<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared }
    }

    /// Puts an event into the reactor's stream, and wakes the reactor if it sleeps. What was taken here before a
    /// [shutdown](super::Reactor::shutdown) has come to its end, that hands out.
    ///
    /// # Errors
    /// [`Gone`], with the event, if the reactor is gone.
    pub fn post(&self, event: T) -> Result<Wakeup, Gone<T>> {
        self.shared.posted.try_publish_one(Posted::Event(event)).map_err(|Gone(posted)| match posted {
            Posted::Event(event) => Gone(event),
            Posted::Offloaded(..) | Posted::Commands => unreachable!("what comes back is what was given"),
        })
    }

    /// The same for a batch, with one wake decision.
    ///
    /// # Errors
    /// [`Gone`], with all of them, if the reactor is gone.
    pub fn post_all(&self, events: impl IntoIterator<Item = T>) -> Result<Wakeup, Gone<Vec<T>>> {
        let posted = self.shared.posted.try_publish(events.into_iter().map(Posted::Event));
        posted.map_err(|Gone(posted)| Gone(posted.into_iter().filter_map(Posted::event).collect()))
    }

    /// Has the reactor submit a request. When its submission queue is full, the reactor makes room.
    ///
    /// # Errors
    /// If the reactor is gone or shutting down; the request is dropped.
    pub fn submit(&self, request: Request<T>) -> Result<Ticket, Closed> {
        let ticket = Ticket::default();
        self.shared.command(Command::Submit(SmallVec::from_buf([(request, ticket.clone())])))?;
        Ok(ticket)
    }

    /// Has the reactor submit a chain, as [`Reactor::submit_linked`](super::Reactor::submit_linked) does.
    ///
    /// # Errors
    /// [`Error::ChainTooLong`], or [`Error::Closed`] if the reactor is gone or shutting down; the requests are dropped.
    pub fn submit_linked(&self, chain: impl IntoIterator<Item = Request<T>>) -> Result<Vec<Ticket>, Error> {
        let chain: SmallVec<[_; 1]> = link(chain).into_iter().map(|r| (r, Ticket::default())).collect();
        let tickets = chain.iter().map(|(_, ticket): &(_, Ticket)| ticket.clone()).collect();
        check_length(chain.len(), self.shared.capacity)?;
        if !chain.is_empty() {
            self.shared.command(Command::Submit(chain))?;
        }
        Ok(tickets)
    }

    /// Asks for the end of a request that was submitted through a handle of this reactor. It ends in its own
    /// completion, with `ECANCELED` or with what it came to before that.
    pub fn cancel(&self, ticket: &Ticket) {
        // A reactor that is gone has cancelled everything.
        let _ = self.shared.command(Command::Cancel(ticket.clone()));
    }

    /// The same reactor, for futures.
    pub fn into_async(self) -> AsyncHandle<T> {
        AsyncHandle::new(self)
    }

    /// Has the pool run a closure, for a future.
    pub(super) fn offload<R, F>(&self, work: Work, run: F) -> pool::Handle<R>
    where
        R: Send + 'static,
        F: FnOnce(&pool::Context<'_>) -> R + Send + 'static,
    {
        self.shared.submitter.spawn_witnessed(work, run, self.shared.out.clone())
    }
}

/// Whether a chain fits into the submission queue, through which it has to go in one piece.
pub(super) fn check_length(length: usize, capacity: usize) -> Result<(), Error> {
    if length > capacity { Err(Error::ChainTooLong { length, capacity }) } else { Ok(()) }
}
