//! `Native` costs nothing: the same loop on std's types and through the trait. `cargo bench -p reveille`

use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use divan::{Bencher, black_box};
use reveille::sync::{Atomic, Mutex, Native, Primitives};

fn main() {
    divan::main();
}

#[divan::bench]
fn std_types(bencher: Bencher) {
    let (word, lock) = (AtomicUsize::new(0), StdMutex::new(0_usize));
    bencher.bench_local(|| {
        for _ in 0..1_000 {
            let word = black_box(&word);
            word.fetch_add(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if word.load(Ordering::Acquire) > 0 {
                *lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) += 1;
            }
        }
    });
}

#[divan::bench]
fn through_the_trait(bencher: Bencher) {
    fn run<P: Primitives>(word: &P::Atomic, lock: &P::Mutex<usize>) {
        for _ in 0..1_000 {
            let word = black_box(word);
            word.fetch_add(1, Ordering::Relaxed);
            P::fence(Ordering::SeqCst);
            if word.load(Ordering::Acquire) > 0 {
                lock.with(|sum| *sum += 1);
            }
        }
    }
    let (word, lock) = (AtomicUsize::new(0), StdMutex::new(0));
    bencher.bench_local(|| run::<Native>(&word, &lock));
}
