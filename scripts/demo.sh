#!/usr/bin/env bash
# The main job on this machine: three nodes, a stock OpenSSH server, one person, and the loss of the leader in the
# middle of a session. Every command is printed before it runs, so that it can be typed again.
#
#   make demo            stays up afterwards; ctrl-C stops everything it started
#   make demo ONCE=1     ends by itself; not zero if any step failed
#
# Everything lies in ./demo-run and listens on loopback only. What it starts it stops, by process id.
set -uo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo" || exit 1

scripts/setup.sh demo || exit 1
say "build output: $CARGO_TARGET_DIR"
scripts/ui.sh || die "the web pages do not build"
"$cargo" build --locked --quiet --workspace --bins || die "the programs do not build"

run=demo-run
me=$(id -un)
host=web1
password='correct horse battery staple'
began=$(date +%s.%N)
failed=0
declare -A pids=() web_port=() ssh_port=()
nodes=(a b c)

[ ! -e "$run/pids" ] || die "$run/pids is there: another demo runs, or one was killed. If none runs: rm -r $run"
rm -rf "$run"
mkdir -p "$run/pal" "$run/sshd"
touch "$run/pids"

cleanup() {
    local pid
    trap - EXIT INT TERM
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
    rm -f "$run/pids"
}
trap 'cleanup' EXIT
trap 'exit 130' INT TERM

# ---- how it speaks -------------------------------------------------------------------------------------------

bold='' green='' red='' plain=''
[ ! -t 1 ] || bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
seconds() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.2f", b - a }'; }
title() { printf '\n%s== %s%s  (%s s)\n' "$bold" "$*" "$plain" "$(seconds "$began")"; }
note() { printf '   %s\n' "$*"; }
good() { printf '   %sok%s  %s\n' "$green" "$plain" "$*"; }
bad() {
    printf '   %sFAILED%s  %s\n' "$red" "$plain" "$*"
    failed=$((failed + 1))
    for name in "${nodes[@]}"; do
        [ -s "$run/$name.log" ] && printf -- '---- %s.log\n' "$name" && tail -n 15 "$run/$name.log"
    done
    printf 'demo: failed at the step above, after %s s. Logs: %s/*.log\n' "$(seconds "$began")" "$run"
    exit 1
}

# Prints a command as it would be typed, runs it, keeps its output in $output and shows it.
output=
typed() {
    local word line='$'
    for word in "$@"; do
        case $word in
            '|' | '>') line+=" $word" ;;
            *[!A-Za-z0-9_./:=@%,+-]* | '') line+=" '$word'" ;;
            *) line+=" $word" ;;
        esac
    done
    printf '%s\n' "$line"
}
try() {
    local code
    typed "$@"
    output=$("$@" 2>&1)
    code=$?
    [ -z "$output" ] || printf '%s\n' "$output" | sed 's/^/   /'
    return "$code"
}
must() { try "$@" || bad "it ended with $?: $1 ${2-}"; }

# Asks again until a command succeeds, at most so many seconds.
within() {
    local bound=$1 start=$SECONDS
    shift
    until "$@"; do
        [ $((SECONDS - start)) -lt "$bound" ] || return 1
        sleep 0.1
    done
}
contains() { case $output in *"$1"*) good "${2:-shows \"$1\"}" ;; *) bad "\"$1\" is not in the output" ;; esac }

free_ports() {
    python3 - "$1" <<'PY'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*[s.getsockname()[1] for s in held])
PY
}

# A code that was not used yet: each works once. The first line of what it prints is the code.
last_step=0
fresh_code() {
    local now step
    while :; do
        now=$(($(date +%s) / 30))
        step=$((last_step + 1 > now - 1 ? last_step + 1 : now - 1))
        [ "$step" -le $((now + 1)) ] && break
        sleep 0.5
    done
    last_step=$step
    code=$(oathtool --totp -b --now "@$((step * 30))" "$secret")
}

control() { printf '%s/%s/control.sock' "$run" "$1"; }

# ---- the three nodes -----------------------------------------------------------------------------------------

