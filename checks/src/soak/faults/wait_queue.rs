//! Looks that panic before and after they have taken what they looked for, and wakers that panic wherever they are called.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use reveille::sync::Native;
use reveille::wait_queue::{Kind, WaitQueue};

use super::{Dice, Item, Tally, caught, reaches, rude_thread};

const IN_FLIGHT: u64 = 64;
const CONSUMERS: u64 = 3;

/// Tokens, and who waits for one.
struct Store {
    queue: Arc<WaitQueue>,
    tokens: Mutex<VecDeque<Item>>,
    taken: AtomicU64,
    closed: AtomicBool,
    dice: Dice,
}

/// What a consumer comes by; `Closed` when there will be no more.
enum Found {
    Token(#[expect(dead_code, reason = "it is there to be dropped")] Item),
    Closed,
}

impl Store {
    fn look(&self) -> Option<Found> {
        self.dice.callback();
        let token = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        self.taken.fetch_add(u64::from(token.is_some()), Relaxed);
        let found = match token {
            Some(token) => Some(Found::Token(token)),
            None => self.closed.load(SeqCst).then_some(Found::Closed),
        };
        self.dice.callback();
        found
    }

    fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// Until it is closed. One token at a time, each awaited in another way.
    fn consume(&self) {
        loop {
            let found = match self.dice.roll(3) {
                0 => caught(|| self.queue.wait_until(Kind::Exclusive, || self.look())),
                1 => self.wait(),
                _ => self.poll(),
            };
            if let Some(Found::Closed) = found {
                return;
            }
            caught(|| drop(found));
        }
    }

    /// By hand. `None` if it gave up after a panic.
    fn wait(&self) -> Option<Found> {
        let mut waiter = self.queue.register(Kind::Exclusive, rude_thread(&self.dice));
        let found = loop {
            match caught(|| waiter.look(|| self.look())) {
                Some(Some(found)) => break Some(found),
                Some(None) => std::thread::park(),
                None if self.dice.one_in(2) => break None,
                None => {}
            }
            if self.dice.one_in(4) {
                let waker = rude_thread(&self.dice);
                caught(|| waiter.set_waker(&waker));
                caught(|| drop(waker));
            }
        };
        if self.dice.one_in(2) {
            caught(|| waiter.disarm());
        }
        caught(|| drop(waiter));
        found
    }

    /// As a future, which is polled again after a panic, or dropped.
    fn poll(&self) -> Option<Found> {
        let mut future = self.queue.until(Kind::Exclusive, || self.look());
        let mut waker = rude_thread(&self.dice);
        let found = loop {
            match caught(|| Pin::new(&mut future).poll(&mut Context::from_waker(&waker))) {
                Some(Poll::Ready(found)) => break Some(found),
                Some(Poll::Pending) => std::thread::park(),
                None if self.dice.one_in(2) => break None,
                None => {}
            }
            if self.dice.one_in(4) {
                let replaced = std::mem::replace(&mut waker, rude_thread(&self.dice));
                caught(|| drop(replaced));
            }
        };
        caught(|| drop(future));
        caught(|| drop(waker));
        found
    }
}

pub(super) fn run(dice: &Dice, operations: u64, deadline: Instant) -> Tally {
    let mut tally = Tally::default();
    let store = Arc::new(Store {
        queue: Arc::new(WaitQueue::<Native>::new()),
        tokens: Mutex::default(),
        taken: AtomicU64::new(0),
        closed: AtomicBool::new(false),
        dice: dice.clone(),
    });
    let consume = || {
        let store = store.clone();
        std::thread::spawn(move || store.consume())
    };
    let consumers: Vec<_> = (0..CONSUMERS).map(|_| consume()).collect();
    let mut put = 0;
    while put < operations && Instant::now() < deadline {
        if !reaches(put.saturating_sub(dice.roll(IN_FLIGHT)), || store.taken()) {
            break;
        }
        let n = 1 + dice.roll(4).min(operations - put - 1);
        let tokens: Vec<_> = (0..n).map(|_| dice.item()).collect();
        store.tokens.lock().unwrap_or_else(PoisonError::into_inner).extend(tokens);
        caught(|| if n == 1 { store.queue.notify_one() } else { store.queue.notify_many(n as usize) });
        put += n;
    }
    tally.operations = put;
    if !reaches(put, || store.taken()) {
        tally.faults.push(format!("stalled: {} of {put} tokens were taken", store.taken()));
    }
    store.closed.store(true, SeqCst);
    caught(|| store.queue.broadcast());
    for consumer in consumers {
        // One that sleeps for ever is left, and counted with the threads.
        let ended = reaches(1, || u64::from(consumer.is_finished()));
        tally
            .check(ended && consumer.join().is_ok(), || "a consumer sleeps for ever, or has panicked".into());
    }
    tally
}
