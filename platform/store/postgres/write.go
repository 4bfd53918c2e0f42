package postgres

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/pizzamill/pizzamill/platform/store"
)

// tx writes rows in the transaction of the connection that writes.
type tx struct {
	reader
	known map[string]bool // dead letters that were looked up: whether they are there
}

var _ store.Tx = (*tx)(nil)

func (t *tx) Ready(now int64, limit int) ([]store.OrderRow, error) {
	return t.orders(fmt.Sprintf(`WHERE dispatched < count AND lease_until <= $1
		AND %d - (dispatched - (completed + dead_lettered - done_ahead)) >= least(%d, count - dispatched)
		ORDER BY turn, seq LIMIT $2`, store.Window, store.ChunkSize), now, limit)
}

func (t *tx) LastTurn() (turn int64, err error) {
	err = t.query(func(rows pgx.Rows) error { return rows.Scan(&turn) },
		`SELECT turn FROM orders WHERE dispatched < count ORDER BY turn DESC LIMIT 1`)
	return turn, err
}

func (t *tx) Open() ([]store.OrderRow, error) {
	return t.orders(`WHERE count > completed + dead_lettered ORDER BY id FOR UPDATE`)
}

// busLock is the class of the advisory lock of who decides on the bus.
const busLock = 0x62757321 // "bus!"

func (t *tx) LockBus() error {
	return t.lock(`SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))`)
}

func (t *tx) ShareBus() error {
	return t.lock(`SELECT pg_advisory_xact_lock_shared($1, hashtext(current_schema()))`)
}

func (t *tx) lock(sql string) error {
	return t.query(func(pgx.Rows) error { return nil }, sql, busLock)
}

// Letter locks a letter that exists. One that does not is nobody's yet: who
// writes it second finds out then.
func (t *tx) Letter(id string) (store.DeadLetter, bool, error) {
	d, ok, err := t.reader.Letter(id)
	if err == nil {
		if t.known == nil {
			t.known = map[string]bool{}
		}
		t.known[id] = ok
	}
	return d, ok, err
}

// Write encodes the rows. They are sent with the COMMIT, or with the next
// statement if there is one. What other processes may insert as well comes
// first, and in order; what all processes move comes last.
func (t *tx) Write(c *store.Changes) error {
	t.writeKeys(c)
	t.writeOrders(c)
	t.writePizzas(c)
	t.writeFacts(c)
	if err := t.writeLetters(c); err != nil {
		return err
	}
	t.writeProcesses(c)
	t.writeTotals(c)
	return nil
}

func (t *tx) writeKeys(c *store.Changes) {
	if len(c.NewKeys) > 0 {
		var keys, orders []string
		var counts, created []int64
		for _, k := range sorted(c.NewKeys, func(k *store.KeyRow) string { return k.Key }) {
			keys, orders = append(keys, clean(k.Key)), append(orders, k.Order)
			counts, created = append(counts, int64(k.Count)), append(created, k.CreatedAt)
		}
		t.s.write(`INSERT INTO idempotency_keys (key, order_id, count, created_at)
			SELECT * FROM unnest($1::text[], $2::text[], $3::int8[], $4::int8[])`, keys, orders, counts, created)
	}
	if c.ForgetKeys > 0 {
		t.s.write(`DELETE FROM idempotency_keys WHERE key IN (SELECT key FROM idempotency_keys
			WHERE created_at < $1 ORDER BY created_at LIMIT 100 FOR UPDATE SKIP LOCKED)`, c.ForgetKeys)
	}
}

// sorted returns rows in the order of a text of theirs, which is the order in
// which everybody locks them.
func sorted[R any](rows []R, by func(R) string) []R {
	return slices.SortedFunc(slices.Values(rows), func(a, b R) int { return cmp.Compare(by(a), by(b)) })
}

