//! Recordings from end to end: what was written is what is read, and nothing else is taken for it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use palisade_session::recording::*;
use proptest::prelude::*;

const SESSION: SessionId = SessionId([7; 16]);
const WALL: u64 = 1_800_000_000_000;

fn key() -> DataKey {
    DataKey::from_bytes(&[42; 32]).unwrap()
}

fn out(at_ms: u64, text: &str) -> Event {
    Event {
        at_ms,
        kind: EventKind::Output(text.into()),
    }
}

/// A recording with one chunk for each element; the last one is the session's last unless `cut_off`.
fn record(session: SessionId, key: DataKey, parts: &[Vec<Event>], cut_off: bool) -> Vec<Chunk> {
    let mut writer = ChunkWriter::new(session, key);
    let mut chunks = Vec::new();
    for (nth, part) in parts.iter().enumerate() {
        for event in part {
            writer.push(event.clone(), WALL + event.at_ms).unwrap();
        }
        let now = part.last().map_or(0, |event| event.at_ms);
        if nth + 1 == parts.len() && !cut_off {
            chunks.push(writer.finish(now, WALL + now).unwrap());
        } else {
            chunks.extend(writer.cut(now).unwrap());
        }
    }
    chunks
}

fn three() -> Vec<Chunk> {
    let parts = [
        vec![out(0, "one"), out(10, "two")],
        vec![out(1000, "three")],
        vec![out(2000, "four")],
    ];
    record(SESSION, key(), &parts, false)
}

fn bytes(chunks: &[Chunk]) -> Vec<Vec<u8>> {
    chunks.iter().map(|chunk| chunk.bytes.clone()).collect()
}

fn play(chunks: &[Vec<u8>]) -> (Vec<Played>, Completeness) {
    let key = key();
    let mut playback = Playback::new(SESSION, &key, chunks.iter());
    let events: Vec<_> = playback.by_ref().collect();
    assert!(playback.next().is_none(), "an end is an end");
    (events, playback.completeness().unwrap().clone())
}

/// Every kind of event, with bytes of any sort.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let any_bytes = || prop::collection::vec(any::<u8>(), 0..300);
    let kind = prop_oneof![
        any_bytes().prop_map(EventKind::Output),
        any_bytes().prop_map(EventKind::ErrorOutput),
        any_bytes().prop_map(EventKind::Input),
        any::<u64>().prop_map(EventKind::InputSize),
        any::<(u16, u16)>().prop_map(|(cols, rows)| EventKind::Resize { cols, rows }),
        ".{0,50}".prop_map(EventKind::Note),
        ".{0,50}".prop_map(|command| EventKind::ExecStart { command }),
        any::<u32>().prop_map(|status| EventKind::Exit { status }),
        (any::<u64>(), any::<u64>(), any::<[u8; 32]>()).prop_map(|(size, recorded, sha256)| {
            EventKind::Captured {
                direction: Direction::ErrorOutput,
                size,
                recorded,
                sha256,
            }
        }),
    ];
    prop::collection::vec((0u64..5000, kind), 1..30).prop_map(|steps| {
        let mut at_ms = 0;
        let event = |(later, kind)| {
            at_ms += later;
            Event { at_ms, kind }
        };
        // A run of no bytes is no event.
        let empty = |event: &Event| {
            matches!(&event.kind,
                EventKind::Output(b) | EventKind::ErrorOutput(b) | EventKind::Input(b) if b.is_empty())
        };
        steps
            .into_iter()
            .map(event)
            .filter(|event| !empty(event))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_recorded_is_played_to_the_byte_and_millisecond(parts in prop::collection::vec(events(), 1..6)) {
        let mut offset = 0;
        let mut parts = parts;
        for part in &mut parts {
            for event in part.iter_mut() {
                event.at_ms += offset;
            }
            offset = part.last().map_or(offset, |event| event.at_ms);
        }
        let chunks = record(SESSION, key(), &parts, false);
        let (played, ended) = play(&bytes(&chunks));
        prop_assert_eq!(ended, Completeness::Complete { chunks: chunks.len() as u64 });
        for one in &played {
            prop_assert_eq!(one.wall_ms, WALL + one.event.at_ms);
        }
        let played: Vec<Event> = played.into_iter().map(|one| one.event).collect();
        prop_assert_eq!(played, parts.concat());
    }

    #[test]
    fn hostile_bytes_do_not_panic(junk in prop::collection::vec(any::<u8>(), 0..600), at in 0usize..120) {
        let key = key();
        let reader = ChunkReader::new(SESSION, &key);
        prop_assert!(reader.decode(&junk).is_err());
        let mut bytes = three()[0].bytes.clone();
        let at = at.min(bytes.len());
        let end = (at + junk.len()).min(bytes.len());
        let changed = bytes[at..end] != junk[..end - at];
        bytes[at..end].copy_from_slice(&junk[..end - at]);
        prop_assert_eq!(reader.decode(&bytes).is_err(), changed);
    }
}

#[test]
fn every_flipped_bit_is_detected() {
    let key = key();
    let reader = ChunkReader::new(SESSION, &key);
    let good = &three()[1].bytes;
    assert!(reader.decode(good).is_ok());
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(reader.decode(&bad).is_err(), "bit {bit}");
    }
}

