package postgres

import "context"

// Forget is what runs once a minute.
func (db *DB) Forget(ctx context.Context, bite int) error { return db.forget(ctx, bite) }
