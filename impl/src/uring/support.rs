//! Which operations the kernel has.
//!
//! A kernel that lacks an operation says `EINVAL`, as it does to a hundred other things. So a ring is asked
//! once, when it is set up, and the `EINVAL` of a request for an operation that it lacks becomes an
//! [`Unsupported`].

use std::io;

use io_uring::{IoUring, Probe, opcode, squeue};
use rustix::io::Errno;

/// This kernel's io_uring lacks an operation. It comes inside of an [`io::Error`] of the kind
/// [`Unsupported`](io::ErrorKind::Unsupported).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this kernel's io_uring has no {name}: a later Linux is needed")]
pub struct Unsupported {
    /// What it is called, and since when there is one.
    pub name: &'static str,
}

impl Unsupported {
    /// What an error says of a lack in the kernel, if it does.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<Unsupported> for io::Error {
    fn from(unsupported: Unsupported) -> Self {
        io::Error::new(io::ErrorKind::Unsupported, unsupported)
    }
}

/// The operations that came later than the ring that a reactor needs (Linux 5.11).
const LATER: &[(u8, &str)] = &[
    (opcode::MsgRingData::CODE, "IORING_OP_MSG_RING (Linux 5.18)"),
    (opcode::Socket::CODE, "IORING_OP_SOCKET (Linux 5.19)"),
    (opcode::SendZc::CODE, "IORING_OP_SEND_ZC (Linux 6.0)"),
    (opcode::SendMsgZc::CODE, "IORING_OP_SENDMSG_ZC (Linux 6.1)"),
    (opcode::FutexWait::CODE, "IORING_OP_FUTEX_WAIT (Linux 6.7)"),
];

/// What a kernel has.
pub(super) struct Support {
    /// None where it does not say.
    probe: Option<Probe>,
}

impl Support {
    pub fn of(ring: &IoUring) -> Self {
        let mut probe = Probe::new();
        let asked = ring.submitter().register_probe(&mut probe);
        Self { probe: asked.is_ok().then_some(probe) }
    }

    /// A kernel that has nothing of what came after Linux 5.6, for tests.
    #[cfg(test)]
    pub fn nothing() -> Self {
        Self { probe: Some(Probe::new()) }
    }

    /// What is to be said of an entry if the kernel calls it invalid.
    pub fn lacks(&self, entry: &squeue::Entry) -> Option<Unsupported> {
        let code = u8::try_from(entry.get_opcode()).ok()?;
        if self.has(code) {
            return None;
        }
        let known = LATER.iter().find(|(later, _)| *later == code);
        Some(Unsupported { name: known.map_or("such operation", |(_, name)| name) })
    }

    /// The same of a multishot receive: a flag of an older operation, of which a kernel does not tell. It came
    /// with zero-copy sends.
    pub fn lacks_multishot_recv(&self) -> Option<Unsupported> {
        let lacks = Unsupported { name: "multishot IORING_OP_RECV (Linux 6.0)" };
        (!self.has(opcode::SendZc::CODE)).then_some(lacks)
    }

    fn has(&self, code: u8) -> bool {
        self.probe.as_ref().is_none_or(|probe| probe.is_supported(code))
    }
}

/// The result of a request, `lacks` told by its entry.
pub(super) fn explain(result: io::Result<u32>, lacks: Option<Unsupported>) -> io::Result<u32> {
    match (result, lacks) {
        (Err(error), Some(lacks)) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            Err(lacks.into())
        }
        (result, _) => result,
    }
}
