
// A test of two threads: the one of this crate is ignored, and waits for ten threads with five.

#[test]
fn a_semaphore_excludes() {
    use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    loom::model(|| {
        let shared = Arc::new((async_lock::Semaphore::new(1), AtomicUsize::new(0)));
        let enter = |(semaphore, inside): &(async_lock::Semaphore, AtomicUsize)| {
            let _guard = semaphore.acquire_blocking();
            assert_eq!(inside.fetch_add(1, Relaxed), 0);
            inside.fetch_sub(1, Relaxed);
        };
        let other = {
            let shared = shared.clone();
            thread::spawn(move || enter(&shared))
        };
        enter(&shared);
        other.join().unwrap();
    });
}
