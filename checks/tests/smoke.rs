use reveille_checks::engine::{self, Budget, Engine};
use reveille_checks::gates::*;
use reveille_checks::scenario::{Consumer, PollWake};
use std::time::{Duration, Instant};
fn row<G: reveille::gate::WakeOne>() {
    for c in Consumer::ALL {
        let mut line = format!("{:24}{:16}", G::NAME, c.name());
        for e in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
            let t = Instant::now();
            let v = engine::search(
                e,
                &PollWake::<G>::new(c),
                Budget { time: Duration::from_millis(1000), ..Default::default() },
            );
            let x = v
                .counterexample()
                .map(|c| format!("{} {:?}", c.trace.steps.len(), c.end))
                .unwrap_or(v.bound().unwrap_or("").into());
            line += &format!(
                "| {} {} {:.0}ms {} ",
                v.outcome(),
                v.explored(),
                t.elapsed().as_secs_f64() * 1e3,
                x.chars().take(60).collect::<String>()
            );
        }
        println!("{line}");
    }
}
#[test]
fn smoke() {
    row::<Posted>();
    row::<PostedFenced>();
    row::<ArmedLate>();
    row::<HasSleeper>();
    row::<HasSleeperNoBarrier>();
    row::<RearmGate>();
    row::<RearmOptIn>();
    row::<reveille::gate::PerEntry>();
}
