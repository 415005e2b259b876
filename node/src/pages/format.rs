//! The file of an audit page: a clear header, then a sealed body.
//!
//! ```text
//! 0   magic "PALPAGE"    7
//! 7   version            1
//! 8   cluster id        16
//! 24  first seq          8
//! 32  count              4   a power of two that divides the first seq, at most 1024
//! 36  plain length       4   at most 2 MiB and what stands around the events
//! 40  earliest time      8   in milliseconds since 1970
//! 48  latest time        8
//! 56  subtree root      32   of the audit tree, over the events (RFC 6962)
//! 88  AES-256-GCM of zstd of ( length 4 | stored bytes of an event )*, then its tag 16
//! ```
//! Numbers are big-endian. The header is the associated data, so that no bit of it can change; the file is named by
//! the SHA-256 of all of it. The key encrypts this one file and lies, sealed, in the page's manifest.

use palisade_core::name::ClusterId;
use palisade_core::page::{PAGE_BYTES_MAX, PAGE_EVENTS_MAX, PageEvents, PageManifest, is_page};
use palisade_session::recording::DataKey;

const MAGIC: &[u8; 7] = b"PALPAGE";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 88;
const LEVEL: i32 = 3;
/// What stands before an event.
const LENGTH_BYTES: usize = 4;
const PLAIN_BYTES_MAX: usize = PAGE_BYTES_MAX + LENGTH_BYTES * PAGE_EVENTS_MAX as usize;

/// What is wrong with a page's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// Too short, or something else.
    #[error("it is not an audit page")]
    NotAPage,
    /// Written by a newer release.
    #[error("it has format {0}, which is unknown to this release")]
    UnknownVersion(u8),
    /// The header does not say what the manifest says.
    #[error("it is not the page that the manifest speaks of")]
    Another,
    /// The seal does not open.
    #[error("it is damaged: its seal does not open")]
    Damaged,
    /// What was sealed is no row of events, or too large.
    #[error("it does not hold what its header says")]
    Content,
    /// The events are not those of the log.
    #[error("its events are not those that the log vouches for")]
    Root,
    /// The system gave out.
    #[error("it cannot be made: {0}")]
    Make(String),
}

fn header(cluster: &ClusterId, page: &PageEvents, plain: usize) -> Result<[u8; HEADER_BYTES], PageFault> {
    let failed = |why: &str| PageFault::Make(why.to_owned());
    let summary = page.summary().map_err(|e| failed(&e.to_string()))?;
    let count = u32::try_from(page.events.len()).map_err(|_| failed("too many events"))?;
    let plain = u32::try_from(plain).map_err(|_| failed("too large"))?;
    let mut out = [0; HEADER_BYTES];
    out[..7].copy_from_slice(MAGIC);
    out[7] = VERSION;
    out[8..24].copy_from_slice(&cluster_bytes(cluster));
    out[24..32].copy_from_slice(&page.first.to_be_bytes());
    out[32..36].copy_from_slice(&count.to_be_bytes());
    out[36..40].copy_from_slice(&plain.to_be_bytes());
    out[40..48].copy_from_slice(&summary.earliest.ms().to_be_bytes());
    out[48..56].copy_from_slice(&summary.latest.ms().to_be_bytes());
    out[56..].copy_from_slice(&page.root());
    Ok(out)
}

/// The id's 16 bytes; an id is a UUID.
fn cluster_bytes(cluster: &ClusterId) -> [u8; 16] {
    let id = uuid::Uuid::parse_str(cluster.as_str()).expect("a cluster id is a UUID");
    id.into_bytes()
}

/// The file of a page.
pub fn write(cluster: &ClusterId, page: &PageEvents, key: &DataKey) -> Result<Vec<u8>, PageFault> {
    let made = |e: &dyn std::fmt::Display| PageFault::Make(e.to_string());
    if !is_page(page.first, page.events.len() as u64) || page.bytes() > PAGE_BYTES_MAX {
        return Err(PageFault::Make("these events are not one page".into()));
    }
    let mut plain = Vec::with_capacity(page.bytes() + LENGTH_BYTES * page.events.len());
    for event in &page.events {
        // Below the bound that was just checked.
        plain.extend_from_slice(&(event.len() as u32).to_be_bytes());
        plain.extend_from_slice(event);
    }
    let header = header(cluster, page, plain.len())?;
    let packed = zstd::bulk::compress(&plain, LEVEL).map_err(|e| made(&e))?;
    let sealed = key.seal_only(&header, packed).map_err(|e| made(&e))?;
    Ok([header.as_slice(), &sealed].concat())
}

