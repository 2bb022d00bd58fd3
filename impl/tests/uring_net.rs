//! Operations on sockets, on the real kernel.

mod common;

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown as How, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::have;
use reveille::uring::{
    Accept, AsyncHandle, Config, Connect, Error, Executor, IoBuf, IoBufMut, Provided, Reactor, Recv,
    RecvFlags, RecvMsg, RecvMulti, Request, Send, SendFlags, SendMsg, SendZc, Shot, Shutdown, SocketAddrUnix,
    Task, Unsupported,
};
use rustix::net::{AddressFamily, SocketType, socket};

fn executor() -> Option<(Executor, AsyncHandle<Task>)> {
    let executor = have(Executor::new(Config::default()))?;
    let handle = executor.handle();
    Some((executor, handle))
}

fn errno(result: &io::Result<impl Sized>) -> Option<i32> {
    result.as_ref().err().and_then(io::Error::raw_os_error)
}

/// Both ends of a connection on loopback.
fn tcp() -> (Arc<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Arc::new(ours), listener.accept().unwrap().0)
}

/// True, loudly, if the kernel has no such operation.
fn lacks(result: &io::Result<impl Sized>) -> bool {
    let lacks = result.as_ref().err().and_then(Unsupported::of);
    lacks.is_some_and(|lacks| {
        eprintln!("SKIPPED: {lacks}");
        true
    })
}

#[test]
fn what_is_sent_is_received_until_the_other_end_shuts_down() {
    let Some((mut executor, ring)) = executor() else { return };
    let (ours, mut theirs) = tcp();
    let main = async {
        theirs.write_all(b"ping").unwrap();
        let peek = Recv::new(ours.clone(), Vec::with_capacity(2)).flags(RecvFlags::PEEK);
        assert_eq!(ring.submit(peek).await.unwrap().1, b"pi");
        let (received, buffer) = ring.submit(Recv::new(ours.clone(), Vec::with_capacity(100))).await.unwrap();
        assert_eq!((received.unwrap(), &buffer[..]), (4, &b"ping"[..]));
        let (sent, _) = ring.submit(Send::new(ours.clone(), "pong").flags(SendFlags::MORE)).await.unwrap();
        assert_eq!(sent.unwrap(), 4);
        ring.submit(Shutdown::new(ours.clone(), How::Write)).await.unwrap().unwrap();
        assert_eq!(io::read_to_string(&theirs).unwrap(), "pong");
        // Half closed: the other half goes on.
        theirs.write_all(b"bye").unwrap();
        let (received, buffer) = ring.submit(Recv::new(ours.clone(), buffer)).await.unwrap();
        assert_eq!((received.unwrap(), &buffer[..]), (3, &b"byeg"[..]));
        drop(theirs);
        assert_eq!(ring.submit(Recv::new(ours.clone(), [0; 8])).await.unwrap().0.unwrap(), 0);
        let (sent, _) = ring.submit(Send::new(ours, "nobody")).await.unwrap();
        assert_eq!(errno(&sent), Some(libc::EPIPE), "and no signal");
    };
    executor.block_on(main).unwrap();
}

#[test]
fn bytes_that_are_cut_off_are_not_said_to_be_received() {
    let Some((mut executor, ring)) = executor() else { return };
    let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let (ours, address) = (Arc::new(ours), theirs.local_addr().unwrap());
    theirs.connect(ours.local_addr().unwrap()).unwrap();
    let main = async {
        theirs.send(&[7; 100]).unwrap();
        let recv = Recv::new(ours.clone(), Vec::with_capacity(10)).flags(RecvFlags::TRUNC);
        let (received, buffer) = ring.submit(recv).await.unwrap();
        assert_eq!((received.unwrap(), buffer), (10, vec![7; 10]));
        theirs.send(&[8; 100]).unwrap();
        let parts = vec![Vec::with_capacity(6), Vec::with_capacity(4)];
        let recv = RecvMsg::new(ours.clone(), parts).flags(RecvFlags::TRUNC);
        let (received, parts) = ring.submit(recv).await.unwrap();
        let received = received.unwrap();
        assert_eq!((received.bytes, received.truncated), (10, true));
        assert_eq!(parts, [vec![8; 6], vec![8; 4]]);
        let from = std::net::SocketAddr::try_from(received.from.unwrap()).unwrap();
        assert_eq!(from, address);
    };
    executor.block_on(main).unwrap();
}

