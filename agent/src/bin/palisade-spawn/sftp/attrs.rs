//! Attributes of files, as they are written and as they are set.

use super::wire::{Reader, Short};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, fchown, lchown};
use std::path::Path;

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const PERMISSIONS: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 0x8000_0000;

/// What may be set of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attrs {
    pub(super) size: Option<u64>,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mode: Option<u32>,
    /// Of the last access and the last change, in seconds since 1970.
    pub(super) times: Option<(u32, u32)>,
}

impl Attrs {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Attrs, Short> {
        let flags = from.number()?;
        let mut attrs = Attrs::default();
        if flags & SIZE != 0 {
            attrs.size = Some(from.long()?);
        }
        if flags & OWNER != 0 {
            attrs.owner = Some((from.number()?, from.number()?));
        }
        if flags & PERMISSIONS != 0 {
            attrs.mode = Some(from.number()? & 0o7777);
        }
        if flags & TIMES != 0 {
            attrs.times = Some((from.number()?, from.number()?));
        }
        if flags & EXTENDED != 0 {
            for _ in 0..from.number()? {
                from.string()?;
                from.string()?;
            }
        }
        Ok(attrs)
    }

    /// Sets them by name. Symbolic links are followed unless it is the link that is meant.
    pub(super) fn set(&self, path: &Path, follow: bool) -> io::Result<()> {
        if let (Some(size), true) = (self.size, follow) {
            OpenOptions::new().write(true).open(path)?.set_len(size)?;
        }
        if let (Some(mode), true) = (self.mode, follow) {
            std::fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        if self.times.is_some() {
            let flags = if follow {
                AtFlags::empty()
            } else {
                AtFlags::SYMLINK_NOFOLLOW
            };
            utimensat(CWD, path, &self.timestamps(), flags)?;
        }
        match self.owner {
            Some((user, group)) if follow => chown(path, Some(user), Some(group)),
            Some((user, group)) => lchown(path, Some(user), Some(group)),
            None => Ok(()),
        }
    }

    /// Sets them of an open file.
    pub(super) fn set_open(&self, file: &File) -> io::Result<()> {
        if let Some(size) = self.size {
            file.set_len(size)?;
        }
        if let Some(mode) = self.mode {
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        if self.times.is_some() {
            rustix::fs::futimens(file, &self.timestamps())?;
        }
        match self.owner {
            Some((user, group)) => fchown(file, Some(user), Some(group)),
            None => Ok(()),
        }
    }

    fn timestamps(&self) -> Timestamps {
        let (access, change) = self.times.unwrap_or_default();
        let at = |seconds: u32| Timespec {
            tv_sec: i64::from(seconds),
            tv_nsec: 0,
        };
        Timestamps {
            last_access: at(access),
            last_modification: at(change),
        }
    }
}

/// The attributes of a file as they are written.
pub(super) fn bytes(of: &Metadata) -> Vec<u8> {
    let seconds = |at: i64| u32::try_from(at).unwrap_or(if at < 0 { 0 } else { u32::MAX });
    let mut all = Vec::with_capacity(32);
    all.extend((SIZE | OWNER | PERMISSIONS | TIMES).to_be_bytes());
    all.extend(of.size().to_be_bytes());
    for number in [
        of.uid(),
        of.gid(),
        of.mode(),
        seconds(of.atime()),
        seconds(of.mtime()),
    ] {
        all.extend(number.to_be_bytes());
    }
    all
}
