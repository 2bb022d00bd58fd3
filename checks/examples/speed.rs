//! dev
use std::time::{Duration, Instant};
use reveille_checks::engine::{Budget, Engine};
use reveille_checks::scenario::Consumer;
use reveille_checks::subject::{GateName, search};
fn main() {
    let budget = Budget::of_time(Duration::from_secs(60));
    let s = Instant::now();
    let v = search(GateName::PerEntry, Consumer::PasserBy, Engine::ExactRc11, budget);
    println!("{} {:?} {:.0}/s", v.explored(), s.elapsed(), v.explored() as f64 / s.elapsed().as_secs_f64());
}
