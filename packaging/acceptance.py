#!/usr/bin/env python3
"""Installs the packages on booted systemd machines without a default route, and uses them as an operator does.

    acceptance.py [--short] [--upgrade DIR] PACKAGES

PACKAGES is a folder of packaging/build.sh; --upgrade one with the same programs and a higher revision. Prints a line for
each test as cargo does, so that scripts/summary.py counts them. Where machines cannot be had every test is counted as
ignored, and the reason is printed loudly.
"""

import argparse
import base64
import hashlib
import hmac
import os
import re
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

sys.dont_write_bytecode = True
import machines  # noqa: E402
from machines import Failed, Lab, Machine, overlay  # noqa: E402

NODES = ["n1", "n2", "n3"]
HOST = "web1"
PASSWORD = "correct horse battery staple"
FIRST_SSH_WITHIN = 300

# In the order in which they run: in the short form or not, on machines or on the files alone.
TESTS: list[tuple[bool, bool, Callable]] = []


def short(test: Callable) -> Callable:
    TESTS.append((True, True, test))
    return test


def whole(test: Callable) -> Callable:
    TESTS.append((False, True, test))
    return test


def files(test: Callable) -> Callable:
    TESTS.append((True, False, test))
    return test


def expect(condition: object, what: str) -> None:
    if not condition:
        raise Failed(what)


def within(seconds: float, what: str, ask: Callable[[], object]) -> object:
    """Asks until the answer is true."""
    until = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.1)


