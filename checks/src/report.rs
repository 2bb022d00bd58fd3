//! Renders counterexamples: threads are columns, operations are numbered rows.
//!
//! On a narrow page the columns are wrapped; then the source lines are left out, which are the least of what
//! a reader needs; and where there are too many threads for columns each row names its thread.

use std::fmt::Write as _;

use crate::page::Page;
use crate::sheet::{Cell, Column, Sheet};
use crate::trace::{Op, Sleeper, Step, Trace};
use crate::verdict::{Counterexample, End, Link, Then, Why};

/// The counterexample as text, for people: as wide as it is, and without colours.
pub fn render(counterexample: &Counterexample) -> String {
    render_on(counterexample, Page::PLAIN)
}

/// The counterexample for this page. Its tables fit; its sentences are for [`Page::fit`].
pub fn render_on(counterexample: &Counterexample, page: Page) -> String {
    let Counterexample { scenario, legend, found_by, end, trace, why, record: _ } = counterexample;
    let what = what_is_wrong(counterexample);
    let mut text = format!("{scenario}: {what}\nfound by {found_by}\n\n");
    if !legend.is_empty() {
        let _ = writeln!(text, "{legend}\n");
    }
    let _ = writeln!(text, "{}\n", table(trace, page));
    if let Some(reason) = why_skipped(trace) {
        let _ = writeln!(text, "{reason}");
    }
    for Sleeper { thread: sleeper, parker, timed } in trace.sleepers() {
        let whose = if parker.starts_with(sleeper) { String::new() } else { format!(" on \"{parker}\"") };
        let until = if timed { ": it has a timeout, but its script lets no time pass" } else { "" };
        let _ = writeln!(text, "{sleeper} sleeps{whose}, and no wake is on its way{until}.");
    }
    for thread in 0..trace.threads.len() {
        let object = match trace.last_step(thread) {
            Some(Step { op: Op::Await { object }, .. }) => object,
            Some(Step { op: Op::Spin, source, .. }) => {
                let name = &trace.threads[thread];
                let _ = writeln!(text, "{name} spins at {source} for what does not come any more.");
                continue;
            }
            _ => continue,
        };
        let taken = |step: &&Step| matches!(step.op, Op::Lock { object: lock } | Op::Unlock { object: lock } if lock == *object);
        let holder = match trace.steps.iter().rev().find(taken) {
            Some(Step { op: Op::Lock { .. }, thread: holder, .. }) => {
                format!(", which {} holds", trace.threads[*holder])
            }
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "{} waits for lock {}{holder}.",
            trace.threads[thread], trace.objects[*object].label
        );
    }
    let _ = match end {
        End::Stuck(Some(owed)) => writeln!(text, "Owed: {owed}."),
        End::Stuck(None) => writeln!(text, "No thread can move; the scenario does not say what is owed."),
        End::Violation(message) => writeln!(text, "The panic: {message}"),
    };
    text += &match why {
        Why::Unknown => late(trace),
        Why::Interleaving => "Sequential consistency allows it: any machine can do this.\n".into(),
        Why::Cycle(cycle) => late(trace) + &no_order(trace, cycle, page),
    };
    text
}

/// What is wrong with the execution, in a few words.
pub(crate) fn what_is_wrong(counterexample: &Counterexample) -> &'static str {
    let Counterexample { end, trace, .. } = counterexample;
    match end {
        End::Stuck(_) if trace.sleepers().any(|sleeper| sleeper.timed) => {
            "every thread is blocked as long as no time passes"
        }
        End::Stuck(Some(_)) => "a wakeup is missed",
        End::Stuck(None) => "every thread is blocked",
        End::Violation(_) => "an assertion fails",
    }
}

/// Whether old values were read, as far as the rows tell.
fn late(trace: &Trace) -> String {
    let old = (0..trace.steps.len()).filter(|&row| trace.steps[row].op.stale().is_some());
    match old.collect::<Vec<_>>()[..] {
        [] => "Every read returned the newest value: any machine can do this.\n".into(),
        [row] => format!("The read in row {} returned an old value: it takes a late store.\n", row + 1),
        [row, ..] => format!("From row {} on, reads returned old values: it takes a late store.\n", row + 1),
    }
}

