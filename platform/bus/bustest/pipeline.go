package bustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// Broker is what the suite of pipelines needs to know of one.
type Broker struct {
	// New returns a bus for a pipeline under a prefix. The suite closes it.
	New func(t *testing.T, prefix, pipeline string) bus.Bus
	// Left lists what is on the broker under a prefix.
	Left func(t *testing.T, prefix string) []string
	// Remove removes what says which pipeline is carried under a prefix.
	Remove func(t *testing.T, prefix string)
}

const (
	ours   = "sauce,cheese,meat,veggies"
	theirs = "sauce,cheese,crust,meat,veggies"
)

// RunPipelines proves that a prefix on a broker carries one pipeline.
func RunPipelines(t *testing.T, b Broker) {
	for name, test := range map[string]func(*testing.T, Broker){
		"AnotherPipelineIsRefused":       anotherPipelineIsRefused,
		"AMarkerThatIsRemovedIsForgot":   markerThatIsRemoved,
		"TwoPipelinesAtOnce":             twoPipelinesAtOnce,
		"ComparingMakesNothing":          comparingMakesNothing,
		"WithoutAPipelineNothingDiffers": withoutAPipeline,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, b)
		})
	}
}

func freshPrefix() string { return fmt.Sprintf("p%d-", time.Now().UnixNano()) }

// carry returns a bus with a topic that only its pipeline has, not connected yet.
func (b Broker) carry(t *testing.T, prefix, pipeline, topic string) (bus.Bus, context.Context) {
	t.Helper()
	one := b.New(t, prefix, pipeline)
	t.Cleanup(func() {
		if err := one.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	one.Declare([]bus.Subscription{{Topic: topic, Group: "a"}, {Topic: "pizza-dead-letters", Group: "deadletter"}})
	return one, ctx
}

// again calls fn until it returns true, or ctx ends.
func again(ctx context.Context, fn func() bool) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !fn() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// connect does as an application does: it tries again, but not after what is final.
func connect(ctx context.Context, b bus.Bus) (err error) {
	again(ctx, func() bool {
		err = b.Connect(ctx)
		var other *bus.PipelineError
		return err == nil || errors.As(err, &other)
	})
	return err
}

func mustConnect(ctx context.Context, t *testing.T, b bus.Bus) {
	t.Helper()
	if err := connect(ctx, b); err != nil {
		t.Fatalf("connect: %v", err)
	}
	if err := b.Compare(ctx); err != nil {
		t.Errorf("connected, and compares: %v", err)
	}
}

// isRefused fails the test unless an error says that a bus carries our pipeline
// and was asked to carry theirs.
func isRefused(ctx context.Context, t *testing.T, b bus.Bus, err error) {
	t.Helper()
	var other *bus.PipelineError
	if !errors.As(err, &other) {
		t.Fatalf("got %v, want another pipeline", err)
	}
	identity, _ := b.Identity(ctx)
	if other.Bus != identity || other.Have != ours || other.Want != theirs || other.Marker == "" {
		t.Errorf("got %+v, want %s to have %s", *other, identity, ours)
	}
	var conflict *bus.ConflictError
	if !errors.As(err, &conflict) {
		t.Error("it is no conflict")
	}
}

func anotherPipelineIsRefused(t *testing.T, b Broker) {
	prefix := freshPrefix()
	first, ctx := b.carry(t, prefix, ours, "pizza")
	mustConnect(ctx, t, first)
	same, ctx := b.carry(t, prefix, ours, "pizza")
	mustConnect(ctx, t, same)
	left := b.Left(t, prefix)
	other, ctx := b.carry(t, prefix, theirs, "pizza-with-crust")
	for range 2 { // asking again changes nothing
		isRefused(ctx, t, other, other.Compare(ctx))
		isRefused(ctx, t, other, connect(ctx, other))
	}
	if now := b.Left(t, prefix); !slices.Equal(now, left) {
		t.Errorf("refused, it left %q where %q was", now, left)
	}
	if err := first.Check(ctx); err != nil {
		t.Errorf("the line that was there: %v", err)
	}
	elsewhere, ctx := b.carry(t, freshPrefix(), theirs, "pizza-with-crust")
	mustConnect(ctx, t, elsewhere)
}

func markerThatIsRemoved(t *testing.T, b Broker) {
	prefix := freshPrefix()
	first, ctx := b.carry(t, prefix, ours, "pizza")
	mustConnect(ctx, t, first)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, ctx := b.carry(t, prefix, theirs, "pizza-with-crust")
	isRefused(ctx, t, second, connect(ctx, second))
	b.Remove(t, prefix)
	mustConnect(ctx, t, second)
}

func twoPipelinesAtOnce(t *testing.T, b Broker) {
	prefix := freshPrefix()
	var lines []bus.Bus
	var ctx context.Context
	for i, pipeline := range []string{ours, theirs, ours, theirs} {
		var one bus.Bus
		one, ctx = b.carry(t, prefix, pipeline, []string{"pizza", "pizza-with-crust"}[i%2])
		lines = append(lines, one)
	}
	errs := make([]error, len(lines))
	var begin sync.WaitGroup
	for i := range lines {
		begin.Go(func() { errs[i] = connect(ctx, lines[i]) })
	}
	begin.Wait()
	// Who was connected before the other wrote last learns of it a little later.
	content := make([]bool, len(lines))
	var other *bus.PipelineError
	again(ctx, func() bool {
		for i, b := range lines {
			content[i] = errs[i] == nil && !errors.As(b.Check(ctx), &other)
		}
		both := (content[0] || content[2]) && (content[1] || content[3])
		return !both
	})
	if ctx.Err() != nil {
		t.Fatalf("content are %v, after %v", content, errs)
	}
	for i, err := range errs {
		if err != nil && !errors.As(err, &other) {
			t.Errorf("line %d: %v", i, err)
		}
	}
	if !slices.Contains(content, true) {
		t.Errorf("nobody has it: %v", errs)
	}
}

func comparingMakesNothing(t *testing.T, b Broker) {
	prefix := freshPrefix()
	one, ctx := b.carry(t, prefix, ours, "pizza")
	var err error
	again(ctx, func() bool { // a fresh cluster has nobody to ask for a while
		err = one.Compare(ctx)
		return err == nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if left := b.Left(t, prefix); len(left) > 0 {
		t.Errorf("there is %q", left)
	}
	other, ctx := b.carry(t, prefix, theirs, "pizza-with-crust")
	mustConnect(ctx, t, other)
}

func withoutAPipeline(t *testing.T, b Broker) {
	prefix := freshPrefix()
	first, ctx := b.carry(t, prefix, ours, "pizza")
	mustConnect(ctx, t, first)
	reader, ctx := b.carry(t, prefix, "", "pizza")
	mustConnect(ctx, t, reader)
}
