//! `reveille litmus` as its users meet it.

#[path = "common/json.rs"]
mod json;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use json::rows;
use serde_json::{Value, json};

/// Store buffering: what SC forbids and x86 does.
const STORE_BUFFERING: &str = "C SB
{ x=0; y=0; }
P0(atomic_int *x, atomic_int *y) {
  atomic_store_explicit(x, 1, memory_order_relaxed);
  int r0 = atomic_load_explicit(y, memory_order_relaxed);
}
P1(atomic_int *x, atomic_int *y) {
  atomic_store_explicit(y, 1, memory_order_relaxed);
  int r0 = atomic_load_explicit(x, memory_order_relaxed);
}
exists (0:r0=0 /\\ 1:r0=0)
";

const ONE_STORE: &str = "C one
{ }
P0(atomic_int *x) { atomic_store_explicit(x, 1, memory_order_relaxed); }
exists (x=1)
";

/// What is expected of `SB`, as a table with these lines.
const EXPECTED: &str = "group\ttest\tmodel\tobservation\tn_states\tstates
sb\tSB\tsc\tNever\t3\t0:r0=0,1:r0=1;0:r0=1,1:r0=0;0:r0=1,1:r0=1
sb\tSB\ttso\tSometimes\t4\t0:r0=0,1:r0=0;0:r0=0,1:r0=1;0:r0=1,1:r0=0;0:r0=1,1:r0=1
sb\tSB\trc11\tSometimes\t4\t0:r0=0,1:r0=0;0:r0=0,1:r0=1;0:r0=1,1:r0=0;0:r0=1,1:r0=1
";

/// A folder of this test's own with these files.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("litmus").join(name);
        let _ = fs::remove_dir_all(&folder);
        for (file, text) in files {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        Self(folder)
    }

    /// Runs the command in the folder.
    fn litmus(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reveille"));
        let Output { status, stdout, stderr } =
            command.arg("litmus").args(args).current_dir(&self.0).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }
}

#[test]
fn json_has_a_row_for_each_test_and_memory() {
    let folder = Folder::new("json", &[("sb.litmus", STORE_BUFFERING)]);
    let (status, stdout, stderr) = folder.litmus(&["sb.litmus", "--format", "json"]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let sc = ["0:r0=0,1:r0=1", "0:r0=1,1:r0=0", "0:r0=1,1:r0=1"];
    let weak = ["0:r0=0,1:r0=0", "0:r0=0,1:r0=1", "0:r0=1,1:r0=0", "0:r0=1,1:r0=1"];
    let expected = json!([
        { "test": "SB", "memory": "sc", "observation": "Never", "executions": 3, "states": sc },
        { "test": "SB", "memory": "tso", "observation": "Sometimes", "executions": 4, "states": weak },
        { "test": "SB", "memory": "rc11", "observation": "Sometimes", "executions": 4, "states": weak },
    ]);
    assert_eq!(Value::from(rows(stdout)), expected);
}

#[test]
fn the_table_shows_which_memory_reaches_which_state() {
    let folder = Folder::new("table", &[("sb.litmus", STORE_BUFFERING)]);
    let (_, stdout, _) = folder.litmus(&["sb.litmus"]);
    let lines: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[2], ["SB", "Never", "0/3", "Sometimes", "1/4", "Sometimes", "1/4"]);
    assert_eq!(lines[3], ["executions", "3", "4", "4"]);
    assert_eq!(lines[4], ["0:r0=0,1:r0=0", "yes", "yes"], "not under sc");
    assert_eq!(lines[5], ["0:r0=0,1:r0=1", "yes", "yes", "yes"]);
}

#[test]
fn a_test_that_cannot_be_read_is_one_line_with_its_place_and_the_others_are_done() {
    let broken = STORE_BUFFERING.replace("memory_order_relaxed);\n}", "memory_order_relaxed)\n}");
    let folder = Folder::new(
        "broken",
        &[
            ("a.litmus", &broken),
            ("b.litmus", ONE_STORE),
            ("latin.litmus", "C caf\u{e9}"),
            ("c.txt", "no test"),
        ],
    );
    fs::write(folder.0.join("latin.litmus"), b"C caf\xe9").unwrap();
    let (status, stdout, stderr) = folder.litmus(&[".", "nowhere"]);
    assert_eq!(status, Some(2));
    assert!(stdout.contains("\none "), "{stdout}");
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines[0], "./a.litmus:6:1: expected `;`, found `}`");
    assert!(lines[1].starts_with("./latin.litmus: ") && lines[1].contains("UTF-8"), "{stderr}");
    assert!(lines[2].starts_with("nowhere: No such file"), "{stderr}");
    assert_eq!(lines.len(), 3, "{stderr}");
}

