//! The reactor on the real kernel.

mod common;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read as _, Write as _, pipe};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{self, Context, Waker};
use std::time::{Duration, Instant};

use common::have;
use reveille::parker::FutexParker;
use reveille::pool::{self, Cancel, Outcome, Pool, Shutdown, Work};
use reveille::sync::Parker;
use reveille::uring::{
    Accept, Cancellation, Closed, Completing, Config, Error, Executor, Full, Gone, IoBufMut, LinkTimeout,
    Nop, Poll, PollFlags, Reactor, Read, Request, Shot, Sleep, Timeout, Wakes, Write,
};
use reveille::wait_queue::Wakeup;
use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

fn reactor_with<T: Send + 'static>(config: Config) -> Option<Reactor<T>> {
    have(Reactor::new(config))
}

fn executor() -> Option<Executor> {
    have(Executor::new(Config::default()))
}

fn reactor<T: Send + 'static>() -> Option<Reactor<T>> {
    reactor_with(Config::default())
}

/// Longer than anything takes that is not stuck, on a machine that others use too. What waits for it has failed.
const LONG: Duration = Duration::from_secs(120);

/// Turns until there are so many events.
fn collect<T: Send + 'static>(reactor: &mut Reactor<T>, events: usize) -> Vec<T> {
    let mut collected = Vec::new();
    while collected.len() < events {
        reactor.turn(&mut collected, None).unwrap();
    }
    collected
}

/// A poll that never ends, in the kernel by now, and the pipe into which nobody writes.
fn idle_poll(reactor: &mut Reactor<u32>) -> io::PipeWriter {
    let (reader, writer) = pipe().unwrap();
    let poll = Poll::new(OwnedFd::from(reader), PollFlags::IN);
    reactor.submit(Request::new(poll, |_| u32::MAX)).unwrap();
    reactor.turn(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
    writer
}

#[test]
fn a_reactor_that_waits_for_a_closure_yields_whether_the_kernel_has_requests_or_not() {
    let Some(mut reactor) = reactor::<u32>() else { return };
    let _writer = idle_poll(&mut reactor);
    reactor.offload(Work::BOUNDED, |_| 7, |outcome| outcome.done().unwrap());
    assert_eq!(collect(&mut reactor, 1), [7]);
    assert!(reactor.counts().yields > 0);
    assert_eq!(reactor.in_flight(), 1);
}

#[test]
fn a_reactor_yields_for_the_closure_of_a_future_too_and_before_a_sleep_in_an_epoll() {
    let Some(mut reactor) = reactor_with::<u32>(Config::default().sleep(Sleep::Elsewhere)) else { return };
    assert!(reactor.prepare_to_sleep().unwrap() && reactor.counts().yields == 0, "nothing is out");
    let (go, gone) = mpsc::channel();
    let answer = reactor.handle().into_async().offload(Work::BOUNDED, move |_| gone.recv());
    assert!(reactor.prepare_to_sleep().unwrap(), "it is out still");
    assert!(reactor.counts().yields > 0);
    go.send(7).unwrap();
    assert!(matches!(answer.wait(), Outcome::Done(Ok(7))));
}

#[test]
fn a_reactor_that_is_to_be_woken_always_hears_of_each_event_and_another_of_none_while_it_is_awake() {
    for (wakes, heard) in [(Wakes::Spared, 0), (Wakes::Always, 3)] {
        let Some(mut reactor) = reactor_with(Config::default().wakes(wakes)) else { return };
        let (handle, mut events) = (reactor.handle(), Vec::new());
        // From its first sleep on it has a place in the queue.
        reactor.turn(&mut events, Some(Duration::from_millis(1))).unwrap();
        for event in 0..3 {
            let expected = if heard == 0 { Wakeup::Skipped } else { Wakeup::Sent(1) };
            assert_eq!(handle.post(event), Ok(expected));
        }
        let begun = Instant::now();
        while (events.len() < 3 || reactor.counts().wakes < heard) && begun.elapsed() < LONG {
            reactor.turn(&mut events, Some(Duration::from_millis(1))).unwrap();
        }
        assert_eq!((&events[..], reactor.counts().posted), (&[0, 1, 2][..], 3));
        assert_eq!(reactor.counts().wakes, heard);
    }
}

#[test]
fn an_idle_reactor_with_a_request_in_the_kernel_sleeps_in_one_call() {
    let Some(mut reactor) = reactor::<u32>() else { return };
    let _writer = idle_poll(&mut reactor);
    let before = reactor.counts();
    let mut events = Vec::new();
    reactor.turn(&mut events, Some(Duration::from_millis(20))).unwrap();
    let now = reactor.counts();
    assert_eq!((now.enters - before.enters, now.yields), (1, 0));
    assert!(events.is_empty());
}

#[test]
fn a_completion_of_the_kernels_does_not_wait_for_a_closure() {
    let Some(mut reactor) = reactor::<u32>() else { return };
    let mut writer = idle_poll(&mut reactor);
    let (let_go, wait) = std::sync::mpsc::channel::<()>();
    reactor.offload(Work::BOUNDED, move |_| wait.recv().is_err(), |_| 1);
    writer.write_all(&[0]).unwrap();
    assert_eq!(collect(&mut reactor, 1), [u32::MAX]);
    drop(let_go);
    assert_eq!(collect(&mut reactor, 1), [1]);
}

/// The calling thread, as the system counts it.
fn thread_id() -> i32 {
    // SAFETY: the call has no preconditions.
    unsafe { libc::gettid() }
}

/// Waits until a thread of this process is asleep in `io_uring_enter`, however long it takes to get there. False, loudly, where the
/// system does not tell.
fn asleep_in_the_ring(thread: i32) -> bool {
    let enter = format!("{} ", libc::SYS_io_uring_enter);
    loop {
        match std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall")) {
            Ok(call) if call.starts_with(&enter) => return true,
            Ok(_) => std::thread::sleep(Duration::from_millis(1)), // it runs, or is to
            Err(error) => {
                eprintln!("INCONCLUSIVE: nobody says where a thread sleeps: {error}");
                return false;
            }
        }
    }
}

/// A file of the test's own, which is gone when it is closed.
fn scratch() -> Arc<File> {
    static NAMES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("reveille-{}-{}", std::process::id(), NAMES.fetch_add(1, SeqCst));
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    Arc::new(file)
}

fn errno(result: &io::Result<impl Sized>) -> Option<i32> {
    result.as_ref().err().and_then(io::Error::raw_os_error)
}

/// A buffer that tells when it is freed.
struct Watched {
    bytes: Vec<u8>,
    freed: Arc<AtomicUsize>,
}

