//! Who and what a certificate names: values of these types are valid.

use crate::text::{self, TextError};
use std::fmt;
use std::str::FromStr;

const NAMES_MAX: usize = 256;

/// The logins a user certificate opens: at least one, each of safe characters, none twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principals(Vec<String>);

/// The names a host certificate speaks for: at least one, no wildcards, none twice, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNames(Vec<String>);

impl Principals {
    /// Takes logins, refusing an empty list: to OpenSSH that means everybody.
    pub fn new<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Result<Self, TextError> {
        collect(names.into_iter().map(Into::into), text::principal).map(Self)
    }

    /// The logins, in the order given.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl HostNames {
    /// Takes host names and addresses.
    pub fn new<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Result<Self, TextError> {
        collect(
            names.into_iter().map(|name| name.into().to_ascii_lowercase()),
            text::host_name,
        )
        .map(Self)
    }

    /// The names, in the order given.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

fn collect(
    names: impl Iterator<Item = String>,
    check: impl Fn(&str) -> Result<(), TextError>,
) -> Result<Vec<String>, TextError> {
    let mut kept: Vec<String> = Vec::new();
    for name in names {
        check(&name)?;
        if !kept.contains(&name) {
            kept.push(name);
        }
        if kept.len() > NAMES_MAX {
            return Err(TextError::TooLong { max: NAMES_MAX });
        }
    }
    if kept.is_empty() {
        Err(TextError::Empty)
    } else {
        Ok(kept)
    }
}

/// The extensions that OpenSSH knows in user certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StandardExtension {
    /// `permit-X11-forwarding`
    X11Forwarding,
    /// `permit-agent-forwarding`
    AgentForwarding,
    /// `permit-port-forwarding`
    PortForwarding,
    /// `permit-pty`
    Pty,
    /// `permit-user-rc`
    UserRc,
}

impl StandardExtension {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::X11Forwarding,
        Self::AgentForwarding,
        Self::PortForwarding,
        Self::Pty,
        Self::UserRc,
    ];

    /// The name in the certificate.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X11Forwarding => "permit-X11-forwarding",
            Self::AgentForwarding => "permit-agent-forwarding",
            Self::PortForwarding => "permit-port-forwarding",
            Self::Pty => "permit-pty",
            Self::UserRc => "permit-user-rc",
        }
    }
}

impl fmt::Display for StandardExtension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StandardExtension {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or(TextError::Character { at: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lists_are_refused_and_doubles_kept_once() {
        assert_eq!(Principals::new(Vec::<String>::new()), Err(TextError::Empty));
        assert_eq!(HostNames::new(Vec::<String>::new()), Err(TextError::Empty));
        assert_eq!(Principals::new(["a", "b", "a"]).unwrap().as_slice(), ["a", "b"]);
        assert_eq!(HostNames::new(["Web", "web"]).unwrap().as_slice(), ["web"]);
    }

    #[test]
    fn a_flood_of_names_is_refused() {
        assert!(Principals::new((0..257).map(|n| n.to_string())).is_err());
        assert!(Principals::new((0..256).map(|n| n.to_string())).is_ok());
    }
}
