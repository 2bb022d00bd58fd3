//! `reveille orderings --model`: the orders and fences of the model's programs.

use reveille_checks::sheet::{Column, Sheet};
use reveille_model::memory::Memory;
use reveille_model::program::Weakening;
use reveille_model::protocol::poll_wake::necessity::{Need, SOUND, necessity};
use serde::Serialize;

use crate::command::output::page;
use crate::command::{Ending, Format, Outcome, print_json, say, tell};

/// A row in JSON; the names are those of the library's rows.
#[derive(Serialize)]
struct Json {
    site: String,
    operation: String,
    ordering: String,
    weaker: String,
    needed_by: Option<NeededBy>,
    why_kept: Option<&'static str>,
}

#[derive(Serialize)]
struct NeededBy {
    scenario: String,
    engine: &'static str,
    memory: &'static str,
    steps: usize,
}

fn json(need: &Need) -> Json {
    let needed_by = need.needed_by.map(|needed| NeededBy {
        scenario: needed.consumer.to_string(),
        engine: "model",
        memory: Memory::Rc11.name(),
        steps: needed.steps,
    });
    Json {
        site: format!("{}: {}", need.gate, need.place.site),
        operation: need.place.kind.to_string(),
        ordering: order(need),
        weaker: weaker(need.weakening),
        needed_by,
        why_kept: need.why_kept(),
    }
}

fn order(need: &Need) -> String {
    format!("{:?}", need.place.order).to_lowercase()
}

fn weaker(weakening: Weakening) -> String {
    match weakening {
        Weakening::Order(order) => format!("{order:?}").to_lowercase(),
        Weakening::FailureOrder(order) => format!("{order:?} on failure").to_lowercase(),
        Weakening::Barrier(barrier) => format!("{barrier:?}").to_lowercase(),
        Weakening::Dropped => "dropped".into(),
        Weakening::Split => "a load and a store".into(),
    }
}

/// Every place of every sound gate, with all consumers that it serves, under RC11: complete searches.
pub(super) fn run(format: Format) -> Outcome {
    let needs = std::thread::scope(|scope| {
        let searches = SOUND.map(|gate| scope.spawn(move || necessity(gate, Memory::Rc11)));
        let found = searches.map(|search| search.join().expect("a search does not panic"));
        found.into_iter().collect::<Result<Vec<_>, _>>()
    })?;
    let needs: Vec<_> = needs.into_iter().flatten().collect();
    let explained = needs.iter().all(Need::is_explained);
    if format == Format::Json {
        print_json(None, &needs.iter().map(json).collect::<Vec<_>>())?;
        return Ok(Ending::of(!explained, false));
    }
    let mut sheet = Sheet::new([
        ("gate", Column::Name),
        ("place", Column::Text),
        ("operation", Column::Left),
        ("ordering", Column::Left),
        ("instead", Column::Text),
        ("then", Column::Text),
    ]);
    let mut above = "";
    for need in &needs {
        let gate = if above == need.gate.name() { "" } else { need.gate.name() };
        above = need.gate.name();
        let then = match (need.needed_by, need.why_kept()) {
            (Some(needed), None) => format!("{}: loses, {} steps", needed.consumer, needed.steps),
            (None, Some(why)) => format!("not needed by any consumer; {why}"),
            (_, why) => format!("UNEXPLAINED: {:?}, {why:?}", need.needed_by),
        };
        let operation = need.place.kind.to_string();
        sheet.row([gate, &need.place.site, &operation, &order(need), &weaker(need.weakening), &then]);
    }
    say(format_args!("{}\n", sheet.on(page())));
    let states: usize = needs.iter().map(|need| need.states).sum();
    let needed = needs.iter().filter(|need| need.needed_by.is_some()).count();
    tell(format_args!(
        "{} ways to do less, {needed} of them lose something under RC11, the others say why they stay. {states} states; each \
         search that found nothing came to its end.",
        needs.len()
    ));
    Ok(Ending::of(!explained, false))
}
