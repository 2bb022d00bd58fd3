//! A server under perf: how many system calls all its threads make, and where its CPU time goes.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::site::Site;

const CALLS: &str = "raw_syscalls:sys_enter";

/// Where the kernel spins for a lock: `queued_spin_lock_slowpath`, with a prefix in a virtual machine.
const SPINNING: &str = "spin_lock_slowpath";

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
        watched.args(["record", "-q", "-F", "2999", "-e", "cpu-clock", "-o"]).arg(&self.samples);
        watched.args(["--", "perf", "stat", "-x", ",", "-e", CALLS, "-o"]).arg(&self.counts).arg("--");
        watched.arg(command.get_program()).args(command.get_args());
        watched
    }

    /// When the server has ended: its system calls, and the share of its CPU time in which the kernel spun
    /// for a lock.
    pub fn read(&self) -> io::Result<(Option<u64>, Option<f64>)> {
        let counts = std::fs::read_to_string(&self.counts)?;
        let line = counts.lines().find(|line| line.contains(CALLS));
        let calls = line.and_then(|line| line.split(',').next()?.parse().ok());
        let mut report = Command::new("perf");
        report.args(["report", "-q", "--stdio", "-F", "overhead,sym", "--percent-limit", "0", "-i"]);
        let report = report.arg(&self.samples).stdin(Stdio::null()).stderr(Stdio::null()).output()?;
        let shares = String::from_utf8_lossy(&report.stdout).into_owned();
        Ok((calls, spinning(&shares)))
    }
}

/// The sum of the lines that are about [`SPINNING`]; `None` if there are no lines.
pub fn spinning(shares: &str) -> Option<f64> {
    let mut all = shares.lines().filter_map(|line| {
        let (percent, symbol) = line.trim().split_once('%')?;
        Some((percent.parse::<f64>().ok()? / 100.0, symbol))
    });
    let first = all.next()?;
    let spins = |(_, symbol): &(f64, &str)| symbol.contains(SPINNING);
    Some(std::iter::once(first).chain(all).filter(spins).map(|(share, _)| share).sum())
}
