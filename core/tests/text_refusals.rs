//! What a person sees for each way of writing a resource wrongly: text in, error out, side by side.

use std::collections::BTreeMap;

use palisade_core::text::{self, Document, TextError};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only what is refused is looked at")]
struct Resource {
    kind: Kind,
    version: String,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Role,
    User,
    ClusterAuthPreference,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only what is refused is looked at")]
struct Metadata {
    name: Name,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Name;

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(s: String) -> Result<Self, String> {
        if s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            Ok(Self)
        } else {
            Err("a name has letters, digits and '-' only".into())
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Spec {
    allow: Allow,
    port_forwarding: Option<bool>,
    max_sessions: Option<u16>,
    record: Option<Record>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Allow {
    logins: Vec<Name>,
    labels: BTreeMap<String, Vec<String>>,
    verbs: Vec<Verb>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Create,
    Read,
    List,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "only what is refused is looked at")]
enum Record {
    Off,
    At { node: String, cap_bytes: u32 },
}

fn refused(yaml: &str) -> TextError {
    text::from_yaml::<Resource>(yaml).expect_err(yaml)
}

const GOOD: &str = "\
kind: role
version: v1
metadata:
  name: dev
spec:
  allow:
    logins: [root, 'dev']
    labels: {env: [prod], '*': ['*']}
    verbs:
    - read
    - list
  port_forwarding: true
  max_sessions: 7
  record: {at: {node: a, cap_bytes: 0x10}}
";

#[test]
fn what_is_right_is_read() {
    let read: Resource = text::from_yaml(GOOD).expect("good");
    assert!(matches!(read.kind, Kind::Role));
    assert_eq!(read.spec.max_sessions, Some(7));
    assert!(matches!(read.spec.record, Some(Record::At { cap_bytes: 16, .. })));
    text::from_yaml::<Resource>(&GOOD.replace('\n', "\r\n")).expect("with CRLF");
    text::from_yaml::<Resource>(&format!("\u{feff}---\n# comment\n{GOOD}...\n")).expect("with BOM and marks");
    let off: Resource =
        text::from_yaml("{kind: user, version: v1, metadata: {name: a}, spec: {record: off}}").expect("flow");
    assert!(matches!(off.spec.record, Some(Record::Off)));
}

/// Each case: what is replaced in GOOD, by what, and the error in full.
#[test]
fn each_fault_is_named_with_its_place() {
    let cases: &[(&str, &str, &str)] = &[
        // Names.
        (
            "    labels: {",
            "    lables: {",
            r#"line 8, column 5: unknown field "lables" in spec.allow: did you mean "labels"?"#,
        ),
        (
            "spec:",
            "spce:",
            r#"line 5, column 1: unknown field "spce": did you mean "spec"?"#,
        ),
        (
            "  max_sessions: 7",
            "  zzz: 7",
            r#"line 13, column 3: unknown field "zzz" in spec: expected one of allow, port_forwarding, max_sessions, record"#,
        ),
        (
            "max_sessions: 7",
            "maxSessions: 7",
            r#"line 13, column 3: unknown field "maxSessions" in spec: did you mean "max_sessions"?"#,
        ),
        (
            "max_sessions",
            "\"a\\eb\\u202e\"",
            r#"line 13, column 3: unknown field "a\u{1b}b\u{202e}" in spec: expected one of allow, port_forwarding, max_sessions, record"#,
        ),
        (
            "    - read",
            "    - raed",
            r#"line 10, column 7: spec.allow.verbs[0]: unknown value "raed": did you mean "read"?"#,
        ),
        (
            "    - list",
            "    - destroy",
            r#"line 11, column 7: spec.allow.verbs[1]: unknown value "destroy": expected one of create, read, list"#,
        ),
        (
            "kind: role",
            "kind: rol",
            r#"line 1, column 7: kind: unknown value "rol": did you mean "role"?"#,
        ),
        ("kind: role\n", "", r#"line 1, column 1: missing field "kind""#),
        (
            "  name: dev",
            "  labels: {}",
            r#"line 4, column 3: missing field "name" in metadata"#,
        ),
        (
            "  port_forwarding",
            "  allow: {}\n  port_forwarding",
            r#"line 12, column 3: repeated field "allow" in spec: it already stands on line 6"#,
        ),
        (
            "{env: [prod], ",
            "{env: [prod], env: [x], ",
            r#"line 8, column 27: repeated field "env" in spec.allow.labels: it already stands on line 8"#,
        ),
        (
            "node: a",
            "nodes: a",
            r#"line 14, column 17: unknown field "nodes" in spec.record.at: did you mean "node"?"#,
        ),
        (
            "{at: ",
            "{att: ",
            r#"line 14, column 12: spec.record: unknown value "att": did you mean "at"?"#,
        ),
        // Types.
        (
            "true",
            "yes",
            r#"line 12, column 20: spec.port_forwarding: expected true or false, found "yes": write true"#,
        ),
        (
            "true",
            "Off",
            r#"line 12, column 20: spec.port_forwarding: expected true or false, found "Off": write false"#,
        ),
        (
            "true",
            "'true'",
            r#"line 12, column 20: spec.port_forwarding: expected true or false, found "true": write true, without quotes"#,
        ),
        (
            "true",
            "maybe",
            "line 12, column 20: spec.port_forwarding: expected true or false, found a text",
        ),
        (
            "true",
            "1",
            "line 12, column 20: spec.port_forwarding: expected true or false, found a number",
        ),
        (
            "[root, 'dev']",
            "root",
            "line 7, column 13: spec.allow.logins: expected a list, found a text",
        ),
        (
            "[root, 'dev']",
            "",
            "line 7, column 5: spec.allow.logins: expected a list, found nothing",
        ),
        (
            "[root, 'dev']",
            "[root, 12]",
            "line 7, column 20: spec.allow.logins[1]: expected a text, found a number: put it in quotes",
        ),
        (
            "[root, 'dev']",
            "[root, true]",
            "line 7, column 20: spec.allow.logins[1]: expected a text, found true: put it in quotes",
        ),
        (
            "[root, 'dev']",
            "[root, a b]",
            "line 7, column 20: spec.allow.logins[1]: a name has letters, digits and '-' only",
        ),
        (
            "[root, 'dev']",
            "[root, [dev]]",
            "line 7, column 20: spec.allow.logins[1]: expected a text, found a list",
        ),
        (
            "version: v1",
            "version: 1.10",
            "line 2, column 10: version: expected a text, found a number: put it in quotes",
        ),
        (
            "max_sessions: 7",
            "max_sessions: 70000",
            "line 13, column 17: spec.max_sessions: 70000 is out of range, expected 0 to 65535",
        ),
        (
            "max_sessions: 7",
            "max_sessions: -1",
            "line 13, column 17: spec.max_sessions: -1 is out of range, expected 0 to 65535",
        ),
        (
            "max_sessions: 7",
            "max_sessions: '7'",
            "line 13, column 17: spec.max_sessions: expected a whole number, found a text",
        ),
        (
            "max_sessions: 7",
            "max_sessions: 7.5",
            "line 13, column 17: spec.max_sessions: expected a whole number, found a number with a fraction",
        ),
        (
            "max_sessions: 7",
            "max_sessions: 99999999999999999999",
            "line 13, column 17: spec.max_sessions: the number is too large",
        ),
        (
            "max_sessions: 7",
            "max_sessions: 007",
            "line 13, column 17: spec.max_sessions: expected a whole number, found a text",
        ),
        (
            "metadata:\n  name: dev",
            "metadata: dev",
            "line 3, column 11: metadata: expected a mapping, found a text",
        ),
        (
            "metadata:\n  name: dev",
            "metadata: []",
            "line 3, column 11: metadata: expected a mapping, found a list",
        ),
        (
            "{at: {node: a, cap_bytes: 0x10}}",
            "{at: [a, 1]}",
            "line 14, column 16: spec.record.at: expected a mapping, found a list",
        ),
        (
            "metadata:\n  name: dev",
            "metadata:\n- dev",
            "line 4, column 3: metadata: expected a mapping, found a list",
        ),
        (
            "'*': ['*']",
            "'a b': [7]",
            "line 8, column 35: spec.allow.labels[\"a b\"][0]: expected a text, found a number: put it in quotes",
        ),
        // What the dialect leaves out.
        (
            "[root, 'dev']",
            "[&a root, *a]",
            "line 7, column 14: spec.allow.logins: anchors (&name) are not accepted: quote a text that starts with '&'",
        ),
        (
            "'*': ['*']",
            "'*': [*]",
            "line 8, column 33: spec.allow.labels[\"*\"]: aliases (*name) are not accepted: quote a text that starts with '*', like '*'",
        ),
        (
            "'*': ['*']",
            "*: ['*']",
            "line 8, column 27: spec.allow.labels: aliases (*name) are not accepted: quote a text that starts with '*', like '*'",
        ),
        (
            "[root, 'dev']",
            "[!!str root]",
            "line 7, column 14: spec.allow.logins: tags (!name) are not accepted: quote a text that starts with '!'",
        ),
        (
            "  name: dev",
            "  <<: {name: dev}",
            "line 4, column 3: metadata: merge keys (<<) are not accepted: write the fields out",
        ),
        (
            "[root, 'dev']",
            "[{{internal.logins}}]",
            "line 7, column 15: spec.allow.logins: a mapping cannot be a key: a template must be quoted, like '{{internal.logins}}'",
        ),
        (
            "  name: dev",
            "  : dev",
            "line 4, column 3: metadata: a key is missing before the colon",
        ),
        (
            "  name: dev",
            "  name: d\u{7}ev",
            "line 4, column 10: the character U+0007 must not stand in a text as it is",
        ),
        (
            "  name: dev",
            "  name: dev # \u{202e}",
            "line 4, column 15: the character U+202E must not stand in a text as it is",
        ),
        (
            "  name: dev",
            "  name: dev\rroot",
            "line 4, column 12: the character U+000D must not stand in a text as it is",
        ),
        (
            "spec:",
            "---\nspec:",
            "line 6, column 1: one document is expected, and a second one starts here",
        ),
    ];
    let mut wrong = String::new();
    for (find, put, wanted) in cases {
        let yaml = GOOD.replacen(find, put, 1);
        assert_ne!(yaml, GOOD, "{find:?} is in the text");
        let got = match text::from_yaml::<Resource>(&yaml) {
            Ok(_) => "accepted".to_owned(),
            Err(e) => e.to_string(),
        };
        if got != *wanted {
            wrong.push_str(&format!("{put:?}\n    got {got}\n wanted {wanted}\n"));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn a_text_that_is_no_yaml_is_refused_with_its_place() {
    let cases = [
        ("", "line 1, column 1: the text is empty"),
        ("# nothing\n", "line 1, column 1: the text is empty"),
        ("a: [1, 2", "line 2, column"),
        ("a: b: c", "line 1, column"),
        ("a:\n  b: 1\n c: 2\n", "line 3, column"),
        ("a: \"unclosed", "line 1, column"),
        ("\ta: 1", "line 1, column"),
        ("a: @b", "line 1, column"),
        ("a: %b", "line 1, column"),
    ];
    for (yaml, wanted) in cases {
        let got = refused(yaml).to_string();
        assert!(got.starts_with(wanted), "{yaml:?}: {got}");
    }
}

#[test]
fn the_parts_of_an_error_can_be_read_apart() {
    let error = refused(&GOOD.replace("    labels: {", "    lables: {"));
    assert_eq!(
        (error.line, error.column, error.path.as_str()),
        (8, 5, "spec.allow")
    );
    assert_eq!(error.nearest.as_deref(), Some("labels"));
    assert_eq!(error.message, r#"unknown field "lables" in spec.allow"#);
}

#[test]
fn what_is_too_large_or_too_deep_is_refused() {
    let long = format!("kind: {}", "x".repeat(text::MAX_TEXT_BYTES));
    assert_eq!(
        refused(&long).to_string(),
        "line 1, column 1: the text is 262150 bytes long, at most 262144 are read"
    );
    for open in ["[", "{a: ", "- "] {
        let deep = open.repeat(500);
        let message = refused(&deep).to_string();
        assert!(message.contains("nest deeper than 32"), "{open}: {message}");
    }
    let json = "[".repeat(500);
    let message = text::from_json::<serde_json::Value>(&json)
        .expect_err("deep")
        .to_string();
    assert_eq!(
        message,
        "line 1, column 33: lists and mappings nest deeper than 32"
    );
    let fits = format!("{}{}", "[".repeat(32), "]".repeat(32));
    text::from_yaml::<serde_json::Value>(&fits).expect("32 deep");
    text::from_json::<serde_json::Value>(&fits).expect("32 deep");
}

#[test]
fn json_is_as_strict_and_as_precise() {
    let good = r#"{"kind":"role","version":"v1","metadata":{"name":"dev"},
 "spec":{"allow":{"logins":["root","d\u0065v"]},"max_sessions":7}}"#;
    text::from_json::<Resource>(good).expect("good");
    let cases = [
        (
            "\"allow\"",
            "\"alow\"",
            r#"line 2, column 10: unknown field "alow" in spec: did you mean "allow"?"#,
        ),
        (
            "\"root\"",
            "12",
            "line 2, column 29: spec.allow.logins[0]: expected a text, found a number: put it in quotes",
        ),
        (
            "\"root\"",
            "\"a b\"",
            "line 2, column 29: spec.allow.logins[0]: a name has letters, digits and '-' only",
        ),
        (
            "\"kind\":",
            "\"version\":",
            r#"line 1, column 19: repeated field "version": it already stands on line 1"#,
        ),
        (
            ":7}}",
            ":7,}}",
            "line 2, column 66: spec: not valid JSON: expected a field name in double quotes",
        ),
        (
            ":7}}",
            ":07}}",
            "line 2, column 64: spec.max_sessions: not valid JSON: this is no number",
        ),
        (
            ":7}}",
            ":7}",
            "line 2, column 66: not valid JSON: expected ',' or '}'",
        ),
        (
            ":7}}",
            ":7}} x",
            "line 2, column 68: not valid JSON: one value is expected, and more follows here",
        ),
        (
            "d\\u0065v",
            "\\ud800",
            "line 2, column 37: spec.allow.logins: not valid JSON: unknown escape",
        ),
        (
            "d\\u0065v",
            "d\tv",
            "line 2, column 38: spec.allow.logins: not valid JSON: line breaks and tabs must be escaped",
        ),
        (
            "{\"kind",
            "/*x*/{\"kind",
            "line 1, column 1: not valid JSON: expected a value",
        ),
        (
            "\"role\"",
            "'role'",
            "line 1, column 9: kind: not valid JSON: expected a value",
        ),
        (
            "\"role\"",
            "True",
            "line 1, column 9: kind: not valid JSON: expected a value",
        ),
    ];
    let mut wrong = String::new();
    for (find, put, wanted) in cases {
        let json = good.replacen(find, put, 1);
        let got = match text::from_json::<Resource>(&json) {
            Ok(_) => "accepted".to_owned(),
            Err(e) => e.to_string(),
        };
        if got != wanted {
            wrong.push_str(&format!("{put:?}\n    got {got}\n wanted {wanted}\n"));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn several_documents_keep_their_lines() {
    let two = format!("{GOOD}---\n---\n{}", GOOD.replace("version: v1", "version: 2"));
    let error = text::from_yaml_documents::<Resource>(&two).expect_err("second is wrong");
    assert_eq!(error.line, 18);
    assert_eq!(
        text::from_yaml_documents::<Resource>(&format!("{GOOD}---\n{GOOD}"))
            .expect("two")
            .len(),
        2
    );
    assert!(
        text::from_yaml_documents::<Resource>("---\n")
            .expect("none")
            .is_empty()
    );
}

#[test]
fn what_a_person_hands_over_may_be_json_or_yaml() {
    let count = |text: &str| text::documents(text).map(|d| d.len()).map_err(|e| e.to_string());
    assert_eq!(count(&format!("{GOOD}---\n{GOOD}")), Ok(2));
    assert_eq!(count("{kind: role}\n---\n{kind: user}\n"), Ok(2));
    assert_eq!(count("\n {\"kind\": \"\\ud83d\\ude00\"}"), Ok(1));
    assert_eq!(
        count("{\"kind\": \"a\" \"b\"}"),
        Err("line 1, column 14: not valid JSON: expected ',' or '}'".into())
    );
    assert_eq!(count(""), Ok(0));
}

#[test]
fn a_document_can_be_asked_before_it_is_read() {
    let document = Document::from_yaml(GOOD).expect("good");
    assert_eq!(document.field_str("kind"), Some("role"));
    assert_eq!(document.field_str("metadata"), None);
    let error = document.error_at(&["kind"], "unknown kind", &["user", "rule"]);
    assert_eq!(
        error.to_string(),
        r#"line 1, column 7: kind: unknown kind: did you mean "rule"?"#
    );
    let error = document.error_at(&["metadata", "nam"], "wrong", &[]);
    assert_eq!(error.to_string(), "line 4, column 3: metadata.nam: wrong");
    document.decode::<Resource>().expect("reads");
}

#[test]
fn a_secret_of_the_wrong_type_is_not_repeated() {
    let error = refused(&GOOD.replace("max_sessions: 7", "max_sessions: hunter2"));
    assert!(!error.to_string().contains("hunter2"), "{error}");
}