#[test]
fn seq_cst_accesses_are_done_under_every_memory() {
    let text = STORE_BUFFERING
        .replace("atomic_store_explicit(x, 1, memory_order_relaxed)", "atomic_store(x, 1)")
        .replace("atomic_store_explicit(y, 1, memory_order_relaxed)", "atomic_store(y, 1)")
        .replace("memory_order_relaxed", "memory_order_seq_cst");
    let folder = Folder::new("seq-cst", &[("sb.litmus", &text)]);
    let (status, stdout, stderr) = folder.litmus(&["sb.litmus", "--format", "json"]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let rows = rows(&stdout);
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row["observation"] == "Never" && row["executions"] == 3), "{stdout}");
}

#[test]
fn a_race_is_a_verdict_and_said_once_with_the_location_and_both_lines() {
    let text = "C race\n{}\nP0(int *d) { *d = 1; }\nP1(int *d) { int r = *d; }\nexists (1:r=1)";
    let folder = Folder::new("race", &[("race.litmus", text)]);
    let race = "3:15: a race on `d`: a write in line 3 (P0) and a read in line 4 (P1), \
                with nothing between that orders them";
    let (status, stdout, stderr) = folder.litmus(&["race.litmus"]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert_eq!(stdout.matches(race).count(), 1, "{stdout}");
    assert_eq!(stdout.matches("Undefined").count(), 3, "{stdout}");
    let (_, stdout, _) = folder.litmus(&["race.litmus", "--format", "json", "--memory", "tso"]);
    let rows = Value::from(rows(&stdout));
    let row = json!([{ "test": "race", "memory": "tso", "observation": "Undefined", "executions": null, "states": [], "race": race }]);
    assert_eq!(rows, row);
}

/// Data behind a flag that releases nothing: x86 hands it over all the same.
#[test]
fn a_race_under_rc11_only_says_so_and_the_other_memories_are_done() {
    let text = "C flag
{ }
P0(int *d, atomic_int *x) {
  *d = 1;
  atomic_store_explicit(x, 1, memory_order_relaxed);
}
P1(int *d, atomic_int *x) {
  int r = atomic_load_explicit(x, memory_order_relaxed);
  if (r == 1) { int s = *d; }
}
exists (1:r=1 /\\ 1:s=0)
";
    let files = [("flag.litmus", text), ("one.litmus", ONE_STORE)];
    let folder = Folder::new("race-rc11", &files);
    let (status, stdout, stderr) = folder.litmus(&["."]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let race = "4:4: a race on `d`: a write in line 4 (P0) and a read in line 9 (P1)";
    assert!(stdout.contains(race), "{stdout}");
    let lines: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[2], ["flag", "Never", "0/2", "Never", "0/2", "Undefined"]);
    assert_eq!(lines[3], ["executions", "2", "2"]);
    assert!(stdout.contains("\none "), "{stdout}");
}

/// Load buffering, which the kernel's model allows and RC11 does not.
#[test]
fn a_test_in_kernel_c_is_run_under_the_kernels_model_too() {
    let text = "C LB
{ }
P0(int *x, int *y) { int r0 = READ_ONCE(*x); WRITE_ONCE(*y, 1); }
P1(int *x, int *y) { int r0 = READ_ONCE(*y); WRITE_ONCE(*x, 1); }
exists (0:r0=1 /\\ 1:r0=1)
";
    let folder = Folder::new("kernel", &[("lb.litmus", text), ("one.litmus", ONE_STORE)]);
    let (status, stdout, stderr) = folder.litmus(&["lb.litmus"]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let lines: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["test", "sc", "tso", "rc11", "lkmm"]);
    assert_eq!(lines[2], ["LB", "Never", "0/3", "Never", "0/3", "Never", "0/3", "Sometimes", "1/4"]);
    let (status, stdout, stderr) = folder.litmus(&[".", "--memory", "lkmm", "--format", "json"]);
    let rows = rows(&stdout);
    assert_eq!((status, rows.len()), (Some(2), 1));
    assert_eq!(stderr, "./one.litmus: the kernel's memory model says nothing of C11's operations\n");
}

#[test]
fn a_folder_is_searched_below_for_litmus_files_and_a_file_named_twice_is_read_once() {
    let files = [("deep/er/sb.litmus", STORE_BUFFERING), ("one.litmus", ONE_STORE), ("notes.md", "C notes")];
    let folder = Folder::new("folders", &files);
    let (status, stdout, stderr) =
        folder.litmus(&["one.litmus", ".", "./one.litmus", "deep", "--format", "json"]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let rows = rows(&stdout);
    let tests: Vec<_> = rows.iter().map(|row| row["test"].as_str().unwrap()).collect();
    assert_eq!(tests, ["one", "one", "one", "SB", "SB", "SB"]);
    let folder = Folder::new("empty", &[("notes.md", "")]);
    assert_eq!(folder.litmus(&["."]), (Some(2), String::new(), ".: no *.litmus file in it\n".into()));
}

#[test]
fn a_comparison_that_agrees_exits_with_0() {
    let folder = Folder::new("agrees", &[("sb.litmus", STORE_BUFFERING), ("expected.tsv", EXPECTED)]);
    let (status, stdout, stderr) = folder.litmus(&[".", "--check", "expected.tsv"]);
    let text =
        "sc   1 of 1 tests as expected\ntso  1 of 1 tests as expected\nrc11 1 of 1 tests as expected\n";
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (Some(0), text, ""));
}

#[test]
fn a_comparison_that_does_not_agree_exits_with_1_and_shows_the_states() {
    let tso = "0:r0=0,1:r0=0;0:r0=0,1:r0=1;0:r0=1,1:r0=0;0:r0=1,1:r0=1\nsb\tSB\trc11";
    let wrong = EXPECTED
        .replace("tso\tSometimes", "tso\tNever")
        .replace(tso, "0:r0=0,1:r0=1;0:r0=1,1:r0=0;0:r0=1,1:r0=1;0:r0=7,1:r0=1\nsb\tSB\trc11");
    assert_ne!(wrong.matches("r0=7").count(), 0);
    // A broken file beside it does not hide the difference.
    let folder = Folder::new(
        "differs",
        &[("sb.litmus", STORE_BUFFERING), ("x.litmus", "C x"), ("expected.tsv", &wrong)],
    );
    let (status, stdout, stderr) = folder.litmus(&[".", "--check", "expected.tsv"]);
    assert_eq!((status, stderr.lines().count()), (Some(1), 1), "{stderr}");
    let rows: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.contains(&vec!["SB", "tso", "lacks", "0:r0=7,1:r0=1"]), "{stdout}");
    assert!(rows.contains(&vec!["SB", "tso", "has", "more", "0:r0=0,1:r0=0"]), "{stdout}");
    assert!(rows.contains(&vec!["SB", "tso", "is", "Sometimes,", "not", "Never"]), "{stdout}");
    assert!(stdout.ends_with("tso  0 of 1 tests as expected\nrc11 1 of 1 tests as expected\n"), "{stdout}");

    let (status, stdout, stderr) =
        folder.litmus(&["sb.litmus", "--check", "expected.tsv", "--format", "json"]);
    assert_eq!(status, Some(1));
    assert_eq!(json::rows(&stdout).len(), 3, "standard output is the document only");
    assert!(stderr.contains("0:r0=7,1:r0=1"), "{stderr}");
}

