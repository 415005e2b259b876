//! What leaves masked: however a text came in pieces, the copy shows what masking the whole of it would show.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use palisade_core::name::Name;
use palisade_core::pattern::Mask;
use palisade_core::record::RedactRule;
use palisade_session::recording::{Event, EventKind, Masks, Played, Redactor};
use proptest::prelude::*;

fn masks() -> Masks {
    let rule = |name: &str, pattern: &str| RedactRule {
        name: Name::parse(name).unwrap(),
        pattern: Mask::parse(pattern).unwrap(),
    };
    let rules = [
        rule("word", "hunter2"),
        rule("key", "AKIA[0-9]{2,4}"),
        rule("sum", "€+x"),
        rule("end", "zz$"),
    ];
    Masks::new(&rules).unwrap()
}

/// The bytes of the copy, and how often each rule matched.
fn copy(bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<u64>) {
    let mut redactor = Redactor::new(masks());
    let mut out = Vec::new();
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    let mut times = Vec::new();
    for (at_ms, place) in (0..).zip(places.windows(2)) {
        let kind = EventKind::Output(bytes[place[0]..place[1]].to_vec());
        let event = Event { at_ms, kind };
        out.extend(redactor.push(Played { event, wall_ms: 0 }));
    }
    out.extend(redactor.finish());
    let mut left = Vec::new();
    for played in out {
        times.push(played.event.at_ms);
        match played.event.kind {
            EventKind::Output(bytes) => left.extend(bytes),
            other => panic!("{other:?}"),
        }
    }
    assert!(times.is_sorted());
    (left, redactor.counts().map(|(_, count)| count).collect())
}

/// Text without the sequences that [`PIECES`] has.
fn visible(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    ["\x1b[31m", "\x1b[0m", "\x1b[?25l"]
        .iter()
        .fold(text.into_owned(), |text, sequence| text.replace(sequence, ""))
}

const PIECES: &[&str] = &[
    "hunter2",
    "hun",
    "ter2",
    "h",
    "AKIA",
    "AKIA12",
    "34",
    "€",
    "€€x",
    "x",
    "é",
    "zz",
    " ",
    "\x1b[31m",
    "\x1b[0m",
    "\x1b[?25l",
    "\n",
    "\r\n",
];

/// What lines have beside those: taking back, going elsewhere, gaps, strings for the terminal, bytes that are no text.
const ODD: &[&[u8]] = &[
    b"hunter2",
    b"hunt",
    b"er2",
    b"AKIA1",
    b"\xe2\x82\xac",
    b"\xe2\x82",
    b"\xff",
    b"zz",
    b"\x08",
    b"\x08\x08\x08",
    b"\r",
    b"\n",
    b"\t",
    b"\x1b",
    b"\x1b[",
    b"\x1b[5C",
    b"\x1b[2J",
    b"\x1b[H",
    b"\x1b]0;hunter2\x07",
    b"\x1b]0;",
    b"\x1b\\",
    b"\x1bP",
    b"\xc2\x9d",
    b"\xc2\x9c",
    b"\x18",
    b"\x1bM",
    b"(",
    b"\\",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_copy_shows_what_masking_the_whole_text_would_show(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60),
        cuts in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let text = pieces.concat();
        let (left, _) = copy(text.as_bytes(), &cuts);
        // A carriage return ends a line as well.
        let whole = visible(text.as_bytes()).replace("\r\n", "\n");
        prop_assert_eq!(visible(&left).replace("\r\n", "\n"), masks().text(&whole));
        prop_assert!(!visible(&left).contains("hunter2"));
    }

    #[test]
    fn how_it_came_in_pieces_changes_nothing(
        pieces in prop::collection::vec(prop::sample::select(ODD), 0..80),
        cuts in prop::collection::vec(any::<usize>(), 0..60),
    ) {
        let bytes = pieces.concat();
        let every_byte: Vec<usize> = (0..bytes.len()).collect();
        let whole = copy(&bytes, &[]);
        prop_assert_eq!(&copy(&bytes, &cuts), &whole);
        prop_assert_eq!(&copy(&bytes, &every_byte), &whole);
    }
}

/// A place where a line is taken to end because it is long is the same wherever events end.
#[test]
fn long_lines_are_cut_at_the_same_place_however_they_came() {
    let mut bytes = Vec::new();
    for n in 0..40_000 {
        bytes.extend_from_slice(if n % 3 == 0 { b"\x1b[31mhunter2" } else { b"y" });
    }
    bytes.extend_from_slice(&vec![b'e'; 200_000]);
    let cuts: Vec<usize> = (0..bytes.len()).step_by(997).collect();
    let (whole, pieces) = (copy(&bytes, &[]), copy(&bytes, &cuts));
    assert_eq!(whole.1, pieces.1);
    assert!(whole == pieces);
    // One may lie across a cut, no more.
    let cut = bytes.len() / (64 << 10) + 2;
    let seen = String::from_utf8(whole.0).unwrap().replace("\x1b[31m", "");
    assert!(
        seen.matches("hunter2").count() <= cut,
        "{}",
        seen.matches("hunter2").count()
    );
}
