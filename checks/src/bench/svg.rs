//! The rows as a page to look at: a group of bars, with an axis, for everything that may be compared with
//! each other; above them, what was measured where and when.

use std::fmt::Write as _;
use std::fs;
use std::time::SystemTime;

use super::{BASELINE, QUIET, Row};

const WIDTH: f64 = 960.0;
const NAMES: f64 = 190.0;
const BARS: f64 = 520.0;
const LINE: f64 = 20.0;
const MARGIN: f64 = 24.0;

/// About so many marks on an axis.
const MARKS: f64 = 5.0;

/// On what the rows were measured, and when.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// The processors.
    pub machine: String,
    /// The kernel's release.
    pub kernel: String,
    /// The date and the time.
    pub date: String,
}

impl Circumstances {
    /// Those of this moment.
    pub fn now() -> Self {
        let unknown = || "unknown".to_owned();
        let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|cpus| {
            let line = cpus.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let kernel =
            fs::read_to_string("/proc/sys/kernel/osrelease").map(|release| release.trim().to_owned());
        Self {
            machine: format!("{cpus} × {}", model.unwrap_or_else(unknown)),
            kernel: kernel.map_or_else(|_| unknown(), |release| format!("Linux {release}")),
            date: httpdate::fmt_http_date(SystemTime::now()),
        }
    }
}

/// The page, as an SVG. A bar is the median of operations a second, the thin line through its end the
/// slowest and the fastest round. Each group has a scale of its own.
pub fn page(rows: &[Row], circumstances: &Circumstances) -> String {
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        let comparable = |group: &&mut Vec<&Row>| {
            let key = |row: &Row| (row.case, row.depth, row.workers, row.regime);
            key(group[0]) == key(row)
        };
        match groups.iter_mut().find(comparable) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups.sort_by_key(|group| (group[0].case, group[0].regime.name(), group[0].depth, group[0].workers));
    let mut body = String::new();
    let mut y = head(&mut body, rows, circumstances);
    for group in &groups {
        y = draw(&mut body, group, y);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" viewBox=\"0 0 {WIDTH} {y}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

/// What the page is about, and where the groups begin.
fn head(body: &mut String, rows: &[Row], circumstances: &Circumstances) -> f64 {
    let Circumstances { machine, kernel, date } = circumstances;
    let rounds = rows.first().map_or(0, |row| row.rounds);
    let mut lines = vec![
        ("bold", format!("{machine}; {kernel}; {date}")),
        (
            "normal",
            format!("Bars: the median of {rounds} rounds. Thin lines: the slowest to the fastest round."),
        ),
        (
            "normal",
            "P: everything on one CPU. Q: all CPUs are free. NP, NQ: beside busy programs.".to_owned(),
        ),
    ];
    let busiest = rows.iter().map(|row| row.others).fold(0.0, f64::max);
    if busiest > QUIET {
        let share = busiest * 100.0;
        lines.push((
            "bold",
            format!("THE MACHINE WAS BUSY: others took up to {share:.0} % of it (grey names, ~)."),
        ));
    }
    for (i, (weight, line)) in lines.iter().enumerate() {
        text(body, MARGIN, MARGIN + LINE * i as f64, &format!("font-weight=\"{weight}\""), line);
    }
    MARGIN + LINE * lines.len() as f64 + LINE / 2.0
}

/// Draws a group from `y` on, and says where the next one begins.
fn draw(body: &mut String, group: &[&Row], mut y: f64) -> f64 {
    let first = group[0];
    let case = first.case.map_or(String::new(), |case| format!(", {case}"));
    let workers = first.workers.map_or(String::new(), |workers| format!(", {workers} workers"));
    let (bench, depth, regime) = (first.bench, first.depth, first.regime.name());
    let title = format!("{bench}{case}, depth {depth}{workers}, regime {regime}");
    text(body, MARGIN, y + 14.0, "font-weight=\"bold\"", &title);
    y += LINE + 2.0;
    let most = group.iter().map(|row| row.ops_per_s_max).fold(f64::MIN_POSITIVE, f64::max);
    let left = NAMES + MARGIN;
    let scale = |ops: f64| left + ops / most * BARS;
    let (factor, unit) = match most {
        1e6.. => (1e6, "M op/s"),
        1e3.. => (1e3, "k op/s"),
        _ => (1.0, "op/s"),
    };
    let bottom = y + LINE * group.len() as f64;
    axis(body, most / factor, unit, (y, bottom), |n| scale(n * factor));
    for row in group {
        let colour = match row.contender {
            "reveille" => "#c0392b",
            BASELINE => "#2c3e50",
            _ => "#95a5a6",
        };
        let busy = row.others > QUIET;
        let (name, fill) =
            if busy { (format!("{} ~", row.contender), "gray") } else { (row.contender.into(), "black") };
        text(body, MARGIN, y + 14.0, &format!("fill=\"{fill}\""), &name);
        let _ = writeln!(
            body,
            "<rect class=\"bar\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
            y + 3.0,
            scale(row.ops_per_s) - left,
            LINE - 6.0
        );
        let middle = y + LINE / 2.0;
        line(body, (scale(row.ops_per_s_min), middle), (scale(row.ops_per_s_max), middle), "black");
        let ratio = row.ratio.map_or(String::new(), |ratio| format!(", {ratio:.2} × {BASELINE}"));
        let figure = format!("{:.3}{ratio}", row.ops_per_s / factor);
        text(body, scale(row.ops_per_s_max) + 6.0, y + 14.0, "", &figure);
        y += LINE;
    }
    bottom + 2.0 * LINE
}

/// Marks from 0 to `most`, and what they count, under what lies between `top` and `bottom`.
fn axis(body: &mut String, most: f64, unit: &str, (top, bottom): (f64, f64), place: impl Fn(f64) -> f64) {
    line(body, (place(0.0), bottom), (place(most), bottom), "black");
    let step = step(most / MARKS);
    for i in 0.. {
        let n = step * f64::from(i);
        if n > most {
            break;
        }
        line(body, (place(n), top), (place(n), bottom + 3.0), "#dddddd");
        text(
            body,
            place(n),
            bottom + 14.0,
            "text-anchor=\"middle\" font-size=\"10\"",
            &format!("{}", round(n)),
        );
    }
    text(body, place(most) + 6.0, bottom + 14.0, "font-size=\"10\"", unit);
}

/// 1, 2 or 5 times a power of ten: the least that is not below `least`.
#[doc(hidden)]
pub fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|&n| n >= least).unwrap_or(least)
}

/// Without what a sum of steps has too much.
fn round(n: f64) -> f64 {
    (n * 1e6).round() / 1e6
}

fn line(body: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str) {
    let _ = writeln!(
        body,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
    );
}

fn text(body: &mut String, x: f64, y: f64, attributes: &str, what: &str) {
    let what = what.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(body, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{what}</text>");
}
