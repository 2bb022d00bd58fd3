//! The examples, as their users meet them when something is wrong.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

/// An example. `cargo test` builds them, and `cargo test --test examples` does not.
fn example(name: &str) -> Option<Command> {
    let program = std::env::current_exe().unwrap().with_file_name("../examples").join(name);
    if !program.exists() {
        eprintln!("SKIPPED: no {}", program.display());
        return None;
    }
    Some(Command::new(program))
}

/// The one line that an example ends with.
#[track_caller]
fn line(output: Output) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    stderr
}

#[test]
fn an_example_without_descriptors_for_a_ring_says_so_in_words() {
    for name in ["nop", "cat", "epoll_bridge"] {
        let Some(mut command) = example(name) else { return };
        // The loader takes the place of standard input for a moment, and the run-time gives it to
        // /dev/null: the three are all that there are.
        let limit = libc::rlimit { rlim_cur: 3, rlim_max: 3 };
        // SAFETY: two system calls, between fork and exec.
        unsafe {
            command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NOFILE, &limit) {
                0 if libc::close(0) == 0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        let line = line(command.output().unwrap());
        let is_named = line.starts_with(&format!("{name}: "));
        assert!(is_named && !line.contains("Os {") && !line.contains("Error:"), "{line}");
    }
}

#[test]
fn an_argument_that_is_no_number_is_told_in_words() {
    let Some(mut nop) = example("nop") else { return };
    let line = line(nop.arg("soon").output().unwrap());
    assert_eq!(line, "nop: invalid float literal\n");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let Some(mut cat) = example("cat") else { return };
    let output = cat.arg("/nowhere").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    // Or there is no io_uring for us, and a line says that.
    assert!(stderr.starts_with("cat: ") && !stderr.contains("Os {"), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}
