//! The binary as its users meet it.

#[path = "common/json.rs"]
mod json;

use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use json::rows;
use serde_json::Value;

fn reveille(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reveille")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn an_unknown_name_gets_one_line_that_lists_the_valid_ones_and_exit_2() {
    for (args, known) in [
        (&["explain", "posted-fnced", "poll-once"][..], "posted-fenced"),
        (&["explain", "posted", "poll-twice"], "poll-once"),
        (&["verdict", "--gate", "nope"], "per-entry"),
        (&["--consumer", "nope"], "two-pollers"),
        (&["--engine", "nope"], "shuttle"),
        (&["stress", "nope"], "rearm-opt-in"),
        (&["zoo", "nope"], "hotspot-parker"),
        (&["zoo", "--engine", "model"], "shuttle"),
        (&["explain", "nope"], "shard-scan"),
        (&["explain", "posted"], "epoll-level"),
        (&["mutants", "--engine", "lom"], "did you mean `loom`?"),
        (&["explain", "posted", "epol-level"], "did you mean `epoll-level`?"),
        (&["litmus", "x", "--memory", "lkm"], "did you mean `lkmm`?"),
        (&["verdict", "--protocol", "nope"], "shard-scan"),
        (&["explain", "exit", "nope"], "first-account-only"),
        (&["verdict", "--subject", "pool", "--gate", "posted"], "--protocol"),
        (&["--budget", "soon"], "seconds"),
    ] {
        let output = reveille(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
        assert!(stderr.contains(known), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn json_has_a_row_for_every_cell_with_every_field() {
    let output = reveille(&[
        "verdict",
        "--format",
        "json",
        "--gate",
        "posted,per-entry",
        "--consumer",
        "persistent",
        "--budget",
        "6",
    ]);
    let rows = rows(&output.stdout);
    assert_eq!(rows.len(), 2 * 10, "two gates, ten engines");
    for row in &rows {
        for field in ["gate", "consumer", "engine", "memory", "outcome"] {
            assert!(row[field].is_string(), "{field}: {row}");
        }
        assert!(row["explored"].is_u64() && row["seconds"].is_f64(), "{row}");
        assert_eq!(
            row["bound"].is_null(),
            ["misses", "complete"].contains(&row["outcome"].as_str().unwrap()),
            "{row}"
        );
        assert_eq!(row["steps"].is_u64(), row["outcome"] == "misses", "{row}");
    }
    let outcome = |gate: &str, memory: &str| {
        rows.iter()
            .find(|row| row["gate"] == gate && row["engine"] == "loom" && row["memory"] == memory)
            .unwrap()["outcome"]
            .clone()
    };
    assert!(found(outcome("posted", "sc").as_str().unwrap()));
    assert_ne!(outcome("per-entry", "sc"), "misses");
    agrees(&output, &rows);
}

#[test]
fn json_of_the_pool_has_the_protocol_and_its_mutant_or_null() {
    let args = ["verdict", "--subject", "pool", "--format", "json", "--protocol", "maximum", "--budget", "3"];
    let output = reveille(&args);
    let rows = rows(&output.stdout);
    let outcome = |mutant: Value, engine: &str, memory: &str| {
        let is = |row: &&Value| row["mutant"] == mutant && row["engine"] == engine && row["memory"] == memory;
        let row = rows.iter().find(is).unwrap();
        assert!(row["protocol"] == "maximum" && row["explored"].is_u64() && row["seconds"].is_f64(), "{row}");
        assert_eq!(row["steps"].is_u64(), row["outcome"] == "misses", "{row}");
        row["outcome"].as_str().unwrap().to_owned()
    };
    for (engine, memory) in [("loom", "sc"), ("loom", "c11"), ("shuttle", "sc")] {
        let sound = outcome(Value::Null, engine, memory);
        assert!(["bounded", "complete", "inconclusive"].contains(&&*sound), "{rows:?}");
        assert!(found(&outcome("one-too-many".into(), engine, memory)), "{rows:?}");
    }
    assert_eq!(outcome(Value::Null, "hardware", "x86"), "skipped");
    agrees(&output, &rows);
}

#[test]
fn the_gallery_as_json_has_a_row_for_each_form_and_engine() {
    let output = reveille(&["zoo", "hotspot-parker", "--format", "json", "--budget", "6"]);
    let rows = rows(&output.stdout);
    assert_eq!(rows.len(), 2 * 6, "two forms, six engines");
    for row in &rows {
        for field in ["exhibit", "form", "engine", "memory", "outcome"] {
            assert!(row[field].is_string(), "{field}: {row}");
        }
        assert!(row["explored"].is_u64() && row["seconds"].is_f64(), "{row}");
        let has_bound = !["misses", "complete", "alarm"].contains(&row["outcome"].as_str().unwrap());
        assert_eq!(row["bound"].is_string(), has_bound, "{row}");
    }
    let outcome = |form: &str, memory: &str| {
        let is = |row: &&Value| row["form"] == form && row["engine"] == "exact" && row["memory"] == memory;
        rows.iter().find(is).unwrap()["outcome"].clone()
    };
    assert_eq!(
        ["sc", "tso", "rc11"].map(|memory| outcome("losing", memory)),
        ["complete", "misses", "misses"]
    );
    assert_eq!(["sc", "tso", "rc11"].map(|memory| outcome("mended", memory)), ["complete"; 3]);
    agrees(&output, &rows);
}

#[test]
fn an_exhibit_has_its_story_and_an_execution_that_can_be_seen_again() {
    let stdout = text(&reveille(&["zoo", "hotspot-parker", "--engine", "exact"]).stdout);
    let story = [
        "CR 6822370 (2009)",
        "Broke: take, barrier, look.",
        "hotspot_parker.rs:",
        "SLEEPS",
        "Owed: a permit",
    ];
    for part in story {
        assert!(stdout.contains(part), "no {part:?} in\n{stdout}");
    }
    let again = stdout.lines().find_map(|line| line.strip_prefix("See it again: ")).unwrap();
    let (_, again) = again.split_once(" zoo ").unwrap();
    let args: Vec<_> =
        ["zoo"].into_iter().chain(again.split(' ')).map(|arg| arg.trim_matches('\'')).collect();
    let output = reveille(&args);
    assert!(text(&output.stdout).contains("Owed: a permit"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(reveille(&["zoo", "posted", "--replay", args[3]]).status.code(), Some(2), "it is another's");
}

#[test]
fn the_pools_verdict_has_its_mutants_under_it_and_a_line_for_each_protocol() {
    let output = reveille(&["verdict", "--protocol", "exit", "--engine", "loom", "--budget", "3"]);
    let stdout = text(&output.stdout);
    let unfinished = stdout.lines().filter(|line| line.starts_with("no result: exit, ")).count();
    assert!(stdout.contains("first-account-only"), "{stdout}");
    assert!(stdout.contains("4 of 4 mutants found") || unfinished > 0, "{stdout}");
    assert_eq!(output.status.code(), Some(if unfinished == 0 { 0 } else { 3 }));
    let stdout = text(&reveille(&["explain", "exit", "first-account-only", "--engine", "loom"]).stdout);
    for part in ["unbounded 0 sleeps", "Owed: the end of 1 worker"] {
        assert!(stdout.contains(part), "no {part:?} in\n{stdout}");
    }
}

#[test]
fn the_verdict_answers_the_question_in_words_and_colours_nothing_in_a_pipe() {
    let output =
        reveille(&["--gate", "posted", "--consumer", "persistent", "--engine", "loom", "--budget", "60"]);
    let stdout = text(&output.stdout);
    assert!(stdout.contains("Is the optimisation valid? No"), "{stdout}");
    assert!(stdout.contains("explain posted persistent"), "{stdout}");
    assert!(!stdout.contains('\x1b'), "{stdout}");
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn an_explanation_names_the_threads_the_skipped_wake_the_sleeper_and_what_is_owed() {
    let stdout = text(&reveille(&["explain", "posted", "persistent", "--budget", "20"]).stdout);
    for part in ["poller", "producer", "gates.rs:", "WAKE SKIPPED here", "SLEEPS", "Owed: 1 of 2 completions"]
    {
        assert!(stdout.contains(part), "no {part:?} in\n{stdout}");
    }
}

#[test]
fn without_a_counterexample_the_explanation_says_what_was_searched() {
    let output = reveille(&["explain", "per-entry", "persistent", "--budget", "0.5"]);
    let stdout = text(&output.stdout);
    assert!(stdout.contains("no counterexample") && stdout.contains("executions"), "{stdout}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn nothing_is_said_of_mutants_that_were_not_searched() {
    for args in [
        &["verdict", "--gate", "posted", "--consumer", "persistent", "--engine", "shuttle"][..],
        &["verdict", "--protocol", "mixture", "--engine", "loom"],
        &["verdict", "--protocol", "exit", "--engine", "hardware"],
    ] {
        let output = reveille(&[args, &["--budget", "1"]].concat());
        let stdout = text(&output.stdout);
        assert!(!stdout.contains("of 0 mutants") && !stdout.contains("are caught"), "{args:?}: {stdout}");
    }
}

#[test]
fn the_program_names_itself_and_hints_are_what_was_typed() {
    assert_eq!(text(&reveille(&["--version"]).stdout), format!("reveille {}\n", env!("CARGO_PKG_VERSION")));
    let explain = ["explain", "posted", "persistent", "--engine", "exact"];
    let hint = |command: &mut Command| {
        let stdout = text(&command.args(explain).output().unwrap().stdout);
        stdout.lines().find_map(|line| line.strip_prefix("See it again: ")).unwrap().to_owned()
    };
    let program = env!("CARGO_BIN_EXE_reveille");
    let under_cargo = hint(Command::new(program).env("CARGO_MANIFEST_DIR", "/somewhere"));
    assert!(under_cargo.starts_with("cargo run --release -- explain posted persistent "), "{under_cargo}");
    let installed = hint(Command::new(program).arg0("reveille").env_remove("CARGO_MANIFEST_DIR"));
    assert!(installed.starts_with("reveille explain posted persistent "), "{installed}");
}

#[test]
fn help_lists_the_names_and_a_shell_completes_them() {
    for (args, names) in [
        (&["verdict", "--help"][..], &["posted-fenced", "two-pollers", "shard-scan", "shuttle"][..]),
        (&["explain", "--help"], &["rearm-opt-in", "exclusive-pair", "first-account-only", "cancel"]),
        (&["stress", "--help"], &["armed-late", "reactor", "faults"]),
        (&["bench", "--help"], &["wait_queue", "exact", "NQ"]),
        (&["zoo", "--help"], &["hotspot-parker"]),
        (&["litmus", "--help"], &["lkmm"]),
        (&["--help"], &["Exit status:", "3    there is no result"]),
        (&["completions", "bash"], &["posted-fenced", "hotspot-parker"]),
    ] {
        let output = reveille(args);
        let stdout = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        for name in names {
            assert!(stdout.contains(name), "{args:?}: no {name:?} in\n{stdout}");
        }
    }
}

#[test]
fn a_gate_has_the_name_of_its_type_and_no_two_sources_have_one_name() {
    use reveille::gate::Gate;
    use reveille_checks::subject::GateName;
    for gate in GateName::ALL {
        assert_eq!(gate.name(), reveille_checks::with_gate!(gate, G => <G as Gate>::NAME));
    }
    let below = |folder: &str| {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
        let files = walkdir::WalkDir::new(&root).into_iter().map(Result::unwrap);
        let files = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "rs"));
        let names = files.map(|file| file.path().strip_prefix(&root).unwrap().to_owned());
        // No thread runs what is in these.
        names.filter(|name| name != Path::new("lib.rs")).collect::<Vec<_>>()
    };
    let (library, checks) = (below("../impl/src"), below("src"));
    assert!(library.len() > 20 && checks.len() > 50);
    let both: Vec<_> = library.iter().filter(|name| checks.contains(name)).collect();
    assert!(both.is_empty(), "`file:line` would be ambiguous: {both:?}");
    let stdout = text(&reveille(&["explain", "exit", "first-account-only", "--engine", "exact"]).stdout);
    assert!(stdout.contains("  pool/") && !stdout.contains("  mod.rs:"), "{stdout}");
}

#[test]
fn a_stress_run_balances_its_wakes_and_a_sound_gate_never_stalls() {
    let output =
        reveille(&["stress", "per-entry", "--completions", "200000", "--budget", "5", "--format", "json"]);
    if !output.status.success() {
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        eprintln!("SKIPPED: the machine is busy, or has no io_uring for us: {stderr}");
        return;
    }
    let report = &rows(&output.stdout)[0];
    let field = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(field("stalls"), 0);
    assert!(field("completions") > 0);
    assert_eq!(field("sent") + field("skipped"), field("completions"));
}

#[test]
fn the_versions_that_are_printed_are_those_of_the_lock_file() {
    let lock = include_str!("../../Cargo.lock");
    for (name, version) in reveille_checks::engine::VERSIONS {
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"")), "{name} {version}");
    }
}

#[test]
fn an_ordering_is_explained_by_what_is_lost_without_it() {
    let source =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../impl/src/run_queue.rs")).unwrap();
    let line = source.lines().position(|line| line.contains("swap(QUEUED, Release)")).unwrap() + 1;
    let output = reveille(&["orderings", "--explain", &format!("run_queue.rs:{line}"), "--budget", "60"]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    for part in
        ["swap release in `woken`", "executor", "run_queue.rs:", "found by the exact engine, memory rc11"]
    {
        assert!(stdout.contains(part), "no {part:?} in\n{stdout}");
    }
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    let output = reveille(&["orderings", "--explain", "run_queue.rs:1"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert_eq!(text(&output.stderr).lines().count(), 1);
}

#[test]
fn an_ordering_as_json_has_every_field_and_what_needs_it() {
    let source =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../impl/src/run_queue.rs")).unwrap();
    let line = source.lines().position(|line| line.contains("swap(QUEUED, Release)")).unwrap() + 1;
    let site = format!("run_queue.rs:{line}");
    let output = reveille(&["orderings", "--explain", &site, "--budget", "60", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let rows = rows(&output.stdout);
    for row in &rows {
        assert_eq!((&row["site"], &row["function"]), (&site.clone().into(), &"woken".into()), "{row}");
        assert!(row["operation"].is_string() && row["ordering"].is_string(), "{row}");
        assert!(row["explored"].as_u64() > Some(0) && row["price_ns"].is_f64(), "{row}");
    }
    let needed = rows.iter().find(|row| row["ordering"] == "release").unwrap();
    assert_eq!(needed["needed_by"]["engine"], "exact");
    assert!(needed["needed_by"]["steps"].is_u64() && needed["why_kept"].is_null(), "{needed}");
}

#[test]
fn orderings_of_the_model_as_json_have_every_field_and_none_is_unexplained() {
    let output = reveille(&["orderings", "--model", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let rows = rows(&output.stdout);
    assert!(rows.len() > 40, "{}", rows.len());
    for row in &rows {
        for field in ["site", "operation", "ordering"] {
            assert!(row[field].is_string(), "{field}: {row}");
        }
        assert!(row["needed_by"]["steps"].is_u64() != row["why_kept"].is_string(), "{row}");
    }
}

#[test]
fn a_mistake_has_a_row_for_every_engine_that_says_caught_or_why_blind() {
    let output = reveille(&["mutants", "--name", "parker.rs", "--budget", "20", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    let rows = rows(&output.stdout);
    assert_eq!(rows.len(), 3 * 10, "three mistakes, ten engines");
    for row in &rows {
        assert!(row["mutant"].is_string() && row["engine"].is_string() && row["after"].is_u64(), "{row}");
        assert_eq!(row["caught"].as_bool().unwrap(), row["why_blind"].is_null(), "{row}");
    }
    assert_eq!(rows.iter().filter(|row| row["caught"] == true).count(), 6, "exact rc11 and loom c11 each");
}

/// Nothing contradicts the documentation; and the status says so if a search came to no result.
#[track_caller]
fn agrees(output: &Output, rows: &[Value]) {
    let unknown = rows.iter().any(|row| row["outcome"] == "inconclusive" && row["engine"] != "hardware");
    assert_eq!(output.status.code(), Some(if unknown { 3 } else { 0 }), "{rows:?}");
}

/// Whether a search found what it is to find. If it says that its time was up too early, that is said here too, and is no failure: a
/// busy machine is nobody's mistake.
fn found(outcome: &str) -> bool {
    if outcome == "inconclusive" {
        eprintln!("INCONCLUSIVE: the machine is busy, and the time was up before the miss");
    }
    ["misses", "inconclusive"].contains(&outcome)
}

/// The processes of a group that are alive, as Linux lists them.
fn alive(group: u32) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap();
    let stats = processes.filter_map(|process| fs::read_to_string(process.ok()?.path().join("stat")).ok());
    let of_group = stats.filter(|stat| {
        // The name in parentheses may hold anything; then come the state, the parent and the group.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.get(2) == Some(&group.to_string().as_str()) && fields[0] != "Z"
    });
    of_group.collect()
}

#[test]
fn a_process_killed_in_the_middle_leaves_no_orphan() {
    for (args, processes) in [(&["--budget", "40"][..], 2), (&["stress", "reactor", "--budget", "40"], 1)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reveille"));
        let command = command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().unwrap();
        let group = child.id();
        // In the middle of its work; one of its children may just have ended, and the next not have begun.
        std::thread::sleep(Duration::from_millis(200));
        while alive(group).len() < processes {
            assert!(child.try_wait().unwrap().is_none(), "{args:?} ended before it had children");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        let start = Instant::now();
        while !alive(group).is_empty() {
            // The children would go on for up to twenty seconds, and `stress` for forty.
            assert!(start.elapsed() < Duration::from_secs(15), "{args:?} left {:?}", alive(group));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