impl AsMut<[u8]> for Watched {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

// SAFETY: no spare capacity.
unsafe impl IoBufMut for Watched {}

impl Drop for Watched {
    fn drop(&mut self) {
        self.freed.fetch_add(1, SeqCst);
    }
}

#[test]
fn what_was_written_to_a_file_is_read_back() {
    let Some(mut reactor) = reactor::<(io::Result<usize>, Vec<u8>)>() else { return };
    let file = scratch();
    reactor.submit(Request::new(Write::at(file.clone(), b"reveille".to_vec(), 3), |done| done)).unwrap();
    let (written, buffer) = collect(&mut reactor, 1).remove(0);
    assert_eq!((written.unwrap(), &buffer[..]), (8, &b"reveille"[..]));
    reactor.submit(Request::new(Read::at(file.clone(), vec![1; 12], 2), |done| done)).unwrap();
    let (read, buffer) = collect(&mut reactor, 1).remove(0);
    assert_eq!(read.unwrap(), 9);
    assert_eq!(&buffer[..], b"\0reveille\x01\x01\x01");
    // Where the file stands: at its beginning, and then behind what was read.
    for expected in [b"\0\0\0rev", b"eille\x01"] {
        reactor.submit(Request::new(Read::new(file.clone(), vec![1; 6]), |done| done)).unwrap();
        assert_eq!(collect(&mut reactor, 1).remove(0).1, expected);
    }
}

#[test]
fn a_read_of_an_empty_pipe_ends_when_somebody_writes() {
    let Some(mut reactor) = reactor::<(io::Result<usize>, Vec<u8>)>() else { return };
    let (reader, mut writer) = pipe().unwrap();
    reactor.submit(Request::new(Read::new(reader, vec![0; 8]), |done| done)).unwrap();
    let mut events = Vec::new();
    reactor.turn(&mut events, Some(Duration::from_millis(5))).unwrap();
    assert!(events.is_empty(), "nobody has written");
    let other = std::thread::spawn(move || writer.write_all(b"wake").unwrap());
    let (read, buffer) = collect(&mut reactor, 1).remove(0);
    assert_eq!(&buffer[..read.unwrap()], b"wake");
    other.join().unwrap();
}

#[test]
fn a_connection_on_loopback_is_accepted_read_and_answered() {
    enum Event {
        Accepted(io::Result<OwnedFd>),
        Received(io::Result<usize>, Vec<u8>),
        Sent(io::Result<usize>),
    }
    let Some(mut reactor) = reactor::<Event>() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"ping").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap(); // until the reactor closes
        answer
    });
    reactor.submit(Request::new(Accept::new(listener), Event::Accepted)).unwrap();
    let mut stream = None;
    let mut events = Vec::new();
    'served: loop {
        reactor.turn(&mut events, None).unwrap();
        for event in events.drain(..) {
            let request = match event {
                Event::Accepted(accepted) => {
                    let accepted = Arc::new(accepted.unwrap());
                    stream = Some(accepted.clone());
                    Request::new(Read::new(accepted, vec![0; 64]), |(n, buffer)| Event::Received(n, buffer))
                }
                Event::Received(received, mut buffer) => {
                    buffer.truncate(received.unwrap());
                    buffer.extend(b" pong");
                    Request::new(Write::new(stream.take().unwrap(), buffer), |(n, _)| Event::Sent(n))
                }
                Event::Sent(sent) => {
                    assert_eq!(sent.unwrap(), 9);
                    break 'served; // the operation was the last to hold the stream
                }
            };
            reactor.submit(request).unwrap();
        }
    }
    assert_eq!(client.join().unwrap(), "ping pong");
}

#[test]
fn timeouts_end_in_the_order_of_their_times() {
    let Some(mut reactor) = reactor::<u64>() else { return };
    pin(0); // so that the timers are of one CPU, which has them expire in their order
    for _ in 0..20 {
        let begun = Instant::now();
        for millis in [30, 10, 20] {
            let timeout = Timeout::after(Duration::from_millis(millis));
            let event = move |passed: io::Result<()>| passed.map(|()| millis).unwrap();
            reactor.submit(Request::new(timeout, event)).unwrap();
        }
        let mut events = Vec::new();
        reactor.turn(&mut events, Some(Duration::ZERO)).unwrap();
        let submitted = begun.elapsed();
        events.extend(collect(&mut reactor, 3 - events.len()));
        assert!(begun.elapsed() >= Duration::from_millis(30));
        // A clock begins with the submission of its request, and between two of them anything may take the CPU away.
        if submitted < Duration::from_millis(10) {
            return assert_eq!(events, [10, 20, 30]);
        }
    }
    eprintln!("INCONCLUSIVE: three requests never went to the kernel within 10 ms");
}

#[test]
fn a_turn_sleeps_no_longer_than_it_is_told() {
    let Some(mut reactor) = reactor::<()>() else { return };
    let begun = Instant::now();
    reactor.turn(&mut Vec::new(), Some(Duration::from_millis(10))).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(10));
    let sleeps = reactor.counts().sleeps;
    reactor.turn(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.counts().sleeps, sleeps);
}

#[test]
fn a_cancelled_request_ends_as_cancelled_and_its_buffer_comes_back() {
    let Some(mut reactor) = reactor::<(io::Result<usize>, Vec<u8>)>() else { return };
    let (reader, _writer) = pipe().unwrap();
    let token = reactor.submit(Request::new(Read::new(reader, vec![7; 8]), |done| done)).unwrap();
    assert_eq!(reactor.cancel(token).unwrap(), Cancellation::Asked);
    let (read, buffer) = collect(&mut reactor, 1).remove(0);
    assert_eq!(errno(&read), Some(libc::ECANCELED));
    assert_eq!(buffer, [7; 8]);
    assert_eq!(reactor.cancel(token).unwrap(), Cancellation::NotFound);
    assert_eq!(reactor.in_flight(), 0);
}

#[test]
fn an_old_token_does_not_cancel_the_request_that_took_its_place() {
    let Some(mut reactor) = reactor::<()>() else { return };
    let old = reactor.submit(Request::new(Nop, |_| ())).unwrap();
    collect(&mut reactor, 1);
    let (reader, _writer) = pipe().unwrap();
    let new = reactor.submit(Request::new(Read::new(reader, vec![0]), |_| ())).unwrap();
    assert_ne!(old, new);
    assert_eq!(reactor.cancel(old).unwrap(), Cancellation::NotFound);
    assert_eq!(reactor.in_flight(), 1);
}

#[test]
fn a_completion_queue_that_overflows_loses_nothing_and_keeps_the_order() {
    const REQUESTS: usize = 500;
    let Some(mut reactor) = reactor_with::<usize>(Config::default().submissions(4).completions(4)) else {
        return;
    };
    for i in 0..REQUESTS {
        reactor.submit(Request::new(Nop, move |_| i)).unwrap();
    }
    let events = collect(&mut reactor, REQUESTS);
    assert_eq!(events, Vec::from_iter(0..REQUESTS));
    assert!(reactor.counts().overflows > 0, "that was the point");
    assert_eq!(reactor.in_flight(), 0);
}

#[test]
fn a_full_submission_queue_gives_the_request_back_or_makes_room() {
    let Some(mut reactor) = reactor_with::<usize>(Config::default().submissions(2)) else { return };
    let request = |i| Request::new(Nop, move |_| i);
    assert!(reactor.try_submit(request(0)).is_ok());
    assert!(reactor.try_submit(request(1)).is_ok());
    let Err(Full(back)) = reactor.try_submit(request(2)) else { panic!("there is room for two") };
    assert_eq!(reactor.counts().enters, 0);
    reactor.submit(back).unwrap();
    assert_eq!(reactor.counts().enters, 1, "the first two made room");
    assert_eq!(collect(&mut reactor, 3), [0, 1, 2]);
}

