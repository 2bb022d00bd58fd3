//! A counterexample as a picture: to be sent, opened in a browser, printed.
//!
//! Threads are columns and time goes down. The rows that decide are kept, long stretches between them are folded into
//! one line each. Arrows are drawn where the rows have no order: each of them comes before the next, for the reason that
//! is written at the arrow, and the last before the first. One file holds everything; nothing is fetched.

use std::fmt::Write as _;
use std::ops::Range;

use crate::report::{describe, ending, render, what_is_wrong, why_skipped};
use crate::trace::{Op, Trace};
use crate::verdict::{Counterexample, Link, Then, Why};

/// Sizes in pixels.
const ROW: usize = 22;
const COLUMN: usize = 340;
/// Between the columns, and after the last: for the arrows.
const GAP: usize = 90;
const NUMBERS: usize = 44;
const SOURCES: usize = 200;
const HEAD: usize = 34;

/// A counterexample of no more rows than this is not folded.
const SHORT: usize = 24;

/// A stretch is folded if it has at least so many rows.
const STRETCH: usize = 3;

/// The counterexample as an SVG file.
///
/// # Examples
/// ```
/// use reveille_checks::{engine::{Budget, Engine}, picture, scenario::Consumer};
/// use reveille_checks::subject::{Case, GateName, WakeCase};
///
/// let case = WakeCase { gate: GateName::Posted, consumer: Consumer::Activation };
/// let verdict = case.search(Engine::ExactSc, Budget::of_executions(50_000));
/// let picture = picture::svg(verdict.counterexample().expect("it loses"));
/// assert!(picture.starts_with("<svg") && picture.contains("WAKE SKIPPED"));
/// ```
pub fn svg(counterexample: &Counterexample) -> String {
    let trace = &counterexample.trace;
    let cycle = match &counterexample.why {
        Why::Cycle(cycle) => &cycle[..],
        _ => &[],
    };
    let lines = lines(trace, cycle);
    let (width, height) = (left(trace.threads.len()) + SOURCES, HEAD + ROW * (lines.len() + 1) + ROW / 2);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace, monospace\" font-size=\"12\" role=\"img\">\n<title>{}</title>\n{DEFINITIONS}\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n",
        escaped(&counterexample.scenario)
    );
    for (i, name) in trace.threads.iter().enumerate() {
        let x = left(i);
        text(&mut out, x + 6, HEAD - 12, "font-weight=\"bold\"", name);
    }
    text(&mut out, width - SOURCES + 6, HEAD - 12, "fill=\"#777\"", "source");
    let _ = writeln!(out, "<path d=\"M4 {y}H{x}\" stroke=\"#999\"/>", y = HEAD - 4, x = width - 4);
    for (i, line) in lines.iter().enumerate() {
        draw_line(&mut out, trace, cycle, line, HEAD + ROW * i, width);
    }
    let bottom = HEAD + ROW * lines.len() + 15;
    for thread in 0..trace.threads.len() {
        let end = ending(trace.last_step(thread)).text;
        let is_bad = end.chars().all(char::is_uppercase);
        let colour = if is_bad { "font-weight=\"bold\" fill=\"#b00\"" } else { "fill=\"#777\"" };
        text(&mut out, left(thread) + 6, bottom, colour, &end);
    }
    for (i, link) in cycle.iter().enumerate() {
        draw_arrow(&mut out, trace, &lines, *link, cycle[(i + 1) % cycle.len()].row);
    }
    out + "</svg>\n"
}

const DEFINITIONS: &str = "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" \
     markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#06c\"/></marker></defs>\n";

/// The counterexample as a page of its own: the picture, what it comes to in words, and all rows.
pub fn html(counterexample: &Counterexample) -> String {
    let Counterexample { scenario, found_by, .. } = counterexample;
    let title = format!("{scenario}: {}", what_is_wrong(counterexample));
    page(&title, &format!("<p>Found by {}.</p>\n{}", escaped(found_by), figure(counterexample)))
}

