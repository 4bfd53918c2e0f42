package topology_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

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
		"topology.mmd":  top.WriteMermaid,
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
