//! Events whose making panics, operations that do, buffers and events whose destructors do, closures, iterators of what is posted.

use std::io::pipe;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use io_uring::{opcode, squeue, types};
use reveille::pool::{Shutdown, Work};
use reveille::uring::{
    Config, Done, Error, Handle, Multishot, Nop, Operation, Reactor, Read, Request, Timeout,
};

use super::{Dice, Item, PATIENCE, Tally, caught};

/// How many operations a reactor has before its end.
const OPERATIONS: u64 = 1000;

/// An hour, which no soak waits for.
const NEVER: Duration = Duration::from_secs(3600);

/// How many makers of events there were, how many of them were dropped or had panicked, and how many events came of the others.
#[derive(Default)]
struct Makers {
    begun: AtomicU64,
    without: AtomicU64,
    made: AtomicU64,
}

/// Makes one event, or none.
struct Maker {
    makers: Arc<Makers>,
    dice: Dice,
    item: Item,
    made: bool,
}

impl Maker {
    fn new(dice: &Dice, makers: &Arc<Makers>) -> Self {
        makers.begun.fetch_add(1, Relaxed);
        Self { makers: makers.clone(), dice: dice.clone(), item: dice.item(), made: false }
    }

    /// The last thing that it does, so that an event that was made is the reactor's.
    fn make(mut self) -> Item {
        self.dice.callback();
        let event = self.dice.item();
        self.made = true;
        // Its own item panics elsewhere, lest an event be lost that counts as made.
        self.item.unwinds = false;
        event
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        let count = if self.made { &self.makers.made } else { &self.makers.without };
        count.fetch_add(1, Relaxed);
    }
}

/// Nothing, by an operation that may panic when it is asked for its entry and when it has ended.
struct Rude(Dice, Item);

// SAFETY: there are no addresses in the entry.
unsafe impl Operation for Rude {
    type Output = Item;

    fn entry(&mut self) -> squeue::Entry {
        self.0.callback();
        opcode::Nop::new().build()
    }

    fn finish(self, _: Done) -> Item {
        self.0.callback();
        self.1
    }
}

/// Three ticks of a clock, each of which may panic.
struct Ticks(Dice, Box<types::Timespec>);

impl Ticks {
    const EACH: Duration = Duration::from_micros(20);
}

// SAFETY: the address in the entry is of a box that this owns and leaves alone.
unsafe impl Multishot for Ticks {
    type Item = Item;

    fn entry(&mut self) -> squeue::Entry {
        self.0.callback();
        opcode::Timeout::new(&*self.1).count(3).flags(types::TimeoutFlags::MULTISHOT).build()
    }

    fn shot(&self, _: Done) -> Item {
        self.0.callback();
        self.0.item()
    }
}

pub(super) fn run(dice: &Dice, operations: u64, deadline: Instant) -> Result<Tally, Error> {
    let mut tally = Tally::default();
    while tally.operations < operations && Instant::now() < deadline {
        of_one_reactor(dice, &mut tally)?;
    }
    Ok(tally)
}

fn of_one_reactor(dice: &Dice, tally: &mut Tally) -> Result<(), Error> {
    let makers = Arc::new(Makers::default());
    let mut reactor = Reactor::new(Config::default().submissions(8).completions(16))?;
    let mut events = Vec::new();
    let mut received = 0;
    let end = dice.roll(3);
    std::thread::scope(|scope| {
        let handle = reactor.handle();
        let other = scope.spawn({
            let makers = makers.clone();
            move || (0..OPERATIONS / 4).for_each(|_| from_outside(dice, &handle, &makers))
        });
        for _ in 0..OPERATIONS / 4 {
            for _ in 0..3 {
                // What is refused for a panic of its own is dropped, and so counted.
                if let Some(Err(error)) = caught(|| submit(dice, &mut reactor, &makers)) {
                    return Err(error);
                }
            }
            if let Some(Err(error)) = caught(|| reactor.turn(&mut events, Some(Duration::ZERO))) {
                return Err(error);
            }
            received += deliver(&mut events);
        }
        tally.check(other.join().is_ok(), || "the other thread panicked".into());
        Ok(())
    })?;
    let begun = makers.begun.load(Relaxed);
    let accounted = || makers.made.load(Relaxed) + makers.without.load(Relaxed);
    match end {
        0 => {
            let mut last = Instant::now();
            while accounted() < begun || received < makers.made.load(Relaxed) {
                // A time-out that heals no loss, in the time that a stall is given.
                if let Some(Err(error)) = caught(|| reactor.turn(&mut events, Some(PATIENCE))) {
                    return Err(error);
                }
                let more = deliver(&mut events);
                if more > 0 {
                    last = Instant::now();
                } else if last.elapsed() >= PATIENCE {
                    break;
                }
                received += more;
            }
            let made = makers.made.load(Relaxed);
            tally.check(received == made, || format!("{received} events of {made} came"));
            tally.check(caught(|| drop(reactor)).is_some(), || "the drop of a reactor panicked".into());
        }
        1 => {
            // Its panic is the caller's, and the end of the reactor.
            if let Some(Err(error)) = caught(|| reactor.shutdown(Shutdown::Cancel, &mut events)) {
                return Err(error);
            }
        }
        _ => tally.check(caught(|| drop(reactor)).is_some(), || "the drop of a reactor panicked".into()),
    }
    received += deliver(&mut events);
    // More may have begun meanwhile: ticks, each of which has its own.
    let [begun, made, without] =
        [&makers.begun, &makers.made, &makers.without].map(|count| count.load(Relaxed));
    tally.operations += begun;
    tally.check(made + without == begun, || format!("{made} events and {without} without make no {begun}"));
    tally.check(received <= made, || format!("{received} events came of {made}"));
    Ok(())
}

