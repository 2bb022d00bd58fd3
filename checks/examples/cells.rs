//! dev
use std::time::{Duration, Instant};
use reveille_checks::engine::{Budget, Engine};
use reveille_checks::scenario::Consumer;
use reveille_checks::subject::{GateName, PoolCase, Case, documented_miss, search};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let budget = Budget::of_time(Duration::from_secs(args.get(2).and_then(|a| a.parse().ok()).unwrap_or(20)));
    let engines = [Engine::ExactSc, Engine::ExactTso, Engine::ExactRc11];
    let start = Instant::now();
    if args[1] == "pool" {
        for p in PoolCase::protocols() { if let Some(only) = args.get(3) { if !p.contains(only.as_str()) { continue } }
            let s = Instant::now();
            let v = PoolCase::new(p, None).unwrap().search(Engine::ExactRc11, budget);
            println!("{p}: {} {} {:?} {:?}", v.outcome(), v.explored(), v.bound(), s.elapsed());
            if let Some(c) = v.counterexample() { println!("{}", reveille_checks::report::render(c)); }
        }
        return;
    }
    for e in engines {
        let (mut total, t) = (0, Instant::now());
        for gate in GateName::ALL { 
            print!("{:5} {:24}", e.memory(), gate.to_string());
            for c in Consumer::ALL {
                let v = search(gate, c, e, budget);
                let bad = v.misses() != Some(documented_miss(gate, c, e));
                total += v.explored();
                print!(" {:>8}{}{}", v.explored(), if v.misses() == Some(true) { "M" } else if v.bound().is_some() { "B" } else { " " }, if bad { "!!" } else { "" });
                if bad && args[1] == "show" { println!("{:?}", v.bound()); if let Some(c) = v.counterexample() { println!("{}", reveille_checks::report::render(c)); } return; }
            }
            println!();
        }
        println!("{} {total} {:?}", e.memory(), t.elapsed());
    }
    println!("{:?}", start.elapsed());
}
