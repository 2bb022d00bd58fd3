
// Tests of two and three threads: those of this crate start none.

/// What a thread waits for, and by what it is told.
struct Flag {
    is_set: loom::sync::atomic::AtomicBool,
    event: Event,
}

impl Flag {
    fn new() -> loom::sync::Arc<Flag> {
        loom::sync::Arc::new(Flag { is_set: loom::sync::atomic::AtomicBool::new(false), event: Event::new() })
    }

    fn is_set(&self) -> bool {
        self.is_set.load(loom::sync::atomic::Ordering::Relaxed)
    }

    /// The usual way: it looks, listens, looks again, and waits.
    fn wait(&self) {
        while !self.is_set() {
            let listener = self.event.listen();
            if self.is_set() {
                break;
            }
            event_listener::Listener::wait(listener);
        }
    }

    fn set(&self, listeners: usize) {
        self.is_set.store(true, loom::sync::atomic::Ordering::Relaxed);
        self.event.notify(listeners);
    }
}

#[test]
fn a_listener_is_woken() {
    loom::model(|| {
        let flag = Flag::new();
        let other = {
            let flag = flag.clone();
            loom::thread::spawn(move || flag.set(1))
        };
        flag.wait();
        other.join().unwrap();
    });
}

#[test]
fn two_listeners_are_woken() {
    loom::model(|| {
        let flag = Flag::new();
        let others = [0, 1].map(|_| {
            let flag = flag.clone();
            loom::thread::spawn(move || flag.wait())
        });
        flag.set(2);
        for other in others {
            other.join().unwrap();
        }
    });
}