/// Herd's `rc11` leaves fences unordered that `rc11-trace` orders.
#[test]
fn rc11_is_compared_with_rc11_and_not_with_rc11_trace() {
    let trace = format!("{EXPECTED}sb\tSB\trc11-trace\tNever\t1\t0:r0=7,1:r0=7\n");
    let only_trace = trace.replace("\tSB\trc11\t", "\tanother\trc11\t");
    let files = [("sb.litmus", STORE_BUFFERING), ("both.tsv", &trace), ("trace.tsv", &only_trace)];
    let folder = Folder::new("rc11-trace", &files);
    let (status, stdout, _) = folder.litmus(&["sb.litmus", "--check", "both.tsv"]);
    assert_eq!(status, Some(0));
    assert!(stdout.ends_with("rc11 1 of 1 tests as expected\n"), "{stdout}");
    let (status, stdout, _) = folder.litmus(&["sb.litmus", "--check", "trace.tsv"]);
    assert_eq!(status, Some(0));
    assert!(stdout.ends_with("rc11 nothing is expected\n"), "{stdout}");
}

#[test]
fn executions_are_compared_if_their_number_is_expected() {
    let numbers = ["executions", "3", "4", "5"];
    let lines = EXPECTED.lines().zip(numbers).map(|(line, number)| format!("{line}\t{number}\n"));
    let files = [("sb.litmus", STORE_BUFFERING), ("expected.tsv", &lines.collect::<String>())];
    let folder = Folder::new("executions", &files);
    let (status, stdout, _) = folder.litmus(&["sb.litmus", "--check", "expected.tsv"]);
    assert_eq!(status, Some(1));
    let rows: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.contains(&vec!["SB", "rc11", "has", "4", "executions,", "not", "5"]), "{stdout}");
    assert!(stdout.ends_with("tso  1 of 1 tests as expected\nrc11 0 of 1 tests as expected\n"), "{stdout}");
}

