//! Progress of long work: on a terminal only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for so many things, and room for the name of the one under way.
pub fn bar(of: usize) -> ProgressBar {
    let progress = ProgressBar::with_draw_target(Some(of as u64), ProgressDrawTarget::stderr());
    progress.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}").expect("the template is valid"),
    );
    progress
}

/// A sign of life for work of which there is only one.
pub fn sign_of_life(message: String) -> ProgressBar {
    let progress = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    progress.set_style(
        ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}").expect("the template is valid"),
    );
    progress.set_message(message);
    // It moves on a thread of its own; where there is none to be had it stands still.
    let thread = std::thread::Builder::new().spawn(|| ());
    if !progress.is_hidden() && thread.is_ok() {
        progress.enable_steady_tick(Duration::from_millis(250));
    } else {
        progress.tick();
    }
    progress
}
