//! Whether this is still the process that set a ring up.
//!
//! A child of a fork has the ring's memory and descriptor in common with its parent: what it takes from there the parent
//! misses, and what it puts there the parent submits. To ask the kernel each time who one is costs a system call. So each
//! process has a number, in a page that the kernel wipes in every child.

use std::ptr::{NonNull, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

/// Where the number of this process is kept; 0 where nobody has asked yet.
fn kept() -> Option<&'static AtomicU32> {
    static KEPT: OnceLock<Option<&'static AtomicU32>> = OnceLock::new();
    *KEPT.get_or_init(|| {
        const LENGTH: usize = 4096;
        // SAFETY: a mapping of its own, at a place of the kernel's choice.
        let page = unsafe {
            mmap_anonymous(null_mut(), LENGTH, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        };
        let page = page.ok()?;
        // SAFETY: the mapping has just been made, and nobody uses it.
        unsafe { madvise(page, LENGTH, Advice::LinuxWipeOnFork) }.ok()?;
        // SAFETY: the mapping is never undone, is aligned to a page, and is used as this atomic only; all zeroes is one.
        NonNull::new(page.cast()).map(|page| unsafe { page.as_ref() })
    })
}

/// A number of this process, which its ancestors do not have. Not the system's: in a namespace of its own a child may have the
/// same as its parent.
pub(super) fn current() -> u32 {
    /// The last number that was given in this process or an ancestor; a child has a copy.
    static LAST: AtomicU32 = AtomicU32::new(0);
    let Some(kept) = kept() else { return std::process::id() };
    // Unreached: an ordinary atomic. Relaxed: there is no more to it than the number.
    match kept.load(Relaxed) {
        0 => {
            // Unreached: an ordinary atomic. Relaxed, as above.
            let next = LAST.fetch_add(1, Relaxed) + 1;
            // Unreached: an ordinary atomic. Relaxed: of several threads that come here at once the first decides.
            kept.compare_exchange(0, next, Relaxed, Relaxed).map_or_else(|process| process, |_| next)
        }
        process => process,
    }
}