export PATH="$CARGO_TARGET_DIR/debug:$PATH" PAL_HOME=$repo/$run/pal NO_COLOR=1
title "Three nodes on loopback"
typed export "PATH=$CARGO_TARGET_DIR/debug:\$PATH" "PAL_HOME=$PAL_HOME"
read -ra ports <<<"$(free_ports 10)"
start_node() {
    local name=$1
    typed palisade node --config "$run/$name.yaml"
    palisade node --config "$run/$name.yaml" >>"$run/$name.log" 2>&1 &
    pids[$name]=$!
    printf '%s %s\n' "$name" "$!" >>"$run/pids"
}
for i in 0 1 2; do
    name=${nodes[$i]}
    web_port[$name]=${ports[$((3 * i + 1))]}
    ssh_port[$name]=${ports[$((3 * i + 2))]}
    cat >"$run/$name.yaml" <<YAML
name: $name
data_dir: $repo/$run/$name
advertise: 127.0.0.1
cluster_listen: 127.0.0.1:${ports[$((3 * i))]}
web_listen: 127.0.0.1:${web_port[$name]}
ssh_listen: 127.0.0.1:${ssh_port[$name]}
log: text
YAML
    start_node "$name"
done
answers() { palctl --socket "$(control "$1")" cluster status >/dev/null 2>&1; }
for name in "${nodes[@]}"; do within 30 answers "$name" || bad "node $name does not answer"; done
good "three processes answer on their control sockets"

title "One cluster of them"
must palctl --socket "$(control a)" cluster init --name demo
for name in b c; do
    must palctl --socket "$(control a)" tokens add --ttl 10m
    token=$(printf '%s\n' "$output" | grep -oE 'pj1\.[A-Za-z0-9._-]+' | head -n 1)
    export PALISADE_JOIN_TOKEN=$token
    must palctl --socket "$(control "$name")" cluster join "127.0.0.1:${web_port[a]}"
    unset PALISADE_JOIN_TOKEN
done
status_json() { palctl --socket "$(control "$1")" cluster status --format json 2>/dev/null; }
all_vote() { [ "$(status_json a | jq '[.nodes[] | select(.voter and .reachable)] | length')" = 3 ]; }
within 60 all_vote || bad "not all nodes vote"
must palctl --socket "$(control a)" cluster status
good "three voters: one may be lost"

# ---- the host ------------------------------------------------------------------------------------------------

title "A stock OpenSSH server as the host"
sshd_port=${ports[9]}
must ssh-keygen -q -t ed25519 -N '' -f "$run/sshd/host_key"
must palctl --socket "$(control a)" auth sign --host "$host" --key "$run/sshd/host_key.pub"
two_lines=$(printf '%s\n' "$output" | grep -E '^(TrustedUserCAKeys|HostCertificate) ')
pam=no
# Without PAM, sshd refuses an account whose password is locked with "!", certificate or not.
grep -q "^$me:!" /etc/shadow 2>/dev/null && pam=yes
cat >"$run/sshd/config" <<CONF
Port $sshd_port
ListenAddress 127.0.0.1
HostKey $repo/$run/sshd/host_key
PidFile none
AuthorizedKeysFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM $pam
Subsystem sftp internal-sftp
# The two lines that a host needs:
$two_lines
CONF
typed /usr/sbin/sshd -D -e -f "$repo/$run/sshd/config"
/usr/sbin/sshd -D -e -f "$repo/$run/sshd/config" >"$run/sshd.log" 2>&1 &
pids[sshd]=$!
printf 'sshd %s\n' "$!" >>"$run/pids"
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$sshd_port") 2>/dev/null; }
within 10 listens || { cat "$run/sshd.log"; bad "sshd does not listen"; }
must palctl --socket "$(control a)" hosts add "$host" --addr "127.0.0.1:$sshd_port" --labels env=demo
must palctl --socket "$(control a)" hosts ls
contains "$host"

# ---- the person ----------------------------------------------------------------------------------------------