#[test]
fn every_truncation_and_every_appended_byte_is_detected() {
    let key = key();
    let reader = ChunkReader::new(SESSION, &key);
    let good = &three()[1].bytes;
    for size in 0..good.len() {
        assert!(reader.decode(&good[..size]).is_err(), "size {size}");
    }
    for byte in 0..=255 {
        let mut bad = good.clone();
        bad.push(byte);
        let refused = reader.decode(&bad).unwrap_err();
        assert_eq!(
            refused,
            ChunkError {
                seq: Some(1),
                fault: ChunkFault::Damaged
            }
        );
    }
    assert!(reader.decode(&[&good[..], &good[..]].concat()).is_err());
}

#[test]
fn each_chunk_can_be_read_alone() {
    let key = key();
    let reader = ChunkReader::new(SESSION, &key);
    let chunks = three();
    let (header, events) = reader.decode(&chunks[2].bytes).unwrap();
    assert_eq!(
        (header.seq, header.first_at_ms, header.last_at_ms),
        (2, 2000, 2000)
    );
    assert_eq!(
        (header.wall_ms, header.prev_hash, header.last),
        (WALL + 2000, chunks[1].hash, true)
    );
    assert_eq!(events, [out(2000, "four")]);
}

#[test]
fn chunk_of_another_session_or_key_is_refused() {
    let other = record(SessionId([8; 16]), key(), &[vec![out(0, "x")]], false);
    let (_, ended) = play(&bytes(&other));
    assert_eq!(
        ended,
        Completeness::StopsAt {
            seq: 0,
            why: Stop::Chunk(ChunkFault::OtherSession)
        }
    );
    let rekeyed = record(SESSION, DataKey::generate().unwrap(), &[vec![out(0, "x")]], false);
    let (_, ended) = play(&bytes(&rekeyed));
    assert_eq!(
        ended,
        Completeness::StopsAt {
            seq: 0,
            why: Stop::Chunk(ChunkFault::Damaged)
        }
    );
}

#[test]
fn missing_reordered_and_repeated_chunks_stop_playback_where_they_are() {
    let all = bytes(&three());
    let ended = |order: &[usize]| {
        let (events, ended) = play(&order.iter().map(|nth| all[*nth].clone()).collect::<Vec<_>>());
        (events.len(), ended)
    };
    let missing = |seq, found| Completeness::StopsAt {
        seq,
        why: Stop::Missing { found },
    };
    assert_eq!(ended(&[0, 1, 2]), (4, Completeness::Complete { chunks: 3 }));
    assert_eq!(ended(&[0, 2]), (2, missing(1, 2)));
    assert_eq!(ended(&[1, 2]), (0, missing(0, 1)));
    assert_eq!(ended(&[1, 0, 2]), (0, missing(0, 1)));
    assert_eq!(ended(&[0, 2, 1]), (2, missing(1, 2)));
    assert_eq!(ended(&[0, 0, 1, 2]), (2, missing(1, 0)));
    assert_eq!(
        ended(&[0, 1, 2, 2]),
        (
            4,
            Completeness::StopsAt {
                seq: 3,
                why: Stop::AfterEnd
            }
        )
    );
    assert_eq!(
        ended(&[]),
        (
            0,
            Completeness::StopsAt {
                seq: 0,
                why: Stop::NotEnded
            }
        )
    );
}

