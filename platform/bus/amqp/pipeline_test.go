package amqp

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/bus/bustest"
)

func TestPipelines(t *testing.T) {
	t.Parallel()
	config := settings(t)
	bustest.RunPipelines(t, bustest.Broker{
		New: func(t *testing.T, prefix, pipeline string) bus.Bus {
			config := config
			config.Prefix, config.Pipeline = prefix, pipeline
			return open(t, config)
		},
		Left: func(t *testing.T, prefix string) []string {
			var names []string
			for _, kind := range []string{"queues", "exchanges"} {
				var all []struct{ Name string }
				api(t, config, http.MethodGet, "/api/"+kind+"/%V?columns=name", "", &all)
				for _, one := range all {
					if strings.HasPrefix(one.Name, prefix) {
						names = append(names, kind+" "+one.Name)
					}
				}
			}
			slices.Sort(names)
			return names
		},
		Remove: func(t *testing.T, prefix string) {
			if err := raw(t, config).ExchangeDelete(prefix+markerName, false, false); err != nil {
				t.Fatal(err)
			}
		},
	})
}

// RabbitMQ cuts what it says after 255 bytes. The management API knows the rest.
func TestALongPipelineIsNamed(t *testing.T) {
	t.Parallel()
	config := settings(t)
	const long = "sauce,cheese,a_stage_with_a_long_name_indeed_1,a_stage_with_a_long_name_indeed_2,a_stage_with_a_long_name_indeed_3"
	config.Pipeline = long
	pizzaBus(t, config)
	for management, want := range map[string]string{config.ManagementURL: long, "": "sauce,cheese,…"} {
		config.ManagementURL, config.Pipeline = management, "sauce"
		b := open(t, config)
		var other *bus.PipelineError
		if err := b.Connect(t.Context()); !errors.As(err, &other) {
			t.Fatalf("got %v, want another pipeline", err)
		}
		begin, cut := strings.CutSuffix(other.Have, "…")
		if cut != strings.HasSuffix(want, "…") || !strings.HasPrefix(long, begin) || len(begin) < len("sauce,cheese,") {
			t.Errorf("it has %s, want %s", other.Have, want)
		}
	}
}

// An exchange of somebody else's under the marker's name is a conflict like any.
func TestAForeignMarkerIsAConflict(t *testing.T) {
	t.Parallel()
	for name, declare := range map[string]func(ch *amqp091.Channel) error{
		"of another type": func(ch *amqp091.Channel) error {
			return ch.ExchangeDeclare("test-"+markerName, "direct", true, false, true, false, nil)
		},
		"without an alternate": func(ch *amqp091.Channel) error {
			return ch.ExchangeDeclare("test-"+markerName, exchangeKind, true, false, true, false, nil)
		},
		"with an alternate of its own": func(ch *amqp091.Channel) error {
			return ch.ExchangeDeclare("test-"+markerName, exchangeKind, true, false, true, false, amqp091.Table{alternate: "amq.fanout"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := settings(t)
			config.Pipeline = "sauce,cheese"
			if err := declare(raw(t, config)); err != nil {
				t.Fatal(err)
			}
			b := open(t, config)
			b.Declare([]bus.Subscription{{Topic: "pizza", Group: "a"}})
			for _, err := range []error{b.Compare(t.Context()), b.Conflicts(t.Context()), b.Connect(t.Context())} {
				var conflict *bus.ConflictError
				if !errors.As(err, &conflict) || !strings.Contains(err.Error(), "exchange test-"+markerName) {
					t.Errorf("got %v, want a conflict", err)
				}
			}
			if left := onBroker(t, config); len(left) > 0 {
				t.Errorf("refused, it left %q", left)
			}
		})
	}
}

// A broker that was wiped under a line, and taken by another one, is not used:
// what is there are the other line's events. It is used once that is gone.
func TestABrokerThatAnotherLineHasTakenIsNotUsed(t *testing.T) {
	t.Parallel()
	config, network := through(t, settings(t))
	config.Pipeline = "sauce,cheese"
	b := pizzaBus(t, config)
	b.patience = 300 * time.Millisecond
	in, _ := subscribe(t, b)
	publish(t, b, pizzas(1, 1)...)
	take(t, in, 1)

	network.leave()
	ch := raw(t, settingsBehind(config, network))
	if _, err := ch.QueueDelete("test-pizza.a", false, false, false); err != nil {
		t.Fatal(err)
	}
	for _, exchange := range []string{"test-pizza", "test-" + markerName} {
		if err := ch.ExchangeDelete(exchange, false, false); err != nil {
			t.Fatal(err)
		}
	}
	taker := settingsBehind(config, network)
	taker.Pipeline = "sauce,crust"
	other := pizzaBus(t, taker)
	publish(t, other, pizzas(2, 2)...)
	network.comeBack()

	var refused *bus.PipelineError
	eventually(t, "it says that the broker carries another pipeline", func() bool {
		return errors.As(b.Check(context.Background()), &refused)
	})
	if err := b.Publisher().Publish("pizza", pizzas(3, 3)...); err == nil {
		t.Error("it publishes among the other line's events")
	}
	select {
	case m := <-in:
		t.Errorf("it got %s of the other line", m.UUID)
	default:
	}
	theirs, _ := subscribe(t, other)
	take(t, theirs, 1)

	if err := ch.ExchangeDelete("test-"+markerName, false, false); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it goes on", func() bool { return b.Check(context.Background()) == nil })
	b.patience = patience
	publish(t, b, pizzas(4, 4)...)
	take(t, in, 1)
}

// settingsBehind returns the settings of a bus that goes to the broker itself.
func settingsBehind(config Config, p *proxy) Config {
	config.URL = strings.Replace(config.URL, p.listener.Addr().String(), p.broker, 1)
	return config
}