#[test]
fn a_comparison_with_nothing_is_no_agreement() {
    let files = [("one.litmus", ONE_STORE), ("sb.litmus", STORE_BUFFERING), ("expected.tsv", EXPECTED)];
    let folder = Folder::new("nothing", &files);
    let (status, _, stderr) = folder.litmus(&["one.litmus", "--check", "expected.tsv"]);
    let line = "reveille: expected.tsv: nothing is expected of any of these tests\n";
    assert_eq!((status, stderr.as_str()), (Some(2), line));
    let (status, stdout, _) = folder.litmus(&[".", "--check", "expected.tsv"]);
    assert_eq!(status, Some(0));
    assert!(stdout.ends_with("nothing is expected of one\n"), "{stdout}");
}

#[test]
fn a_table_of_expectations_that_is_none_gets_one_line() {
    let twice = format!("{EXPECTED}{}", EXPECTED.lines().nth(1).unwrap());
    let columns = EXPECTED.replace("\tstates\n", "\tfinal\n");
    let files = [("sb.litmus", STORE_BUFFERING), ("twice.tsv", twice.as_str()), ("columns.tsv", &columns)];
    let folder = Folder::new("expectations", &files);
    for (table, why) in [
        ("nowhere.tsv", "No such file"),
        ("twice.tsv", "two lines for SB under sc"),
        ("columns.tsv", "`states`"),
    ] {
        let (status, stdout, stderr) = folder.litmus(&["sb.litmus", "--check", table]);
        assert_eq!((status, stdout.as_str(), stderr.lines().count()), (Some(2), "", 1), "{stderr}");
        assert!(stderr.starts_with(&format!("reveille: {table}: ")) && stderr.contains(why), "{stderr}");
    }
}

/// The tables that come with this project are read as they are.
#[test]
fn the_litmus_tests_of_this_project_are_as_their_tables_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../model/litmus/");
    for (name, memory, agreed) in [
        ("wakeup-core", "rc11", "84 of 84"),
        ("wakeup-core-kernel", "lkmm", "84 of 84"),
        ("kernel", "lkmm", "350 of 350"),
        ("herd", "sc", "1020 of 1020"),
    ] {
        let (tests, table) = (format!("{folder}{name}.litmus"), format!("{folder}{name}.tsv"));
        let output = Command::new(env!("CARGO_BIN_EXE_reveille"))
            .args(["litmus", &tests, "--memory", memory, "--check", &table])
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {stdout}");
        assert_eq!(stdout, format!("{memory:<5}{agreed} tests as expected\n"), "{name}");
    }
}

/// A table is read for the model in the name of its column, its states too.
#[test]
fn a_table_with_a_line_for_each_test_is_compared_and_differences_are_shown() {
    let right = "test\tsc\texecutions\tvariables\tstates\ttso\n\
                 SB\tN\t3\t0:r0,1:r0\t0,1;1,0;1,1\tSometimes\n";
    let wrong = right.replace("\t3\t", "\t1/4\t").replace("0,1;1,0", "0,1;0,0").replace("Sometimes", "A");
    let files = [("sb.litmus", STORE_BUFFERING), ("right.tsv", right), ("wrong.tsv", &wrong)];
    let folder = Folder::new("wide", &files);
    let (status, stdout, _) = folder.litmus(&["sb.litmus", "--check", "right.tsv"]);
    let text = "sc   1 of 1 tests as expected\ntso  1 of 1 tests as expected\nrc11 nothing is expected\n";
    assert_eq!((status, stdout.as_str()), (Some(0), text));
    let (status, stdout, _) = folder.litmus(&["sb.litmus", "--check", "wrong.tsv"]);
    assert_eq!(status, Some(1));
    for part in ["3 executions, not 4", "lacks", "0:r0=0,1:r0=0", "has more", "Sometimes, not Always"] {
        assert!(stdout.contains(part), "no {part:?} in\n{stdout}");
    }
}