#[test]
fn a_message_is_gathered_from_buffers_and_scattered_into_others() {
    let Some((mut executor, ring)) = executor() else { return };
    let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let (ours, theirs) = (Arc::new(ours), Arc::new(theirs));
    let main = async {
        let send = SendMsg::new(ours.clone(), vec!["reve", "", "ille"]).to(&theirs.local_addr().unwrap());
        assert_eq!(ring.submit(send).await.unwrap().0.unwrap(), 8);
        let parts = vec![vec![1; 3].slice_mut(1..), Vec::with_capacity(100).slice_mut(..)];
        let (received, parts) = ring.submit(RecvMsg::new(theirs.clone(), parts)).await.unwrap();
        let received = received.unwrap();
        assert_eq!((received.bytes, received.truncated), (8, false));
        let parts: Vec<_> = parts.into_iter().map(|part| part.into_inner()).collect();
        assert_eq!(parts, [b"\x01re".to_vec(), b"veille".to_vec()]);
        let nowhere = SendMsg::new(ours, vec!["lost"]);
        assert_eq!(errno(&ring.submit(nowhere).await.unwrap().0), Some(libc::EDESTADDRREQ));
    };
    executor.block_on(main).unwrap();
}

#[test]
fn sockets_are_connected_over_tcp_and_by_a_path() {
    let Some((mut executor, ring)) = executor() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let path = std::env::temp_dir().join(format!("reveille-net-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let unix = UnixListener::bind(&path).unwrap();
    let main = async {
        let stream = Arc::new(socket(AddressFamily::INET, SocketType::STREAM, None).unwrap());
        ring.submit(Connect::new(stream.clone(), &address)).await.unwrap().unwrap();
        assert_eq!(
            listener.accept().unwrap().1,
            TcpStream::from(stream.try_clone().unwrap()).local_addr().unwrap()
        );
        let local = Arc::new(socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap());
        let place = SocketAddrUnix::new(&path).unwrap();
        ring.submit(Connect::new(local.clone(), &place)).await.unwrap().unwrap();
        drop(unix);
        let refused = Arc::new(socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap());
        let refused = ring.submit(Connect::new(refused, &place)).await.unwrap();
        assert_eq!(errno(&refused), Some(libc::ECONNREFUSED));
    };
    executor.block_on(main).unwrap();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_short_send_goes_on_until_all_is_sent() {
    const LENGTH: usize = 8 << 20; // more than the sockets hold
    let Some((mut executor, ring)) = executor() else { return };
    let (ours, mut theirs) = tcp();
    let content: Vec<u8> = (0..LENGTH).map(|i| (i / 5) as u8).collect();
    let other = std::thread::spawn(move || {
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).unwrap();
        all
    });
    let main = async {
        let (sent, slice) =
            ring.send_all(ours, content.clone().slice(1..), SendFlags::empty()).await.unwrap();
        sent.unwrap();
        assert_eq!(slice.into_inner().len(), LENGTH);
    };
    executor.block_on(main).unwrap();
    assert!(other.join().unwrap() == content[1..]);
}

/// A buffer that tells when it is freed.
struct Watched(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.fetch_add(1, SeqCst);
    }
}

#[test]
fn the_buffer_of_a_zero_copy_send_comes_back_when_the_network_has_done_with_it() {
    let Some(mut reactor) = have(Reactor::<(io::Result<usize>, Watched)>::new(Config::default())) else {
        return;
    };
    let (ours, mut theirs) = tcp();
    let freed = Arc::new(AtomicUsize::new(0));
    let buffer = Watched(vec![7; 1 << 20], freed.clone());
    reactor.submit(Request::new(SendZc::new(ours.clone(), buffer), |done| done)).unwrap();
    // On loopback the data stays in the sender's pages until the receiver has taken it: the send is over long before.
    let mut events = Vec::new();
    for _ in 0..20 {
        reactor.turn(&mut events, Some(Duration::from_millis(1))).unwrap();
    }
    if events.first().is_some_and(|(sent, _)| lacks(sent)) {
        return;
    }
    assert_eq!((events.len(), reactor.in_flight(), freed.load(SeqCst)), (0, 1, 0));
    drop(ours);
    let other = std::thread::spawn(move || {
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).unwrap();
        all
    });
    while events.is_empty() {
        reactor.turn(&mut events, None).unwrap();
    }
    let (sent, buffer) = events.remove(0);
    let sent = sent.unwrap();
    assert_eq!((buffer.0.len(), reactor.in_flight()), (1 << 20, 0));
    drop(reactor);
    assert_eq!(other.join().unwrap(), vec![7; sent]);
}

