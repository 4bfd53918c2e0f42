package amqp

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// onBroker lists what the vhost has: queues by name and type, and the exchanges
// under the prefix of tests by name and type.
func onBroker(t *testing.T, config Config) []string {
	t.Helper()
	var queues, exchanges []struct{ Name, Type string }
	api(t, config, http.MethodGet, "/api/queues/%V?columns=name,type", "", &queues)
	api(t, config, http.MethodGet, "/api/exchanges/%V?columns=name,type", "", &exchanges)
	var all []string
	for _, q := range queues {
		all = append(all, "queue "+q.Name+" "+q.Type)
	}
	for _, e := range exchanges {
		if e.Name == "test-pizza" || e.Name == "test-dough" {
			all = append(all, "exchange "+e.Name+" "+e.Type)
		}
	}
	slices.Sort(all)
	return all
}

// What makes Connect fail for good is found without connecting, and looking for
// it leaves the broker as it is.
func TestConflictsAreFoundAndNothingIsMade(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		exists func(t *testing.T, config Config, ch *amqp091.Channel) error
		want   *bus.ConflictError // nil for none
		has    []string
	}{
		"nothing": {
			exists: func(*testing.T, Config, *amqp091.Channel) error { return nil },
		},
		"an exchange alone": {
			exists: func(_ *testing.T, _ Config, ch *amqp091.Channel) error { return declareExchange(ch, "test-dough") },
			has:    []string{"exchange test-dough fanout"},
		},
		"the line itself": {
			exists: func(t *testing.T, config Config, _ *amqp091.Channel) error {
				pizzaBus(t, config)
				return nil
			},
			has: []string{"exchange test-pizza fanout", "queue test-pizza.a quorum"},
		},
		"an exchange of another type": {
			exists: func(_ *testing.T, _ Config, ch *amqp091.Channel) error {
				return ch.ExchangeDeclare("test-pizza", "direct", true, false, false, false, nil)
			},
			want: &bus.ConflictError{What: "exchange test-pizza", Have: "type direct", Want: "type fanout"},
			has:  []string{"exchange test-pizza direct"},
		},
		"queues of another type": {
			exists: func(t *testing.T, config Config, _ *amqp091.Channel) error {
				config.QueueType = "classic"
				pizzaBus(t, config)
				return nil
			},
			want: &bus.ConflictError{What: "queue test-pizza.a", Have: "x-queue-type classic", Want: "x-queue-type quorum"},
			has:  []string{"exchange test-pizza fanout", "queue test-pizza.a classic"},
		},
		"a queue behind one that is missing": {
			exists: func(_ *testing.T, _ Config, ch *amqp091.Channel) error {
				return declareQueue(ch, Queue{Name: "test-dough.a", Arguments: Arguments("classic")})
			},
			want: &bus.ConflictError{What: "queue test-dough.a", Have: "x-queue-type classic", Want: "x-queue-type quorum"},
			has:  []string{"queue test-dough.a classic"},
		},
		"a queue that another connection has to itself": {
			exists: func(_ *testing.T, _ Config, ch *amqp091.Channel) error {
				_, err := ch.QueueDeclare("test-pizza.a", false, false, true, false, nil)
				return err
			},
			want: &bus.ConflictError{What: "queue test-pizza.a", Have: "an exclusive owner", Want: "none"},
			has:  []string{"queue test-pizza.a classic"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := settings(t)
			if err := c.exists(t, config, raw(t, config)); err != nil {
				t.Fatal(err)
			}
			b := open(t, config)
			b.Declare([]bus.Subscription{{Topic: "pizza", Group: "a"}, {Topic: "dough", Group: "a"}})
			err := b.Conflicts(t.Context())
			var got *bus.ConflictError
			if errors.As(err, &got); (err == nil) != (c.want == nil) || !cmp.Equal(got, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if diff := cmp.Diff(c.has, onBroker(t, config)); diff != "" {
				t.Errorf("on the broker (-before +after):\n%s", diff)
			}
			if conflict := (*bus.ConflictError)(nil); errors.As(b.Connect(t.Context()), &conflict) != (c.want != nil) {
				t.Errorf("Connect finds %v, want %v", conflict, c.want)
			}
		})
	}
}

// A broker that hangs holds up nobody for longer than they wait.
func TestConflictsEndWithTheirContext(t *testing.T) {
	config, p := through(t, settings(t))
	b := pizzaBus(t, config)
	p.hang()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := b.Conflicts(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want an expired context", err)
	}
	p.resume()
}