title "A user is invited, sets a password and a second factor"
must palctl --socket "$(control a)" users add alice --roles access,auditor --logins "$me"
invite=$(printf '%s\n' "$output" | grep -oE 'https://[^ ]+/invite/[A-Za-z0-9._-]+' | head -n 1)
pin=$(printf '%s\n' "$output" | grep -oE 'sha256:[0-9a-f]{64}' | head -n 1)
must pal invite accept "$invite" --ca-pin "$pin" --show
secret=$(printf '%s\n' "$output" | grep -oE '^ +[A-Z2-7]{16,}$' | tr -d ' ' | head -n 1)
[ -n "$secret" ] || bad "the invite shows no secret"
note "her password is '$password', her codes come from: oathtool --totp -b $secret"
# With the password on its input; at a terminal it would be asked for.
with_password() {
    typed "$@"
    output=$(printf '%s\n' "$password" | "$@" 2>&1)
    local result=$?
    printf '%s\n' "$output" | sed 's/^/   /'
    return "$result"
}
fresh_code
with_password pal invite accept "$invite" --ca-pin "$pin" --password-stdin --code "$code" || bad "the invite was not accepted"
good "alice has a password and a second factor"

title "Login, and what the certificate says"
fresh_code
start=$(date +%s.%N)
with_password pal login --proxy "127.0.0.1:${web_port[a]}" --user alice --ca-pin "$pin" --password-stdin --code "$code" ||
    bad "the login failed"
good "logged in after $(seconds "$start") s"
certificate=$(find "$PAL_HOME" -name '*-cert.pub' | head -n 1)
must ssh-keygen -L -f "$certificate"
contains "$me" "the certificate has the login $me"
must pal ls
contains "$host"

title "A session with stock ssh, a file with stock scp"
typed pal config '>' "$run/ssh_config"
pal config >"$run/ssh_config" || bad "pal config failed"
start=$(date +%s.%N)
must ssh -F "$run/ssh_config" -o BatchMode=yes "$me@$host" 'echo hello from; hostname'
contains "hello from"
good "after $(seconds "$start") s"
note "an interactive session, typed by the demo:"
typed ssh -F "$run/ssh_config" -tt "$me@$host"
output=$(printf 'echo first-session-marker\nexit\n' | ssh -F "$run/ssh_config" -o BatchMode=yes -tt "$me@$host" 2>&1)
printf '%s\n' "$output" | tail -n 4 | sed 's/^/   /'
contains "first-session-marker"
head -c 1000000 /dev/urandom >"$run/sent"
must scp -F "$run/ssh_config" -o BatchMode=yes "$run/sent" "$me@$host:$repo/$run/received"
must cmp "$run/sent" "$run/received"
good "a megabyte arrived whole"

# ---- the loss of the leader ----------------------------------------------------------------------------------

leader_name() { status_json "$1" | jq -r '.leader as $l | .nodes[] | select(.id == $l) | .name'; }

title "kill -9 of the leader in the middle of a second, live session"
leader=$(leader_name a)
[ -n "$leader" ] || bad "nobody knows the leader"
note "the leader is $leader; this session goes through it, by plain ProxyJump"
typed pal config --jump '|' sed "s/Port .*/Port ${ssh_port[$leader]}/" '>' "$run/ssh_config.leader"
pal config --jump | sed "s/Port .*/Port ${ssh_port[$leader]}/" >"$run/ssh_config.leader" || bad "pal config failed"
mkfifo "$run/keys"
typed ssh -F "$run/ssh_config.leader" -tt "$me@$host"
ssh -F "$run/ssh_config.leader" -o BatchMode=yes -tt "$me@$host" <"$run/keys" >"$run/second.out" 2>&1 &
second=$!
pids[second]=$second
exec 9>"$run/keys"
# Text that the terminal does not echo as typed: only the command's own output has the number in it.
printf 'echo second-session-%s\n' "\$((40+2))" >&9
shows() { grep -q -- "$1" "$run/second.out"; }
within 20 shows second-session-42 || { cat "$run/second.out"; bad "the second session does not live"; }
good "it lives"
fresh_code
note "a recording is at most a second behind a live session: the demo types on for two seconds, then kills"
for n in 1 2 3 4; do
    printf 'echo still-typing-%s\n' "$n" >&9
    sleep 0.5
