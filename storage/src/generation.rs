//! A store's directory is one of several numbered generations, and a small pointer file says which one counts.
//! So a whole store can be replaced (snapshot install, compaction) by building the next generation beside it and
//! switching the pointer, which a power cut either leaves as it was or finds done.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    error::{Damage, OpenError},
    files,
};

/// Numbered directories `<prefix>-<n>` below `parent`, and the pointer file `<prefix>.current`.
#[derive(Debug, Clone)]
pub(crate) struct Generations {
    parent: PathBuf,
    prefix: &'static str,
}

/// What was found on the disk.
pub(crate) struct Found {
    /// The generation in force.
    pub(crate) number: u64,
    /// It has just been decided on, and holds nothing yet.
    pub(crate) fresh: bool,
}

impl Generations {
    pub(crate) fn new(parent: &Path, prefix: &'static str) -> Generations {
        Generations {
            parent: parent.to_path_buf(),
            prefix,
        }
    }

    pub(crate) fn lock_path(&self) -> PathBuf {
        self.parent.join(format!("{}.lock", self.prefix))
    }

    pub(crate) fn notes_path(&self) -> PathBuf {
        self.parent.join(format!("{}.notes", self.prefix))
    }

    fn pointer(&self) -> PathBuf {
        self.parent.join(format!("{}.current", self.prefix))
    }

    fn creating(&self) -> PathBuf {
        self.parent.join(format!("{}.creating", self.prefix))
    }

    pub(crate) fn dir(&self, number: u64) -> PathBuf {
        self.parent.join(format!("{}-{number}", self.prefix))
    }

    /// Finds the generation in force, and removes what an interrupted creation or replacement left behind.
    /// A first creation is only over after [`Generations::created`]; until then nothing was acknowledged, so a
    /// half-made one is wiped. Directories without a pointer otherwise mean that something was lost.
    pub(crate) fn find(&self, must_exist: bool) -> Result<Found, OpenError> {
        let io_err = |e| OpenError::io(&self.parent, e);
        let pointer = self.pointer();
        if let Some(number) = self.read_pointer()? {
            if !self.dir(number).is_dir() {
                return Err(Damage::new(
                    &self.dir(number),
                    "the directory",
                    format!("{} points to it and it is missing", pointer.display()),
                )
                .into());
            }
            files::remove_all(&self.creating()).map_err(io_err)?;
            self.remove_others(number)?;
            return Ok(Found { number, fresh: false });
        }
        let half_made = self.creating().exists();
        if !half_made && !self.numbers()?.is_empty() {
            return Err(Damage::new(
                &pointer,
                "the pointer file",
                "it is missing, and the data is there",
            )
            .into());
        }
        if must_exist {
            return Err(OpenError::Missing {
                path: self.parent.join(self.prefix),
            });
        }
        files::replace_file(&self.creating(), b"first creation in progress\n", 0o600).map_err(io_err)?;
        self.remove_others(0)?;
        Ok(Found {
            number: 1,
            fresh: true,
        })
    }

    /// The first generation is complete and durable.
    pub(crate) fn created(&self) -> Result<(), OpenError> {
        let io_err = |e| OpenError::io(&self.parent, e);
        self.switch(1)?;
        files::remove_all(&self.creating()).map_err(io_err)?;
        files::sync_dir(&self.parent).map_err(io_err)
    }

    /// Makes `number`, which must be complete and durable, the generation in force.
    pub(crate) fn switch(&self, number: u64) -> Result<(), OpenError> {
        let body = format!("palisade 1 {}-{number}", self.prefix);
        let text = format!("{body} {:08x}\n", crc32c::crc32c(body.as_bytes()));
        files::replace_file(&self.pointer(), text.as_bytes(), 0o600)
            .map_err(|e| OpenError::io(&self.pointer(), e))
    }

    fn read_pointer(&self) -> Result<Option<u64>, OpenError> {
        let path = self.pointer();
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(OpenError::io(&path, e)),
        };
        let damaged = |why: &str| OpenError::from(Damage::new(&path, "the pointer file", why));
        let (body, crc) = text
            .trim_end()
            .rsplit_once(' ')
            .ok_or_else(|| damaged("it is cut short"))?;
        if crc != format!("{:08x}", crc32c::crc32c(body.as_bytes())) {
            return Err(damaged("bad checksum"));
        }
        let mut words = body.split(' ');
        let version = words
            .nth(1)
            .and_then(|v| v.parse().ok())
            .ok_or_else(|| damaged("no version"))?;
        if version != 1 {
            return Err(OpenError::Version {
                path,
                found: version,
                known: 1,
            });
        }
        let number = words
            .next()
            .and_then(|name| name.strip_prefix(self.prefix)?.strip_prefix('-')?.parse().ok())
            .ok_or_else(|| damaged("no generation number"))?;
        Ok(Some(number))
    }

    fn numbers(&self) -> Result<Vec<u64>, OpenError> {
        let io_err = |e| OpenError::io(&self.parent, e);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.parent).map_err(io_err)? {
            let name = entry.map_err(io_err)?.file_name();
            if let Some(n) = name
                .to_str()
                .and_then(|n| n.strip_prefix(self.prefix)?.strip_prefix('-'))
                .and_then(|n| n.parse().ok())
            {
                numbers.push(n);
            }
        }
        Ok(numbers)
    }

    /// Removes every generation but `keep`.
    pub(crate) fn remove_others(&self, keep: u64) -> Result<(), OpenError> {
        for n in self.numbers()? {
            if n != keep {
                let dir = self.dir(n);
                files::remove_all(&dir).map_err(|e| OpenError::io(&dir, e))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_made_first_generation_is_made_again_and_a_lost_pointer_is_damage() {
        let d = tempfile::tempdir().expect("tempdir");
        let g = Generations::new(d.path(), "sm");
        assert!(g.find(false).expect("find").fresh);
        fs::create_dir(g.dir(1)).expect("mkdir");
        fs::write(g.dir(1).join("db"), b"half").expect("write");
        // killed here: not created() yet
        assert!(g.find(false).expect("find").fresh);
        assert!(!g.dir(1).exists());
        fs::create_dir(g.dir(1)).expect("mkdir");
        g.created().expect("created");
        assert!(!g.find(false).expect("find").fresh);
        fs::remove_file(g.pointer()).expect("rm");
        let e = g.find(false).err().expect("damage").to_string();
        assert!(e.contains("sm.current"), "{e}");
    }

    #[test]
    fn a_switch_leaves_one_generation_and_a_changed_pointer_is_named() {
        let d = tempfile::tempdir().expect("tempdir");
        let g = Generations::new(d.path(), "sm");
        g.find(false).expect("find");
        fs::create_dir(g.dir(1)).expect("mkdir");
        g.created().expect("created");
        fs::create_dir(g.dir(2)).expect("mkdir");
        assert_eq!(g.find(true).expect("not switched").number, 1);
        assert!(!g.dir(2).exists());
        fs::create_dir(g.dir(2)).expect("mkdir");
        g.switch(2).expect("switch");
        assert_eq!(g.find(true).expect("switched").number, 2);
        assert!(!g.dir(1).exists());
        fs::write(g.pointer(), b"palisade 1 sm-9 00000000\n").expect("write");
        assert!(
            g.find(true)
                .err()
                .expect("damage")
                .to_string()
                .contains("bad checksum")
        );
    }

    #[test]
    fn a_store_that_must_exist_is_not_made_anew() {
        let d = tempfile::tempdir().expect("tempdir");
        let g = Generations::new(d.path(), "log");
        assert!(matches!(g.find(true), Err(OpenError::Missing { .. })));
    }
}
