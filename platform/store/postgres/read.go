package postgres

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// reader reads rows in a transaction.
type reader struct {
	s      *session
	writes bool // what it reads is locked
}

var _ store.ReadTx = (*reader)(nil)

func (r *reader) query(scan func(pgx.Rows) error, sql string, args ...any) error {
	return r.s.query(query{sql: sql, args: args, scan: scan})
}

// rowKey is the key of the rows of an order's pizzas and events.
func rowKey(order, number int64) int64 { return order<<32 | number }

func orderOf(key int64) int64  { return key >> 32 }
func numberOf(key int64) int64 { return key & math.MaxUint32 }

// clean makes a text one that PostgreSQL takes: what is no UTF-8, and the zero
// byte, become the replacement character.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

const selectOrder = `SELECT seq, id, count, dispatched, done_ahead, completed, dead_lettered,
	created_at, completed_at, last_event, progress, lease_token, lease_until, turn FROM orders `

func (r *reader) orders(where string, args ...any) (orders []store.OrderRow, err error) {
	err = r.query(func(rows pgx.Rows) error {
		var o store.OrderRow
		var progress string
		err := rows.Scan(&o.Seq, &o.ID, &o.Count, &o.Dispatched, &o.DoneAhead, &o.Completed, &o.DeadLettered,
			&o.CreatedAt, &o.CompletedAt, &o.LastEvent, &progress, &o.LeaseToken, &o.LeaseUntil, &o.Turn)
		if err == nil {
			o.Progress, err = store.ParseProgress(progress)
		}
		if err != nil {
			return fmt.Errorf("order %s: %w", o.ID, err)
		}
		orders = append(orders, o)
		return nil
	}, selectOrder+where, args...)
	return orders, err
}

func (r *reader) Orders(ids []string) ([]store.OrderRow, error) {
	known := make([]string, len(ids))
	for i, id := range ids {
		known[i] = clean(id)
	}
	if r.writes {
		return r.orders(`WHERE id = ANY($1) ORDER BY id FOR UPDATE`, known)
	}
	return r.orders(`WHERE id = ANY($1)`, known)
}

func (r *reader) OrdersBefore(before string, limit int) ([]store.OrderRow, error) {
	if before == "" {
		return r.orders(`ORDER BY id DESC LIMIT $1`, limit)
	}
	return r.orders(`WHERE id < $1 ORDER BY id DESC LIMIT $2`, clean(before), limit)
}

func (r *reader) OldestOpen() (createdAt int64, err error) {
	err = r.query(func(rows pgx.Rows) error { return rows.Scan(&createdAt) },
		`SELECT created_at FROM orders WHERE count > completed + dead_lettered ORDER BY seq LIMIT 1`)
	return createdAt, err
}

// statuses are the pizzas' by their number in the database.
var statuses = []store.Status{store.Cooking, store.Complete, store.DeadLettered}

const selectPizza = `SELECT key, status, steps, body_event, completed_at, letter FROM pizzas `

func (r *reader) pizzas(pizzas *[]store.PizzaRow, sql string, args ...any) error {
	return r.query(func(rows pgx.Rows) error {
		var p store.PizzaRow
		var key int64
		var status int
		var steps string
		err := rows.Scan(&key, &status, &steps, &p.BodyEvent, &p.CompletedAt, &p.Letter)
		if err == nil {
			p.Steps, err = store.ParseSteps(steps)
		}
		if err == nil && uint(status) >= uint(len(statuses)) {
			err = fmt.Errorf("unknown status %d", status)
		}
		if err != nil {
			return fmt.Errorf("pizza %d of order %d: %w", numberOf(key), orderOf(key), err)
		}
		p.PizzaKey = store.PizzaKey{Order: orderOf(key), Number: int(numberOf(key))}
		p.Status = statuses[status]
		*pizzas = append(*pizzas, p)
		return nil
	}, sql, args...)
}

func (r *reader) Pizzas(keys []store.PizzaKey) ([]store.PizzaRow, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	pizzas := make([]store.PizzaRow, 0, len(keys))
	wanted := make([]int64, len(keys))
	for i, k := range keys {
		wanted[i] = rowKey(k.Order, int64(k.Number))
	}
	from, to := runs(wanted)
	err := r.pizzas(&pizzas, selectPizza+inRuns, from, to)
	return pizzas, err
}

