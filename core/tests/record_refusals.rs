//! Real records, written wrongly: what an operator sees.

use palisade_core::record::parse_records;
use palisade_core::text;

const ROLE: &str = r#"kind: role
version: v1
metadata:
  name: dev
spec:
  options:
    max_session_ttl: 8h
    port_forwarding: true
    record_session: strict
  allow:
    logins: [root, '{{internal.logins}}']
    host_labels:
      env: [test, '^dev-.*$']
      '*': '*'
    rules:
      - resources: [recording]
        verbs: [list, read]
        where: has_prefix(resource.name, user.name)
    join_sessions:
      - roles: ['*-dev']
        modes: [observer, peer]
    require_session_join:
      - modes: [moderator]
        count: 1
        on_leave: pause
  deny:
    logins: [admin]
"#;

#[test]
fn a_role_is_read_and_written_back_the_same() {
    let records = parse_records(ROLE).expect("good");
    assert_eq!(records.len(), 1);
    let yaml = text::to_yaml(&records[0].to_json()).expect("writes");
    assert_eq!(parse_records(&yaml).expect("own text"), records, "{yaml}");
    let json = serde_json::to_string(&records[0].to_json()).expect("writes");
    assert_eq!(parse_records(&json).expect("own text"), records);
}

/// What is written instead of what, and what is said of it.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "kind: role",
        "kind: rule",
        r#"line 1, column 7: kind: unknown value "rule": did you mean "role"?"#,
    ),
    (
        "  options:",
        "  optoins:",
        r#"line 6, column 3: unknown field "optoins" in spec: did you mean "options"?"#,
    ),
    (
        "logins: [root",
        "login: [root",
        r#"line 11, column 5: unknown field "login" in spec.allow: did you mean "logins"?"#,
    ),
    (
        "[root,",
        "['*',",
        "line 11, column 14: spec.allow.logins[0]: patterns are not accepted here: name each login, or use a template such as {{internal.logins}}",
    ),
    (
        "internal.logins",
        "internal.login",
        "line 11, column 20: spec.allow.logins[1]: at character 3: unknown internal trait \"login\": did you mean \"logins\"?",
    ),
    (
        "dev-.*",
        "dev-(*",
        "line 13, column 19: spec.allow.host_labels.env[1]: bad regular expression: repetition operator missing expression",
    ),
    (
        "[list, read]",
        "[list, reed]",
        r#"line 17, column 23: spec.allow.rules[0].verbs[1]: unknown value "reed": did you mean "read"?"#,
    ),
    (
        "[recording]",
        "[recordings]",
        r#"line 16, column 21: spec.allow.rules[0].resources[0]: unknown value "recordings": did you mean "recording"?"#,
    ),
    (
        "(resource.name",
        "(resource.nam",
        "line 18, column 16: spec.allow.rules[0].where: at character 12: unknown name \"resource.nam\": did you mean \"resource.name\"?",
    ),
    (
        "strict",
        "strickt",
        r#"line 9, column 21: spec.options.record_session: unknown value "strickt": did you mean "strict"?"#,
    ),
    (
        "port_forwarding: true",
        "port_forwarding: yes",
        r#"line 8, column 22: spec.options.port_forwarding: expected true or false, found "yes": write true"#,
    ),
    (
        "name: dev",
        "name: 'de v'",
        "line 4, column 9: metadata.name: \"de v\" is not a valid name: only ASCII letters, digits and . _ @ - are allowed",
    ),
    (
        "8h",
        "8",
        "line 7, column 22: spec.options.max_session_ttl: expected a text, found a number: put it in quotes",
    ),
    (
        "peer]",
        "pear]",
        r#"line 21, column 27: spec.allow.join_sessions[0].modes[1]: unknown value "pear": did you mean "peer"?"#,
    ),
    (
        "['*-dev']",
        "['^dev']",
        "line 20, column 17: spec.allow.join_sessions[0].roles[0]: a regular expression that begins with ^ must end with $",
    ),
    (
        "['*-dev']",
        "[]",
        "line 20, column 16: spec.allow.join_sessions[0].roles: name at least one",
    ),
    (
        "on_leave: pause",
        "on_leave: pausd",
        r#"line 25, column 19: spec.allow.require_session_join[0].on_leave: unknown value "pausd": did you mean "pause"?"#,
    ),
    (
        "on_leave: pause",
        "onleave: pause",
        r#"line 25, column 9: unknown field "onleave" in spec.allow.require_session_join[0]: did you mean "on_leave"?"#,
    ),
    (
        "count: 1",
        "count: 0",
        "line 24, column 16: spec.allow.require_session_join[0].count: 0 is out of range, expected a whole number",
    ),
    (
        "    logins: [admin]",
        "    require_session_join: [{modes: [peer]}]",
        "line 27, column 5: spec.deny: require_session_join belongs under allow",
    ),
];

