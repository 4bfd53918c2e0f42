package ui

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// However many tabs ask, the bus is asked four times a second, and less often
// while it does not answer.
func TestLagIsAskedOnceForAllTabs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var fails error
		c := lagCache{ask: func(context.Context) ([]bus.Lag, error) {
			asked++
			return []bus.Lag{{Messages: int64(asked)}}, fails
		}}
		second := func() {
			for range 100 {
				for range 10 {
					_, _ = c.get(t.Context())
				}
				<-time.After(10 * time.Millisecond)
			}
		}
		second()
		if asked != 4 {
			t.Errorf("asked %d times in a second, want 4", asked)
		}
		asked, fails = 0, errors.New("away")
		<-time.After(lagCounts)
		second()
		second()
		if asked != 1 {
			t.Errorf("asked %d times in two seconds while the bus is away, want once", asked)
		}
	})
}

// A page does not wait for a bus that hangs, and other tabs not at all.
func TestPageDoesNotWaitForTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lagCache{ask: func(ctx context.Context) ([]bus.Lag, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		begin := time.Now()
		done := make(chan struct{})
		go func() {
			_, _ = c.get(t.Context())
			close(done)
		}()
		synctest.Wait()
		if _, _ = c.get(t.Context()); time.Since(begin) > 0 {
			t.Error("a second tab waited for the first one's question")
		}
		<-done
		if took := time.Since(begin); took != lagPatience {
			t.Errorf("the page waited %v, want %v", took, lagPatience)
		}
	})
}
