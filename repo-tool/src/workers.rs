//! Runs a function on many items in several threads, which mostly wait for the network.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};

use crate::Error;

/// The maximum number of threads, and therefore of simultaneous requests.
const MAX_SIMULTANEOUS: usize = 8;

/// Calls `work` for every item in parallel, and returns the results in the order of the items.
/// After an error, starts no further items, and returns one of the errors.
pub(crate) fn try_map<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let next = Mutex::new(items.iter().enumerate());
    let done = Mutex::new(Ok(Vec::new()));
    let run = || {
        loop {
            let item = next.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((number, item)) = item else { return };
            let result = work(item);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            match (&mut *done, result) {
                (Ok(all), Ok(result)) => all.push((number, result)),
                (Ok(_), Err(error)) => *done = Err(error),
                (Err(_), _) => {}
            }
            if done.is_err() {
                return;
            }
        }
    };
    let threads = NonZero::new(items.len().min(MAX_SIMULTANEOUS)).map_or(0, NonZero::get);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(run))));
    let mut all = done.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    all.sort_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NotFound;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(try_map(&items, |item| Ok(item + 1)).unwrap(), (1..101).collect::<Vec<_>>());
        assert_eq!(try_map(&[], |item: &usize| Ok(*item)).unwrap(), [0; 0]);
    }

    #[test]
    fn an_error_ends_the_work() {
        let items: Vec<usize> = (0..100).collect();
        let failed = try_map(&items, |item| if *item == 3 { Err(NotFound::EarlierContent.into()) } else { Ok(*item) });
        assert!(matches!(failed, Err(Error::NotFound(NotFound::EarlierContent))));
    }
}
