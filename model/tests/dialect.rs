//! herd's C dialect as people and generators write it.

use reveille_model::litmus::{Model, Observation, Outcomes, Test};
use reveille_model::memory::Memory;

const SC: Model = Model::Memory(Memory::Sc);

fn read(text: &str) -> Test {
    Test::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn run(text: &str, model: Model) -> Outcomes {
    read(text).run(model).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn refused(text: &str) -> String {
    let test = Test::parse(text).and_then(|test| test.run(Model::Lkmm));
    test.map_or_else(|error| error.to_string(), |outcomes| panic!("accepted: {outcomes:?}"))
}

/// A test of the kernel with one thread, whose body is given, and the condition.
fn kernel(body: &str, condition: &str) -> String {
    format!("C t\n{{}}\nP0(int *x, int *y, atomic_t *v, spinlock_t *l) {{\n  {body}\n}}\n{condition}")
}

/// Whether a condition holds at the end of a body: there is one execution, and it does.
fn holds(body: &str, condition: &str) {
    let outcomes = run(&kernel(body, &format!("exists ({condition})")), Model::Lkmm);
    let seen = (outcomes.observation, outcomes.executions);
    assert_eq!(seen, (Observation::Always, Some(1)), "{body}: {:?}", outcomes.states().collect::<Vec<_>>());
}

#[test]
fn headers_of_generators_are_passed_over() {
    let text = "C LB+mb+mb
\"PodRWOnce Rfe\"
Generator=diyone7 (version 7.58)
Prefetch=0:x=F,0:y=W
Com=Rf Rf
Orig=MbdRW Rfe MbdRW Rfe
Cycle=Rfe MbdRW Rfe MbdRW
{ }
P0(int *x, int *y) { int r0 = READ_ONCE(*x); smp_mb(); WRITE_ONCE(*y, 1); }
P1(int *x, int *y) { int r0 = READ_ONCE(*y); smp_mb(); WRITE_ONCE(*x, 1); }
exists (0:r0=1 /\\ 1:r0=1)";
    assert_eq!(run(text, Model::Lkmm).observation, Observation::Never);
    assert_eq!(run(&text.replace("smp_mb();", ""), Model::Lkmm).observation, Observation::Sometimes);
}

#[test]
fn locations_begin_with_what_is_declared_in_any_of_the_ways() {
    let text = |initial: &str| {
        format!("C t {{ {initial} }} P0(int *x) {{ int r0 = READ_ONCE(*x); }} exists (0:r0=1)")
    };
    for initial in [
        "x=1;",
        "x=1",
        "[x]=1",
        "int x=1;",
        "int x = 0x1",
        "int y; int x=1",
        ";; x=1;",
        "atomic_t x = ATOMIC_INIT(1);",
    ] {
        assert_eq!(run(&text(initial), Model::Lkmm).observation, Observation::Always, "{initial}");
    }
    for initial in ["", "int x;", "int x", "x; y=3"] {
        assert_eq!(run(&text(initial), Model::Lkmm).observation, Observation::Never, "{initial}");
    }
    for initial in ["0:r0=7", "int 0:r0 = 7; int 0:r1"] {
        let text = format!("C t {{ {initial}; }} P0(int *x) {{ WRITE_ONCE(*x, r0); }} exists (x=7)");
        assert_eq!(run(&text, Model::Lkmm).observation, Observation::Always);
    }
}

#[test]
fn conditions_have_brackets_and_inequalities_and_implications_and_are_turned_round() {
    let body = "int r0 = 3; WRITE_ONCE(*x, 0x10);";
    for condition in [
        "[x]=16",
        "x=0x10",
        "x != 3",
        "[x] == 16",
        "3 = 0:r0",
        "0:r0=3 /\\ 3 == 0:r0 /\\ x<>0",
        "x=1 => 0:r0=9",
        "x=16 => 0:r0=3",
        "~(x=16 => 0:r0=9)",
        "not (x=1) /\\ (false \\/ true)",
        "x=1 \\/ x=2 \\/ x=16",
        "0:r0=0:r0 /\\ ~(0:r0 != 0:r0)",
    ] {
        holds(body, condition);
    }
}

#[test]
fn a_test_without_a_condition_holds_always() {
    let outcomes = run(&kernel("WRITE_ONCE(*x, 1);", "locations [x; 0:r;]").replace("0:r;", ""), Model::Lkmm);
    assert_eq!(outcomes.observation, Observation::Always);
    assert_eq!(outcomes.states().collect::<Vec<_>>(), ["x=1"]);
    let two =
        format!("{}\n{}", kernel("WRITE_ONCE(*x, 1);", ""), kernel("WRITE_ONCE(*x, 1);", "locations [x]"));
    assert_eq!(Test::parse_all(&two).unwrap().len(), 2);
}

#[test]
fn a_filter_leaves_executions_out() {
    let text = |filter: &str| {
        format!(
            "C t {{}} P0(int *x) {{ WRITE_ONCE(*x, 1); }} P1(int *x) {{ int r0 = READ_ONCE(*x); }}
             locations [1:r0; x] {filter} exists (1:r0=1)"
        )
    };
    for model in Model::ALL {
        let all = run(&text(""), model);
        assert_eq!((all.observation, all.executions), (Observation::Sometimes, Some(2)));
        let some = run(&text("filter (1:r0=1)"), model);
        assert_eq!((some.observation, some.executions), (Observation::Always, Some(1)));
    }
}

#[test]
fn expressions_are_those_of_c() {
    for (expression, value) in [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("7 / 2 - 1", 2),
        ("0x1f & 6 | 8 ^ 1", 15),
        ("1 << 3 >> 1", 4),
        ("!3 + !0", 1),
        ("-3 + ~0", -4),
        ("2 > 1 && 1 >= 1 && !(1 < 1) || 0", 1),
        ("3 == 3 != 0", 1),
        ("(int)5", 5),
        ("READ_ONCE(*x) + 1", 1),
    ] {
        holds(&format!("int r0 = {expression};"), &format!("0:r0={value}"));
    }
    holds("int r0 = 1, r1; if (1 == r0) r1 = 5; else { r1 = 6; }", "0:r1=5");
    holds("int r0; if (READ_ONCE(*x) == 0) { r0 = 4; }", "0:r0=4");
    holds("WRITE_ONCE(*x, READ_ONCE(*y) + 2); (void) READ_ONCE(*x);", "x=2");
}

#[test]
fn comments_nest_and_are_told_from_pointers() {
    let text = "C t (* one (* in another *) *) { x=1; (* y=1; *) }
        // a line
        P0(int *x) { /* C's */ int r0; (* herd's *) r0 = READ_ONCE(*x); int r1 = (*x); } // END (*
        exists (* all *) (0:r0=1 /\\ 0:r1=1)";
    assert_eq!(run(text, Model::Lkmm).observation, Observation::Always);
    assert_eq!(
        refused("C t { (* no end"),
        "1:7: expected `*)` somewhere after this comment, found the end of the file"
    );
}

#[test]
fn every_operation_of_atomic_t_does_what_its_name_says() {
    for (body, condition) in [
        ("atomic_set(v, 5); int r0 = atomic_read(v);", "0:r0=5 /\\ v=5"),
        ("atomic_set_release(v, 5); int r0 = atomic_read_acquire(v);", "0:r0=5"),
        ("atomic_add(5, v); atomic_sub(2, v); atomic_inc(v); atomic_dec(v);", "v=3"),
        ("atomic_or(6, v); atomic_and(3, v); atomic_xor(1, v);", "v=3"),
        ("int r0 = atomic_add_return(5, v); int r1 = atomic_sub_return_relaxed(2, v);", "0:r0=5 /\\ 0:r1=3"),
        (
            "int r0 = atomic_inc_return_acquire(v); int r1 = atomic_dec_return_release(v);",
            "0:r0=1 /\\ 0:r1=0",
        ),
        (
            "int r0 = atomic_fetch_add(5, v); int r1 = atomic_fetch_sub_acquire(2, v);",
            "0:r0=0 /\\ 0:r1=5 /\\ v=3",
        ),
        ("int r0 = atomic_fetch_inc(v); int r1 = atomic_fetch_dec_relaxed(v);", "0:r0=0 /\\ 0:r1=1 /\\ v=0"),
        ("int r0 = atomic_fetch_or_release(6, v); int r1 = atomic_fetch_and(3, v);", "0:r1=6 /\\ v=2"),
        ("int r0 = atomic_fetch_xor(6, v); int r1 = atomic_inc_and_test(v);", "0:r1=0 /\\ v=7"),
        ("int r0 = atomic_dec_and_test(v); int r1 = atomic_add_negative(1, v);", "0:r0=0 /\\ 0:r1=0 /\\ v=0"),
        ("int r0 = atomic_sub_and_test(0, v); int r1 = atomic_add_negative(-1, v);", "0:r0=1 /\\ 0:r1=1"),
        (
            "int r0 = xchg(x, 5); int r1 = xchg_relaxed(x, 6); int r2 = atomic_xchg_acquire(v, 1);",
            "0:r1=5 /\\ x=6",
        ),
        ("int r0 = cmpxchg(x, 0, 5); int r1 = cmpxchg_release(x, 0, 6);", "0:r0=0 /\\ 0:r1=5 /\\ x=5"),
        ("int r0 = atomic_cmpxchg_acquire(v, 1, 5);", "0:r0=0 /\\ v=0"),
        (
            "int r0 = atomic_add_unless(v, 2, 0); int r1 = atomic_add_unless(v, 2, 1);",
            "0:r0=0 /\\ 0:r1=1 /\\ v=2",
        ),
        ("smp_store_mb(*x, 1); smp_store_release(y, 2); int r0 = smp_load_acquire(y);", "x=1 /\\ 0:r0=2"),
        (
            "spin_lock(l); int r0 = spin_trylock(l); int r1 = spin_is_locked(l); spin_unlock(l);",
            "0:r0=0 /\\ 0:r1=1",
        ),
        (
            "smp_mb__before_atomic(); smp_mb__after_atomic(); smp_mb__after_spinlock(); barrier(); smp_wmb();",
            "x=0",
        ),
    ] {
        holds(body, condition);
    }
}

#[test]
fn the_other_operations_of_c11_are_read_too() {
    let body = "int a = atomic_fetch_or(x, 6); int b = atomic_fetch_and_explicit(x, 3, memory_order_relaxed);
        int c = atomic_fetch_xor(x, 1); int d = atomic_exchange(x, 8);";
    let text = format!(
        "C t {{}} P0(_Atomic int *x) {{ {body} }} exists (0:a=0 /\\ 0:b=6 /\\ 0:c=2 /\\ 0:d=3 /\\ x=8)"
    );
    for model in &Model::ALL[..3] {
        assert_eq!(run(&text, *model).observation, Observation::Always);
    }
}

/// Under RC11 such a location may race; x86 does not tell the accesses apart.
#[test]
fn a_location_may_have_plain_and_atomic_accesses() {
    let text = |order: &str| {
        format!(
            "C MP {{}}
             P0(atomic_int *d, atomic_int *f) {{ *d = 1; atomic_store_explicit(f, 1, memory_order_{order}); }}
             P1(atomic_int *d, int *f) {{
               int r0 = atomic_load_explicit(f, memory_order_acquire);
               if (r0) {{ int r1 = atomic_load_explicit(d, memory_order_relaxed); }} }}
             exists (1:r0=1 /\\ 1:r1=0)"
        )
    };
    let [sc, tso, rc11] = [0, 1, 2].map(|model| run(&text("relaxed"), Model::ALL[model]));
    assert_eq!([sc.observation, tso.observation], [Observation::Never; 2]);
    assert_eq!(rc11.observation, Observation::Undefined);
    let race = rc11.race.unwrap().to_string();
    assert!(race.contains("a race on `d`: a write in line 2 (P0) and a read in line 5 (P1)"), "{race}");
    let released = run(&text("release"), Model::ALL[2]);
    assert_eq!((released.observation, released.executions), (Observation::Never, Some(2)));
}

/// One execution in which it exchanges, and one in which it fails for no reason; only one if it finds another value.
#[test]
fn a_weak_exchange_may_fail_for_no_reason() {
    let text = |value| {
        format!(
            "C t {{ x={value}; e=0; }} P0(atomic_int *x, int *e) {{
               int r0 = atomic_compare_exchange_weak_explicit(x, e, 5, memory_order_relaxed, memory_order_relaxed); }}
             locations [0:r0; x; e] exists (0:r0=1)"
        )
    };
    for model in &Model::ALL[..3] {
        let outcomes = run(&text(0), *model);
        assert_eq!(outcomes.states().collect::<Vec<_>>(), ["0:r0=0,x=0,e=0", "0:r0=1,x=5,e=0"]);
        assert_eq!(outcomes.executions, Some(2));
        let outcomes = run(&text(7), *model);
        assert_eq!(outcomes.states().collect::<Vec<_>>(), ["0:r0=0,x=7,e=7"]);
        assert_eq!(outcomes.executions, Some(1));
    }
}

/// `MP+wmb+addr`: a pointer that is published, and read.
#[test]
fn pointers_are_values_and_an_address_dependency_orders() {
    let text = |barrier: &str| {
        format!(
            "C MP+{barrier}+addr
             {{ y=1; int *p = &y; z=2; }}
             P0(int *x, int **p) {{ WRITE_ONCE(*x, 3); {barrier}(); WRITE_ONCE(*p, x); }}
             P1(int **p) {{ int *r0; int r1; r0 = READ_ONCE(*p); r1 = READ_ONCE(*r0); }}
             exists (1:r0=x /\\ 1:r1=0)"
        )
    };
    let found = run(&text("smp_wmb"), Model::Lkmm);
    assert_eq!(found.states().collect::<Vec<_>>(), ["1:r0=x,1:r1=3", "1:r0=y,1:r1=1"]);
    assert_eq!(found.observation, Observation::Never);
    assert_eq!(run(&text("smp_rmb"), Model::Lkmm).observation, Observation::Sometimes);
    assert_eq!(run(&text("smp_wmb"), SC).observation, Observation::Never);
}

/// As herd has it, a dependency is one of syntax, whatever the value.
#[test]
fn a_dependency_that_decides_nothing_orders_all_the_same() {
    let text = |index: &str| {
        format!(
            "C LB {{}}
             P0(int *x, int *y) {{ int r0; r0 = READ_ONCE(*x); WRITE_ONCE(*(y + {index}), 1); }}
             P1(int *x, int *y) {{ int r0; r0 = READ_ONCE(*y); smp_mb(); WRITE_ONCE(*x, 1); }}
             exists (0:r0=1 /\\ 1:r0=1)"
        )
    };
    assert_eq!(run(&text("(r0 & 128)"), Model::Lkmm).observation, Observation::Never);
    assert_eq!(run(&text("0"), Model::Lkmm).observation, Observation::Sometimes);
}

/// A value out of thin air: the branch is taken because of what it writes. Syntax shows no dependency.
#[test]
fn a_branch_may_be_taken_because_of_what_it_writes() {
    let text = "C crypto {}
        P0(int *x, int *y) { int r0 = 1; if (READ_ONCE(*x) == 0) r0 = 0; WRITE_ONCE(*y, r0); }
        P1(int *x, int *y) { int r0; r0 = READ_ONCE(*y); WRITE_ONCE(*x, r0); }
        exists (0:r0=1)";
    assert_eq!(run(text, Model::Lkmm).observation, Observation::Sometimes);
    assert_eq!(run(text, SC).observation, Observation::Never);
}

#[test]
fn a_race_of_plain_accesses_is_a_verdict_and_a_guarded_one_is_none() {
    let text = |publish: &str, look: &str| {
        format!(
            "C MP {{}}
             P0(int *d, int *f) {{ *d = 1; {publish} }}
             P1(int *d, int *f) {{ int r0; int r1; r0 = {look}; if (r0) r1 = *d; }}
             exists (1:r0=1 /\\ 1:r1=0)"
        )
    };
    let guarded = run(&text("smp_store_release(f, 1);", "smp_load_acquire(f)"), Model::Lkmm);
    assert_eq!((guarded.observation, guarded.executions), (Observation::Never, Some(2)));
    let racy = run(&text("WRITE_ONCE(*f, 1);", "READ_ONCE(*f)"), Model::Lkmm);
    assert_eq!(racy.observation, Observation::Undefined);
    let race = racy.race.unwrap().to_string();
    assert_eq!(
        race,
        "2:36: a race on `d`: a write in line 2 (P0) and a read in line 3 (P1), with nothing between that orders them"
    );
}

#[test]
fn what_is_not_read_is_named_with_its_place() {
    let of = |body: &str| refused(&kernel(body, "exists (x=1)"));
    assert_eq!(of("rcu_read_lock();"), "4:3: RCU is not read: `rcu_read_lock`, line 4");
    assert_eq!(of("int r0 = srcu_read_lock(x);"), "4:12: SRCU is not read: `srcu_read_lock`, line 4");
    assert_eq!(
        of("WRITE_ONCE(*x, 1); frobnicate(x);"),
        "4:22: this operation is not read: `frobnicate`, line 4"
    );
    assert_eq!(of("while (1) { WRITE_ONCE(*x, 1); }"), "4:3: loops are not read: `while`, line 4");
    assert_eq!(of("WRITE_ONCE(x, 1);"), "4:14: expected `*` (`WRITE_ONCE(*x, ..)`), found `x,`");
    assert_eq!(of("xchg(x);"), "4:3: `xchg` has 2 arguments, and here 1");
    assert_eq!(
        refused("C t {} P0(atomic_int *x) { atomic_store(x, 1); } exists (x=1)"),
        "the kernel's memory model says nothing of C11's operations"
    );
}
