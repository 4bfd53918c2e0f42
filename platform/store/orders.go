package store

import (
	"context"
	"fmt"
	"time"
)

// keepKeys is how long idempotency keys are kept at least. They are promised
// for 24 h.
const keepKeys = 48 * time.Hour

// PlaceOrder commits an order of count pizzas: one row, whatever the count.
// With a key that came before it returns that order again and false, or
// ErrKeyReused if its count differs. "" is no key.
func (l *Ledger) PlaceOrder(ctx context.Context, count int, key string) (o Order, created bool, err error) {
	if count < 1 {
		return Order{}, false, fmt.Errorf("place order: count %d is below 1", count)
	}
	err = l.do(&op{
		ctx:    ctx,
		weight: 1,
		apply: func(u *unit) (outcome, abort error) {
			o, created = Order{}, false
			if key == "" {
				o, abort = u.place(count)
				created = abort == nil
				return nil, abort
			}
			known, err := u.key(key)
			switch {
			case err != nil:
				return nil, err
			case known == nil:
				if o, abort = u.place(count); abort == nil {
					created = true
					u.addKey(key, o)
				}
				return nil, abort
			case known.Count != count:
				return fmt.Errorf("order of %d pizzas: %w", count, ErrKeyReused), nil
			default:
				o, err = u.placedBefore(known.Order)
				return nil, err
			}
		},
	})
	if err != nil {
		return Order{}, false, err
	}
	return o, created, nil
}

// place adds a new order at the end of the round.
func (u *unit) place(count int) (Order, error) {
	id, err := u.l.ids.next()
	if err != nil {
		return Order{}, err
	}
	turn, err := u.nextTurn()
	if err != nil {
		return Order{}, err
	}
	row := &OrderRow{ID: id, Count: count, CreatedAt: millis(u.l.now()), Turn: turn}
	row.Progress = withPipeline(u.l.pipeline, nil, 0)
	u.placed = append(u.placed, row)
	return u.l.orderView(row), nil
}

// key returns an idempotency key, nil if it is new.
func (u *unit) key(key string) (*KeyRow, error) {
	if row, ok := u.keys[key]; ok {
		return row, nil
	}
	row, ok, err := u.tx.Key(key)
	if err != nil {
		return nil, fmt.Errorf("look up idempotency key: %w", err)
	}
	if !ok {
		u.keys[key] = nil
		return nil, nil
	}
	u.keys[key] = &row
	return &row, nil
}

func (u *unit) addKey(key string, o Order) {
	now := millis(u.l.now())
	row := &KeyRow{Key: key, Order: o.ID, Count: o.Count, CreatedAt: now}
	u.keys[key] = row
	u.newKeys = append(u.newKeys, row)
	u.forgetKeys = now - keepKeys.Milliseconds()
}

// placedBefore returns the order of a known key.
func (u *unit) placedBefore(id string) (Order, error) {
	for _, row := range u.placed {
		if row.ID == id {
			return u.l.orderView(row), nil
		}
	}
	if err := u.loadOrders(map[string]struct{}{id: {}}); err != nil {
		return Order{}, err
	}
	row := u.orders[id]
	if row == nil {
		return Order{}, fmt.Errorf("order %s of an idempotency key: %w", id, ErrNotFound)
	}
	return u.l.orderView(&row.OrderRow), nil
}
