//! An execution that went wrong, as a table: a column a thread, a row an operation.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::panic::Location;
use std::sync::atomic::Ordering;

use reveille_model::code::{Failure, Kind, Limit, Performed};
use reveille_model::explore::Failed;
use reveille_model::graphs::{EventId, Op, Value, linearize};

use crate::sync::atomic::shown;

/// What is wrong, in a line. It begins as loom's message does, for tests that expect that.
pub(crate) fn headline(failed: &Failed) -> String {
    let thread = |id: &EventId| name_of(failed, id.thread());
    match &failed.failure {
        Failure::Panic { message, .. } => message.clone(),
        Failure::Stuck if failed.circles.is_empty() => "deadlock: every thread is blocked".to_owned(),
        Failure::Stuck => "deadlock: every thread is blocked, or reads the same again and again".to_owned(),
        Failure::Race { cell, first: (first, a), second: (second, b) } => {
            let label = failed.names[*cell as usize].label;
            let at = |performed: &Performed| place(performed.source);
            let kind = |performed: &Performed| match performed.op {
                Op::CellWrite { .. } => "write",
                _ => "read",
            };
            format!(
                "Causality violation: Concurrent {} and {} accesses to `{label}`: {} in {} and {} in {}, with nothing \
                 between that orders them",
                kind(a),
                kind(b),
                at(a),
                thread(first),
                at(b),
                thread(second),
            )
        }
        Failure::Limit(limit @ Limit::Events { .. }) => format!(
            "the execution cannot be explored: {limit}. A loop that waits says so by `thread::yield_now` or \
             `hint::spin_loop`"
        ),
        Failure::Limit(limit) => format!("the execution cannot be explored: {limit}"),
    }
}

fn place(source: &Location<'_>) -> String {
    let file = source.file();
    // The last two parts of a path say enough.
    let from = file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    format!("{}:{}", &file[from..], source.line())
}

fn name_of(failed: &Failed, thread: usize) -> String {
    match failed.threads.get(thread) {
        _ if thread == 0 => "main".to_owned(),
        Some(&name) if !name.is_empty() && name != "thread" => name.to_owned(),
        _ => format!("thread {thread}"),
    }
}

/// The execution, its objects and how it ends.
pub(crate) fn render(failed: &Failed) -> String {
    let graph = &failed.graph;
    if graph.len == 0 {
        return String::new();
    }
    let order = linearize(graph);
    let labels = labels(failed, &order);
    let mut newest: Vec<Value> = graph.locations.iter().map(|location| location.initial).collect();
    let mut rows = Vec::new();
    for &id in &order {
        let source = place(graph.event(id).source);
        rows.push((id.thread(), row(failed, id, &labels, &mut newest), source));
    }
    let mut text = table(failed, &rows);
    let used: Vec<usize> =
        order.iter().filter_map(|&id| graph.event(id).op.location()).map(|n| n as usize).collect();
    text.push('\n');
    for (number, label) in labels.iter().enumerate() {
        if let Some(source) = failed.names[number].source
            && used.contains(&number)
        {
            let _ = writeln!(text, "{label} is made at {}.", place(source));
        }
    }
    text.push('\n');
    text += &endings(failed, &labels);
    text
}

/// The objects' labels, by number. Of several with the same one the second that is used is `label#2`, and so on.
fn labels(failed: &Failed, order: &[EventId]) -> Vec<String> {
    let mut labels = vec![String::new(); failed.names.len()];
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let used = order.iter().filter_map(|&id| failed.graph.event(id).op.location());
    for number in used.map(|number| number as usize) {
        if labels[number].is_empty() {
            let label = failed.names[number].label;
            let count = counts.entry(label).and_modify(|count| *count += 1).or_insert(1);
            labels[number] = if *count == 1 { label.to_owned() } else { format!("{label}#{count}") };
        }
    }
    labels
}

fn ordering(order: Ordering) -> &'static str {
    match order {
        Ordering::Relaxed => "relaxed",
        Ordering::Acquire => "acquire",
        Ordering::Release => "release",
        Ordering::AcqRel => "acq_rel",
        _ => "seq_cst",
    }
}