/// The rows that no interleaving has in one order.
fn no_order(trace: &Trace, cycle: &[Link], page: Page) -> String {
    let mut sheet = Sheet::new([
        ("#", Column::Right),
        ("thread", Column::Left),
        ("does", Column::Text),
        ("source", Column::Text),
        ("and this comes before the next", Column::Text),
    ]);
    for (i, Link { row, then }) in cycle.iter().enumerate() {
        let step = &trace.steps[*row];
        let next = cycle[(i + 1) % cycle.len()].row + 1;
        let then = match then {
            Then::ProgramOrder => "in its program".into(),
            Then::StartOrJoin => "by the start or the end of a thread".into(),
            Then::ReadsFrom => format!("row {next} reads it"),
            Then::Coherence => format!("row {next} overwrites it"),
            Then::FromRead => format!("it has not seen row {next}"),
        };
        let thread = trace.threads[step.thread].to_string();
        let cells = [(row + 1).to_string(), thread, describe(trace, &step.op), step.source.clone(), then];
        sheet.row(cells);
    }
    format!(
        "\nNo interleaving has this: each of these rows comes before the next, and the last before the first.\n\n{}\n",
        sheet.on(page)
    )
}

/// Why the last wake was skipped, if it was: what its gate read, and who had left that value there.
pub(crate) fn why_skipped(trace: &Trace) -> Option<String> {
    let is_wake = |op: &Op| matches!(op, Op::WakeSkipped | Op::WakeSent { .. });
    let skipped = trace.steps.iter().rposition(|step| is_wake(&step.op))?;
    if trace.steps[skipped].op != Op::WakeSkipped {
        return None;
    }
    let waker = trace.steps[skipped].thread;
    let asked = trace.steps[..skipped].iter().rposition(|step| step.thread == waker)?;
    let (object, read) = match trace.steps[asked].op {
        Op::Load { object, read, .. } | Op::Rmw { object, read, .. } => (object, read),
        _ => return None,
    };
    let name = &trace.objects[object].label;
    let since = trace.steps[..asked].iter().rposition(|step| match step.op {
        Op::Store { object: written, wrote, .. } | Op::Rmw { object: written, wrote: Some(wrote), .. } => {
            written == object && wrote == read
        }
        _ => false,
    });
    let since = match since {
        Some(row) => format!("as {} had left it in row {}", trace.threads[trace.steps[row].thread], row + 1),
        None => "as it was at the start".into(),
    };
    let read = trace.objects[object].shown(read);
    Some(format!("The wake was skipped in row {} because {name} was {read}, {since}.", skipped + 1))
}

/// The rows, with the most that fits the page.
fn table(trace: &Trace, page: Page) -> String {
    let pieces = [columns(trace, true), columns(trace, false)];
    let fitting = pieces.iter().find_map(|sheet| sheet.in_one_piece(page));
    fitting.unwrap_or_else(|| list(trace).on(page))
}

/// A column for each thread.
fn columns(trace: &Trace, with_source: bool) -> Sheet {
    let threads = trace.threads.iter().map(|name| (&**name, Column::Text));
    let source = with_source.then_some(("source", Column::Text));
    let mut sheet = Sheet::new([("#", Column::Right)].into_iter().chain(threads).chain(source));
    for (i, step) in trace.steps.iter().enumerate() {
        let of_thread = |thread| if thread == step.thread { does(trace, &step.op) } else { "".into() };
        let cells = (0..trace.threads.len()).map(of_thread);
        let source = with_source.then(|| Cell::from(&step.source));
        sheet.row([Cell::from(i + 1)].into_iter().chain(cells).chain(source));
    }
    let last = (0..trace.threads.len()).map(|thread| ending(trace.last_step(thread)));
    sheet.row([Cell::from("")].into_iter().chain(last));
    sheet
}

