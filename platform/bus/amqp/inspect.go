package amqp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// Lag returns the messages of each declared queue: with the management API those
// ready and those in hand, some seconds old; without it those ready, which is all
// that AMQP tells.
func (b *Bus) Lag(ctx context.Context) ([]bus.Lag, error) {
	subs := b.subscriptions()
	lags := make([]bus.Lag, len(subs))
	if b.management != nil {
		messages, err := b.management.list(ctx)
		if err != nil {
			return nil, err
		}
		for i, s := range subs {
			lags[i] = bus.Lag{Subscription: s, Messages: messages[b.queue(s)]}
		}
		return lags, nil
	}
	queues, err := b.inspect(ctx, subs)
	if err != nil {
		return nil, err
	}
	for i, s := range subs {
		lags[i].Subscription = s
		if queues[i] != nil {
			lags[i].Messages = int64(queues[i].Messages)
		}
	}
	return lags, nil
}

// Groups asks the broker for each declared queue and its consumers. It declares
// nothing.
func (b *Bus) Groups(ctx context.Context) ([]bus.Group, error) {
	subs := b.subscriptions()
	queues, err := b.inspect(ctx, subs)
	if err != nil {
		return nil, err
	}
	groups := make([]bus.Group, len(subs))
	for i, s := range subs {
		groups[i] = bus.Group{Subscription: s, Name: b.queue(s)}
		if queues[i] != nil {
			groups[i].Exists, groups[i].Consumers = true, queues[i].Consumers
		}
	}
	return groups, nil
}

// Queues returns the names of all queues of the vhost, sorted, or nil without the
// management API: AMQP cannot list them.
func (b *Bus) Queues(ctx context.Context) ([]string, error) {
	if b.management == nil {
		return nil, nil
	}
	messages, err := b.management.list(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(messages)), nil
}

// Conflicts returns a *bus.ConflictError if an exchange or a queue that was
// declared exists and differs from what Connect needs: the first there is, and
// before all of them a *bus.PipelineError, see Compare. It
// makes nothing and changes nothing. Only a declaration tells whether something
// differs, so what exists is declared once more, which leaves its equal alone.
func (b *Bus) Conflicts(ctx context.Context) error {
	line, err := b.control.get(ctx)
	if err != nil {
		return err
	}
	exchanges, queues := Topology(b.config.Prefix, b.config.QueueType, b.subscriptions())
	return within(ctx, func() error {
		desk := &desk{line: line}
		defer desk.close()
		if err := b.compareMarker(desk); err != nil {
			return err
		}
		for _, e := range exchanges {
			err := desk.compare("exchange "+e.Name,
				func(ch *amqp091.Channel) error {
					return ch.ExchangeDeclarePassive(e.Name, exchangeKind, true, false, false, false, nil)
				},
				func(ch *amqp091.Channel) error { return declareExchange(ch, e.Name) })
			if err != nil {
				return err
			}
		}
		for _, q := range queues {
			err := desk.compare("queue "+q.Name,
				func(ch *amqp091.Channel) error {
					_, err := ch.QueueDeclarePassive(q.Name, true, false, false, false, nil)
					return err
				},
				func(ch *amqp091.Channel) error { return declareQueue(ch, q) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// compare declares what exists, and nothing else. look fails with 404 where
// there is nothing.
func (d *desk) compare(what string, look, declare func(ch *amqp091.Channel) error) error {
	err := d.do(look)
	var e *amqp091.Error
	switch {
	case err == nil:
		return d.do(declare)
	case errors.As(err, &e) && e.Code == amqp091.NotFound:
		return nil
	default:
		return refused(what, err)
	}
}

// inspect returns the state of each subscription's queue, nil where there is none.
func (b *Bus) inspect(ctx context.Context, subs []bus.Subscription) ([]*amqp091.Queue, error) {
	line, err := b.control.get(ctx)
	if err != nil {
		return nil, err
	}
	queues := make([]*amqp091.Queue, len(subs))
	err = within(ctx, func() error {
		desk := &desk{line: line}
		defer desk.close()
		for i, s := range subs {
			var q amqp091.Queue
			err := desk.do(func(ch *amqp091.Channel) (err error) {
				q, err = ch.QueueDeclarePassive(b.queue(s), true, false, false, false, nil)
				return err
			})
			var e *amqp091.Error
			switch {
			case err == nil:
				queues[i] = &q
			case errors.As(err, &e) && e.Code == amqp091.NotFound:
			default:
				return fmt.Errorf("ask for queue %s: %w", b.queue(s), err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err // and not queues, which may still be written to
	}
	return queues, nil
}
