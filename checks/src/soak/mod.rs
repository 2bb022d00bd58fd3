//! Soaks: random work on the machine, real threads and a real io_uring, for as long as one likes; and an exact balance at the end.

use std::io;
use std::time::Duration;

pub mod faults;
pub mod pool;
pub mod reactor;

/// How long something with work to do may do nothing, before that is called a stall. All of the work is over within
/// milliseconds, or some more where others want the CPUs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many there are, the sum of their numbers, and that of the squares, wrapping: one that is lost and another that is told
/// twice do not make up for each other.
pub type Sums = [u64; 3];

#[doc(hidden)]
pub fn plus(sums: Sums, more: Sums) -> Sums {
    std::array::from_fn(|i| sums[i].wrapping_add(more[i]))
}

/// One more with this number.
#[doc(hidden)]
pub fn one(number: u64) -> Sums {
    [1, number, number.wrapping_mul(number)]
}

/// How many threads the system lists for this process.
fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}