fn submit(dice: &Dice, reactor: &mut Reactor<Item>, makers: &Arc<Makers>) -> Result<(), Error> {
    let maker = Maker::new(dice, makers);
    let item = dice.item();
    match dice.roll(8) {
        0 => drop(reactor.submit(Request::new(Nop, move |_| maker.make()))?),
        1 => {
            let (reader, writer) = pipe()?;
            // The buffer is an item, and dropped in the making of the event.
            reactor.submit(Request::new(Read::new(reader, item), move |(_, buffer)| {
                drop(buffer);
                maker.make()
            }))?;
            drop(writer);
        }
        2 => {
            let token = reactor.submit(Request::new(Timeout::after(NEVER), move |_| maker.make()))?;
            reactor.cancel(token)?;
        }
        3 => {
            let soon = Timeout::after(Duration::from_micros(dice.roll(200)));
            reactor.submit(Request::new(soon, move |_| maker.make()))?;
        }
        4 => {
            let rude = Rude(dice.clone(), item);
            reactor.submit(Request::new(rude, move |item| {
                drop(item);
                maker.make()
            }))?;
        }
        5 => {
            let (ticks, dice, makers) =
                (Ticks(dice.clone(), Box::new(Ticks::EACH.into())), dice.clone(), makers.clone());
            // One maker for each tick; this one is not needed.
            drop(maker);
            reactor.submit(Request::multishot(ticks, move |shot| {
                drop(shot.item);
                Maker::new(&dice, &makers).make()
            }))?;
        }
        n => {
            let (running, settling) = (dice.clone(), dice.clone());
            let run = move |_: &reveille::pool::Context<'_>| {
                running.callback();
                drop(item);
                running.item()
            };
            let token = reactor.offload_cancellable(Work::BOUNDED, run, move |outcome| {
                settling.callback();
                drop(outcome);
                maker.make()
            });
            if n == 7 {
                token.cancel();
            }
        }
    }
    Ok(())
}

fn from_outside(dice: &Dice, handle: &Handle<Item>, makers: &Arc<Makers>) {
    caught(|| match dice.roll(3) {
        0 => {
            let maker = Maker::new(dice, makers);
            let ticket = handle.submit(Request::new(Nop, move |_| maker.make()));
            ticket.iter().filter(|_| dice.one_in(2)).for_each(|ticket| handle.cancel(ticket));
        }
        1 => {
            let event = Maker::new(dice, makers).make();
            drop(handle.post(event));
        }
        _ => {
            // Made when the whole batch is: of one that panics half way nothing is posted.
            let mut makers: Vec<_> = (0..dice.roll(4)).map(|_| Maker::new(dice, makers)).collect();
            let events = makers.iter().map(|_| {
                dice.callback();
                dice.item()
            });
            drop(handle.post_all(events));
            makers.iter_mut().for_each(|maker| maker.made = true); // each, before one panics when it is dropped
        }
    });
}

fn deliver(events: &mut Vec<Item>) -> u64 {
    let received = events.len() as u64;
    events.drain(..).for_each(|event| _ = caught(|| drop(event)));
    received
}
