//! Files by sftp, scp, rsync and plain commands: they arrive, and they are told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use palisade_core::event::{Event, EventKind};
use std::path::Path;
use std::process::Stdio;
use support::{EVERYTHING, User, WITHIN, World, ended, open_up, said, until};
use tokio::process::Command;

fn content(size: u32, seed: u32) -> Vec<u8> {
    (0..size)
        .map(|n| ((n ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// By the system's own program.
fn sha256(path: &Path) -> String {
    let out = std::process::Command::new("sha256sum")
        .arg(path)
        .output()
        .unwrap();
    said(&out.stdout).split(' ').next().unwrap().to_owned()
}

async fn summary(world: &World) -> Event {
    until("the summary is written", || {
        world.uplink.of(EventKind::FileSummary).pop()
    })
    .await
}

fn told<'a>(events: &'a [Event], action: &str, path: &str) -> &'a Event {
    events
        .iter()
        .find(|e| e.data["action"] == action && e.target.ends_with(path))
        .unwrap_or_else(|| panic!("no {action} of {path} in {events:#?}"))
}

async fn sftp(world: &World, batch: &str) -> std::process::Output {
    std::fs::write(world.path("batch"), batch).unwrap();
    let batch = world.path("batch");
    ended(world.client("sftp", &["-b", batch.to_str().unwrap(), "web1"])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp_does_what_people_do_with_it() {
    let world = World::new().await;
    let there = world.path("there");
    std::fs::create_dir(&there).unwrap();
    let local = world.path("local");
    std::fs::write(&local, content(3_000_000, 1)).unwrap();
    let (t, l) = (there.display(), local.display());
    let batch = format!(
        "cd {t}\nput {l} up\nget up {l}.back\nmkdir d\nput -p {l} d/second\nrename up renamed\nln renamed hard\nln -s renamed soft\n\
         chmod 640 renamed\nls -l\nls -la d\ndf .\ncp renamed copied\nrm hard\nrm soft\nrm d/second\nrmdir d\n-rm missing\npwd\n"
    );
    let out = sftp(&world, &batch).await;
    assert!(
        out.status.success(),
        "{}\n{}",
        said(&out.stdout),
        said(&out.stderr)
    );
    assert_eq!(
        std::fs::read(world.path("local.back")).unwrap(),
        std::fs::read(&local).unwrap()
    );
    assert_eq!(
        std::fs::read(there.join("copied")).unwrap(),
        std::fs::read(&local).unwrap()
    );
    let listed = said(&out.stdout);
    assert!(
        listed.contains("-rw-r-----") && listed.contains("renamed"),
        "{listed}"
    );
    assert!(listed.contains("lrwxrwxrwx"), "{listed}");
    let all = summary(&world).await;
    let events = world.uplink.of(EventKind::FileTransfer);
    let up = told(&events, "write", "/up");
    assert_eq!(
        (up.data["bytes_written"].as_str(), &up.data["sha256"]),
        ("3000000", &sha256(&local))
    );
    let down = told(&events, "read", "/up");
    assert_eq!(
        (down.data["bytes_read"].as_str(), &down.data["sha256"]),
        ("3000000", &sha256(&local))
    );
    for (action, path) in [
        ("mkdir", "/d"),
        ("rename", "renamed"),
        ("link", "hard"),
        ("symlink", "soft"),
        ("rmdir", "/d"),
    ] {
        assert_eq!(told(&events, action, path).data["outcome"], "done");
    }
    assert_eq!(
        (
            all.data["files_written"].as_str(),
            all.data["files_read"].as_str()
        ),
        ("3", "2")
    );
    assert_eq!(all.data["bytes_read"], "3000000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scp_in_both_of_its_protocols_is_told_file_by_file() {
    for old in [false, true] {
        let world = World::new().await;
        std::fs::create_dir_all(world.path("tree/sub")).unwrap();
        std::fs::write(world.path("tree/a"), content(100_000, 2)).unwrap();
        std::fs::write(world.path("tree/sub/b c"), b"").unwrap();
        let (tree, there) = (world.path("tree"), world.path("there"));
        std::fs::create_dir(&there).unwrap();
        let flags: &[&str] = if old { &["-O", "-q", "-r"] } else { &["-q", "-r"] };
        let to = format!("web1:{}/", there.display());
        let up: Vec<&str> = flags
            .iter()
            .copied()
            .chain([tree.to_str().unwrap(), to.as_str()])
            .collect();
        let out = ended(world.client("scp", &up)).await;
        assert!(out.status.success(), "{}", said(&out.stderr));
        assert_eq!(sha256(&there.join("tree/a")), sha256(&world.path("tree/a")));
        let all = summary(&world).await;
        assert_eq!(all.data["files_written"], "2", "old: {old}");
        let events = world.uplink.of(EventKind::FileTransfer);
        let a = told(&events, "write", "there/tree/a");
        assert_eq!(
            (a.data["bytes_written"].as_str(), &a.data["sha256"]),
            ("100000", &sha256(&world.path("tree/a")))
        );
        told(&events, "write", "there/tree/sub/b c");

        let (from, back) = (format!("web1:{}/tree/a", there.display()), world.path("back"));
        let flags: &[&str] = if old { &["-O", "-q"] } else { &["-q"] };
        let down: Vec<&str> = flags
            .iter()
            .copied()
            .chain([from.as_str(), back.to_str().unwrap()])
            .collect();
        assert!(ended(world.client("scp", &down)).await.status.success());
        assert_eq!(sha256(&back), sha256(&world.path("tree/a")));
        until("the second summary", || {
            (world.uplink.of(EventKind::FileSummary).len() == 2).then_some(())
        })
        .await;
        let events = world.uplink.of(EventKind::FileTransfer);
        assert_eq!(
            told(&events, "read", "there/tree/a").data["sha256"],
            sha256(&back)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsync_and_git_work_and_plain_copies_are_told() {
    let world = World::new().await;
    let rsh = format!("ssh -F {}", world.path("config").display());
    std::fs::create_dir(world.path("tree")).unwrap();
    std::fs::write(world.path("tree/a"), content(500_000, 3)).unwrap();
    let there = world.path("there");
    let mut rsync = Command::new("rsync");
    rsync
        .args(["-a", "-e", &rsh])
        .arg(format!("{}/", world.path("tree").display()));
    rsync.arg(format!("web1:{}", there.display()));
    let out = ended(rsync).await;
    assert!(out.status.success(), "{}", said(&out.stderr));
    assert_eq!(sha256(&there.join("a")), sha256(&world.path("tree/a")));
    summary(&world).await;
    let events = world.uplink.of(EventKind::FileTransfer);
    let rsynced = told(&events, "write", "there");
    assert!(rsynced.data["bytes_written"].parse::<u64>().unwrap() >= 500_000);

    let up = world.path("plain");
    let mut cat = world.ssh(&["web1", &format!("cat > {}", up.display())]);
    let file = std::fs::File::open(world.path("tree/a")).unwrap();
    cat.stdin(Stdio::from(file));
    assert!(ended(cat).await.status.success());
    until("the copy is told", || {
        (world.uplink.of(EventKind::FileSummary).len() == 2).then_some(())
    })
    .await;
    let events = world.uplink.of(EventKind::FileTransfer);
    assert_eq!(told(&events, "write", "/plain").data["sha256"], sha256(&up));

    let repo = world.path("repo");
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(args)
            .env("GIT_SSH_COMMAND", &rsh)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_NAME", "a")
            .env("GIT_AUTHOR_EMAIL", "a@b")
            .env("GIT_COMMITTER_NAME", "a")
            .env("GIT_COMMITTER_EMAIL", "a@b");
        ended(git)
    };
    let dir = repo.to_str().unwrap();
    assert!(git(&["init", "-q", dir]).await.status.success());
    assert!(
        git(&["-C", dir, "commit", "-q", "--allow-empty", "-m", "one"])
            .await
            .status
            .success()
    );
    let clone = world.path("clone");
    let out = git(&["clone", "-q", &format!("web1:{dir}"), clone.to_str().unwrap()]).await;
    assert!(out.status.success(), "{}", said(&out.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_without_file_copy_is_refused_in_every_protocol() {
    let role = "
    options: {file_copy: false}
    allow: {logins: ['{{internal.logins}}'], host_labels: {'*': '*'}}
";
    let world = World::with_role(role).await;
    let (file, there) = (world.path("config"), world.path("there"));
    let to = format!("web1:{}", there.display());
    let rsh = format!("ssh -F {}", world.path("config").display());
    let mut rsync = Command::new("rsync");
    rsync.args(["-e", &rsh]).arg(&file).arg(&to);
    let cat = format!("cat > {}", there.display());
    let tries = [
        world.client("sftp", &["-b", "/dev/null", "web1"]),
        world.client("scp", &["-q", file.to_str().unwrap(), &to]),
        world.client("scp", &["-q", "-O", file.to_str().unwrap(), &to]),
        rsync,
        world.ssh(&["web1", &cat]),
        world.ssh(&["web1", "cat /etc/hostname"]),
    ];
    for (n, command) in tries.into_iter().enumerate() {
        let shown = format!("{command:?}");
        let out = ended(command).await;
        assert!(!out.status.success(), "{shown}");
        let why = said(&out.stderr);
        assert!(
            why.contains("sftp is not allowed by your roles"),
            "{shown}: {why}"
        );
        assert_eq!(world.uplink.of(EventKind::ChannelRefused).len(), n + 1, "{shown}");
    }
    assert!(!there.exists());
    assert!(world.uplink.of(EventKind::SessionStart).is_empty());
    assert!(ended(world.ssh(&["web1", "true"])).await.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dots_and_links_lead_where_the_user_may_go_and_nowhere_else() {
    let Some(user) = User::make("dots_and_links", &[]) else {
        return;
    };
    let world = World::with(EVERYTHING, &user.name, |_| {}).await;
    let secret = world.path("secret");
    std::fs::write(&secret, "secret").unwrap();
    let mode = |path: &Path, mode| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&secret, 0o600);
    let mine = world.path("mine");
    std::fs::create_dir(&mine).unwrap();
    open_up(&mine);
    std::os::unix::fs::chown(&mine, Some(user.uid()), None).unwrap();
    std::os::unix::fs::symlink(&secret, mine.join("link")).unwrap();
    let d = world.dir.path().display();
    let batch = format!(
        "-get {d}/secret {d}/got1\n-get {d}/mine/../secret {d}/got2\n-get {d}/mine/link {d}/got3\n\
         -put {d}/config {d}/mine/link\n-put {d}/config {d}/planted\n-chmod 777 {d}/mine/link\n-rm {d}/secret\n\
         -symlink {d}/secret {d}/mine/link2\n-get {d}/mine/link2 {d}/got4\nput {d}/config {d}/mine/ok\n"
    );
    let out = sftp(&world, &batch).await;
    assert!(out.status.success(), "{}", said(&out.stderr));
    for got in ["got1", "got2", "got3", "got4", "planted"] {
        assert!(!world.path(got).exists(), "{got}");
    }
    assert_eq!(std::fs::read(&secret).unwrap(), b"secret");
    let ok = std::fs::metadata(mine.join("ok")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&ok), user.uid());
    summary(&world).await;
    let events = world.uplink.of(EventKind::FileTransfer);
    assert!(told(&events, "open", "mine/../secret").message.contains("denied"));
}

/// Somebody exchanges a folder for a link to where they may not go, again and again, while files pass by that path. The
/// agent opens nothing itself, so whatever the moment, it is the user who does it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_swapped_in_the_middle_leads_nowhere_either() {
    let Some(user) = User::make("a_link_that_is_swapped", &[]) else {
        return;
    };
    let world = World::with(EVERYTHING, &user.name, |_| {}).await;
    let own = |path: &Path| std::os::unix::fs::chown(path, Some(user.uid()), None).unwrap();
    let secrets = world.path("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::set_permissions(&secrets, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(secrets.join("file"), "secret").unwrap();
    open_up(&secrets.join("file"));
    let mine = world.path("mine");
    for folder in [&mine, &mine.join("real")] {
        std::fs::create_dir(folder).unwrap();
        open_up(folder);
        own(folder);
    }
    std::fs::write(mine.join("real/file"), "harmless").unwrap();
    own(&mine.join("real/file"));
    let (harmless, evil) = (mine.join("harmless"), mine.join("evil"));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swaps = std::thread::spawn({
        let (stop, at, secrets) = (std::sync::Arc::clone(&stop), mine.join("at"), secrets.clone());
        move || {
            let mut swaps = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for (target, made) in [(Path::new("real"), &harmless), (secrets.as_path(), &evil)] {
                    std::os::unix::fs::symlink(target, made).unwrap();
                    // At no moment there is nothing.
                    std::fs::rename(made, &at).unwrap();
                    swaps += 1;
                }
            }
            swaps
        }
    });
    let (d, got) = (mine.display(), world.path("got"));
    std::fs::create_dir(&got).unwrap();
    let mut batch = String::new();
    for n in 0..200 {
        let own = world.path("config");
        batch.push_str(&format!(
            "-get {d}/at/file {got}/{n}\n-put {own} {d}/at/new{n}\n-chmod 666 {d}/at/file\n-rename {d}/at/file {d}/at/file\n",
            got = got.display(),
            own = own.display()
        ));
    }
    let out = sftp(&world, &batch).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let swaps: u32 = swaps.join().unwrap();
    assert!(out.status.success(), "{}", said(&out.stderr));
    assert!(swaps > 200, "{swaps} swaps");
    let mut arrived = 0;
    for file in std::fs::read_dir(&got).unwrap() {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        // A get that fails after it began leaves an empty file.
        assert!(content.is_empty() || content == b"harmless", "{}", said(&content));
        arrived += usize::from(!content.is_empty());
    }
    assert!(arrived > 0, "the harmless file came at times");
    let left: Vec<_> = std::fs::read_dir(&secrets)
        .unwrap()
        .map(|f| f.unwrap().file_name())
        .collect();
    assert_eq!(left, ["file"], "something was put where it may not be");
    assert_eq!(std::fs::read(secrets.join("file")).unwrap(), b"secret");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(secrets.join("file")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o755);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_breaks_off_is_told_as_such() {
    let world = World::new().await;
    let mut cat = world
        .ssh(&["web1", "cat /dev/zero"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut some = vec![0; 1_000_000];
    let mut out = cat.stdout.take().unwrap();
    tokio::time::timeout(WITHIN, tokio::io::AsyncReadExt::read_exact(&mut out, &mut some))
        .await
        .unwrap()
        .unwrap();
    cat.kill().await.unwrap();
    let all = summary(&world).await;
    assert_eq!(all.data["failed"], "1");
    let event = world.uplink.of(EventKind::FileTransfer).remove(0);
    assert_eq!(
        (event.target.as_str(), event.data["outcome"].as_str()),
        ("/dev/zero", "failed")
    );
    assert!(!event.data.contains_key("sha256"));
}
