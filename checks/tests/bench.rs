//! `reveille bench`: its output and its errors. The numbers are for a quiet machine to say.

#[path = "common/json.rs"]
mod json;

use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::task::Waker;
use std::time::Duration;

use reveille::sync::Mutex as _;
use reveille::wait_queue::{Kind, WaitQueue};
use reveille_checks::flavour::timed::{Timed, TimedMutex, Watched, take};
use serde_json::Value;

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reveille")).arg("bench").args(args).output().expect("it starts")
}

/// The rows of a short run in JSON; `None`, loudly, without io_uring.
fn rows(args: &[&str]) -> Option<Vec<Value>> {
    let short = ["--rounds", "1", "--seconds", "0.01", "--format", "json", "--regime", "P"];
    let output = bench(&[args, &short].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if error.contains("io_uring") {
        eprintln!("SKIPPED: {error}");
        return None;
    }
    assert!(output.status.success(), "{error}");
    assert_eq!(error, "", "silent in a pipe");
    Some(json::rows(&output.stdout))
}

#[test]
fn every_bench_prints_the_documented_fields_and_gives_back_what_was_submitted() {
    for bench in ["nop", "jobs", "latency", "gates", "accounts", "wait_queue"] {
        let Some(rows) = rows(&[bench]) else { return };
        assert!(!rows.is_empty());
        for row in &rows {
            assert_eq!((&row["bench"], &row["regime"]), (&bench.into(), &"P".into()));
            assert!(row["contender"].is_string() && row["depth"].is_u64(), "{row}");
            assert!(row["ops_per_s"].as_f64() > Some(0.0) && row["cpu_ns_per_op"].is_f64(), "{row}");
            assert_eq!(row["rounds"], 1);
            for field in ["wakes_per_op", "skipped_per_op", "syscalls_per_op", "ratio"] {
                assert!(row[field].is_null() || row[field].is_f64(), "{field} of {row}");
            }
        }
    }
}

#[test]
fn a_latency_has_percentiles_a_job_that_sleeps_takes_its_time_and_one_that_waits_takes_memory() {
    let Some(latency) = rows(&["latency", "--contender", "kernel,reveille"]) else { return };
    for row in &latency {
        let of = |field: &str| row[field].as_f64().unwrap_or_else(|| panic!("no {field}: {row}"));
        assert!(0.0 < of("p50_us") && of("p50_us") <= of("p99_us") && of("p99_us") <= of("p999_us"), "{row}");
    }
    let Some(jobs) = rows(&["jobs", "--contender", "reveille", "--depth", "256"]) else { return };
    assert_eq!(jobs[0]["workers"], 64);
    assert!(jobs[0]["ops_per_s"].as_f64().is_some_and(|speed| speed <= 64_000.0), "{}", jobs[0]);
    let Some(memory) = rows(&["memory", "--contender", "reveille"]) else { return };
    assert!(
        memory[0]["memory_per_op"].as_f64() > Some(8.0),
        "a closure of one word takes more: {}",
        memory[0]
    );
}

#[test]
fn the_librarys_own_contender_is_compared_to_the_kernel_at_every_depth() {
    let Some(rows) = rows(&["nop", "--contender", "kernel,reveille"]) else { return };
    for depth in [1, 8, 64, 1024] {
        let ours = rows.iter().find(|row| row["contender"] == "reveille" && row["depth"] == depth);
        assert!(ours.expect("there is one")["ratio"].as_f64() > Some(0.0));
    }
    let Some(alone) = self::rows(&["nop", "--contender", "reveille", "--depth", "8"]) else { return };
    assert!(alone[0]["ratio"].is_null(), "no ratio to somebody who does not take part");
}

#[test]
fn the_checkers_are_measured_on_the_same_scenario_and_the_exact_engine_says_how_many_executions_there_are() {
    let args = ["exact", "--case", "has-sleeper × epoll-level,cancel", "--rounds", "1", "--seconds", "0.3"];
    let output = bench(&[&args[..], &["--format", "json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "silent in a pipe");
    let rows = json::rows(&output.stdout);
    for case in ["has-sleeper × epoll-level", "cancel"] {
        for contender in ["exact rc11", "exact tso", "exact sc", "loom c11", "shuttle sc"] {
            let row = rows.iter().find(|row| row["case"] == case && row["contender"] == contender);
            let row = row.unwrap_or_else(|| panic!("{contender} is not measured"));
            assert!(row["workers"].as_u64() > Some(0) && row["rounds"] == 1, "{row}");
            assert!(row["ops_per_s"].is_f64() && row["ratio"].is_f64() && row["others"].is_f64(), "{row}");
            // On the slowest machine too it takes more than a third of a second to visit all of `cancel`.
            assert!(row["complete_s"].is_null() || case != "cancel", "{row}");
        }
    }
    let small = |row: &&Value| row["case"] != "cancel" && row["contender"] == "exact rc11";
    for row in rows.iter().filter(small).filter(|row| !row["complete_s"].is_null()) {
        assert_eq!(row["executions"], 102 + 128, "those of both scripts: {row}");
    }
}

#[test]
fn a_server_is_measured_in_a_process_of_its_own_and_its_wakes_are_counted_where_the_pool_is_ours() {
    let args =
        ["http", "--depth", "1,8", "--case", "14 bytes", "--contender", "kernel,lock-per-account,reveille"];
    let Some(rows) = rows(&args) else { return };
    assert_eq!(rows.len(), 6);
    for row in &rows {
        let of = |field: &str| row[field].as_f64().unwrap_or_else(|| panic!("no {field}: {row}"));
        assert!(0.0 < of("p50_us") && of("p50_us") <= of("p99_us") && of("p99_us") <= of("p999_us"), "{row}");
        assert!(of("ratio") > 0.0 && of("cpu_ns_per_op") > 0.0, "{row}");
        let ours = row["contender"] != "kernel";
        assert_eq!((row["wakes_per_op"].is_f64(), row["skipped_per_op"].is_f64()), (ours, ours), "{row}");
        assert!(row["lock_wait_share"].is_null() && row["cpu_behind_ns_per_op"].is_null(), "{row}");
        // Each request is posted at least once, and this one is woken each time.
        assert!(row["contender"] != "lock-per-account" || of("wakes_per_op") >= 1.0, "{row}");
    }
}

#[test]
fn php_is_measured_apart_from_the_server_or_skipped_with_the_command_that_installs_it() {
    let output = bench(&["php", "--depth", "1", "--rounds", "1", "--seconds", "0.01", "--format", "json"]);
    let error = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        assert!(
            error.contains("SKIPPED: php-fpm is not on this machine (Debian: apt-get install php-fpm)"),
            "{error}"
        );
        return eprint!("{error}");
    }
    for row in &json::rows(&output.stdout) {
        assert!(row["cpu_behind_ns_per_op"].as_f64() > Some(0.0), "{row}");
    }
}

#[test]
fn unknown_names_get_one_line_that_says_what_there_is() {
    for (args, says) in [
        (
            &["speed"][..],
            "no `speed`; there are nop, jobs, latency, memory, gates, accounts, wait_queue, http, php, exact",
        ),
        (&["nop", "--contender", "me"], "no contender of nop is called `me`; there are"),
        (&["nop", "--case", "exit"], "bench nop has no --case"),
        (&["http", "--case", "2 MB"], "no case of http is called `2 MB`; there are 14 bytes, 1 MB"),
        (&["exact", "--depth", "8"], "bench exact has no --depth, --regime and --svg"),
        (&["exact", "--case", "exist"], "no case of exact is called `exist`; there are"),
        (&["nop", "--depth", "3"], "nop measures nothing at depth 3; it does at [1, 8, 64, 1024]"),
        (&["nop", "--regime", "X"], "--regime <REGIME>: no `X`; there are P, Q, NP, NQ"),
    ] {
        let output = bench(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(says) && error.lines().count() == 1, "{args:?}: {error}");
    }
}

#[test]
fn the_page_draws_every_contender() {
    let file = std::env::temp_dir().join(format!("reveille-bench-{}.svg", std::process::id()));
    let path = file.to_str().expect("a plain path");
    let Some(rows) = rows(&["wait_queue", "--svg", path]) else { return };
    let page = std::fs::read_to_string(&file).expect("it was written");
    std::fs::remove_file(&file).expect("it is ours");
    assert!(page.starts_with("<svg") && page.trim_end().ends_with("</svg>"));
    assert_eq!(page.matches("class=\"bar\"").count(), rows.len());
    assert!(
        page.contains("; Linux ") && page.contains(" GMT<") && page.contains(" op/s<"),
        "where, when and what"
    );
}

/// Whether a thread of this process sleeps, as Linux says.
fn sleeps(thread: rustix::process::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{}/stat", thread.as_raw_nonzero()));
    // The name in parentheses may hold anything; then comes the state.
    stat.unwrap().rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
}

/// One test: the counts are the process's.
#[test]
fn a_lock_that_is_taken_is_waited_for_and_counted_and_so_are_wakes_and_skips() {
    take();
    let lock = Arc::new(TimedMutex::new("lock", 0));
    lock.with(|n| *n += 1);
    assert_eq!(take(), Watched::default(), "nobody had to wait");
    let (held, hold) = (Arc::new(Barrier::new(2)), Duration::from_millis(20));
    let wanted = Arc::new(AtomicBool::new(false));
    let waiter = rustix::thread::gettid();
    let holder = std::thread::spawn({
        let (lock, held, wanted) = (lock.clone(), held.clone(), wanted.clone());
        move || {
            lock.with(|_| {
                held.wait();
                while !(wanted.load(Ordering::Relaxed) && sleeps(waiter)) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                std::thread::sleep(hold);
            })
        }
    });
    held.wait();
    wanted.store(true, Ordering::Relaxed);
    lock.with(|n| assert_eq!(*n, 1));
    holder.join().unwrap();
    let watched = take();
    assert_eq!(watched.lock_waits, 1);
    assert!(watched.lock_wait >= hold, "{watched:?}");

    let queue = Arc::new(WaitQueue::<Timed>::new());
    queue.notify_all();
    let mut waiter = queue.register(Kind::Shared, Waker::noop().clone());
    waiter.arm();
    queue.notify_all();
    assert_eq!(take(), Watched { sent: 1, skipped: 1, ..Watched::default() });
}
