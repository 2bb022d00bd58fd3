//! The program's memory: an address does not come up twice in one run, and the same ones come up in each.
//!
//! *Not twice*: what the program frees is kept until the run is over. So whether two pointers are equal does not
//! depend on what the system's allocator gives out again, and a use after free reads what was there instead of
//! ending the process.
//!
//! *The same ones*: the n-th block of a layout that a thread asks for is the same one in each run of a search. So
//! an address may be kept in an `AtomicUsize`, with a tag in its low bits, say: to the engine it is a number, and
//! a repetition has to come to the same number. What a thread asks for depends on what it has read only, so this
//! holds in a repetition whatever the order of the threads. Two things break it, and then the engine says so: a
//! block that outlives its run has another one in its place in the next; and an allocation that comes once in
//! the process takes a place, which is why a search begins with a run for nothing.
//!
//! The price: this package has the process's global allocator, so a test binary cannot have another. Outside of
//! runs, and for what is not the program's, the blocks are the system's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use reveille_model::code;

/// See the head of the file.
struct Memory;

#[global_allocator]
static MEMORY: Memory = Memory;

/// What stands before each block.
#[repr(C, align(16))]
struct Header {
    /// [`PLAIN`], [`USED`] or [`FREE`]
    state: AtomicUsize,
}

/// It belongs to who has it, and goes back to the system.
const PLAIN: usize = 0;
/// It is of an arena, and given out.
const USED: usize = 1;
/// It is of an arena, and has been freed since it was last given out.
const FREE: usize = 2;

/// What is written into a plain block that the program has freed: the next one, and the layout.
struct Kept {
    next: *mut Kept,
    layout: Layout,
}

thread_local! {
    /// The plain blocks that are kept on this thread of the machine. It has no destructor, so it can be used to
    /// the end.
    static KEPT: Cell<*mut Kept> = const { Cell::new(null_mut()) };

    /// The arena of the run on this thread of the machine
    static ARENA: Cell<*mut Arena> = const { Cell::new(null_mut()) };

    /// Whether what is asked for is this layer's own
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// The blocks that a search gives to its runs.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    /// By thread of the program and by layout
    lists: HashMap<(usize, Layout), List>,
    run: u64,
}

#[derive(Debug, Default)]
struct List {
    blocks: Vec<NonNull<u8>>,
    /// How many have been given out in this run
    given: usize,
    run: u64,
}

// SAFETY: it owns its blocks, but for those that are given out, whose headers are atomic.
unsafe impl Send for Arena {}

/// The arenas of a search: one for each worker. A search on one worker has the same one in all its runs.
pub(crate) type Arenas = Mutex<Vec<Box<Arena>>>;

/// The layout of a block with its header, and where the block begins in it.
#[inline]
fn outer(layout: Layout) -> (Layout, usize) {
    let align = layout.align().max(align_of::<Header>());
    let size = layout.size().max(size_of::<Kept>()).saturating_add(align);
    // What overflows is as good as a size that nobody has: the system refuses it.
    (Layout::from_size_align(size, align).unwrap_or(layout), align)
}

/// The header of a block.
///
/// # Safety
/// The block is one of this allocator.
#[inline]
unsafe fn header<'a>(block: *mut u8) -> &'a Header {
    // SAFETY: `raw` has written it right before the block, whose alignment is no smaller than the header's.
    unsafe { &*block.sub(size_of::<Header>()).cast::<Header>() }
}

/// A new block of the system's, or null.
#[inline]
fn raw(layout: Layout, state: usize, is_zeroed: bool) -> *mut u8 {
    let (outer, offset) = outer(layout);
    // SAFETY: its size is not 0: there is a header. The block begins within it, at a multiple of both alignments,
    // and the header fits before it.
    unsafe {
        let from = if is_zeroed { System.alloc_zeroed(outer) } else { System.alloc(outer) };
        if from.is_null() {
            return from;
        }
        let block = from.add(offset);
        block.sub(size_of::<Header>()).cast::<Header>().write(Header { state: AtomicUsize::new(state) });
        block
    }
}

/// Gives a block back to the system.
///
/// # Safety
/// It is from [`raw`], with this layout, and nobody has it.
#[inline]
unsafe fn release(block: *mut u8, layout: Layout) {
    let (outer, offset) = outer(layout);
    // SAFETY: the caller's promise.
    unsafe { System.dealloc(block.sub(offset), outer) };
}

/// The arena, if what is asked for now is to come from it.
#[inline]
fn arena() -> *mut Arena {
    if code::is_program() && !IS_OWN.get() { ARENA.get() } else { null_mut() }
}

/// Does what is this layer's own: what it allocates is no block of the program.
#[inline]
pub(crate) fn own<R>(body: impl FnOnce() -> R) -> R {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            IS_OWN.set(self.0);
        }
    }
    let _before = Before(IS_OWN.replace(true));
    body()
}

