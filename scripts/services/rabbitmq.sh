# RabbitMQ as a node of our own, with its own epmd. Sourced by services.sh.

rabbitmq_url() { given rabbitmq && named rabbitmq || echo "amqp://guest:guest@127.0.0.1:$(port rabbitmq)/"; }
management_url() {
	if given rabbitmq; then
		named management
	else
		echo "http://guest:guest@127.0.0.1:$(port management)"
	fi
}
rabbitmq_env() {
	export_line PIZZAMILL_TEST_AMQP "$(rabbitmq_url)"
	export_line PIZZAMILL_TEST_RABBITMQ_MANAGEMENT "$(management_url)"
}
rabbitmq_exports() {
	export_line PIZZAMILL_AMQP_URL "$(rabbitmq_url)"
	export_line PIZZAMILL_AMQP_MANAGEMENT_URL "$(management_url)"
}

# rabbitmq_ok reports whether AMQP is answered with a method frame, and the
# management API by HTTP.
rabbitmq_ok() {
	[ "$(ask rabbitmq 'AMQP\0\0\011\001' 0 1)" = 01 ] &&
		[ "$(ask management 'GET / HTTP/1.0\r\n\r\n' 0 4)" = 48545450 ]
}

# rabbitmq_server prints the path of the server's start script: the one in PATH
# changes to a user of its own, who cannot get to our files.
rabbitmq_server() {
	compgen -G '/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server' | sort -V | tail -n 1 | grep . ||
		command -v rabbitmq-server
}

has_rabbitmq() { rabbitmq_server >/dev/null; }

rabbitmq_ctl() {
	rabbitmq_environment
	"$(dirname "$(rabbitmq_server)")/rabbitmqctl" "$@"
}

# rabbitmq_environment keeps a node apart from every other on this machine.
rabbitmq_environment() {
	local folder=$state/rabbitmq
	export HOME=$folder/home RABBITMQ_NODENAME=pizzamill@localhost \
		ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$(inner rabbitmq 2) RABBITMQ_DIST_PORT=$(inner rabbitmq 3) \
		RABBITMQ_CTL_DIST_PORT_MIN=$(inner rabbitmq 4) RABBITMQ_CTL_DIST_PORT_MAX=$(inner rabbitmq 15) \
		RABBITMQ_MNESIA_BASE=$folder/data RABBITMQ_LOG_BASE=$folder/log RABBITMQ_PID_FILE=$folder/rabbitmq.pid \
		RABBITMQ_CONFIG_FILE=$folder/rabbitmq RABBITMQ_ADVANCED_CONFIG_FILE=$folder/advanced \
		RABBITMQ_ENABLED_PLUGINS_FILE=$folder/plugins RABBITMQ_CONF_ENV_FILE=$folder/none \
		RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
}

rabbitmq_start() {
	local folder=$state/rabbitmq i
	need RabbitMQ rabbitmq-server has_rabbitmq
	mkdir -p "$folder/home" "$folder/log"
	cat >"$folder/rabbitmq.conf" <<-END
		listeners.tcp.1 = 127.0.0.1:$(port rabbitmq)
		management.tcp.ip = 127.0.0.1
		management.tcp.port = $(port management)
		log.console = false
		log.file.level = warning
		vm_memory_high_watermark.absolute = 4GB
		disk_free_limit.absolute = 200MB
	END
	echo "[{kernel,[{inet_dist_use_interface,{127,0,0,1}}]}]." >"$folder/advanced.config"
	echo "[rabbitmq_management]." >"$folder/plugins"
	(
		rabbitmq_environment
		if ! tcp 127.0.0.1 "$ERL_EPMD_PORT"; then
			launch "$folder/epmd.log" "$(epmd)" -port "$ERL_EPMD_PORT" -address 127.0.0.1
			echo "$launched $(started "$launched")" >"$folder/epmd.pid"
			for i in {1..50}; do
				! tcp 127.0.0.1 "$ERL_EPMD_PORT" || break
				sleep 0.1
			done
		fi
		rm -f "$RABBITMQ_PID_FILE"
		launch "$folder/server.log" "$(rabbitmq_server)"
		record rabbitmq "$launched"
	)
}

epmd() { command -v epmd || compgen -G '/usr/lib/erlang/erts-*/bin/epmd' | tail -n 1; }

# rabbitmq_recorded keeps the Erlang VM itself instead of the script that waits
# for it.
rabbitmq_recorded() {
	local pid
	pid=$(cat "$state/rabbitmq/rabbitmq.pid" 2>/dev/null) && [ -n "$pid" ] && record rabbitmq "$pid"
}

rabbitmq_stop() { kill -TERM "$1"; }

rabbitmq_stopped() {
	local pid start
	if read -r pid start 2>/dev/null <"$state/rabbitmq/epmd.pid" && lives "$pid" "$start"; then
		kill -TERM "$pid"
	fi
	rm -f "$state/rabbitmq/epmd.pid"
}
