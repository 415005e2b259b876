//! Waiting for a condition, with a bound.

use std::time::{Duration, Instant};

/// Asks again and again until there is an answer, and panics with `what` after `bound`.
pub fn until<T>(what: &str, bound: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    retry(what, bound, || ask().ok_or_else(String::new))
}

/// The same for questions that say why there is no answer yet: the last reason is shown.
pub fn retry<T>(what: &str, bound: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(why) if began.elapsed() > bound => {
                panic!("waited {bound:?} for: {what}\nlast answer: {why}");
            }
            // The pause between two questions, not a wait for luck.
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
