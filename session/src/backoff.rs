//! How long to wait before trying again.

use std::time::Duration;

/// The wait before attempt `attempt` (0 is the first), out of `steps`, of which the last goes on for ever.
///
/// `random` spreads those who lost the same node at the same moment: the wait is between half of the step and
/// one and a half of it. It comes in as a value: any 32 random bits.
pub fn backoff(steps: &[Duration], attempt: u32, random: u32) -> Duration {
    let step = steps
        .get(attempt as usize)
        .or(steps.last())
        .copied()
        .unwrap_or_default();
    step / 2 + step.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// 32 random bits for [`backoff`]. Without randomness nobody is spread, and that is all that happens.
pub(crate) fn random() -> u32 {
    let mut bytes = [0; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u32::from_be_bytes(bytes),
        Err(_) => u32::MAX / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_wait_stays_around_its_step(attempt in any::<u32>(), random in any::<u32>()) {
            let steps = [0, 50, 200, 500].map(Duration::from_millis);
            let step = steps[(attempt as usize).min(3)];
            let wait = backoff(&steps, attempt, random);
            prop_assert!(wait >= step / 2 && wait <= step * 3 / 2);
        }
    }

    #[test]
    fn without_steps_there_is_no_wait() {
        assert_eq!(backoff(&[], 3, u32::MAX), Duration::ZERO);
    }
}
