# PostgreSQL as a cluster of our own. Sourced by services.sh.

postgres_url() {
	given postgres && named postgres || echo "postgres://pizzamill:pizzamill@127.0.0.1:$(port postgres)/pizzamill?sslmode=disable"
}
postgres_env() { export_line PIZZAMILL_TEST_POSTGRES "$(postgres_url)"; }
postgres_exports() { export_line PIZZAMILL_STORE_DSN "$(postgres_url)"; }

# postgres_ok reports whether a client that says who it is is asked for its
# password. A server that still starts, or recovers, answers with an error.
postgres_ok() {
	[ "$(ask postgres '\0\0\0\053\0\003\0\0user\0pizzamill\0database\0pizzamill\0\0' 0 1)" = 52 ]
}

# postgres_bin prints the folder with the server's commands.
postgres_bin() {
	local initdb
	initdb=$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1 | grep . || command -v initdb) && dirname "$initdb"
}

has_postgres() { postgres_bin >/dev/null; }

# as_postgres prints what to put before a command so that it does not run as root,
# which the server refuses.
as_postgres() {
	[ "$(id -u)" != 0 ] || echo setpriv --reuid=postgres --regid=postgres --clear-groups env -C /
}

postgres_start() {
	local folder=$state/postgres bin as
	need PostgreSQL postgresql has_postgres
	bin=$(postgres_bin)
	as=$(as_postgres)
	if [ -n "$as" ]; then
		chown postgres "$folder"
		$as test -w "$folder" || fail "postgres: the user postgres cannot get to $folder; choose a folder that all may enter with SERVICES_STATE"
	fi
	[ -e "$folder/complete" ] || postgres_create "$folder/data"
	postgres_launch
	local i
	for i in {1..150}; do
		! postgres_ok || return 0
		sleep 0.2
		packages_alive postgres && continue
		# After a SIGKILL its children need a moment to let go of the memory they share.
		grep -q 'pre-existing shared memory\|postmaster.pid' "$folder/server.log" || return 0
		postgres_launch
	done
}

postgres_launch() {
	launch "$state/postgres/server.log" $(as_postgres) "$(postgres_bin)/postgres" -D "$state/postgres/data"
	record postgres "$launched"
}

# postgres_create FOLDER makes the cluster and the database.
postgres_create() {
	local bin as log=$state/postgres/create.log
	bin=$(postgres_bin)
	as=$(as_postgres)
	rm -rf "$1"
	echo pizzamill >"$state/postgres/password"
	chmod 644 "$state/postgres/password"
	$as "$bin/initdb" -D "$1" -U pizzamill -A scram-sha-256 --pwfile="$state/postgres/password" -E UTF8 --locale=C >"$log" 2>&1 ||
		fail "postgres: initdb failed: see $log"
	$as tee -a "$1/postgresql.conf" >/dev/null <<-END
		listen_addresses = '127.0.0.1'
		port = $(port postgres)
		unix_socket_directories = ''
		shared_buffers = 256MB
		max_connections = 200
		max_wal_size = 2GB
	END
	echo "CREATE DATABASE pizzamill" | $as "$bin/postgres" --single -D "$1" postgres >>"$log" 2>&1 ||
		fail "postgres: cannot create the database: see $log"
	touch "$state/postgres/complete"
}

postgres_recorded() { :; }

# postgres_stop PID ends it without waiting for its clients.
postgres_stop() { kill -INT "$1"; }
postgres_stopped() { :; }
