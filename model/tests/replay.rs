//! Recorded operations against a thread's program.

use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release, SeqCst};

use reveille_model::program::{Kind, Mismatch, Recorded, Replay};
use reveille_model::protocol::completion::{self, CompletionQueue};
use reveille_model::protocol::poll_wake::{Consumer, Gate, PollWake, Size};

fn seen(
    kind: Kind,
    object: &str,
    order: Option<Ordering>,
    read: Option<i32>,
    written: Option<i32>,
) -> Recorded {
    let object = (!object.is_empty()).then(|| object.to_owned());
    Recorded { kind, object, order, failure: None, read, written }
}

fn load(object: &str, order: Ordering, read: i32) -> Recorded {
    seen(Kind::Load, object, Some(order), Some(read), None)
}

fn store(object: &str, order: Ordering, written: i32) -> Recorded {
    seen(Kind::Store, object, Some(order), None, Some(written))
}

fn swap(object: &str, order: Ordering, read: i32, written: i32) -> Recorded {
    seen(Kind::Swap, object, Some(order), Some(read), Some(written))
}

fn word(kind: Kind, object: &str) -> Recorded {
    seen(kind, object, None, None, None)
}

fn fence() -> Recorded {
    seen(Kind::Fence, "", Some(SeqCst), None, None)
}

/// A producer's first completion with `rearm`, while one poller is queued and armed.
fn first_completion() -> Vec<Recorded> {
    vec![
        load("tail", Relaxed, 0),
        store("payload", Relaxed, 1),
        store("tail", Release, 1),
        fence(),
        load("queued", Relaxed, 1),
        swap("waiting", Release, 1, 0),
        word(Kind::Lock, "wait queue"),
        word(Kind::Unlock, "wait queue"),
        word(Kind::Unpark, "parker 0"),
    ]
}

fn play(replay: &mut Replay<'_>, operations: &[Recorded]) -> Result<(), Mismatch> {
    operations.iter().try_for_each(|operation| replay.accept(operation).map(|_| ()))
}

fn rearm() -> PollWake {
    PollWake::new(Gate::Rearm, Consumer::Persistent, Size::of(Consumer::Persistent), None).unwrap()
}

#[test]
fn a_thread_that_does_what_its_program_says_is_accepted_to_the_end() {
    let protocol = rearm();
    let mut replay = protocol.program().replay(0).unwrap();
    play(&mut replay, &first_completion()).unwrap();
    assert!(!replay.may_end());
    let second = [
        load("tail", Relaxed, 1),
        store("payload", Relaxed, 2),
        store("tail", Release, 2),
        fence(),
        load("queued", Relaxed, 1),
    ];
    play(&mut replay, &second).unwrap();
    let sites = replay.accept(&swap("waiting", Release, 0, 0)).unwrap();
    assert_eq!(sites.into_iter().collect::<Vec<_>>(), ["take flag"]);
    assert!(replay.may_end());
}

#[test]
fn two_operations_in_the_other_order_are_a_mismatch_that_says_what_was_expected() {
    let protocol = rearm();
    let mut operations = first_completion();
    operations.swap(3, 4);
    let mut replay = protocol.program().replay(0).unwrap();
    let mismatch = play(&mut replay, &operations).unwrap_err();
    assert_eq!(mismatch.number, 4);
    assert_eq!(
        mismatch.to_string(),
        "producer, operation 4: load queued Relaxed reads 1; the program expects waker barrier: fence"
    );
}

#[test]
fn a_weaker_order_or_another_value_is_a_mismatch() {
    let protocol = rearm();
    for (index, wrong) in
        [(2, store("tail", Relaxed, 1)), (2, store("tail", Release, 2)), (5, swap("waiting", Relaxed, 1, 0))]
    {
        let mut operations = first_completion();
        operations[index] = wrong;
        let mut replay = protocol.program().replay(0).unwrap();
        assert_eq!(play(&mut replay, &operations).unwrap_err().number, index + 1);
    }
}

#[test]
fn a_wake_of_nobody_is_accepted_because_the_list_may_have_been_empty_and_a_wake_of_a_stranger_is_not() {
    let protocol = rearm();
    let mut operations = first_completion();
    operations.pop();
    operations.push(load("tail", Relaxed, 1));
    play(&mut protocol.program().replay(0).unwrap(), &operations).unwrap();
    operations.pop();
    operations.push(word(Kind::Unpark, "parker 1"));
    assert!(play(&mut protocol.program().replay(0).unwrap(), &operations).is_err());
}