#[test]
fn a_chain_runs_in_order() {
    let Some(mut reactor) = reactor::<(usize, io::Result<usize>, Vec<u8>)>() else { return };
    let file = scratch();
    let event = |i| move |(n, buffer): (io::Result<usize>, Vec<u8>)| (i, n, buffer);
    let chain = [
        // In a worker, so that what comes after has every chance to overtake it.
        Request::new(Write::at(file.clone(), vec![b'a'; 4], 0), event(0)).in_worker(),
        Request::new(Write::at(file.clone(), vec![b'b'; 2], 1), event(1)).in_worker(),
        Request::new(Read::at(file, vec![0; 4], 0), event(2)),
    ];
    assert_eq!(reactor.submit_linked(chain).unwrap().len(), 3);
    let events = collect(&mut reactor, 3);
    assert_eq!(events.iter().map(|event| event.0).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(events[2].2, b"abba");
}

#[test]
fn when_a_link_of_a_chain_fails_the_rest_is_cancelled() {
    let Some(mut reactor) = reactor::<(usize, Option<i32>)>() else { return };
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let chain = [
        Request::new(Write::new(writer, b"nobody reads"), |(n, _)| (0, errno(&n))),
        Request::new(Nop, |done| (1, errno(&done))),
    ];
    reactor.submit_linked(chain).unwrap();
    let mut events = collect(&mut reactor, 2);
    events.sort();
    assert_eq!(events, [(0, Some(libc::EPIPE)), (1, Some(libc::ECANCELED))]);
}

#[test]
fn a_linked_timeout_bounds_the_request_before_it() {
    let Some(mut reactor) = reactor::<(&str, Option<i32>)>() else { return };
    let (reader, _writer) = pipe().unwrap();
    let chain = [
        Request::new(Read::new(reader, vec![0; 8]), |(n, _)| ("read", errno(&n))),
        Request::new(LinkTimeout::after(Duration::from_millis(5)), |passed| ("timeout", errno(&passed))),
    ];
    reactor.submit_linked(chain).unwrap();
    let mut events = collect(&mut reactor, 2);
    events.sort();
    assert_eq!(events, [("read", Some(libc::ECANCELED)), ("timeout", None)]);
}

#[test]
fn a_chain_that_cannot_go_in_one_piece_is_refused() {
    let Some(mut reactor) = reactor_with::<()>(Config::default().submissions(2)) else { return };
    let chain = || (0..3).map(|_| Request::new(Nop, |_| ()));
    assert!(matches!(reactor.submit_linked(chain()), Err(Error::ChainTooLong { length: 3, capacity: 2 })));
    assert!(matches!(
        reactor.handle().submit_linked(chain()),
        Err(Error::ChainTooLong { length: 3, capacity: 2 })
    ));
    assert_eq!(reactor.in_flight(), 0);
}

#[test]
fn a_multishot_accept_takes_connection_after_connection_until_it_is_cancelled() {
    let Some(mut reactor) = reactor::<Shot<io::Result<OwnedFd>>>() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let token = reactor.submit(Request::multishot(Accept::new(listener), |shot| shot)).unwrap();
    for _ in 0..3 {
        let _client = TcpStream::connect(address).unwrap();
        let shot = collect(&mut reactor, 1).remove(0);
        if let (Some(libc::EINVAL), true) = (errno(&shot.item), shot.last) {
            return eprintln!("SKIPPED: this kernel has no multishot accept");
        }
        assert!(shot.item.is_ok() && !shot.last, "{shot:?}");
    }
    reactor.cancel(token).unwrap();
    let shot = collect(&mut reactor, 1).remove(0);
    assert!(shot.last);
    assert_eq!(errno(&shot.item), Some(libc::ECANCELED));
    assert_eq!(reactor.in_flight(), 0);
}

#[test]
fn a_multishot_poll_reports_each_time_that_a_pipe_becomes_readable() {
    let Some(mut reactor) = reactor::<Shot<io::Result<PollFlags>>>() else { return };
    let (mut reader, mut writer) = pipe().unwrap();
    let watched = reader.try_clone().unwrap();
    reactor.submit(Request::multishot(Poll::new(watched, PollFlags::IN), |shot| shot)).unwrap();
    for _ in 0..3 {
        writer.write_all(b"x").unwrap();
        let shot = collect(&mut reactor, 1).remove(0);
        assert!(shot.item.unwrap().contains(PollFlags::IN) && !shot.last);
        reader.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn requests_and_events_from_other_threads_all_arrive() {
    const THREADS: usize = 4;
    const EACH: usize = 2_000;
    let Some(mut reactor) = reactor::<usize>() else { return };
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let handle = reactor.handle();
            std::thread::spawn(move || {
                for i in (0..EACH).map(|i| thread * EACH + i) {
                    match i % 2 {
                        0 => drop(handle.submit(Request::new(Nop, move |_| i)).unwrap()),
                        _ => drop(handle.post(i).unwrap()),
                    }
                }
            })
        })
        .collect();
    let mut events = collect(&mut reactor, THREADS * EACH);
    events.sort();
    assert_eq!(events, Vec::from_iter(0..THREADS * EACH));
    for thread in threads {
        thread.join().unwrap();
    }
    reactor.turn(&mut events, Some(Duration::ZERO)).unwrap();
    assert_eq!(events.len(), THREADS * EACH, "and only once");
}

#[test]
fn a_chain_and_a_cancellation_from_another_thread_do_as_from_its_own() {
    let Some(mut reactor) = reactor::<(usize, Option<i32>)>() else { return };
    let (reader, _writer) = pipe().unwrap();
    let handle = reactor.handle();
    let other = std::thread::spawn(move || {
        let chain = [
            Request::new(Read::new(reader, vec![0]), |(n, _)| (0, errno(&n))),
            Request::new(Nop, |done| (1, errno(&done))),
        ];
        let tickets = handle.submit_linked(chain).unwrap();
        handle.cancel(&tickets[0]);
    });
    let mut events = collect(&mut reactor, 2);
    events.sort();
    assert_eq!(events, [(0, Some(libc::ECANCELED)), (1, Some(libc::ECANCELED))]);
    other.join().unwrap();
}

#[test]
fn nobody_rings_while_the_reactor_is_awake() {
    let Some(mut reactor) = reactor::<u8>() else { return };
    let handle = reactor.handle();
    assert_eq!(handle.post(1).unwrap(), Wakeup::Skipped, "it has never slept");
    let mut events = collect(&mut reactor, 1);
    // A sleep that the kernel ends, with nobody having rung.
    reactor.submit(Request::new(Timeout::after(Duration::from_millis(1)), |_| 2)).unwrap();
    events.extend(collect(&mut reactor, 1));
    assert!(reactor.counts().sleeps > 0);
    assert_eq!(handle.post(3).unwrap(), Wakeup::Skipped, "it is awake");
    // A sleep that a post ends.
    events.extend(collect(&mut reactor, 1));
    let other = std::thread::spawn({
        let (handle, reactor) = (handle.clone(), thread_id());
        move || (asleep_in_the_ring(reactor), handle.post(4).unwrap())
    });
    events.extend(collect(&mut reactor, 1));
    let (asleep, wakeup) = other.join().unwrap();
    if !asleep {
        return;
    }
    assert_eq!(wakeup, Wakeup::Sent(1));
    assert_eq!(handle.post(5).unwrap(), Wakeup::Skipped, "it is awake again");
    events.extend(collect(&mut reactor, 1));
    assert_eq!(events, [1, 2, 3, 4, 5]);
    assert_eq!(reactor.counts().wakes, 1);
}

#[test]
fn what_is_at_hand_is_taken_without_a_system_call() {
    let Some(mut reactor) = reactor::<usize>() else { return };
    let handle = reactor.handle();
    for i in 0..100 {
        handle.post(i).unwrap();
        reactor.turn(&mut Vec::new(), None).unwrap();
    }
    assert_eq!(reactor.counts().enters, 0);
}

#[test]
fn an_interrupted_sleep_is_an_early_return() {
    extern "C" fn ignore(_: libc::c_int) {}
    let Some(mut reactor) = reactor::<()>() else { return };
    // SAFETY: the handler does nothing. No SA_RESTART.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
    let (process, thread) = (std::process::id(), thread_id());
    let over = Arc::new(AtomicUsize::new(0));
    let other = std::thread::spawn({
        let over = over.clone();
        move || {
            while over.load(SeqCst) == 0 {
                std::thread::sleep(Duration::from_millis(5));
                // SAFETY: the thread lives until it has joined us.
                unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1) };
            }
        }
    });
    let begun = Instant::now();
    let mut events = Vec::new();
    // The first turn submits something, and then the kernel does not mention the signal.
    for _ in 0..3 {
        reactor.turn(&mut events, Some(LONG)).unwrap();
    }
    over.store(1, SeqCst);
    other.join().unwrap();
    assert!(events.is_empty() && begun.elapsed() < LONG);
}

