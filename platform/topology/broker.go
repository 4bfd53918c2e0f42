package topology

import (
	"strings"

	"github.com/pizzamill/pizzamill/platform/event"
)

// Kafka is what the line has on a Kafka cluster, by the names that it has there.
type Kafka struct {
	// Topics are made with so many partitions; one that exists keeps its number.
	Topics            []string     `json:"topics"`
	Partitions        int          `json:"partitions"`
	ReplicationFactor int          `json:"replication_factor"`
	Groups            []KafkaGroup `json:"groups"`
	Marker            KafkaMarker  `json:"marker"`
}

// KafkaMarker says which pipeline is carried under the prefix: the metadata of
// the offset that a group without members has committed of partition 0.
type KafkaMarker struct {
	Group    string `json:"group"`
	Topic    string `json:"topic"`
	Metadata string `json:"metadata"`
}

// KafkaGroup is a consumer group.
type KafkaGroup struct {
	Name   string `json:"name"`
	Module string `json:"module"`
	Topic  string `json:"topic"`
}

// AMQP is what the line has on RabbitMQ.
type AMQP struct {
	Exchanges []Exchange `json:"exchanges"`
	Queues    []Queue    `json:"queues"`
	Marker    AMQPMarker `json:"marker"`
}

// AMQPMarker is the exchange that says which pipeline is carried under the
// prefix, as it is declared. Nothing is published to it.
type AMQPMarker struct {
	Exchange
	Internal  bool              `json:"internal"`
	Arguments map[string]string `json:"arguments"`
}

// Exchange is an exchange as it is declared.
type Exchange struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Durable bool   `json:"durable"`
}

// Queue is a queue as it is declared and bound.
type Queue struct {
	Name      string         `json:"name"`
	Module    string         `json:"module"`
	Exchange  string         `json:"exchange"`
	Durable   bool           `json:"durable"`
	Arguments map[string]any `json:"arguments"`
}

// groupPrefix stands before the names of all consumer groups on Kafka, so that
// one sees in a shared cluster whose they are.
const groupPrefix = "pizzamill."

// Marker is what the exchange or the group is called, behind the prefix, that
// says which pipeline is carried under it.
const Marker = "pizzamill.pipeline-marker"

// OnKafka adds what the line has on Kafka. A member of a group reads one topic,
// so that a module which consumes several has a group for each.
func (t Topology) OnKafka(prefix string, partitions, replicationFactor int) Topology {
	k := &Kafka{Topics: prefixed(prefix, t.Topics), Partitions: partitions, ReplicationFactor: replicationFactor, Groups: []KafkaGroup{}}
	for _, m := range t.Modules {
		for _, topic := range m.Consumes {
			name := prefix + groupPrefix + m.Name
			if len(m.Consumes) > 1 {
				name += "." + topic
			}
			k.Groups = append(k.Groups, KafkaGroup{Name: name, Module: m.Name, Topic: prefix + topic})
		}
	}
	k.Marker = KafkaMarker{Group: prefix + Marker, Topic: prefix + event.TopicDeadLetters, Metadata: strings.Join(t.Stages, ",")}
	t.Kafka = k
	return t
}

// OnAMQP adds what the line has on RabbitMQ. arguments are those of every queue.
func (t Topology) OnAMQP(prefix string, arguments map[string]any) Topology {
	a := &AMQP{Exchanges: []Exchange{}, Queues: []Queue{}}
	for _, topic := range prefixed(prefix, t.Topics) {
		a.Exchanges = append(a.Exchanges, Exchange{Name: topic, Type: "fanout", Durable: true})
	}
	for _, m := range t.Modules {
		for _, topic := range prefixed(prefix, m.Consumes) {
			a.Queues = append(a.Queues, Queue{Name: topic + "." + m.Name, Module: m.Name, Exchange: topic, Durable: true, Arguments: arguments})
		}
	}
	name := prefix + Marker
	a.Marker = AMQPMarker{
		Exchange: Exchange{Name: name, Type: "fanout", Durable: true}, Internal: true,
		Arguments: map[string]string{"alternate-exchange": name + "." + strings.Join(t.Stages, ",")},
	}
	t.AMQP = a
	return t
}

func prefixed(prefix string, names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = prefix + name
	}
	return all
}