fn row(failed: &Failed, id: EventId, labels: &[String], newest: &mut [Value]) -> String {
    let event = failed.graph.event(id);
    let number = event.op.location().unwrap_or(0) as usize;
    let name = failed.names.get(number);
    let (label, kind) = (name.map_or("", |name| name.label), name.map_or(Kind::Word, |name| name.kind));
    let object = labels.get(number).map_or("", String::as_str);
    let value = |value: Value| shown(label, value);
    let by = ordering(event.order());
    let before = newest.get(number).copied().unwrap_or(0);
    if event.writes {
        newest[number] = event.wrote;
    }
    let old = match event.op.reads() && event.read != before {
        true => format!(", OLD: it is {} by now", value(before)),
        false => String::new(),
    };
    match (event.op, kind) {
        (Op::Store { .. }, Kind::Lock) => format!("unlock {object}"),
        (Op::Rmw { until: Some(_), .. }, Kind::Lock) if event.blocked => format!("WAIT for {object}"),
        (Op::Rmw { until: Some(_), .. }, Kind::Lock) => format!("lock {object}"),
        (Op::Rmw { .. }, Kind::Lock) if event.writes && event.wrote == event.read.wrapping_sub(1) => {
            format!("unlock {object}")
        }
        (Op::Rmw { .. }, Kind::Lock) if event.writes => format!("lock {object}"),
        (Op::Rmw { .. }, Kind::Lock) => format!("{object} is taken"),
        (Op::Rmw { until: Some(_), .. }, Kind::Token) if event.blocked => format!("WAIT on {object}"),
        (Op::Rmw { until: Some(_), .. }, Kind::Token) => format!("woken by {object}"),
        (Op::Rmw { .. }, Kind::Token) => format!("signal {object}"),
        (Op::Load { .. }, _) => format!("{object} is {}{old} ({by})", value(event.read)),
        (Op::Store { .. }, _) => format!("{object} = {} ({by})", value(event.wrote)),
        (Op::Rmw { .. }, _) if event.writes => {
            format!("{object}: {} -> {}{old} ({by})", value(event.read), value(event.wrote))
        }
        (Op::Rmw { .. }, _) => format!("{object} is {}{old}, not exchanged ({by})", value(event.read)),
        (Op::Fence { order }, _) => format!("{} fence", ordering(order)),
        (Op::Spawn, _) => format!("start {}", name_of(failed, event.read as usize)),
        (Op::Join { thread }, _) => format!("join {}", name_of(failed, thread.into())),
        (Op::CellRead { .. }, _) => format!("read {object}"),
        (Op::CellWrite { .. }, _) => format!("write {object}"),
        (Op::Choose { outcomes: 2 }, _) if event.read == 0 => "goes on as usual".to_owned(),
        (Op::Choose { outcomes: 2 }, _) => "fails or wakes for no reason".to_owned(),
        (Op::Choose { .. }, _) => format!("choose {}", event.read),
        (Op::End, _) => "end".to_owned(),
    }
}

fn table(failed: &Failed, rows: &[(usize, String, String)]) -> String {
    let threads: Vec<usize> =
        (0..failed.graph.threads.len()).filter(|&thread| failed.graph.is_alive(thread)).collect();
    let width = |thread: usize| {
        let own = rows.iter().filter(|(of, ..)| *of == thread).map(|(_, text, _)| text.chars().count());
        own.max().unwrap_or(0).max(name_of(failed, thread).chars().count())
    };
    let widths: Vec<usize> = threads.iter().map(|&thread| width(thread)).collect();
    let mut text = String::new();
    let mut line = |number: &str, cells: &[&str], source: &str| {
        let mut line = format!("{number:>4}");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(line, "  {cell:<width$}");
        }
        let _ = writeln!(text, "{line}  {source}");
    };
    let names: Vec<String> = threads.iter().map(|&thread| name_of(failed, thread)).collect();
    line("#", &names.iter().map(String::as_str).collect::<Vec<_>>(), "source");
    for (number, (thread, does, source)) in rows.iter().enumerate() {
        let cells: Vec<&str> =
            threads.iter().map(|other| if other == thread { does.as_str() } else { "" }).collect();
        line(&(number + 1).to_string(), &cells, source);
    }
    text
}

/// What became of the threads that have not ended.
fn endings(failed: &Failed, labels: &[String]) -> String {
    let graph = &failed.graph;
    let mut text = String::new();
    if matches!(failed.failure, Failure::Stuck) {
        for thread in
            (0..graph.threads.len()).filter(|&thread| graph.is_alive(thread) && !graph.has_ended(thread))
        {
            let Some(last) = graph.threads[thread].events.last() else { continue };
            let (name, source) = (name_of(failed, thread), place(last.source));
            let object = last.op.location().map_or("", |number| labels[number as usize].as_str());
            let _ = match failed.circles.iter().any(|(circling, _)| *circling == thread) {
                true => writeln!(
                    text,
                    "{name} reads the same again and again, last {object} at {source}: it is the newest."
                ),
                false if last.blocked => {
                    writeln!(text, "{name} waits for {object} at {source}, and nothing is on its way.")
                }
                false => writeln!(text, "{name} waits for the end of a thread, after {source}."),
            };
        }
    }
    text
}
