package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/pizzamill/pizzamill/platform/app"
	"github.com/pizzamill/pizzamill/platform/config"
)

// TestTranscripts runs every command that needs no server and keeps what a user sees.
func TestTranscripts(t *testing.T) {
	for _, c := range []struct {
		name string
		args string
		env  []string
		file string // config.toml
		code int
	}{
		{name: "help", args: "--help"},
		{name: "help serve", args: "serve --help"},
		{name: "help order", args: "help order"},
		{name: "help journal", args: "journal -h"},
		{name: "help topology", args: "topology -h"},
		{name: "help config", args: "config -h"},
		{name: "help healthcheck", args: "healthcheck -h"},
		{name: "help of nothing", args: "help ordre", code: 2},
		{name: "help of no command", args: "ordre --help", code: 2},
		{name: "help of no subcommand", args: "config pritn -h", code: 2},
		{name: "topology", args: "topology"},
		{name: "topology json", args: "topology -o json"},
		{name: "topology mermaid", args: "topology -o mermaid", env: []string{"PIZZAMILL_PIPELINE_STAGES=crust,sauce"}},
		{name: "topology bad format", args: "topology -o yaml", code: 2},
		{name: "config default", args: "config default"},
		{name: "config print", args: "config print", env: []string{"PIZZAMILL_ADMIN_TOKEN=hunter2", "PIZZAMILL_AMQP_URL=amqp://u:hunter2@h", "PIZZAMILL_STORE_DSN=postgres://u:hunter2@h/d"}, file: "[log]\nlevel = \"debug\"\n"},
		{name: "config check", args: "config check", file: "[log]\nlevel = \"debug\"\n"},
		{name: "config check without file", args: "config check"},
		{
			name: "config check bad", args: "config check", code: 3,
			env:  []string{"PIZZAMILL_LOG_LEVL=debug"},
			file: "[pipeline]\nstages_ = [\"sauce\"]\nmax_pizzas_per_order = \"many\"\n[admin]\nlisten = \":8081\"\n",
		},
		{name: "config print bad", args: "config print", code: 3, file: "[log\n"},
		{name: "config of nothing", args: "config", code: 2},
		{name: "config unknown", args: "config chek", code: 2},
		{name: "config file missing", args: "config check --config none.toml", code: 3},
		{name: "unknown command", args: "ordr 3", code: 2},
		{name: "unknown command far", args: "bake", code: 2},
		{name: "unknown flag", args: "serve --module all", code: 2},
		{name: "unknown flag far", args: "order 3 --quickly", code: 2},
		{name: "flag without value", args: "serve --listen", code: 2},
		{name: "serve with argument", args: "serve now", code: 2},
		{name: "modules unknown", args: "serve --modules pizza,souce", code: 2},
		{name: "modules empty", args: "--modules=", code: 2},
		{name: "modules of commas", args: "serve --modules ,", code: 2},
		{name: "modules twice", args: "serve --modules sauce,sauce --bus kafka", code: 2},
		{name: "modules unused stage", args: "serve --modules all,crust", code: 2},
		{name: "modules part", args: "serve --modules sauce,cheese --listen :9000 --config config.toml", code: 2, file: "[log]\n"},
		{name: "modules part from environment", args: "serve", code: 3, env: []string{"PIZZAMILL_APP_MODULES=sauce"}},
		{name: "bus unknown", args: "serve --modules sauce --bus kafak", code: 2},
		{name: "modules part of ledger", args: "serve --modules pizza,sauce --bus amqp", code: 2},
		{name: "modules external", args: "serve --modules sauce,cheese --bus kafka", code: 2, env: []string{"PIZZAMILL_PIPELINE_EXTERNAL=cheese"}},
		{name: "external on gochannel", args: "serve", code: 3, env: []string{"PIZZAMILL_PIPELINE_EXTERNAL=cheese"}},
		{name: "listen bad", args: "serve --listen 8080", code: 2},
		{name: "open admin", args: "serve --admin-listen 0.0.0.0:8081", code: 3},
		{name: "order nothing", args: "order", code: 2},
		{name: "order zero", args: "order 0", code: 2},
		{name: "order negative", args: "order -1", code: 2},
		{name: "order words", args: "order three", code: 2},
		{name: "order fraction", args: "order 1.5", code: 2},
		{name: "order huge", args: "order 1000000000000000000", code: 2},
		{name: "order twice", args: "order 1 2", code: 2},
		{name: "order bad server", args: "order 1 --server localhost:8080", code: 2},
		{name: "order free port", args: "order 1", code: 2, env: []string{"PIZZAMILL_HTTP_LISTEN=:0"}},
		{name: "order bad configuration", args: "order 1", code: 3, env: []string{"PIZZAMILL_HTTP_LISTEN=8080"}},
		{name: "journal nothing", args: "journal", code: 2},
		{name: "journal no ID", args: "journal 17", code: 2},
		{name: "version with argument", args: "version 2", code: 2},
		{name: "completion of nothing", args: "completion", code: 2},
		{name: "completion unknown", args: "completion csh", code: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if c.file != "" {
				if err := os.WriteFile(config.DefaultFile, []byte(c.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r := newRun(t, nil)
			r.env = c.env
			args := strings.Fields(c.args)
			code := r.run(t.Context(), args)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if c.code == 2 && (r.stdout.Len() > 0 || len(r.served) > 0) {
				t.Errorf("an error of usage prints on stdout or serves:\n%s", r.stdout.String())
			}
			if strings.Contains(r.stdout.String()+r.stderr.String(), "hunter2") {
				t.Error("the token is shown")
			}
			if strings.HasPrefix(c.name, "help") {
				wantNarrow(t, r.stdout.String())
			}
			golden(t, c.name, r.transcript(args, code))
		})
	}
}

func TestServeHandsOverTheConfiguration(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"serve"},
		{"--listen", ":9000"},
		{"serve", "--listen", ":9000", "--admin-listen=127.0.0.1:0", "--bus", "gochannel", "--modules", "all"},
		{"serve", "--modules", "pizza,sauce,cheese,meat,veggies,journal,deadletter,ui"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Chdir(t.TempDir())
			r := newRun(t, nil)
			r.env = []string{"PIZZAMILL_HTTP_LISTEN=:7000"}
			if code := r.run(t.Context(), args); code != 0 {
				t.Fatalf("exit code %d: %s", code, r.stderr.String())
			}
			want := config.Default()
			want.HTTP.Listen = ":7000"
			for i, a := range args {
				switch a {
				case "--listen":
					want.HTTP.Listen = args[i+1]
				case "--admin-listen=127.0.0.1:0":
					want.Admin.Listen = "127.0.0.1:0"
				case "--modules":
					want.App.Modules = strings.Split(args[i+1], ",")
				}
			}
			if diff := cmp.Diff(want, r.served[0].Config); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if r.served[0].Banner != r.out || len(r.served[0].Modules) != len(testModules) {
				t.Error("banner or modules are not those of the command line")
			}
		})
	}
}