/// Reads a page's file. Nothing in it is believed before the key, the manifest's range and its root have vouched for it.
pub fn read(
    cluster: &ClusterId,
    manifest: &PageManifest,
    key: &DataKey,
    file: &[u8],
) -> Result<PageEvents, PageFault> {
    let (head, body) = file
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(PageFault::NotAPage)?;
    if !head.starts_with(MAGIC) {
        return Err(PageFault::NotAPage);
    }
    if head[7] != VERSION {
        return Err(PageFault::UnknownVersion(head[7]));
    }
    let packed = key.open_only(head, body).map_err(|_| PageFault::Damaged)?;
    let number = |at: usize| {
        head[at..at + 4]
            .iter()
            .fold(0usize, |n, byte| n << 8 | usize::from(*byte))
    };
    let (count, size) = (number(32), number(36));
    if head[8..24] != cluster_bytes(cluster)
        || head[24..32] != manifest.first.to_be_bytes()
        || head[32..36] != manifest.count.to_be_bytes()
    {
        return Err(PageFault::Another);
    }
    if size > PLAIN_BYTES_MAX || count as u64 > PAGE_EVENTS_MAX {
        return Err(PageFault::Content);
    }
    let plain = zstd::bulk::decompress(&packed, size).map_err(|_| PageFault::Content)?;
    let mut rest = plain.as_slice();
    let mut events = Vec::with_capacity(count);
    while let Some((length, after)) = rest.split_first_chunk::<LENGTH_BYTES>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (event, after) = after.split_at_checked(length).ok_or(PageFault::Content)?;
        events.push(event.to_vec());
        rest = after;
    }
    if !rest.is_empty() || events.len() != count || plain.len() != size {
        return Err(PageFault::Content);
    }
    let page = PageEvents {
        first: manifest.first,
        events,
    };
    if hex::encode(page.root()) != manifest.root || head[56..] != page.root() {
        return Err(PageFault::Root);
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_core::command::Sealed;
    use palisade_core::event::{Event, EventKind};
    use palisade_core::time::Timestamp;
    use proptest::prelude::*;

    fn cluster() -> ClusterId {
        ClusterId::parse("5b0f3ab6-7c43-4e35-9a9f-6a60f8f8a001").expect("a UUID")
    }

    fn key() -> DataKey {
        DataKey::from_bytes(&[7; 32]).expect("32 bytes")
    }

    fn page(first: u64, count: u64) -> PageEvents {
        let event = |n: u64| {
            let mut event = Event::new(EventKind::Login)
                .user("alice")
                .message(format!("number {n}"));
            event.time = Timestamp::from_secs(1_800_000_000 + n);
            event.to_bytes()
        };
        PageEvents {
            first,
            events: (first..first + count).map(event).collect(),
        }
    }

    fn manifest(page: &PageEvents) -> PageManifest {
        PageManifest {
            number: 0,
            first: page.first,
            count: u32::try_from(page.events.len()).expect("few"),
            root: hex::encode(page.root()),
            file_sha256: String::new(),
            sealed_key: Sealed(Vec::new()),
            summary: page.summary().expect("events"),
        }
    }

    #[test]
    fn a_page_reads_what_was_written_and_nothing_else() {
        let page = page(8, 4);
        let file = write(&cluster(), &page, &key()).expect("a page");
        let read = |manifest: &PageManifest, key: &DataKey, file: &[u8]| {
            super::read(&cluster(), manifest, key, file)
        };
        let good = manifest(&page);
        assert_eq!(read(&good, &key(), &file), Ok(page));
        let other = DataKey::from_bytes(&[8; 32]).expect("32 bytes");
        assert_eq!(read(&good, &other, &file), Err(PageFault::Damaged));
        let moved = PageManifest {
            first: 12,
            ..good.clone()
        };
        assert_eq!(read(&moved, &key(), &file), Err(PageFault::Another));
        let forged = PageManifest {
            root: "00".repeat(32),
            ..good.clone()
        };
        assert_eq!(read(&forged, &key(), &file), Err(PageFault::Root));
        let elsewhere = ClusterId::parse("5b0f3ab6-7c43-4e35-9a9f-6a60f8f8a002").expect("a UUID");
        assert_eq!(
            super::read(&elsewhere, &good, &key(), &file),
            Err(PageFault::Another)
        );
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 0x10;
            assert!(read(&good, &key(), &changed).is_err(), "byte {at}");
            assert!(read(&good, &key(), &file[..at]).is_err(), "cut at {at}");
        }
        let mut newer = file;
        newer[7] = 2;
        assert_eq!(read(&good, &key(), &newer), Err(PageFault::UnknownVersion(2)));
    }

    #[test]
    fn what_is_no_page_is_not_written() {
        for (first, count) in [(0, 0), (0, 3), (2, 4), (0, 2048)] {
            assert!(
                write(&cluster(), &page(first, count), &key()).is_err(),
                "{first}, {count}"
            );
        }
        let large = PageEvents {
            first: 0,
            events: vec![vec![0; PAGE_BYTES_MAX + 1]],
        };
        assert!(write(&cluster(), &large, &key()).is_err());
    }

    /// The first form stays readable for good.
    #[test]
    fn a_page_of_the_first_version_is_read() {
        let kept = include_str!("../../tests/data/audit_page_v1.hex");
        let file = hex::decode(kept.trim()).expect("hex");
        let page = page(4, 4);
        let found = read(&cluster(), &manifest(&page), &key(), &file);
        let now = write(&cluster(), &page, &key()).expect("a page");
        assert_eq!(found, Ok(page), "written now it is {}", hex::encode(now));
    }

    proptest! {
        #[test]
        fn garbage_is_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..400), keep in 0..90usize) {
            let page = page(4, 4);
            let file = write(&cluster(), &page, &key()).expect("a page");
            let keep = keep.min(file.len());
            bytes.splice(..0, file[..keep].iter().copied());
            prop_assert!(read(&cluster(), &manifest(&page), &key(), &bytes).is_err());
        }
    }
}
