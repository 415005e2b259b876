//! Records: bodies, revisions, repetitions, and rights that cannot be stretched.

use crate::support::{World, nobody, operator};
use axum::body::Body;
use axum::http::Request;
use serde_json::json;

const ID: &str = "0c9a4c9e-5c5c-4f6e-9c7a-1f2e3d4c5b6a";

const HOST: &str = "kind: host\nmetadata:\n  name: web1\n  labels: {env: prod}\nspec:\n  addr: 10.0.0.7:22\n";

#[tokio::test]
async fn a_record_is_made_read_changed_and_removed() {
    let world = World::new();
    let me = operator();
    let made = world.yaml(&me, "POST", "/v1/records/host", HOST).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let revision = made.json()["metadata"]["revision"].as_u64().expect("a revision");
    world
        .yaml(&me, "POST", "/v1/records/host", HOST)
        .await
        .refused(409, "conflict");
    let read = world
        .call(&me, "GET", "/v1/records/hosts/web1", None)
        .await
        .json();
    assert_eq!(read["metadata"]["revision"], revision);
    let mut changed = read.clone();
    changed["spec"]["addr"] = json!("10.0.0.8:22");
    let changed = world
        .call(&me, "PUT", "/v1/records/host/web1", Some(changed))
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    // The one that was read first is old now.
    world
        .call(&me, "PUT", "/v1/records/host/web1", Some(read))
        .await
        .refused(409, "conflict");
    world
        .call(
            &me,
            "DELETE",
            &format!("/v1/records/host/web1?revision={revision}"),
            None,
        )
        .await
        .refused(409, "conflict");
    assert_eq!(
        world
            .call(&me, "DELETE", "/v1/records/host/web1", None)
            .await
            .status,
        204
    );
    world
        .call(&me, "DELETE", "/v1/records/host/web1", None)
        .await
        .refused(404, "not_found");
    world
        .yaml(&me, "PUT", "/v1/records/host/web1", HOST)
        .await
        .refused(404, "not_found");
    let made = world
        .yaml(&me, "PUT", "/v1/records/host/web1?upsert=true", HOST)
        .await;
    assert_eq!(made.status, 200, "{}", made.text());
}

#[tokio::test]
async fn lists_are_paged_in_order() {
    let world = World::new();
    for n in 0..25 {
        world.cluster.node.write(&format!(
            "kind: host\nmetadata: {{name: h{n:02}}}\nspec: {{addr: \"10.0.0.1:22\"}}\n"
        ));
    }
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page = world
            .call(
                &operator(),
                "GET",
                &format!("/v1/records/host?limit=10&after={after}"),
                None,
            )
            .await
            .json();
        let items = page["items"].as_array().expect("items").clone();
        names.extend(
            items
                .iter()
                .map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned()),
        );
        after = page["next"].as_str().expect("next").to_owned();
        if after.is_empty() {
            break;
        }
    }
    assert_eq!(names.len(), 25);
    assert!(names.is_sorted());
    for query in ["limit=-1", "limit=1001", "limit=x", "unknown=1"] {
        world
            .call(&operator(), "GET", &format!("/v1/records/host?{query}"), None)
            .await
            .refused(400, "invalid");
    }
}

#[tokio::test]
async fn a_repeated_change_has_no_second_effect() {
    let world = World::new();
    let body = json!({"kind": "host", "metadata": {"name": "web1"}, "spec": {"addr": "10.0.0.7:22"}});
    let first = world
        .call_as(
            &operator(),
            "POST",
            "/v1/records/host",
            Some(body.clone()),
            Some(ID),
        )
        .await;
    let second = world
        .call_as(
            &operator(),
            "POST",
            "/v1/records/host",
            Some(body.clone()),
            Some(ID),
        )
        .await;
    assert_eq!((first.status, first.json()), (second.status, second.json()));
    assert_eq!(world.events("record.create").len(), 1);
    // An id of one caller never answers another's request, nor another request.
    world.add_user("alice", "admin", "root");
    let alice = world.user("alice");
    world
        .call_as(&alice, "POST", "/v1/records/host", Some(body), Some(ID))
        .await
        .refused(409, "conflict");
    for bad in ["x", "0C9A4C9E-5C5C-4F6E-9C7A-1F2E3D4C5B6A", ""] {
        world
            .call_as(&operator(), "GET", "/v1/whoami", None, Some(bad))
            .await
            .refused(400, "invalid");
    }
}

