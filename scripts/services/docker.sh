# Servers in containers. Sourced by services.sh.

docker_image() {
	case $1 in
	kafka) echo "apache/kafka:$kafka_version" ;;
	rabbitmq) echo rabbitmq:4-management ;;
	postgres) echo postgres:17 ;;
	esac
}

# container NAME prints what the container of this set is called.
container() { echo "pizzamill-$1-$(echo "$state" | cksum | cut -d' ' -f1)"; }

# docker_answers reports whether there is an engine whose published ports are on
# our own loopback.
docker_answers() {
	command -v docker >/dev/null || return 1
	case ${DOCKER_HOST:-unix://} in
	unix://*) ;;
	*)
		say "the Docker engine is elsewhere ($DOCKER_HOST) and not used; give the servers' addresses in the environment to use some there"
		return 1
		;;
	esac
	limit 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

docker_has_image() {
	local image
	image=$(docker_image "$1")
	docker image inspect "$image" >/dev/null 2>&1 && return
	say "pulling $image"
	docker pull --quiet "$image" >/dev/null && return
	say "cannot pull $image; using packages"
	return 1
}

docker_start() {
	local name
	name=$(container "$1")
	if docker container inspect "$name" >/dev/null 2>&1; then
		docker start "$name" >/dev/null || fail "$1: docker cannot start the container $name"
		return
	fi
	docker_run_$1 "$name" "$(docker_image "$1")" >/dev/null ||
		fail "$1: docker cannot run $(docker_image "$1") as $name"
}

docker_run_kafka() {
	local name=$1 image=$2 options=() line
	while read -r line; do
		# server.properties as environment: KAFKA_ and dots as underscores.
		options+=(-e "KAFKA_$(echo "${line%%=*}" | tr 'a-z.' 'A-Z_')=${line#*=}")
	done < <(kafka_properties /var/lib/kafka/data 0.0.0.0:9092 9093)
	docker run -d --name "$name" -p "127.0.0.1:$(port kafka):9092" -e "CLUSTER_ID=$(kafka_cluster_id)" \
		-e KAFKA_HEAP_OPTS="-Xms256m -Xmx1g" "${options[@]}" "$image"
}

docker_run_rabbitmq() {
	# The data is kept by node name, which has the host's in it.
	docker run -d --name "$1" --hostname pizzamill \
		-p "127.0.0.1:$(port rabbitmq):5672" -p "127.0.0.1:$(port management):15672" "$2"
}

docker_run_postgres() {
	docker run -d --name "$1" --shm-size 256m -p "127.0.0.1:$(port postgres):5432" \
		-e POSTGRES_USER=pizzamill -e POSTGRES_PASSWORD=pizzamill -e POSTGRES_DB=pizzamill \
		"$2" -c max_connections=200 -c shared_buffers=256MB -c max_wal_size=2GB
}

docker_state() { docker container inspect --format '{{.State.Status}}' "$(container "$1")" 2>/dev/null; }
docker_alive() { case $(docker_state "$1") in running | paused) ;; *) return 1 ;; esac }
docker_paused() { [ "$(docker_state "$1")" = paused ]; }
docker_pause() { docker pause "$(container "$1")" >/dev/null; }
docker_resume() { docker unpause "$(container "$1")" >/dev/null; }
docker_kill9() {
	! docker_paused "$1" || docker_resume "$1" # older engines do not kill what is paused
	docker kill "$(container "$1")" >/dev/null
}
docker_stop() { ! docker_alive "$1" || docker stop -t 30 "$(container "$1")" >/dev/null; }
docker_remove() { docker rm --force --volumes "$(container "$1")" >/dev/null 2>&1; }
docker_recorded() { :; }
docker_last_words() { echo "see docker logs $(container "$1")"; }
docker_ctl() { docker exec "$(container rabbitmq)" rabbitmqctl "$@"; }