#[test]
fn an_epoll_hears_of_the_kernel_and_of_other_threads() {
    use rustix::event::epoll;
    let Some(mut reactor) = reactor_with::<u32>(Config::default().sleep(Sleep::Elsewhere)) else { return };
    assert_ne!(reactor.completing(), Completing::Deferred, "an epoll on such a ring sleeps for ever");
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let fd = reactor.poll_fd().expect("it was set up for that");
    epoll::add(&poll, fd, epoll::EventData::new_u64(1), epoll::EventFlags::IN).unwrap();

    // The kernel's part of a completion interrupts the wait; the next one finds the reactor readable.
    let sleep = || {
        let mut ready = Vec::with_capacity(4);
        let mut wait = || epoll::wait(&poll, rustix::buffer::spare_capacity(&mut ready), None);
        while wait() == Err(Errno::INTR) {}
    };
    let handle = reactor.handle();
    let mut events = Vec::new();
    // A sleep for which there is nothing at hand, ended by a post, and one ended by the kernel.
    assert!(reactor.prepare_to_sleep().unwrap());
    assert_eq!(handle.post(2_000).unwrap(), Wakeup::Sent(1));
    sleep();
    reactor.turn(&mut events, Some(Duration::ZERO)).unwrap();
    let (reader, mut writer) = pipe().unwrap();
    reactor.submit(Request::new(Read::new(reader, vec![0]), |_| 2_001)).unwrap();
    while !reactor.prepare_to_sleep().unwrap() {
        reactor.turn(&mut events, Some(Duration::ZERO)).unwrap(); // hears of the bell
    }
    writer.write_all(b"x").unwrap();
    sleep();
    reactor.turn(&mut events, Some(Duration::ZERO)).unwrap();
    assert_eq!(std::mem::take(&mut events), [2_000, 2_001]);

    let other = std::thread::spawn(move || {
        for i in 0..50 {
            std::thread::sleep(Duration::from_micros(300));
            handle.post(1_000 + i).unwrap();
        }
    });
    for i in 0..50 {
        let timeout = Timeout::after(Duration::from_micros(200));
        reactor.submit(Request::new(timeout, move |_| i)).unwrap();
        while !events.contains(&i) || i == 49 && events.len() < 100 {
            if reactor.prepare_to_sleep().unwrap() {
                sleep();
            }
            reactor.turn(&mut events, Some(Duration::ZERO)).unwrap();
        }
    }
    other.join().unwrap();
    events.sort();
    assert_eq!(events, Vec::from_iter((0..50).chain(1_000..1_050)));
    assert_eq!(reactor.counts().sleeps, 0, "it slept in the epoll only");
}

#[test]
fn a_ring_that_an_epoll_would_not_hear_of_gives_no_fd_to_poll() {
    let Some(reactor) = reactor::<()>() else { return };
    assert!(reactor.poll_fd().is_none());
}