/// The picture with its explanation, to be put into a page.
fn figure(counterexample: &Counterexample) -> String {
    let all = escaped(&render(counterexample));
    let reason = why_skipped(&counterexample.trace).unwrap_or_default();
    let cycle = match &counterexample.why {
        Why::Cycle(_) => {
            "No interleaving has this. The framed rows have no order: each comes before the next along the arrows, \
             and the last before the first. It takes a store that others see late."
        }
        Why::Interleaving => "Sequential consistency allows it: any machine can do this.",
        Why::Unknown => "",
    };
    format!(
        "{}<p>{} {cycle}</p>\n<details><summary>All {} rows, as text</summary><pre>{all}</pre></details>\n",
        svg(counterexample),
        escaped(&reason),
        counterexample.trace.steps.len(),
    )
}

/// A table whose cells open their counterexamples: its columns, and its rows, each with a name and its cells.
pub fn report(title: &str, intro: &str, columns: &[String], rows: &[(String, Vec<ReportCell>)]) -> String {
    let mut body = format!("<p>{}</p>\n<table><tr><th></th>", escaped(intro));
    let mut figures = String::new();
    for column in columns {
        let _ = write!(body, "<th>{}</th>", escaped(column));
    }
    body += "</tr>\n";
    for (name, cells) in rows {
        let _ = write!(body, "<tr><th>{}</th>", escaped(name));
        for ReportCell { text, counterexample } in cells {
            let text = escaped(text);
            let _ = match counterexample {
                None => write!(body, "<td>{text}</td>"),
                Some(counterexample) => {
                    let id = figures.matches("<section").count();
                    let _ = write!(
                        figures,
                        "<section id=\"c{id}\"><h2>{}: {}</h2>\n<p>Found by {}.</p>\n{}</section>\n",
                        escaped(&counterexample.scenario),
                        what_is_wrong(counterexample),
                        escaped(&counterexample.found_by),
                        figure(counterexample)
                    );
                    write!(body, "<td class=\"miss\"><a href=\"#c{id}\">{text}</a></td>")
                }
            };
        }
        body += "</tr>\n";
    }
    page(title, &(body + "</table>\n" + &figures))
}

/// A cell of a [`report`].
pub struct ReportCell {
    /// What is written in it.
    pub text: String,
    /// What it opens.
    pub counterexample: Option<Counterexample>,
}

fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>{STYLE}</style></head>\n\
         <body><h1>{title}</h1>\n{body}</body></html>\n"
    )
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em;color:#222;background:#fff}\
h1{font-size:1.3em}h2{font-size:1.1em}svg{max-width:100%;height:auto;border:1px solid #ddd}\
pre{font-size:12px;overflow-x:auto;background:#f7f7f7;padding:1em}table{border-collapse:collapse}\
td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left;font-size:13px}.miss{background:#fdd}\
section:not(:target){display:none}@media print{section{display:block!important;break-before:page}}";

/// Where the column of a thread begins.
fn left(thread: usize) -> usize {
    NUMBERS + (COLUMN + GAP) * thread
}

/// A line of the picture.
enum Line {
    Row(usize),
    /// Rows that are folded
    Folded(Range<usize>),
}

fn lines(trace: &Trace, cycle: &[Link]) -> Vec<Line> {
    let rows = trace.steps.len();
    let is_kept = |row: usize| {
        let step = &trace.steps[row];
        rows <= SHORT
            || cycle.iter().any(|link| link.row == row)
            || step.op.stale().is_some()
            || trace.last_step(step.thread).is_some_and(|last| std::ptr::eq(last, step))
            || matches!(
                step.op,
                Op::WakeSkipped
                    | Op::WakeSent { .. }
                    | Op::WakePassedOn { .. }
                    | Op::Park { .. }
                    | Op::Woken { .. }
                    | Op::Unpark { .. }
                    | Op::Await { .. }
            )
            || trace.steps.get(row + 1).is_some_and(|next| next.op == Op::WakeSkipped)
    };
    let mut lines = Vec::new();
    let mut row = 0;
    while row < rows {
        let end = (row..rows).find(|&row| is_kept(row)).unwrap_or(rows);
        match end - row {
            0 => {
                lines.push(Line::Row(row));
                row += 1;
            }
            few if few < STRETCH => {
                lines.extend((row..end).map(Line::Row));
                row = end;
            }
            _ => {
                lines.push(Line::Folded(row..end));
                row = end;
            }
        }
    }
    lines
}

fn draw_line(out: &mut String, trace: &Trace, cycle: &[Link], line: &Line, y: usize, width: usize) {
    let base = y + 15;
    match line {
        Line::Folded(rows) => {
            let mut by: Vec<(usize, usize)> = Vec::new();
            for step in &trace.steps[rows.clone()] {
                match by.iter_mut().find(|(thread, _)| *thread == step.thread) {
                    Some((_, steps)) => *steps += 1,
                    None => by.push((step.thread, 1)),
                }
            }
            for (thread, steps) in by {
                let what = format!("⋯ {steps} step{}", if steps == 1 { "" } else { "s" });
                text(out, left(thread) + 6, base, "fill=\"#999\"", &what);
            }
        }
        &Line::Row(row) => {
            let step = &trace.steps[row];
            let x = left(step.thread);
            let fill = match &step.op {
                Op::WakeSkipped => Some("#fbb"),
                op if op.stale().is_some() => Some("#fe9"),
                _ => None,
            };
            if let Some(fill) = fill {
                let _ = writeln!(
                    out,
                    "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{fill}\"/>",
                    x + 2,
                    y + 1,
                    COLUMN - 4,
                    ROW - 2
                );
            }
            if cycle.iter().any(|link| link.row == row) {
                let _ = writeln!(
                    out,
                    "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#06c\"/>",
                    x + 2,
                    y + 1,
                    COLUMN - 4,
                    ROW - 2
                );
            }
            text(out, 8, base, "fill=\"#777\"", &(row + 1).to_string());
            let style = if step.op == Op::WakeSkipped { "font-weight=\"bold\" fill=\"#b00\"" } else { "" };
            text(out, x + 6, base, style, &describe(trace, &step.op));
            text(out, width - SOURCES + 6, base, "fill=\"#777\"", &step.source);
        }
    }
}

/// An arrow from a row of the cycle to the next one, with the reason.
fn draw_arrow(out: &mut String, trace: &Trace, lines: &[Line], link: Link, next: usize) {
    let place = |row: usize| {
        let line = lines.iter().position(|line| matches!(line, Line::Row(known) if *known == row));
        (trace.steps[row].thread, HEAD + ROW * line.expect("rows of the cycle are kept") + ROW / 2)
    };
    let ((from, y), (to, end)) = (place(link.row), place(next));
    let why = match link.then {
        Then::ProgramOrder => "then",
        Then::StartOrJoin => "starts, or ends",
        Then::ReadsFrom => "is read by",
        Then::Coherence => "is overwritten by",
        Then::FromRead => "has not seen",
    };
    let right = |thread: usize| left(thread) + COLUMN - 2;
    let (x0, x1, bend) = match from.cmp(&to) {
        std::cmp::Ordering::Less => (right(from), left(to) + 2, 0),
        std::cmp::Ordering::Greater => (left(from) + 2, right(to), 0),
        std::cmp::Ordering::Equal => (right(from), right(to), 26),
    };
    let middle = (x0 + x1) / 2 + bend;
    let _ = writeln!(
        out,
        "<path d=\"M{x0} {y}C{middle} {y} {middle} {end} {x1} {end}\" fill=\"none\" stroke=\"#06c\" marker-end=\"url(#tip)\"/>"
    );
    let style = "fill=\"#06c\" font-size=\"10\" paint-order=\"stroke\" stroke=\"white\" stroke-width=\"3\"";
    // Two arrows in one gap go opposite ways: their words stand nearer to where each ends.
    let (x, y) = ((x0.min(x1) + 4).max(middle.min(x0.max(x1)) - 40), (y + 2 * end) / 3);
    text(out, x, y, style, why);
}

fn text(out: &mut String, x: usize, y: usize, attributes: &str, text: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{y}\" xml:space=\"preserve\" {attributes}>{}</text>",
        escaped(text)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