#[tokio::test]
async fn bad_bodies_are_refused_with_their_place() {
    let world = World::new();
    let me = operator();
    for (yaml, wanted) in [
        (
            "kind: host\nmetadata: {name: web1}\nspec:\n  adr: 10.0.0.7:22\n",
            "addr",
        ),
        ("kind: hots\nmetadata: {name: web1}\nspec: {}\n", "host"),
        ("kind: host\nmetadata: {name: [}\n", "line 2"),
        (
            "kind: host\nmetadata: {name: \"a\\nb\"}\nspec: {addr: \"10.0.0.7:22\"}\n",
            "",
        ),
        ("", ""),
        ("[[[[", ""),
        ("\u{0}\u{1}", ""),
    ] {
        let answer = world.yaml(&me, "POST", "/v1/records/host", yaml).await;
        answer.refused(400, "invalid");
        assert!(
            answer.text().contains(wanted),
            "{wanted:?} is not in {}",
            answer.text()
        );
    }
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    world
        .yaml(&me, "POST", "/v1/records/host", &deep)
        .await
        .refused(400, "invalid");
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n";
    world
        .yaml(&me, "POST", "/v1/records/host", bomb)
        .await
        .refused(400, "invalid");
    world
        .yaml(&me, "POST", "/v1/records/host", &"#".repeat(300 * 1024))
        .await
        .refused(413, "too_large");
    world
        .yaml(&me, "POST", "/v1/records/user", HOST)
        .await
        .refused(400, "invalid");
    world
        .yaml(&me, "POST", "/v1/records/host", &format!("{HOST}---\n{HOST}"))
        .await
        .refused(400, "invalid");
    world
        .yaml(&me, "PUT", "/v1/records/host/web2", HOST)
        .await
        .refused(400, "invalid");
    world
        .yaml(&me, "POST", "/v1/records/nothing", HOST)
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn bad_json_is_refused_and_bounded() {
    let world = World::new();
    let send = |body: Vec<u8>, kind: &'static str| {
        let request = Request::builder()
            .method("POST")
            .uri("/v1/login")
            .header("content-type", kind)
            .body(Body::from(body))
            .expect("a request");
        let world = &world;
        async move { world.send(&nobody(), request).await }
    };
    for body in [
        &b"{"[..],
        b"",
        b"null",
        b"\xff\xfe",
        b"{\"user\": 1}",
        b"{\"user\":\"a\",\"user\":\"b\"}",
        b"{\"user\":\"a\",\"password\":\"b\",\"ssh_public_key\":\"\",\"tls_public_key\":\"\",\"admin\":true}",
    ] {
        send(body.to_vec(), "application/json")
            .await
            .refused(400, "invalid");
    }
    send("[".repeat(100_000).into_bytes(), "application/json")
        .await
        .refused(400, "invalid");
    send(vec![b' '; 1024 * 1024 + 1], "application/json")
        .await
        .refused(413, "too_large");
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        send(b"{}".to_vec(), kind).await.refused(415, "invalid");
    }
}

