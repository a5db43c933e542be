//! The same work on many files, on all cores, with at most one thread for each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::Error;

/// Calls `work` for every item; the first error ends it.
pub(crate) fn try_for_each<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<(), Error> + Sync) -> Result<(), Error> {
    try_map(items, work).map(|_| ())
}

/// Maps every item, in order; the first error ends it.
pub(crate) fn try_map<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    // A thread takes longer to begin than most work on one file.
    if items.len() < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else {
                return Ok(done);
            };
            match work(item) {
                Ok(result) => done.push((index, result)),
                Err(error) => {
                    // The others find nothing more to do.
                    next.store(items.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    };
    let count = thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let mut results = thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(worker)).collect();
        let mut all = Vec::with_capacity(items.len());
        for thread in threads {
            match thread.join() {
                Ok(part) => all.append(&mut part?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, Error>(all)
    })?;
    results.sort_unstable_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