def totp(secret: str, at: float) -> str:
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    mac = hmac.new(key, struct.pack(">Q", int(at // 30)), hashlib.sha1).digest()
    offset = mac[-1] & 15
    return f"{(struct.unpack('>I', mac[offset:offset + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


class World:
    """What one test leaves for the next."""

    lab: Lab

    def __init__(self, packages: Path, upgrade: Path | None, profile: str):
        self.packages, self.upgrade_to, self.profile = packages, upgrade, profile
        self.began = 0.0
        self.secret, self.step = "", 0

    def deb(self, package: str, folder: Path | None = None) -> Path:
        found = list((folder or self.packages).glob(f"{package}_*_amd64.deb"))
        expect(len(found) == 1, f"one {package} deb is expected in {folder or self.packages}: {found}")
        return found[0]

    def install(self, machine: Machine, package: str, folder: Path | None = None) -> str:
        path = machine.copy(self.deb(package, folder))
        done = machine.sh(f"dpkg -i {path}")
        return done.stdout + done.stderr

    def node(self) -> Machine:
        return self.lab["n1"]

    def fresh_code(self) -> str:
        """A code that was not used yet: each works once."""
        self.step = max(self.step + 1, int(time.time() // 30) - 1)
        within(60, "a fresh code", lambda: self.step <= time.time() // 30 + 1)
        return totp(self.secret, self.step * 30)


def status(machine: Machine) -> dict:
    import json

    return json.loads(machine.out("palctl status --format json", check=False) or "{}")


def voters(machine: Machine) -> int:
    return sum(1 for n in status(machine).get("nodes", []) if n["voter"] and n["reachable"])


def main_pid(machine: Machine, unit: str = "palisade") -> int:
    return int(machine.out(f"systemctl show -P MainPID {unit}"))


# ---- the files -----------------------------------------------------------------------------------------------


@files
def lintian_and_rpmlint_find_nothing(w: World) -> None:
    debs, rpms = ([str(p) for p in sorted(w.packages.glob(f"*.{kind}"))] for kind in ("deb", "rpm"))
    expect(len(debs) == 2 and len(rpms) == 2, f"two debs and two rpms are expected: {debs} {rpms}")
    said = machines.run("lintian", "--allow-root", "--fail-on", "error,warning", *debs, check=False)
    expect(said.returncode == 0 and not said.stdout.strip(), f"lintian:\n{said.stdout}{said.stderr}")
    config = str(Path(__file__).with_name("rpmlint.toml"))
    said = machines.run("rpmlint", "--config", config, *rpms, check=False)
    expect(" 0 errors, 0 warnings" in said.stdout, f"rpmlint:\n{said.stdout}{said.stderr}")


@files
def what_is_packed_twice_is_the_same(w: World) -> None:
    """From the same programs; `make acceptance` builds those twice as well."""
    with tempfile.TemporaryDirectory() as again:
        build = str(Path(__file__).with_name("build.sh"))
        machines.run(build, "--profile", w.profile, "--out", again)
        for one in w.packages.iterdir():
            expect(one.read_bytes() == (Path(again) / one.name).read_bytes(), f"{one.name} differs")
    machines.run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=w.packages)


# ---- the short form ------------------------------------------------------------------------------------------


@short
def packages_install_and_the_node_waits_for_its_cluster(w: World) -> None:
    """As its own user, without a capability, in a tight unit; told ready by itself."""
    w.began = time.monotonic()
    w.lab.each(lambda m: w.install(m, "palisade"), NODES)
    for name in NODES:
        m = w.lab[name]
        expect(m.out("systemctl is-active palisade") == "active", f"{name}: the node does not run")
        expect("waits for" in m.out("systemctl show -P StatusText palisade"), f"{name}: it does not say that it waits")
        process = m.out(f"grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/{main_pid(m)}/status").split("\n")
        shown = {line.split()[0]: line.split()[1] for line in process}
        expect(shown["Uid:"] != "0", f"{name}: the node runs as root")
        expect(int(shown["CapEff:"], 16) == 0 == int(shown["CapBnd:"], 16), f"{name}: it holds capabilities: {shown}")
        expect(shown["NoNewPrivs:"] == "1" and shown["Seccomp:"] == "2", f"{name}: {shown}")
        # The configuration works as it was shipped.
        m.sh("palisade config check && palisade config check --agent")
        for page in ("palisade-node", "palctl-cluster-join"):
            m.sh(f"test -s /usr/share/man/man1/{page}.1.gz")
    exposure = w.node().out("systemd-analyze security palisade --no-pager | tail -n 1")
    expect(float(re.search(r"level for \S+: ([0-9.]+)", exposure)[1]) < 1.5, exposure)


@short
def three_commands_make_a_cluster_and_twice_is_harmless(w: World) -> None:
    said = w.node().out("palctl cluster init")
    lines = re.findall(r"^\s+(palctl cluster join pj1\.\S+ \S+)$", said, re.MULTILINE)
    expect(len(lines) == 2 and len(set(lines)) == 2, f"two join lines are expected:\n{said}")
    expect("sha256:" in said and "until" in said, f"pin and expiry are not shown:\n{said}")
    for name, line in zip(NODES[1:], lines, strict=True):
        w.lab[name].sh(line)
    within(30, "three voters", lambda: voters(w.node()) == 3)
    before = status(w.node())
    expect(before["failure_tolerance"] == 1, f"one node may be lost: {before}")
    # Again, all of them.
    again = w.node().out("palctl cluster init")
    expect("already" in again and "pj1." not in again, again)
    for name, line in zip(NODES[1:], lines, strict=True):
        w.lab[name].sh(line)
    after = status(w.node())
    for key in ("cluster_id", "ca_pin", "failure_tolerance"):
        expect(before[key] == after[key], f"{key} changed: {before} {after}")
    expect(len(after["nodes"]) == 3, f"{after}")


@short
def a_host_installs_its_agent_from_a_node_and_opens_no_port(w: World) -> None:
    """From the offline bundle: signed, checked, loaded, and fetched by a host that has nothing yet."""
    node, host = w.node(), w.lab[HOST]
    with tempfile.TemporaryDirectory() as scratch:
        key = f"{scratch}/key"
        machines.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        build = str(Path(__file__).with_name("bundle.sh"))
        made = machines.run(build, str(w.packages), env={**os.environ, "PALISADE_SIGN_KEY": key}).stdout
        bundle = Path(re.search(r"^bundle: (.+)$", made, re.MULTILINE)[1])
        (node.root / "root/signers").write_text(f"packages {Path(key + '.pub').read_text()}")
        signature, path = node.copy(Path(f"{bundle}.sig")), node.copy(bundle)
    verify = f"ssh-keygen -Y verify -f /root/signers -I packages -n palisade-bundle -s {signature}"
    node.sh(f"{verify} <{path}")
    node.sh(f"head -c 100000 {path} >/root/cut.tar")
    node.refused(f"{verify} </root/cut.tar", "signature")
    node.refused("palctl bundle add /root/cut.tar", "bundle")
    said = node.out(f"palctl bundle add {path}")
    fetch, check = (line.strip() for line in said.split("\n") if "install-agent.sh" in line)
    token = node.out(f"palctl tokens add --host {HOST} --labels env=prod --quiet")
    host.sh(fetch)
    # What is not what the operator's line names is not run.
    host.refused(check.replace("sha256sum", "sed s/^././ | sha256sum", 1).replace("TOKEN", token), "no properly formatted")
    wrong = re.sub(r"(install-agent.sh \S+) [0-9a-f]{64}", r"\1 " + "0" * 64, check)
    host.refused(wrong.replace("TOKEN", token), "not the one")
    expect(host.out("command -v palisade", check=False) == "", "something was installed all the same")
    host.sh(check.replace("TOKEN", token))
    host.sh("systemctl start palisade")
    expect(host.out("systemctl is-active palisade", check=False) == "inactive", "a node runs on a host with an agent")
    # The agent's own end of its QUIC tunnels is a UDP socket; nothing is served there.
    listening = host.out("ss -Hltn")
    expect(not listening, f"ports are open on the host:\n{listening}")
    within(30, "the agent to be online", lambda: "online" in node.out("palctl hosts ls"))


@short
def the_first_ssh_within_five_minutes(w: World) -> None:
    host, desk = w.lab[HOST], w.lab["n2"]
    host.sh("useradd -m -s /bin/sh alice && usermod -p '*' alice")
    w.install(desk, "palisade-client")
    said = w.node().out("palctl users add alice --roles access,auditor --logins alice")
    invite = re.search(r"https://\S+/invite/\S+", said)[0]
    pin = re.search(r"sha256:[0-9a-f]{64}", said)[0]
    shown = desk.out(f"pal invite accept '{invite}' --ca-pin {pin} --show")
    w.secret = re.search(r"^ +([A-Z2-7]{16,})$", shown, re.MULTILINE)[1]
    desk.sh(f"pal invite accept '{invite}' --ca-pin {pin} --password-stdin --code {w.fresh_code()}", stdin=PASSWORD)
    login = f"pal login --proxy n1:3080 --user alice --ca-pin {pin} --password-stdin --code"
    desk.sh(f"{login} {w.fresh_code()}", stdin=PASSWORD)
    first = desk.out(f"pal ssh alice@{HOST} 'id -un; hostname; sudo -n true 2>/dev/null; grep NoNewPrivs /proc/self/status'")
    took = time.monotonic() - w.began
    expect(first.split("\n")[:2] == ["alice", HOST], first)
    # What the agent's unit must not take from users.
    expect(first.split()[-1] == "0", f"sudo could not work for users: {first}")
    print(f"    package to first pal ssh: {took:.1f} s", flush=True)
    expect(took < FIRST_SSH_WITHIN, f"{took:.0f} s")


# ---- the whole -----------------------------------------------------------------------------------------------


@whole
def each_unit_restarted_in_turn_loses_nothing(w: World) -> None:
    desk = w.lab["n2"]
    for name in NODES:
        m, before = w.lab[name], main_pid(w.lab[name])
        m.sh("systemctl restart palisade")
        # The unit is up again when the node is fit to serve, so the next one may be restarted at once.
        expect(main_pid(m) != before, f"{name} was not restarted")
        expect(m.out("systemctl show -P StatusText palisade").startswith("serves cluster"), f"{name} is up and not fit")
        m.sh("palctl audit verify")
        desk.sh(f"pal ssh alice@{HOST} true")
    w.lab[HOST].sh("systemctl restart palisade-agent")
    within(30, "the agent to be back", lambda: desk.sh(f"pal ssh alice@{HOST} true", check=False).returncode == 0)
    for name in NODES:
        journal = w.lab[name].out("journalctl -u palisade --no-pager")
        expect("Failed with result" not in journal, f"{name}: a stop was not in order:\n{journal[-3000:]}")


@whole
def a_killed_or_hung_program_is_started_again(w: World) -> None:
    for unit, m in (("palisade", w.lab["n3"]), ("palisade-agent", w.lab[HOST])):
        before = main_pid(m, unit)
        m.sh(f"kill -9 {before}")
        within(20, f"{unit} after kill -9", lambda: main_pid(m, unit) not in (0, before))
        within(30, f"{unit} to be ready", lambda: m.out(f"systemctl is-active {unit}", check=False) == "active")
        before = main_pid(m, unit)
        m.sh(f"kill -STOP {before}")
        began = time.monotonic()
        # WatchdogSec and the time for an abort that a stopped process cannot take.
        within(60, f"{unit} after SIGSTOP", lambda: main_pid(m, unit) not in (0, before))
        print(f"    {unit}: hung, replaced after {time.monotonic() - began:.0f} s", flush=True)
        expect("Watchdog timeout" in m.out(f"journalctl -u {unit} --no-pager"), "it was not the watchdog")
    within(30, "three voters", lambda: voters(w.node()) == 3)


@whole
def an_upgrade_restarts_the_node_and_keeps_its_configuration(w: World) -> None:
    m, host = w.lab["n1"], w.lab[HOST]
    m.sh("echo 'log: json' >>/etc/palisade/palisade.yaml")
    before, agent = main_pid(m), main_pid(host, "palisade-agent")
    w.install(m, "palisade", w.upgrade_to)
    expect(main_pid(m) not in (0, before), "the node was not restarted")
    expect("log: json" in m.out("cat /etc/palisade/palisade.yaml"), "the configuration was lost")
    said = w.install(host, "palisade", w.upgrade_to)
    expect(main_pid(host, "palisade-agent") == agent and "restart palisade-agent" in said, said)
    within(30, "three voters", lambda: voters(w.node()) == 3)


@whole
def an_upgrade_with_a_broken_configuration_leaves_the_old_node_running(w: World) -> None:
    m = w.lab["n2"]
    m.sh("printf 'nmae: x\\n' >>/etc/palisade/palisade.yaml")
    before = main_pid(m)
    said = w.install(m, "palisade", w.upgrade_to)
    expect("not restarted" in said and "nmae" in said, f"it does not say why: {said}")
    expect(main_pid(m) == before, "the old node did not go on")
    m.sh("palctl audit verify")
    expect(m.out("dpkg-query -W -f '${Status}' palisade") == "install ok installed", "the package is half installed")
    # A restart all the same fails, once, and says why.
    m.sh("systemctl restart palisade", check=False)
    within(10, "the unit to fail", lambda: m.out("systemctl is-failed palisade", check=False) == "failed")
    expect("nmae" in m.out("journalctl -u palisade --no-pager -n 20"), "the journal does not name the fault")
    m.sh("sed -i /nmae/d /etc/palisade/palisade.yaml && palisade config check && systemctl restart palisade")
    within(30, "three voters", lambda: voters(w.node()) == 3)


# ---- the short form goes on ----------------------------------------------------------------------------------


@short
def purge_of_a_running_node_stops_it_and_leaves_nothing(w: World) -> None:
    m = w.lab["n3"]
    said = m.sh("dpkg --purge palisade").stderr
    expect("palctl cluster leave n3" in said, f"it does not say that the node is still a member: {said}")
    expect("user data" not in said and m.out("pgrep -x palisade", check=False) == "", "the node still runs")
    left = m.out(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /root -o -path /var/log -o -path /run/systemd \\) -prune"
        " -o \\( -iname '*palisade*' -o -name 'palctl*' \\) -print; getent passwd palisade; getent group palisade; true"
    )
    expect(not left, f"purge left:\n{left}")
    # The others go on.
    w.node().sh("palctl cluster leave n3 --yes && palctl audit verify")
    w.lab["n2"].sh(f"pal ssh alice@{HOST} true")


@whole
def a_node_behind_a_closed_port_is_refused_and_joins_once_it_is_open(w: World) -> None:
    """The machine that was purged comes back as a new one, and its firewall is in the way."""
    m = w.lab["n3"]
    w.install(m, "palisade")
    token = w.node().out("palctl tokens add --quiet")
    guard = ["ip", "netns", "exec", m.netns, "nft"]
    machines.run(*guard, "add chain inet guard in { type filter hook input priority 0; }")
    machines.run(*guard, "add rule inet guard in tcp dport 3025 drop")
    m.refused(f"palctl cluster join {token} n1:3080", "cannot reach", "n3:3025", "the token is still good")
    m.refused(f"palctl cluster join {token} n1:3999", "cannot be asked", "refused")
    expect(len(status(w.node())["nodes"]) == 2, "the cluster changed")
    machines.run(*guard, "flush chain inet guard in")
    m.sh(f"palctl cluster join {token} n1:3080")
    within(30, "three voters", lambda: voters(w.node()) == 3)


@short
def nothing_ever_called_out(w: World) -> None:
    """Without a default route whatever calls out has no way; the kernel counts that."""
    for m in w.lab.machines.values():
        expect(not m.out("ip route show default; ip -6 route show default"), f"{m.name} has a default route")
        expect(m.unroutable() == 0, f"{m.name}: something called out {m.unroutable()} times")
        strange = w.lab.strangers(m)
        expect(strange == 0, f"{m.name}: {strange} packets went to addresses of the network that are no machine's")
    # And it would have been seen.
    m = w.lab[HOST]
    m.sh("bash -c '</dev/tcp/192.0.2.1/443'", check=False)
    expect(m.unroutable() > 0, "the kernel does not count what has no way out: this test could not fail")
    m.sh(f"bash -c '</dev/udp/{machines.SUBNET}.200/53 && echo x >/dev/udp/{machines.SUBNET}.200/53'", check=False)
    expect(w.lab.strangers(m) > 0, "packets to strangers are not counted: this test could not fail")


@whole
def the_rpm_installs_runs_and_leaves_what_was_edited(w: World) -> None:
    """Into the root of a machine that has no rpm itself: its scripts run there, and its unit runs at the next boot."""
    m = Machine(w.lab, "rpm1", 99)
    w.lab.machines["rpm1"] = m
    m.prepare("")
    rpm = ["rpm", "--root", str(m.root), "--nodeps"]
    rpms = [str(p) for p in w.packages.glob("*.rpm")]
    # What is left of the keys of this machine's distribution, and the checks of a signature, are the publisher's.
    machines.run(*rpm, "--nosignature", "-U", *rpms)
    verify = machines.run(*rpm, "-V", "palisade", "palisade-client", check=False).stdout
    unmet = [line for line in verify.splitlines() if not line.startswith(("Unsatisfied", "palisade"))]
    expect(not unmet, f"what was installed is not what was packed:\n{verify}")
    expect("palisade:" in (m.root / "etc/passwd").read_text(), "the scripts made no account")
    m.boot()
    expect(m.out("systemctl is-enabled palisade") == "enabled", "the unit is not enabled")
    within(20, "the node to run", lambda: m.out("systemctl is-active palisade", check=False) == "active")
    m.sh("palctl cluster init --nodes 1 && palctl audit verify && pal --version")
    m.sh("echo 'log: json' >>/etc/palisade/palisade.yaml && systemctl stop palisade && systemctl poweroff", check=False)
    m.halt()
    overlay(w.lab.base, m.top)
    verify = machines.run(*rpm, "-V", "palisade", check=False).stdout
    expect(re.search(r"^S.5.*c /etc/palisade/palisade.yaml$", verify, re.MULTILINE), f"the edit is not shown: {verify}")
    machines.run(*rpm, "-e", "palisade", "palisade-client")
    kept = sorted(str(p.relative_to(m.root)) for p in (m.root / "etc").rglob("*palisade*.yaml*"))
    expect(kept == ["etc/palisade/palisade.yaml.rpmsave"], f"the edited file is to be kept, and nothing else: {kept}")
    for gone in ("usr/bin/palisade", "usr/lib/systemd/system/palisade.service"):
        expect(not (m.root / gone).exists(), f"{gone} is still there")
    wants = m.root / "etc/systemd/system/multi-user.target.wants/palisade.service"
    expect(not wants.is_symlink(), "the unit is still enabled")


def report(counts: dict[str, int], took: float) -> int:
    verdict = "FAILED" if counts["failed"] else "ok"
    print(
        f"\ntest result: {verdict}. {counts['passed']} passed; {counts['failed']} failed; {counts['ignored']} ignored;"
        f" 0 measured; 0 filtered out; finished in {took:.2f}s\n"
    )
    return 1 if counts["failed"] else 0


def shout(why: object) -> None:
    bar = "!" * 100
    print(f"\n{bar}\n!! NOT TESTED: packages on whole machines: {why}\n{bar}", flush=True)


class Tally:
    """Runs tests one after another; after a failure, those that need what it was to leave are not reached."""

    def __init__(self) -> None:
        self.counts = {"passed": 0, "failed": 0, "ignored": 0}
        self.failures: list[tuple[str, str]] = []

    def run(self, test: Callable, world: World, after_failure: bool = False) -> None:
        at = time.monotonic()
        try:
            if self.failures and not after_failure:
                raise Failed("not reached")
            test(world)
        except Exception as why:  # noqa: BLE001
            print(f"test {test.__name__} ... FAILED", flush=True)
            text = str(why) if isinstance(why, Failed) else traceback.format_exc()
            if hasattr(world, "lab") and not self.failures:
                for m in world.lab.machines.values():
                    journal = m.out("journalctl --no-pager -n 40 -u 'palisade*'", check=False)
                    text += f"\n---- {m.name}\n{journal}"
            self.failures.append((test.__name__, text))
            self.counts["failed"] += 1
        else:
            print(f"test {test.__name__} ... ok ({time.monotonic() - at:.1f} s)", flush=True)
            self.counts["passed"] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--upgrade", type=Path)
    parser.add_argument("--profile", default="release")
    parser.add_argument("--cache", type=Path, required=True)
    args = parser.parse_args()
    tests = [(on_machines, test) for in_short, on_machines, test in TESTS if in_short or not args.short]
    print(f"     Running packaging/acceptance.py{' --short' if args.short else ''} (whole machines)")
    print(f"\nrunning {len(tests)} tests", flush=True)
    began = time.monotonic()
    tally, world = Tally(), World(args.packages.absolute(), args.upgrade and args.upgrade.absolute(), args.profile)
    for on_machines, test in tests:
        if not on_machines:
            tally.run(test, world, after_failure=True)
    tests = [test for on_machines, test in tests if on_machines]
    try:
        machines.possible()
        base = machines.image(args.cache)
    except machines.Refused as why:
        for test in tests:
            print(f"test {test.__name__} ... ignored, {why}")
        tally.counts["ignored"] += len(tests)
        shout(why)
    else:
        with Lab(base, [*NODES, HOST]) as world.lab:
            on_files, tally.failures = tally.failures, []
            for test in tests:
                tally.run(test, world)
            tally.failures = on_files + tally.failures
    if tally.failures:
        print("\nfailures:\n")
        for name, why in tally.failures:
            print(f"---- {name}\n{why}\n")
    return report(tally.counts, time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
