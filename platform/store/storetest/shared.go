package storetest

import (
	"sync"
	"testing"

	"github.com/pizzamill/pizzamill/platform/store"
)

// Shared makes of an Open that opens the database once at a time one that opens
// it several times: who comes later gets the driver that is open, and who
// leaves last closes it.
func Shared(open Open) Open {
	s := &sharing{}
	return func(t *testing.T) store.Driver {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.users == 0 {
			s.driver = open(t)
		}
		s.users++
		return &share{s.driver, s}
	}
}

type sharing struct {
	mu     sync.Mutex
	driver store.Driver
	users  int
}

type share struct {
	store.Driver
	of *sharing
}

func (s *share) Close() error {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if s.of.users--; s.of.users > 0 {
		return nil
	}
	return s.Driver.Close()
}
