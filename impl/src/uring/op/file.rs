//! Files and pipes.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};

use io_uring::{opcode, squeue, types};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;

use super::{Done, IoFile, Operation, directory, owned, with_file};
use crate::uring::buffer::{IoBuf, IoBufMut, filled, source, target};

/// Reads into a buffer from a file, a pipe or a socket: over what it holds, and on into its spare capacity. The
/// buffer comes back with the number of bytes read; 0 is the end of the file, or of the room.
///
/// The file is kept open until the read has ended: give an `Arc<File>`, or the file itself to have it closed
/// then.
#[derive(Debug)]
pub struct Read<F, B> {
    file: F,
    buffer: B,
    offset: u64,
}

/// The offset that means "where the file stands", for files that have no positions as well.
const CURRENT: u64 = u64::MAX;

/// A position, which is never taken for [`CURRENT`]: for the kernel the one before the last is as impossible as
/// the last.
fn position(offset: u64) -> u64 {
    offset.min(CURRENT - 1)
}

impl<F, B> Read<F, B> {
    /// From where the file stands, as `read(2)`.
    pub fn new(file: F, buffer: B) -> Self {
        Self { file, buffer, offset: CURRENT }
    }

    /// From a position, as `pread(2)`.
    pub fn at(file: F, buffer: B, offset: u64) -> Self {
        Self { file, buffer, offset: position(offset) }
    }
}

// SAFETY: the file and the buffer are owned. The buffer's memory is valid while it is neither moved nor
// touched, and nobody but the kernel touches it between `entry` and `finish`.
unsafe impl<F: IoFile, B: IoBufMut> Operation for Read<F, B> {
    type Output = (io::Result<usize>, B);

    fn entry(&mut self) -> squeue::Entry {
        let (memory, length) = target(&mut self.buffer);
        with_file!(&self.file, |fd| opcode::Read::new(fd, memory, length).offset(self.offset).build())
    }

    fn finish(mut self, done: Done) -> Self::Output {
        // SAFETY: the result of a read is how much was read.
        (unsafe { filled(&mut self.buffer, done) }, self.buffer)
    }
}

/// Writes a buffer to a file, a pipe or a socket, as far as the kernel takes it. The buffer comes back with the
/// number of bytes written.
///
/// The file is kept open until the write has ended, as for [`Read`].
#[derive(Debug)]
pub struct Write<F, B> {
    file: F,
    buffer: B,
    offset: u64,
}

impl<F, B> Write<F, B> {
    /// To where the file stands, as `write(2)`.
    pub fn new(file: F, buffer: B) -> Self {
        Self { file, buffer, offset: CURRENT }
    }

    /// To a position, as `pwrite(2)`.
    pub fn at(file: F, buffer: B, offset: u64) -> Self {
        Self { file, buffer, offset: position(offset) }
    }
}

// SAFETY: the file and the buffer are owned. The slice is valid while the buffer is borrowed, and nobody
// touches the buffer between `entry` and `finish`, which is as good; the kernel only reads it.
unsafe impl<F: IoFile, B: IoBuf> Operation for Write<F, B> {
    type Output = (io::Result<usize>, B);

    fn entry(&mut self) -> squeue::Entry {
        let (memory, length) = source(&self.buffer);
        with_file!(&self.file, |fd| opcode::Write::new(fd, memory, length).offset(self.offset).build())
    }

    fn finish(self, done: Done) -> Self::Output {
        (done.result.map(|n| n as usize), self.buffer)
    }
}

/// Moves bytes from one file to another without a copy through this process. One of the two is a pipe.
///
/// The kernel does it in one of its own workers always, as it may block on either side.
#[derive(Debug)]
pub struct Splice<I, O> {
    from: I,
    from_offset: Option<u64>,
    to: O,
    to_offset: Option<u64>,
    length: u32,
    flags: SpliceFlags,
}

impl<I, O> Splice<I, O> {
    /// So many bytes at most, from where the one file stands to where the other does.
    pub fn new(from: I, to: O, length: u32) -> Self {
        Self { from, from_offset: None, to, to_offset: None, length, flags: SpliceFlags::empty() }
    }

    /// The same, from a position of a file that is no pipe.
    pub fn from_offset(self, offset: u64) -> Self {
        Self { from_offset: Some(offset), ..self }
    }

    /// The same, to a position of a file that is no pipe.
    pub fn to_offset(self, offset: u64) -> Self {
        Self { to_offset: Some(offset), ..self }
    }

    /// The same, with flags: that more will follow, say.
    pub fn flags(self, flags: SpliceFlags) -> Self {
        Self { flags, ..self }
    }
}

/// An offset as the kernel takes it. What is no position of any file is none for the kernel either.
fn splice_offset(offset: Option<u64>) -> i64 {
    offset.map_or(-1, |offset| i64::try_from(offset).unwrap_or(i64::MAX))
}

// SAFETY: both files are owned, and there are no addresses in the entry.
unsafe impl<I: IoFile, O: IoFile> Operation for Splice<I, O> {
    type Output = io::Result<usize>;

    fn entry(&mut self) -> squeue::Entry {
        let (from_offset, to_offset) = (splice_offset(self.from_offset), splice_offset(self.to_offset));
        let flags = self.flags.bits();
        with_file!(&self.from, |from| with_file!(&self.to, |to| {
            opcode::Splice::new(from, from_offset, to, to_offset, self.length).flags(flags).build()
        }))
    }

    fn finish(self, done: Done) -> Self::Output {
        done.result.map(|n| n as usize)
    }
}

