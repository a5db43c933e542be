//! Runs the same function for many items, and uses rayon to distribute the items over all cores.
//!
//! The function must not wait for another item to finish. If the function itself uses rayon, rayon may interrupt one
//! item to process another item on the same thread. If the second item waited for the first, neither would ever finish.

use rayon::prelude::*;

use crate::Error;

/// Calls `work` for every item. After an error, starts no further items, and returns one of the errors.
pub(crate) fn try_for_each<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<(), Error> + Sync) -> Result<(), Error> {
    try_map(items, work).map(drop)
}

/// Maps every item and keeps the order. After an error, starts no further items, and returns one of the errors.
pub(crate) fn try_map<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    // Process a single item on the current thread, which is faster than using the thread pool.
    if items.len() < 2 {
        return items.iter().map(work).collect();
    }
    // Schedule each item individually, because some items may take much longer than others.
    items.par_iter().with_max_len(1).map(&work).collect()
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<usize> = (0..1000).collect();
        assert_eq!(
            try_map(&items, |item| Ok(item * 2)).unwrap(),
            items.iter().map(|item| item * 2).collect::<Vec<_>>()
        );
    }

    #[test]
    fn an_error_is_returned_and_ends_the_work() {
        let items: Vec<usize> = (0..100_000).collect();
        let begun = AtomicUsize::new(0);
        let result = try_for_each(&items, |_| {
            begun.fetch_add(1, Ordering::Relaxed);
            Err(Error::from(crate::NotFound::DistributedTarget))
        });
        assert!(matches!(result, Err(Error::NotFound(_))), "{result:?}");
        assert!(begun.load(Ordering::Relaxed) < items.len() / 2, "{begun:?}");
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let work = || try_for_each(&[1, 2, 3], |item| if *item == 2 { panic!("two") } else { Ok(()) });
        let panic = catch_unwind(AssertUnwindSafe(work)).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"two"));
    }
}