/// Reads of pipes that nobody writes to: one in the kernel's poll, one in its workers, and one that is not submitted
/// yet.
fn reads_in_flight(reactor: &mut Reactor<usize>, freed: &Arc<AtomicUsize>) -> Vec<io::PipeWriter> {
    let mut writers = Vec::new();
    for i in 0..3 {
        let (reader, writer) = pipe().unwrap();
        writers.push(writer);
        let buffer = Watched { bytes: vec![0; 4096], freed: freed.clone() };
        let request = Request::new(Read::new(reader, buffer), move |_| i);
        reactor.submit(if i == 1 { request.in_worker() } else { request }).unwrap();
        if i < 2 {
            reactor.turn(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
        }
    }
    writers
}

#[test]
fn dropping_a_reactor_with_requests_in_flight_frees_each_buffer_once() {
    let freed = Arc::new(AtomicUsize::new(0));
    let Some(mut reactor) = reactor::<usize>() else { return };
    let handle = reactor.handle();
    let writers = reads_in_flight(&mut reactor, &freed);
    assert_eq!(freed.load(SeqCst), 0);
    drop(reactor);
    assert_eq!(freed.load(SeqCst), 3);
    assert!(handle.submit(Request::new(Nop, |_| 0)).is_err());
    assert_eq!(handle.post(1), Err(Gone(1)));
    drop(writers);
}

#[test]
fn dropping_handles_files_and_reactors_in_any_order_frees_everything() {
    for order in 0..6 {
        let freed = Arc::new(AtomicUsize::new(0));
        let Some(mut reactor) = reactor::<usize>() else { return };
        let handle = reactor.handle();
        let writers = reads_in_flight(&mut reactor, &freed);
        // What the reactor has not even looked at: a request on the list of commands, and an event with a buffer.
        let (reader, _writer) = pipe().unwrap();
        let buffer = Watched { bytes: vec![0; 16], freed: freed.clone() };
        handle.submit(Request::new(Read::new(reader, buffer), |_| 3)).unwrap();
        match order {
            0 => (drop(reactor), drop(handle), drop(writers)).0,
            1 => (drop(reactor), drop(writers), drop(handle)).0,
            2 => (drop(handle), drop(reactor), drop(writers)).0,
            3 => (drop(handle), drop(writers), drop(reactor)).0,
            4 => (drop(writers), drop(reactor), drop(handle)).0,
            _ => (drop(writers), drop(handle), drop(reactor)).0,
        }
        assert_eq!(freed.load(SeqCst), 4, "in order {order}");
    }
}

#[test]
fn an_accepted_connection_that_nobody_took_is_closed_with_the_reactor() {
    let Some(mut reactor) = reactor::<()>() else { return };
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    reactor.submit(Request::new(Accept::new(listener.clone()), drop)).unwrap();
    reactor.turn(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    drop(reactor); // whose accept has come to a socket, which is in its completion queue
    // If it has not yet, because the network takes its time, the connection is reset with the listener.
    drop(listener);
    client.set_read_timeout(Some(LONG)).unwrap();
    match client.read(&mut [0; 1]) {
        Ok(read) => assert_eq!(read, 0, "the other end is closed"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

#[test]
fn a_shutdown_that_cancels_hands_out_every_event() {
    let freed = Arc::new(AtomicUsize::new(0));
    let Some(mut reactor) = reactor::<usize>() else { return };
    let _writers = reads_in_flight(&mut reactor, &freed);
    // Not looked at yet, and so never done.
    reactor.handle().submit(Request::new(Nop, |_| usize::MAX)).unwrap();
    const POSTED: usize = 10_000; // more than a turn takes
    reactor.handle().post_all(3..POSTED).unwrap();
    let mut events = Vec::new();
    reactor.shutdown(Shutdown::Cancel, &mut events).unwrap();
    events.sort();
    assert_eq!(events, Vec::from_iter(0..POSTED));
    assert_eq!(freed.load(SeqCst), 3);
}

#[test]
fn a_shutdown_that_drains_lets_requests_come_to_their_end() {
    let Some(mut reactor) = reactor::<(&str, bool)>() else { return };
    let timeout = || Timeout::after(Duration::from_millis(20));
    reactor.submit(Request::new(timeout(), |passed| ("once", passed.is_ok()))).unwrap();
    // From a handle, and not looked at yet.
    reactor.handle().submit(Request::new(timeout(), |passed| ("late", passed.is_ok()))).unwrap();
    let (reader, _writer) = pipe().unwrap();
    let endless = Request::multishot(Poll::new(reader, PollFlags::IN), |shot| ("endless", shot.item.is_ok()));
    reactor.submit(endless).unwrap();
    let mut events = Vec::new();
    reactor.shutdown(Shutdown::Drain, &mut events).unwrap();
    events.sort();
    assert_eq!(events, [("endless", false), ("late", true), ("once", true)]);
}

/// Runs `body` in a thread for which a system call fails with `errno`, as under a seccomp profile: each time, or when
/// its second argument is this one. For `io_uring_enter` that is the number of requests to submit.
fn failing<R: Send + 'static>(
    call: libc::c_long,
    second: Option<u32>,
    errno: i32,
    body: impl FnOnce() -> R + Send + 'static,
) -> Option<R> {
    const NUMBER: u32 = std::mem::offset_of!(libc::seccomp_data, nr) as u32;
    const SECOND: u32 = (std::mem::offset_of!(libc::seccomp_data, args) + size_of::<u64>()) as u32;
    std::thread::spawn(move || {
        let op = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
        let load = |offset| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
        let skip_unless = |k, n| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, n, k);
        let ret = |k| op(libc::BPF_RET | libc::BPF_K, 0, 0, k);
        let fail = ret(libc::SECCOMP_RET_ERRNO | errno as u32);
        let mut filter = match second {
            None => vec![load(NUMBER), skip_unless(call as u32, 1), fail],
            Some(second) => vec![
                load(NUMBER),
                skip_unless(call as u32, 3),
                load(SECOND), // the lower half, on the machines that have io_uring and this test's byte order
                skip_unless(second, 1),
                fail,
            ],
        };
        filter.push(ret(libc::SECCOMP_RET_ALLOW));
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: the program is well formed and outlives the call; it binds this thread only, which ends soon.
        let installed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
        };
        if !installed {
            eprintln!("SKIPPED: seccomp is not to be had: {}", io::Error::last_os_error());
        }
        installed.then(body)
    })
    .join()
    .unwrap()
}

#[test]
fn completions_that_had_to_be_taken_to_make_room_come_with_the_next_turn() {
    if reactor::<()>().is_none() {
        return;
    }
    failing(libc::SYS_io_uring_enter, Some(4), libc::EBUSY, || {
        let mut reactor = reactor_with::<usize>(Config::default().submissions(4)).unwrap();
        let request = |i| Request::new(Nop, move |_| i);
        (0..2).for_each(|i| assert!(reactor.submit(request(i)).is_ok()));
        assert!(!reactor.prepare_to_sleep().unwrap(), "the two are in the completion queue");
        (2..6).for_each(|i| assert!(reactor.submit(request(i)).is_ok()));
        // The kernel says that completions have to be taken first. They are; but this kernel says it again.
        let refused = reactor.submit(request(6));
        assert!(matches!(&refused, Err(Error::Other(error)) if error.raw_os_error() == Some(libc::EBUSY)));
        let mut events = Vec::new();
        reactor.turn(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events, [0, 1]);
        std::mem::forget(reactor); // it would wait for the four
    });
}

#[test]
fn events_that_were_made_to_make_room_outlast_one_that_panics() {
    if reactor::<()>().is_none() {
        return;
    }
    failing(libc::SYS_io_uring_enter, Some(4), libc::EBUSY, || {
        let mut reactor = reactor_with::<usize>(Config::default().submissions(4)).unwrap();
        let panics = |_: io::Result<()>| std::panic::resume_unwind(Box::new("on purpose"));
        reactor.submit(Request::new(Nop, |_| 0)).unwrap();
        reactor.submit(Request::new(Nop, panics)).unwrap();
        assert!(!reactor.prepare_to_sleep().unwrap(), "the two are in the completion queue");
        (2..6).for_each(|i| assert!(reactor.submit(Request::new(Nop, move |_| i)).is_ok()));
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            reactor.submit(Request::new(Nop, |_| 6)).map(drop)
        }));
        assert!(refused.is_err());
        let mut events = Vec::new();
        reactor.turn(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events, [0]);
        std::mem::forget(reactor); // it would wait for the four
    });
}

