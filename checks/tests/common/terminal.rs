//! A pseudo-terminal to run the binary in.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A terminal with so many columns.
pub struct Terminal {
    ours: OwnedFd,
    theirs: OwnedFd,
}

/// What a program did in a terminal.
pub struct Run {
    #[allow(dead_code)] // one of the tests that use this looks at it
    pub status: Option<i32>,
    pub shown: String,
}

impl Terminal {
    pub fn new(columns: u16) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&theirs, size).unwrap();
        Self { ours, theirs }
    }

    /// Runs the binary with all three streams in the terminal, and with these variables.
    pub fn run(self, args: &[&str], variables: &[(&str, &str)]) -> Run {
        let stream = || Stdio::from(self.theirs.try_clone().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_reveille"));
        command.args(args).stdin(stream()).stdout(stream()).stderr(stream());
        command.env_remove("NO_COLOR").env("TERM", "xterm-256color").envs(variables.iter().copied());
        let mut child = command.spawn().unwrap();
        drop(command); // it has descriptors of the terminal too
        drop(self.theirs);
        let mut bytes = Vec::new();
        // The end of a terminal that no process has open any more is an error.
        let _ = File::from(self.ours).read_to_end(&mut bytes);
        let status = child.wait().unwrap().code();
        Run { status, shown: String::from_utf8_lossy(&bytes).into_owned() }
    }
}
