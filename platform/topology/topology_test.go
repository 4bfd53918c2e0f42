package topology_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/topology"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func stage(name string) module.Module {
	return module.Module{
		Name:  name,
		Stage: true,
		Consumes: func(p event.Pipeline) []string {
			topic, _ := p.Input(name)
			return []string{topic}
		},
		Produces: func(event.Pipeline) []string { return []string{event.Topic(name), event.TopicDeadLetters} },
	}
}

var modules = []module.Module{
	{
		Name:     "pizza",
		Consumes: func(p event.Pipeline) []string { return []string{p.Last()} },
		Produces: func(p event.Pipeline) []string { return []string{p.First()} },
	},
	stage("sauce"), stage("cheese"), stage("crust"),
	{Name: "journal", Consumes: func(p event.Pipeline) []string { return p.Topics() }},
	{Name: "deadletter", Consumes: func(event.Pipeline) []string { return []string{event.TopicDeadLetters} }},
	{Name: "ui"},
}

func TestBuildAndRender(t *testing.T) {
	p, err := event.NewPipeline("crust", "sauce")
	if err != nil {
		t.Fatal(err)
	}
	top := topology.Build(p, "gochannel", modules, func(name string) bool { return name != "sauce" })
	for name, write := range map[string]func(io.Writer) error{
		"topology.json": top.WriteJSON,
		"topology.txt":  top.WriteText,
		"topology.mmd":  func(w io.Writer) error { return top.WriteMermaid(w, nil) },
		"live.mmd": func(w io.Writer) error {
			return top.WriteMermaid(w, func(topic, module string) int {
				if module == "sauce" {
					return 0
				}
				return len(topic)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := write(&got); err != nil {
				t.Fatal(err)
			}
			golden(t, name, got.Bytes())
		})
	}
}

// A stage that someone else runs has its place in the line whether or not it is
// built in, and each broker has its names for all of it.
func TestExternalStagesAndBrokers(t *testing.T) {
	p, err := event.NewPipeline("sauce", "basil", "cheese")
	if err != nil {
		t.Fatal(err)
	}
	top := topology.Build(p, "kafka", modules, func(name string) bool { return name == "sauce" }, "basil", "cheese")
	arguments := map[string]any{"x-queue-type": "quorum", "x-delivery-limit": 2147483647}
	for name, write := range map[string]func(io.Writer) error{
		"external.txt": top.WriteText,
		"external.mmd": func(w io.Writer) error { return top.WriteMermaid(w, nil) },
		"kafka.json":   top.OnKafka("test.", 8, 3).WriteJSON,
		"amqp.json":    top.OnAMQP("test.", arguments).WriteJSON,
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := write(&got); err != nil {
				t.Fatal(err)
			}
			golden(t, name, got.Bytes())
		})
	}
}

// A module runs if every topic of it has a live consumer.
func TestLive(t *testing.T) {
	p, err := event.NewPipeline("sauce", "basil")
	if err != nil {
		t.Fatal(err)
	}
	top := topology.Build(p, "kafka", modules, func(name string) bool { return name == "ui" || name == "pizza" }, "basil")
	group := func(topic, module string, consumers int) bus.Group {
		return bus.Group{Subscription: bus.Subscription{Topic: topic, Group: module}, Consumers: consumers}
	}
	live := top.Live([]bus.Group{
		group("pizza", "sauce", 2), group("pizza-with-sauce", "basil", 1), group("pizza-with-basil", "pizza", 0),
		group("pizza", "journal", 1), group("pizza-with-sauce", "journal", 1), group("pizza-with-basil", "journal", 0),
	})
	var running []string
	for _, m := range live.Modules {
		if m.Running {
			running = append(running, m.Name)
		}
	}
	if diff := cmp.Diff([]string{"sauce", "basil", "ui"}, running); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !top.Modules[0].Running {
		t.Error("the topology that was asked has changed")
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