#[test]
fn a_zero_copy_send_that_fails_gives_its_buffer_back_at_once() {
    let Some((mut executor, ring)) = executor() else { return };
    let (local, _other) = UnixStream::pair().unwrap();
    let (ours, theirs) = tcp();
    drop(theirs);
    let main = async {
        let (sent, buffer) = ring.submit(SendZc::new(Arc::new(local), b"local")).await.unwrap();
        assert!(lacks(&sent) || errno(&sent) == Some(libc::EOPNOTSUPP), "{sent:?}");
        assert_eq!(buffer, b"local");
        ring.submit(Shutdown::new(ours.clone(), How::Write)).await.unwrap().unwrap();
        let (sent, _) = ring.submit(SendZc::new(ours, b"closed")).await.unwrap();
        assert!(lacks(&sent) || errno(&sent) == Some(libc::EPIPE), "{sent:?}");
    };
    executor.block_on(main).unwrap();
}

type Arrived = Shot<io::Result<Provided>>;

/// A reactor with provided buffers; or a loud word that the kernel has none.
fn with_buffers(count: u16, size: u32) -> Option<(Reactor<Arrived>, reveille::uring::BufferRing)> {
    let mut reactor = have(Reactor::new(Config::default()))?;
    let buffers = have(reactor.provide_buffers(count, size))?;
    Some((reactor, buffers))
}

fn next(reactor: &mut Reactor<Arrived>) -> Option<Arrived> {
    let mut events = Vec::new();
    while events.is_empty() {
        reactor.turn(&mut events, None).unwrap();
    }
    assert_eq!(events.len(), 1);
    let shot = events.remove(0);
    (!lacks(&shot.item)).then_some(shot)
}

#[test]
fn a_multishot_receive_takes_buffer_after_buffer_until_the_stream_ends() {
    let Some((mut reactor, buffers)) = with_buffers(4, 16) else { return };
    let (ours, mut theirs) = tcp();
    reactor.submit(Request::multishot(RecvMulti::new(ours, &buffers), |shot| shot)).unwrap();
    let mut places = BTreeSet::new();
    for round in 0..10_u8 {
        theirs.write_all(&[round; 16]).unwrap();
        let Some(shot) = next(&mut reactor) else { return };
        let bytes = shot.item.unwrap();
        assert_eq!((&bytes[..], shot.last), (&[round; 16][..], false));
        places.insert(bytes.as_ptr());
    }
    assert_eq!(places.len(), 4, "each is used again when it has been dropped");
    drop(theirs);
    let shot = next(&mut reactor).unwrap();
    assert!(shot.last && shot.item.unwrap().is_empty());
    assert_eq!(reactor.in_flight(), 0);
}

