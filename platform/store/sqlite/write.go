package sqlite

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pizzamill/pizzamill/platform/store"
)

// tx writes rows in the transaction of the writer connection. One statement a
// row, prepared once, is as fast here as statements of many rows: there is no
// network to save, and SQLite runs the same program either way.
type tx struct{ reader }

var _ store.Tx = (*tx)(nil)

// LockBus has nothing to wait for: one transaction writes at a time.
func (t *tx) LockBus() error { return nil }

// ShareBus has nothing to wait for.
func (t *tx) ShareBus() error { return nil }

func (t *tx) Ready(now int64, limit int) ([]store.OrderRow, error) {
	return t.orders(`INDEXED BY orders_to_dispatch WHERE dispatched < count AND lease_until <= ?
		AND ? - (dispatched - (completed + dead_lettered - done_ahead)) >= min(?, count - dispatched)
		ORDER BY turn, seq LIMIT ?`, now, int64(store.Window), int64(store.ChunkSize), int64(limit))
}

func (t *tx) LastTurn() (turn int64, err error) {
	err = t.c.query(`SELECT turn FROM orders WHERE dispatched < count ORDER BY turn DESC LIMIT 1`,
		func(v []driver.Value) error { turn = integer(v[0]); return nil })
	return turn, err
}

func (t *tx) Open() ([]store.OrderRow, error) {
	return t.orders(`INDEXED BY orders_open WHERE count > completed + dead_lettered ORDER BY seq`)
}

