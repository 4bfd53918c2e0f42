# Which ports a set uses. Chosen when a server is first started, and kept, so that
# it comes back where its clients look for it. Sourced by services.sh.

default_port() {
	case $1 in
	kafka) echo 9092 ;;
	rabbitmq) echo 5672 ;;
	management) echo 15672 ;;
	postgres) echo 5432 ;;
	esac
}

# port NAME prints the port that clients use; management is a name too.
port() {
	case $1 in
	management) kept rabbitmq management ;;
	*) kept "$1" port ;;
	esac
}

# inner NAME NUMBER prints a port that a server uses for itself.
inner() { echo $(($(kept "$1" block) + $2)); }

kept() { sed -n "s/^$2=//p" "$state/$1/ports" 2>/dev/null; }

# choose_ports NAME keeps the ports of a server: one to serve on, and a block of
# 16 for what it needs beside it.
choose_ports() {
	local n=$1 block port management=
	[ ! -s "$state/$n/ports" ] || return 0
	block=$(free_block) || fail "no free ports found on 127.0.0.1"
	case $n in
	kafka) port=${SERVICES_KAFKA_PORT:-} ;;
	rabbitmq) port=${SERVICES_RABBITMQ_PORT:-} management=${SERVICES_RABBITMQ_MANAGEMENT_PORT:-} ;;
	postgres) port=${SERVICES_POSTGRES_PORT:-} ;;
	esac
	: "${port:=$(wish "$n" "$block")}" "${management:=$(wish management $((block + 1)))}"
	{
		echo "block=$block"
		echo "port=$port"
		[ "$n" != rabbitmq ] || echo "management=$management"
	} >"$state/$n/ports.new"
	mv "$state/$n/ports.new" "$state/$n/ports"
}

# wish NAME ELSE prints the default port where we are to use it and it is free.
wish() {
	local default
	default=$(default_port "$1")
	if [ -z "${SERVICES_STATE:-}" ] && ! tcp 127.0.0.1 "$default"; then
		echo "$default"
	else
		echo "$2"
	fi
}

# free_block prints the first of 16 ports, below those that systems give to
# clients and that the tests give to pizzamill (e2e/process_test.go), by chance:
# sets that are started at the same time do not meet.
free_block() {
	local try block p
	for try in {1..50}; do
		block=$((20000 + RANDOM % 375 * 16))
		for p in {0..15}; do
			! tcp 127.0.0.1 $((block + p)) || continue 2
		done
		echo "$block"
		return
	done
	return 1
}
