//! How the binary ends: its exit status tells a contradiction from a search without a result, from a
//! machine that refuses, and from an output that nobody can read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

const NO_RESULT: Option<i32> = Some(3);
const UNWRITTEN: Option<i32> = Some(4);
const INTERRUPTED: Option<i32> = Some(130);

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reveille"));
    command.args(args);
    command
}

fn reveille(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A file of this test's own, which is not there yet.
fn no_file(name: &str) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&file);
    file
}

#[test]
fn a_budget_that_is_too_short_is_no_result_and_contradicts_nothing() {
    for args in [
        &["verdict", "--gate", "posted", "--engine", "exact,model,loom,shuttle", "--budget", "0.01"][..],
        &["verdict", "--protocol", "exit,cancel", "--budget", "0.01"],
        &["orderings", "--budget", "0.01"],
        &["mutants", "--name", "gate.rs", "--budget", "0.01"],
        &["zoo", "folly-no-retry", "--budget", "0.01"],
        &["explain", "rearm-opt-in", "exclusive-pair", "--engine", "loom", "--budget", "0.000001"],
    ] {
        let output = reveille(args);
        let stdout = text(&output.stdout);
        // The first execution that is looked at may be one that loses.
        let found = args[0] == "explain" && stdout.contains("a wakeup is missed");
        let expected = if found { Some(0) } else { NO_RESULT };
        assert_eq!(output.status.code(), expected, "{args:?}: {stdout}{}", text(&output.stderr));
        for word in ["CONTRADICTION", "UNEXPLAINED", "SURVIVES"] {
            assert!(!stdout.contains(word), "{args:?}: {stdout}");
        }
    }
}

#[test]
fn an_output_that_cannot_be_written_is_said_so_and_a_reader_that_has_gone_is_no_error() {
    let explain = ["explain", "posted", "persistent", "--engine", "exact"];
    for args in [&explain[..], &["--help"], &["--version"], &["zoo", "--readme"]] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command(args).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), UNWRITTEN, "{args:?}: {stderr}");
        assert!(stderr.contains("No space left") && stderr.lines().count() == 1, "{args:?}: {stderr}");
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = command(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{args:?}");
    }
}

/// Limits a child to so much of a resource.
fn limited(mut command: Command, resource: libc::__rlimit_resource_t, to: u64) -> Command {
    let limit = libc::rlimit { rlim_cur: to, rlim_max: to };
    // SAFETY: one system call, between fork and exec.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(resource, &limit) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    command
}

