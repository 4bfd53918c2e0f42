package amqp

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// exchangeKind: every queue that is bound gets every message, whatever its key.
const exchangeKind = amqp091.ExchangeFanout

// Exchange is a topic as the broker has it.
type Exchange struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Durable bool   `json:"durable"`
}

// Queue is a consumer group on a topic as the broker has it. It is bound to the
// exchange with an empty key.
type Queue struct {
	Name      string         `json:"name"`
	Exchange  string         `json:"exchange"`
	Durable   bool           `json:"durable"`
	Arguments map[string]any `json:"arguments"`
}

// Arguments returns what a queue of a type ("quorum", "classic") is declared with.
// Whoever declares it with others is refused by the broker.
func Arguments(queueType string) map[string]any {
	args := map[string]any{amqp091.QueueTypeArg: queueType}
	if queueType == amqp091.QueueTypeQuorum {
		// RabbitMQ 4 drops a message after 20 deliveries, and 3.10 takes -1 for
		// "drop at the first"; a shutdown returns healthy messages too.
		args["x-delivery-limit"] = int32(math.MaxInt32)
	}
	return args
}

// Topology returns what Connect makes exist for some subscriptions. It asks no broker.
func Topology(prefix, queueType string, subs []bus.Subscription) ([]Exchange, []Queue) {
	var exchanges []Exchange
	var queues []Queue
	seen := map[string]bool{}
	for _, s := range subs {
		if !seen[s.Topic] {
			seen[s.Topic] = true
			exchanges = append(exchanges, Exchange{Name: prefix + s.Topic, Type: exchangeKind, Durable: true})
		}
		queues = append(queues, Queue{
			Name: prefix + s.Topic + "." + s.Group, Exchange: prefix + s.Topic,
			Durable: true, Arguments: Arguments(queueType),
		})
	}
	return exchanges, queues
}

func (b *Bus) exchange(topic string) string    { return b.config.Prefix + topic }
func (b *Bus) queue(s bus.Subscription) string { return b.exchange(s.Topic) + "." + s.Group }

// declareAll makes everything that was declared exist.
func (b *Bus) declareAll() error { return b.declare(b.subscriptions()) }

// declare makes subscriptions exist. What conflicts does not keep the rest from
// it; the error is the first conflict then.
func (b *Bus) declare(subs []bus.Subscription) error {
	line, err := b.control.get(b.closing)
	if err != nil {
		return err
	}
	b.declaring.Lock()
	defer b.declaring.Unlock()
	exchanges, queues := Topology(b.config.Prefix, b.config.QueueType, subs)
	desk := &desk{line: line}
	defer desk.close()
	if err := b.claim(desk); err != nil {
		return err // before anything is left among what is another line's
	}
	var first *bus.ConflictError
	for _, e := range exchanges {
		err := desk.do(func(ch *amqp091.Channel) error { return declareExchange(ch, e.Name) })
		if err != nil && !note(&first, err) {
			return err
		}
	}
	for _, q := range queues {
		err := desk.do(func(ch *amqp091.Channel) error { return declareQueue(ch, q) })
		if err != nil && !note(&first, err) {
			return err
		}
		err = desk.do(func(ch *amqp091.Channel) error { return ch.QueueBind(q.Name, "", q.Exchange, false, nil) })
		if err != nil && first == nil {
			return fmt.Errorf("bind queue %s to exchange %s: %w", q.Name, q.Exchange, err)
		}
	}
	if first != nil {
		return first
	}
	return nil
}

// isConflict reports whether an error says that something on the broker differs
// beyond repair.
func isConflict(err error) bool {
	var conflict *bus.ConflictError
	return errors.As(err, &conflict)
}

// note keeps the first conflict, and returns false for any other error.
func note(first **bus.ConflictError, err error) bool {
	var conflict *bus.ConflictError
	if !errors.As(err, &conflict) {
		return false
	}
	if *first == nil {
		*first = conflict
	}
	return true
}

// declareTopics makes exchanges exist, whoever reads them.
func (b *Bus) declareTopics(topics map[string]bool) error {
	line, err := b.control.get(b.closing)
	if err != nil {
		return err
	}
	desk := &desk{line: line}
	defer desk.close()
	if err := b.claim(desk); err != nil {
		return err
	}
	for topic := range topics {
		if err := desk.do(func(ch *amqp091.Channel) error { return declareExchange(ch, b.exchange(topic)) }); err != nil {
			return err
		}
	}
	return nil
}

func declareExchange(ch *amqp091.Channel, name string) error {
	if err := ch.ExchangeDeclare(name, exchangeKind, true, false, false, false, nil); err != nil {
		return refused("exchange "+name, err)
	}
	return nil
}

func declareQueue(ch *amqp091.Channel, q Queue) error {
	if _, err := ch.QueueDeclare(q.Name, true, false, false, false, q.Arguments); err != nil {
		return refused("queue "+q.Name, err)
	}
	return nil
}

// inequivalent is how RabbitMQ words that something exists with another property.
var inequivalent = regexp.MustCompile(`inequivalent arg '([^']*)' for .*: received (.*) but current is (.*)$`)

// refused sorts the error of a declaration: what exists and differs is a conflict.
func refused(what string, err error) error {
	var e *amqp091.Error
	if errors.As(err, &e) {
		if m := inequivalent.FindStringSubmatch(e.Reason); m != nil {
			return &bus.ConflictError{What: what, Have: m[1] + " " + plain(m[3]), Want: m[1] + " " + plain(m[2])}
		}
		if e.Code == amqp091.ResourceLocked {
			return &bus.ConflictError{What: what, Have: "an exclusive owner", Want: "none"}
		}
	}
	return fmt.Errorf("declare %s: %w", what, err)
}

// plain takes RabbitMQ's words off a value: "the value '5' of type 'signedint'".
func plain(value string) string {
	value = strings.TrimPrefix(value, "the value ")
	value, _, _ = strings.Cut(value, " of type ")
	return strings.Trim(value, "'")
}

// desk is a channel for questions that close it when the answer is no.
type desk struct {
	line *line
	ch   *amqp091.Channel
}

func (d *desk) do(fn func(ch *amqp091.Channel) error) error {
	if d.ch == nil || d.ch.IsClosed() {
		ch, err := d.line.Channel()
		if err != nil {
			return fmt.Errorf("open a channel: %w", err)
		}
		d.ch = ch
	}
	return fn(d.ch)
}

func (d *desk) close() {
	if d.ch != nil {
		_ = d.ch.Close() // nothing is on its way on it
	}
}
