package amqp

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// The marker says on the broker which pipeline is carried under the prefix. It
// is an exchange whose alternate bears the stages in its name: RabbitMQ keeps an
// exchange's alternate, and refuses to declare it with another one, so that of
// two processes that come at once one is refused. The alternate does not exist,
// and since the marker is internal and bound to nothing, nothing gets that far.
const (
	markerName = "pizzamill.pipeline-marker"
	alternate  = "alternate-exchange"
)

// claim makes the marker exist; if it is another pipeline's, the error is a
// *bus.PipelineError.
func (b *Bus) claim(desk *desk) error {
	if b.config.Pipeline == "" {
		return nil
	}
	err := desk.do(func(ch *amqp091.Channel) error { return b.declareMarker(ch, b.alternateOf(b.config.Pipeline)) })
	var e *amqp091.Error
	if !errors.As(err, &e) || !strings.Contains(e.Reason, "inequivalent arg '"+alternate+"'") {
		if err != nil {
			return refused("exchange "+b.exchange(markerName), err)
		}
		return nil
	}
	return &bus.PipelineError{
		Bus: b.identityOf(desk.line), Have: b.carried(desk), Want: b.config.Pipeline,
		Marker: "exchange " + b.exchange(markerName),
	}
}

// Compare returns a *bus.PipelineError if another pipeline is carried under the
// prefix. It makes nothing.
func (b *Bus) Compare(ctx context.Context) error {
	line, err := b.control.get(ctx)
	if err != nil {
		return err
	}
	return within(ctx, func() error {
		desk := &desk{line: line}
		defer desk.close()
		return b.compareMarker(desk)
	})
}

func (b *Bus) compareMarker(desk *desk) error {
	if b.config.Pipeline == "" {
		return nil
	}
	name := b.exchange(markerName)
	return desk.compare("exchange "+name,
		func(ch *amqp091.Channel) error {
			return ch.ExchangeDeclarePassive(name, exchangeKind, true, false, true, false, nil)
		},
		func(*amqp091.Channel) error { return b.claim(desk) })
}

func (b *Bus) declareMarker(ch *amqp091.Channel, alternateExchange any) error {
	return ch.ExchangeDeclare(b.exchange(markerName), exchangeKind, true, false, true, false, amqp091.Table{alternate: alternateExchange})
}

// alternateOf returns the marker's alternate. It begins as all our names do, so
// that a user who may use those may name this one too.
func (b *Bus) alternateOf(stages string) string { return b.exchange(markerName) + "." + stages }

// current is how RabbitMQ words what the marker has: "current is 'NAME'", or
// "current is the value 'NAME' of type 'longstr'".
var current = regexp.MustCompile(`but current is (?:the value )?'([^']*)('?)`)

// carried returns the stages that the marker has, as far as RabbitMQ tells. What
// it answers has at most 255 bytes, in which both alternates seldom fit. So it
// is asked with one that is short, and that it refuses to declare at all where
// there is no marker any more.
func (b *Bus) carried(desk *desk) string {
	const unknown = "(unknown)"
	err := desk.do(func(ch *amqp091.Channel) error { return b.declareMarker(ch, int8(0)) })
	var e *amqp091.Error
	if !errors.As(err, &e) {
		return unknown
	}
	m := current.FindStringSubmatch(e.Reason)
	if m == nil {
		return unknown
	}
	stages, whole := strings.TrimPrefix(m[1], b.alternateOf("")), m[2] != ""
	if whole {
		return stages
	}
	if all := b.fromManagement(); all != "" {
		return all
	}
	return strings.TrimSuffix(stages, "...") + "…"
}

// fromManagement asks the management API for the stages that the marker has;
// "" if there is none, or no answer.
func (b *Bus) fromManagement() string {
	if b.management == nil {
		return ""
	}
	arguments, err := b.management.exchange(b.closing, b.exchange(markerName))
	if err != nil {
		b.log.Debug("the marker of the pipeline", "error", err)
		return ""
	}
	return strings.TrimPrefix(fmt.Sprint(arguments[alternate]), b.alternateOf(""))
}
