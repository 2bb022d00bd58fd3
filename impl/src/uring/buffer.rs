//! Buffers that go to the kernel and come back.
//!
//! What the kernel reads is any `AsRef<[u8]>`. What it writes has a second length: a `Vec::with_capacity(4096)`
//! holds no byte and has room for 4096, and a read that looked at the first number only would read nothing and
//! call it an end of file. [`IoBufMut`] knows both numbers. A [`Slice`] lends a part of a buffer, and gives the
//! whole back.

use std::io;
use std::ops::{Bound, RangeBounds};

use super::op::Done;

/// A buffer that the kernel may fill: its first bytes hold values, [`as_mut`](AsMut::as_mut) has them; behind
/// them there may be spare capacity.
///
/// A type that has none needs nothing but the `impl` line.
///
/// # Safety
/// The memory that [`memory`](IoBufMut::memory) names is valid for reads and writes of so many bytes as long as
/// the buffer is neither moved nor touched. Its first bytes are those of `as_mut`, which are never fewer than
/// they were, and which [`set_init`](IoBufMut::set_init) makes more.
pub unsafe trait IoBufMut: AsMut<[u8]> + Send + 'static {
    /// Where the buffer begins, and how many bytes have room there, those that hold values and the spare ones.
    fn memory(&mut self) -> (*mut u8, usize) {
        let bytes = self.as_mut();
        (bytes.as_mut_ptr(), bytes.len())
    }

    /// The first `length` bytes hold values now. Never makes the buffer shorter.
    ///
    /// # Safety
    /// They do, and are not more than have room.
    unsafe fn set_init(&mut self, length: usize) {
        let _ = length; // there is no spare capacity
    }

    /// A part of it, to read into: to its end or to the end of the spare capacity.
    ///
    /// # Panics
    /// If the range begins behind the bytes that hold values, or ends before it begins.
    fn slice_mut(mut self, range: impl RangeBounds<usize>) -> Slice<Self>
    where
        Self: Sized,
    {
        let initialised = self.as_mut().len();
        Slice::new(self, initialised, range)
    }
}

// SAFETY: the vector's memory, all of which it owns; the first `len` bytes hold values.
unsafe impl IoBufMut for Vec<u8> {
    fn memory(&mut self) -> (*mut u8, usize) {
        (self.as_mut_ptr(), self.capacity())
    }

    unsafe fn set_init(&mut self, length: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.set_len(length.max(self.len())) }
    }
}

// SAFETY: no spare capacity.
unsafe impl IoBufMut for Box<[u8]> {}

// SAFETY: no spare capacity. The array is where the operation is, which stays there.
unsafe impl<const N: usize> IoBufMut for [u8; N] {}

// SAFETY: no spare capacity.
unsafe impl IoBufMut for &'static mut [u8] {}

/// A buffer that the kernel may read.
pub trait IoBuf: AsRef<[u8]> + Send + 'static {
    /// A part of it, to write from.
    ///
    /// # Panics
    /// If the range begins behind the buffer's end, or ends before it begins.
    fn slice(self, range: impl RangeBounds<usize>) -> Slice<Self>
    where
        Self: Sized,
    {
        let length = self.as_ref().len();
        Slice::new(self, length, range)
    }
}

impl<B: AsRef<[u8]> + Send + 'static> IoBuf for B {}

/// A part of a buffer, which owns the whole.
///
/// ```
/// use reveille::uring::IoBuf;
/// let part = "reveille".slice(2..5);
/// assert_eq!(part.as_ref(), b"vei");
/// assert_eq!(part.into_inner(), "reveille");
/// ```
#[derive(Debug, Clone)]
pub struct Slice<B> {
    buffer: B,
    /// Not behind the bytes that hold values: there are never fewer than there were.
    begin: usize,
    /// May be behind everything.
    end: usize,
}

