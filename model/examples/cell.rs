use std::time::Duration;
use reveille_model::memory::Memory;
use reveille_model::protocol::poll_wake::*;
use reveille_model::search::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let size = Size { completions: a[4].parse().unwrap(), pollers: a[5].parse().unwrap(), spurious: 0 };
    let options = Options { max_time: Some(Duration::from_secs(a[6].parse().unwrap())), ..Options::default() };
    for m in a[3].split(',') {
        let memory: Memory = m.parse().unwrap();
        let p = PollWake::new(a[1].parse().unwrap(), a[2].parse().unwrap(), size, None).unwrap();
        let r = p.check(memory, options).unwrap();
        let v = match &r.verdict { Verdict::Complete => "ok".to_string(), Verdict::Violated(m) => format!("miss {}", m.steps.len()), Verdict::Bounded(_) => "bounded".to_string() };
        let rss = std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l| l.starts_with("VmHWM")).unwrap().to_string();
        println!("{} {} {} {}: {} {} states {} moves depth {} {:.2?} {}", a[1], a[2], size.completions, memory, v, r.states, r.moves, r.depth, r.time, rss);
    }
}
