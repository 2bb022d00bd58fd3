//! Reading litmus tests: what is understood, and what is said of the rest.

use reveille_model::litmus::{Error, Observation, Test};
use reveille_model::memory::Memory::{Rc11, Sc, Tso};
use reveille_model::search::Options;

fn error(text: &str) -> String {
    match Test::parse(text).and_then(|test| test.run(Rc11)) {
        Ok(outcomes) => panic!("accepted: {outcomes:?}"),
        Err(error) => error.to_string(),
    }
}

/// A test with one thread, whose body is given.
fn one_thread(body: &str) -> String {
    format!("C t\n{{ x=0; }}\nP0(atomic_int *x, int *e) {{\n  {body}\n}}\nexists (x=1)")
}

fn states(text: &str) -> Vec<String> {
    Test::parse(text).unwrap().run(Sc).unwrap().states().collect()
}

#[test]
fn a_missing_semicolon_is_named_with_line_and_column() {
    let text = one_thread("atomic_store_explicit(x, 1, memory_order_relaxed)");
    assert_eq!(error(&text), "5:1: expected `;`, found `}`");
}

#[test]
fn an_unknown_order_is_named_with_what_would_have_been_right() {
    let text = one_thread("atomic_store_explicit(x, 1, memory_order_consume);");
    assert_eq!(
        error(&text),
        "4:31: expected `memory_order_relaxed`, `_acquire`, `_release`, `_acq_rel` or `_seq_cst`, found `memory_order_consume);`"
    );
}

#[test]
fn another_language_is_not_taken_for_c() {
    assert_eq!(error("X86 SB\n{}\n"), "1:1: expected a C litmus test (`C` and its name), found `X86`");
    assert!(error("").ends_with("found the end of the file"));
}

#[test]
fn the_machine_of_rc11_alone_refuses_a_seq_cst_access() {
    let test = Test::parse(&one_thread("atomic_store(x, 1);")).unwrap();
    let on_machine = |memory| test.run_on_machine(memory, Options::default());
    for memory in [Sc, Tso, Rc11] {
        assert_eq!(test.run(memory).unwrap().observation, Observation::Always);
    }
    for memory in [Sc, Tso] {
        assert_eq!(on_machine(memory).unwrap().observation, Observation::Always);
    }
    let error = on_machine(Rc11).unwrap_err().to_string();
    assert_eq!(error, "4:3: the machine of rc11 has no seq_cst accesses, only seq_cst fences");
}

#[test]
fn a_race_is_named_with_the_location_and_both_accesses() {
    let text = "C t\n{}\nP0(int *d, int *other) {\n  *other = 1;\n  *d = 1; }\nP1(int *d) { int r = *d; }\nexists (1:r=1)";
    for memory in [Sc, Tso, Rc11] {
        let outcomes = Test::parse(text).unwrap().run(memory).unwrap();
        assert_eq!((outcomes.observation, outcomes.executions), (Observation::Undefined, None));
        let race = outcomes.race.unwrap();
        let expected = "5:4: a race on `d`: a write in line 5 (P0) and a read in line 6 (P1), \
                        with nothing between that orders them";
        assert_eq!(race.to_string(), expected);
    }
    let turned = text.replace("int r = *d;", "*d = 2; int r = *d;").replace("*d = 1;", "int r = *d;");
    assert_eq!(
        Test::parse(&turned).unwrap().run(Rc11).unwrap().race.unwrap().to_string(),
        "5:12: a race on `d`: a read in line 5 (P0) and a write in line 6 (P1), \
         with nothing between that orders them"
    );
}

/// Data behind a flag: the machine has no plain locations, the exact engine finds the race if the flag is too weak.
#[test]
fn a_plain_location_that_is_handed_over_is_no_race() {
    let text = |release: &str, acquire: &str| {
        format!(
            "C t
            {{ d=7; }}
            P0(int *d, atomic_int *x) {{ *d = 1; atomic_store_explicit(x, 1, memory_order_{release}); }}
            P1(int *d, atomic_int *x) {{
              int r = atomic_load_explicit(x, memory_order_{acquire});
              if (r == 1) {{ int s = *d; *d = 3; }}
            }}
            locations [d;] exists (1:r=1 /\\ 1:s=1)"
        )
    };
    let test = Test::parse(&text("release", "acquire")).unwrap();
    for memory in [Sc, Tso, Rc11] {
        let outcomes = test.run(memory).unwrap();
        assert_eq!(outcomes.states().collect::<Vec<_>>(), ["1:r=0,1:s=0,d=1", "1:r=1,1:s=1,d=3"]);
        assert_eq!(outcomes.executions, Some(2));
    }
    let on_machine = test.run_on_machine(Rc11, Options::default()).unwrap_err().to_string();
    assert_eq!(on_machine, "3:42: the plain location `d` is shared: the machine has atomic locations only");
    for (release, acquire) in [("relaxed", "acquire"), ("release", "relaxed")] {
        let test = Test::parse(&text(release, acquire)).unwrap();
        assert!(test.run(Tso).unwrap().race.is_none(), "x86 hands it over whatever is asked for");
        assert_eq!(test.run(Rc11).unwrap().race.unwrap().location, "d");
    }
}