/// Opens a file. It is not inherited by programs that this one executes.
///
/// A file that was opened and that nobody takes is closed: where the future was dropped, or the reactor.
#[derive(Debug)]
pub struct Openat<D> {
    directory: D,
    path: CString,
    flags: OFlags,
    mode: Mode,
    how: types::OpenHow,
    resolve: ResolveFlags,
}

impl<D> Openat<D> {
    /// A path relative to an open directory, or to `rustix::fs::CWD`; as `openat(2)`.
    pub fn new(directory: D, path: CString, flags: OFlags, mode: Mode) -> Self {
        let (how, resolve) = (types::OpenHow::new(), ResolveFlags::empty());
        Self { directory, path, flags: flags | OFlags::CLOEXEC, mode, how, resolve }
    }

    /// The same, where the path may not lead everywhere: `ResolveFlags::BENEATH` keeps it in the directory. As
    /// `openat2(2)`.
    pub fn resolve(self, resolve: ResolveFlags) -> Self {
        Self { resolve, ..self }
    }
}

// SAFETY: the directory and the path are owned, and what tells how to open is in `self`.
unsafe impl<D: AsFd + Send + 'static> Operation for Openat<D> {
    type Output = io::Result<OwnedFd>;

    fn entry(&mut self) -> squeue::Entry {
        let (directory, path) = (directory(&self.directory), self.path.as_ptr());
        if self.resolve.is_empty() {
            let (flags, mode) = (self.flags.bits() as i32, self.mode.bits());
            return opcode::OpenAt::new(directory, path).flags(flags).mode(mode).build();
        }
        let (flags, mode, resolve) = (self.flags.bits(), self.mode.bits(), self.resolve.bits());
        self.how = types::OpenHow::new().flags(flags.into()).mode(mode.into()).resolve(resolve);
        opcode::OpenAt2::new(directory, path, &raw const self.how).build()
    }

    fn finish(self, done: Done) -> Self::Output {
        owned(done)
    }
}

/// Asks what the file system knows of a file.
#[derive(Debug)]
pub struct Statx<F> {
    file: F,
    path: CString,
    flags: AtFlags,
    wanted: StatxFlags,
    found: MaybeUninit<rustix::fs::Statx>,
}

impl<F> Statx<F> {
    /// Of an open file.
    pub fn of(file: F) -> Self {
        Self::at(file, CString::default(), AtFlags::EMPTY_PATH)
    }

    /// Of a path relative to an open directory, or to `rustix::fs::CWD`.
    pub fn at(directory: F, path: CString, flags: AtFlags) -> Self {
        let (wanted, found) = (StatxFlags::BASIC_STATS, MaybeUninit::zeroed());
        Self { file: directory, path, flags, wanted, found }
    }

    /// The same, of these fields.
    pub fn wanted(self, wanted: StatxFlags) -> Self {
        Self { wanted, ..self }
    }
}

// SAFETY: the file and the path are owned, and the result is in `self`.
unsafe impl<F: AsFd + Send + 'static> Operation for Statx<F> {
    type Output = io::Result<rustix::fs::Statx>;

    fn entry(&mut self) -> squeue::Entry {
        // The two types are the kernel's `struct statx`, by different names.
        let found = self.found.as_mut_ptr().cast::<types::statx>();
        opcode::Statx::new(directory(&self.file), self.path.as_ptr(), found)
            .flags(self.flags.bits() as i32)
            .mask(self.wanted.bits())
            .build()
    }

    fn finish(self, done: Done) -> Self::Output {
        done.result?;
        // SAFETY: the kernel has filled it, and before that it was zero: of plain numbers.
        Ok(unsafe { self.found.assume_init() })
    }
}

/// Has what was written to a file reach its disk.
#[derive(Debug)]
pub struct Fsync<F> {
    file: F,
    flags: types::FsyncFlags,
}

impl<F> Fsync<F> {
    /// The bytes and all that is known of the file, as `fsync(2)`.
    pub fn new(file: F) -> Self {
        Self { file, flags: types::FsyncFlags::empty() }
    }

    /// The bytes, and what is needed to find them again, as `fdatasync(2)`.
    pub fn data(file: F) -> Self {
        Self { file, flags: types::FsyncFlags::DATASYNC }
    }
}

// SAFETY: the file is owned, and there are no addresses in the entry.
unsafe impl<F: IoFile> Operation for Fsync<F> {
    type Output = io::Result<()>;

    fn entry(&mut self) -> squeue::Entry {
        with_file!(&self.file, |fd| opcode::Fsync::new(fd).flags(self.flags).build())
    }

    fn finish(self, done: Done) -> Self::Output {
        done.result.map(drop)
    }
}

/// Closes a file, and says how that went. It is closed in any case.
#[derive(Debug)]
pub struct Close {
    file: OwnedFd,
}

impl Close {
    /// This one.
    pub fn new(file: impl Into<OwnedFd>) -> Self {
        Self { file: file.into() }
    }
}

// SAFETY: there are no addresses in the entry. The descriptor is owned until the kernel closes it, and given up
// then.
unsafe impl Operation for Close {
    type Output = io::Result<()>;

    fn entry(&mut self) -> squeue::Entry {
        opcode::Close::new(types::Fd(self.file.as_raw_fd())).build()
    }

    fn finish(self, done: Done) -> Self::Output {
        let untouched = |error: &io::Error| {
            let errno = error.raw_os_error().map(Errno::from_raw_os_error);
            // Cancelled before it began, or no operation that this kernel has. After anything else the
            // descriptor is closed, or another file's by now.
            matches!(errno, None | Some(Errno::CANCELED | Errno::INVAL))
        };
        match done.result {
            Err(error) if untouched(&error) => drop(self.file),
            result => {
                let _closed = self.file.into_raw_fd();
                result?;
            }
        }
        Ok(())
    }
}
