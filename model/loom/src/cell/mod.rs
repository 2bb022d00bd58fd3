//! Cells whose accesses are watched: two threads that access one, of which one writes, without anything that
//! orders them, are a race.

mod unsafe_cell;
mod value;

pub use self::unsafe_cell::{ConstPtr, MutPtr, UnsafeCell};
pub use self::value::Cell;
