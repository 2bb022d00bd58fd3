//! An executor in a loop round epoll: how a program that has other descriptors to wait for would run the server.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use reveille::uring::{Error, Executor};
use rustix::event::epoll;
use rustix::io::Errno;

/// Runs the future to its end, and sleeps in an epoll on the ring.
///
/// # Errors
/// Of the ring, and of the epoll.
pub fn block_on(executor: &mut Executor, future: impl Future<Output = ()> + 'static) -> Result<(), Error> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
    let fd = executor.poll_fd().ok_or_else(|| io::Error::other("this ring is not to be polled"))?;
    epoll::add(&poll, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN).map_err(io::Error::from)?;
    let ended = Rc::new(Cell::new(false));
    let end = ended.clone();
    drop(executor.spawner().spawn(async move {
        future.await;
        end.set(true);
    }));
    let mut ready = Vec::with_capacity(1);
    while !ended.get() {
        if executor.prepare_to_sleep()? {
            ready.clear();
            match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut ready), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        executor.turn(Some(Duration::ZERO))?;
    }
    Ok(())
}
