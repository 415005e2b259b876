"""Whole machines for tests: systemd in containers (systemd-nspawn), each in a network namespace of its own, on one bridge,
without a default route. Needs root. What it starts it stops; its namespaces and folders go with it."""

import contextlib
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SUITE = "bookworm"
# What the packages depend on, and what the tests type.
PACKAGES = ["curl", "dbus", "iproute2", "openssh-client", "procps", "systemd", "systemd-sysv"]
MIRROR = os.environ.get("PALISADE_DEBIAN_MIRROR", "http://deb.debian.org/debian")
SUBNET = "10.77.0"
BOOT_FOR = 60


class Refused(Exception):
    """This machine does not allow such machines; says why."""


class Failed(Exception):
    """Something that was expected did not happen."""


def run(*argv: str, check: bool = True, **kwargs) -> subprocess.CompletedProcess:
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", **kwargs)
    if check and done.returncode != 0:
        raise Failed(f"$ {shlex.join(argv)}\nended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def possible() -> None:
    """Raises `Refused` where machines cannot be had."""
    if os.geteuid() != 0:
        raise Refused("only root may boot machines")
    for program in ("systemd-nspawn", "debootstrap", "ip", "nft", "nsenter"):
        if shutil.which(program) is None:
            raise Refused(f"there is no {program}: scripts/setup.sh packages installs it")
    with tempfile.TemporaryDirectory() as scratch:
        tried = f"pal-try-{os.getpid()}"
        made = run("ip", "netns", "add", tried, check=False)
        if made.returncode != 0:
            raise Refused(f"no network namespace can be made: {made.stderr.strip()}")
        run("ip", "netns", "del", tried, check=False)
        for name in ("lower", "upper", "work", "merged"):
            (Path(scratch) / name).mkdir()
        try:
            overlay(Path(scratch) / "lower", Path(scratch))
        except Failed as why:
            raise Refused(f"nothing can be mounted: {why}") from why
        run("umount", str(Path(scratch) / "merged"))


def overlay(lower: Path, top: Path) -> None:
    options = f"lowerdir={lower},upperdir={top}/upper,workdir={top}/work"
    run("mount", "-t", "overlay", "overlay", "-o", options, str(top / "merged"))


def image(cache: Path) -> Path:
    """The base of all machines: made once, and again when the list of its packages changes."""
    key = hashlib.sha256(" ".join([SUITE, *sorted(PACKAGES)]).encode()).hexdigest()[:12]
    base = cache / "machines" / f"{SUITE}-{key}"
    if base.exists():
        return base
    print(f"machines: building their image into {base}, once (some minutes)", flush=True)
    making = base.with_suffix(f".{os.getpid()}")
    making.parent.mkdir(parents=True, exist_ok=True)
    try:
        include = "--include=" + ",".join(PACKAGES)
        made = run("debootstrap", "--variant=minbase", include, SUITE, str(making), MIRROR, check=False)
        if made.returncode != 0:
            raise Refused(f"debootstrap could not make the image: {made.stdout[-800:]}{made.stderr[-400:]}")
        # It forbids the start of services, and was never a machine.
        (making / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
        for name in ("etc/machine-id", "etc/hostname", "etc/resolv.conf"):
            (making / name).unlink(missing_ok=True)
        (making / "etc/machine-id").touch()
        for archive in (making / "var/cache/apt/archives").glob("*.deb"):
            archive.unlink()
        making.rename(base)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return base


class Machine:
    """One of them."""

    def __init__(self, lab: "Lab", name: str, number: int):
        self.lab, self.name, self.addr = lab, name, f"{SUBNET}.{number}"
        self.top = lab.top / name
        self.netns = f"{lab.prefix}-{name}"
        self.spawned: subprocess.Popen | None = None
        self.leader = 0
        for part in ("upper", "work", "merged"):
            (self.top / part).mkdir(parents=True)

    @property
    def root(self) -> Path:
        return self.top / "merged"

    def prepare(self, hosts: str) -> None:
        veth = f"v-{self.name}"
        run("ip", "netns", "add", self.netns)
        run("ip", "-n", self.lab.switch, "link", "add", veth, "type", "veth", "peer", "name", "host0", "netns", self.netns)
        run("ip", "-n", self.lab.switch, "link", "set", veth, "master", "br0", "up")
        run("ip", "-n", self.netns, "link", "set", "lo", "up")
        run("ip", "-n", self.netns, "link", "set", "host0", "up")
        run("ip", "-n", self.netns, "addr", "add", f"{self.addr}/24", "dev", "host0")
        peers = ", ".join(m.addr for m in self.lab.machines.values())
        # Counts what goes to an address of the network that no machine has.
        rules = (
            "table inet guard { counter strangers { }\n chain out { type filter hook output priority 0;\n"
            f" oifname lo accept\n ip daddr {{ {peers} }} accept\n ip6 daddr {{ fe80::/10, ff00::/8 }} accept\n"
            ' counter name "strangers"\n }\n}\n'
        )
        run("ip", "netns", "exec", self.netns, "nft", "-f", "-", input=rules)
        overlay(self.lab.base, self.top)
        (self.root / "etc/hostname").write_text(f"{self.name}\n")
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{hosts}")

    def boot(self) -> None:
        env = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        log = (self.top / "console.log").open("wb")
        self.spawned = subprocess.Popen(
            ["systemd-nspawn", "--register=no", "--keep-unit", "-D", str(self.root),
             f"--network-namespace-path=/run/netns/{self.netns}", "--resolv-conf=off", "--timezone=off",
             "--console=read-only", "-M", f"{self.lab.prefix}-{self.name}", "-b"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True)  # fmt: skip
        until = time.monotonic() + BOOT_FOR
        while True:
            children = run("pgrep", "-P", str(self.spawned.pid), check=False).stdout.split()
            if children:
                self.leader = int(children[0])
                state = self.sh("systemctl is-system-running", check=False).stdout.strip()
                if state in ("running", "degraded"):
                    return
            if self.spawned.poll() is not None or time.monotonic() > until:
                raise Failed(f"{self.name} does not boot:\n{(self.top / 'console.log').read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def sh(self, command: str, check: bool = True, stdin: str = "", timeout: float = 180) -> subprocess.CompletedProcess:
        """Runs a shell command as root in the machine."""
        argv = ["nsenter", "-t", str(self.leader), "-a", "--", "/usr/bin/env", "-i", "HOME=/root", "LC_ALL=C.UTF-8",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", command]  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", input=stdin, timeout=timeout)
        if check and done.returncode != 0:
            raise Failed(f"{self.name}$ {command}\nended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def out(self, command: str, **kwargs) -> str:
        return self.sh(command, **kwargs).stdout.strip()

    def refused(self, command: str, *words: str, **kwargs) -> str:
        """Runs a command that must fail, and say these words."""
        done = self.sh(command, check=False, **kwargs)
        said = done.stdout + done.stderr
        if done.returncode == 0:
            raise Failed(f"{self.name}$ {command}\nwas to be refused, and said:\n{said}")
        missing = [word for word in words if word.lower() not in said.lower()]
        if missing:
            raise Failed(f"{self.name}$ {command}\nwas refused without saying {missing}:\n{said}")
        return said

    def copy(self, path: Path, into: str = "/root") -> str:
        shutil.copy(path, self.root / into.lstrip("/"))
        return f"{into}/{path.name}"

    def unroutable(self) -> int:
        """How many packets or connections had no way out: without a default route, every attempt to call out is one."""
        count = 0
        table = [line.split() for line in self.out("cat /proc/net/snmp").splitlines() if line.startswith("Ip:")]
        count += int(table[1][table[0].index("OutNoRoutes")])
        for line in self.out("cat /proc/net/snmp6").splitlines():
            name, value = line.split()
            if name == "Ip6OutNoRoutes":
                count += int(value)
        return count

    def halt(self) -> None:
        """Ends it, if it has not ended itself, and lets go of its disk."""
        if self.spawned and self.spawned.poll() is None:
            # Its init takes every other process of the machine with it.
            if self.leader:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.leader, signal.SIGKILL)
            else:
                self.spawned.terminate()
            try:
                self.spawned.wait(20)
            except subprocess.TimeoutExpired:
                self.spawned.kill()
                self.spawned.wait()
        run("umount", "-l", str(self.root), check=False)

    def power_off(self) -> None:
        self.halt()
        run("umount", "-l", str(self.root), check=False)
        run("ip", "netns", "del", self.netns, check=False)


class Lab:
    """The machines, and the switch between them."""

    def __init__(self, base: Path, names: list[str]):
        self.base = base
        self.prefix = f"pal{os.getpid()}"
        self.switch = f"{self.prefix}-switch"
        self.top = Path(tempfile.mkdtemp(prefix="palisade-machines-", dir="/var/tmp"))
        self.machines = {name: Machine(self, name, 11 + i) for i, name in enumerate(names)}

    def __enter__(self) -> "Lab":
        try:
            run("ip", "netns", "add", self.switch)
            run("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge")
            run("ip", "-n", self.switch, "link", "set", "br0", "up")
            hosts = "".join(f"{m.addr} {m.name}\n" for m in self.machines.values())
            for machine in self.machines.values():
                machine.prepare(hosts)
            self.each(Machine.boot)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.each(Machine.power_off)
        run("ip", "netns", "del", self.switch, check=False)
        shutil.rmtree(self.top, ignore_errors=True)

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def strangers(self, machine: Machine) -> int:
        """How many packets a machine sent to addresses of the network that no machine has."""
        shown = run("ip", "netns", "exec", machine.netns, "nft", "list", "counter", "inet", "guard", "strangers").stdout
        return int(shown.split("packets")[1].split()[0])

    def each(self, what, names: list[str] | None = None) -> list:
        """Does something on all machines at once."""
        chosen = [m for m in self.machines.values() if names is None or m.name in names]
        with ThreadPoolExecutor(len(chosen)) as pool:
            return list(pool.map(what, chosen))