#[test]
fn a_buffer_that_is_held_is_not_written_to_and_without_one_the_receive_ends() {
    let Some((mut reactor, buffers)) = with_buffers(2, 16) else { return };
    let (ours, mut theirs) = tcp();
    let receive = || Request::multishot(RecvMulti::new(ours.clone(), &buffers), |shot| shot);
    reactor.submit(receive()).unwrap();
    let mut held = Vec::new();
    for round in 0..2_u8 {
        theirs.write_all(&[round; 16]).unwrap();
        let Some(shot) = next(&mut reactor) else { return };
        held.push(shot.item.unwrap());
    }
    theirs.write_all(&[2; 16]).unwrap();
    let shot = next(&mut reactor).unwrap();
    assert_eq!((errno(&shot.item), shot.last), (Some(libc::ENOBUFS), true));
    assert_eq!((&held[0][..], &held[1][..]), (&[0; 16][..], &[1; 16][..]));
    // The second one is free again, from another thread.
    let second = held.pop();
    std::thread::spawn(move || drop(second)).join().unwrap();
    reactor.submit(receive()).unwrap();
    let shot = next(&mut reactor).unwrap();
    assert_eq!(shot.item.unwrap()[..], [2; 16]);
    assert_eq!(held[0][..], [0; 16]);
    drop((reactor, buffers));
    assert_eq!(held[0][..], [0; 16], "it outlives the reactor");
}

#[test]
fn a_receive_into_buffers_of_another_reactor_finds_none() {
    let Some((_reactor, buffers)) = with_buffers(2, 16) else { return };
    let Some((mut other, _)) = with_buffers(2, 16) else { return };
    let (ours, mut theirs) = tcp();
    other.submit(Request::multishot(RecvMulti::new(ours, &buffers), |shot| shot)).unwrap();
    theirs.write_all(&[7; 16]).unwrap();
    let Some(shot) = next(&mut other) else { return };
    assert!(shot.item.is_err() && shot.last, "{shot:?}");
}

#[test]
fn a_stream_of_connections_and_of_what_they_say() {
    const CLIENTS: usize = 10;
    let Some((mut executor, ring)) = executor() else { return };
    let Some(buffers) = have(executor.provide_buffers(8, 64)) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let clients = std::thread::spawn(move || {
        for i in 0..CLIENTS {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(&vec![i as u8; 1000]).unwrap();
            client.shutdown(How::Write).unwrap();
            assert_eq!(io::read_to_string(&client).unwrap(), "1000");
        }
    });
    let main = async {
        let mut connections = ring.stream(Accept::new(listener));
        for _ in 0..CLIENTS {
            let connection = match connections.next().await.unwrap() {
                accepted if errno(&accepted) == Some(libc::EINVAL) => {
                    return eprintln!("SKIPPED: no multishot accept");
                }
                accepted => Arc::new(accepted.unwrap()),
            };
            let (mut length, mut ended) = (0, false);
            while !ended {
                let mut arriving = ring.stream(RecvMulti::new(connection.clone(), &buffers));
                // It may run out of buffers, and is submitted again.
                while let Some(arrived) = arriving.next().await {
                    if lacks(&arrived) {
                        return;
                    }
                    match arrived {
                        Ok(bytes) => (length, ended) = (length + bytes.len(), bytes.is_empty()),
                        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS)),
                    }
                }
            }
            let answer = length.to_string();
            ring.send_all(connection, answer, SendFlags::empty()).await.unwrap().0.unwrap();
        }
    };
    executor.block_on(main).unwrap();
    drop(executor);
    clients.join().unwrap();
}

#[test]
fn dropping_a_stream_cancels_it_and_frees_what_nobody_took() {
    let Some((mut executor, ring)) = executor() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    let main = async {
        let listener: Arc<OwnedFd> = Arc::new(listener.into());
        let mut connections = ring.stream(Accept::new(listener.clone()));
        clients.extend((0..3).map(|_| TcpStream::connect(address).unwrap()));
        if connections.next().await.unwrap().is_err() {
            return eprintln!("SKIPPED: no multishot accept");
        }
        drop(connections);
        while Arc::strong_count(&listener) > 1 {
            ring.submit(reveille::uring::Nop).await.unwrap().unwrap();
        }
    };
    executor.block_on(main).unwrap();
    for client in &mut clients {
        client.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)), "the other end is closed");
    }
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert!(matches!(executor.fix(io::stdin()), Err(Error::TooManyFixed(0))));
}
