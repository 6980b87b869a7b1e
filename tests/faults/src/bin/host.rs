//! A host program for the tests to hurt. The first argument names the scenario.
#![allow(missing_docs, clippy::unwrap_used)]

use procpool::Kind;
use procpool_faults::{double, end, pool};

fn main() {
    procpool::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments[0].as_str() {
        "cannot-exec" => cannot_exec(),
        other => panic!("there is no scenario {other:?}"),
    }
}

/// An environment that the kernel refuses to hand to a new program.
fn cannot_exec() {
    // SAFETY: this process has no other thread yet.
    #[allow(unsafe_code)]
    unsafe {
        std::env::set_var("TOO_LONG", "x".repeat(1 << 20));
    }
    let pool = pool(3);
    let futures: Vec<_> = (0..20).filter_map(|x| pool.submit(double, x).ok()).collect();
    assert!(!futures.is_empty());
    for future in futures {
        let error = future.wait().unwrap_err();
        assert_eq!(error.kind(), Kind::Start);
        assert!(error.message().contains("a worker could not be started"), "{error}");
    }
    assert_eq!(pool.submit(double, 1).unwrap_err().kind(), Kind::Start);
    assert!(pool.stats().workers_started <= 5, "{:?}", pool.stats());
    end(pool);
}
