//! Parts of the benches, the soaks and the engines that are checks themselves: each finds what it is there to find.
//!
//! They stand here and not beside the code, as a library with unit tests is built twice.

#[allow(dead_code)] // its tests are what is wanted
#[path = "../src/page.rs"]
mod page;
#[allow(dead_code)] // as above
#[path = "../src/sheet.rs"]
mod sheet;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Wake;
use std::time::Duration;
use std::{fs, panic};

use reveille_checks::bench::Profile;
use reveille_checks::bench::hand_off::Balance;
use reveille_checks::bench::http::perf::profile;
use reveille_checks::bench::http::side::{Loaded, Served, descriptors};
use reveille_checks::bench::http::{Serving, Target, WAYS};
use reveille_checks::bench::neighbours::Neighbours;
use reveille_checks::bench::svg::{Circumstances, page as drawing, step};
use reveille_checks::bench::{
    self, Contender, Counts, Error, Line, Name, Plan, Regime, Row, conclusions, median,
};
use reveille_checks::engine::panics::{Raised, quietly};
use reveille_checks::soak::faults::{Dice, caught, rude};
use reveille_checks::soak::reactor::{End, faults};
use reveille_checks::soak::{one, plus};

#[test]
fn who_raised_a_panic_is_told_by_the_directory_of_the_crate() {
    let raised = [
        ("/registry/src/index/loom-0.7.3/src/rt/path.rs", Raised::Loom("rt/path.rs".into())),
        ("vendor/loom/src/rt/path.rs", Raised::Loom("rt/path.rs".into())),
        ("a/shuttle-engine-0.1.7/src/runtime/execution.rs", Raised::Shuttle("runtime/execution.rs".into())),
        ("a/loom-fan-1.0.0/src/rt/path.rs", Raised::Program),
        ("checks/src/engine/loom.rs", Raised::Program),
        ("tests/loom.rs", Raised::Program),
    ];
    for (path, by) in raised {
        assert_eq!(Raised::within(path), by, "{path}");
    }
}

#[test]
fn the_panic_that_ends_a_search_is_not_mistaken_for_one_that_was_caught_before() {
    let ended = quietly(|| {
        let _ = panic::catch_unwind(|| panic!("caught"));
        panic!("deadlock");
    });
    let panic = ended.unwrap_err();
    assert_eq!((&*panic.message, panic.raised), ("deadlock", Raised::Program));
}

#[test]
fn an_item_that_is_leaked_does_not_balance_and_one_that_panics_does() {
    let dice = Dice::new(1);
    let items = (0..1000).map(|_| dice.item()).collect::<Vec<_>>();
    items.into_iter().for_each(|item| _ = caught(|| drop(item)));
    (0..1000).for_each(|_| _ = caught(|| dice.callback()));
    let (made, dropped) = dice.balance();
    assert_eq!(made, dropped);
    let [callbacks, destructors] = dice.panics();
    assert!(callbacks > 5 && destructors > 1, "{callbacks} and {destructors} panics");
    std::mem::forget(dice.item());
    assert_eq!(dice.balance().0[0], dice.balance().1[0] + 1);
}

#[test]
fn a_rude_waker_wakes_whether_it_panics_or_not() {
    struct Bell(AtomicU64);
    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let (dice, bell) = (Dice::new(1), Arc::new(Bell(AtomicU64::new(0))));
    let (mut panics, mut clones) = (0, 0);
    for _ in 0..1000 {
        let waker = rude(&dice, bell.clone().into());
        panics += u64::from(caught(|| waker.wake_by_ref()).is_none());
        if let Some(clone) = caught(|| waker.clone()) {
            clones += 1;
            panics += u64::from(caught(|| clone.wake()).is_none());
        }
        caught(|| drop(waker));
    }
    assert_eq!(bell.0.load(Relaxed), 1000 + clones);
    assert!(panics > 0 && clones < 1000);
    let (made, dropped) = dice.balance();
    assert_eq!(made, dropped);
}

/// The faults of a soak of the operations 0, 2, 4 whose receipts 0, `come` came back, `undelivered` of them without an event.
fn faults_of(end: End, come: [u64; 2], undelivered: u64) -> usize {
    let sums = |numbers: [u64; 3]| numbers.map(one).into_iter().fold([0; 3], plus);
    let [first, second] = come;
    let settled = sums([0, first, second]);
    faults(end, sums([0, 2, 4]), settled, 3 - undelivered, [undelivered, 0]).len()
}

#[test]
fn what_is_lost_doubled_or_without_its_event_does_not_balance() {
    for end in End::ALL {
        assert_eq!(faults_of(end, [2, 4], 0), 0, "{end:?}");
        assert_eq!(faults_of(end, [2, 2], 0), 1, "{end:?}: one came twice, another is lost");
        assert_eq!(faults_of(end, [3, 3], 0), 1, "{end:?}: the sums alone would agree");
    }
    assert_eq!([End::Drain, End::Cancel, End::Drop].map(|end| faults_of(end, [2, 4], 1)), [1, 1, 0]);
}

