//! An auditor who pages through the log with cursors, through one node after the other: every sequence number once and in
//! order, and what was read once is never read otherwise.

use super::Shared;
use super::api::{Api, Reply};
use crate::real::rng::Rng;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

const PACE: Duration = Duration::from_millis(300);

/// Reads until told to stop.
pub fn run(api: &Api, shared: &Shared, rng: &mut Rng) {
    // The hash of every event, by its number.
    let mut known: Vec<[u8; 32]> = Vec::new();
    let mut cursor = String::new();
    let mut next = 0;
    while shared.goes_on() {
        let node = rng.below(shared.web.len());
        let path = format!("/v1/audit/events?oldest_first=true&limit=200&cursor={cursor}");
        let reply = api.get(node, &path);
        let Reply::Said(200, page) = &reply else {
            shared.history.count("audit page", false, false);
            shared.pause(PACE);
            continue;
        };
        shared.history.count("audit page", true, false);
        for item in page["items"].as_array().into_iter().flatten() {
            if let Err(why) = take(&mut known, &mut next, item) {
                shared
                    .history
                    .violation(format!("audit pages at n{}: {why}", node + 1));
                return;
            }
        }
        cursor = page["cursor"].as_str().unwrap_or_default().to_owned();
        if cursor.is_empty() {
            // At the end it begins anew: what it has read must still be so.
            next = 0;
        }
        shared.pause(PACE);
    }
}

fn take(known: &mut Vec<[u8; 32]>, next: &mut usize, item: &Value) -> Result<(), String> {
    let seq = item["seq"].as_u64().and_then(|seq| usize::try_from(seq).ok());
    if seq != Some(*next) {
        return Err(format!("event {next} should have come, and {seq:?} did"));
    }
    let hash: [u8; 32] = Sha256::digest(item.to_string().as_bytes()).into();
    match known.get(*next) {
        Some(before) if *before != hash => {
            return Err(format!(
                "event {next} was another when it was read before: {item}"
            ));
        }
        Some(_) => {}
        None => known.push(hash),
    }
    *next += 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_gap_a_repetition_and_a_changed_event_are_noticed() {
        let item = |seq: u64, what: &str| json!({ "seq": seq, "event": what });
        let (mut known, mut next) = (Vec::new(), 0);
        take(&mut known, &mut next, &item(0, "a")).expect("the first");
        take(&mut known, &mut next, &item(1, "b")).expect("the second");
        take(&mut known.clone(), &mut 2, &item(3, "d")).expect_err("a gap");
        take(&mut known.clone(), &mut 2, &item(1, "b")).expect_err("a repetition");
        take(&mut known.clone(), &mut 1, &item(1, "c")).expect_err("another event");
        take(&mut known, &mut 1, &item(1, "b")).expect("the same again");
    }
}
