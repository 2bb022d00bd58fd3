//! A writer reads the pipe's head and then its tail: an empty pipe looks full.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use reveille::sync::{Atomic, JoinHandle, Mutex, Parker, Primitives};

use super::wait_queue_head::WaitQueueHead;
use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "pipe-torn",
    year: 2025,
    source: "Linux 3d252160b818",
    needs: Needs::Interleaving,
    threads: 2,
    broke: &[discipline::ONE_LOOK],
    unseen: None,
    story: "\
A writer finds the pipe full, queues itself and looks once more before it sleeps, without the pipe's
lock: it reads head, then tail, and compares their difference. Others write and read between the two
reads. Then tail has passed the old head, the difference wraps around, and an empty pipe looks full.
Readers wake a writer when they take something out of a full pipe; this one is empty, so nobody ever
does. Mended: both are read with one load.",
    legend: "head, tail  of the pipe, as one number: 32 is head 3, tail 2. It has two slots: full is 2 apart",
    main: "writer",
    owed: "room in the pipe, all of it",
};

const SLOTS: usize = 2;

struct Pipe<P: Primitives> {
    mutex: P::Mutex<()>,
    head_tail: P::Atomic,
    wr_wait: WaitQueueHead<P>,
}

/// The numbers are unsigned, as the kernel's.
fn is_full(head: usize, tail: usize) -> bool {
    head.wrapping_sub(tail) >= SLOTS
}

impl<P: Primitives> Pipe<P> {
    fn head_tail(&self) -> (usize, usize) {
        let both = self.head_tail.load(Relaxed);
        (both / 10, both % 10)
    }

    /// With the lock.
    fn write(&self) -> bool {
        self.mutex.with(|()| {
            let (head, tail) = self.head_tail();
            let has_room = !is_full(head, tail);
            if has_room {
                self.head_tail.store((head + 1) * 10 + tail, Relaxed);
            }
            has_room
        })
    }

    /// Takes all there is, with the lock, and then wakes a writer if the pipe was full.
    fn read(&self) {
        let was_full = self.mutex.with(|()| {
            let (head, tail) = self.head_tail();
            self.head_tail.store(head * 10 + head, Relaxed);
            is_full(head, tail)
        });
        if was_full {
            self.wr_wait.wake_up(1);
        }
    }

    /// Without the lock.
    fn is_writable(&self, form: Form) -> bool {
        let (head, tail) = match form {
            Form::Losing => {
                let (head, _) = self.head_tail();
                let (_, tail) = self.head_tail();
                (head, tail)
            }
            Form::Mended => self.head_tail(),
        };
        !is_full(head, tail)
    }
}

pub(super) fn run<P: Primitives>(form: Form) {
    let pipe = Arc::new(Pipe::<P> {
        mutex: P::Mutex::new("pipe", ()),
        head_tail: P::Atomic::new("head, tail", 20), // full
        wr_wait: WaitQueueHead::new(),
    });
    let others = P::spawn("others", {
        let pipe = pipe.clone();
        move || {
            pipe.read();
            pipe.write();
            pipe.read();
        }
    });
    let writer = Arc::new(P::Parker::new("writer"));
    while !pipe.write() {
        pipe.wr_wait.add(&writer, true);
        if !pipe.is_writable(form) {
            writer.park();
        }
        pipe.wr_wait.remove(&writer);
    }
    others.join().expect("no panic");
}