#[test]
fn chunk_of_a_rewritten_history_is_a_fork() {
    let ours = bytes(&three());
    let parts = [
        vec![out(0, "ONE"), out(10, "two")],
        vec![out(1000, "three")],
        vec![out(2000, "four")],
    ];
    let theirs = bytes(&record(SESSION, key(), &parts, false));
    let (events, ended) = play(&[ours[0].clone(), theirs[1].clone(), theirs[2].clone()]);
    assert_eq!(
        (events.len(), ended),
        (
            2,
            Completeness::StopsAt {
                seq: 1,
                why: Stop::Fork
            }
        )
    );
}

#[test]
fn interrupted_session_plays_up_to_its_last_chunk_and_says_so() {
    let parts = [vec![out(0, "one")], vec![out(1000, "two")]];
    let chunks = record(SESSION, key(), &parts, true);
    let (events, ended) = play(&bytes(&chunks));
    assert_eq!(events.len(), 2);
    assert_eq!(
        ended,
        Completeness::StopsAt {
            seq: 2,
            why: Stop::NotEnded
        }
    );
    assert_eq!(
        ended.to_string(),
        "stops at chunk 2: the session did not end, or its end was not recorded"
    );
}

#[test]
fn damage_in_the_middle_is_named() {
    let mut chunks = bytes(&three());
    *chunks[1].last_mut().unwrap() ^= 1;
    let (events, ended) = play(&chunks);
    assert_eq!(events.len(), 2);
    assert_eq!(
        ended.to_string(),
        "stops at chunk 1: it is damaged: its seal does not open"
    );
}

#[test]
fn chunk_is_due_after_a_second_or_256_kib() {
    let mut writer = ChunkWriter::new(SESSION, key());
    assert!(!writer.is_due(u64::MAX), "nothing to cut");
    assert_eq!(writer.cut(5).unwrap(), None);
    writer.push(out(100, "x"), WALL).unwrap();
    assert!(!writer.is_due(1099) && writer.is_due(1100));
    assert_eq!(writer.cut(1100).unwrap().unwrap().seq, 0);
    assert!(!writer.is_due(9999));
    writer
        .push(
            Event {
                at_ms: 1100,
                kind: EventKind::Output(vec![0; CUT_AFTER_BYTES]),
            },
            WALL,
        )
        .unwrap();
    assert!(writer.is_due(1100));
    assert_eq!(writer.cut(1100).unwrap().unwrap().seq, 1);
    assert_eq!(writer.pending_bytes(), 0);
}

#[test]
fn times_that_go_back_are_moved_up() {
    let mut writer = ChunkWriter::new(SESSION, key());
    writer.push(out(500, "a"), WALL).unwrap();
    writer.push(out(400, "b"), WALL).unwrap();
    let mut chunks = vec![writer.cut(900).unwrap().unwrap().bytes];
    writer.push(out(600, "c"), WALL).unwrap();
    chunks.push(writer.finish(0, WALL).unwrap().bytes);
    let (events, ended) = play(&chunks);
    assert_eq!(
        events.iter().map(|played| played.event.at_ms).collect::<Vec<_>>(),
        [500, 500, 900]
    );
    assert_eq!(ended, Completeness::Complete { chunks: 2 });
}

#[test]
fn an_empty_session_is_complete_and_an_ended_writer_takes_nothing() {
    let mut writer = ChunkWriter::new(SESSION, key());
    let chunk = writer.finish(10, WALL).unwrap();
    assert!(chunk.last);
    let (events, ended) = play(&[chunk.bytes]);
    assert_eq!((events.len(), ended), (0, Completeness::Complete { chunks: 1 }));
    assert_eq!(writer.push(out(0, "x"), WALL).unwrap_err(), PushError::Ended);
    assert_eq!(writer.cut(0).unwrap_err(), CutError::Ended);
    assert_eq!(writer.finish(0, 0).unwrap_err(), CutError::Ended);
}