func (t *tx) Write(c *store.Changes) error {
	for _, write := range []func(*store.Changes) error{t.writeOrders, t.writePizzas, t.writeFacts, t.writeLetters, t.writeRest, t.writeProcesses} {
		if err := write(c); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) writeOrders(c *store.Changes) error {
	for _, o := range c.NewOrders {
		err := t.c.exec(`INSERT INTO orders (id, count, created_at, dispatched, done_ahead, completed, dead_lettered,
			completed_at, last_event, progress, lease_token, lease_until, turn)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			append([]driver.Value{o.ID, int64(o.Count), o.CreatedAt}, changing(o)...)...)
		if err != nil {
			return fmt.Errorf("insert order: %w", err)
		}
	}
	for _, o := range c.Orders {
		err := t.c.exec(`UPDATE orders SET dispatched = ?, done_ahead = ?, completed = ?, dead_lettered = ?,
			completed_at = ?, last_event = ?, progress = ?, lease_token = ?, lease_until = ?, turn = ? WHERE seq = ?`,
			append(changing(o), o.Seq)...)
		if err != nil {
			return fmt.Errorf("update order %s: %w", o.ID, err)
		}
	}
	return nil
}

// changing are the columns of an order that change.
func changing(o *store.OrderRow) []driver.Value {
	return []driver.Value{
		int64(o.Dispatched), int64(o.DoneAhead), int64(o.Completed), int64(o.DeadLettered),
		o.CompletedAt, o.LastEvent, string(store.AppendProgress(nil, o.Progress)), o.LeaseToken, o.LeaseUntil, o.Turn,
	}
}

func (t *tx) writePizzas(c *store.Changes) error {
	var buf []byte
	for _, p := range c.Pizzas {
		buf = store.AppendSteps(buf[:0], p.Steps)
		err := t.c.exec(`INSERT INTO pizzas (key, status, steps, body_event, completed_at, letter) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (key) DO UPDATE SET status = excluded.status, steps = excluded.steps,
			body_event = excluded.body_event, completed_at = excluded.completed_at, letter = excluded.letter`,
			key(p.Order, int64(p.Number)), int64(slices.Index(statuses, p.Status)), string(buf), p.BodyEvent, p.CompletedAt, nullable(p.Letter))
		if err != nil {
			return fmt.Errorf("write pizza %d: %w", p.Number, err)
		}
	}
	return nil
}

func (t *tx) writeFacts(c *store.Changes) error {
	for _, f := range c.NewFacts {
		err := t.c.exec(`INSERT INTO facts (key, pizza, kind, step, source, body, at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			key(f.Order, f.Event), int64(f.Number), int64(slices.Index(kinds, f.Kind)), nullable(f.Step), nullable(f.Source), bytesOrNull(f.Body), f.At)
		if err != nil {
			return fmt.Errorf("insert event %d: %w", f.Event, err)
		}
	}
	for _, f := range c.FilledFacts {
		err := t.c.exec(`UPDATE facts SET source = ?, body = ? WHERE key = ?`,
			nullable(f.Source), bytesOrNull(f.Body), key(f.Order, f.Event))
		if err != nil {
			return fmt.Errorf("fill event %d: %w", f.Event, err)
		}
	}
	return nil
}

func (t *tx) writeLetters(c *store.Changes) error {
	for _, d := range c.Letters {
		headers, err := json.Marshal(d.Headers)
		if err != nil {
			return fmt.Errorf("encode headers of dead letter %s: %w", d.ID, err)
		}
		var order, number driver.Value
		if d.Pizza != nil {
			order, number = d.Pizza.Order, int64(d.Pizza.Number)
		}
		err = t.c.exec(`INSERT OR REPLACE INTO dead_letters (`+letterColumns+`, body)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			d.ID, d.Status, order, number, d.Topic, d.Module, d.Error, d.Kind, int64(d.Attempts), int64(d.Requeues),
			d.Fingerprint, d.FirstFailed.UnixMilli(), d.LastFailed.UnixMilli(), d.Key, string(headers), boolean(d.Truncated),
			bytesOrNull(d.Body))
		if err != nil {
			return fmt.Errorf("write dead letter %s: %w", d.ID, err)
		}
	}
	return nil
}

func (t *tx) writeRest(c *store.Changes) error {
	for _, k := range c.NewKeys {
		err := t.c.exec(`INSERT INTO idempotency_keys (key, order_id, count, created_at) VALUES (?, ?, ?, ?)`,
			k.Key, k.Order, int64(k.Count), k.CreatedAt)
		if err != nil {
			return fmt.Errorf("insert idempotency key: %w", err)
		}
	}
	if c.ForgetKeys > 0 {
		err := t.c.exec(`DELETE FROM idempotency_keys WHERE key IN
			(SELECT key FROM idempotency_keys WHERE created_at < ? ORDER BY created_at LIMIT 100)`, c.ForgetKeys)
		if err != nil {
			return fmt.Errorf("forget idempotency keys: %w", err)
		}
	}
	for name, n := range c.Totals {
		err := t.c.exec(`INSERT INTO totals (name, value) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET value = value + excluded.value`, name, n)
		if err != nil {
			return fmt.Errorf("move total %s: %w", name, err)
		}
	}
	for name, value := range c.Meta {
		err := t.c.exec(`INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)`, name, value)
		if err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

func (t *tx) writeProcesses(c *store.Changes) error {
	for _, id := range c.GoneProcess {
		if err := t.c.exec(`DELETE FROM processes WHERE id = ?`, id); err != nil {
			return fmt.Errorf("delete process: %w", err)
		}
	}
	for _, p := range c.Processes {
		err := t.c.exec(`INSERT OR REPLACE INTO processes (id, name, bus, alone, renewed_at) VALUES (?, ?, ?, ?, ?)`,
			p.ID, p.Name, p.Bus, boolean(p.Alone), p.RenewedAt)
		if err != nil {
			return fmt.Errorf("write process: %w", err)
		}
	}
	for _, b := range c.Buses {
		err := t.c.exec(`INSERT OR REPLACE INTO buses (identity, driver, prefix, pipeline, started_at) VALUES (?, ?, ?, ?, ?)`,
			b.Identity, b.Driver, b.Prefix, b.Pipeline, b.StartedAt)
		if err != nil {
			return fmt.Errorf("write bus: %w", err)
		}
	}
	return nil
}
