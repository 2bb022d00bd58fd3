//! The completion queue, and every mistake that was put into it.

use reveille_model::memory::Memory::{self, Rc11, Sc, Tso};
use reveille_model::protocol::completion::{CompletionQueue, Error, Mutant, Size};
use reveille_model::search::{Options, Report, Verdict, Violation};

fn search(size: Size, mutant: Option<Mutant>, memory: Memory, options: Options) -> Report {
    CompletionQueue::new(size, mutant).unwrap().check(memory, options).unwrap()
}

#[test]
fn nothing_is_lost_overtaken_overwritten_or_slept_through_under_any_memory() {
    for &size in Size::ALL {
        for memory in Memory::ALL {
            let report = search(size, None, memory, Options::default());
            println!("{size}, {memory}: {} states", report.states);
            assert_eq!(report.verdict, Verdict::Complete, "{size} under {memory}");
        }
    }
}

#[test]
fn a_spurious_wake_changes_nothing() {
    let size = Size { spurious: 1, ..Size::ALL[0] };
    for memory in Memory::ALL {
        assert_eq!(search(size, None, memory, Options::default()).verdict, Verdict::Complete, "{memory}");
    }
}

/// What is broken in a way that has no claim of its own: the consumer sleeps, and something is owed.
const OWED: &str = "owed";
const UNWRITTEN: &str = "whoever sees the tail sees the completion";
const OVERWRITTEN: &str = "a slot is written only when what was in it has been taken";

/// What each mistake breaks, and the least memory model under which it does.
fn breaks(mutant: Mutant) -> (Memory, &'static str) {
    match mutant {
        Mutant::TailPublishedRelaxed | Mutant::TailReadRelaxed => (Rc11, UNWRITTEN),
        // With one slot there is never a tail beyond the one that the consumer has just written itself.
        Mutant::RefilledTailReadRelaxed => (Rc11, UNWRITTEN),
        Mutant::HeadPublishedRelaxed | Mutant::HeadReadRelaxed => (Rc11, OVERWRITTEN),
        Mutant::OneSlotTooMany => (Sc, OVERWRITTEN),
        Mutant::Overtaking => (Sc, "what is taken is the next of its producer"),
        Mutant::RefillNotCounted => (Sc, "the lock is not taken in vain"),
        Mutant::OverflowNotCounted
        | Mutant::OverflowNotLookedAt
        | Mutant::RefillCountsNothing
        | Mutant::RefillNotSeen
        | Mutant::NoLookAfterArm
        | Mutant::WakeBeforePublish => (Sc, OWED),
        Mutant::WakerWithoutBarrier => (Tso, OWED),
        // On x86 arming is a locked instruction, and so a barrier already.
        Mutant::SleeperWithoutBarrier => (Rc11, OWED),
    }
}

#[test]
fn every_mistake_is_rejected_by_the_same_search_and_for_what_it_breaks() {
    // The largest size takes seconds where nothing is found, and shows nothing that the others do not.
    let sizes = &Size::ALL[..Size::ALL.len() - 1];
    for &mutant in Mutant::ALL {
        let (least, expected) = breaks(mutant);
        for memory in Memory::ALL {
            let mut rejected = 0;
            for &size in sizes {
                let broken = match search(size, Some(mutant), memory, Options::default()).verdict {
                    Verdict::Complete => continue,
                    Verdict::Violated(found) => match found.violation {
                        Violation::Owed(_) => OWED.to_owned(),
                        Violation::Claim { claim, .. } => claim,
                        other => panic!("{mutant}, {size} under {memory}: {other:?}"),
                    },
                    Verdict::Bounded(bound) => panic!("{bound:?}, but there is no bound"),
                };
                assert_eq!(broken, expected, "{mutant}, {size} under {memory}");
                rejected += 1;
            }
            println!("{mutant} under {memory}: rejected in {rejected} of {} sizes", sizes.len());
            assert_eq!(rejected > 0, least <= memory, "{mutant} under {memory}");
        }
    }
}

#[test]
fn the_search_that_leaves_out_interleavings_judges_like_the_one_that_does_not() {
    let all = Options { reduce: false, ..Options::default() };
    // A claim may fail a few steps earlier in an interleaving that was left out; what fails is the same.
    let violation = |report: Report| match report.verdict {
        Verdict::Violated(found) => Some(found.violation),
        _ => None,
    };
    let size = Size { capacity: 1, producers: &[&[1, 1]], spurious: 0 };
    for mutant in Mutant::ALL.iter().copied().map(Some).chain([None]) {
        for memory in Memory::ALL {
            let reduced = violation(search(size, mutant, memory, Options::default()));
            let full = violation(search(size, mutant, memory, all));
            assert_eq!(reduced, full, "{mutant:?} under {memory}");
        }
    }
}

#[test]
fn a_size_that_is_none_is_refused() {
    const SIZES: [(u8, &[&[u8]]); 6] =
        [(3, &[&[1]]), (0, &[&[1]]), (1, &[]), (1, &[&[1, 0]]), (1, &[&[5], &[4]]), (1, &[&[]])];
    for (capacity, producers) in SIZES {
        let size = Size { capacity, producers, spurious: 0 };
        assert!(matches!(CompletionQueue::new(size, None), Err(Error::Size(_))), "{size}");
    }
    let text =
        "1 slot, batches 2+1 and 6: 1, 2 or 4 slots, 1 to 3 producers, no empty batch, 1 to 8 completions";
    let size = Size { capacity: 1, producers: &[&[2, 1], &[6]], spurious: 0 };
    assert_eq!(CompletionQueue::new(size, None).unwrap_err().to_string(), text);
}