#[test]
fn a_spurious_wake_is_a_choice_that_the_record_does_not_show() {
    let size = Size { completions: 2, pollers: 1, spurious: 1 };
    let protocol = PollWake::new(Gate::Rearm, Consumer::Activation, size, None).unwrap();
    let poll =
        |was| [swap("waiting", Relaxed, was, 1), fence(), load("tail", Acquire, 0), load("head", Relaxed, 0)];
    let mut replay = protocol.program().replay(1).unwrap();
    let ask = ["mailbox"].map(|lock| [word(Kind::Lock, lock), word(Kind::Unlock, lock)]).concat();
    play(&mut replay, &ask).unwrap();
    let enqueue = [
        word(Kind::Unpark, "submitter's parker"),
        word(Kind::Lock, "wait queue"),
        store("queued", Relaxed, 1),
        word(Kind::Unlock, "wait queue"),
    ];
    play(&mut replay, &enqueue).unwrap();
    play(&mut replay, &poll(0)).unwrap();
    // No park: it woke spuriously. Another time it has to park.
    play(&mut replay, &poll(1)).unwrap();
    assert!(play(&mut replay, &poll(1)).is_err());
    replay.accept(&word(Kind::Park, "parker 0")).unwrap();
}

#[test]
fn the_sites_of_a_thread_are_known_so_that_those_never_taken_can_be_named() {
    let protocol = rearm();
    let sites: Vec<_> = protocol.program().threads()[0].sites().into_iter().collect();
    assert_eq!(
        sites,
        [
            "deliver lock",
            "deliver unlock",
            "own tail",
            "publish",
            "queue non-empty",
            "take flag",
            "wake",
            "waker barrier",
            "write completion"
        ]
    );
}

#[test]
fn replayed_together_a_list_holds_what_the_threads_have_left_in_it() {
    let protocol = rearm();
    let mut operations = first_completion();
    operations.pop();
    operations.push(load("tail", Relaxed, 1));
    let enqueue = [
        word(Kind::Lock, "wait queue"),
        store("queued", Relaxed, 1),
        word(Kind::Unlock, "wait queue"),
        swap("waiting", Relaxed, 0, 1),
    ];
    let mut replay = protocol.program().replay_all();
    for operation in &enqueue {
        replay.accept(1, operation).unwrap().unwrap();
    }
    let last = operations.pop().unwrap();
    for operation in &operations {
        replay.accept(0, operation).unwrap().unwrap();
    }
    // The entry is on the list, so a wake of nobody will not do.
    let mismatch = replay.accept(0, &last).unwrap().unwrap_err();
    assert_eq!(mismatch.expected, ["wake: unpark parker 0"]);
    assert_eq!(replay.accept(2, &last), None);
}

/// A load or a store of a cell, of which nobody knows what is in it.
fn plain(kind: Kind, object: &str) -> Recorded {
    word(kind, object)
}

#[test]
fn replayed_together_a_cell_holds_what_the_last_store_has_left_in_it() {
    let size = completion::Size { capacity: 1, producers: &[&[1]], spurious: 0 };
    let queue = CompletionQueue::new(size, None).unwrap();
    let published = [
        word(Kind::Lock, "completion"),
        load("tail", Relaxed, 0),
        load("head", Acquire, 0),
        plain(Kind::Load, "slot 0"),
        plain(Kind::Store, "slot 0"),
        store("tail", Release, 1),
    ];
    let seen = [load("head", Relaxed, 0), load("tail", Acquire, 1)];
    let taken = [plain(Kind::Load, "slot 0"), plain(Kind::Store, "slot 0"), store("head", Release, 1)];
    let accepted = |operations: &[(usize, &[Recorded])]| {
        let mut together = queue.program().replay_all();
        operations
            .iter()
            .flat_map(|(thread, operations)| operations.iter().map(|operation| (*thread, operation)))
            .take_while(|(thread, operation)| together.accept(*thread, operation).unwrap().is_ok())
            .count()
    };
    assert_eq!(accepted(&[(0, &published), (1, &seen), (1, &taken)]), 11);
    // The tail came before the completion: the slot is still empty, the claim fails, and no program goes on.
    assert_eq!(accepted(&[(0, &published[..3]), (1, &seen), (1, &taken)]), 6);
    // Alone, a thread cannot know what is in a cell.
    let mut alone = queue.program().replay(1).unwrap();
    play(&mut alone, &seen).unwrap();
    assert_eq!(alone.accept(&taken[0]).unwrap_err().expected, ["read slot: load slot 0"]);
}
