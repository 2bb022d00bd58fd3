//! Other programs that want the same CPUs.

use std::fs;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

/// A busy loop of another process on each of some CPUs, until this is dropped, or until this process has ended.
#[derive(Default)]
pub struct Neighbours(Vec<(usize, Child)>);

/// Looks now and then whether its parent is still there.
const BUSY: &str =
    "while kill -0 $PPID 2>/dev/null; do n=0; while [ $n -lt 100000 ]; do n=$((n+1)); done; done";

impl Neighbours {
    /// Starts them.
    ///
    /// # Errors
    /// If there is no shell, or no such CPU.
    pub fn on(cpus: &[usize]) -> io::Result<Self> {
        let mut neighbours = Self(Vec::new());
        for &cpu in cpus {
            let child = Command::new("sh").args(["-c", BUSY]).stdin(Stdio::null()).spawn()?;
            let pid = Pid::from_child(&child);
            neighbours.0.push((cpu, child));
            let mut set = CpuSet::new();
            set.set(cpu);
            sched_setaffinity(Some(pid), &set)?;
        }
        Ok(neighbours)
    }

    /// Their process ids.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|(_, child)| child.id())
    }

    /// The CPU time that those on these CPUs have taken so far.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn cpu_time(&self, cpus: &[usize]) -> io::Result<Duration> {
        self.0.iter().filter(|(cpu, _)| cpus.contains(cpu)).map(|(_, child)| cpu_time(child.id())).sum()
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The time that a process has used, user and system: fields 14 and 15 of `stat`, in ticks of 10 ms.
fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is a name in brackets, which may hold anything.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    let ticks: u32 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
    Ok(Duration::from_millis(10) * ticks)
}
