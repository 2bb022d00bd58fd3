//! What the tests on a real ring share.

use reveille::uring::Error;

/// What was set up, or a loud word that there is no io_uring.
pub fn have<T>(setup: Result<T, Error>) -> Option<T> {
    match setup {
        Ok(reactor) => Some(reactor),
        Err(error @ (Error::Missing | Error::Forbidden | Error::LockedMemory | Error::TooOld(_))) => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
