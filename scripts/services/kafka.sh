# Apache Kafka: its own jars, one node in KRaft mode. Sourced by services.sh.

kafka_version=4.4.0

kafka_url() { given kafka && named kafka || echo "127.0.0.1:$(port kafka)"; }
kafka_env() { export_line PIZZAMILL_TEST_KAFKA "$(kafka_url)"; }
kafka_exports() { export_line PIZZAMILL_KAFKA_BROKERS "$(kafka_url)"; }

# kafka_ok reports whether the broker lists itself (Metadata, version 1) and has
# a coordinator for groups (FindCoordinator, version 1): only then does all work.
kafka_ok() {
	[ "$(ask kafka '\0\0\0\016\0\003\0\001\0\0\0\001\377\377\0\0\0\0' 8 4)" = 00000001 ] &&
		[ "$(ask kafka '\0\0\0\017\0\012\0\001\0\0\0\002\377\377\0\002up\0' 12 2)" = 0000 ]
}

# kafka_properties FOLDER LISTEN CONTROLLER-PORT prints the broker's configuration.
# The broker talks to itself by a listener of its own, since in a container the
# port that clients use is not there.
kafka_properties() {
	cat <<-END
		process.roles=broker,controller
		node.id=1
		controller.quorum.voters=1@localhost:$3
		listeners=CLIENTS://$2,BROKER://localhost:$(($3 + 1)),CONTROLLER://localhost:$3
		advertised.listeners=CLIENTS://127.0.0.1:$(port kafka),BROKER://localhost:$(($3 + 1))
		controller.listener.names=CONTROLLER
		inter.broker.listener.name=BROKER
		listener.security.protocol.map=CONTROLLER:PLAINTEXT,BROKER:PLAINTEXT,CLIENTS:PLAINTEXT
		log.dirs=$1
		auto.create.topics.enable=false
		num.partitions=1
		default.replication.factor=1
		offsets.topic.replication.factor=1
		offsets.topic.num.partitions=8
		transaction.state.log.replication.factor=1
		transaction.state.log.min.isr=1
		transaction.state.log.num.partitions=4
		share.coordinator.state.topic.replication.factor=1
		share.coordinator.state.topic.min.isr=1
		share.coordinator.state.topic.num.partitions=4
		group.initial.rebalance.delay.ms=0
		group.min.session.timeout.ms=1000
		broker.session.timeout.ms=4000
		broker.heartbeat.interval.ms=1000
		log.segment.delete.delay.ms=1000
		log.cleaner.dedupe.buffer.size=16777216
	END
}

# kafka_cluster_id prints a new one: 16 bytes in base64 for URLs. One that starts
# with a dash would be taken for an option.
kafka_cluster_id() {
	local id=-
	while [ "${id#-}" != "$id" ]; do
		id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 1-22)
	done
	echo "$id"
}

kafka_start() {
	local folder=$state/kafka jars=$cache/kafka-$kafka_version
	need "Java 17 or newer" "$(java_package)" java_is_new_enough
	kafka_jars "$jars"
	kafka_properties "$folder/data" "127.0.0.1:$(port kafka)" "$(inner kafka 1)" >"$folder/server.properties"
	if [ ! -e "$folder/data/meta.properties" ]; then
		java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dorg.slf4j.simpleLogger.defaultLogLevel=error \
			-cp "$jars/*" kafka.tools.StorageTool format -t "$(kafka_cluster_id)" -c "$folder/server.properties" \
			>"$folder/format.log" 2>&1 || fail "kafka: cannot format its storage: see $folder/format.log"
	fi
	launch "$folder/server.log" java -Xms256m -Xmx1g -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -Djava.awt.headless=true \
		-Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=true \
		-cp "$jars/*" kafka.Kafka "$folder/server.properties"
	record kafka "$launched"
}

kafka_recorded() { :; }
kafka_stop() { kill -TERM "$1"; }
kafka_stopped() { :; }

java_is_new_enough() {
	local version
	version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
	[ "${version:-0}" -ge 17 ]
}

java_package() {
	if apt-cache show openjdk-17-jre-headless >/dev/null 2>&1; then
		echo openjdk-17-jre-headless
	else
		echo default-jre-headless
	fi
}

has_maven() { command -v mvn >/dev/null; }

# kafka_jars FOLDER downloads Kafka once for this machine, with Maven, which
# checks what it gets.
kafka_jars() {
	[ ! -e "$1/complete" ] || return 0
	need Maven maven has_maven
	mkdir -p "$1"
	(
		lock_file "$1/lock"
		[ ! -e "$1/complete" ] || exit 0
		say "downloading Kafka $kafka_version, about 60 MB"
		cat >"$1/pom.xml" <<-END
			<project xmlns="http://maven.apache.org/POM/4.0.0">
			  <modelVersion>4.0.0</modelVersion>
			  <groupId>pizzamill</groupId><artifactId>kafka-for-tests</artifactId><version>1</version><packaging>pom</packaging>
			  <dependencies>
			    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$kafka_version</version></dependency>
			    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
			  </dependencies>
			</project>
		END
		mvn -B -q -C -f "$1/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
			-DincludeScope=runtime -DoutputDirectory="$1" >"$1/maven.log" 2>&1 </dev/null 9>&- && touch "$1/complete"
	) || fail "kafka: Maven cannot download it: see $1/maven.log"
}