impl Arena {
    /// The next block of this layout for the running thread.
    fn give(&mut self, layout: Layout) -> *mut u8 {
        let run = self.run;
        let list = self.lists.entry((code::thread(), layout)).or_default();
        if list.run != run {
            (list.run, list.given) = (run, 0);
        }
        let place = list.given;
        list.given += 1;
        if let Some(&block) = list.blocks.get(place) {
            // SAFETY: it is one of this allocator. Who has freed it did so before (Acquire with AcqRel).
            if unsafe { header(block.as_ptr()) }.state.compare_exchange(FREE, USED, Acquire, Relaxed).is_ok()
            {
                return block.as_ptr();
            }
        }
        let Some(new) = NonNull::new(raw(layout, USED, false)) else { return null_mut() };
        match list.blocks.get_mut(place) {
            // It has outlived its run, and belongs to who has it.
            Some(block) => disown(std::mem::replace(block, new), layout),
            None => list.blocks.push(new),
        }
        new.as_ptr()
    }
}

/// Gives up a block of an arena.
fn disown(block: NonNull<u8>, layout: Layout) {
    // SAFETY: it is one of this allocator.
    let state = &unsafe { header(block.as_ptr()) }.state;
    // With the exchange of `dealloc`: one of both is the last to know of it.
    if state.compare_exchange(USED, PLAIN, AcqRel, Acquire).is_err() {
        // SAFETY: it was freed, so nobody has it.
        unsafe { release(block.as_ptr(), layout) };
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for ((_, layout), list) in self.lists.drain() {
            list.blocks.into_iter().for_each(|block| disown(block, layout));
        }
    }
}

// SAFETY: a block is from the system, in a layout that is a function of the one asked for, and goes back there
// with the same, or stays with its arena as long as that is there. A block of an arena is given out again only when
// it has been freed. A plain one that is kept is used for `Kept` only, which fits.
unsafe impl GlobalAlloc for Memory {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let arena = arena();
        if arena.is_null() {
            return raw(layout, PLAIN, false);
        }
        // SAFETY: it is there from `begin` to `end`, on this thread of the machine alone; what it allocates itself is
        // its own, and does not come here.
        own(|| unsafe { (*arena).give(layout) })
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if arena().is_null() {
            return raw(layout, PLAIN, true);
        }
        // SAFETY: the caller's promise; the block is as large as it says.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                block.write_bytes(0, layout.size());
            }
            block
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise: it is a block of this allocator.
        let state = &unsafe { header(block) }.state;
        if state.load(Acquire) == USED && state.compare_exchange(USED, FREE, AcqRel, Acquire).is_ok() {
            return;
        }
        if code::is_program() && !IS_OWN.get() {
            let kept = block.cast::<Kept>();
            // SAFETY: there is room for it, and the block's owner has given it up.
            unsafe { kept.write(Kept { next: KEPT.get(), layout }) };
            KEPT.set(kept);
        } else {
            // SAFETY: it is plain, and its owner has given it up.
            unsafe { release(block, layout) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise: the size does not overflow when rounded up.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the caller's promise: it is a block of this allocator.
        let is_plain = unsafe { header(block) }.state.load(Acquire) == PLAIN;
        if is_plain && (!code::is_program() || IS_OWN.get()) {
            let ((from, offset), (to, _)) = (outer(layout), outer(new));
            // SAFETY: it is from the system, with this layout; where the block begins is a function of the alignment.
            return unsafe {
                let moved = System.realloc(block.sub(offset), from, to.size());
                if moved.is_null() { moved } else { moved.add(offset) }
            };
        }
        // SAFETY: the caller's promises; the old block is given up after it has been copied.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

/// A run begins on this thread of the machine.
pub(crate) fn begin(arenas: &Arenas) {
    own(|| {
        let mut arena = arenas.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        arena.run = code::run();
        let before = ARENA.replace(Box::into_raw(arena));
        if !before.is_null() {
            // A run that could not be ended has left it, with blocks that may be in use.
            // SAFETY: it is from here, and nobody has it.
            drop(unsafe { Box::from_raw(before) });
        }
    });
}

/// The run is over.
pub(crate) fn end(arenas: &Arenas) {
    let arena = ARENA.replace(null_mut());
    if !arena.is_null() {
        // SAFETY: it is from `begin`.
        let arena = unsafe { Box::from_raw(arena) };
        arenas.lock().unwrap_or_else(PoisonError::into_inner).push(arena);
    }
    let mut kept = KEPT.replace(null_mut());
    while !kept.is_null() {
        // SAFETY: it is a block that was freed and is kept, and it is taken off the list.
        unsafe {
            let Kept { next, layout } = kept.read();
            release(kept.cast(), layout);
            kept = next;
        }
    }
}
