//! The pool's protocols and their mutants under the three memory models, as tables.

use std::time::Duration;

use reveille_model::memory::Memory;
use reveille_model::protocol::pool::{Pool, Protocol, Size};
use reveille_model::search::{Options, Verdict};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let models: Vec<Memory> = Memory::ALL.iter().copied().filter(|m| std::env::args().nth(3).is_none_or(|a| a.contains(m.name()))).collect();
    let options = Options { max_time: Some(Duration::from_secs(20)), ..Options::default() };
    let filter = std::env::args().nth(1);
    println!("| protocol | mutant | sc | tso | rc11 |\n|---|---|---|---|---|");
    for &protocol in Protocol::ALL {
        if filter.as_ref().is_some_and(|f| f != protocol.name()) { continue; }
        for mutant in std::iter::once(None).chain(protocol.mutants().iter().copied().map(Some)) {
            let pool = Pool::new(protocol, mutant, { let mut s = Size::of(protocol); let n = |i| std::env::args().nth(i).and_then(|a| a.parse().ok()); if let (Some(a),Some(b),Some(c)) = (n(4),n(5),n(6)) { s = Size{submitters:a,workers:b,jobs:c}; } s })?;
            let mut row = format!("| {protocol} | {} |", mutant.map_or("–", |mutant| mutant.name()));
            for &memory in &models {
                let report = pool.check(memory, options)?;
                row += &match report.verdict {
                    Verdict::Complete => format!(" ok {} {:?} |", report.states, report.time),
                    Verdict::Violated(miss) => {
                        if std::env::args().nth(2).is_some_and(|m| mutant.map_or("-", |x| x.name()) == m) { println!("{memory}\n{miss}"); }
                        format!(" {} steps |", miss.steps.len())},
                    Verdict::Bounded(_) => format!(" > {} |", report.states),
                };
            }
            println!("{row}");
        }
    }
    Ok(())
}