#[test]
fn values_are_32_bits_wide_and_wrap() {
    let body = "int a = atomic_fetch_sub_explicit(x, 1, memory_order_relaxed);
         int b = atomic_compare_exchange_strong_explicit(x, e, 2147483647, memory_order_relaxed, memory_order_relaxed);
         int c = atomic_fetch_add_explicit(x, 1, memory_order_relaxed);";
    let text = one_thread(body).replace("x=0;", "x=0; e=-1;");
    let text = text.replace("exists", "locations [0:a; 0:b; 0:c; x; e;] exists");
    let test = Test::parse(&text).unwrap();
    let expected = ["0:a=0,0:b=1,0:c=2147483647,x=-2147483648,e=-1"];
    for memory in [Sc, Tso, Rc11] {
        assert_eq!(test.run(memory).unwrap().states().collect::<Vec<_>>(), expected);
        let on_machine = test.run_on_machine(memory, Options::default()).unwrap();
        assert_eq!(on_machine.states().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn names_without_a_meaning_are_refused_where_they_stand() {
    assert_eq!(error(&one_thread("int r = y;")), "4:11: `y` is not a variable of this thread");
    assert_eq!(
        error(&one_thread("atomic_store_explicit(z, 1, memory_order_relaxed);")),
        "4:25: `z` is not a variable of this thread"
    );
    assert_eq!(
        error(&one_thread("atomic_store_explicit(x, 1, memory_order_acquire);")),
        "4:3: a store cannot be an acquire"
    );
    assert_eq!(error(&one_thread("").replace("(x=1)", "(0:r=1)")), "6:9: thread P0 has no register `r`");
}

#[test]
fn a_failing_compare_exchange_writes_what_it_read_to_the_expected_value() {
    let text = "C t\n{ x=5; e=1; }\nP0(atomic_int *x, int *e) {\n\
         int r = atomic_compare_exchange_strong_explicit(x, e, 7, memory_order_relaxed, memory_order_relaxed);\n\
         int s = atomic_compare_exchange_strong_explicit(x, e, 7, memory_order_relaxed, memory_order_relaxed);\n}\n\
         locations [0:r; 0:s; x; e;] exists (true)";
    assert_eq!(states(text), ["0:r=0,0:s=1,x=7,e=5"]);
}

#[test]
fn branches_comments_locals_and_all_quantifiers_are_understood() {
    let body = "(* a comment *) int r1 = 2; int r10; // another\n\
         r10 = r1; if (r10 == 2) { if (r1 != 2) r1 = 3; else { atomic_fetch_sub_explicit(x, r1, memory_order_relaxed); } }";
    let test = one_thread(body)
        .replace("exists (x=1)", "locations [0:r10; 0:r1; x;] ~exists (not (x=-2 /\\ 0:r1=2) \\/ x=4)");
    assert_eq!(states(&test), ["0:r1=2,0:r10=2,x=-2"]);
    assert_eq!(Test::parse(&test).unwrap().run(Sc).unwrap().observation, Observation::Never);
    let test = test.replace("~exists (not", "forall (");
    assert_eq!(Test::parse(&test).unwrap().run(Sc).unwrap().observation, Observation::Always);
}

#[test]
fn an_error_is_a_value_that_a_program_can_look_at() {
    let error = Test::parse("C t {} P0() { x }").unwrap_err();
    assert!(matches!(error, Error::Syntax { place, .. } if place.line == 1), "{error:?}");
}

#[test]
fn a_file_may_hold_many_tests_and_places_are_those_of_the_file() {
    let one = one_thread("atomic_store_explicit(x, 1, memory_order_relaxed);");
    let refused = one_thread("atomic_store_explicit(x, 1, memory_order_acquire);");
    let text = format!("{one}\n\n(* another *) {refused}\n");
    assert!(matches!(Test::parse(&text), Err(Error::Syntax { place, .. }) if place.line == 8));
    let tests = Test::parse_all(&text).unwrap();
    assert_eq!(tests[0].run(Rc11).unwrap().observation, Observation::Always);
    let error = tests[1].run(Rc11).unwrap_err().to_string();
    assert_eq!(error, "11:3: a store cannot be an acquire");
    let error = Test::parse_all(&format!("{text}X")).unwrap_err().to_string();
    assert_eq!(error, "14:1: expected the end of the file, found `X`");
}
