//! A child of a fork and its parent's ring. A binary of its own: nothing else runs when it forks.

use std::io::{self, Write as _, pipe};
use std::time::Duration;

use reveille::pool::{Outcome, Shutdown, Work};
use reveille::uring::{Config, Error, Full, Nop, Reactor, Read, Request, RingParker};

/// Runs `body` in a child, which must not hang, and says what it returned.
fn in_a_child(body: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs what follows, in its only thread, and exits without unwinding or cleaning up. Of the locks that other
    // threads may hold it uses none but the allocator's, which the C library looks after.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: as above; the alarm ends a child that hangs.
            unsafe {
                libc::alarm(60);
                libc::_exit(i32::from(!body()))
            }
        }
        child => {
            let mut status = 0;
            // SAFETY: the child is ours, and the pointer is to a local.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

fn forked<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Forked))
}

#[test]
fn a_child_is_refused_its_parents_reactor_and_the_parent_notices_nothing() {
    let mut reactor = match Reactor::<io::Result<usize>>::new(Config::default()) {
        Err(error @ (Error::Missing | Error::Forbidden | Error::LockedMemory | Error::TooOld(_))) => {
            return eprintln!("SKIPPED: {error}");
        }
        reactor => reactor.unwrap(),
    };
    let (reader, mut writer) = pipe().unwrap();
    let read = reactor.submit(Request::new(Read::new(reader, vec![0; 8]), |(n, _)| n)).unwrap();
    reactor.offload(Work::BOUNDED, |_| 0, |outcome: Outcome<usize>| Ok(outcome.done().unwrap()));
    let mut events = Vec::new();
    while events.is_empty() {
        reactor.turn(&mut events, None).unwrap(); // has a worker, and has submitted the read
    }
    reactor.turn(&mut events, Some(Duration::ZERO)).unwrap();
    let nop = || Request::new(Nop, |_| Ok(1));
    for drops in [false, true] {
        let refused = in_a_child(|| {
            // SAFETY: the child's copy, of which it makes no other; the parent has its own.
            let mut copy = unsafe { std::ptr::read(&raw const reactor) };
            let refused = forked(copy.turn(&mut Vec::new(), None))
                && forked(copy.submit(nop()))
                && forked(copy.submit_linked([nop(), nop()]))
                && forked(copy.cancel(read))
                && forked(copy.prepare_to_sleep())
                && matches!(copy.try_submit(nop()), Err(Full(_)));
            if drops {
                drop(copy);
                return refused;
            }
            refused && forked(copy.shutdown(Shutdown::Drain, &mut Vec::new()))
        });
        assert!(refused);
    }
    // A ring of its own a child may have.
    assert!(in_a_child(|| {
        let mut reactor = Reactor::new(Config::default()).unwrap();
        reactor.submit(nop()).unwrap();
        let mut events = Vec::new();
        while events.is_empty() {
            reactor.turn(&mut events, None).unwrap();
        }
        drop(reactor);
        events.len() == 1
    }));
    events.clear();
    reactor.submit(nop()).unwrap();
    while events.is_empty() {
        reactor.turn(&mut events, None).unwrap();
    }
    assert!(matches!(&events[..], [Ok(1)]), "the read goes on: {events:?}");
    writer.write_all(b"read").unwrap();
    while events.len() < 2 {
        reactor.turn(&mut events, None).unwrap();
    }
    assert!(matches!(&events[..], [Ok(1), Ok(4)]), "{events:?}");
    assert_eq!(reactor.counts().strays, 0);
    let parker = RingParker::new().unwrap();
    assert!(in_a_child(|| {
        // SAFETY: as above.
        let mut copy = unsafe { std::ptr::read(&raw const parker) };
        forked(copy.park())
    }));
}