fn close(completed: &[u64]) -> Result<Counts, Error> {
    let mut balance = Balance::default();
    completed.iter().for_each(|&token| balance.add(token));
    balance.close(5..8)
}

#[test]
fn one_that_came_twice_does_not_hide_one_that_is_lost() {
    assert_eq!(close(&[7, 5, 6]).map(|counts| counts.completed).ok(), Some(3));
    assert!(matches!(close(&[5, 6, 6]), Err(Error::Mixed)));
    assert!(matches!(close(&[5, 6]), Err(Error::Mixed)));
}

#[test]
fn a_neighbour_takes_time_and_is_gone_when_it_is_dropped() {
    let neighbours = Neighbours::on(&[0]).expect("there is a shell and a first CPU");
    let pid = neighbours.ids().next().expect("one");
    while neighbours.cpu_time(&[0]).expect("it runs") == Duration::ZERO {
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(neighbours);
    assert!(!fs::exists(format!("/proc/{pid}/stat")).unwrap_or(true), "{pid}");
}

/// Loses one operation in each run, or its own wakeup.
enum Faulty {
    LosesOne,
    Sleeps,
    Panics,
}

impl Contender for Faulty {
    fn run(&mut self, _: Duration) -> Result<Counts, Error> {
        match self {
            Self::LosesOne => Ok(Counts { submitted: 8, completed: 7, ..Counts::default() }),
            Self::Sleeps => loop {
                std::thread::park();
            },
            Self::Panics => panic!("as it was told to"),
        }
    }
}

fn measured(make: fn() -> Result<Faulty, Error>) -> Error {
    let plan = Plan { regimes: vec![Regime::P], rounds: 1, time: Duration::from_millis(1) };
    match bench::run(Name::Nop, &[Line::new("faulty", 8, make)], &plan, || ()) {
        Err(error) => error,
        Ok(_) => panic!("it was let pass"),
    }
}

#[test]
fn a_contender_that_loses_one_never_comes_back_or_panics_is_named_and_ends_the_bench() {
    let lost = measured(|| Ok(Faulty::LosesOne));
    assert_eq!(lost.to_string(), "faulty at 8 LOST something: 8 submitted, 7 completed");
    let stuck = measured(|| Ok(Faulty::Sleeps));
    assert!(stuck.to_string().contains("faulty at 8 did not come back"), "{stuck}");
    let panicked = measured(|| Ok(Faulty::Panics));
    assert_eq!(panicked.to_string(), "faulty at 8 panicked");
    assert!([lost, stuck, panicked].iter().all(Error::loses));
}

#[test]
fn the_median_of_an_even_number_is_between_the_middle_two_and_of_none_is_nothing() {
    assert_eq!(median([4.0, 1.0, 3.0].into_iter()), Some(3.0));
    assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), Some(2.5));
    assert_eq!(median(std::iter::empty()), None);
}

fn row(contender: &'static str, depth: usize, ops_per_s: f64) -> Row {
    Row {
        bench: "nop",
        case: None,
        contender,
        depth,
        workers: None,
        regime: Regime::P,
        ops_per_s,
        ops_per_s_min: ops_per_s,
        ops_per_s_max: ops_per_s,
        cpu_ns_per_op: 0.0,
        cpu_behind_ns_per_op: None,
        wakes_per_op: None,
        skipped_per_op: None,
        worker_wakes_per_op: None,
        syscalls_per_op: None,
        lock_waits_per_op: None,
        lock_wait_share: None,
        spinning: None,
        polling: None,
        waking: None,
        p50_us: None,
        p99_us: None,
        p999_us: None,
        memory_per_op: None,
        ratio: None,
        rounds: 1,
        others: 0.0,
    }
}

#[test]
fn a_conclusion_names_the_best_other_and_says_where_ours_is_behind() {
    let mut rows = vec![
        row("reveille", 1, 200.0),
        row("reveille-poll", 1, 999.0),
        row("kernel", 1, 50.0),
        row("rayon", 1, 100.0),
        row("reveille", 8, 90.0),
        row("kernel", 8, 100.0),
    ];
    let behind = "P: speed: ours over the best other's is 0.90 (kernel at depth 8) to 2.00 (rayon at depth 1); \
                  reveille is BEHIND in 1 of 2";
    assert_eq!(conclusions(Name::Nop, &rows), [behind]);
    rows[4].ops_per_s = 120.0;
    assert!(conclusions(Name::Nop, &rows)[0].ends_with("; reveille is ahead throughout"));
    rows.retain(|row| row.contender == "kernel");
    assert_eq!(conclusions(Name::Nop, &rows), [""; 0], "nobody of ours took part");
    // Less is better where it is time or memory.
    let of_latency = |row: Row, p99| Row { bench: Name::Latency.name(), p99_us: Some(p99), ..row };
    let mut rows: Vec<Row> = rows.into_iter().map(|row| of_latency(row, 10.0)).collect();
    rows.push(of_latency(row("reveille", 1, 1.0), 5.0));
    assert!(conclusions(Name::Latency, &rows)[0].contains("is 2.00 (kernel at depth 1)"));
}

