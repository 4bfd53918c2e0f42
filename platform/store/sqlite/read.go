package sqlite

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// reader reads rows in the transaction of its connection.
type reader struct{ c *conn }

var _ store.ReadTx = (*reader)(nil)

// key is the key of the rows of an order's pizzas and events.
func key(order, number int64) int64 { return order<<32 | number }

func orderOf(key int64) int64  { return key >> 32 }
func numberOf(key int64) int64 { return key & math.MaxUint32 }

const selectOrder = `SELECT seq, id, count, dispatched, done_ahead, completed, dead_lettered,
	created_at, completed_at, last_event, progress, lease_token, lease_until, turn FROM orders `

func (r *reader) orders(where string, args ...driver.Value) (orders []store.OrderRow, err error) {
	err = r.c.query(selectOrder+where, func(v []driver.Value) error {
		progress, err := store.ParseProgress(text(v[10]))
		if err != nil {
			return fmt.Errorf("order %s: %w", text(v[1]), err)
		}
		orders = append(orders, store.OrderRow{
			Seq: integer(v[0]), ID: text(v[1]),
			Count: int(integer(v[2])), Dispatched: int(integer(v[3])), DoneAhead: int(integer(v[4])),
			Completed: int(integer(v[5])), DeadLettered: int(integer(v[6])),
			CreatedAt: integer(v[7]), CompletedAt: integer(v[8]), LastEvent: integer(v[9]),
			Progress: progress, LeaseToken: text(v[11]), LeaseUntil: integer(v[12]), Turn: integer(v[13]),
		})
		return nil
	}, args...)
	return orders, err
}

func (r *reader) Orders(ids []string) ([]store.OrderRow, error) {
	orders := make([]store.OrderRow, 0, len(ids))
	for _, id := range ids {
		found, err := r.orders(`WHERE id = ?`, id)
		if err != nil {
			return nil, err
		}
		orders = append(orders, found...)
	}
	return orders, nil
}

func (r *reader) OrdersBefore(before string, limit int) ([]store.OrderRow, error) {
	if before == "" {
		return r.orders(`ORDER BY id DESC LIMIT ?`, int64(limit))
	}
	return r.orders(`WHERE id < ? ORDER BY id DESC LIMIT ?`, before, int64(limit))
}

func (r *reader) OldestOpen() (createdAt int64, err error) {
	err = r.c.query(`SELECT created_at FROM orders INDEXED BY orders_open
		WHERE count > completed + dead_lettered ORDER BY seq LIMIT 1`,
		func(v []driver.Value) error { createdAt = integer(v[0]); return nil })
	return createdAt, err
}

// statuses are the pizzas' by their number in the database.
var statuses = []store.Status{store.Cooking, store.Complete, store.DeadLettered}

const selectPizza = `SELECT key, status, steps, body_event, completed_at, letter FROM pizzas `

func (r *reader) pizzas(pizzas *[]store.PizzaRow, where string, args ...driver.Value) error {
	return r.c.query(selectPizza+where, func(v []driver.Value) error {
		steps, err := store.ParseSteps(text(v[2]))
		if err == nil && uint64(integer(v[1])) >= uint64(len(statuses)) {
			err = fmt.Errorf("unknown status %d", integer(v[1]))
		}
		if err != nil {
			return fmt.Errorf("pizza %d of order %d: %w", numberOf(integer(v[0])), orderOf(integer(v[0])), err)
		}
		*pizzas = append(*pizzas, store.PizzaRow{
			PizzaKey:    store.PizzaKey{Order: orderOf(integer(v[0])), Number: int(numberOf(integer(v[0])))},
			Status:      statuses[integer(v[1])],
			Steps:       steps,
			BodyEvent:   integer(v[3]),
			CompletedAt: integer(v[4]),
			Letter:      text(v[5]),
		})
		return nil
	}, args...)
}

func (r *reader) Pizzas(keys []store.PizzaKey) ([]store.PizzaRow, error) {
	pizzas := make([]store.PizzaRow, 0, len(keys))
	wanted := make([]int64, len(keys))
	for i, k := range keys {
		wanted[i] = key(k.Order, int64(k.Number))
	}
	err := eachRun(wanted, func(from, to int64) error {
		return r.pizzas(&pizzas, `WHERE key BETWEEN ? AND ?`, from, to)
	})
	return pizzas, err
}

