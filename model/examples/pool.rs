//! The pool's protocols, and their mutants, under the three memory models: two tables, as the README has them.
//!
//! `pool [protocol]`

use std::time::Duration;

use reveille_model::memory::Memory;
use reveille_model::protocol::pool::{Error, Pool, Protocol};
use reveille_model::search::{Options, Verdict};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options { max_time: Some(Duration::from_secs(60)), ..Options::default() };
    let protocols = match std::env::args().nth(1) {
        Some(name) => vec![name.parse()?],
        None => Protocol::ALL.to_vec(),
    };
    println!("| protocol | size | sc | tso | rc11 |\n|---|---|---|---|---|");
    for &protocol in &protocols {
        for &size in protocol.sizes() {
            let pool = Pool::new(protocol, None, size)?;
            let cells = Memory::ALL.map(|memory| {
                let report = pool.check(memory, options)?;
                let states = report.states;
                Ok::<_, Error>(match report.verdict {
                    Verdict::Complete => format!("{states} ({:.1?})", report.time),
                    Verdict::Bounded(_) => format!("> {states}"),
                    Verdict::Violated(miss) => format!("VIOLATED\n{miss}"),
                })
            });
            let [sc, tso, rc11] = cells;
            println!("| `{protocol}` | {size} | {} | {} | {} |", sc?, tso?, rc11?);
        }
    }
    println!("\n| protocol | mutant | size | rejected from | steps |\n|---|---|---|---|---|");
    for &protocol in &protocols {
        for mutant in [protocol.mutants(), protocol.redundant()].concat() {
            let mut found = String::from("| – | never | |");
            'search: for &size in protocol.sizes() {
                for memory in Memory::ALL {
                    let report = Pool::new(protocol, Some(mutant), size)?.check(memory, options)?;
                    if let Verdict::Violated(miss) = report.verdict {
                        found = format!("| {size} | {memory} | {} |", miss.steps.len());
                        break 'search;
                    }
                }
            }
            println!("| `{protocol}` | `{mutant}` {found}");
        }
    }
    Ok(())
}