/// Rows that name their threads.
fn list(trace: &Trace) -> Sheet {
    let columns =
        [("#", Column::Right), ("thread", Column::Left), ("does", Column::Text), ("source", Column::Text)];
    let mut sheet = Sheet::new(columns);
    for (i, step) in trace.steps.iter().enumerate() {
        let thread = &trace.threads[step.thread];
        sheet.row([(i + 1).into(), thread.into(), does(trace, &step.op), Cell::from(&step.source)]);
    }
    for (thread, name) in trace.threads.iter().enumerate() {
        let last = ending(trace.last_step(thread));
        if !last.text.is_empty() {
            sheet.row(["".into(), name.into(), last]);
        }
    }
    sheet
}

fn does(trace: &Trace, op: &Op) -> Cell {
    let text = describe(trace, op);
    match op {
        Op::WakeSkipped => Cell::bad(text),
        op if op.stale().is_some() => Cell::odd(text),
        _ => text.into(),
    }
}

/// What an operation is called.
pub(crate) fn describe(trace: &Trace, op: &Op) -> String {
    let name = |object: &usize| &*trace.objects[*object].label;
    let shown = |object: &usize, value: &usize| trace.objects[*object].shown(*value);
    let old = |object: &usize, stale: &Option<usize>| {
        let newest = stale.map(|newest| shown(object, &newest));
        newest.map_or(String::new(), |newest| format!(", OLD: it is {newest} by now"))
    };
    match op {
        Op::Load { object, order, read, stale } => {
            format!("{} is {}{} ({order})", name(object), shown(object, read), old(object, stale))
        }
        Op::Store { object, order, wrote } => {
            format!("{} = {} ({order})", name(object), shown(object, wrote))
        }
        Op::Rmw { object, order, read, wrote: Some(wrote), stale } => {
            let (read, wrote) = (shown(object, read), shown(object, wrote));
            format!("{}: {read} → {wrote}{} ({order})", name(object), old(object, stale))
        }
        Op::Rmw { object, read, wrote: None, stale, .. } => {
            format!("{} is {}{}, not exchanged", name(object), shown(object, read), old(object, stale))
        }
        Op::Fence { order } if order == "seq_cst" => "full barrier".into(),
        Op::Fence { order } => format!("{} fence", order),
        Op::Lock { object } => format!("lock {}", name(object)),
        Op::Unlock { object } => format!("unlock {}", name(object)),
        Op::Await { object } => format!("wait for lock {}", name(object)),
        Op::NotLocked { object } => format!("lock {} is not free", name(object)),
        Op::WeakFailure => "a weak exchange fails for no reason".into(),
        Op::Spin => "spin".into(),
        Op::Park { .. } => "go to sleep".into(),
        Op::Woken { early: false, .. } => "awake".into(),
        Op::Woken { early: true, .. } => "awake, for no reason".into(),
        Op::Unpark { object } => format!("wake {}", name(object)),
        Op::Read { object } => format!("read {}", name(object)),
        Op::Write { object } => format!("write {}", name(object)),
        Op::Spawn { name } => format!("start {name}"),
        Op::End => "end".into(),
        Op::Drain { object, wrote } => format!("(buffered: {} = {wrote} reaches memory)", name(object)),
        Op::Choice { taken } => format!("choose {}", if *taken { "yes" } else { "no" }),
        Op::WakeSkipped => "WAKE SKIPPED here".into(),
        Op::WakeSent { entries: 0 } => "no entry to notify".into(),
        Op::WakeSent { entries: 1 } => "1 entry is notified".into(),
        Op::WakeSent { entries } => format!("{entries} entries are notified"),
        Op::WakePassedOn { entries: 0 } => "no entry to pass the wake on to".into(),
        Op::WakePassedOn { .. } => "wake passed on".into(),
    }
}

/// What a thread is at in the end.
pub(crate) fn ending(last: Option<&Step>) -> Cell {
    match last.map(|step| &step.op) {
        Some(Op::Park { .. }) => Cell::bad("SLEEPS"),
        Some(Op::Await { .. }) => Cell::bad("WAITS"),
        Some(Op::Spin) => Cell::bad("SPINS"),
        Some(Op::End) => "ended".into(),
        _ => "".into(),
    }
}