#[test]
fn what_a_broken_ring_may_still_write_to_is_leaked_and_not_freed() {
    if reactor::<()>().is_none() {
        return;
    }
    let freed = Arc::new(AtomicUsize::new(0));
    let buffer = Watched { bytes: vec![0; 16], freed: freed.clone() };
    failing(libc::SYS_io_uring_enter, Some(2), libc::EIO, || {
        let mut reactor = reactor::<()>().unwrap();
        let (reader, writer) = pipe().unwrap();
        reactor.submit(Request::new(Read::new(reader, buffer), drop)).unwrap();
        reactor.turn(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
        drop(reactor); // cannot submit two requests: the cancellation, and the read of the eventfd
        drop(writer);
    });
    assert_eq!(freed.load(SeqCst), 0);
}

#[test]
fn completions_that_the_kernel_lost_are_an_error_of_their_own() {
    if reactor::<()>().is_none() {
        return;
    }
    failing(libc::SYS_io_uring_enter, Some(1), libc::EBADR, || {
        let mut reactor = reactor::<()>().unwrap();
        reactor.submit(Request::new(Nop, |_| ())).unwrap();
        let turned = reactor.turn(&mut Vec::new(), Some(Duration::ZERO));
        assert!(matches!(turned, Err(Error::CompletionsLost)), "{turned:?}");
    });
}

#[test]
fn the_error_says_what_to_do_where_there_is_no_io_uring() {
    let cases = [
        (libc::ENOSYS, "CONFIG_IO_URING"),
        (libc::EPERM, "/proc/sys/kernel/io_uring_disabled"),
        (libc::ENOMEM, "ulimit -l"),
        (libc::EMFILE, "open files"),
    ];
    for (errno, advice) in cases {
        let Some(result) = failing(libc::SYS_io_uring_setup, None, errno, || {
            let error = Reactor::<()>::new(Config::default()).err().expect("it was refused");
            let kind = match error {
                Error::Missing => libc::ENOSYS,
                Error::Forbidden => libc::EPERM,
                Error::LockedMemory => libc::ENOMEM,
                Error::Other(ref error) => error.raw_os_error().unwrap(),
                ref other => panic!("{other:?}"),
            };
            (kind, error.to_string())
        }) else {
            return;
        };
        assert_eq!(result.0, errno, "{}", result.1);
        assert!(result.1.contains(advice), "{}", result.1);
        assert_eq!(result.1.lines().count(), 1);
    }
}

#[test]
fn futures_of_the_reactors_own_executor_run_while_one_of_them_waits() {
    let Some(mut executor) = executor() else { return };
    let (ring, spawner) = (executor.handle(), executor.spawner());
    let (reader, writer) = pipe().unwrap();
    let log = Rc::new(RefCell::new(Vec::new()));
    let answer = executor.block_on({
        let log = log.clone();
        async move {
            spawner.spawn({
                let (ring, log) = (ring.clone(), log.clone());
                async move {
                    ring.submit(Timeout::after(Duration::from_millis(2))).await.unwrap().unwrap();
                    log.borrow_mut().push("written");
                    ring.submit(Write::new(writer, b"wake")).await.unwrap().0.unwrap();
                }
            });
            let (n, buffer) = ring.submit(Read::new(reader, vec![0; 8])).await.unwrap();
            log.borrow_mut().push("read");
            buffer[..n.unwrap()].to_vec()
        }
    });
    assert_eq!(answer.unwrap(), b"wake");
    assert_eq!(*log.borrow(), ["written", "read"]);
}

#[test]
fn a_task_that_has_not_ended_goes_on_in_the_next_call_or_is_dropped_with_the_executor() {
    struct Guard(Rc<RefCell<u32>>);
    impl Drop for Guard {
        fn drop(&mut self) {
            *self.0.borrow_mut() += 1;
        }
    }
    let Some(mut executor) = executor() else { return };
    let (ring, spawner) = (executor.handle(), executor.spawner());
    let dropped = Rc::new(RefCell::new(0));
    let steps = Rc::new(RefCell::new(0));
    spawner.spawn({
        let (ring, steps, guard) = (ring.clone(), steps.clone(), Guard(dropped.clone()));
        async move {
            let _guard = guard;
            loop {
                *steps.borrow_mut() += 1;
                ring.submit(Nop).await.unwrap().unwrap();
            }
        }
    });
    for _ in 0..5 {
        let before = *steps.borrow();
        let ring = ring.clone();
        // The two take turns, whatever the time that one takes.
        let main = async move {
            ring.submit(Timeout::after(Duration::from_millis(2))).await.unwrap().unwrap();
            for _ in 0..10 {
                ring.submit(Nop).await.unwrap().unwrap();
            }
        };
        executor.block_on(main).unwrap();
        assert!(*steps.borrow() > before + 1, "the task goes on");
    }
    // One that never starts, and holds what it would be started by.
    let (spawner_itself, guard) = (spawner.clone(), Guard(dropped.clone()));
    spawner.spawn(async move {
        let _held = (spawner_itself, guard);
    });
    drop((executor, spawner));
    assert_eq!(*dropped.borrow(), 2);
}

/// Drives a future on this thread, with an executor that knows nothing of the reactor.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let parker = Arc::new(<FutexParker>::new("block_on"));
    let waker = Waker::from(parker.clone());
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            task::Poll::Ready(value) => return value,
            task::Poll::Pending => parker.park(),
        }
    }
}

#[test]
fn futures_of_another_executor_are_served_by_a_reactor_in_its_own_thread() {
    const EACH: usize = 500;
    let Some(mut reactor) = reactor::<&str>() else { return };
    let handle = reactor.handle();
    let others: Vec<_> = (0..2)
        .map(|_| {
            let ring = handle.clone().into_async();
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    block_on(ring.submit(Nop)).unwrap().unwrap();
                }
            })
        })
        .collect();
    let ended = std::thread::spawn(move || {
        others.into_iter().for_each(|other| other.join().unwrap());
        handle.post("all done").unwrap();
    });
    assert_eq!(collect(&mut reactor, 1), ["all done"], "futures make no events");
    ended.join().unwrap();
}

#[test]
fn dropping_a_future_cancels_its_request_and_frees_its_buffer() {
    let freed = Arc::new(AtomicUsize::new(0));
    let Some(mut reactor) = reactor::<()>() else { return };
    let (reader, _writer) = pipe().unwrap();
    let buffer = Watched { bytes: vec![0; 16], freed: freed.clone() };
    let future = reactor.handle().into_async().submit(Read::new(reader, buffer));
    reactor.turn(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.in_flight(), 1);
    drop(future);
    assert_eq!(freed.load(SeqCst), 0, "the kernel has it still");
    while reactor.in_flight() > 0 {
        reactor.turn(&mut Vec::new(), Some(Duration::from_secs(1))).unwrap();
    }
    assert_eq!(freed.load(SeqCst), 1);
}

#[test]
fn a_future_whose_reactor_is_gone_says_so() {
    let Some(mut reactor) = reactor::<()>() else { return };
    let ring = reactor.handle().into_async();
    let (reader, _writer) = pipe().unwrap();
    let in_flight = ring.submit(Read::new(reader.try_clone().unwrap(), vec![0]));
    reactor.turn(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
    let not_looked_at = ring.submit(Read::new(reader, vec![0]));
    drop(reactor);
    let late = ring.submit(Nop);
    assert_eq!(block_on(in_flight).unwrap_err(), Closed);
    assert_eq!(block_on(not_looked_at).unwrap_err(), Closed);
    assert_eq!(block_on(late).unwrap_err(), Closed);
}

/// What became of a closure, in a form that can be compared.
fn name<R: std::fmt::Debug>(outcome: &Outcome<R>) -> String {
    match outcome {
        Outcome::Done(value) => format!("done {value:?}"),
        Outcome::Panicked(_) => "panicked".into(),
        Outcome::Cancelled => "cancelled".into(),
        Outcome::Refused(_) => "refused".into(),
    }
}

#[test]
fn closures_and_requests_come_in_one_stream() {
    const EACH: usize = 1_000;
    let Some(mut reactor) = reactor::<usize>() else { return };
    let mut events = Vec::new();
    for i in 0..EACH {
        reactor.offload(Work::BOUNDED, move |_| 2 * i, |outcome| outcome.done().unwrap());
        reactor.submit(Request::new(Nop, move |_| 2 * i + 1)).unwrap();
        if i % 10 == 0 {
            reactor.turn(&mut events, None).unwrap();
        }
    }
    while events.len() < 2 * EACH {
        reactor.turn(&mut events, None).unwrap();
    }
    events.sort();
    assert_eq!(events, Vec::from_iter(0..2 * EACH));
}

#[test]
fn a_closure_that_panics_and_one_that_is_cancelled_have_their_events() {
    let Some(mut reactor) = reactor::<String>() else { return };
    reactor.offload(Work::BOUNDED, |_| -> u8 { panic!("on purpose") }, |outcome| name(&outcome));
    let token = reactor.offload_cancellable(Work::BOUNDED, |_| 7, |outcome| name(&outcome));
    assert_eq!(token.cancel(), Cancel::BeforeItRan, "it goes to the pool with the next turn");
    reactor.offload(Work::BOUNDED, |_| 8, |outcome| name(&outcome));
    let mut events = collect(&mut reactor, 3);
    events.sort();
    assert_eq!(events, ["cancelled", "done 8", "panicked"]);
}

#[test]
fn an_event_whose_making_panics_is_missed_by_nobody_else() {
    let Some(mut reactor) = reactor::<u8>() else { return };
    reactor.offload(Work::BOUNDED, |_| 1, |_| panic!("on purpose"));
    reactor.offload(Work::BOUNDED, |_| 2, |outcome| outcome.done().unwrap());
    let mut events = Vec::new();
    reactor.shutdown(Shutdown::Drain, &mut events).unwrap(); // which would wait for ever for an event that does not come
    assert_eq!(events, [2]);
}

#[test]
fn a_shutdown_that_drains_runs_what_was_offloaded_and_one_that_cancels_does_not() {
    for (how, ended) in [(Shutdown::Drain, "done 1"), (Shutdown::Cancel, "cancelled")] {
        let one_worker = pool::Config { bounded: 1, ..pool::Config::default() };
        let Some(mut reactor) = reactor_with::<String>(Config::default().pool(one_worker)) else { return };
        let (started, running) = std::sync::mpsc::channel();
        let busy = move |context: &pool::Context<'_>| {
            started.send(()).unwrap();
            while how == Shutdown::Cancel && !context.cancelled() {
                std::thread::yield_now();
            }
            "busy"
        };
        reactor.offload(Work::BOUNDED, busy, |outcome| name(&outcome));
        let mut events = Vec::new();
        reactor.turn(&mut events, Some(Duration::ZERO)).unwrap();
        running.recv().unwrap();
        reactor.offload(Work::BOUNDED, |_| 1, |outcome| name(&outcome));
        reactor.shutdown(how, &mut events).unwrap();
        events.sort();
        let mut expected = [ended, "done \"busy\""];
        expected.sort();
        assert_eq!(events, expected);
    }
}

