//! What is owed for ever under weak fairness.
//!
//! *Weak fairness*: whoever can move without interruption moves at some time. Threads move, and so do store buffers.
//! *Fair memory*: in the part that repeats, every read reads the newest value; a stale read is a delay, and no store is
//! delayed for ever.
//!
//! A violation is a lasso: a way to a cycle of states in all of which something is owed, such that everybody either moves on the
//! cycle or somewhere on it cannot. There is one exactly if some strongly connected component of the graph of those states has
//! this property as a whole: a run that goes round in it, along every edge, is fair if any run in it is.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use petgraph::algo::{astar, tarjan_scc};
use petgraph::graph::{DiGraph, EdgeReference, NodeIndex};
use petgraph::visit::{EdgeFiltered, EdgeRef};

use super::seen::Mark;
use super::system::{Move, State, System};
use super::{Bound, Counterexample, End, Error, Options, Report, Verdict, Violation, walk};
use crate::memory::{Machine, Memory, Rc11, Sc, Tso};
use crate::program::Program;

/// A state: what is owed there, and who can move (threads in the low half of the bits, buffers in the high half).
struct Node {
    mark: Mark,
    owed: Vec<String>,
    enabled: u64,
}

/// A move: whose, as a bit, and whether it reads a stale value.
struct Edge {
    mover: u64,
    stale: bool,
}

type Reference<'a> = EdgeReference<'a, Edge>;

fn mover(mv: &Move) -> u64 {
    1 << (mv.thread + if mv.is_drain() { 32 } else { 0 })
}