#[test]
fn without_descriptors_for_a_search_there_is_one_line_and_a_status() {
    for args in [
        &["--budget", "5"][..],
        &["verdict", "--gate", "posted", "--budget", "5"],
        &["mutants", "--budget", "5"],
        &["zoo", "--budget", "5"],
        &["orderings", "--budget", "5"],
    ] {
        let output = limited(command(args), libc::RLIMIT_NOFILE, 5).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), NO_RESULT, "{args:?}: {stderr}");
        assert!(stderr.contains("Too many open files") && stderr.lines().count() == 1, "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn without_threads_and_processes_there_is_one_line_and_a_status() {
    for args in [
        &["--budget", "5"][..],
        &["verdict", "--gate", "posted", "--budget", "5"],
        &["mutants", "--budget", "5"],
        &["stress", "posted", "--budget", "1"],
        &["stress", "pool", "--budget", "1"],
        &["explain", "per-entry", "exclusive-pair", "--budget", "0.5"],
        &["bench", "wait_queue", "--rounds", "1", "--seconds", "0.01"],
    ] {
        let mut command = command(args);
        // The limit does not hold for root. A number that nobody has: what else runs does not count.
        if rustix::process::getuid().is_root() {
            command.uid(0x7eed_0000 + std::process::id());
        }
        // Of the order in which a child does these: the user first.
        let output = match limited(command, libc::RLIMIT_NPROC, 1).output() {
            Ok(output) => output,
            Err(error) => {
                eprintln!("SKIPPED: {args:?} cannot be started as another user: {error}");
                return;
            }
        };
        let stderr = text(&output.stderr);
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
        // The exact engine gets by on one thread.
        let is_explained = args[0] == "explain" && output.status.code() != NO_RESULT;
        if !is_explained {
            assert_eq!(output.status.code(), NO_RESULT, "{args:?}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
        }
    }
}

/// A child for whom `io_uring_setup` ends with this error.
fn without_io_uring(mut command: Command, error: i32) -> Command {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
    let code = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let filter = [
        // The number of the system call is the first of what a filter is shown.
        code(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0),
        code(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
        code(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | error as u32),
        code(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    // SAFETY: two system calls, between fork and exec. The filter is the closure's own, and lives until then.
    unsafe {
        command.pre_exec(move || {
            let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
            let failed = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) != 0;
            if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
        });
    }
    command
}

#[test]
fn where_io_uring_is_forbidden_or_not_there_the_table_says_which_and_why() {
    for (error, word, why) in
        [(libc::EPERM, "forbidden", "io_uring_disabled"), (libc::ENOSYS, "not there", "CONFIG_IO_URING")]
    {
        let cell = ["verdict", "--gate", "posted", "--consumer", "epoll-level", "--budget", "1", "--engine"];
        let with = |engines: &str| {
            let args = [&cell[..], &[engines]].concat();
            let output = without_io_uring(command(&args), error).output().unwrap();
            (output.status.code(), text(&output.stdout))
        };
        let (status, stdout) = with("exact,hardware");
        assert!(stdout.contains(word) && stdout.contains(why), "{stdout}");
        assert_eq!(status, Some(0), "the others have a result: {stdout}");
        assert_eq!(with("hardware").0, NO_RESULT);
        let output =
            without_io_uring(command(&["stress", "posted", "--budget", "1"]), error).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!((output.status.code(), stderr.lines().count()), (NO_RESULT, 1), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    }
}

#[test]
fn after_ctrl_c_what_is_finished_is_printed_and_what_is_not_is_marked() {
    for args in [
        &["verdict", "--gate", "has-sleeper,per-entry", "--engine", "exact,shuttle", "--budget", "600"][..],
        &["mutants", "--name", "gate.rs", "--engine", "exact,shuttle", "--budget", "600"],
        &["orderings", "--budget", "600"],
    ] {
        let file = no_file(&format!("interrupted-{}", args[0]));
        let mut command = command(args);
        command.arg("--resume").arg(&file).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        // A header, and what is finished.
        let finished = || fs::read_to_string(&file).map_or(0, |text| text.lines().count());
        while finished() < 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
        // SAFETY: the child has not been waited for, so the number is still its own.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        let output = child.wait_with_output().unwrap();
        let stdout = text(&output.stdout);
        assert_eq!(output.status.code(), INTERRUPTED, "{args:?}: {stdout}");
        assert!(stdout.contains("interrupted") && stdout.contains('?'), "{args:?}: {stdout}");
        assert_eq!(text(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn a_run_goes_on_where_its_file_says_that_an_earlier_one_was() {
    let file = no_file("resumed");
    let path = file.to_str().unwrap();
    let args = ["verdict", "--gate", "posted", "--consumer", "persistent", "--engine", "exact", "--format"];
    let args = [&args[..], &["json", "--resume", path]].concat();
    let rows = || {
        let output = reveille(&args);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["rows"].clone()
    };
    let first = rows();
    // The seconds are those of the first time: nothing was searched again.
    assert_eq!(rows(), first);
    let lines = fs::read_to_string(&file).unwrap();
    assert_eq!(lines.lines().count(), 1 + 3, "a header and three cells: {lines}");
    // The machine went down as a line was being written.
    File::options().append(true).open(&file).unwrap().write_all(b"{\"key\":\"exact sc pos").unwrap();
    assert_eq!(rows(), first);
    assert_eq!(fs::read_to_string(&file).unwrap(), lines);
}

#[test]
fn the_file_of_another_run_is_refused_in_one_line() {
    let file = no_file("another");
    let path = file.to_str().unwrap();
    let cell = ["verdict", "--gate", "posted", "--consumer", "persistent", "--engine", "exact"];
    assert_eq!(reveille(&[&cell[..], &["--resume", path]].concat()).status.code(), Some(0));
    fs::write(file.with_extension("txt"), "a text\n").unwrap();
    let no_checkpoint = file.with_extension("txt");
    for (args, says) in [
        ([&cell[..], &["--seed", "7", "--resume", path]].concat(), "another run"),
        (vec!["mutants", "--resume", path], "another run"),
        ([&cell[..], &["--resume", no_checkpoint.to_str().unwrap()]].concat(), "no file of --resume"),
        ([&cell[..], &["--resume", "/nowhere/to/be/found"]].concat(), "No such file"),
    ] {
        let output = reveille(&args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(says) && stderr.lines().count() == 1, "{args:?}: {stderr}");
    }
}
