package kafka

import (
	"context"
	"errors"
	"testing"
	"time"
)

// While a conversation with a cluster that hangs goes on, whoever asks something
// gets an answer in time, and leaves no goroutine behind that waits for its turn.
func TestQuestionsDoNotQueueBehindAClusterThatHangs(t *testing.T) {
	b, err := New(Config{Brokers: []string{"127.0.0.1:1"}, Partitions: 1, ReplicationFactor: 1}, logOf(t))
	if err != nil {
		t.Fatal(err)
	}
	b.control.turn <- struct{}{} // somebody talks
	for what, ask := range map[string]func(context.Context) error{
		"identity": func(ctx context.Context) error { _, err := b.Identity(ctx); return err },
		"lag":      func(ctx context.Context) error { _, err := b.Lag(ctx); return err },
		"groups":   func(ctx context.Context) error { _, err := b.Groups(ctx); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if err := ask(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want that time is up", what, err)
		}
		cancel()
	}
	<-b.control.turn
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
