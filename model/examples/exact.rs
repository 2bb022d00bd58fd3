use reveille_model::litmus::Test;
use reveille_model::memory::Memory;
use std::collections::BTreeMap;
fn main() {
    let tests = Test::parse_all(include_str!("../litmus/herd.litmus")).unwrap();
    let rows: BTreeMap<&str, Vec<&str>> = include_str!("../litmus/herd.tsv").lines().skip(1).map(|l| { let f: Vec<&str> = l.split('\t').collect(); (f[1], f) }).collect();
    let start = std::time::Instant::now();
    let (mut bad, mut total) = (0, 0);
    for test in &tests {
        let row = &rows[test.name()];
        for (i, memory) in [Memory::Sc, Memory::Tso, Memory::Rc11].into_iter().enumerate() {
            let want: u64 = row[3].split(',').nth(i).unwrap().parse().unwrap();
            let cols = match i { 0 => 5..6, 1 => 5..7, _ => 5..9 };
            let states: usize = cols.map(|c| row[c].split(';').filter(|s| !s.is_empty()).count()).sum();
            match test.explore(memory) {
                Ok((n, outcomes)) => { total += n; if n != want || outcomes.states().len() != states { bad += 1; if bad < 30 { println!("{} {memory}: {n} want {want}; states {} want {states}", test.name(), outcomes.states().len()); } } }
                Err(e) => { bad += 1; println!("{} {memory}: {e}", test.name()) }
            }
        }
    }
    println!("{} tests, {total} executions, {bad} wrong, {:?}", tests.len(), start.elapsed());
}