func (t *tx) writeOrders(c *store.Changes) {
	if len(c.NewOrders) > 0 {
		ids := make([]string, len(c.NewOrders))
		counts, created := make([]int64, len(c.NewOrders)), make([]int64, len(c.NewOrders))
		for i, o := range c.NewOrders {
			ids[i], counts[i], created[i] = o.ID, int64(o.Count), o.CreatedAt
		}
		t.s.write(`INSERT INTO orders (id, count, created_at, dispatched, done_ahead, completed, dead_lettered,
				completed_at, last_event, progress, lease_token, lease_until, turn)
			SELECT * FROM unnest($11::text[], $12::int8[], $13::int8[], `+changingArrays+`)`,
			append(changing(c.NewOrders), ids, counts, created)...)
	}
	if len(c.Orders) > 0 {
		seqs := make([]int64, len(c.Orders))
		for i, o := range c.Orders {
			seqs[i] = o.Seq
		}
		t.s.write(`UPDATE orders o SET dispatched = n.dispatched, done_ahead = n.done_ahead, completed = n.completed,
				dead_lettered = n.dead_lettered, completed_at = n.completed_at, last_event = n.last_event,
				progress = n.progress, lease_token = n.lease_token, lease_until = n.lease_until, turn = n.turn
			FROM unnest($11::int8[], `+changingArrays+`) AS n (seq, dispatched, done_ahead, completed, dead_lettered,
				completed_at, last_event, progress, lease_token, lease_until, turn)
			WHERE o.seq = n.seq`, append(changing(c.Orders), seqs)...)
	}
}

const changingArrays = `$1::int8[], $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::text[], $8::text[], $9::int8[], $10::int8[]`

// changing are the columns of orders that change.
func changing(orders []*store.OrderRow) []any {
	n := len(orders)
	numbers := make([][]int64, 8)
	for i := range numbers {
		numbers[i] = make([]int64, n)
	}
	progress, tokens := make([]string, n), make([]string, n)
	for i, o := range orders {
		for j, v := range []int64{
			int64(o.Dispatched), int64(o.DoneAhead), int64(o.Completed), int64(o.DeadLettered),
			o.CompletedAt, o.LastEvent, o.LeaseUntil, o.Turn,
		} {
			numbers[j][i] = v
		}
		progress[i], tokens[i] = string(store.AppendProgress(nil, o.Progress)), o.LeaseToken
	}
	return []any{
		numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], progress, tokens, numbers[6], numbers[7],
	}
}

func (t *tx) writePizzas(c *store.Changes) {
	n := len(c.Pizzas)
	if n == 0 {
		return
	}
	keys, bodies, completed := make([]int64, n), make([]int64, n), make([]int64, n)
	states := make([]int16, n)
	steps, letters := make([]string, n), make([]string, n)
	var buf []byte
	for i, p := range c.Pizzas {
		buf = store.AppendSteps(buf[:0], p.Steps)
		keys[i], states[i], steps[i] = rowKey(p.Order, int64(p.Number)), int16(slices.Index(statuses, p.Status)), string(buf)
		bodies[i], completed[i], letters[i] = p.BodyEvent, p.CompletedAt, clean(p.Letter)
	}
	t.s.write(`INSERT INTO pizzas (key, status, steps, body_event, completed_at, letter)
		SELECT * FROM unnest($1::int8[], $2::int2[], $3::text[], $4::int8[], $5::int8[], $6::text[])
		ON CONFLICT (key) DO UPDATE SET status = excluded.status, steps = excluded.steps,
			body_event = excluded.body_event, completed_at = excluded.completed_at, letter = excluded.letter`,
		keys, states, steps, bodies, completed, letters)
}