#[test]
fn the_share_of_spinning_is_the_sum_of_its_lines_and_nothing_sampled_is_no_profile() {
    let report = "    50.25%  [k] __pv_queued_spin_lock_slowpath\n\n     1.50%  [k] \
                  native_queued_spin_lock_slowpath\n    40.25%  [.] main\n     8.00%  [k] try_to_wake_up\n";
    assert_eq!(profile(report), Some(Profile { spinning: 0.5175, polling: 0.0, waking: 0.08 }));
    assert_eq!(profile("\n"), None);
}

fn serving() -> Serving {
    Serving::new("reveille", Some(WAYS[6].1), Target::Small, 8, false).expect("there is room for a directory")
}

#[test]
fn a_wrong_body_a_failed_answer_nothing_compared_and_what_is_left_are_faults_of_a_named_server() {
    let (serving, good) = (serving(), Loaded { answers: 9, compared: 9, ..Loaded::default() });
    assert!(serving.check(&good, &Served::default()).is_ok());
    let left = Served { left: vec!["the thread x".into()], ..Served::default() };
    for (load, served, says) in [
        (Loaded { wrong: 1, ..good }, Served::default(), "of 9 bodies that were compared 1 were wrong"),
        (Loaded { failed: 2, ..good }, Served::default(), "2 answers failed"),
        (Loaded { compared: 0, ..good }, Served::default(), "of 0 bodies"),
        (good, left, "it LEFT the thread x"),
    ] {
        let error = serving.check(&load, &served).expect_err(says);
        assert!(error.loses() && error.to_string().contains(says), "{error}");
        assert!(error.to_string().starts_with("14 bytes, reveille at 8: "), "{error}");
    }
}

/// This program is none that serves.
#[test]
fn a_server_that_does_not_start_is_named() {
    let error = serving().run(Duration::from_millis(1)).expect_err("it cannot start");
    assert!(error.to_string().starts_with("14 bytes, reveille at 8: it does not start"), "{error}");
}

#[test]
fn a_descriptor_that_is_left_is_named() {
    let before = descriptors().expect("Linux tells");
    let directory = fs::File::open(env!("CARGO_MANIFEST_DIR")).expect("it is there");
    let after = descriptors().expect("Linux tells");
    assert!(after.difference(&before).any(|left| left.contains(env!("CARGO_MANIFEST_DIR"))), "{after:?}");
    drop(directory);
}

fn drawn(others: f64) -> String {
    let rows = [row("reveille", 8, 250_000.0), Row { others, ..row("kernel", 8, 100_000.0) }];
    let [machine, kernel, date] = ["2 × some <CPU>", "Linux 9.9", "today"].map(String::from);
    drawing(&rows, &Circumstances { machine, kernel, date })
}

#[test]
fn a_page_says_where_and_when_and_its_axis_has_marks_and_a_unit() {
    let page = drawn(0.0);
    assert!(page.contains("2 × some &lt;CPU>; Linux 9.9; today"));
    assert_eq!(page.matches("class=\"bar\"").count(), 2);
    for mark in ["0", "50", "100", "150", "200", "250", "k op/s"] {
        assert!(page.contains(&format!(">{mark}</text>")), "{mark}");
    }
    assert!(!page.contains("BUSY") && !page.contains('~'));
}

#[test]
fn a_page_of_a_busy_machine_says_so_and_which_bars_are_meant() {
    let page = drawn(0.5);
    assert!(page.contains("THE MACHINE WAS BUSY: others took up to 50 %"));
    assert!(page.contains(">kernel ~</text>") && page.contains(">reveille</text>"));
}

#[test]
fn a_step_is_1_2_or_5_times_a_power_of_ten() {
    let steps = [0.03, 0.7, 1.0, 1.1, 4.0, 6.0, 70.0].map(step);
    let expected = [0.05, 1.0, 1.0, 2.0, 5.0, 10.0, 100.0];
    assert!(
        steps.iter().zip(expected).all(|(step, expected)| (step / expected - 1.0).abs() < 1e-9),
        "{steps:?}"
    );
}

/// The library is built without its unit tests: one that stood there would never run. The program's own are in `command`.
#[test]
fn no_unit_test_stands_where_none_is_run() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = walkdir::WalkDir::new(&source).into_iter().map(|file| file.expect("it is ours").into_path());
    let is_dead = |file: &std::path::PathBuf| {
        let name = file.strip_prefix(&source).expect("it is below");
        let runs =
            name.starts_with("command") || ["page.rs", "sheet.rs"].map(std::path::Path::new).contains(&name);
        !runs && file.is_file() && fs::read_to_string(file).is_ok_and(|text| text.contains("#[cfg(test)]"))
    };
    let dead: Vec<_> = files.filter(is_dead).collect();
    assert!(dead.is_empty(), "{dead:?}");
}
