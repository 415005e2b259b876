#!/usr/bin/env bash
# The web pages: builds web/ui into web/ui/dist, from where the program embeds them.
#
#   scripts/ui.sh           build, if anything changed since the last build
#   scripts/ui.sh dev       serve them with hot reload in front of a running node: NODE=https://localhost:3080
#   scripts/ui.sh check     types and lints
#   scripts/ui.sh test      unit tests; their sum is said as cargo says it, so that scripts/summary.py reads both
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

ui=$repo/web/ui
stamps=$cache/ui
least=18

for program in node npm; do
    command -v "$program" >/dev/null 2>&1 || die "there is no $program: run scripts/setup.sh build"
done
node_here=$(node --version | sed -E 's/^v([0-9]+).*/\1/')
[ "$node_here" -ge "$least" ] || die "node is $(node --version), and this needs $least or newer"
mkdir -p "$stamps"

# One stamp for each checkout: two of them may lie on one machine.
stamp=$stamps/$(printf '%s' "$ui" | sha256sum | cut -c 1-16)

# The packages are installed anew only when the lock, or the version of Node, is another.
wants=$(cat "$ui/package-lock.json" "$ui/.npmrc" <(node --version) | sha256sum | cut -d' ' -f1)
if [ ! -d "$ui/node_modules" ] || [ "$(cat "$stamp.lock" 2>/dev/null)" != "$wants" ]; then
    say "installing what the web pages are built with (npm ci)"
    rm -f "$stamp.lock"
    (cd "$ui" && npm ci --no-audit --no-fund --loglevel=error)
    printf '%s\n' "$wants" >"$stamp.lock"
fi

case ${1:-build} in
    build)
        # Everything that a build reads, by content: a checkout of another branch sets new times on old files. The help
        # pages are made from docs/ and the API's types from the document.
        state=$(cd "$repo" && {
            printf '%s\n' "$wants"
            find web/ui web/openapi.json docs Cargo.toml Cargo.lock \( -name node_modules -o -name dist \) -prune -o -type f -print0 |
                sort -z | xargs -0 sha256sum
        } | sha256sum | cut -d' ' -f1)
        if [ -e "$ui/dist/index.html" ] && [ "$(cat "$stamp.built" 2>/dev/null)" = "$state" ]; then
            say "the web pages are built already"
            exit 0
        fi
        rm -f "$stamp.built"
        (cd "$ui" && npx vite build --logLevel warn && node scripts/budget.mjs)
        printf '%s\n' "$state" >"$stamp.built"
        ;;
    # By another name: npm sets NODE to the path of its own program.
    dev) cd "$ui" && PALISADE_NODE=${NODE:-https://localhost:3080} exec npm run --silent dev ;;
    check)
        cd "$ui"
        # The client's types are those of the API's document as it is now.
        npx openapi-typescript ../openapi.json --output "$stamp.schema.ts" --alphabetize >/dev/null 2>&1
        cmp -s "$stamp.schema.ts" src/api/schema.ts ||
            die "web/ui/src/api/schema.ts is stale: npm run api, in web/ui, makes it anew"
        npm run --silent check
        ;;
    test)
        cd "$ui"
        printf '     Running web/ui (vitest)\n'
        code=0
        npx vitest run --reporter=dot --reporter=json --outputFile.json="$stamp.tests" || code=$?
        # shellcheck disable=SC2016 # that is JavaScript
        node -e '
            const all = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
            for (const file of all.testResults)
                for (const test of file.assertionResults)
                    if (test.status === "failed") console.log(`test ${test.fullName} ... FAILED`);
            const { numPassedTests: passed, numFailedTests: failed, numPendingTests: left } = all;
            console.log(`test result: ${failed ? "FAILED" : "ok"}. ${passed} passed; ${failed} failed; ${left} ignored;`);
        ' "$stamp.tests"
        exit "$code"
        ;;
    *) die "unknown part '$1': use build, dev, check or test" ;;
esac
