//! The program's memory: an address does not come up twice in one run.
//!
//! What the program frees is kept until the run is over. So whether two pointers are equal does not
//! depend on what the system's allocator gives out again, which changes from run to run; and a use after free
//! reads what was there instead of ending the process.
//!
//! The price: this package has the process's global allocator, so a test binary cannot have another. Outside of
//! runs, and for the engine's own memory, it is the system's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use reveille_model::code;

/// See the head of the file.
struct Quarantine;

#[global_allocator]
static QUARANTINE: Quarantine = Quarantine;

/// What is written into a block that is kept: the next one, and its own layout.
struct Kept {
    next: *mut Kept,
    layout: Layout,
}

thread_local! {
    /// The blocks that are kept on this thread of the machine. It has no destructor, so it can be used to
    /// the end.
    static KEPT: Cell<*mut Kept> = const { Cell::new(std::ptr::null_mut()) };
}

/// A layout in which there is room for [`Kept`].
#[inline]
fn with_room(layout: Layout) -> Layout {
    let kept = Layout::new::<Kept>();
    let (size, align) = (layout.size().max(kept.size()), layout.align().max(kept.align()));
    // A size that overflows when it is rounded up is as good as one that nobody has: the system refuses it.
    Layout::from_size_align(size, align).unwrap_or(layout)
}

// SAFETY: blocks come from the system, with a layout that is a function of the one asked for, and go back to it
// with the same. Until then a block that was freed is used for `Kept` only, which fits.
unsafe impl GlobalAlloc for Quarantine {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, of a layout that is no smaller.
        unsafe { System.alloc(with_room(layout)) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(with_room(layout)) }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if code::is_program() {
            let kept = pointer.cast::<Kept>();
            // SAFETY: the block was allocated here with room for it, and its owner has given it up.
            unsafe { kept.write(Kept { next: KEPT.get(), layout: with_room(layout) }) };
            KEPT.set(kept);
        } else {
            // SAFETY: it came from the system with this layout.
            unsafe { System.dealloc(pointer, with_room(layout)) };
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise: the size does not overflow when rounded up.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if !code::is_program() {
            // SAFETY: it came from the system with this layout.
            return unsafe { System.realloc(pointer, with_room(layout), with_room(new).size()) };
        }
        // SAFETY: the caller's promises; the old block is given up after it has been copied.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(pointer, moved, layout.size().min(size));
                self.dealloc(pointer, layout);
            }
            moved
        }
    }
}

/// Frees what is kept on this thread of the machine: a run is over.
pub(crate) fn empty() {
    let mut kept = KEPT.replace(std::ptr::null_mut());
    while !kept.is_null() {
        // SAFETY: it is a block that was freed and is kept, and it is taken off the list.
        unsafe {
            let Kept { next, layout } = kept.read();
            System.dealloc(kept.cast(), layout);
            kept = next;
        }
    }
}
