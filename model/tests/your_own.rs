//! A protocol as a formal program: a litmus test in kernel C, under four memory models.

use reveille_model::litmus::{Model, Test};

/// P0 publishes and wakes if the other says that it sleeps; P1 says so and looks once more. A wake is lost
/// where neither sees what the other has written.
const MY_PROTOCOL: &str = "C my-protocol
    { }
    P0(int *ready, int *sleeping) {
        WRITE_ONCE(*ready, 1);
        BARRIER
        int wakes = READ_ONCE(*sleeping);
    }
    P1(int *ready, int *sleeping) {
        WRITE_ONCE(*sleeping, 1);
        BARRIER
        int stays = READ_ONCE(*ready);
    }
    exists (0:wakes=0 /\\ 1:stays=0)";

fn outcomes(barrier: &str) -> String {
    let test = Test::parse(&MY_PROTOCOL.replace("BARRIER", barrier)).unwrap();
    let line = |model: Model| {
        let outcomes = test.run(model).unwrap();
        format!("{model:<4} {}, of {} executions\n", outcomes.observation, outcomes.executions.unwrap())
    };
    Model::ALL.map(line).concat()
}

#[test]
fn my_protocol_loses_no_wake() {
    assert!(!outcomes("smp_mb();").contains("Sometimes"));
}

#[test]
fn without_its_barriers_it_does() {
    assert!(outcomes("").contains("sc   Never") && outcomes("").contains("tso  Sometimes"));
}

mod page {
    const PAGE: &str = include_str!("../../checks/YOUR_OWN.md");

    #[test]
    fn the_page_shows_what_comes_out() {
        for barrier in ["smp_mb();", ""] {
            let shown = format!("barrier: {barrier:?}\n{}", super::outcomes(barrier));
            assert!(PAGE.contains(&shown), "{shown}");
        }
    }

    #[test]
    fn the_page_shows_this_program() {
        let (program, _) = include_str!("your_own.rs").split_once("\n\nmod page").unwrap();
        assert!(PAGE.contains(program.split_once("\n\n").unwrap().1));
    }
}
