//! What the tests have in common.
#![allow(dead_code)] // each test binary uses a part

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// All outcomes of a model.
pub fn outcomes<T: Ord + Send + 'static>(model: impl Fn() -> T + Send + Sync + 'static) -> BTreeSet<T> {
    let all = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = all.clone();
    loom::model(move || {
        let outcome = model();
        seen.lock().unwrap().insert(outcome);
    });
    std::mem::take(&mut *all.lock().unwrap())
}

/// What is wrong with a model.
pub fn wrong(model: impl Fn() + Send + Sync + 'static) -> String {
    wrong_with(&loom::model::Builder::new(), model)
}

/// What is wrong with a model that is searched in this way.
pub fn wrong_with(builder: &loom::model::Builder, model: impl Fn() + Send + Sync + 'static) -> String {
    let payload = catch_unwind(AssertUnwindSafe(|| builder.check(model))).expect_err("it goes wrong");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(_) => panic!("the panic has a text"),
    }
}
