use reveille_model::memory::Memory;
use reveille_model::protocol::completion::*;
use reveille_model::search::{Options, Verdict};
use std::time::Duration;
fn main() {
    let sizes: &[Size] = &[
        Size { capacity: 1, producers: &[&[2], &[1]], spurious: 0 },
        Size { capacity: 1, producers: &[&[1, 1]], spurious: 0 },
        Size { capacity: 1, producers: &[&[3]], spurious: 0 },
        Size { capacity: 1, producers: &[&[2, 1]], spurious: 0 },
        Size { capacity: 1, producers: &[&[1, 1, 1]], spurious: 0 },
        Size { capacity: 1, producers: &[&[1, 1, 1, 1]], spurious: 0 },
        Size { capacity: 2, producers: &[&[1, 1, 1]], spurious: 0 },
        Size { capacity: 2, producers: &[&[3]], spurious: 0 },
        Size { capacity: 2, producers: &[&[3, 1]], spurious: 0 },
        Size { capacity: 2, producers: &[&[1, 3]], spurious: 0 },
        Size { capacity: 2, producers: &[&[2, 2]], spurious: 0 },
        Size { capacity: 2, producers: &[&[2], &[1]], spurious: 0 },
        Size { capacity: 2, producers: &[&[2], &[2]], spurious: 0 },
        Size { capacity: 1, producers: &[&[1], &[1]], spurious: 0 },
    ];
    for size in sizes {
        for memory in Memory::ALL {
            let o = Options { max_time: Some(Duration::from_secs(10)), ..Options::default() };
            let r = CompletionQueue::new(*size, None).unwrap().check(memory, o).unwrap();
            println!("{size} {memory} {} {:?} {}", r.states, r.time, match &r.verdict { Verdict::Violated(c) => c.to_string(), v => format!("{v:?}") });
        }
    }
    for &m in Mutant::ALL {
        for size in sizes.iter() {
            print!("{m} {size}:");
            for memory in Memory::ALL {
                let o = Options { max_time: Some(Duration::from_secs(3)), ..Options::default() };
                let r = CompletionQueue::new(*size, Some(m)).unwrap().check(memory, o).unwrap();
                print!(" {}", match &r.verdict { Verdict::Violated(c) => format!("{:?}@{}", c.violation, c.steps.len()), v => format!("{v:?}") });
            }
            println!();
        }
    }
}
