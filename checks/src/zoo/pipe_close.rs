//! The last writer closes, and wakes one of two readers.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};

use super::wait_queue_head::WaitQueueHead;
use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "pipe-close",
    year: 2020,
    source: "Linux \"pipe: make sure to wake up everybody when the last reader/writer closes\"",
    needs: Needs::Interleaving,
    threads: 3,
    broke: &[discipline::EXIT_WAKES_ALL],
    unseen: None,
    story: "\
Readers of a pipe became exclusive waiters, since one write is for one reader. The end of the last
writer went through the same wake, so one of them saw the end of the file and the others slept on. A
test of CRIU with two readers found it. Mended: when the count of readers or writers comes to zero,
everybody is woken.",
    legend: "",
    main: "last writer",
    owed: "the end of the file, to a reader",
};

pub(super) fn run<P: Primitives>(form: Form) {
    let pipe = Arc::new((P::Atomic::new("writers", 1), WaitQueueHead::<P>::new()));
    let reader = |name| {
        let pipe = pipe.clone();
        P::spawn(name, move || {
            let (writers, rd_wait) = &*pipe;
            let reader = Arc::new(P::Parker::new(name));
            while writers.load(Relaxed) > 0 {
                rd_wait.add(&reader, true);
                if writers.load(Relaxed) > 0 {
                    reader.park();
                }
                rd_wait.remove(&reader);
            }
        })
    };
    let readers = ["reader 1", "reader 2"].map(reader);
    let (writers, rd_wait) = &*pipe;
    writers.store(0, Relaxed);
    rd_wait.wake_up(if form == Form::Losing { 1 } else { usize::MAX });
    for reader in readers {
        reader.join().expect("no panic");
    }
}