/// Searches all states of `program` under `memory` for something that is owed for ever. `owed` says what is owed in any state.
/// All interleavings are tried, whatever the options say; claims are not judged, that is what [`check`](super::check) is for.
pub fn check_liveness(
    program: &Program,
    memory: Memory,
    options: Options,
    owed: impl FnMut(&End<'_>) -> Vec<String>,
) -> Result<Report, Error> {
    match memory {
        Memory::Sc => explore::<Sc>(program, memory, options, owed),
        Memory::Tso => explore::<Tso>(program, memory, options, owed),
        Memory::Rc11 => explore::<Rc11>(program, memory, options, owed),
    }
}

fn explore<M: Machine>(
    program: &Program,
    memory: Memory,
    options: Options,
    mut owed: impl FnMut(&End<'_>) -> Vec<String>,
) -> Result<Report, Error> {
    let begun = Instant::now();
    // Whether a read is stale must not be forgotten.
    let program = &program.observed();
    let system = System::new(program, false);
    let mut node = |place: &State<M>| Node {
        mark: system.mark(place),
        owed: owed(&End {
            program,
            newest: &|location| place.memory.newest(location),
            threads: &system.positions(place),
            lists: &place.lists,
        }),
        enabled: 0,
    };
    let start: State<M> = system.start()?;
    let mut graph = DiGraph::new();
    let first = graph.add_node(node(&start));
    let mut numbers = HashMap::from([(graph[first].mark.class, first)]);
    let (mut level, mut next_level, mut depth) = (vec![(first, start.clone())], Vec::new(), 0);
    let mut found = Vec::new();
    let report = |verdict, graph: &DiGraph<Node, Edge>, depth| Report {
        verdict,
        states: graph.node_count(),
        moves: graph.edge_count(),
        depth,
        time: begun.elapsed(),
    };
    while !level.is_empty() {
        for (from, place) in level.drain(..) {
            system.all_moves(&place, &mut found)?;
            for (mv, next) in found.drain(..) {
                let to = *numbers.entry(system.mark(&next).class).or_insert_with(|| {
                    let number = graph.add_node(node(&next));
                    next_level.push((number, next));
                    number
                });
                graph[from].enabled |= mover(&mv);
                graph.add_edge(from, to, Edge { mover: mover(&mv), stale: mv.stale });
            }
            let states = options.max_states.filter(|most| graph.node_count() > *most).map(Bound::States);
            let time = options.max_time.filter(|most| begun.elapsed() > *most).map(Bound::Time);
            if let Some(bound) = states.or(time) {
                return Ok(report(Verdict::Bounded(bound), &graph, depth));
            }
        }
        depth += usize::from(!next_level.is_empty());
        std::mem::swap(&mut level, &mut next_level);
    }
    let Some(cycle) = fair_cycle(&graph) else {
        return Ok(report(Verdict::Complete, &graph, depth));
    };
    let stem = path(&graph, first, cycle[0], |_| true);
    let debts = graph[cycle[0]].owed.clone();
    let nodes = stem.iter().chain(&cycle[1..]).skip(1);
    let marks: Vec<Mark> = nodes.map(|node| graph[*node].mark.clone()).collect();
    let mut end = start.clone();
    let moves = walk(&system, &mut end, &marks)?;
    let steps = moves.iter().map(|mv| system.step(mv)).collect();
    let violation = match cycle.len() {
        0 | 1 => Violation::Owed(debts),
        _ => Violation::OwedForEver { debts, from: stem.len() - 1 },
    };
    let counterexample = Counterexample { memory, steps, violation, sleepers: system.sleepers(&end) };
    Ok(report(Verdict::Violated(Box::new(counterexample)), &graph, depth))
}

/// Nodes of a fair cycle on which something is owed all the time, the first one not repeated at the end of the list; the
/// earliest found. A single node is a state in which nothing can move.
fn fair_cycle(graph: &DiGraph<Node, Edge>) -> Option<Vec<NodeIndex>> {
    let stays = |edge: Reference<'_>| {
        let owed = |node: NodeIndex| !graph[node].owed.is_empty();
        owed(edge.source()) && owed(edge.target()) && !edge.weight().stale
    };
    let components = tarjan_scc(&EdgeFiltered::from_fn(graph, stays));
    let owed = components.into_iter().filter(|component| !graph[component[0]].owed.is_empty());
    let mut fair: Vec<_> =
        owed.filter_map(|component| Some((*component.iter().min()?, around(graph, &component)?))).collect();
    fair.sort_by_key(|(earliest, _)| *earliest);
    fair.into_iter().next().map(|(_, cycle)| cycle)
}

/// A way round in a component that meets everybody: either a move of his, or a node where he cannot move. `None` if there is
/// somebody who can move everywhere and does so nowhere.
fn around(graph: &DiGraph<Node, Edge>, component: &[NodeIndex]) -> Option<Vec<NodeIndex>> {
    let start = *component.iter().min()?;
    let members: HashSet<NodeIndex> = component.iter().copied().collect();
    let inside = |edge: &Reference<'_>| members.contains(&edge.target()) && !edge.weight().stale;
    let edges = || component.iter().flat_map(|node| graph.edges(*node)).filter(inside);
    if edges().next().is_none() {
        return (graph[start].enabled == 0).then(|| vec![start]);
    }
    let everybody = component.iter().fold(0, |all, node| all | graph[*node].enabled);
    let mut walk = vec![start];
    for somebody in (0..64).map(|bit| 1_u64 << bit).filter(|bit| everybody & bit != 0) {
        let here = walk[walk.len() - 1];
        if let Some(edge) = edges().find(|edge| edge.weight().mover == somebody) {
            walk.extend(path(graph, here, edge.source(), inside).into_iter().skip(1));
            walk.push(edge.target());
        } else {
            let idle = component.iter().find(|node| graph[**node].enabled & somebody == 0)?;
            walk.extend(path(graph, here, *idle, inside).into_iter().skip(1));
        }
    }
    let here = walk[walk.len() - 1];
    walk.extend(path(graph, here, start, inside).into_iter().skip(1));
    Some(walk)
}

/// A shortest path between two nodes, both included, over the edges that are allowed. There is one.
fn path(
    graph: &DiGraph<Node, Edge>,
    from: NodeIndex,
    to: NodeIndex,
    allowed: impl Fn(&Reference<'_>) -> bool,
) -> Vec<NodeIndex> {
    let graph = EdgeFiltered::from_fn(graph, |edge| allowed(&edge));
    astar(&graph, from, |node| node == to, |_| 1, |_| 0).map_or_else(|| vec![from], |(_, path)| path)
}