// eachRun sorts keys and calls read for each run of neighbours, since a range
// costs little more to read than one row.
func eachRun(keys []int64, read func(from, to int64) error) error {
	slices.Sort(keys)
	for i := 0; i < len(keys); {
		first := i
		for i++; i < len(keys) && keys[i] <= keys[i-1]+1; i++ {
		}
		if err := read(keys[first], keys[i-1]); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) PizzasAfter(order int64, after, limit int, status store.Status) (pizzas []store.PizzaRow, err error) {
	from, to := key(order, int64(after)), key(order+1, 0)
	switch status {
	case "":
		err = r.pizzas(&pizzas, `WHERE key > ? AND key < ? ORDER BY key LIMIT ?`, from, to, int64(limit))
	case store.DeadLettered: // a constant, or the index would not be used
		err = r.pizzas(&pizzas, `WHERE key > ? AND key < ? AND status = 2 ORDER BY key LIMIT ?`, from, to, int64(limit))
	default:
		err = r.pizzas(&pizzas, `WHERE key > ? AND key < ? AND status = ? ORDER BY key LIMIT ?`,
			from, to, int64(slices.Index(statuses, status)), int64(limit))
	}
	return pizzas, err
}

func (r *reader) Done(order int64, after, last int) (numbers []int, err error) {
	err = r.c.query(`SELECT key FROM pizzas WHERE key > ? AND key <= ? AND status <> 0 ORDER BY key`,
		func(v []driver.Value) error {
			numbers = append(numbers, int(numberOf(integer(v[0]))))
			return nil
		}, key(order, int64(after)), key(order, int64(last)))
	return numbers, err
}

func (r *reader) CountDone(order int64, after, last int) (n int, err error) {
	err = r.c.query(`SELECT count(*) FROM pizzas WHERE key > ? AND key <= ? AND status <> 0`,
		func(v []driver.Value) error { n = int(integer(v[0])); return nil },
		key(order, int64(after)), key(order, int64(last)))
	return n, err
}

// kinds are the events' by their number in the database.
var kinds = []store.EventKind{store.EventDispatched, store.EventStage, store.EventComplete, store.EventDeadLetter}

const selectFact = `SELECT key, pizza, kind, step, source, body, at FROM facts `

func (r *reader) facts(facts *[]store.FactRow, where string, args ...driver.Value) error {
	return r.c.query(selectFact+where, func(v []driver.Value) error {
		if uint64(integer(v[2])) >= uint64(len(kinds)) {
			return fmt.Errorf("event %d of order %d: unknown kind %d", numberOf(integer(v[0])), orderOf(integer(v[0])), integer(v[2]))
		}
		*facts = append(*facts, store.FactRow{
			FactKey: store.FactKey{Order: orderOf(integer(v[0])), Event: numberOf(integer(v[0]))},
			Number:  int(integer(v[1])),
			Kind:    kinds[integer(v[2])],
			Step:    text(v[3]), Source: text(v[4]), Body: blob(v[5]), At: integer(v[6]),
		})
		return nil
	}, args...)
}

func (r *reader) Facts(keys []store.FactKey) ([]store.FactRow, error) {
	facts := make([]store.FactRow, 0, len(keys))
	wanted := make([]int64, len(keys))
	for i, k := range keys {
		wanted[i] = key(k.Order, k.Event)
	}
	err := eachRun(wanted, func(from, to int64) error {
		return r.facts(&facts, `WHERE key BETWEEN ? AND ?`, from, to)
	})
	return facts, err
}

func (r *reader) FactsAfter(order, after int64, limit int) (facts []store.FactRow, err error) {
	if after > math.MaxUint32 {
		return nil, nil
	}
	err = r.facts(&facts, `WHERE key > ? AND key < ? ORDER BY key LIMIT ?`,
		key(order, after), key(order+1, 0), int64(limit))
	return facts, err
}

const letterColumns = `id, status, order_id, number, topic, module, error, kind, attempts, requeues,
	fingerprint, first_failed, last_failed, message_key, headers, truncated`

func (r *reader) letters(query string, args ...driver.Value) (letters []store.DeadLetter, err error) {
	err = r.c.query(query, func(v []driver.Value) error {
		d := store.DeadLetter{
			ID: text(v[0]), Status: text(v[1]), Topic: text(v[4]), Module: text(v[5]), Error: text(v[6]), Kind: text(v[7]),
			Attempts: int(integer(v[8])), Requeues: int(integer(v[9])), Fingerprint: text(v[10]),
			FirstFailed: time.UnixMilli(integer(v[11])).UTC(), LastFailed: time.UnixMilli(integer(v[12])).UTC(),
			Key: text(v[13]), Truncated: integer(v[15]) != 0, Body: blob(v[16]),
		}
		if v[2] != nil {
			d.Pizza = &event.PizzaID{Order: text(v[2]), Number: int(integer(v[3]))}
		}
		if err := json.Unmarshal([]byte(text(v[14])), &d.Headers); err != nil {
			return fmt.Errorf("headers of dead letter %s: %w", d.ID, err)
		}
		letters = append(letters, d)
		return nil
	}, args...)
	return letters, err
}

func (r *reader) Letter(id string) (store.DeadLetter, bool, error) {
	letters, err := r.letters(`SELECT `+letterColumns+`, body FROM dead_letters WHERE id = ?`, id)
	if err != nil || len(letters) == 0 {
		return store.DeadLetter{}, false, err
	}
	return letters[0], true, nil
}

func (r *reader) LettersAfter(f store.LetterFilter, after string, limit int) ([]store.DeadLetter, error) {
	where := []string{"1"}
	var args []driver.Value
	for _, c := range []struct{ column, value string }{
		{"module", f.Module}, {"topic", f.Topic}, {"order_id", f.Order}, {"status", f.Status},
	} {
		if c.value != "" {
			where, args = append(where, c.column+" = ?"), append(args, c.value)
		}
	}
	if after != "" {
		where = append(where, `(first_failed, id) > (SELECT first_failed, id FROM dead_letters WHERE id = ?)`)
		args = append(args, after)
	}
	return r.letters(`SELECT `+letterColumns+`, NULL FROM dead_letters WHERE `+strings.Join(where, " AND ")+
		` ORDER BY first_failed, id LIMIT ?`, append(args, int64(limit))...)
}

func (r *reader) Key(name string) (k store.KeyRow, ok bool, err error) {
	err = r.c.query(`SELECT key, order_id, count, created_at FROM idempotency_keys WHERE key = ?`,
		func(v []driver.Value) error {
			k, ok = store.KeyRow{Key: text(v[0]), Order: text(v[1]), Count: int(integer(v[2])), CreatedAt: integer(v[3])}, true
			return nil
		}, name)
	return k, ok, err
}

func (r *reader) Totals() (map[string]int64, error) {
	totals := map[string]int64{}
	err := r.c.query(`SELECT name, value FROM totals`, func(v []driver.Value) error {
		totals[text(v[0])] = integer(v[1])
		return nil
	})
	return totals, err
}

func (r *reader) Now() (int64, error) { return time.Now().UnixMilli(), nil }

func (r *reader) Processes() (processes []store.ProcessRow, err error) {
	err = r.c.query(`SELECT id, name, bus, alone, renewed_at FROM processes ORDER BY id`, func(v []driver.Value) error {
		processes = append(processes, store.ProcessRow{
			ID: text(v[0]), Name: text(v[1]), Bus: text(v[2]), Alone: integer(v[3]) != 0, RenewedAt: integer(v[4]),
		})
		return nil
	})
	return processes, err
}

func (r *reader) Buses() (buses []store.BusRow, err error) {
	err = r.c.query(`SELECT identity, driver, prefix, pipeline, started_at FROM buses ORDER BY identity`, func(v []driver.Value) error {
		buses = append(buses, store.BusRow{
			Identity: text(v[0]), Driver: text(v[1]), Prefix: text(v[2]), Pipeline: text(v[3]), StartedAt: integer(v[4]),
		})
		return nil
	})
	return buses, err
}

func (r *reader) Meta(name string) (value string, err error) {
	err = r.c.query(`SELECT value FROM meta WHERE name = ?`, func(v []driver.Value) error {
		value = text(v[0])
		return nil
	}, name)
	return value, err
}
