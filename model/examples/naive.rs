use reveille_model::memory::Memory;
use reveille_model::protocol::poll_wake::{Consumer, Gate, PollWake, Size};
use reveille_model::protocol::pool::{Pool, Protocol};
use reveille_model::search::{Options, Verdict};
use std::time::Duration;
fn main() {
    let options =
        Options { reduce: false, symmetry: false, max_time: Some(Duration::from_secs(20)), max_states: None };
    for memory in [Memory::Sc, Memory::Tso] {
        let t = std::time::Instant::now();
        let (mut n, mut b, mut most) = (0, 0, 0);
        for &consumer in Consumer::ALL {
            for &gate in Gate::ALL {
                let r = PollWake::new(gate, consumer, Size::of(consumer), None)
                    .unwrap()
                    .check(memory, options)
                    .unwrap();
                n += r.states;
                most = most.max(r.states);
                b += usize::from(matches!(r.verdict, Verdict::Bounded(_)));
            }
        }
        println!("poll wake {memory}: {n} states, most {most}, bounded {b}, {:.1?}", t.elapsed());
    }
    for &p in Protocol::ALL {
        for &size in p.sizes() {
            for memory in [Memory::Sc, Memory::Tso] {
                let r = Pool::new(p, None, size).unwrap().check(memory, options).unwrap();
                println!(
                    "{p} {size} {memory}: {} {:?} {:.1?}",
                    r.states,
                    matches!(r.verdict, Verdict::Complete),
                    r.time
                );
            }
        }
    }
}
