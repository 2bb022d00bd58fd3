//! What each thread of an execution has for itself: `thread_local!`.

use std::any::Any;
use std::error::Error;
use std::fmt;

use crate::rt;

/// A `thread_local!`: each thread makes its own value when it asks for it, and drops it at its end.
pub struct LocalKey<T> {
    init: fn() -> T,
    /// A static of a type without size would have the address of another
    _place: u8,
}

/// The thread is at its end, and the value is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessError {
    _private: (),
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("already destroyed")
    }
}

impl Error for AccessError {}

impl<T: 'static> LocalKey<T> {
    /// For [`thread_local!`](crate::thread_local).
    #[doc(hidden)]
    pub const fn new(init: fn() -> T) -> Self {
        LocalKey { init, _place: 0 }
    }

    /// Gives the running thread's value to `body`.
    ///
    /// # Panics
    /// If it is gone.
    pub fn with<F, R>(&'static self, body: F) -> R
    where
        F: FnOnce(&T) -> R,
    {
        self.try_with(body).expect("cannot access a (mock) TLS value during or after it is destroyed")
    }

    /// Gives the running thread's value to `body`.
    ///
    /// # Errors
    /// If it is gone.
    pub fn try_with<F, R>(&'static self, body: F) -> Result<R, AccessError>
    where
        F: FnOnce(&T) -> R,
    {
        let address = std::ptr::from_ref(self).addr();
        let find = || {
            rt::own(|own| {
                let local = own.locals.iter().find(|(at, _)| *at == address)?;
                let value = local.1.as_ref().and_then(|value| value.downcast_ref::<T>());
                Some(value.map(std::ptr::from_ref))
            })
        };
        let known = match find() {
            Some(known) => known,
            None if rt::own(|own| own.is_ending) => None,
            None => {
                let value: Box<dyn Any> = Box::new((self.init)());
                rt::own(|own| own.locals.push((address, Some(value))));
                find().flatten()
            }
        };
        let value = known.ok_or(AccessError { _private: () })?;
        // SAFETY: it is in a box that stays until the thread ends, and this is the thread.
        Ok(body(unsafe { &*value }))
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKey { .. }")
    }
}
