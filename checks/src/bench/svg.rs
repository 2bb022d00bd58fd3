//! The rows as a page to look at: a group of bars for everything that may be compared with each other.

use std::fmt::Write as _;

use super::{BASELINE, Row};

const WIDTH: f64 = 900.0;
const NAMES: f64 = 190.0;
const BARS: f64 = 500.0;
const LINE: f64 = 20.0;
const MARGIN: f64 = 24.0;

/// The page, as an SVG. A bar is the median of operations a second, the thin line through its end the slowest and the fastest
/// round. Each group has a scale of its own.
pub fn page(rows: &[Row]) -> String {
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
    let mut y = MARGIN;
    for group in &groups {
        y = draw(&mut body, group, y);
    }
    let height = y + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

/// Draws a group from `y` on, and says where the next one begins.
fn draw(body: &mut String, group: &[&Row], mut y: f64) -> f64 {
    let first = group[0];
    let case = first.case.map_or(String::new(), |case| format!(", {case}"));
    let workers = first.workers.map_or(String::new(), |workers| format!(", {workers} workers"));
    let (bench, depth, regime) = (first.bench, first.depth, first.regime.name());
    text(body, MARGIN, y + 14.0, "bold", &format!("{bench}{case}, depth {depth}{workers}, regime {regime}"));
    y += LINE + 2.0;
    let most = group.iter().map(|row| row.ops_per_s_max).fold(f64::MIN_POSITIVE, f64::max);
    let scale = |ops: f64| NAMES + MARGIN + ops / most * BARS;
    for row in group {
        let colour = match row.contender {
            "reveille" => "#c0392b",
            BASELINE => "#2c3e50",
            _ => "#95a5a6",
        };
        text(body, MARGIN, y + 14.0, "normal", row.contender);
        let (left, right) = (scale(0.0), scale(row.ops_per_s));
        let _ = writeln!(
            body,
            "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
            y + 3.0,
            right - left,
            LINE - 6.0
        );
        let middle = y + LINE / 2.0;
        let _ = writeln!(
            body,
            "<line x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" stroke=\"black\"/>",
            scale(row.ops_per_s_min),
            scale(row.ops_per_s_max)
        );
        let ratio = row.ratio.map_or(String::new(), |ratio| format!(", {ratio:.2} × {BASELINE}"));
        let figure = format!("{:.3} M/s{ratio}", row.ops_per_s / 1e6);
        text(body, scale(row.ops_per_s_max) + 6.0, y + 14.0, "normal", &figure);
        y += LINE;
    }
    y + LINE
}

fn text(body: &mut String, x: f64, y: f64, weight: &str, what: &str) {
    let what = what.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(body, "<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"{weight}\">{what}</text>");
}
