//! Recordings of real sessions: searched across the cluster, and masked where a copy leaves it.

use palisade_testkit::{Agent, Cluster, Person, me, retry};
use std::fs;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);

/// A command at a host; answers its recording's session once that is whole.
fn ran(alice: &Person, host: &str, command: &str) -> String {
    let known = sessions(alice);
    alice.pal(&["ssh", &format!("{}@{host}", me()), command]).ok();
    retry("the recording to be complete", BOUND, || {
        let rows = alice.pal(&["recordings", "ls", "--format", "json"]).json();
        let rows = rows.as_array().cloned().unwrap_or_default();
        let new = rows.iter().map(|row| &row["recording"]).find(|row| {
            row["completeness"] == "complete" && !known.iter().any(|id| row["session"] == id.as_str())
        });
        new.and_then(|row| row["session"].as_str().map(str::to_owned))
            .ok_or_else(|| format!("{rows:?}"))
    })
}

fn sessions(alice: &Person) -> Vec<String> {
    let rows = alice.pal(&["recordings", "ls", "--format", "json"]).json();
    let rows = rows.as_array().cloned().unwrap_or_default();
    rows.iter()
        .filter_map(|row| row["recording"]["session"].as_str().map(str::to_owned))
        .collect()
}

/// Goal: what people saw is found in the recordings of all hosts, by those who may play them, and the log says who looked for what.
/// Method: two hosts, colours and cuts in the output, a person who may play the recordings of one host alone; chunks that the
/// asked node lacks.
#[test]
fn what_was_on_a_screen_is_found_by_those_who_may_play_it() {
    let cluster = Cluster::start(3);
    let _hosts = ["web1", "db1"].map(|name| Agent::start(&cluster, name, "env=test"));
    cluster.create(
        "kind: role\nmetadata: {name: web-auditor}\nspec:\n  allow:\n    rules:\n    - {resources: [recording], verbs: [list, read], \
         where: 'equals(resource.labels[\"host\"], \"web1\")'}\n",
    );
    let alice = cluster.person("alice", "access,auditor");
    let wanda = cluster.person("wanda", "web-auditor");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    wanda.login(&cluster.nodes[1].web_addr()).ok();
    let web = ran(
        &alice,
        "web1",
        r"printf 'the \033[31mmagic\033[0m wo'; sleep 1.5; printf 'rd is here\nand more\n'",
    );
    let db = ran(&alice, "db1", "echo; echo 'the MAGIC WORD again'");
    let find = |who: &Person, words: &[&str]| {
        let found = who.pal(&[&["recordings", "search", "magic word"], words].concat());
        let text = found.ok();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let lines = find(&alice, &[]);
    // In the output of both, and in the command that says it in one piece.
    let of = |session: &str| lines.iter().filter(|line| line.starts_with(session)).count();
    assert_eq!((of(&db), of(&web), lines.len()), (2, 1, 3), "{lines:#?}");
    assert!(lines[0].starts_with(&db), "newest first: {lines:#?}");
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with(&web) && line.ends_with("alice@web1  the magic word is here")),
        "{lines:#?}"
    );
    assert_eq!(find(&alice, &["--host", "db1"]).len(), 2);
    assert_eq!(find(&alice, &["--since", "2h", "--user", "nobody"]).len(), 0);
    // Who may play those of one host finds nothing in the others', and is not told that there are any.
    let hers = find(&wanda, &[]);
    assert!(
        hers.len() == 1 && hers.iter().all(|line| line.starts_with(&web)),
        "{hers:#?}"
    );
    let audited = cluster.events(0, "recording.search");
    assert!(
        audited
            .iter()
            .all(|item| item["event"]["data"]["query"] == "magic word")
    );
    let last = audited.last().expect("audited");
    assert_eq!(
        (&last["event"]["user"], &last["event"]["data"]["sessions"]),
        (&"wanda".into(), &web.clone().into())
    );
    // A node that lacks the chunks finds them at the others.
    let place = cluster.nodes[0].data.join("segments");
    let held = fs::read_dir(&place).expect("segments");
    let chunks = held
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().contains(&web));
    let chunks = chunks.expect("the session's chunks").path();
    fs::remove_dir_all(&chunks).expect("removed");
    assert_eq!(find(&alice, &["--host", "web1"]).len(), 1);
}

/// Goal: a copy that leaves the cluster is masked by the rules of the day; what is played inside, and what is kept, is not.
#[test]
fn what_leaves_is_masked_and_what_is_kept_is_not() {
    let cluster = Cluster::start(1);
    let _host = Agent::start(&cluster, "web1", "env=test");
    let alice = cluster.person("alice", "access,auditor");
    alice.login(&cluster.nodes[0].web_addr()).ok();
    let session = ran(
        &alice,
        "web1",
        r#"n=12; printf "key AKIA$n\033[1m"; sleep 1.2; printf '34\033[0m and hunter2\n'"#,
    );
    let export = || alice.pal(&["recordings", "export", &session]).ok();
    assert!(export().contains("hunter2"));
    cluster.create(
        "kind: session_recording_config\nmetadata: {name: session-recording-config}\nspec:\n  redact:\n  \
         - {name: aws-key, pattern: 'AKIA[0-9]{4}'}\n  - {name: password, pattern: 'hunter2'}\n",
    );
    let cast = export();
    assert!(!cast.contains("hunter2") && !cast.contains("AKIA12"), "{cast}");
    assert!(
        cast.contains(r"key ******\u001b[1m") && cast.contains(r"**\u001b[0m and *******"),
        "{cast}"
    );
    assert!(
        cast.starts_with('{') && cast.contains(r#""x_palisade":{"redacted":["aws-key","password"]}"#),
        "{cast}"
    );
    // The command says the password as well.
    assert!(cast.contains("redacted: aws-key 1, password 2"), "{cast}");
    let played = alice.pal(&["play", "--no-wait", &session]).ok();
    assert!(played.contains("hunter2"), "{played}");
    // A rule that does not compile is refused with its place, and nothing changes.
    let file = cluster.folder("bad").join("redact.yaml");
    let bad = "kind: session_recording_config\nmetadata: {name: session-recording-config}\nspec:\n  redact:\n  - {name: a, pattern: '('}\n";
    fs::write(&file, bad).expect("the temporary folder is writable");
    let refused = cluster.palctl(0, &["create", "-f", file.to_str().expect("a plain path")]);
    assert!(!refused.succeeded());
    let said = format!("{}{}", refused.text(), refused.complaint());
    assert!(
        said.contains("line 5, column 24") && said.contains("regular expression"),
        "{said}"
    );
    assert!(!export().contains("hunter2"));
}
