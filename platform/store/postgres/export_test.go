package postgres

import "testing"

// WriterSetting returns a setting of the session that writes.
func (db *DB) WriterSetting(t *testing.T, name string) (value string) {
	t.Helper()
	db.mu.Lock()
	defer db.mu.Unlock()
	c, err := db.connection(t.Context(), 0)
	if err == nil {
		err = c.QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&value)
	}
	if err != nil {
		t.Fatal(err)
	}
	return value
}
