#!/usr/bin/env bash
# Runs the tests that need more than Go, and sets up what they need: a C
# compiler for the race detector, Chromium, and axe-core. Without arguments all
# parts run: race, browser, e2e.
#
# On Debian as root missing packages are installed. Elsewhere what cannot be run
# is left out with a message; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

axe_version=4.14.1
# Of the packed package.
axe_sha512=1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pizzamill

left_out=()

say() { printf '\n==> %s\n' "$*" >&2; }

# leave_out WHAT WHY: goes on without a part, or fails where it must not be missing.
leave_out() {
	printf '\n!!! %s NOT RUN: %s\n' "$1" "$2" >&2
	if [ "${CI:-}" = true ]; then
		exit 1
	fi
	left_out+=("$1")
}

updated=
# install PACKAGE...: installs Debian packages, if this is Debian and we are root.
install() {
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		return 1
	fi
	say "installing $*"
	if [ -z "$updated" ]; then
		apt-get update -q >&2 || return 1
		updated=yes
	fi
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2
}

# find_chromium prints the path of a Chromium.
find_chromium() {
	if [ -n "${PIZZAMILL_TEST_CHROMIUM:-}" ]; then
		echo "$PIZZAMILL_TEST_CHROMIUM"
		return
	fi
	for name in chromium chromium-browser google-chrome; do
		if command -v "$name"; then
			return
		fi
	done
	install chromium && command -v chromium
}

# find_axe prints the path of axe.min.js, fetched once and checked every time.
find_axe() {
	local pack=$cache/axe-core-$axe_version.tgz
	mkdir -p "$cache"
	if [ ! -f "$pack" ]; then
		command -v npm >/dev/null || install npm || return 1
		say "fetching axe-core $axe_version"
		npm pack --silent --pack-destination "$cache" "axe-core@$axe_version" >&2 || return 1
	fi
	if ! echo "$axe_sha512  $pack" | sha512sum --check --status; then
		rm -f "$pack"
		echo "axe-core $axe_version is not what was pinned" >&2
		return 1
	fi
	tar -xzf "$pack" -C "$cache" package/axe.min.js || return 1
	echo "$cache/package/axe.min.js"
}

test_race() {
	if command -v gcc >/dev/null || command -v clang >/dev/null || install gcc libc6-dev; then
		say "all packages, with the race detector"
		CGO_ENABLED=1 go test -race -timeout 15m ./...
	else
		leave_out "the race detector" "it needs a C compiler (Debian: gcc, libc6-dev)"
		go test -timeout 15m ./...
	fi
}

test_browser() {
	local chromium axe
	if ! chromium=$(find_chromium); then
		leave_out "browser tests" "they need Chromium (Debian: chromium), or its path in PIZZAMILL_TEST_CHROMIUM"
		return
	fi
	if ! axe=$(find_axe); then
		leave_out "browser tests" "they need axe-core $axe_version, fetched by npm (Debian: npm)"
		return
	fi
	say "the pages in $chromium, with axe-core $axe_version"
	PIZZAMILL_TEST_CHROMIUM=$chromium PIZZAMILL_TEST_AXE=$axe \
		go test -tags browser -count 1 -timeout 10m ./ui/...
}

test_e2e() {
	say "the binary from outside, at full length"
	PIZZAMILL_E2E=full go test -count 1 -timeout 12m ./e2e/...
}

for part in ${@:-race browser e2e}; do
	case $part in
	race | browser | e2e) "test_$part" ;;
	*)
		echo "usage: $0 [race] [browser] [e2e]" >&2
		exit 2
		;;
	esac
done

if [ ${#left_out[@]} -gt 0 ]; then
	printf '\n!!! LEFT OUT: %s\n' "${left_out[@]}" >&2
fi