#[test]
fn a_writer_that_is_not_cut_refuses_before_it_grows_past_the_bound() {
    let mut writer = ChunkWriter::new(SESSION, key());
    let big = || Event {
        at_ms: 0,
        kind: EventKind::Output((0..1 << 20).map(|n: u32| (n % 251) as u8).collect()),
    };
    let taken = (0..10).take_while(|_| writer.push(big(), WALL).is_ok()).count();
    assert_eq!(taken, 3);
    assert_eq!(writer.push(big(), WALL).unwrap_err(), PushError::Full);
    assert!(writer.pending_bytes() <= PLAIN_BYTES_MAX);
    let chunk = writer.cut(0).unwrap().unwrap();
    writer.push(big(), WALL).unwrap();
    let key = key();
    let (_, events) = ChunkReader::new(SESSION, &key).decode(&chunk.bytes).unwrap();
    let size: usize = events
        .iter()
        .map(|e| {
            if let EventKind::Output(b) = &e.kind {
                b.len()
            } else {
                0
            }
        })
        .sum();
    assert_eq!(size, 3 << 20);
    let many = || Event {
        at_ms: 0,
        kind: EventKind::InputSize(1),
    };
    let mut writer = ChunkWriter::new(SESSION, DataKey::generate().unwrap());
    let taken = (0..1 << 17)
        .take_while(|_| writer.push(many(), WALL).is_ok())
        .count();
    assert_eq!(taken, 1 << 16);
    let too_long = Event {
        at_ms: 0,
        kind: EventKind::Note("x".repeat(300 << 10)),
    };
    assert_eq!(writer.push(too_long, WALL).unwrap_err(), PushError::TooLong);
    let too_long = Event {
        at_ms: 0,
        kind: EventKind::Output(vec![0; (1 << 20) + 1]),
    };
    assert_eq!(writer.push(too_long, WALL).unwrap_err(), PushError::TooLong);
}

