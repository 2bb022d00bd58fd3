use reveille_model::memory::Memory;
use reveille_model::protocol::poll_wake::{Consumer, Gate, PollWake, Size};
use reveille_model::search::{Options, Verdict};
fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let (g, c): (Gate, Consumer) = (a[0].parse().unwrap(), a[1].parse().unwrap());
    let m: Memory = a[2].parse().unwrap();
    let size = Size {
        completions: a[3].parse().unwrap(),
        pollers: a[4].parse().unwrap(),
        spurious: a.get(5).map_or(0, |s| s.parse().unwrap()),
    };
    let max = a.get(6).map(|s| s.parse().unwrap());
    let r = PollWake::new(g, c, size, None)
        .unwrap()
        .check(m, Options { reduce: true, max_states: max, max_time: None })
        .unwrap();
    println!(
        "{} states {} moves depth {} {:?} {:.0}/s",
        r.states,
        r.moves,
        r.depth,
        r.time,
        r.states as f64 / r.time.as_secs_f64()
    );
    match r.verdict {
        Verdict::Violated(c) => println!("{c}"),
        v => println!("{v:?}"),
    }
}