#[tokio::test]
async fn other_sites_change_and_read_nothing() {
    let world = World::new();
    for (method, name, value) in [
        ("GET", "sec-fetch-site", "cross-site"),
        ("DELETE", "sec-fetch-site", "cross-site"),
        ("DELETE", "origin", "https://evil.example"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri("/v1/records/host/web1")
            .header(name, value)
            .header("host", "pal.example")
            .body(Body::empty())
            .expect("a request");
        world.send(&operator(), request).await.refused(403, "refused");
    }
}

fn limited(world: &World) {
    world.cluster.node.write(
        "kind: role\nmetadata: {name: editor}\nspec:\n  allow:\n    logins: [dev]\n    host_labels: {env: [test]}\n    \
         rules:\n      - {resources: [user, role, host], verbs: [list, read, create, update, delete]}\n---\n\
         kind: user\nmetadata: {name: ed}\nspec: {roles: [editor]}\n---\n\
         kind: user\nmetadata: {name: boss}\nspec: {roles: [admin], traits: {logins: [root]}}\n",
    );
}

#[tokio::test]
async fn nobody_grants_more_than_they_hold() {
    let world = World::new();
    limited(&world);
    let ed = world.user("ed");
    for (path, yaml) in [
        // N043: a role with a right that the editor lacks, or a login.
        (
            "/v1/records/role",
            "kind: role\nmetadata: {name: x}\nspec: {allow: {rules: [{resources: [\"*\"], verbs: [\"*\"]}]}}\n",
        ),
        (
            "/v1/records/role",
            "kind: role\nmetadata: {name: x}\nspec: {allow: {rules: [{resources: [lock], verbs: [create]}]}}\n",
        ),
        (
            "/v1/records/role",
            "kind: role\nmetadata: {name: x}\nspec: {allow: {logins: [root]}}\n",
        ),
        // Hosts that the editor does not reach, and an option.
        (
            "/v1/records/role",
            "kind: role\nmetadata: {name: x}\nspec: {allow: {logins: [dev], host_labels: {\"*\": [\"*\"]}}}\n",
        ),
        (
            "/v1/records/role",
            "kind: role\nmetadata: {name: x}\nspec: {options: {port_forwarding: true}}\n",
        ),
        // A user with such a role.
        (
            "/v1/records/user",
            "kind: user\nmetadata: {name: x}\nspec: {roles: [admin]}\n",
        ),
    ] {
        let answer = world.yaml(&ed, "POST", path, yaml).await;
        answer.refused(403, "refused");
        assert!(answer.text().contains("cannot grant"), "{}", answer.text());
    }
    // N042: one's own roles and traits, by every verb.
    for yaml in [
        "kind: user\nmetadata: {name: ed}\nspec: {roles: [editor, admin]}\n",
        "kind: user\nmetadata: {name: ed}\nspec: {roles: [editor], traits: {logins: [root]}}\n",
        "kind: user\nmetadata: {name: ed}\nspec: {roles: []}\n",
    ] {
        world
            .yaml(&ed, "PUT", "/v1/records/user/ed", yaml)
            .await
            .refused(403, "refused");
        world
            .yaml(&ed, "PUT", "/v1/records/user/ed?upsert=true", yaml)
            .await
            .refused(403, "refused");
    }
    // The role that one holds.
    let own = "kind: role\nmetadata: {name: editor}\nspec: {allow: {logins: [dev], host_labels: {\"*\": [\"*\"]}}}\n";
    world
        .yaml(&ed, "PUT", "/v1/records/role/editor", own)
        .await
        .refused(403, "refused");
    // Somebody who may do more: not changed, and no way in by resetting their password.
    let boss = "kind: user\nmetadata: {name: boss}\nspec: {roles: []}\n";
    world
        .yaml(&ed, "PUT", "/v1/records/user/boss", boss)
        .await
        .refused(403, "refused");
    world
        .call(&ed, "POST", "/v1/users/boss/invites", Some(json!({})))
        .await
        .refused(403, "refused");
    // What one holds, one may give.
    let role =
        "kind: role\nmetadata: {name: x}\nspec: {allow: {logins: [dev], host_labels: {env: [test]}}}\n";
    assert_eq!(
        world.yaml(&ed, "POST", "/v1/records/role", role).await.status,
        201
    );
    let peer = "kind: user\nmetadata: {name: peer}\nspec: {roles: [editor]}\n";
    assert_eq!(
        world.yaml(&ed, "POST", "/v1/records/user", peer).await.status,
        201
    );
    assert_eq!(
        world
            .call(&ed, "POST", "/v1/users/peer/invites", Some(json!({})))
            .await
            .status,
        200
    );
    assert_eq!(
        world
            .yaml(
                &ed,
                "PUT",
                "/v1/records/user/ed",
                "kind: user\nmetadata: {name: ed, description: me}\nspec: {roles: [editor]}\n"
            )
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn traits_make_no_login_that_the_editor_lacks() {
    let world = World::new();
    limited(&world);
    world.cluster.node.write(
        "kind: role\nmetadata: {name: editor}\nspec:\n  allow:\n    logins: [\"{{internal.logins}}\"]\n    \
         rules: [{resources: [user], verbs: [create, update]}]\n---\n\
         kind: user\nmetadata: {name: ed}\nspec: {roles: [editor], traits: {logins: [dev]}}\n",
    );
    let user = |login: &str| {
        format!(
            "kind: user\nmetadata: {{name: peer}}\nspec: {{roles: [editor], traits: {{logins: [{login}]}}}}\n"
        )
    };
    let ed = world.user("ed");
    world
        .yaml(&ed, "POST", "/v1/records/user", &user("root"))
        .await
        .refused(403, "refused");
    assert_eq!(
        world
            .yaml(&ed, "POST", "/v1/records/user", &user("dev"))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn a_condition_limits_what_is_listed_read_and_changed() {
    let world = World::new();
    world.cluster.node.write(
        "kind: role\nmetadata: {name: test-ops}\nspec:\n  allow:\n    logins: [dev]\n    rules:\n      \
         - {resources: [host], verbs: [\"*\"], where: 'equals(resource.labels[\"env\"], \"test\")'}\n---\n\
         kind: user\nmetadata: {name: tess}\nspec: {roles: [test-ops]}\n---\n\
         kind: host\nmetadata: {name: a, labels: {env: test}}\nspec: {addr: \"10.0.0.1:22\"}\n---\n\
         kind: host\nmetadata: {name: b, labels: {env: prod}}\nspec: {addr: \"10.0.0.2:22\"}\n",
    );
    let tess = world.user("tess");
    let page = world.call(&tess, "GET", "/v1/records/host", None).await.json();
    let names: Vec<_> = page["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|i| &i["metadata"]["name"])
        .collect();
    assert_eq!(names, ["a"]);
    assert_eq!(
        world.call(&tess, "GET", "/v1/records/host/a", None).await.status,
        200
    );
    world
        .call(&tess, "GET", "/v1/records/host/b", None)
        .await
        .refused(403, "refused");
    // One that is not there is not told apart from one that may not be seen.
    world
        .call(&tess, "GET", "/v1/records/host/c", None)
        .await
        .refused(403, "refused");
    let host = |name: &str, env: &str| {
        format!(
            "kind: host\nmetadata: {{name: {name}, labels: {{env: {env}}}}}\nspec: {{addr: \"10.0.0.1:22\"}}\n"
        )
    };
    assert_eq!(
        world
            .yaml(&tess, "PUT", "/v1/records/host/a", &host("a", "test"))
            .await
            .status,
        200
    );
    world
        .yaml(&tess, "PUT", "/v1/records/host/a", &host("a", "prod"))
        .await
        .refused(403, "refused");
    world
        .yaml(&tess, "PUT", "/v1/records/host/b", &host("b", "test"))
        .await
        .refused(403, "refused");
    world
        .yaml(&tess, "POST", "/v1/records/host", &host("d", "prod"))
        .await
        .refused(403, "refused");
    world
        .call(&tess, "DELETE", "/v1/records/host/b", None)
        .await
        .refused(403, "refused");
}

#[tokio::test]
async fn secrets_of_records_are_not_shown() {
    let world = World::new();
    let token = world
        .call(&operator(), "POST", "/v1/tokens", Some(json!({})))
        .await
        .json();
    let text = token["token"].as_str().expect("a token").to_owned();
    let parts: Vec<&str> = text.split('.').collect();
    assert_eq!((parts.len(), parts[0]), (5, "pj1"));
    assert_eq!(parts[3], token["name"].as_str().expect("a name"));
    let shown = world
        .call(
            &operator(),
            "GET",
            &format!("/v1/records/token/{}", parts[3]),
            None,
        )
        .await;
    assert_eq!(shown.json()["spec"]["secret_sha256"], "");
    assert!(!shown.text().contains(parts[4]));
    let list = world
        .call(&operator(), "GET", "/v1/records/tokens", None)
        .await
        .text();
    assert!(!list.contains(parts[4]));
    let made = "kind: token\nmetadata: {name: t}\nspec: {secret_sha256: aa}\n";
    world
        .yaml(&operator(), "POST", "/v1/records/token", made)
        .await
        .refused(400, "invalid");
}

#[tokio::test]
async fn a_refusal_names_every_fault() {
    let world = World::new();
    let me = operator();
    let faulty = "kind: role\nmetadata: {name: r}\nspec: {optoins: {}, allow: {login: [x], rules: [{resources: [role], verbs: [reed]}]}}\n";
    let answer = world
        .yaml(&me, "PUT", "/v1/records/role/r?upsert=true", faulty)
        .await;
    answer.refused(400, "invalid");
    let said = answer.json()["message"].as_str().expect("a text").to_owned();
    for wanted in [
        "3 faults",
        "line 3, column 8: unknown field \"optoins\" in spec: did you mean \"options\"?",
        "unknown field \"login\" in spec.allow: did you mean \"logins\"?",
        "spec.allow.rules[0].verbs[0]: unknown value \"reed\": did you mean \"read\"?",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let long = "x".repeat(5000);
    let over = format!(
        "kind: lock\nmetadata: {{name: l, description: {long}}}\nspec: {{target: {{user: a}}, message: {long}}}\n"
    );
    let answer = world.yaml(&me, "POST", "/v1/records/lock", &over).await;
    answer.refused(400, "invalid");
    let said = answer.json()["message"].as_str().expect("a text").to_owned();
    assert!(
        said.contains("metadata.description") && said.contains("spec.message"),
        "{said}"
    );
}

#[tokio::test]
async fn records_that_make_no_sense_are_refused() {
    let world = World::new();
    let me = operator();
    for (kind, yaml) in [
        ("lock", "kind: lock\nmetadata: {name: l}\nspec: {target: {}}\n".to_owned()),
        ("lock", "kind: lock\nmetadata: {name: l, expires: 2020-01-01T00:00:00Z}\nspec: {target: {user: x}}\n".into()),
        ("lock", "kind: lock\nmetadata: {name: l, expires: 2999-01-01T00:00:00Z}\nspec: {target: {user: x}}\n".into()),
        ("lock", format!("kind: lock\nmetadata: {{name: l}}\nspec: {{target: {{user: x}}, message: {}}}\n", "x".repeat(5000))),
        ("user", "kind: user\nmetadata: {name: u}\nspec: {roles: [missing]}\n".into()),
        ("role", "kind: role\nmetadata: {name: Admin}\nspec: {}\n".into()),
        ("role", "kind: role\nmetadata: {name: r}\nspec: {allow: {rules: [{resources: [role], verbs: [reed]}]}}\n".into()),
        ("node", "kind: node\nmetadata: {name: n}\nspec: {id: 1, incarnation: a, peer_addr: a, web_addr: a, ssh_addr: a, joined: 2020-01-01T00:00:00Z}\n".into()),
    ] {
        let answer = world.yaml(&me, "POST", &format!("/v1/records/{kind}"), &yaml).await;
        answer.refused(400, "invalid");
    }
    let big = format!(
        "kind: host\nmetadata: {{name: h, labels: {{a: {}}}}}\nspec: {{addr: \"10.0.0.1:22\"}}\n",
        "x".repeat(60_000)
    );
    let answer = world.yaml(&me, "POST", "/v1/records/host", &big).await;
    assert!(answer.status.is_client_error(), "{}", answer.text());
}

#[tokio::test]
async fn hosts_are_shown_to_those_who_reach_them() {
    let world = World::new();
    limited(&world);
    world.cluster.node.write(
        "kind: host\nmetadata: {name: a, labels: {env: test, role: db}}\nspec: {addr: \"10.0.0.1:22\"}\n---\n\
         kind: host\nmetadata: {name: b, labels: {env: prod}}\nspec: {addr: \"10.0.0.2:22\"}\n",
    );
    let names = |answer: serde_json::Value| -> Vec<String> {
        let items = answer["items"].as_array().expect("items").clone();
        items
            .iter()
            .map(|item| item["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(
        names(
            world
                .call(&world.user("ed"), "GET", "/v1/hosts", None)
                .await
                .json()
        ),
        ["a"]
    );
    assert_eq!(
        names(
            world
                .call(&world.user("boss"), "GET", "/v1/hosts", None)
                .await
                .json()
        ),
        ["a", "b"]
    );
    let found = world
        .call(
            &world.user("boss"),
            "GET",
            "/v1/hosts?search=env%3Dtest%20db",
            None,
        )
        .await
        .json();
    assert_eq!(names(found), ["a"]);
    world
        .cluster
        .node
        .write("kind: lock\nmetadata: {name: l}\nspec: {target: {host: a}}\n");
    assert_eq!(
        names(
            world
                .call(&world.user("boss"), "GET", "/v1/hosts", None)
                .await
                .json()
        ),
        ["b"]
    );
}

#[tokio::test]
async fn thousands_of_hosts_are_searched_by_the_node_and_paged() {
    let world = World::new();
    limited(&world);
    const HOSTS: usize = 2500;
    let yaml: Vec<String> = (0..HOSTS)
        .map(|n| {
            let env = ["test", "prod"][n % 2];
            format!(
                "kind: host\nmetadata: {{name: h{n:04}, labels: {{env: {env}, rack: R{}}}}}\nspec: {{addr: \"10.0.{}.{}:22\"}}\n",
                n % 50,
                n / 250,
                n % 250
            )
        })
        .collect();
    world.cluster.node.write(&yaml.join("---\n"));
    let ask = async |who: &str, query: &str| {
        let (mut names, mut pages, mut after) = (Vec::<String>::new(), Vec::new(), String::new());
        loop {
            let path = format!("/v1/hosts?{query}&after={after}");
            let page = world.call(&world.user(who), "GET", &path, None).await.json();
            let items = page["items"].as_array().expect("items");
            pages.push(items.len());
            names.extend(
                items
                    .iter()
                    .map(|item| item["name"].as_str().expect("a name").to_owned()),
            );
            after = page["next"].as_str().unwrap_or_default().to_owned();
            if after.is_empty() {
                assert!(names.is_sorted_by(|a, b| a < b), "each once, in order");
                return (names, pages);
            }
        }
    };
    let (all, pages) = ask("boss", "limit=1000").await;
    assert_eq!((all.len(), pages), (HOSTS, vec![1000, 1000, 500]));
    // A page is full of what was found, however far apart it lies.
    let (found, pages) = ask("boss", "limit=20&search=env%3Dprod%20rack%3Dr17").await;
    assert_eq!((found.len(), pages), (50, vec![20, 20, 10]));
    assert_eq!(ask("boss", "search=H2471").await.0, ["h2471"]);
    let rack = "query=equals(resource.labels%5B%22rack%22%5D%2C%22R17%22)";
    assert_eq!(ask("boss", rack).await.0, found);
    let both = format!("{rack}%26%26has_prefix(resource.name%2C%22h00%22)&search=prod");
    assert_eq!(ask("boss", &both).await.0, ["h0017", "h0067"]);
    // Nobody finds what they do not reach, by whatever they ask.
    let (reached, _) = ask("ed", "limit=1000").await;
    assert_eq!(reached.len(), HOSTS / 2);
    assert!(ask("ed", rack).await.0.is_empty());
    assert!(ask("ed", "search=h2471").await.0.is_empty());
    // What changes is found as it is now.
    world
        .cluster
        .node
        .write("kind: host\nmetadata: {name: h2471, labels: {env: test}}\nspec: {addr: \"10.0.0.1:22\"}\n");
    assert_eq!(ask("ed", "search=h2471").await.0, ["h2471"]);
    for bad in ["query=resource.labels", "query=equals(", "limit=1001"] {
        let answer = world
            .call(&world.user("boss"), "GET", &format!("/v1/hosts?{bad}"), None)
            .await;
        answer.refused(400, "invalid");
    }
}

#[tokio::test]
async fn what_is_read_is_what_was_acknowledged_anywhere() {
    let world = World::new();
    for path in [
        "/v1/records/role",
        "/v1/records/role/admin",
        "/v1/recordings",
        "/v1/audit/events",
    ] {
        let before = world.cluster.node.barriers();
        assert_eq!(world.call(&operator(), "GET", path, None).await.status, 200);
        assert_eq!(world.cluster.node.barriers(), before + 1, "{path}");
    }
}

#[tokio::test]
async fn a_change_waits_for_the_rights_of_a_user_and_the_operator_has_none_to_wait_for() {
    let world = World::new();
    let barriers = || world.cluster.node.barriers();
    let before = barriers();
    let made = world.yaml(&operator(), "POST", "/v1/records/host", HOST).await;
    assert_eq!(made.status, 201);
    assert_eq!(barriers(), before);
    world.add_user("boss", "admin", "root");
    let me = world.user("boss");
    let gone = world.call(&me, "DELETE", "/v1/records/host/web1", None).await;
    assert_eq!(gone.status, 204);
    assert_eq!(barriers(), before + 1);
}
