package sqlite

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// InUseError says that another process holds the database.
type InUseError struct {
	Path  string
	PID   int       // 0 if it cannot be told
	Since time.Time // zero if it cannot be told
}

func (e *InUseError) Error() string {
	who := "another process"
	if e.PID > 0 {
		who = fmt.Sprintf("process %d (since %s)", e.PID, e.Since.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("%s is in use by %s; stop it, or choose another [store] path", e.Path, who)
}

// holder is what the lock file says about who has the lock.
type holder struct {
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

// lock takes the lock file beside the database. The kernel gives the lock back
// when the process ends, however it ends; the file stays, since removing it
// would let two processes lock two files of one name.
func lock(path string) (*flock.Flock, error) {
	name := path + ".lock"
	l := flock.New(name, flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock database %s: %w", path, err)
	}
	if !ok {
		e := &InUseError{Path: path}
		var h holder
		// The other process may not have written its name yet.
		if b, err := os.ReadFile(name); err == nil && json.Unmarshal(b, &h) == nil {
			e.PID, e.Since = h.PID, h.Since
		}
		return nil, e
	}
	b, err := json.Marshal(holder{PID: os.Getpid(), Since: time.Now().UTC().Truncate(time.Second)})
	if err == nil {
		err = os.WriteFile(name, append(b, '\n'), 0o600)
	}
	if err != nil {
		_ = l.Unlock()
		return nil, fmt.Errorf("write lock file %s: %w", name, err)
	}
	return l, nil
}
