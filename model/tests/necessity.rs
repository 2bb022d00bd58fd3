//! Every order and every fence of the sound gates' programs is good for something, or says why it stays.

use reveille_model::memory::{Memory, Order};
use reveille_model::program::Weakening;
use reveille_model::protocol::poll_wake::necessity::{SOUND, necessity};
use reveille_model::protocol::poll_wake::{Consumer, Gate, PollWake, Size};
use reveille_model::search::{Options, Verdict};

#[test]
fn every_order_and_fence_is_needed_under_rc11_or_says_why_it_stays() {
    let search = |gate| {
        for need in necessity(gate, Memory::Rc11).unwrap() {
            println!("{gate}: {}: {:?}: {:?}", need.place.site, need.weakening, need.needed_by);
            assert!(need.is_explained(), "{need:?}: {:?}", need.why_kept());
        }
    };
    std::thread::scope(|scope| {
        for gate in SOUND {
            scope.spawn(move || search(gate));
        }
    });
}

#[test]
fn on_x86_only_the_wakers_barrier_is_not_had_for_nothing() {
    let needs = necessity(Gate::PerEntry, Memory::Tso).unwrap();
    let needed = needs.iter().filter(|need| need.needed_by.is_some() && need.weakening != Weakening::Split);
    let sites: Vec<_> = needed.map(|need| &*need.place.site).collect();
    // The exchange that arms drains the store buffer, and so does taking the lock for a delivery to everybody.
    assert_eq!(sites, ["waker barrier"]);
}

#[test]
fn a_place_that_is_not_there_changes_nothing_and_one_that_is_does() {
    let protocol =
        PollWake::new(Gate::PerEntry, Consumer::EpollLevel, Size::of(Consumer::EpollLevel), None).unwrap();
    let all = Options { reduce: false, ..Options::default() };
    let states = |site, weakening| protocol.weakened(site, weakening).check(Memory::Rc11, all).unwrap();
    let faithful = protocol.check(Memory::Rc11, all).unwrap();
    let nowhere = states("nowhere", Weakening::Dropped);
    assert_eq!((nowhere.verdict, nowhere.states), (faithful.verdict, faithful.states));
    // A split exchange has more states, and a failing one still goes the way of a failing one.
    let split = states("notify", Weakening::Split);
    assert_eq!(split.verdict, Verdict::Complete);
    assert!(split.states > faithful.states);
    let relaxed = states("publish", Weakening::Order(Order::Relaxed));
    assert!(matches!(relaxed.verdict, Verdict::Violated(_)));
}
