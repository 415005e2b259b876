//! No secret is in any log, dump, bundle or file of a node.

use super::{Said, unless};

/// Looks for secrets (what they are, and their text) in places (their names, and their bytes).
pub fn check<'a>(secrets: &[(String, String)], places: impl Iterator<Item = (String, Vec<u8>)> + 'a) -> Said {
    let mut wrong = Vec::new();
    let (mut looked, mut bytes) = (0, 0);
    // The first two bytes of each secret, so that nearly every byte of a place is passed over at once.
    let pair = |two: &[u8]| usize::from(two[0]) << 8 | usize::from(two[1]);
    let mut begins = vec![false; 1 << 16];
    for (_, text) in secrets {
        assert!(text.len() >= 8, "a secret that short would be found by chance");
        begins[pair(text.as_bytes())] = true;
    }
    for (name, place) in places {
        looked += 1;
        bytes += place.len();
        let at = place.windows(2).enumerate().filter(|(_, two)| begins[pair(two)]);
        let found = at.into_iter().find_map(|(at, _)| {
            let secret = secrets
                .iter()
                .find(|(_, text)| place[at..].starts_with(text.as_bytes()));
            secret.map(|(what, _)| format!("{what} is in {name} at byte {at}"))
        });
        wrong.extend(found);
    }
    let good = format!(
        "{} secrets are in none of {looked} files ({} MiB)",
        secrets.len(),
        bytes >> 20
    );
    unless(wrong, good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_wherever_it_is() {
        let secrets = [("the password".to_owned(), "correct horse".to_owned())];
        let place = |text: &str| vec![("log".to_owned(), text.as_bytes().to_vec())].into_iter();
        check(&secrets, place("all is well, of correct size")).expect("there is none");
        for bad in [
            "correct horse",
            "\u{1}\u{2}correct horse\n",
            "it is \"correct horse\"",
        ] {
            check(&secrets, place(bad)).expect_err(bad);
        }
    }
}
