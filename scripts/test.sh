#!/usr/bin/env bash
# Runs the tests that need more than Go, and sets up what they need: real Kafka,
# RabbitMQ and PostgreSQL (services.sh), Python for the example stages, a C
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
services= # the process that starts the servers

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
	mkdir -p "$cache"
	{ # services.sh installs too, and only one can at a time.
		flock 9
		if [ -z "$updated" ]; then
			apt-get update -q >&2 || return 1
			updated=yes
		fi
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2
	} 9>"$cache/apt.lock"
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

# end_services stops the servers of this run, whatever became of it.
end_services() {
	wait || true # for servers that are still being started
	scripts/services.sh wipe all && rm -rf "$SERVICES_STATE"
}

# start_services starts servers for this run alone in the background, on ports of
# their own.
start_services() {
	[ -z "$services" ] || return 0
	scripts/services.sh sweep
	SERVICES_STATE=$(scripts/services.sh new)
	export SERVICES_STATE SERVICES_OWNER=$$
	trap end_services EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	say "starting Kafka, RabbitMQ and PostgreSQL"
	scripts/services.sh up all &
	services=$!
}

# find_python prints the path of a Python that has what the example stages need.
find_python() {
	if [ -n "${PIZZAMILL_TEST_PYTHON:-}" ]; then
		echo "$PIZZAMILL_TEST_PYTHON"
		return
	fi
	local wanted=examples/python-stage/requirements.txt folder
	folder=$cache/python-$(cksum <$wanted | cut -d' ' -f1)
	if [ ! -e "$folder/complete" ]; then
		python3 -c 'import ensurepip, venv' 2>/dev/null || install python3-venv || return 1
		say "fetching what the example stages in Python need"
		mkdir -p "$cache"
		python3 -m venv "$folder" >&2 && "$folder/bin/pip" install -q -r $wanted >&2 || return 1
		touch "$folder/complete"
	fi
	echo "$folder/bin/python"
}

# use_services waits for the servers, and tells the tests where they are and where
# Python is.
use_services() {
	[ -n "$services" ] || return 0
	wait "$services" || true
	services=
	local name
	for name in kafka rabbitmq postgres; do
		if scripts/services.sh status "$name" >&2; then
			eval "$(scripts/services.sh env "$name")"
		else
			leave_out "tests with a real $name" "it cannot be had: see above"
		fi
	done
	local python
	if python=$(find_python); then
		export PIZZAMILL_TEST_PYTHON=$python
	else
		leave_out "the example stages in Python" "they need Python 3 (Debian: python3-venv) and the packages in examples/python-stage/requirements.txt"
	fi
}

test_race() {
	local compiler=yes
	command -v gcc >/dev/null || command -v clang >/dev/null || install gcc libc6-dev || compiler=
	if [ -n "$compiler" ]; then
		say "building, with the race detector"
		CGO_ENABLED=1 go build -race ./...
	fi
	use_services
	if [ -n "$compiler" ]; then
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
	go build ./...
	use_services
	say "the binary from outside, at full length"
	# They mostly wait for servers and processes, so more run at once than there are cores.
	PIZZAMILL_E2E=full go test -count 1 -timeout 12m -parallel 4 ./e2e/...
}

# measure_scale is no test and runs only when it is asked for.
measure_scale() {
	use_services
	say "1, 2 and 4 processes of a slow stage"
	PIZZAMILL_E2E=scale go test -count 1 -timeout 20m -run '^TestScale$' -v ./e2e/
}

parts=${*:-race browser e2e}
for part in $parts; do
	case $part in
	browser) ;;
	race | e2e | scale) start_services ;;
	*)
		echo "usage: $0 [race] [browser] [e2e] [scale]" >&2
		exit 2
		;;
	esac
done
for part in $parts; do
	case $part in
	scale) measure_scale ;;
	*) "test_$part" ;;
	esac
done

if [ ${#left_out[@]} -gt 0 ]; then
	printf '\n!!! LEFT OUT: %s\n' "${left_out[@]}" >&2
fi
