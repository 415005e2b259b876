//! Which variables a client may set for its session.

/// Patterns of names; `*` at the end of one stands for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedEnv(Vec<String>);

/// What changes how programs are found or loaded is never accepted, whatever the list says: the session would run
/// something that its record does not name.
const NEVER: &[&str] = &[
    "LD_*",
    "DYLD_*",
    "BASH_*",
    "PYTHON*",
    "PERL*",
    "RUBY*",
    "NODE_*",
    "GIT_*",
    "MALLOC_*",
    "GCONV_PATH",
    "LOCPATH",
    "NLSPATH",
    "TERMINFO*",
    "TERMCAP",
    "ENV",
    "IFS",
    "PATH",
    "SHELL",
    "SHELLOPTS",
    "HOME",
    "USER",
    "LOGNAME",
    "MAIL",
    "PS4",
    "PROMPT_COMMAND",
    "ZDOTDIR",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "SSH_*",
    "XAUTHORITY",
    "DISPLAY",
    "TMPDIR",
    "HOSTALIASES",
    "RES_OPTIONS",
    "RESOLV_*",
    "LOCALDOMAIN",
    "GLIBC_TUNABLES",
    "XDG_*",
    "JAVA_*",
    "_JAVA_OPTIONS",
    "CDPATH",
    "FPATH",
    "INPUTRC",
    "LESSOPEN",
    "LESSCLOSE",
];

/// The longest value; locale names and terminal names are shorter by far.
const VALUE: usize = 1024;

/// How many one session may set.
pub(crate) const MOST: usize = 64;

impl Default for AllowedEnv {
    fn default() -> Self {
        AllowedEnv::new(["LANG", "LC_*", "TERM", "COLORTERM"])
    }
}

impl AllowedEnv {
    /// These, and nothing else.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        AllowedEnv(patterns.into_iter().map(str::to_owned).collect())
    }

    /// Whether a client may set `name` to `value`.
    pub fn allows(&self, name: &str, value: &str) -> bool {
        let well_formed = !name.is_empty()
            && name.len() <= 128
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && value.len() <= VALUE
            && !value.bytes().any(|b| b.is_ascii_control());
        well_formed
            && !NEVER.iter().any(|pattern| matches(pattern, name))
            && self.0.iter().any(|pattern| matches(pattern, name))
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loads_programs_is_never_accepted() {
        let all = AllowedEnv::new(["*"]);
        for name in [
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "BASH_ENV",
            "PATH",
            "IFS",
            "PYTHONPATH",
            "GLIBC_TUNABLES",
        ] {
            assert!(!all.allows(name, "x"), "{name}");
        }
        assert!(all.allows("FOO", "x"));
    }

    #[test]
    fn the_usual_list_is_locale_and_terminal() {
        let usual = AllowedEnv::default();
        assert!(
            usual.allows("LANG", "C.UTF-8") && usual.allows("LC_ALL", "C") && usual.allows("COLORTERM", "1")
        );
        assert!(!usual.allows("FOO", "x") && !usual.allows("LANGUAGE", "x"));
        assert!(
            !usual.allows("LANG", "a\nb")
                && !usual.allows("LC_=A", "x")
                && !usual.allows("LANG", &"x".repeat(2000))
        );
    }
}