done
typed kill -9 "${pids[$leader]}"
killed=$(date +%s.%N)
kill -9 "${pids[$leader]}" || bad "the leader was gone already"
wait "${pids[$leader]}" 2>/dev/null
unset "pids[$leader]"
survivors=()
for name in "${nodes[@]}"; do [ "$name" = "$leader" ] || survivors+=("$name"); done

# Each is asked for again until it works; the gap is the time from the kill to the first success.
survive() {
    local what=$1
    shift
    until "$@"; do
        awk -v a="$killed" -v b="$(date +%s.%N)" 'BEGIN { exit !(b - a < 30) }' || bad "no $what within 30 s of the kill"
    done
}
addresses=$(for name in "${survivors[@]}"; do printf ',127.0.0.1:%s' "${web_port[$name]}"; done)
survive "new login" with_password \
    pal login --proxy "${addresses#,}" --user alice --ca-pin "$pin" --password-stdin --code "$code"
login_gap=$(seconds "$killed")
good "a new login through a survivor, $login_gap s after the kill"
survive "new session" try ssh -F "$run/ssh_config" -o BatchMode=yes -o ConnectTimeout=5 "$me@$host" 'echo new-session-marker'
session_gap=$(seconds "$killed")
contains new-session-marker "a new session through a survivor, $session_gap s after the kill"
exec 9>&-
wait "$second" 2>/dev/null
unset 'pids[second]'
new_leader=$(leader_name "${survivors[0]}")
must palctl --socket "$(control "${survivors[0]}")" cluster status
good "${new_leader:-nobody} leads now; the session of the dead node ended with it, its recording did not"

# ---- what is left of it --------------------------------------------------------------------------------------

title "Both recordings, played by a surviving node"
must pal recordings ls
first_id='' second_id=''
rows=$(pal recordings ls --format json)
for id in $(printf '%s' "$rows" | jq -r '.. | .session? // empty' | sort -u); do
    text=$(pal play --no-wait "$id" 2>/dev/null)
    case $text in *first-session-marker*) first_id=$id ;; esac
    case $text in *second-session-42*) second_id=$id ;; esac
done
[ -n "$first_id" ] || bad "no recording shows the first session"
[ -n "$second_id" ] || bad "no recording shows the session that died with its node"
must pal play --no-wait "$first_id"
contains first-session-marker
must pal play --no-wait "$second_id"
contains still-typing-2 "the recording of the dead node plays to where a second before the kill"

title "The audit log, checked by the cluster and offline"
first=${survivors[0]}
must palctl --socket "$(control "$first")" audit search --limit 12
must palctl --socket "$(control "$first")" audit verify
must palctl --socket "$(control "$first")" audit export --out "$run/audit.jsonl"
typed palctl --socket "$(control "$first")" auth export --type audit '>' "$run/audit_ca.pub"
palctl --socket "$(control "$first")" auth export --type audit >"$run/audit_ca.pub" || bad "no audit authority"
must palctl audit verify "$run/audit.jsonl" --authority "$run/audit_ca.pub"
good "chain and signed heads hold"

title "Done"
note "login after the loss of the leader: $login_gap s; new session: $session_gap s; whole demo: $(seconds "$began") s"
if [ -n "${ONCE:-}" ]; then
    [ "$failed" -eq 0 ] || exit 1
    say "demo: every step passed"
    exit 0
fi

cat <<TRY

It stays up. In another terminal, in $repo:

  export PATH=$CARGO_TARGET_DIR/debug:\$PATH PAL_HOME=$PAL_HOME
  pal status; pal ls
  ssh -F $run/ssh_config $me@$host
  palctl --socket $(control "$first") cluster status
  palctl --socket $(control "$first") audit search --user alice
  palisade node --config $run/$leader.yaml      # bring the killed node back

alice's password is '$password', her code: oathtool --totp -b $secret
Press ctrl-C to stop everything.
TRY
while :; do sleep 3600 & wait $!; done
