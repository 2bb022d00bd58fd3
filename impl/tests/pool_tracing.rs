//! What the pool tells a subscriber. Its own binary: the subscriber is the process's.

use std::collections::BTreeSet;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, mpsc};

use reveille::pool::{Config, Pool, Shutdown, Work};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps the words of every event, and the names of spans.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<BTreeSet<String>>>);

#[derive(Default)]
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!("{value:?}")),
            name => write!(self.0, " {name}={value:?}").expect("a string takes everything"),
        }
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("reveille")
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut words = Words::default();
        span.record(&mut words);
        self.0.lock().unwrap().insert(format!("{}{}", span.metadata().name(), words.0));
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        self.0.lock().unwrap().insert(words.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_subscriber_hears_of_workers_wakes_stalls_cancellations_and_the_end() {
    let notes = Notes::default();
    tracing::subscriber::set_global_default(notes.clone()).unwrap();
    let pool: Pool = Pool::new(Config { bounded: 1, ..Config::default() });
    let ((begun, has_begun), (let_go, wait)) = (mpsc::channel(), mpsc::channel::<()>());
    let first = pool.spawn(Work::BOUNDED.hashed(9), move |_| {
        begun.send(()).unwrap();
        let _ = wait.recv();
    });
    has_begun.recv().unwrap();
    let stalled = pool.spawn(Work::BOUNDED.hashed(9).tagged(5), |_| ());
    stalled.cancel();
    let_go.send(()).unwrap();
    first.wait().done().unwrap();
    drop(stalled);
    pool.shutdown(Shutdown::Drain).unwrap();
    let notes = notes.0.lock().unwrap();
    for expected in [
        "worker account=Bounded number=0",
        "worker started account=Bounded worker=0",
        "wake account=Bounded jobs=1 told=0",
        "stalled hash=9",
        "cancel tag=5 found=BeforeItRan",
        "shutdown how=Drain",
        "leaves why=Exiting",
    ] {
        assert!(notes.contains(expected), "no `{expected}` among {notes:#?}");
    }
}
