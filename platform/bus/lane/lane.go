// Package lane hands out messages by key: those of one key one after the other
// and in order, those of many keys at once.
//
// The messages that a process has in hand of one subscription go to a fixed
// number of lanes by key. A lane hands out one message at a time and waits for
// its verdict. So a key is handled in order, two copies of an event are never
// handled at once, and a failing event holds up its lane and no other.
package lane

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Pauses before a nacked message is handed out again; each nack doubles it.
const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

// Item is one record of a broker on its way to a handler.
type Item struct {
	// Key chooses the lane. Records without one take their body as the key, so
	// that copies of one record still meet in one lane.
	Key string
	// Session ends when the record is no longer this process's: its partition
	// was given away, its channel was closed. What is queued then is dropped.
	Session context.Context
	// Message makes the message; it is called anew for each time that the
	// record is handed out. Its context is set to Session by the lane, with
	// the values it had.
	Message func() *message.Message
	// Done is called once, with whether the message was acknowledged. With false
	// the session or the lanes ended before. It must not block.
	Done func(acked bool)
}

// Lanes are the lanes of one subscription. See New.
type Lanes struct {
	out     chan<- *message.Message
	closing context.Context
	close   context.CancelFunc
	seed    maphash.Seed
	lanes   []lane
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
}

type lane struct {
	mu    sync.Mutex
	queue []Item
	busy  bool // a goroutine works the queue off
}

// New returns n lanes that hand out to out, which stays the caller's. It may
// close it after Close.
func New(n int, out chan<- *message.Message) *Lanes {
	closing, stop := context.WithCancel(context.Background())
	return &Lanes{out: out, closing: closing, close: stop, seed: maphash.MakeSeed(), lanes: make([]lane, n)}
}

// Add queues an item. It never blocks: whoever calls it bounds what is not done.
func (l *Lanes) Add(i Item) {
	lane := &l.lanes[maphash.String(l.seed, i.Key)%uint64(len(l.lanes))]
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		i.Done(false)
		return
	}
	l.running.Add(1)
	l.mu.Unlock()
	lane.mu.Lock()
	lane.queue = append(lane.queue, i)
	start := !lane.busy
	lane.busy = true
	lane.mu.Unlock()
	if start {
		go l.work(lane)
	}
}

// Close hands out nothing more. It ends what is queued, and returns when what
// is in hand has its verdict.
func (l *Lanes) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.close()
	l.running.Wait()
}

// work hands out what is in a lane until it is empty.
func (l *Lanes) work(lane *lane) {
	for {
		lane.mu.Lock()
		if len(lane.queue) == 0 {
			lane.queue, lane.busy = nil, false
			lane.mu.Unlock()
			return
		}
		item := lane.queue[0]
		lane.queue[0] = Item{}
		lane.queue = lane.queue[1:]
		lane.mu.Unlock()
		item.Done(l.handOut(item))
		l.running.Done()
	}
}

// handOut returns true once the item's message is acknowledged, or false once
// its session or the lanes ended and nobody has it in hand.
func (l *Lanes) handOut(i Item) bool {
	ctx, cancel := context.WithCancel(i.Session)
	defer cancel()
	defer context.AfterFunc(l.closing, cancel)()
	for pause := minPause; ctx.Err() == nil; pause = min(2*pause, maxPause) {
		m := i.Message()
		m.SetContext(session{ctx, m.Context()})
		select {
		case l.out <- m:
		case <-ctx.Done():
			return false
		}
		// Whoever has it in hand sees the session's end by the message's context.
		select {
		case <-m.Acked():
			return true
		case <-m.Nacked():
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
		}
	}
	return false
}

// session ends with the message's session and has the message's own values.
type session struct {
	context.Context
	values context.Context
}

// Value implements context.Context.
func (s session) Value(key any) any { return s.values.Value(key) }