#[test]
fn a_pool_of_somebody_elses_outlives_the_reactor_that_used_it() {
    let pool: Pool = Pool::new(pool::Config::default());
    let Some(mut reactor) = have(Reactor::with_pool(Config::default(), pool.submitter())) else { return };
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let ran = Arc::new(AtomicUsize::new(0));
    let run = {
        let ran = ran.clone();
        move |_: &pool::Context<'_>| {
            wait.recv().unwrap();
            ran.fetch_add(1, SeqCst)
        }
    };
    reactor.offload(Work::UNBOUNDED, run, drop);
    reactor.turn(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
    drop(reactor); // which does not wait for it
    go.send(()).unwrap();
    pool.shutdown(Shutdown::Drain).unwrap();
    assert_eq!(ran.load(SeqCst), 1);
}

#[test]
fn a_reactor_asleep_in_the_ring_is_woken_by_the_pool_and_by_nothing_else() {
    const CLOSURES: u64 = 20;
    let Some(mut reactor) = reactor::<bool>() else { return };
    let thread = thread_id();
    for _ in 0..CLOSURES {
        reactor.offload(
            Work::BOUNDED,
            move |_| asleep_in_the_ring(thread),
            |outcome| outcome.done().unwrap(),
        );
        if collect(&mut reactor, 1) != [true] {
            return;
        }
    }
    let counts = reactor.counts();
    assert_eq!((counts.sleeps, counts.wakes), (CLOSURES, CLOSURES), "{counts:?}");
    assert!(counts.enters <= CLOSURES + counts.sleeps, "{counts:?}");
}

#[test]
fn a_future_awaits_a_closure_and_then_a_request() {
    let Some(mut executor) = executor() else { return };
    let ring = executor.handle();
    let (reader, mut writer) = pipe().unwrap();
    let read = executor.block_on(async move {
        let written = ring.offload(Work::BOUNDED, move |_| writer.write(b"four")).await;
        let length = written.done().unwrap().unwrap();
        ring.submit(Read::new(reader, vec![0; length])).await.unwrap().1
    });
    assert_eq!(read.unwrap(), b"four");
}

#[test]
fn dropping_a_reactor_ends_chains_linked_timeouts_and_multishot_requests_too() {
    let freed = Arc::new(AtomicUsize::new(0));
    let Some(mut reactor) = reactor::<()>() else { return };
    let (reader, _writer) = pipe().unwrap();
    let read = || {
        let buffer = Watched { bytes: vec![0; 64], freed: freed.clone() };
        Request::new(Read::new(reader.try_clone().unwrap(), buffer), |_| ())
    };
    let hour = Duration::from_secs(3600);
    reactor.submit_linked([read(), read()]).unwrap();
    reactor.submit_linked([read(), Request::new(LinkTimeout::after(hour), |_| ())]).unwrap();
    reactor.submit(Request::new(Timeout::after(hour), |_| ())).unwrap();
    let watched = reader.try_clone().unwrap();
    reactor.submit(Request::multishot(Poll::new(watched, PollFlags::IN), |_| ())).unwrap();
    reactor.turn(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
    assert_eq!((reactor.in_flight(), freed.load(SeqCst)), (6, 0));
    drop(reactor);
    assert_eq!(freed.load(SeqCst), 3);
}

#[test]
fn an_operation_that_panics_before_it_is_submitted_leaves_the_reactor_usable() {
    struct Broken;
    impl AsMut<[u8]> for Broken {
        fn as_mut(&mut self) -> &mut [u8] {
            panic!("on purpose")
        }
    }
    // SAFETY: it never lends any memory.
    unsafe impl IoBufMut for Broken {}
    let Some(mut reactor) = reactor::<u8>() else { return };
    let broken = Request::new(Read::new(io::stdin(), Broken), |_| 1);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| reactor.submit(broken)));
    assert!(caught.is_err());
    assert_eq!(reactor.in_flight(), 0);
    reactor.submit(Request::new(Nop, |_| 2)).unwrap();
    assert_eq!(collect(&mut reactor, 1), [2]);
}

/// Keeps the calling thread on one CPU of those that the process may use. False if there are fewer.
fn pin(nth: usize) -> bool {
    let allowed = sched_getaffinity(None).unwrap();
    let Some(cpu) = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).nth(nth) else { return false };
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).unwrap();
    true
}

#[test]
fn what_is_posted_while_the_reactor_goes_to_sleep_is_not_slept_on() {
    const ROUNDS: usize = 10_000;
    let Some(mut reactor) = reactor::<usize>() else { return };
    let handle = reactor.handle();
    let taken = Arc::new(AtomicUsize::new(0));
    // Posts the next one as soon as the last one was taken: just when the reactor looks, arms, looks again and sleeps.
    let other = std::thread::spawn({
        let taken = taken.clone();
        move || {
            if !pin(1) {
                eprintln!("SKIPPED: the race takes two CPUs");
            }
            for round in 0..ROUNDS {
                let mut looks = 0_u32;
                while taken.load(SeqCst) < round {
                    looks += 1;
                    // Where there is one CPU only, the reactor needs it.
                    if looks.is_multiple_of(4096) { std::thread::yield_now() } else { std::hint::spin_loop() }
                }
                for _ in 0..round % 32 {
                    std::hint::spin_loop();
                }
                handle.post(round).unwrap();
            }
        }
    });
    pin(0);
    let mut events = Vec::new();
    for round in 0..ROUNDS {
        while events.is_empty() {
            let begun = Instant::now();
            reactor.turn(&mut events, Some(LONG)).unwrap();
            assert!(begun.elapsed() < LONG, "asleep on {round}: {:?}", reactor.counts());
        }
        assert_eq!(std::mem::take(&mut events), [round]);
        taken.store(round + 1, SeqCst);
    }
    other.join().unwrap();
    println!("{ROUNDS} rounds, {:?}", reactor.counts());
}

