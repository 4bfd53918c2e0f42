#!/usr/bin/env bash
# Real Kafka, RabbitMQ and PostgreSQL for tests and for development, on loopback.
#
#   services.sh up      NAME...   start; returns at once where one runs and answers
#   services.sh down    NAME...   stop; the data stays, and so do the ports
#   services.sh wipe    NAME...   stop and delete the data; downloads stay
#   services.sh restart NAME...   orderly stop, and start
#   services.sh kill9   NAME...   SIGKILL; `up` brings it back, with its data
#   services.sh pause   NAME...   SIGSTOP, until `resume`
#   services.sh resume  NAME...
#   services.sh status  [NAME...] one line for each; exit 1 unless all are up
#   services.sh env     [NAME...] shell exports of where they are, for tests
#   services.sh exports [NAME...] the same for pizzamill itself
#   services.sh ctl     ARGS...   rabbitmqctl
#   services.sh new               make the folder of a new set, and print it
#   services.sh sweep             wipe the sets whose owner is gone
#
# NAME is kafka, rabbitmq, postgres or all. Where a server comes from: an address
# in the environment (PIZZAMILL_TEST_KAFKA, PIZZAMILL_TEST_AMQP with
# PIZZAMILL_TEST_RABBITMQ_MANAGEMENT, PIZZAMILL_TEST_POSTGRES), and then nothing
# is started; else Docker, if an engine answers; else packages: what the machine
# has, or what Debian has if we are root.
#
# A set of servers lives in a folder. Without more it is the developer's, on the
# default ports where those are free. With SERVICES_STATE it is the one in that
# folder, on free ports of its own, so that tests can run beside each other and
# stop servers that nobody else uses (without addresses in the environment).
# SERVICES_KAFKA_PORT, SERVICES_RABBITMQ_PORT, SERVICES_RABBITMQ_MANAGEMENT_PORT
# and SERVICES_POSTGRES_PORT fix ports. SERVICES_OWNER is the ID of the process
# that a set is for, see sweep.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pizzamill
# Not below the home folder: PostgreSQL does not run as root, and its user must
# get to its data.
root=/tmp/pizzamill-services-$(id -u)
state=${SERVICES_STATE:-$root/developer}
all="kafka rabbitmq postgres"

. "$here/services/common.sh"
. "$here/services/ports.sh"
. "$here/services/docker.sh"
. "$here/services/packages.sh"
. "$here/services/kafka.sh"
. "$here/services/rabbitmq.sh"
. "$here/services/postgres.sh"

# by VERB NAME calls what the means of a server have for a verb, if they have it.
by() { "$(means "$2")_$1" "$2"; }

up() {
	local n=$1
	if given "$n"; then
		tcp $(address "$n") && return
		fail "$n: nothing answers at $(address "$n" | tr ' ' :), which the environment names; start it, or unset the variable"
	fi
	lock "$n"
	mkdir -p -m 755 "$state/$n"
	if [ -n "$(means "$n")" ] && by alive "$n"; then
		by paused "$n" && by resume "$n"
		"${n}_ok" && return
	else
		choose_ports "$n"
		start "$n" 9>&- # what it starts must not hold the lock
	fi
	wait_for "$n"
	by recorded "$n"
	say "$n is up on 127.0.0.1:$(port "$n") after $SECONDS s, by $(means "$n")"
}

# start NAME starts a server by the means it was started by before, or else by
# the first that this machine has.
start() {
	local n=$1
	if [ -z "$(means "$n")" ]; then
		if docker_answers && docker_has_image "$n"; then
			echo docker >"$state/$n/means"
		else
			echo packages >"$state/$n/means"
		fi
	fi
	by start "$n"
}

# wait_for NAME returns once a server answers as its clients want it to.
wait_for() {
	local n=$1 deadline=$((SECONDS + 120))
	until "${n}_ok"; do
		by alive "$n" || fail "$n ended while it started: $(by last_words "$n")"
		[ $SECONDS -lt $deadline ] || fail "$n does not answer on port $(port "$n"): $(by last_words "$n")"
		sleep 0.2
	done
}