// inRuns selects rows by runs of neighbouring keys.
const inRuns = `JOIN unnest($1::bigint[], $2::bigint[]) AS run (first, last) ON key BETWEEN first AND last`

// runs sorts keys and returns the first and the last of each run of neighbours,
// since a range costs little more to read than one row.
func runs(keys []int64) (first, last []int64) {
	slices.Sort(keys)
	for i := 0; i < len(keys); {
		first = append(first, keys[i])
		for i++; i < len(keys) && keys[i] <= keys[i-1]+1; i++ {
		}
		last = append(last, keys[i-1])
	}
	return first, last
}

func (r *reader) PizzasAfter(order int64, after, limit int, status store.Status) (pizzas []store.PizzaRow, err error) {
	from, to := rowKey(order, int64(after)), rowKey(order+1, 0)
	switch status {
	case "":
		err = r.pizzas(&pizzas, selectPizza+`WHERE key > $1 AND key < $2 ORDER BY key LIMIT $3`, from, to, limit)
	case store.DeadLettered: // a constant, or the index would not be used
		err = r.pizzas(&pizzas, selectPizza+`WHERE key > $1 AND key < $2 AND status = 2 ORDER BY key LIMIT $3`, from, to, limit)
	default:
		err = r.pizzas(&pizzas, selectPizza+`WHERE key > $1 AND key < $2 AND status = $4 ORDER BY key LIMIT $3`,
			from, to, limit, slices.Index(statuses, status))
	}
	return pizzas, err
}

func (r *reader) Done(order int64, after, last int) (numbers []int, err error) {
	var key int64
	err = r.query(func(rows pgx.Rows) error {
		err := rows.Scan(&key)
		numbers = append(numbers, int(numberOf(key)))
		return err
	}, `SELECT key FROM pizzas WHERE key > $1 AND key <= $2 AND status <> 0 ORDER BY key`,
		rowKey(order, int64(after)), rowKey(order, int64(last)))
	return numbers, err
}

func (r *reader) CountDone(order int64, after, last int) (n int, err error) {
	err = r.query(func(rows pgx.Rows) error { return rows.Scan(&n) },
		`SELECT count(*) FROM pizzas WHERE key > $1 AND key <= $2 AND status <> 0`,
		rowKey(order, int64(after)), rowKey(order, int64(last)))
	return n, err
}

// kinds are the events' by their number in the database.
var kinds = []store.EventKind{store.EventDispatched, store.EventStage, store.EventComplete, store.EventDeadLetter}

const selectFact = `SELECT key, pizza, kind, step, source, body, at FROM facts `

func (r *reader) facts(facts *[]store.FactRow, sql string, args ...any) error {
	return r.query(func(rows pgx.Rows) error {
		var f store.FactRow
		var key int64
		var kind int
		err := rows.Scan(&key, &f.Number, &kind, &f.Step, &f.Source, &f.Body, &f.At)
		if err == nil && uint(kind) >= uint(len(kinds)) {
			err = fmt.Errorf("unknown kind %d", kind)
		}
		if err != nil {
			return fmt.Errorf("event %d of order %d: %w", numberOf(key), orderOf(key), err)
		}
		f.FactKey = store.FactKey{Order: orderOf(key), Event: numberOf(key)}
		f.Kind = kinds[kind]
		*facts = append(*facts, f)
		return nil
	}, sql, args...)
}

func (r *reader) Facts(keys []store.FactKey) ([]store.FactRow, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	facts := make([]store.FactRow, 0, len(keys))
	wanted := make([]int64, len(keys))
	for i, k := range keys {
		wanted[i] = rowKey(k.Order, k.Event)
	}
	from, to := runs(wanted)
	err := r.facts(&facts, selectFact+inRuns, from, to)
	return facts, err
}

func (r *reader) FactsAfter(order, after int64, limit int) (facts []store.FactRow, err error) {
	if after > math.MaxUint32 {
		return nil, nil
	}
	err = r.facts(&facts, selectFact+`WHERE key > $1 AND key < $2 ORDER BY key LIMIT $3`,
		rowKey(order, after), rowKey(order+1, 0), limit)
	return facts, err
}

const letterColumns = `id, status, order_id, number, topic, module, error, kind, attempts, requeues,
	fingerprint, first_failed, last_failed, message_key, headers, truncated`

