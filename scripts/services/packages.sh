# Servers from packages, run by us and not by the system. Sourced by services.sh.

packages_start() {
	[ -r /proc/self/stat ] || fail "$1: without Docker this needs Linux; start an engine, or say in the environment where $1 is"
	# One that was killed a moment ago may not have let go of its port.
	local i
	for i in {1..30}; do
		tcp 127.0.0.1 "$(port "$1")" || break
		sleep 0.1
	done
	[ "$i" -lt 30 ] || fail "$1: port $(port "$1") belongs to another process; end that, or $0 wipe $1 and start again"
	"${1}_start"
}

packages_pid() {
	local pid start
	read -r pid start 2>/dev/null <"$state/$1/pid" && lives "$pid" "$start" && echo "$pid"
}

packages_alive() { packages_pid "$1" >/dev/null; }
packages_paused() { [ "$(run_state "$(packages_pid "$1")")" = T ]; }
packages_kill9() {
	kill -KILL "$(packages_pid "$1")"
	gone "$1" 10
}

packages_pause() {
	local pid
	pid=$(packages_pid "$1")
	kill -STOP "$pid" $(children "$pid")
}

packages_resume() {
	local pid
	pid=$(packages_pid "$1")
	kill -CONT $(children "$pid") "$pid"
}

packages_stop() {
	local pid
	if pid=$(packages_pid "$1"); then
		"${1}_stop" "$pid"
		if ! gone "$1" 30; then
			say "$1 did not stop within 30 s and is killed"
			packages_kill9 "$1"
		fi
	fi
	"${1}_stopped"
	rm -f "$state/$1/pid"
}

packages_remove() { :; }
packages_recorded() { "${1}_recorded"; }
packages_ctl() { rabbitmq_ctl "$@"; }
packages_last_words() {
	echo "see $state/$1/server.log"
	tail -n 5 "$state/$1/server.log" 2>/dev/null
}

# record NAME PID keeps which process a server is.
record() { echo "$2 $(started "$2")" >"$state/$1/pid"; }

# gone NAME SECONDS waits until a server has ended.
gone() {
	local i
	for ((i = 0; i < $2 * 10; i++)); do
		packages_alive "$1" || return 0
		sleep 0.1
	done
	return 1
}

# children PID prints all that a process has started, and those theirs.
children() {
	local child
	for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
		echo "$child"
		children "$child"
	done
}

# launch LOG COMMAND... starts a server in a session of its own, so that a Ctrl-C
# for tests does not reach it, and sets launched to its ID.
launch() {
	local log=$1
	shift
	# In a folder of its own, where what it leaves when it crashes is out of the way.
	setsid nohup env -C "$(dirname "$log")" "$@" >"$log" 2>&1 </dev/null &
	launched=$!
}

# need WHAT PACKAGE COMMAND... installs a Debian package unless a command, which
# looks for it, succeeds.
need() {
	local what=$1 package=$2
	shift 2
	"$@" && return
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		fail "$what is missing: install it (Debian: $package), start a Docker engine, or run this as root on Debian"
	fi
	mkdir -p "$cache"
	( # Only one can install at a time; the lock ends with this process.
		lock_file "$cache/apt.lock"
		"$@" || install_package "$package" 9>&-
	) || fail "$what is missing and Debian's $package cannot be installed: see $cache/apt-$package.log"
	"$@" || fail "$what is missing although Debian's $package is installed"
}

# install_package PACKAGE does not let Debian start servers of its own.
install_package() {
	local policy=/usr/sbin/policy-rc.d own=
	say "installing Debian's $1"
	if [ ! -e $policy ]; then
		own=yes
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	{
		apt-get -o DPkg::Lock::Timeout=300 update &&
			DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$1"
	} >"$cache/apt-$1.log" 2>&1
}
