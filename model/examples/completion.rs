//! The completion queue: state counts, and which memory model it takes for a mistake to show.
//!
//! ```text
//! cargo run --release -p reveille-model --example completion
//! ```

use reveille_model::memory::Memory;
use reveille_model::protocol::completion::{CompletionQueue, Error, Mutant, Size};
use reveille_model::search::{Options, Verdict};

fn main() -> Result<(), Error> {
    println!("| completion queue | sc | tso | rc11 |\n|---|---|---|---|");
    for &size in Size::ALL {
        print!("| {size} |");
        for memory in Memory::ALL {
            let report = CompletionQueue::new(size, None)?.check(memory, Options::default())?;
            let verdict = if report.verdict == Verdict::Complete { "" } else { "VIOLATED after " };
            print!(" {verdict}{} ({:.1?}) |", report.states, report.time);
        }
        println!();
    }
    println!("\n| mistake | sc | tso | rc11 |\n|---|---|---|---|");
    for &mutant in Mutant::ALL {
        print!("| `{mutant}` |");
        for memory in Memory::ALL {
            let mut shortest: Option<usize> = None;
            for &size in &Size::ALL[..Size::ALL.len() - 1] {
                let report = CompletionQueue::new(size, Some(mutant))?.check(memory, Options::default())?;
                if let Verdict::Violated(found) = report.verdict {
                    let steps = found.steps.len();
                    shortest = Some(shortest.map_or(steps, |shortest| shortest.min(steps)));
                }
            }
            print!(" {} |", shortest.map_or("-".to_owned(), |steps| format!("{steps} steps")));
        }
        println!();
    }
    Ok(())
}
