//! How the number of states grows with completions and pollers, for the gate of production.
//!
//! ```text
//! cargo run --release -p reveille-model --example growth -- [SECONDS A CELL]
//! ```

use std::time::Duration;

use reveille_model::memory::Memory;
use reveille_model::protocol::poll_wake::{Consumer, Error, Gate, PollWake, Size};
use reveille_model::search::{Options, Verdict};

fn main() -> Result<(), Error> {
    let seconds = std::env::args().nth(1).and_then(|argument| argument.parse().ok()).unwrap_or(10);
    let options = Options { max_time: Some(Duration::from_secs(seconds)), ..Options::default() };
    println!("| consumer | pollers | completions | sc | tso | rc11 |\n|---|---|---|---|---|---|");
    for consumer in [Consumer::PollOnce, Consumer::EpollLevel, Consumer::ExclusivePair] {
        for pollers in Size::of(consumer).pollers..=3 {
            for completions in 1..=4 {
                let protocol = PollWake::new(
                    Gate::PerEntry,
                    consumer,
                    Size { completions, pollers, spurious: 0 },
                    None,
                )?;
                print!("| {consumer} | {pollers} | {completions} |");
                for memory in Memory::ALL {
                    let report = protocol.check(memory, options)?;
                    let bounded = if report.verdict == Verdict::Complete { "" } else { "> " };
                    print!(" {bounded}{} in {:.1?} |", report.states, report.time);
                }
                println!();
            }
        }
    }
    Ok(())
}
