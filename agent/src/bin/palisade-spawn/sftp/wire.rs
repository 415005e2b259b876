//! Reading requests and writing answers.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The rest of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

/// A request that ends too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Short;

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], Short> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(Short)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Short> {
        self.take(1).map(|one| one[0])
    }

    pub(super) fn number(&mut self) -> Result<u32, Short> {
        let four = self.take(4)?.try_into().map_err(|_| Short)?;
        Ok(u32::from_be_bytes(four))
    }

    pub(super) fn long(&mut self) -> Result<u64, Short> {
        let eight = self.take(8)?.try_into().map_err(|_| Short)?;
        Ok(u64::from_be_bytes(eight))
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], Short> {
        let length = usize::try_from(self.number()?).map_err(|_| Short)?;
        self.take(length)
    }

    /// A path; the empty one means here.
    pub(super) fn path(&mut self) -> Result<PathBuf, Short> {
        let bytes = self.string()?;
        let bytes = if bytes.is_empty() { b"." } else { bytes };
        Ok(Path::new(OsStr::from_bytes(bytes)).to_owned())
    }
}

/// One answer being written at the end of the output.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Answer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, kind: u8, id: u32) -> Self {
        let start = out.len();
        out.extend([0; 4]);
        out.push(kind);
        out.extend(id.to_be_bytes());
        Answer { out, start }
    }

    pub(super) fn number(self, n: u32) -> Self {
        self.out.extend(n.to_be_bytes());
        self
    }

    pub(super) fn long(self, n: u64) -> Self {
        self.out.extend(n.to_be_bytes());
        self
    }

    pub(super) fn string(self, bytes: &[u8]) -> Self {
        self.out
            .extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.out.extend_from_slice(bytes);
        self
    }

    pub(super) fn raw(self, bytes: &[u8]) -> Self {
        self.out.extend_from_slice(bytes);
        self
    }

    /// A string of at most `most` bytes, written in place by `fill`, which says how many. If there are none or it
    /// fails, the answer is taken back.
    pub(super) fn filled<E>(
        self,
        most: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Option<Self>, E> {
        let length_at = self.out.len();
        let content_at = length_at + 4;
        self.out.resize(content_at + most, 0);
        match fill(&mut self.out[content_at..]) {
            Ok(0) => {
                self.out.truncate(self.start);
                Ok(None)
            }
            Ok(n) => {
                self.out.truncate(content_at + n);
                let length = u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
                self.out[length_at..content_at].copy_from_slice(&length);
                Ok(Some(self))
            }
            Err(error) => {
                self.out.truncate(self.start);
                Err(error)
            }
        }
    }

    /// Writes the length of the whole.
    pub(super) fn end(self) {
        let length = u32::try_from(self.out.len() - self.start - 4).unwrap_or(u32::MAX);
        self.out[self.start..self.start + 4].copy_from_slice(&length.to_be_bytes());
    }
}