#[test]
fn incompressible_chunks_of_the_largest_size_are_within_the_bound() {
    let mut noise = vec![0; 1 << 20];
    let mut state = 1u64;
    for byte in &mut noise {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    let mut writer = ChunkWriter::new(SESSION, key());
    for _ in 0..3 {
        noise.rotate_left(1);
        writer
            .push(
                Event {
                    at_ms: 0,
                    kind: EventKind::Output(noise.clone()),
                },
                WALL,
            )
            .unwrap();
    }
    let chunk = writer.cut(0).unwrap().unwrap();
    assert!(chunk.bytes.len() <= CHUNK_BYTES_MAX);
    let key = key();
    assert!(ChunkReader::new(SESSION, &key).decode(&chunk.bytes).is_ok());
}

#[test]
fn nothing_of_the_plain_text_shows_in_a_chunk() {
    let secret = "correct horse battery staple";
    let chunks = record(SESSION, key(), &[vec![out(0, secret)]], false);
    let found = chunks[0]
        .bytes
        .windows(6)
        .any(|window| secret.as_bytes().windows(6).any(|part| part == window));
    assert!(!found);
    // Two sessions that show the same have nothing in common behind the header.
    let again = record(
        SessionId([8; 16]),
        DataKey::generate().unwrap(),
        &[vec![out(0, secret)]],
        false,
    );
    assert!(
        !chunks[0].bytes[88..]
            .windows(8)
            .any(|w| again[0].bytes[88..].windows(8).any(|v| v == w))
    );
}

#[test]
fn a_recording_is_searched_and_exported_through_its_chunks() {
    // "€" is cut between two chunks.
    let parts = [
        vec![
            Event {
                at_ms: 0,
                kind: EventKind::Resize { cols: 132, rows: 43 },
            },
            Event {
                at_ms: 100,
                kind: EventKind::Output(b"price: \xe2\x82".to_vec()),
            },
        ],
        vec![Event {
            at_ms: 1200,
            kind: EventKind::Output(b"\xac 5\r\n".to_vec()),
        }],
        vec![Event {
            at_ms: 2000,
            kind: EventKind::Exit { status: 0 },
        }],
    ];
    let chunks = bytes(&record(SESSION, key(), &parts, false));
    let (events, _) = play(&chunks);
    let found = search(events.clone(), &Query::new("€ 5", false).unwrap(), 10);
    assert_eq!(
        found,
        [Match {
            at_ms: 1200,
            wall_ms: WALL + 1200,
            before: "price: ".into(),
            text: "€ 5".into(),
            after: String::new(),
        }]
    );
    let mut cast = Vec::new();
    let header = CastHeader {
        cols: 80,
        rows: 24,
        timestamp: WALL / 1000,
        title: None,
        redacted: Vec::new(),
    };
    write_asciicast(header, events, &mut cast).unwrap();
    let cast = String::from_utf8(cast).unwrap();
    assert_eq!(
        cast,
        "{\"version\":2,\"width\":132,\"height\":43,\"timestamp\":1800000000}\n\
         [0.100,\"o\",\"price: \"]\n[1.200,\"o\",\"€ 5\\r\\n\"]\n[2.000,\"m\",\"exit status 0\"]\n"
    );
}

/// The form of release 0.1, kept for good: a later release must still read it.
#[test]
fn recording_of_format_1_is_still_read() {
    let stored = include_str!("data/recording_v1.hex");
    let chunks: Vec<Vec<u8>> = stored.lines().map(unhex).collect();
    let (events, ended) = play(&chunks);
    assert_eq!(ended, Completeness::Complete { chunks: 2 });
    let events: Vec<Event> = events.into_iter().map(|played| played.event).collect();
    assert_eq!(events, fixture().concat());
}

fn fixture() -> [Vec<Event>; 2] {
    let at = |at_ms, kind| Event { at_ms, kind };
    [
        vec![
            at(0, EventKind::Resize { cols: 80, rows: 24 }),
            at(
                1,
                EventKind::ExecStart {
                    command: "make".into(),
                },
            ),
            at(2, EventKind::Output(b"out\xff".to_vec())),
            at(3, EventKind::ErrorOutput(b"err".to_vec())),
            at(4, EventKind::Input(b"in".to_vec())),
            at(5, EventKind::InputSize(6)),
        ],
        vec![
            at(1000, EventKind::Note("note".into())),
            at(
                1001,
                EventKind::Captured {
                    direction: Direction::Output,
                    size: 9,
                    recorded: 4,
                    sha256: [1; 32],
                },
            ),
            at(1002, EventKind::Exit { status: 3 }),
        ],
    ]
}

fn unhex(line: &str) -> Vec<u8> {
    (0..line.len() / 2)
        .map(|n| u8::from_str_radix(&line[2 * n..2 * n + 2], 16).unwrap())
        .collect()
}

#[test]
#[ignore = "prints the fixture, for a new format version"]
fn print_fixture() {
    for chunk in record(SESSION, key(), &fixture(), false) {
        println!(
            "{}",
            chunk
                .bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        );
    }
}

/// Whoever goes on in the middle proves each chunk against the one before it, from there on.
#[test]
fn a_chain_begins_at_any_chunk_whose_predecessor_is_known() {
    let part = |at_ms: u64| {
        vec![Event {
            at_ms,
            kind: EventKind::Output(format!("at {at_ms}\r\n").into_bytes()),
        }]
    };
    let chunks = bytes(&record(SESSION, key(), &[part(0), part(1200), part(2400)], false));
    let key = key();
    let mut chain = Chain::from_chunk(SESSION, &key, 1, chunk_hash(&chunks[0]));
    for (chunk, at_ms) in chunks[1..].iter().zip([1200, 2400]) {
        let events = chain.feed(chunk).unwrap();
        assert_eq!(events[0].event.at_ms, at_ms);
    }
    let mut other = Chain::from_chunk(SESSION, &key, 1, [7; 32]);
    assert_eq!(other.feed(&chunks[1]), Err(Stop::Fork));
    let mut later = Chain::from_chunk(SESSION, &key, 2, chunk_hash(&chunks[1]));
    assert_eq!(later.feed(&chunks[1]), Err(Stop::Missing { found: 1 }));
}