down() {
	given "$1" && return
	[ -n "$(means "$1")" ] || return 0
	lock "$1"
	by alive "$1" && by paused "$1" && by resume "$1"
	by stop "$1"
}

wipe() {
	given "$1" && return
	[ -d "$state/$1" ] || return 0
	down "$1"
	[ -n "$(means "$1")" ] && by remove "$1"
	rm -rf "${state:?}/$1"
}

restart() {
	mine "$1"
	down "$1"
	unlock
	up "$1"
}

kill9() { mine "$1" && by kill9 "$1"; }
pause() { mine "$1" && by pause "$1"; }
resume() { mine "$1" && by resume "$1"; }

# mine NAME ends us unless a server is one that we started and that runs.
mine() {
	given "$1" && fail "$1: it was not started here: the environment says where it is"
	[ -n "$(means "$1")" ] && by alive "$1" || fail "$1 is not running; start it with: $0 up $1"
}

status() {
	local n=$1 what=up
	if given "$n"; then
		tcp $(address "$n") || what="does not answer"
	elif [ -z "$(means "$n")" ] || ! by alive "$n"; then
		what=down
	elif by paused "$n"; then
		what=paused
	elif ! "${n}_ok"; then
		what="does not answer"
	fi
	if [ "$what" = down ]; then
		printf '%-9s down\n' "$n"
	else
		printf '%-9s %-16s %s, by %s\n' "$n" "$what" "$(address "$n" | tr ' ' :)" "$(means "$n")"
	fi
	[ "$what" = up ]
}

env_of() { there "$1" && "${1}_env"; }
exports_of() { there "$1" && "${1}_exports"; }

# there NAME ends us unless it is known where a server is.
there() { [ -n "$(means "$1")" ] || fail "$1 was not started; start it with: $0 up $1"; }

# export_line VARIABLE VALUE prints what a shell is to evaluate; nothing without a
# value.
export_line() { [ -z "$2" ] || echo "export $1='$2'"; }

sweep() {
	local set owner
	for set in "$root"/*/; do
		[ -f "$set/owner" ] || continue
		owner=$(cat "$set/owner")
		lives $owner && continue
		say "ending what a run that is gone has left behind in $set"
		SERVICES_STATE=${set%/} "$here/services.sh" wipe all
		rm -rf "$set"
	done
}

# each FUNCTION NAME... calls a function for all servers at once, each in a
# process of its own.
each() {
	local what=$1 failed=0 running=() p n
	shift
	for n in "$@"; do
		("$what" "$n") &
		running+=($!)
	done
	for p in "${running[@]}"; do
		wait "$p" || failed=1
	done
	return $failed
}

# in_turn FUNCTION NAME... is each for what prints.
in_turn() {
	local what=$1 failed=0 n
	shift
	for n in "$@"; do
		("$what" "$n") || failed=1
	done
	return $failed
}

usage() {
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" >&2
	exit 2
}

verb=${1:-}
[ $# -gt 0 ] && shift
case $verb in
ctl)
	mine rabbitmq
	"$(means rabbitmq)_ctl" "$@"
	exit
	;;
new)
	make_root
	set=$(mktemp -d "$root/set-XXXXXX") && chmod 755 "$set" && echo "$set"
	exit
	;;
sweep)
	sweep
	exit
	;;
esac
names=
for name in "$@"; do
	case $name in
	all) names="$names $all" ;;
	kafka | rabbitmq | postgres) names="$names $name" ;;
	*) fail "there is no service $name: it is one of $all, or all" ;;
	esac
done
case $verb in
up | down | wipe | restart | kill9 | pause | resume)
	[ -n "$names" ] || fail "$verb what? One of $all, or all"
	each "$verb" $names
	;;
status) in_turn status ${names:-$all} ;;
env) in_turn env_of ${names:-$all} ;;
exports) in_turn exports_of ${names:-$all} ;;
*) usage ;;
esac
