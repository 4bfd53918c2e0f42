package amqp

import (
	"context"
	"slices"
	"sync"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// session is one channel that consumes, as long as it lasts. With it end the
// contexts of its messages; what is not acknowledged by then comes again.
type session struct {
	line   *line
	ch     *amqp091.Channel
	closed chan *amqp091.Error // gets the reason, or is closed, with the channel
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{} // closed after the last acknowledgement was written

	more chan struct{} // has a value while verdicts wait to be written

	mu       sync.Mutex
	verdicts []verdict

	// Tags up to low have a verdict, and those in ahead.
	low   uint64
	ahead map[uint64]struct{}
}

// verdict says whether a delivery is done with, or goes back to the queue.
type verdict struct {
	tag   uint64
	acked bool
}

// newSession makes a channel a session. end must be called.
func newSession(line *line, ch *amqp091.Channel) *session {
	s := &session{
		line:   line,
		ch:     ch,
		closed: ch.NotifyClose(make(chan *amqp091.Error, 1)),
		ended:  make(chan struct{}),
		more:   make(chan struct{}, 1),
		ahead:  map[uint64]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.acknowledge()
	return s
}

// end writes the verdicts that are there and closes the channel.
func (s *session) end() {
	s.cancel()
	<-s.ended
	_ = s.ch.Close() // often it is closed already
}

// done adds a verdict. It does not block.
func (s *session) done(tag uint64, acked bool) {
	s.mu.Lock()
	s.verdicts = append(s.verdicts, verdict{tag, acked})
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// acknowledge writes verdicts, those together that came while it was writing.
func (s *session) acknowledge() {
	defer close(s.ended)
	for {
		select {
		case <-s.more:
			s.write()
		case <-s.ctx.Done():
			s.write()
			return
		}
	}
}

func (s *session) write() {
	s.mu.Lock()
	verdicts := s.verdicts
	s.verdicts = nil
	s.mu.Unlock()
	if len(verdicts) == 0 {
		return
	}
	acks, upTo := s.sort(verdicts)
	s.line.cork.hold(func() {
		for _, v := range verdicts {
			if !v.acked {
				_ = s.ch.Nack(v.tag, false, true) // if the channel is gone, all goes back
			}
		}
		if upTo > 0 {
			_ = s.ch.Ack(upTo, true)
		}
		for _, tag := range acks {
			_ = s.ch.Ack(tag, false)
		}
	})
}

// sort returns the tags to acknowledge one by one, and the one to acknowledge
// with all before it, 0 if there is none. One acknowledgement for many is one
// entry in a quorum queue's log; but a delivery that has no verdict yet must not
// hold up the acknowledgement of those behind it, or it would use up what may be
// in hand.
func (s *session) sort(verdicts []verdict) (acks []uint64, upTo uint64) {
	for _, v := range verdicts {
		s.ahead[v.tag] = struct{}{}
		if v.acked {
			acks = append(acks, v.tag)
		}
	}
	for {
		if _, ok := s.ahead[s.low+1]; !ok {
			break
		}
		s.low++
		delete(s.ahead, s.low)
	}
	slices.Sort(acks)
	// RabbitMQ wants a tag that it still knows, so it is one of these.
	n, found := slices.BinarySearch(acks, s.low)
	if found {
		n++
	}
	if n > 0 {
		upTo = acks[n-1]
	}
	return acks[n:], upTo
}
