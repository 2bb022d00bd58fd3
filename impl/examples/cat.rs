//! Prints files, as cat(1) does: opened by the pool, since an open may block for long and io_uring would start a thread
//! for it too; read through the ring. All files are opened at once, and read in order.
//!
//! `cargo run --release -p reveille --example cat [FILE...]`; without a file it prints itself.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use reveille::pool::{Outcome, Work};
use reveille::uring::{AsyncHandle, Config, Executor, Read, Task};

/// One read.
const CHUNK: usize = 64 << 10;

fn main() -> ExitCode {
    match print_all() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cat: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all of them could be printed.
fn print_all() -> Result<bool, Box<dyn Error>> {
    let mut files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        files.push([env!("CARGO_MANIFEST_DIR"), "examples", "cat.rs"].iter().collect());
    }
    let mut executor = Executor::new(Config::default())?;
    let ring = executor.handle();
    let ended_well = executor.block_on(async move {
        // The pool begins with all of them before the first is awaited.
        let opened: Vec<_> = files
            .into_iter()
            .map(|path| {
                (
                    ring.offload(Work::BOUNDED, {
                        let path = path.clone();
                        move |_| File::open(path)
                    }),
                    path,
                )
            })
            .collect();
        let mut ended_well = true;
        for (file, path) in opened {
            let printed = match file.await {
                Outcome::Done(Ok(file)) => print(&ring, file).await,
                Outcome::Done(Err(error)) => Err(error),
                _ => Err(io::Error::other("it could not be opened")),
            };
            if let Err(error) = printed {
                eprintln!("cat: {}: {error}", path.display());
                ended_well = false;
            }
        }
        ended_well
    })?;
    Ok(ended_well)
}

/// Copies a file to the standard output. One buffer goes to the kernel and comes back, again and again.
async fn print(ring: &AsyncHandle<Task>, file: File) -> io::Result<()> {
    let file = Arc::new(file);
    let mut buffer = vec![0; CHUNK];
    loop {
        let (read, back) = ring.submit(Read::new(file.clone(), buffer)).await.map_err(io::Error::other)?;
        match read? {
            0 => return Ok(()),
            n => io::stdout().write_all(&back[..n])?,
        }
        buffer = back;
    }
}
