//! SSH certificates: what may be signed, signing, and the check that sshd would make.

mod check;
mod issue;
mod names;
mod subject;

pub use check::{
    CertRefusal, CheckedHostCert, CheckedUserCert, check_host_cert, check_user_cert, parse_trusted_keys,
};
pub(crate) use issue::check_window;
pub use issue::{HostCertRequest, IssueError, UserCertRequest, sign_host_cert, sign_user_cert};
pub use names::{HostNames, Principals, StandardExtension};
pub use subject::{SubjectKey, SubjectKeyError};
