//! Trying several nodes in turn without waiting for the slow ones.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::future::Future;
use std::time::Duration;

/// How long one node may keep us waiting before the next is asked as well.
pub const STAGGER: Duration = Duration::from_millis(250);

/// Starts `attempt(0)`, and each next one `stagger` after the one before or as soon as one fails. The first success
/// wins and the others are dropped; if all fail, all their errors come back in order of failing.
pub async fn first_ok<T, E, F, Fut>(
    count: usize,
    stagger: Duration,
    mut attempt: F,
) -> Result<(usize, T), Vec<(usize, E)>>
where
    F: FnMut(usize) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let mut running = FuturesUnordered::new();
    let mut failed = Vec::new();
    let mut next = 0;
    let mut start = |i: usize| {
        let one = attempt(i);
        async move { (i, one.await) }
    };
    while failed.len() < count {
        if running.is_empty() {
            running.push(start(next));
            next += 1;
        }
        tokio::select! {
            done = running.next() => match done {
                Some((i, Ok(value))) => return Ok((i, value)),
                Some((i, Err(error))) => {
                    failed.push((i, error));
                    if next < count {
                        running.push(start(next));
                        next += 1;
                    }
                }
                None => {}
            },
            () = tokio::time::sleep(stagger), if next < count => {
                running.push(start(next));
                next += 1;
            }
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const SHORT: Duration = Duration::from_millis(60);

    #[tokio::test]
    async fn a_silent_node_costs_one_stagger_and_a_refusing_one_nothing() {
        let begun = Instant::now();
        let won = first_ok(3, SHORT, |i| async move {
            match i {
                0 => std::future::pending::<Result<u8, ()>>().await,
                1 => Err(()),
                _ => Ok(7),
            }
        })
        .await;
        assert_eq!(won, Ok((2, 7)));
        assert!(
            begun.elapsed() >= SHORT && begun.elapsed() < SHORT * 2,
            "{:?}",
            begun.elapsed()
        );
    }

    #[tokio::test]
    async fn all_errors_come_back() {
        let lost: Result<(usize, ()), _> = first_ok(3, STAGGER, |i| async move { Err(i * 10) }).await;
        assert_eq!(lost, Err(vec![(0, 0), (1, 10), (2, 20)]));
        let none: Result<(usize, ()), Vec<(usize, ())>> = first_ok(0, STAGGER, |_| async { Err(()) }).await;
        assert_eq!(none, Err(vec![]));
    }

    #[tokio::test]
    async fn a_slow_node_may_still_win() {
        let won = first_ok(2, Duration::from_millis(10), |i| async move {
            if i == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, ()>(i)
            } else {
                std::future::pending().await
            }
        })
        .await;
        assert_eq!(won, Ok((0, 0)));
    }
}