// codedError is an error of the assembly that knows its exit code.
type codedError struct{ error }

func (codedError) ExitCode() int { return 4 }

func TestServeErrors(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		code int
	}{
		"failure":   {errors.New("listen 127.0.0.1:8080 (--listen): address already in use"), 1},
		"with code": {fmt.Errorf("store: %w", codedError{errors.New("away")}), 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			r := newRun(t, nil)
			r.serve = func(context.Context, app.Options) error { return c.err }
			if code := r.run(t.Context(), nil); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if want := "pizzamill: " + c.err.Error() + "\n"; r.stderr.String() != want {
				t.Errorf("stderr is %q, want %q", r.stderr.String(), want)
			}
		})
	}
}

func TestLogsAreTextOnATerminalElseJSON(t *testing.T) {
	for terminal, want := range map[bool]*regexp.Regexp{
		true:  regexp.MustCompile(`^time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=INFO msg=hello\n$`),
		false: regexp.MustCompile(`^\{"time":"[^"]+Z","level":"INFO","msg":"hello"\}\n$`),
	} {
		t.Chdir(t.TempDir())
		r := newRun(t, nil)
		r.terminal = terminal
		r.serve = func(_ context.Context, o app.Options) error {
			o.Log.Debug("not at this level")
			o.Log.Info("hello")
			return nil
		}
		r.run(t.Context(), nil)
		if !want.MatchString(r.stderr.String()) {
			t.Errorf("terminal %v: %q", terminal, r.stderr.String())
		}
	}
}

func TestVersionIsOneLine(t *testing.T) {
	want := regexp.MustCompile(`^pizzamill \S+ go1\S+ \w+/\w+\n$`)
	for _, arg := range []string{"version", "--version"} {
		r := newRun(t, nil)
		if code := r.run(t.Context(), []string{arg}); code != 0 || !want.MatchString(r.stdout.String()) || r.stderr.Len() > 0 {
			t.Errorf("%s: exit code %d, %q", arg, code, r.stdout.String())
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		r := newRun(t, nil)
		if code := r.run(t.Context(), []string{"completion", shell}); code != 0 || !strings.Contains(r.stdout.String(), "pizzamill") {
			t.Errorf("%s: exit code %d, %d bytes", shell, code, r.stdout.Len())
		}
	}
	r := newRun(t, nil)
	r.run(t.Context(), []string{"__complete", "order", "3", "-o", ""})
	if want := "text\njson\n:4\n"; r.stdout.String() != want {
		t.Errorf("completions of -o are %q, want %q", r.stdout.String(), want)
	}
}

func TestHealthcheck(t *testing.T) {
	problem := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"title":"Service Unavailable","status":503,"detail":"waiting for the store"}`)
	}
	ok := func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/readyz" || req.Host != "127.0.0.1:8081" {
			http.Error(w, req.Host+req.URL.Path, http.StatusTeapot)
		}
	}
	for _, c := range []struct {
		name    string
		handler http.Handler
		args    []string
		env     []string
		code    int
	}{
		{"healthcheck ready", http.HandlerFunc(ok), nil, nil, 0},
		{"healthcheck ready on all addresses", http.HandlerFunc(ok), nil, []string{"PIZZAMILL_ADMIN_LISTEN=0.0.0.0:8081", "PIZZAMILL_ADMIN_TOKEN=x"}, 0},
		{"healthcheck of URL", http.HandlerFunc(ok), []string{"--admin", "http://127.0.0.1:8081/"}, []string{"PIZZAMILL_ADMIN_LISTEN=bad"}, 0},
		{"healthcheck not ready", http.HandlerFunc(problem), nil, nil, 1},
		{"healthcheck wrong server", http.NotFoundHandler(), nil, nil, 1},
		{"healthcheck unreachable", nil, nil, nil, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			r := newRun(t, c.handler)
			r.env = c.env
			args := append([]string{"healthcheck"}, c.args...)
			code := r.run(t.Context(), args)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			golden(t, c.name, r.transcript(args, code))
		})
	}
}

// wantNarrow wants help that fits a terminal of 80 columns.
func wantNarrow(t *testing.T, help string) {
	t.Helper()
	for line := range strings.Lines(help) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > helpWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}
