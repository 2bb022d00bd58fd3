//! The tables of the page beside this file. A test compares them with it.

use std::fmt::Write as _;

use super::{Exhibit, discipline};
use crate::subject::Needs;

/// The checklist and the gallery, in Markdown.
pub fn tables() -> String {
    format!("{}\n{}", checklist(), gallery())
}

/// Each discipline with the exhibits that broke it, those broken most often first.
fn checklist() -> String {
    let mut rows: Vec<_> = discipline::ALL
        .into_iter()
        .map(|rule| (rule, Exhibit::all().filter(|exhibit| exhibit.card().broke.contains(&rule)).collect()))
        .collect();
    rows.sort_by_key(|(_, broken): &(_, Vec<Exhibit>)| std::cmp::Reverse(broken.len()));
    let mut text = String::from("| discipline | ask of the code | broken by | times |\n|---|---|---|---|\n");
    for (rule, broken) in rows {
        let names: Vec<_> = broken.iter().map(|exhibit| format!("`{exhibit}`")).collect();
        let _ =
            writeln!(text, "| **{}** | {} | {} | {} |", rule.name, rule.ask, names.join(", "), names.len());
    }
    text
}

fn gallery() -> String {
    let mut text = String::from(
        "| exhibit | source | year | machine | threads | broke | unseen for |\n|---|---|---|---|---|---|---|\n",
    );
    for exhibit in Exhibit::all() {
        let card = exhibit.card();
        let machine = match card.needs {
            Needs::Interleaving => "any",
            Needs::StoreBuffer => "x86 and weaker",
            Needs::WeakerThanX86 => "weaker than x86",
            Needs::Nothing => "none: it is a precision test",
        };
        let broke: Vec<_> = card.broke.iter().map(|rule| rule.name).collect();
        let broke = if broke.is_empty() { "nothing".into() } else { broke.join("; ") };
        let _ = writeln!(
            text,
            "| `{exhibit}` | {} | {} | {machine} | {} | {broke} | {} |",
            card.source,
            card.year,
            card.threads,
            card.unseen.unwrap_or("?")
        );
    }
    text
}
