//! The patch that this project began with: one flag for the queue, set before the entry is in it.

use reveille::gate::PerEntry;
use reveille::sync::Primitives;

use super::{Card, Form, discipline};
use crate::gates::Posted;
use crate::scenario::{Consumer, POLL_WAKE_LEGEND, PollWake, Scenario};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "posted",
    year: 2025,
    source: "\"io_uring: skip redundant poll wakeups\", the last of eight patches",
    needs: Needs::Interleaving,
    threads: 2,
    broke: &[discipline::FLAGS_PLACE, discipline::BARRIER_BETWEEN, discipline::ONE_FLAG_FOR_MANY],
    unseen: None,
    story: "\
A poller sets a flag and polls; a completion wakes only if it takes the flag. It was posted with the
remark that it looked so easy that it seemed suspicious, and was not merged. Review saw two ways to lose
a wakeup, and there are four. The flag is set before the entry is queued: a waker that still sees the
poller's last entry takes the flag, and the poller, back in the queue, sleeps without one (this
exhibit). Nothing orders the flag before the read of the ring when the entry is queued already. A
consumer that never polls again never sets it again. And the activation of a ring clears it. Besides,
one flag cannot stand for two waiters that are woken one at a time. Mended: the gate of this library,
with a mark in every entry. See also: reveille explain posted epoll-level; persistent; activation;
exclusive-pair.",
    legend: POLL_WAKE_LEGEND,
    main: "poller",
    owed: "a completion, which is in the ring",
};

pub(super) fn run<P: Primitives>(form: Form) {
    match form {
        Form::Losing => PollWake::<Posted>::new(Consumer::PollOnce).run::<P>(),
        Form::Mended => PollWake::<PerEntry>::new(Consumer::PollOnce).run::<P>(),
    }
}
