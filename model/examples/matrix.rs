//! The table gate × consumer × memory.
use std::time::Instant;

use reveille_model::memory::Memory;
use reveille_model::protocol::poll_wake::{Consumer, Gate, PollWake, Size};
use reveille_model::search::{Options, Verdict};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let completions: u8 = args.first().map_or(2, |a| a.parse().unwrap());
    let pollers: u8 = args.get(1).map_or(1, |a| a.parse().unwrap());
    let reduce = args.get(2).is_none();
    let begun = Instant::now();
    let (mut states, mut moves) = (0, 0);
    for &consumer in Consumer::ALL {
        for &gate in Gate::ALL {
            print!("{consumer:15} {gate:23}");
            for memory in Memory::ALL {
                let size =
                    Size { completions, pollers: pollers.max(Size::of(consumer).pollers), spurious: 0 };
                let options = Options { reduce, max_states: Some(20_000_000), ..Options::default() };
                let r = PollWake::new(gate, consumer, size, None).unwrap().check(memory, options).unwrap();
                let verdict = match &r.verdict {
                    Verdict::Complete => "ok".to_owned(),
                    Verdict::Violated(c) => format!("miss {}", c.steps.len()),
                    Verdict::Bounded(_) => "bounded".to_owned(),
                };
                print!(" | {memory} {verdict:8} {:8} {:6.0?}", r.states, r.time);
                states += r.states;
                moves += r.moves;
            }
            println!();
        }
    }
    println!("{states} states {moves} moves {:?}", begun.elapsed());
}
