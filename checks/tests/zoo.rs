//! Each exhibit of the zoo lost a wakeup, and loses none any more: on the exact engine, under every memory.
//! Loom and shuttle look at the same exhibits in `pool.rs` and `pool_shuttle.rs`.

use reveille_checks::engine::{self, Budget, ENOUGH, Engine};
use reveille_checks::verdict::{End, Verdict, Why};
use reveille_checks::zoo::{Exhibit, Form, Shown};

const EXACT: [Engine; 3] = [Engine::ExactSc, Engine::ExactTso, Engine::ExactRc11];

#[test]
fn every_exhibit_loses_in_an_interleaving_and_says_what_is_owed() {
    for exhibit in Exhibit::ALL {
        for engine in EXACT {
            let losing = Shown { exhibit, form: Form::Losing };
            let verdict = engine::search(engine, &losing, Budget::of_executions(ENOUGH));
            let found =
                verdict.counterexample().unwrap_or_else(|| panic!("{exhibit}, {engine:?}: {verdict:?}"));
            assert!(matches!(found.end, End::Stuck(Some(_))), "{exhibit}, {engine:?}: {found:?}");
            assert!(
                found.why == Why::Interleaving || engine != Engine::ExactSc,
                "{exhibit}: {:?}",
                found.why
            );
            let (by, _) = engine::replay(&losing, found.record.as_deref().expect("it has one"))
                .expect("it is made again");
            assert_eq!(by, engine);
        }
    }
}

#[test]
fn every_exhibit_mended_loses_in_none_of_its_executions() {
    for exhibit in Exhibit::ALL {
        for engine in EXACT {
            let mended = Shown { exhibit, form: Form::Mended };
            let verdict = engine::search(engine, &mended, Budget::of_executions(1_000_000));
            println!("{exhibit}, {engine:?}: {} executions", verdict.explored());
            assert!(matches!(verdict, Verdict::Complete { .. }), "{exhibit}, {engine:?}: {verdict:?}");
        }
    }
}
