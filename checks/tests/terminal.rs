//! The binary on a terminal: everything fits it, and what is good and bad has a colour.

#[path = "common/terminal.rs"]
mod pseudo;

use pseudo::Terminal;

/// The text without what moves and colours it, line by line. Progress is drawn over itself, from the
/// beginning of a line: each time counts as a line.
fn lines(shown: &str) -> Vec<String> {
    let mut text = String::new();
    let mut chars = shown.chars();
    while let Some(char) = chars.next() {
        match char {
            '\x1b' => {
                // A control sequence ends with its first letter.
                chars.by_ref().find(char::is_ascii_alphabetic);
            }
            char => text.push(char),
        }
    }
    text.replace("\r\n", "\n").split(['\n', '\r']).map(str::to_owned).collect()
}

/// All that a program shows in a terminal that is so wide.
#[track_caller]
fn fits(columns: u16, args: &[&str]) -> String {
    let shown = Terminal::new(columns).run(args, &[]).shown;
    for line in lines(&shown) {
        assert!(line.chars().count() <= columns.into(), "{args:?}, {columns} columns: {line:?}\n{shown}");
    }
    lines(&shown).join("\n")
}

/// The litmus tests of this project.
const FLAWS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../model/litmus/flaws");

#[test]
fn no_line_of_any_command_is_wider_than_a_terminal_of_80_columns() {
    for args in [
        &["--budget", "0.5"][..],
        &["verdict", "--gate", "posted,per-entry", "--engine", "exact,loom", "--budget", "0.5"],
        &["verdict", "--protocol", "exit,maximum", "--engine", "exact,loom,shuttle", "--budget", "0.5"],
        &["explain", "posted", "epoll-level", "--engine", "exact"],
        &["explain", "exit", "first-account-only", "--engine", "exact"],
        &["explain", "per-entry", "persistent", "--engine", "exact", "--budget", "0.5"],
        &["explain", "posted"],
        &["explain", "nope"],
        &["litmus", FLAWS],
        &["litmus", "/nowhere/at/all/in/a/directory/with/a/long/name/and/then/some/more/of/it.litmus"],
        &["stress", "posted", "--budget", "0.2"],
        &["stress", "pool", "--budget", "0.4"],
        &["stress", "faults", "--budget", "0.4"],
        &["bench", "wait_queue", "--rounds", "1", "--seconds", "0.002"],
        &["bench", "exact", "--case", "has-sleeper × epoll-level", "--rounds", "1", "--seconds", "0.02"],
        &["mutants", "--name", "parker.rs", "--budget", "0.5"],
        &["zoo", "hotspot-parker", "--budget", "0.5"],
        &["--help"],
        &["verdict", "--help"],
        &["explain", "--help"],
        &["litmus", "--help"],
        &["stress", "--help"],
        &["bench", "--help"],
        &["orderings", "--help"],
        &["mutants", "--help"],
        &["zoo", "--help"],
        &["--version"],
    ] {
        let text = fits(80, args);
        assert!(!text.trim().is_empty(), "{args:?}");
    }
}

#[test]
fn a_table_and_a_counterexample_fit_terminals_of_other_widths_too() {
    for columns in [60, 100, 140] {
        let args = ["verdict", "--gate", "posted", "--engine", "exact", "--budget", "0.5"];
        let text = fits(columns, &args);
        for consumer in ["epoll-", "persistent", "exclusive-"] {
            assert!(text.contains(consumer), "{columns} columns: no {consumer} in\n{text}");
        }
        let text = fits(columns, &["explain", "exit", "first-account-only", "--engine", "exact"]);
        assert!(text.contains("SLEEPS"), "{columns} columns:\n{text}");
    }
}

#[test]
fn misses_have_a_colour_on_a_terminal_unless_it_is_not_wanted() {
    let args = ["verdict", "--gate", "posted", "--consumer", "persistent", "--engine", "exact"];
    let colour = "\x1b[38;5;9m";
    let shown = Terminal::new(80).run(&args, &[]).shown;
    assert!(shown.contains(colour), "{shown:?}");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let shown = Terminal::new(80).run(&args, &[(name, value)]).shown;
        assert!(shown.contains("MISS") && !shown.contains("\x1b[38"), "{name}: {shown:?}");
    }
}

#[test]
fn long_work_shows_a_sign_of_life_on_a_terminal() {
    for (args, sign) in [
        (&["explain", "per-entry", "exclusive-pair", "--engine", "exact", "--budget", "0.5"][..], "exact sc"),
        (&["stress", "faults", "--budget", "0.4"], "real threads"),
        (&["verdict", "--gate", "posted", "--engine", "exact", "--budget", "0.5"], "/27"),
    ] {
        let shown = Terminal::new(80).run(args, &[]).shown;
        assert!(shown.contains(sign), "{args:?}: {shown:?}");
    }
}

#[test]
fn an_execution_whose_text_the_terminal_broke_into_lines_is_shown_again() {
    let case = ["explain", "exit", "first-account-only"];
    let text = fits(40, &[&case[..], &["--engine", "exact"]].concat());
    let (_, record) = text.split_once("--replay").expect("it has one");
    let record = record.split('\'').nth(1).expect("it is quoted");
    assert!(record.contains('\n'), "{record}");
    let again = fits(40, &[&case[..], &["--replay", record]].concat());
    assert!(again.contains("SLEEPS"), "{again}");
}