#[test]
fn the_kernels_completions_do_not_starve_behind_what_is_posted() {
    let Some(mut reactor) = reactor_with::<Option<usize>>(Config::default().submissions(4).completions(4))
    else {
        return;
    };
    let handle = reactor.handle();
    // Turns that always find something at hand, and so never sleep.
    let busy = |reactor: &mut Reactor<Option<usize>>, wanted: usize| {
        let mut events = Vec::new();
        for _ in 0..1_000 {
            handle.post(None).unwrap();
            reactor.turn(&mut events, None).unwrap();
        }
        assert_eq!(reactor.counts().sleeps, 0);
        assert_eq!(events.iter().flatten().count(), wanted);
    };
    // More than the kernel's completion queue holds.
    for i in 0..100 {
        reactor.submit(Request::new(Nop, move |_| Some(i))).unwrap();
    }
    busy(&mut reactor, 100);
    // One whose completion waits until somebody enters the kernel, on a ring that defers.
    let (reader, mut writer) = pipe().unwrap();
    reactor.submit(Request::new(Read::new(reader, vec![0]), |(n, _)| n.ok())).unwrap();
    busy(&mut reactor, 0);
    writer.write_all(b"x").unwrap();
    busy(&mut reactor, 1);
}

#[test]
fn a_reactor_that_waits_for_a_closure_yields_so_often_and_then_sleeps() {
    for yields in [3, 0] {
        let Some(mut reactor) = reactor_with::<()>(Config::default().yields(yields)) else { return };
        let (end, wait) = std::sync::mpsc::channel::<()>();
        reactor.offload(Work::BOUNDED, move |_| wait.recv(), drop);
        reactor.turn(&mut Vec::new(), Some(Duration::from_millis(5))).unwrap();
        // Fewer yields, if somebody else took the CPU for long.
        let yielded = reactor.counts().yields;
        assert!((yields.min(1) as u64..=yields as u64).contains(&yielded), "{yielded} yields");
        assert_eq!(reactor.counts().sleeps, 1);
        end.send(()).unwrap();
    }
}

#[test]
fn preparing_to_sleep_in_an_epoll_submits_closures_too() {
    use rustix::event::epoll;
    let Some(mut reactor) = reactor_with::<u32>(Config::default().sleep(Sleep::Elsewhere)) else { return };
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let fd = reactor.poll_fd().expect("it was set up for that");
    epoll::add(&poll, fd, epoll::EventData::new_u64(1), epoll::EventFlags::IN).unwrap();
    reactor.offload(Work::BOUNDED, |_| std::thread::sleep(Duration::from_millis(5)), |_| 1);
    let mut events = Vec::new();
    while events.is_empty() {
        if reactor.prepare_to_sleep().unwrap() {
            let mut ready = Vec::with_capacity(4);
            let timeout = Timespec::try_from(LONG).unwrap();
            let woken = epoll::wait(&poll, rustix::buffer::spare_capacity(&mut ready), Some(&timeout));
            assert!(matches!(woken, Ok(1) | Err(Errno::INTR)), "{woken:?}");
        }
        reactor.turn(&mut events, Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(events, [1]);
}

#[test]
fn a_shutdown_waits_for_its_closures_in_a_pool_of_somebody_elses() {
    for how in [Shutdown::Drain, Shutdown::Cancel] {
        let pool: Pool = Pool::new(pool::Config::default());
        let Some(mut reactor) = have(Reactor::with_pool(Config::default(), pool.submitter())) else { return };
        let run = |_: &pool::Context<'_>| {
            std::thread::sleep(Duration::from_millis(20));
            7
        };
        reactor.offload(Work::BOUNDED, run, |outcome| outcome.done());
        let mut events = Vec::new();
        reactor.shutdown(how, &mut events).unwrap();
        assert_eq!(events, [Some(7)]);
    }
}

#[test]
fn a_task_that_was_woken_together_with_the_main_future_is_polled_though_that_ends() {
    let Some(mut executor) = executor() else { return };
    let open = Rc::new(Cell::new(false));
    let waiting = Rc::new(RefCell::new(Vec::<Waker>::new()));
    let opened = || {
        let (open, waiting) = (open.clone(), waiting.clone());
        std::future::poll_fn(move |cx| {
            if open.get() {
                return task::Poll::Ready(());
            }
            waiting.borrow_mut().push(cx.waker().clone());
            task::Poll::Pending
        })
    };
    let done = Rc::new(Cell::new(false));
    let spawner = executor.spawner();
    spawner.spawn({
        let (opened, done) = (opened(), done.clone());
        async move {
            opened.await;
            done.set(true);
        }
    });
    // Runs when both wait, the main future first.
    spawner.spawn({
        let (open, waiting) = (open.clone(), waiting.clone());
        async move {
            open.set(true);
            waiting.take().into_iter().for_each(Waker::wake);
        }
    });
    executor.block_on(opened()).unwrap();
    assert!(done.get());
}

#[test]
fn a_request_that_is_to_be_done_in_a_worker_has_one_of_the_kernels() {
    let Some(mut reactor) = reactor::<()>() else { return };
    let name = format!("iou-wrk-{}", thread_id());
    let workers = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|comm| comm.trim_end() == name).count()
    };
    let (reader, _writer) = pipe().unwrap();
    let read = || Request::new(Read::new(reader.try_clone().unwrap(), vec![0]), drop);
    reactor.submit(read()).unwrap();
    reactor.turn(&mut Vec::new(), Some(Duration::from_millis(5))).unwrap();
    assert_eq!(workers(), 0, "it waits in the pipe's own queue");
    reactor.submit(read().in_worker()).unwrap();
    let begun = Instant::now();
    while workers() == 0 {
        reactor.turn(&mut Vec::new(), Some(Duration::from_millis(1))).unwrap();
        assert!(begun.elapsed() < LONG);
    }
}

#[test]
fn an_accepted_connection_whose_future_was_dropped_is_closed_and_one_that_was_to_be_an_event_is_handed_out() {
    let Some(mut reactor) = reactor::<io::Result<OwnedFd>>() else { return };
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let connect = || {
        let client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        client
    };
    let mut future = Box::pin(reactor.handle().into_async().submit(Accept::new(listener.clone())));
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let mut client = connect();
    reactor.turn(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
    while reactor.in_flight() > 0 {
        reactor.turn(&mut Vec::new(), None).unwrap();
    }
    drop(future);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "the other end is closed");
    reactor.submit(Request::new(Accept::new(listener), |accepted| accepted)).unwrap();
    let mut client = connect();
    let mut events = Vec::new();
    reactor.shutdown(Shutdown::Drain, &mut events).unwrap();
    let [Ok(accepted)] = &mut events[..] else { panic!("{events:?}") };
    TcpStream::from(accepted.try_clone().unwrap()).write_all(b"!").unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 1);
}

#[test]
fn a_task_that_the_kernel_wakes_does_not_ring_for_its_own_executor() {
    let Some(mut executor) = executor() else { return };
    let ring = executor.handle();
    let main = async {
        for _ in 0..20 {
            ring.submit(Timeout::after(Duration::from_millis(1))).await.unwrap().unwrap();
        }
    };
    executor.block_on(main).unwrap();
    let counts = executor.counts();
    assert!(counts.sleeps >= 20, "{counts:?}");
    assert_eq!(counts.wakes, 0, "{counts:?}");
}
