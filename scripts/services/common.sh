# What all parts of services.sh use. Sourced by it.

say() { echo "services: $*" >&2; }

fail() {
	say "$*"
	exit 1
}

# limit SECONDS COMMAND... ends a command that takes too long, where the machine
# has the means.
limit() {
	if command -v timeout >/dev/null; then
		timeout "$@"
	else
		shift
		"$@"
	fi
}

# make_root makes the folder of all sets. What is in it is run and believed, so it
# must be nobody else's.
make_root() {
	mkdir -p -m 755 "$root" && [ -O "$root" ] || fail "$root cannot be made, or belongs to another user; choose another folder with SERVICES_STATE"
}

# make_state makes the folder of this set.
make_state() {
	[ "${state%/*}" != "$root" ] || make_root
	mkdir -p -m 755 "$state" && [ -O "$state" ] || fail "$state cannot be made, or belongs to another user; choose another with SERVICES_STATE"
	if [ -n "${SERVICES_OWNER:-}" ]; then
		echo "$SERVICES_OWNER $(started "$SERVICES_OWNER")" >"$state/owner"
	fi
}

# lock NAME waits until nobody else starts or stops a server of this set, and
# holds it, by file descriptor 9, as long as this process runs or until unlock.
lock() {
	make_state
	lock_file "$state/$1.lock"
}

lock_file() {
	exec 9>"$1" || fail "cannot write $1"
	! command -v flock >/dev/null || flock 9
}

unlock() { exec 9>&-; }

# means NAME prints how a server was started: docker or packages; environment if
# that says where there is one; nothing if it was not started.
means() {
	if given "$1"; then
		echo environment
	else
		cat "$state/$1/means" 2>/dev/null || true
	fi
}

# given NAME reports whether we are to use a server that the environment names.
# One that this set has started comes first: the environment may name just that.
given() { [ ! -e "$state/$1/means" ] && [ -n "$(named "$1")" ]; }

# named NAME prints the address of a server in the environment.
named() {
	case $1 in
	kafka) echo "${PIZZAMILL_TEST_KAFKA:-}" ;;
	rabbitmq) echo "${PIZZAMILL_TEST_AMQP:-}" ;;
	management) echo "${PIZZAMILL_TEST_RABBITMQ_MANAGEMENT:-}" ;;
	postgres) echo "${PIZZAMILL_TEST_POSTGRES:-}" ;;
	esac
}

# address NAME prints host and port.
address() {
	local place
	if ! given "$1"; then
		echo "127.0.0.1 $(port "$1")"
		return
	fi
	place=$(named "$1")
	place=${place#*://}
	place=${place%%[/?]*}
	place=${place##*@}
	place=${place%%,*}
	case $place in
	*:*) echo "${place%:*} ${place##*:}" ;;
	*) echo "$place $(default_port "$1")" ;;
	esac
}

# tcp HOST PORT reports whether something listens there.
tcp() { limit 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null; }

# ask NAME REQUEST SKIP COUNT sends a server some bytes, written for printf, and
# prints COUNT bytes of the answer in hexadecimal, without the first SKIP.
ask() {
	limit 3 bash -c '
		exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "$1" >&3 &&
			head -c $(($2 + $3)) <&3 | tail -c "$3" | od -An -tx1 | tr -d " \n"
	' "$(port "$1")" "$2" "$3" "$4" 2>/dev/null
}

# started PID prints when a process was started, so that a process that got the
# same ID later is not taken for it.
started() { awk '{ sub(/^.*\) /, ""); print $20 }' "/proc/$1/stat" 2>/dev/null || ps -o lstart= -p "$1" | tr ' ' _; }

# lives PID START reports whether the very process still runs.
lives() { [ -n "${2:-}" ] && [ "$(started "$1")" = "$2" ] && [ "$(run_state "$1")" != Z ]; }

# run_state PID prints R, S, T for stopped, Z for a zombie.
run_state() { awk '{ sub(/^.*\) /, ""); print $1 }' "/proc/$1/stat" 2>/dev/null || ps -o state= -p "$1" | cut -c1; }
