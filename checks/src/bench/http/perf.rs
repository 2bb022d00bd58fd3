//! A server under perf: how many system calls all its threads make, and where its CPU time goes.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::site::Site;
use crate::bench::Profile;

const CALLS: &str = "raw_syscalls:sys_enter";

/// Whether perf is there and may count and sample.
pub(super) fn is_there() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    let quiet = |command: &mut Command| {
        let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        silent.status().is_ok_and(|status| status.success())
    };
    *THERE.get_or_init(|| {
        quiet(Command::new("perf").args(["stat", "-e", CALLS, "--", "true"]))
            && quiet(Command::new("perf").args([
                "record",
                "-e",
                "cpu-clock",
                "-o",
                "/dev/null",
                "--",
                "true",
            ]))
    })
}

/// Where perf writes to, for one server.
pub(super) struct Watch {
    counts: PathBuf,
    samples: PathBuf,
}

impl Watch {
    pub fn new(site: &Site) -> Self {
        Self { counts: site.path("counts"), samples: site.path("samples") }
    }

    /// The command, under `perf stat`, and that under `perf record`. Not the other way round: then the
    /// counts were of the recorder too.
    pub fn around(&self, command: &Command) -> Command {
        let mut watched = Command::new("perf");
        watched.args(["record", "-q", "-N", "-B", "-F", "2999", "-e", "cpu-clock", "-o"]).arg(&self.samples);
        watched.args(["--", "perf", "stat", "-x", ",", "-e", CALLS, "-o"]).arg(&self.counts).arg("--");
        watched.arg(command.get_program()).args(command.get_args());
        watched
    }

    /// When the server has ended: its system calls, and where its CPU time went.
    pub fn read(&self) -> io::Result<(Option<u64>, Option<Profile>)> {
        let counts = std::fs::read_to_string(&self.counts)?;
        let line = counts.lines().find(|line| line.contains(CALLS));
        let calls = line.and_then(|line| line.split(',').next()?.parse().ok());
        let mut report = Command::new("perf");
        report.args([
            "report",
            "-q",
            "--stdio",
            "--no-inline",
            "-F",
            "overhead,sym",
            "--percent-limit",
            "0",
            "-i",
        ]);
        let report = report.arg(&self.samples).stdin(Stdio::null()).stderr(Stdio::null()).output()?;
        let shares = String::from_utf8_lossy(&report.stdout).into_owned();
        Ok((calls, profile(&shares)))
    }
}

/// `None` if nothing was sampled.
pub fn profile(shares: &str) -> Option<Profile> {
    let shares = shares.lines().filter_map(|line| {
        let (percent, symbol) = line.trim().split_once('%')?;
        Some((percent.parse::<f64>().ok()? / 100.0, symbol))
    });
    let shares: Vec<(f64, &str)> = shares.collect();
    let of = |name| {
        let shares = shares.iter().filter(|(_, symbol)| symbol.contains(name)).map(|(share, _)| share);
        shares.fold(0.0, |sum, share| sum + share) // the sum of none is -0
    };
    // In a virtual machine the first has a prefix.
    let profile = || Profile {
        spinning: of("queued_spin_lock_slowpath"),
        polling: of("ep_poll_callback"),
        waking: of("try_to_wake_up"),
    };
    (!shares.is_empty()).then(profile)
}
