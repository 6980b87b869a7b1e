//! The program's own pool; alone in its program, since it is never ended.
#![allow(unsafe_code, missing_docs, clippy::unwrap_used)]

use procpool::{Kind, Pool};

procpool::init_in_tests!();

#[test]
fn the_global_pool_is_made_once() {
    let pids = || {
        let pool = procpool::global().unwrap();
        pool.submit(|n: u64| n, 1).unwrap().wait().unwrap();
        pool.worker_pids()
    };
    Pool::builder().workers(1).build_global().unwrap();
    let first = pids();
    assert_eq!((first.len(), pids()), (1, first));
    let error = Pool::builder().build_global().unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
}