impl<B> Slice<B> {
    fn new(buffer: B, initialised: usize, range: impl RangeBounds<usize>) -> Self {
        let begin = match range.start_bound() {
            Bound::Included(&begin) => begin,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => usize::MAX,
        };
        assert!(begin <= initialised, "a slice from {begin} of a buffer that holds {initialised} bytes");
        assert!(begin <= end, "a slice from {begin} to {end}");
        Self { buffer, begin, end }
    }

    /// The whole buffer.
    pub fn into_inner(self) -> B {
        self.buffer
    }
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Slice<B> {
    fn as_ref(&self) -> &[u8] {
        let bytes = self.buffer.as_ref();
        &bytes[self.begin..self.end.min(bytes.len())]
    }
}

impl<B: AsMut<[u8]>> AsMut<[u8]> for Slice<B> {
    fn as_mut(&mut self) -> &mut [u8] {
        let bytes = self.buffer.as_mut();
        let end = self.end.min(bytes.len());
        &mut bytes[self.begin..end]
    }
}

// SAFETY: a part of the buffer's memory. It begins where bytes hold values, so there are none between those and
// what is told to hold values.
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn memory(&mut self) -> (*mut u8, usize) {
        let (begin, length) = self.buffer.memory();
        let length = self.end.min(length).checked_sub(self.begin);
        let length = length.expect("a buffer is never shorter than it was");
        // SAFETY: not behind the end of the memory.
        (unsafe { begin.add(self.begin) }, length)
    }

    unsafe fn set_init(&mut self, length: usize) {
        // SAFETY: the bytes before `begin` hold values, and by the caller's promise those behind it.
        unsafe { self.buffer.set_init(self.begin + length) }
    }
}

/// What one request can carry. A longer buffer is read or written in part, as the kernel does it too.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Where the kernel is to read from.
pub(super) fn source(buffer: &impl AsRef<[u8]>) -> (*const u8, u32) {
    let bytes = buffer.as_ref();
    (bytes.as_ptr(), length(bytes.len()))
}

/// Where the kernel is to write to.
pub(super) fn target(buffer: &mut impl IoBufMut) -> (*mut u8, u32) {
    let (begin, bytes) = buffer.memory();
    (begin, length(bytes))
}

/// How many bytes came into the buffer, which is told.
///
/// # Safety
/// The request was one that writes from the buffer's beginning on, and its result is how many bytes it has
/// written there.
pub(super) unsafe fn filled(buffer: &mut impl IoBufMut, done: Done) -> io::Result<usize> {
    let bytes = done.result? as usize;
    // SAFETY: the kernel has written them, where there is room for them.
    unsafe { buffer.set_init(bytes) };
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_of_an_empty_vector_is_its_spare_capacity() {
        let mut slice = Vec::with_capacity(100).slice_mut(..60);
        assert_eq!((slice.as_mut().len(), slice.memory().1), (0, 60));
        // SAFETY: there is room for eleven bytes.
        unsafe {
            slice.memory().0.write_bytes(7, 11);
            slice.set_init(11);
        }
        assert_eq!(slice.into_inner(), [7; 11]);
    }

    #[test]
    fn a_slice_of_a_slice_is_the_part_of_the_part() {
        let mut slice = vec![0, 1, 2, 3, 4, 5, 6, 7].slice_mut(2..=6).slice_mut(1..3);
        assert_eq!(slice.memory().1, 2);
        assert_eq!(slice.as_mut(), [3, 4]);
        assert_eq!(slice.into_inner().into_inner().len(), 8);
        assert_eq!([0, 1, 2, 3].slice(3..).as_ref(), [3]);
    }

    #[test]
    fn nothing_is_forgotten_when_less_is_read_than_was_there() {
        let mut buffer = vec![1; 12];
        // SAFETY: they hold values already.
        unsafe { buffer.set_init(3) };
        assert_eq!(buffer, [1; 12]);
    }

    #[test]
    #[should_panic = "a slice from 5 of a buffer that holds 4 bytes"]
    fn a_slice_begins_where_bytes_hold_values() {
        let _ = b"four".to_vec().slice_mut(5..);
    }
}
