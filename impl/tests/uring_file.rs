//! Buffers, and operations on files and pipes, on the real kernel.

mod common;

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _, pipe};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::time::Duration;

use common::have;
use reveille::uring::{
    AsyncHandle, AtFlags, Close, Config, Done, Error, Executor, Fixed, Fsync, IoBuf, IoBufMut, Mode, OFlags,
    Openat, Operation, Reactor, Read, Request, ResolveFlags, Splice, Statx, Task, Write, squeue,
};
use rustix::io::{fcntl_dupfd_cloexec, fcntl_getfd};

fn executor() -> Option<(Executor, AsyncHandle<Task>)> {
    let executor = have(Executor::new(Config::default().fixed_files(2)))?;
    let handle = executor.handle();
    Some((executor, handle))
}

fn errno(result: &io::Result<impl Sized>) -> Option<i32> {
    result.as_ref().err().and_then(io::Error::raw_os_error)
}

/// A directory of the test's own, which goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NAMES: AtomicUsize = AtomicUsize::new(0);
        let name = format!("reveille-file-{}-{}", std::process::id(), NAMES.fetch_add(1, SeqCst));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> Arc<File> {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        Arc::new(File::options().read(true).write(true).open(path).unwrap())
    }

    fn open(&self) -> Arc<File> {
        Arc::new(File::open(&self.0).unwrap())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pipes() -> (Arc<PipeReader>, Arc<PipeWriter>) {
    let (reader, writer) = pipe().unwrap();
    (Arc::new(reader), Arc::new(writer))
}

#[test]
fn a_read_fills_the_spare_capacity_of_a_vector() {
    let Some((mut executor, ring)) = executor() else { return };
    let scratch = Scratch::new();
    let file = scratch.file("file", &[7; 5000]);
    let main = async {
        let (read, buffer) = ring.submit(Read::new(file.clone(), Vec::with_capacity(4096))).await.unwrap();
        assert_eq!((read.unwrap(), &buffer[..]), (4096, &[7; 4096][..]));
        // What the rest of the file does not reach stays.
        let (read, buffer) = ring.submit(Read::new(file.clone(), buffer)).await.unwrap();
        assert_eq!((read.unwrap(), buffer.len()), (904, 4096));
        // Behind what is there.
        let buffer = [b"head".to_vec(), Vec::with_capacity(100)].concat();
        let mut buffer = buffer;
        buffer.reserve_exact(96);
        let read = Read::at(file.clone(), buffer.slice_mut(4..10), 0);
        let (read, slice) = ring.submit(read).await.unwrap();
        assert_eq!((read.unwrap(), &slice.into_inner()[..]), (6, &b"head\x07\x07\x07\x07\x07\x07"[..]));
    };
    executor.block_on(main).unwrap();
}

#[test]
fn every_kind_of_buffer_is_filled_in_its_place() {
    let Some((mut executor, ring)) = executor() else { return };
    let scratch = Scratch::new();
    let file = scratch.file("file", b"reveille");
    let main = async {
        let (_, array) = ring.submit(Read::at(file.clone(), [0; 4], 0)).await.unwrap();
        let (_, boxed) = ring.submit(Read::at(file.clone(), vec![0; 4].into_boxed_slice(), 4)).await.unwrap();
        let leaked: &'static mut [u8] = vec![0; 2].leak();
        let (_, leaked) = ring.submit(Read::at(file.clone(), leaked, 2)).await.unwrap();
        assert_eq!((&array, &boxed[..], &leaked[..]), (b"reve", &b"ille"[..], &b"ve"[..]));
    };
    executor.block_on(main).unwrap();
}

#[test]
fn a_short_read_is_not_an_end_of_file() {
    let Some((mut executor, ring)) = executor() else { return };
    let (reader, writer) = pipes();
    let other = std::thread::spawn(move || {
        for part in ["re", "v", "eil", "le", "!"] {
            (&*writer).write_all(part.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let main = async {
        let buffer = Vec::with_capacity(100).slice_mut(..8);
        let (read, slice) = ring.read_exact(reader.clone(), buffer).await.unwrap();
        read.unwrap();
        assert_eq!(slice.into_inner(), b"reveille");
        let (read, buffer) = ring.read_exact(reader.clone(), vec![0; 3]).await.unwrap();
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(buffer, b"!\0\0", "what came before the end is there");
    };
    executor.block_on(main).unwrap();
    other.join().unwrap();
}

#[test]
fn a_short_write_goes_on_until_all_is_written() {
    const LENGTH: usize = 300_000; // of which a pipe holds a fifth
    let Some((mut executor, ring)) = executor() else { return };
    let (reader, writer) = pipes();
    let other = std::thread::spawn(move || {
        let mut all = Vec::new();
        (&*reader).read_to_end(&mut all).unwrap();
        all
    });
    let content: Vec<u8> = (0..LENGTH).map(|i| (i / 7) as u8).collect();
    let main = async {
        let (written, content) = ring.write_all(writer, content.clone()).await.unwrap();
        written.unwrap();
        let scratch = Scratch::new();
        let file = scratch.file("file", b"");
        let (written, content) = ring.write_all_at(file.clone(), content.slice(100..), 10).await.unwrap();
        written.unwrap();
        let (read, buffer) = ring.read_exact_at(file, Vec::with_capacity(1000), 10).await.unwrap();
        read.unwrap();
        assert_eq!(buffer[..1000], content.into_inner()[100..1100]);
    };
    executor.block_on(main).unwrap();
    assert!(other.join().unwrap() == content);
}

#[test]
fn an_open_that_may_not_leave_its_directory_does_not() {
    let Some((mut executor, ring)) = executor() else { return };
    let (scratch, outside) = (Scratch::new(), Scratch::new());
    outside.file("secret", b"secret");
    scratch.file("file", b"content");
    symlink(outside.0.join("secret"), scratch.0.join("out")).unwrap();
    symlink("file", scratch.0.join("in")).unwrap();
    let directory = scratch.open();
    let open = |path: &str, resolve| {
        let path = CString::new(path).unwrap();
        ring.submit(Openat::new(directory.clone(), path, OFlags::RDONLY, Mode::empty()).resolve(resolve))
    };
    let main = async {
        for path in ["file", "in"] {
            let file = open(path, ResolveFlags::BENEATH).await.unwrap().unwrap();
            assert_eq!(io::read_to_string(File::from(file)).unwrap(), "content");
        }
        assert!(open("out", ResolveFlags::empty()).await.unwrap().is_ok());
        let secret = outside.0.join("secret");
        for path in ["out", "../secret", secret.to_str().unwrap()] {
            let opened = open(path, ResolveFlags::BENEATH).await.unwrap();
            assert_eq!(errno(&opened), Some(libc::EXDEV), "{path}");
        }
        let made = Openat::new(
            directory.clone(),
            c"made".into(),
            OFlags::CREATE | OFlags::RDWR,
            Mode::RUSR | Mode::WUSR,
        );
        let made = File::from(ring.submit(made).await.unwrap().unwrap());
        assert_eq!(made.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(errno(&open("none", ResolveFlags::empty()).await.unwrap()), Some(libc::ENOENT));
    };
    executor.block_on(main).unwrap();
}

#[test]
fn what_the_file_system_knows_is_what_std_says() {
    let Some((mut executor, ring)) = executor() else { return };
    let scratch = Scratch::new();
    let file = scratch.file("file", &[0; 12_345]);
    symlink("file", scratch.0.join("link")).unwrap();
    let expected = file.metadata().unwrap();
    let main = async {
        let of = ring.submit(Statx::of(file.clone())).await.unwrap().unwrap();
        let path = |flags| Statx::at(scratch.open(), c"link".into(), flags);
        let at = ring.submit(path(AtFlags::empty())).await.unwrap().unwrap();
        for found in [of, at] {
            assert_eq!((found.stx_size, found.stx_ino), (12_345, expected.ino()));
            assert_eq!(u32::from(found.stx_mode), expected.mode());
            assert_eq!(found.stx_mtime.tv_sec, expected.mtime());
        }
        let link = ring.submit(path(AtFlags::SYMLINK_NOFOLLOW)).await.unwrap().unwrap();
        assert_eq!(link.stx_size, 4);
        let none = ring.submit(Statx::at(scratch.open(), c"none".into(), AtFlags::empty())).await.unwrap();
        assert_eq!(errno(&none), Some(libc::ENOENT));
    };
    executor.block_on(main).unwrap();
}

#[test]
fn a_file_is_spliced_through_a_pipe_from_and_to_a_position() {
    let Some((mut executor, ring)) = executor() else { return };
    let scratch = Scratch::new();
    let (from, to) = (scratch.file("from", b"0123456789"), scratch.file("to", b"..........."));
    let main = async {
        let (reader, writer) = pipes();
        let moved = ring.submit(Splice::new(from.clone(), writer.clone(), 100).from_offset(6)).await.unwrap();
        assert_eq!(moved.unwrap(), 4, "to the end of the file");
        let moved = ring.submit(Splice::new(reader.clone(), to.clone(), 3).to_offset(2)).await.unwrap();
        assert_eq!(moved.unwrap(), 3);
        // Where the file stands: at its beginning still.
        let moved = ring.submit(Splice::new(from.clone(), writer.clone(), 2)).await.unwrap();
        assert_eq!(moved.unwrap(), 2);
        let nowhere = ring.submit(Splice::new(from, writer, 2).from_offset(u64::MAX)).await.unwrap();
        assert!(nowhere.is_err(), "and not where the file stands");
    };
    executor.block_on(main).unwrap();
    assert_eq!(fs::read(scratch.0.join("to")).unwrap(), b"..678......");
}

#[test]
fn a_sync_succeeds_for_a_file_and_fails_for_a_pipe() {
    let Some((mut executor, ring)) = executor() else { return };
    let scratch = Scratch::new();
    let file = scratch.file("file", b"content");
    let main = async {
        ring.submit(Fsync::new(file.clone())).await.unwrap().unwrap();
        ring.submit(Fsync::data(file)).await.unwrap().unwrap();
        assert_eq!(errno(&ring.submit(Fsync::new(pipes().0)).await.unwrap()), Some(libc::EINVAL));
    };
    executor.block_on(main).unwrap();
}

#[test]
fn a_closed_file_is_closed_and_so_is_one_whose_close_was_cancelled() {
    let Some(mut reactor) = have(Reactor::<io::Result<()>>::new(Config::default())) else { return };
    // The other end of the pipe tells whether this one is open.
    let closed = |reader: &mut PipeReader| reader.read(&mut [0]).unwrap() == 0;
    let (mut reader, writer) = pipe().unwrap();
    reactor.submit(Request::new(Close::new(writer), |closed| closed)).unwrap();
    let mut events = Vec::new();
    while events.is_empty() {
        reactor.turn(&mut events, None).unwrap();
    }
    assert!(events.remove(0).is_ok() && closed(&mut reader));

    let (mut cancelled, writer) = pipe().unwrap();
    let (broken, _) = pipe().unwrap();
    let chain = [
        Request::new(Write::new(broken, b"not to a reader"), |(n, _)| n.map(drop)),
        Request::new(Close::new(writer), |closed| closed),
    ];
    reactor.submit_linked(chain).unwrap();
    while events.len() < 2 {
        reactor.turn(&mut events, None).unwrap();
    }
    assert!(events.iter().any(|event| event.is_ok()), "the close: {events:?}");
    assert!(closed(&mut cancelled), "by the thread, as the kernel would not");
}

/// A close whose number is another file's when its completion comes.
struct Overtaken {
    close: Close,
    file: File,
}

// SAFETY: the entry is the close's own, which is kept until its completion.
unsafe impl Operation for Overtaken {
    type Output = (io::Result<()>, OwnedFd);

    fn entry(&mut self) -> squeue::Entry {
        self.close.entry()
    }

    fn finish(self, done: Done) -> Self::Output {
        let taken = fcntl_dupfd_cloexec(&self.file, FAR).unwrap();
        (self.close.finish(done), taken)
    }
}

/// A number that no other test gets, as the kernel gives out the lowest.
const FAR: RawFd = 700;

#[test]
fn a_descriptor_that_the_kernel_closed_is_not_closed_again() {
    let Some((mut executor, ring)) = executor() else { return };
    let scratch = Scratch::new();
    let file = File::open(&scratch.0).unwrap();
    let closed = fcntl_dupfd_cloexec(&file, FAR).unwrap();
    assert_eq!(closed.as_raw_fd(), FAR);
    let overtaken = Overtaken { close: Close::new(closed), file };
    let (result, taken) = executor.block_on(ring.submit(overtaken)).unwrap().unwrap();
    result.unwrap();
    assert_eq!(taken.as_raw_fd(), FAR, "the kernel has closed it");
    assert!(fcntl_getfd(&taken).is_ok(), "and nothing else closes it then");
    drop(taken);
}

#[test]
fn a_fixed_file_is_used_like_another_and_its_slot_is_free_with_its_last_clone() {
    let Some((mut executor, ring)) = executor() else { return };
    let scratch = Scratch::new();
    let (mut reader, writer) = pipe().unwrap();
    let file = executor.fix(scratch.file("file", b"fixed")).unwrap();
    let pipe = executor.fix(OwnedFd::from(writer)).unwrap(); // whose descriptor is closed here
    assert!(matches!(executor.fix(io::stdin()), Err(Error::TooManyFixed(2))));
    let main = async |file: Fixed, pipe: Fixed| {
        let (read, buffer) = ring.submit(Read::at(file.clone(), Vec::with_capacity(16), 0)).await.unwrap();
        assert_eq!((read.unwrap(), &buffer[..]), (5, &b"fixed"[..]));
        ring.submit(Write::new(pipe.clone(), b"one ")).await.unwrap().0.unwrap();
        let moved = ring.submit(Splice::new(file, pipe, 100).from_offset(0)).await.unwrap();
        assert_eq!(moved.unwrap(), 5);
    };
    executor.block_on(main(file, pipe)).unwrap();
    executor.turn(Some(Duration::ZERO)).unwrap();
    let mut all = String::new();
    reader.read_to_string(&mut all).unwrap(); // to its end: the table has let go of the other side
    assert_eq!(all, "one fixed");
    let again = [executor.fix(io::stdin()).unwrap(), executor.fix(io::stdin()).unwrap()];
    assert!(matches!(executor.fix(io::stdin()), Err(Error::TooManyFixed(2))));
    drop(again);
}

#[test]
fn dropping_a_future_that_opens_or_splices_leaves_no_descriptor() {
    let Some((mut executor, ring)) = executor() else { return };
    let scratch = Scratch::new();
    let open = || Openat::new(scratch.open(), c".".into(), OFlags::RDONLY, Mode::empty());
    let (reader, writer) = pipes();
    let descriptors = || {
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
            let target = fs::read_link(entry.ok()?.path()).ok()?;
            (target == scratch.0).then_some(())
        })
    };
    let main = async {
        for ring in [ring.clone(), ring.in_worker()] {
            for _ in 0..20 {
                // Polled, so that it is on its way, and dropped.
                let mut opening = pin!(ring.submit(open()));
                _ = opening.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
            let mut splicing = pin!(ring.submit(Splice::new(reader.clone(), writer.clone(), 1)));
            _ = splicing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    };
    executor.block_on(main).unwrap();
    drop(executor); // which waits for what is in flight
    assert_eq!(descriptors().count(), 0);
    assert_eq!((Arc::strong_count(&reader), Arc::strong_count(&writer)), (1, 1));
}