func (r *reader) letters(sql string, args ...any) (letters []store.DeadLetter, err error) {
	err = r.query(func(rows pgx.Rows) error {
		var d store.DeadLetter
		var order *string
		var number *int
		var first, last int64
		var key, headers []byte
		err := rows.Scan(&d.ID, &d.Status, &order, &number, &d.Topic, &d.Module, &d.Error, &d.Kind, &d.Attempts, &d.Requeues,
			&d.Fingerprint, &first, &last, &key, &headers, &d.Truncated, &d.Body)
		if err == nil {
			err = json.Unmarshal(headers, &d.Headers)
		}
		if err != nil {
			return fmt.Errorf("dead letter %s: %w", d.ID, err)
		}
		d.Key, d.FirstFailed, d.LastFailed = string(key), time.UnixMilli(first).UTC(), time.UnixMilli(last).UTC()
		if order != nil && number != nil {
			d.Pizza = &event.PizzaID{Order: *order, Number: *number}
		}
		letters = append(letters, d)
		return nil
	}, sql, args...)
	return letters, err
}

func (r *reader) Letter(id string) (store.DeadLetter, bool, error) {
	lock := ""
	if r.writes {
		lock = ` FOR UPDATE`
	}
	letters, err := r.letters(`SELECT `+letterColumns+`, body FROM dead_letters WHERE id = $1`+lock, clean(id))
	if err != nil || len(letters) == 0 {
		return store.DeadLetter{}, false, err
	}
	return letters[0], true, nil
}

func (r *reader) LettersAfter(f store.LetterFilter, after string, limit int) ([]store.DeadLetter, error) {
	where := []string{"true"}
	args := []any{limit}
	for _, c := range []struct{ column, value string }{
		{"module", f.Module}, {"topic", f.Topic}, {"order_id", f.Order}, {"status", f.Status},
	} {
		if c.value != "" {
			args = append(args, clean(c.value))
			where = append(where, fmt.Sprintf("%s = $%d", c.column, len(args)))
		}
	}
	if after != "" {
		args = append(args, clean(after))
		where = append(where, fmt.Sprintf(`(first_failed, id) > ((SELECT first_failed FROM dead_letters WHERE id = $%[1]d), $%[1]d)`, len(args)))
	}
	return r.letters(`SELECT `+letterColumns+`, NULL::bytea FROM dead_letters WHERE `+strings.Join(where, " AND ")+
		` ORDER BY first_failed, id LIMIT $1`, args...)
}

func (r *reader) Key(name string) (k store.KeyRow, ok bool, err error) {
	err = r.query(func(rows pgx.Rows) error {
		ok = true
		return rows.Scan(&k.Key, &k.Order, &k.Count, &k.CreatedAt)
	}, `SELECT key, order_id, count, created_at FROM idempotency_keys WHERE key = $1`, clean(name))
	return k, ok, err
}

func (r *reader) Totals() (map[string]int64, error) {
	totals := map[string]int64{}
	err := r.query(func(rows pgx.Rows) error {
		var name string
		var value int64
		err := rows.Scan(&name, &value)
		totals[name] = value
		return err
	}, `SELECT name, value FROM totals`)
	return totals, err
}

func (r *reader) Meta(name string) (value string, err error) {
	err = r.query(func(rows pgx.Rows) error { return rows.Scan(&value) }, `SELECT value FROM meta WHERE name = $1`, name)
	return value, err
}

func (r *reader) Processes() (processes []store.ProcessRow, err error) {
	err = r.query(func(rows pgx.Rows) error {
		var p store.ProcessRow
		err := rows.Scan(&p.ID, &p.Name, &p.Bus, &p.Alone, &p.RenewedAt)
		processes = append(processes, p)
		return err
	}, `SELECT id, name, bus, alone, renewed_at FROM processes ORDER BY id`)
	return processes, err
}

func (r *reader) Buses() (buses []store.BusRow, err error) {
	err = r.query(func(rows pgx.Rows) error {
		var b store.BusRow
		err := rows.Scan(&b.Identity, &b.Driver, &b.Prefix, &b.Pipeline, &b.StartedAt)
		buses = append(buses, b)
		return err
	}, `SELECT identity, driver, prefix, pipeline, started_at FROM buses ORDER BY identity`)
	return buses, err
}

func (r *reader) Now() (now int64, err error) {
	err = r.query(func(rows pgx.Rows) error { return rows.Scan(&now) },
		`SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint`)
	return now, err
}