#[test]
fn each_fault_of_a_record_is_named_with_its_place() {
    let mut wrong = String::new();
    for (find, put, wanted) in FAULTS {
        let yaml = ROLE.replacen(find, put, 1);
        assert_ne!(yaml, ROLE, "{find:?} is in the text");
        let got = parse_records(&yaml).map_or_else(|e| e.to_string(), |_| "accepted".to_owned());
        if got != *wanted {
            wrong.push_str(&format!("{put:?}\n    got {got}\n wanted {wanted}\n"));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Whether the first fault leaves nothing of the second to be seen: it stands in a field that is none, or in a record of no
/// kind; or the first moves its column.
fn hides(first: &str, second: &str) -> bool {
    match first {
        "kind: role" => second != "name: dev",
        "  options:" => ["8h", "strict", "port_forwarding: true"].contains(&second),
        "logins: [root" | "[root," => ["[root,", "internal.logins"].contains(&second),
        _ => false,
    }
}

/// Goal: two faults are both named, whichever they are, and nothing else is. Method: every pair of those above.
#[test]
fn faults_are_named_together() {
    let (mut pairs, mut wrong) = (0, String::new());
    for (n, (find, put, first)) in FAULTS.iter().enumerate() {
        for (find_too, put_too, second) in &FAULTS[n + 1..] {
            let one = ROLE.replacen(find, put, 1);
            let both = one.replacen(find_too, put_too, 1);
            if both == one || hides(find, find_too) || hides(find_too, find) {
                continue;
            }
            pairs += 1;
            let got = parse_records(&both).map_or_else(
                |faults| faults.iter().map(ToString::to_string).collect(),
                |_| vec!["accepted".to_owned()],
            );
            let mut wanted = vec![(*first).to_owned(), (*second).to_owned()];
            wanted.sort_by_key(|text| got.iter().position(|one| one == text));
            if got != wanted {
                wrong.push_str(&format!(
                    "{put:?} and {put_too:?}\n    got {got:#?}\n wanted {wanted:#?}\n"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(pairs > 150, "only {pairs} pairs");
}

#[test]
fn every_fault_of_every_record_is_named_in_the_order_of_the_text() {
    let yaml = "kind: role
metadata: {name: Dev, lables: {}}
spec:
  options: {max_sessions: many, pin_source_ip: on}
  allow:
    host_labels: {env: ['^($', '^b*$', '^[$'], 'e*': x}
    rules:
      - {resources: [hosts, role], verbs: [reed, read, lst]}
      - {resources: [role]}
---
kind: lokc
metadata: {nam: l}
spec: {target: {}}
";
    let faults = parse_records(yaml).expect_err("faults");
    let places: Vec<_> = faults.iter().map(|fault| (fault.line, fault.column)).collect();
    assert!(places.is_sorted(), "{faults}");
    let said = faults.to_string();
    for wanted in [
        "13 faults",
        "names are lower case",
        "\"lables\" in metadata: did you mean \"labels\"",
        "max_sessions: expected a whole number, found a text",
        "pin_source_ip: expected true or false",
        "env[0]: bad regular expression",
        "env[2]: bad regular expression",
        "a label's name is no pattern",
        "\"hosts\": did you mean \"host\"",
        "\"reed\": did you mean \"read\"",
        "\"lst\": did you mean \"list\"",
        "missing field \"verbs\" in spec.allow.rules[1]",
        "\"lokc\": did you mean \"lock\"",
        "\"nam\" in metadata: did you mean \"name\"",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
}

#[test]
fn what_follows_from_a_fault_is_no_fault_of_its_own() {
    for (yaml, count) in [
        // The address is there, under a wrong name; no second fault says that it is missing.
        ("kind: host\nmetadata: {name: h}\nspec: {adress: 'h:22'}\n", 1),
        // So is the name.
        ("kind: lock\nmetadata: {nam: l}\nspec: {target: {}}\n", 1),
        // Both modes are wrong: the list is not empty for that.
        (
            "kind: role\nmetadata: {name: r}\nspec: {allow: {join_sessions: [{roles: ['*'], modes: [x, y]}]}}\n",
            2,
        ),
        (
            "kind: lock\nmetadata: {name: l}\nspec: {target: {user: 'no name', host: 'nor this'}}\n",
            2,
        ),
        // A text that cannot be taken apart has the one fault at which that ended.
        ("kind: role\nmetadata: {nam: r\nspec: {optoins: {}}\n", 1),
    ] {
        let faults = parse_records(yaml).expect_err("faults");
        assert_eq!(faults.iter().count(), count, "{yaml}{faults}");
    }
}

/// A text made of faults costs no more than a few readings of it.
#[test]
fn a_text_of_nothing_but_faults_is_soon_read() {
    let mut yaml = String::from("kind: user\nmetadata: {name: u}\nspec:\n");
    for n in 0..8000 {
        yaml.push_str(&format!("  f{n}: 1\n"));
    }
    let faults = parse_records(&yaml).expect_err("faults");
    let named = faults.iter().count();
    assert!((8..=101).contains(&named), "{named}");
}

#[test]
fn rules_that_mask_are_read_strictly() {
    let policy = |rules: &str| {
        format!(
            "kind: session_recording_config\nmetadata: {{name: session-recording-config}}\nspec:\n  redact:\n{rules}"
        )
    };
    let good =
        policy("  - {name: key, pattern: 'AKIA[0-9A-Z]{16}'}\n  - {name: word, pattern: '(?i)hunter2'}\n");
    let records = parse_records(&good).expect("good");
    let yaml = text::to_yaml(&records[0].to_json()).expect("writes");
    assert_eq!(parse_records(&yaml).expect("own text"), records, "{yaml}");
    let many: String = (0..33)
        .map(|n| format!("  - {{name: r{n}, pattern: x}}\n"))
        .collect();
    let cases = [
        (
            "  - {name: key, pattern: '('}\n",
            "line 5, column 26: spec.redact[0].pattern: bad regular expression: unclosed group",
        ),
        (
            "  - {name: key, pattern: x}\n  - {name: word, pattern: '(\\w{99}){99}'}\n",
            "line 6, column 27: spec.redact[1].pattern: bad regular expression: it is too large when compiled",
        ),
        (
            "  - {name: key, pattern: ''}\n",
            "spec.redact[0].pattern: an empty expression",
        ),
        (
            "  - {name: key, regex: x}\n",
            "unknown field \"regex\" in spec.redact[0]",
        ),
        (
            "  - {name: 'a b', pattern: x}\n",
            "line 5, column 12: spec.redact[0].name: ",
        ),
        (
            "  - {name: key, pattern: x}\n  - {name: key, pattern: y}\n",
            "spec.redact: two rules are named key",
        ),
        ("  - x\n", "line 5, column 5: spec.redact[0]"),
        ("    {name: key, pattern: x}\n", "spec.redact: "),
        (many.as_str(), "spec.redact: at most 32 rules"),
    ];
    for (rules, wanted) in cases {
        let said = parse_records(&policy(rules)).expect_err(rules).to_string();
        assert!(said.contains(wanted), "{said}");
    }
}
