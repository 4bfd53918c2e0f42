package idempotency

import (
	"context"
	"sync"
)

// MemorySize is how many event IDs a stage remembers in memory.
const MemorySize = 100_000

// Memory keeps the last events in memory. It lives exactly as long as an
// in-memory bus does, which is why the two belong together: records that
// outlived the bus would say "done" of events whose output died with it.
type Memory struct {
	mu     sync.Mutex
	done   map[record]struct{}
	ring   []record // those in done, oldest at next once full
	next   int
	size   int
	inHand map[record]chan struct{} // closed when the copy in hand ends
}

type record struct{ bus, event string }

var _ Records = (*Memory)(nil)

// NewMemory returns empty records that keep the last size event IDs.
func NewMemory(size int) *Memory {
	return &Memory{done: map[record]struct{}{}, size: size, inHand: map[record]chan struct{}{}}
}

// Begin implements Records. It fails only if ctx ends while another copy of the
// event is in hand.
func (m *Memory) Begin(ctx context.Context, bus, eventID string) (bool, func(bool), error) {
	id := record{bus, eventID}
	for {
		m.mu.Lock()
		if _, ok := m.done[id]; ok {
			m.mu.Unlock()
			return true, nil, nil
		}
		other, busy := m.inHand[id]
		if !busy {
			mine := make(chan struct{})
			m.inHand[id] = mine
			m.mu.Unlock()
			return false, func(ok bool) { m.end(id, mine, ok) }, nil
		}
		m.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return false, nil, ctx.Err()
		}
	}
}

func (m *Memory) end(id record, mine chan struct{}, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.inHand, id)
	close(mine)
	if !ok {
		return
	}
	if len(m.ring) < m.size {
		m.ring = append(m.ring, id)
	} else {
		delete(m.done, m.ring[m.next])
		m.ring[m.next] = id
		m.next = (m.next + 1) % m.size
	}
	m.done[id] = struct{}{}
}