func (t *tx) writeFacts(c *store.Changes) {
	if n := len(c.NewFacts); n > 0 {
		keys, numbers, times := make([]int64, n), make([]int64, n), make([]int64, n)
		states := make([]int16, n)
		steps, sources := make([]string, n), make([]string, n)
		bodies := make([][]byte, n)
		for i, f := range c.NewFacts {
			keys[i], numbers[i], times[i] = rowKey(f.Order, f.Event), int64(f.Number), f.At
			states[i], steps[i], sources[i], bodies[i] = int16(slices.Index(kinds, f.Kind)), f.Step, clean(f.Source), f.Body
		}
		t.s.write(`INSERT INTO facts (key, pizza, kind, step, source, body, at)
			SELECT * FROM unnest($1::int8[], $2::int8[], $3::int2[], $4::text[], $5::text[], $6::bytea[], $7::int8[])`,
			keys, numbers, states, steps, sources, bodies, times)
	}
	if n := len(c.FilledFacts); n > 0 {
		keys, sources, bodies := make([]int64, n), make([]string, n), make([][]byte, n)
		for i, f := range c.FilledFacts {
			keys[i], sources[i], bodies[i] = rowKey(f.Order, f.Event), clean(f.Source), f.Body
		}
		t.s.write(`UPDATE facts f SET source = n.source, body = n.body
			FROM unnest($1::int8[], $2::text[], $3::bytea[]) AS n (key, source, body) WHERE f.key = n.key`, keys, sources, bodies)
	}
}

// writeLetters writes one statement a letter: there are few, and in one message.
func (t *tx) writeLetters(c *store.Changes) error {
	for _, d := range sorted(c.Letters, func(d *store.DeadLetter) string { return d.ID }) {
		headers, err := json.Marshal(d.Headers)
		if err != nil {
			return fmt.Errorf("encode headers of dead letter %s: %w", d.ID, err)
		}
		var order *string
		var number *int
		if d.Pizza != nil {
			order, number = &d.Pizza.Order, &d.Pizza.Number
		}
		sql := `INSERT INTO dead_letters (` + letterColumns + `, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`
		if t.known[d.ID] { // and locked
			sql = `UPDATE dead_letters SET (` + letterColumns + `, body)
				= ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) WHERE id = $1`
		}
		t.s.write(sql, clean(d.ID), d.Status, order, number, clean(d.Topic), clean(d.Module), clean(d.Error), clean(d.Kind),
			d.Attempts, d.Requeues, clean(d.Fingerprint), d.FirstFailed.UnixMilli(), d.LastFailed.UnixMilli(),
			[]byte(d.Key), headers, d.Truncated, d.Body)
	}
	return nil
}

func (t *tx) writeProcesses(c *store.Changes) {
	for _, p := range sorted(c.Processes, func(p *store.ProcessRow) string { return p.ID }) {
		t.s.write(`INSERT INTO processes (id, name, bus, alone, renewed_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, bus = excluded.bus, alone = excluded.alone,
				renewed_at = excluded.renewed_at`,
			clean(p.ID), clean(p.Name), clean(p.Bus), p.Alone, p.RenewedAt)
	}
	if len(c.GoneProcess) > 0 {
		t.s.write(`DELETE FROM processes WHERE id = ANY($1)`, c.GoneProcess)
	}
	for _, b := range sorted(c.Buses, func(b *store.BusRow) string { return b.Identity }) {
		t.s.write(`INSERT INTO buses (identity, driver, prefix, pipeline, started_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (identity) DO UPDATE SET driver = excluded.driver, prefix = excluded.prefix,
				pipeline = excluded.pipeline, started_at = excluded.started_at`,
			clean(b.Identity), b.Driver, clean(b.Prefix), b.Pipeline, b.StartedAt)
	}
}

func (t *tx) writeTotals(c *store.Changes) {
	if len(c.Meta) > 0 {
		names := slices.Sorted(maps.Keys(c.Meta))
		values := make([]string, len(names))
		for i, name := range names {
			values[i] = clean(c.Meta[name])
		}
		t.s.write(`INSERT INTO meta (name, value) SELECT * FROM unnest($1::text[], $2::text[])
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, names, values)
	}
	if len(c.Totals) > 0 {
		names := slices.Sorted(maps.Keys(c.Totals))
		moves := make([]int64, len(names))
		for i, name := range names {
			moves[i] = c.Totals[name]
		}
		t.s.write(`INSERT INTO totals (name, value) SELECT * FROM unnest($1::text[], $2::int8[])
			ON CONFLICT (name) DO UPDATE SET value = totals.value + excluded.value`, names, moves)
	}
}
