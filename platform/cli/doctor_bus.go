package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// partitioned is a bus whose topics have partitions. A topic that does not
// exist yet is not in the map.
type partitioned interface {
	Partitions(ctx context.Context) (map[string]int, error)
}

// comparer is a bus that finds out, changing nothing, whether what exists on
// the broker differs from what it would make there: a *bus.ConflictError.
type comparer interface {
	Conflicts(ctx context.Context) error
}

func (d *doctor) examineBus(ctx context.Context) {
	if !d.OnBroker() {
		d.add("bus", fine, "", "gochannel, in the memory of one process")
		d.examineProcess(ctx)
		return
	}
	b, err := d.open(d.Config, d.pipeline)
	if err != nil {
		d.add("broker", failed, "correct the ["+d.Bus.Driver+"] section", "%v", err)
		return
	}
	defer b.Close()
	if d.identity, err = ask(ctx, b.Identity); err != nil {
		where := "[kafka] brokers"
		if d.Bus.Driver == "amqp" {
			where = "[amqp] url"
		}
		d.unreachable("broker", "start it, or correct "+where, err)
		return
	}
	d.add("broker", fine, "", "%s, known as %s", d.broker(), d.identity)
	if p, ok := b.(partitioned); ok {
		d.examinePartitions(ctx, p)
	}
	groups, err := ask(ctx, func(ctx context.Context) ([]bus.Group, error) {
		if c, ok := b.(comparer); ok {
			if err := c.Conflicts(ctx); err != nil {
				return nil, err
			}
		}
		return b.Groups(ctx)
	})
	var conflict *bus.ConflictError
	var other *bus.PipelineError
	switch {
	case errors.As(err, &other):
		d.add("pipeline", failed, "set another [bus] prefix", "%v", other)
	case errors.As(err, &conflict):
		d.add(d.groupNoun(), failed, "remove it, or choose another [bus] prefix",
			"%s exists and is not what pizzamill needs: it has %s, want %s", conflict.What, conflict.Have, conflict.Want)
	case err != nil:
		d.unreachable(d.groupNoun(), "see whether this user may declare them and ask for them", err)
	default:
		d.examineGroups(groups)
	}
	if d.Bus.Driver == "amqp" && d.AMQP.ManagementURL != "" && d.examineManagement(ctx, b) {
		d.examineBrokerClock(ctx)
	}
}

// examineManagement asks RabbitMQ's management API with the configured user, as
// lag and the search for left-over queues do. It returns false if there was no
// answer at all.
func (d *doctor) examineManagement(ctx context.Context, b bus.Bus) bool {
	l, ok := b.(lister)
	if !ok {
		return true
	}
	_, err := ask(ctx, l.Queues)
	var lost *url.Error
	switch {
	case errors.As(err, &lost):
		d.unreachable("management", "start it, or correct [amqp] management_url", err)
		return false
	case err != nil:
		d.add("management", failed, "correct the user and the password in [amqp] management_url, or empty it", "%v", err)
	default:
		d.add("management", fine, "", "its API lists the queues of the vhost")
	}
	return true
}

// examineBrokerClock reads the clock that RabbitMQ's management API shows in
// whole seconds. Neither AMQP nor Kafka tells the time.
func (d *doctor) examineBrokerClock(ctx context.Context) {
	d.examineClock(ctx, "clock", "the broker's", func(ctx context.Context) (time.Time, time.Duration, error) {
		base, err := url.Parse(d.AMQP.ManagementURL)
		if err != nil {
			return time.Time{}, 0, errors.New("[amqp] management_url is malformed")
		}
		base.User = nil // the front page asks for nobody
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.String(), nil)
		if err != nil {
			return time.Time{}, 0, errors.New("[amqp] management_url is malformed")
		}
		res, err := d.transport.RoundTrip(req)
		if err != nil {
			return time.Time{}, 0, fmt.Errorf("the management API: %w", err)
		}
		_ = res.Body.Close()
		there, err := http.ParseTime(res.Header.Get("Date"))
		if err != nil {
			return time.Time{}, 0, fmt.Errorf("the management API's clock: %w", err)
		}
		return there, time.Second, nil
	})
}

func (d *doctor) groupNoun() string {
	if d.Bus.Driver == "amqp" {
		return "queues"
	}
	return "groups"
}

func (d *doctor) examinePartitions(ctx context.Context, p partitioned) {
	have, err := ask(ctx, p.Partitions)
	if err != nil {
		d.unreachable("topics", "see whether this user may describe topics", err)
		return
	}
	var missing, other []string
	topics := d.topology(d.line).Topics
	for _, topic := range topics {
		switch n, ok := have[topic]; {
		case !ok:
			missing = append(missing, topic)
		case n != d.Kafka.Partitions:
			other = append(other, fmt.Sprintf("%s has %d", topic, n))
		}
	}
	if len(missing) > 0 {
		d.add("topics", warn, "pizzamill serve makes them", "%d of %d are not there yet: %s", len(missing), len(topics), some(missing))
	}
	if len(other) > 0 {
		d.add("topics", warn, "they are used as they are: set [kafka] partitions to what they have, or add partitions while nothing is in flight",
			"[kafka] partitions is %d, and %s", d.Kafka.Partitions, some(other))
	}
	if len(missing)+len(other) == 0 {
		d.add("topics", fine, "", "%d, with %d partitions each", len(topics), d.Kafka.Partitions)
	}
}

func (d *doctor) examineGroups(groups []bus.Group) {
	var missing, idle []string
	consumers := 0
	for _, g := range groups {
		consumers += g.Consumers
		if !g.Exists {
			missing = append(missing, g.Name)
		} else if g.Consumers == 0 {
			idle = append(idle, g.Name)
		}
	}
	if len(missing) > 0 {
		d.add(d.groupNoun(), warn, "they are made when the modules start", "%d of %d are not there yet: %s", len(missing), len(groups), some(missing))
	} else {
		d.add(d.groupNoun(), fine, "", "all %d are there", len(groups))
	}
	if idle := slices.Concat(idle, missing); len(idle) > 0 {
		d.add("consumers", warn, "start the modules; pizzamill topology --check names them", "none for %d of %d %s: %s",
			len(idle), len(groups), d.groupNoun(), some(idle))
	} else {
		d.add("consumers", fine, "", "%d, at least one for each of %d %s", consumers, len(groups), d.groupNoun())
	}
}

// some lists the first few of many names.
func some(names []string) string {
	const few = 3
	if len(names) <= few+1 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// examineProcess asks the one process that a line on gochannel has.
func (d *doctor) examineProcess(ctx context.Context) {
	client, err := d.adminClient("")
	if err != nil {
		d.add("process", warn, "", "%v", err)
		return
	}
	_, err = client.do(ctx, http.MethodGet, client.url("readyz"), nil, nil)
	var refused *statusError
	switch {
	case errors.As(err, &refused):
		d.add("process", failed, "", "the one at %s is not ready: %s", client.base.Redacted(), refused.detail)
	case err != nil:
		d.add("process", warn, "pizzamill serve starts one", "none answers at %s", client.base.Redacted())
	default:
		d.add("process", fine, "", "ready, at %s", client.base.Redacted())
	}
}
