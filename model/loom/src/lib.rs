//! loom's names on an exact engine: a model is run in **every** execution that RC11 allows, each once.
//!
//! What has to be changed, what gets better, what differs: see the README of this package.
//!
//! ```
//! use loom::sync::Arc;
//! use loom::sync::atomic::AtomicUsize;
//! use loom::sync::atomic::Ordering::{Acquire, Release};
//!
//! loom::model(|| {
//!     let (data, ready) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
//!     let writer = {
//!         let (data, ready) = (data.clone(), ready.clone());
//!         loom::thread::spawn(move || {
//!             data.store(1, Release);
//!             ready.store(1, Release);
//!         })
//!     };
//!     if ready.load(Acquire) == 1 {
//!         assert_eq!(data.load(Acquire), 1);
//!     }
//!     writer.join().unwrap();
//! });
//! ```

pub mod alloc;
pub mod cell;
#[cfg(feature = "futures")]
pub mod future;
pub mod hint;
pub mod lazy_static;
pub mod model;
mod report;
mod rt;
mod search;
pub mod sync;
pub mod thread;

#[doc(inline)]
pub use crate::model::model;
pub use crate::model::{MAX_THREADS, explore, skip_branch, stop_exploring};

/// Declares statics of which each thread of an execution has its own, as the macro of this name of the
/// standard library does.
#[macro_export]
macro_rules! thread_local {
    () => {};
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = const { $init:expr } $(; $($rest:tt)*)?) => {
        $crate::thread_local!(@one $(#[$attr])* $vis $name, $t, $init);
        $($crate::thread_local!($($rest)*);)?
    };
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = $init:expr $(; $($rest:tt)*)?) => {
        $crate::thread_local!(@one $(#[$attr])* $vis $name, $t, $init);
        $($crate::thread_local!($($rest)*);)?
    };
    (@one $(#[$attr:meta])* $vis:vis $name:ident, $t:ty, $init:expr) => {
        $(#[$attr])* $vis static $name: $crate::thread::LocalKey<$t> = {
            fn init() -> $t {
                $init
            }
            $crate::thread::LocalKey::new(init)
        };
    };
}

/// Declares statics that each execution makes anew at their first use, as the macro of this name of the crate
/// `lazy_static` does.
#[macro_export]
macro_rules! lazy_static {
    () => {};
    ($(#[$attr:meta])* $vis:vis static ref $name:ident: $t:ty = $init:expr; $($rest:tt)*) => {
        #[allow(missing_copy_implementations, non_camel_case_types, dead_code)]
        $(#[$attr])*
        $vis struct $name {
            _private: (),
        }
        #[doc(hidden)]
        #[allow(missing_docs)]
        $vis static $name: $name = $name { _private: () };
        impl ::core::ops::Deref for $name {
            type Target = $t;

            fn deref(&self) -> &$t {
                fn init() -> $t {
                    $init
                }
                static LAZY: $crate::lazy_static::Lazy<$t> = $crate::lazy_static::Lazy::new(init);
                LAZY.get()
            }
        }
        $crate::lazy_static!($($rest)*);
    };
}
