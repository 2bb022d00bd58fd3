//! Transfers of all bytes of a buffer, however few the kernel moves at a time.
//!
//! A read of a pipe ends with what is there, a send with what has room, and a signal ends either. That is no
//! error, and no end of the file.

use std::future::Future;
use std::io;

use rustix::net::SendFlags;

use super::buffer::{IoBuf, IoBufMut, Slice};
use super::error::Closed;
use super::future::AsyncHandle;
use super::op::{IoFile, Read, Send as SendOp, Write};

/// How a transfer ended, and its buffer.
type Whole<B> = Result<(io::Result<()>, B), Closed>;

impl<T: Send + 'static> AsyncHandle<T> {
    /// Reads from where the file stands until the buffer is full, its spare capacity included: give a
    /// [slice](IoBufMut::slice_mut) to read less.
    ///
    /// `UnexpectedEof` if the file ends before. What was read by then is in the buffer, however this ends.
    ///
    /// # Errors
    /// [`Closed`] if the reactor goes away meanwhile.
    pub async fn read_exact<F: IoFile + Clone, B: IoBufMut>(&self, file: F, buffer: B) -> Whole<B> {
        self.read_whole(buffer, |part, _| Read::new(file.clone(), part)).await
    }

    /// The same from a position.
    ///
    /// # Errors
    /// As there.
    pub async fn read_exact_at<F: IoFile + Clone, B: IoBufMut>(
        &self,
        file: F,
        buffer: B,
        offset: u64,
    ) -> Whole<B> {
        self.read_whole(buffer, |part, done| Read::at(file.clone(), part, offset.saturating_add(done))).await
    }

    async fn read_whole<F: IoFile, B: IoBufMut>(
        &self,
        mut buffer: B,
        read: impl Fn(Slice<B>, u64) -> Read<F, Slice<B>>,
    ) -> Whole<B> {
        let whole = buffer.memory().1;
        let mut done = 0;
        while done < whole {
            let (moved, part) = self.submit(read(buffer.slice_mut(done..whole), done as u64)).await?;
            buffer = part.into_inner();
            match progress(moved, io::ErrorKind::UnexpectedEof) {
                Ok(bytes) => done += bytes,
                Err(error) => return Ok((Err(error), buffer)),
            }
        }
        Ok((Ok(()), buffer))
    }

    /// Writes the whole buffer to where the file stands.
    ///
    /// # Errors
    /// [`Closed`] if the reactor goes away meanwhile.
    pub async fn write_all<F: IoFile + Clone, B: IoBuf>(&self, file: F, buffer: B) -> Whole<B> {
        self.write_whole(buffer, |part, _| self.submit(Write::new(file.clone(), part))).await
    }

    /// The same to a position.
    ///
    /// # Errors
    /// As there.
    pub async fn write_all_at<F: IoFile + Clone, B: IoBuf>(
        &self,
        file: F,
        buffer: B,
        offset: u64,
    ) -> Whole<B> {
        let write = |part, done| self.submit(Write::at(file.clone(), part, offset.saturating_add(done)));
        self.write_whole(buffer, write).await
    }

    /// Sends the whole buffer.
    ///
    /// # Errors
    /// As for [`write_all`](AsyncHandle::write_all).
    pub async fn send_all<F: IoFile + Clone, B: IoBuf>(
        &self,
        socket: F,
        buffer: B,
        flags: SendFlags,
    ) -> Whole<B> {
        let send = |part, _| self.submit(SendOp::new(socket.clone(), part).flags(flags));
        self.write_whole(buffer, send).await
    }

    async fn write_whole<B: IoBuf, F>(&self, mut buffer: B, write: impl Fn(Slice<B>, u64) -> F) -> Whole<B>
    where
        F: Future<Output = Result<(io::Result<usize>, Slice<B>), Closed>>,
    {
        let whole = buffer.as_ref().len();
        let mut done = 0;
        while done < whole {
            let (moved, part) = write(buffer.slice(done..whole), done as u64).await?;
            buffer = part.into_inner();
            match progress(moved, io::ErrorKind::WriteZero) {
                Ok(bytes) => done += bytes,
                Err(error) => return Ok((Err(error), buffer)),
            }
        }
        Ok((Ok(()), buffer))
    }
}

/// How far a transfer has come. Nothing at all is the end.
fn progress(moved: io::Result<usize>, end: io::ErrorKind) -> io::Result<usize> {
    match moved {
        Ok(0) => Err(end.into()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        moved => moved,
    }
}
