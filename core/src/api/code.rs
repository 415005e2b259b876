//! The words for programs in every error of the API.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $word:tt;)*) => {
        // The status of the answer is chosen in `web/src/error.rs`.
        /// What went wrong, as a word for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum ErrorCode { $($(#[$doc])* #[serde(rename = $word)] $variant,)* }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The word itself.
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $word,)* }
            }
        }
    };
}

codes! {
    /// The request makes no sense.
    Invalid = "invalid";
    /// No or no usable credential.
    Unauthenticated = "unauthenticated";
    /// Not allowed.
    Refused = "refused";
    /// Locked out.
    Locked = "locked";
    /// Whoever sits at the browser has to prove again who they are.
    Confirm = "confirm";
    /// Not there, or not to be seen.
    NotFound = "not_found";
    /// A session that has ended: asking again will not bring it back.
    SessionOver = "session_over";
    /// A session that this node has not heard of: it may have begun a moment ago elsewhere, or never.
    SessionUnknown = "session_unknown";
    /// Somebody was faster, or what is there contradicts it.
    Conflict = "conflict";
    /// The cluster cannot do this as it is now.
    Operation = "operation";
    /// Larger than is taken.
    TooLarge = "too_large";
    /// Too many tries: later, it may pass.
    RateLimited = "rate_limited";
    /// So many terminals are open that there is no place for another.
    TooManyTerminals = "too_many_terminals";
    /// The node is busy or cut off, and nothing happened.
    Unavailable = "unavailable";
    /// It is not known yet whether it happened: repeated with the same request id, it tells.
    UnknownOutcome = "unknown_outcome";
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
