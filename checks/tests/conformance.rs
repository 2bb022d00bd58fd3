
use std::time::{Duration, Instant};
use reveille_checks::conformance::*;
use reveille_checks::engine::Engine;
use reveille_checks::scenario::{Consumer, PollWake};
use reveille_checks::subject::GateName;
use reveille_checks::with_gate;

#[test]
fn explore() {
    let p: usize = std::env::var("P").unwrap().parse().unwrap();
    let only = std::env::var("ONLY").unwrap_or_default();
    let all = Instant::now();
    for consumer in Consumer::ALL {
        let mut taken = Taken::new();
        for gate in GateName::ALL {
            let name = format!("{gate} {consumer}");
            if !name.contains(&only) { continue }
            let protocol = match Protocol::named(gate.name(), consumer.name()) { Ok(p) => p, _ => continue };
            for engine in [Engine::LoomSc, Engine::LoomC11] {
                let begun = Instant::now();
                let bound = Bound { preemptions: p, extra: Duration::ZERO };
                let r = with_gate!(gate, G => check(engine, &PollWake::<G>::new(consumer), protocol, bound));
                match r {
                    Ok(r) => { println!("{name} {} {r} {:?}", engine.memory(), begun.elapsed()); for (k,v) in r.taken { taken.entry(k).or_default().extend(v); } }
                    Err(e) => println!("{name} {}: {e}", engine.memory()),
                }
            }
            println!("   never {:?}", never_taken(protocol, &taken).unwrap());
            taken.clear();
        }
    }
    println!("{:?}", all.elapsed());
}
