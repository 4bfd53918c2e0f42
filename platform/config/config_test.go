package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pizzamill/pizzamill/platform/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var known = config.Names{
	Modules: []string{"pizza", "sauce", "cheese", "meat", "veggies", "crust", "journal", "deadletter", "ui"},
	Stages:  []string{"sauce", "cheese", "meat", "veggies", "crust"},
	Ledger:  []string{"pizza", "journal", "deadletter", "ui"},
	Writers: []string{"pizza", "journal", "deadletter"},
}

// load reads a configuration file with the given text, in a folder of its own.
func load(t *testing.T, text string, env ...string) (config.Loaded, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	write(t, config.DefaultFile, text)
	return config.Load(config.Source{Env: env, Known: known})
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		write(t, path, got)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestDefaultsAreTheContract(t *testing.T) {
	var want config.Config
	want.App.Modules = []string{"all"}
	want.App.ShutdownTimeout = 30 * time.Second
	want.Pipeline.Stages = []string{"sauce", "cheese", "meat", "veggies"}
	want.Pipeline.MaxPizzasPerOrder = 100_000
	want.Bus.Driver = "gochannel"
	want.Kafka.Brokers = []string{"127.0.0.1:9092"}
	want.Kafka.Partitions = 8
	want.Kafka.ReplicationFactor = 1
	want.AMQP.URL = "amqp://guest:guest@127.0.0.1:5672/"
	want.AMQP.QueueType = "quorum"
	want.AMQP.Concurrency = 64
	want.Idempotency.Driver = "memory" // auto, resolved
	want.Idempotency.Retention = 168 * time.Hour
	want.Store.Driver = "sqlite"
	want.Store.Path = "data/pizzamill.db"
	want.HTTP.Listen = "127.0.0.1:8080"
	want.Admin.Listen = "127.0.0.1:8081"
	want.Retry.MaxAttempts = 5
	want.Retry.InitialInterval = 100 * time.Millisecond
	want.Retry.MaxInterval = 5 * time.Second
	want.Retry.AttemptTimeout = 5 * time.Second
	want.Log.Level = "info"
	want.Log.Format = "auto"
	want.Faults.Fail, want.Faults.Panic, want.Faults.Flaky = map[string]float64{}, map[string]float64{}, map[string]float64{}
	want.Faults.Delay = map[string]time.Duration{}
	if diff := cmp.Diff(want, config.Default()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestExampleIsTheFileAtTheRoot(t *testing.T) {
	const path = "../../config.example.toml"
	if *update {
		write(t, path, config.Example())
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), config.Example()); diff != "" {
		t.Errorf("config.example.toml is not what `pizzamill config default` prints (-file +printed):\n%s", diff)
	}
}

func TestExampleEqualsTheDefaults(t *testing.T) {
	for name, text := range map[string]string{
		"as it is":    config.Example(),
		"uncommented": regexp.MustCompile(`(?m)^#([a-z_]+ = )`).ReplaceAllString(config.Example(), "$1"),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := load(t, text)
			if err != nil {
				t.Fatal(err)
			}
			// A list that the file sets to [] is empty either way.
			if diff := cmp.Diff(config.Default(), got.Config); diff != "" {
				t.Errorf("(-defaults +example):\n%s", diff)
			}
			if name == "uncommented" && strings.Contains(printed(t, got), "# default") {
				t.Errorf("some key is not in the example:\n%s", printed(t, got))
			}
		})
	}
}

func printed(t *testing.T, l config.Loaded) string {
	t.Helper()
	var b strings.Builder
	if err := l.Print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEveryProblemInOneRun(t *testing.T) {
	const text = `# everything that can be wrong
stages = ["sauce"]
[pipelin]
stages = "is not looked at"
[pipeline]
stages_ = ["sauce"]
stages = [
  "sauce",
  "chese", "sauce",
]
max_pizzas_per_order = 0
max_pizzas_per_order = 5
[app]
shutdown_timeout = 30
modules = ["al", 3]
[bus]
driver = "kafak"
prefix = "ü"
[http]
listen = 127.0.0.1:8080
Listen = "8080"
[admin]
token = s3cret
listen = "0.0.0.0:99999"
[retry]
max_attempts = 1e2
initial_interval = "5 s"
max_interval = "-5s"
attempt_timeout = "2h"
[log]
level = "WARN"
format = true
[faults]
fail = ["cheese=1.5", "cheese", "meat=x", "meat=0.1"]
delay = ["sauce=soon"]
[[store]]
driver = "sqlite"
[bus]
store = { pth = "x" }
admin.listen = 3
`
	env := []string{
		"PIZZAMILL_LOG_LEVL=info",
		"PIZZAMILL_ADMIN_TOKN=s3cret",
		"PIZZAMILL_NOTHING_LIKE_IT=1",
		"PIZZAMILL_RETRY_MAX_ATTEMPTS=0x10",
		"PIZZAMILL_PIPELINE_STAGES=sauce,,meat",
		"PIZZAMILL_FAULTS_FLAKY=meat=2",
		"PIZZAMILL_ADMIN_TOKEN_FILE=/nowhere/s3cret",
		"HOME=/", "PIZZAMILL=1",
	}
	_, err := load(t, text, env...)
	var e *config.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *config.Error", err)
	}
	if e.ExitCode() != 3 {
		t.Errorf("exit code %d, want 3", e.ExitCode())
	}
	if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "'s'") {
		t.Errorf("a secret is shown:\n%s", err)
	}
	t.Chdir(testDir)
	golden(t, "every_problem.txt", err.Error()+"\n")
}

var testDir, _ = os.Getwd()

func TestSyntaxErrors(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"unclosed list swallows no section": {
			"[pipeline]\nstages = [\"sauce\"\n[log]\nlevel = \"inf\"\n",
			[]string{"config.toml:3:1: expected ',' or ']' after array value", `config.toml:4:9: log.level: unknown log level "inf": did you mean "info"?`},
		},
		"unclosed string":             {"[log]\nlevel = \"info\n", []string{"config.toml:2:14: basic strings cannot have new lines"}},
		"unclosed to the end":         {"[pipeline]\n# in order\nstages = [\n \"sauce\",\n", []string{"config.toml:3:1: array is incomplete"}},
		"unclosed header":             {"[log\nlevel = 3\n[bus]\ndriver = 3\n", []string{"config.toml:1:5: expected ']' to close table name", "config.toml:4:10: bus.driver: want a string"}},
		"text behind a value":         {"[log] # it is\nlevel = \"info\" x\nformat = 1", []string{"config.toml:2:16: expected newline but got U+0078 'x'", "config.toml:3:10: log.format: want a string"}},
		"columns count characters":    {"bus = { prefix = \"a\", \"ü\" = 1, y = 2}", []string{`config.toml:1:23: unknown key "ü" in [bus]`, `config.toml:1:32: unknown key "y" in [bus]`}},
		"windows":                     {"\xef\xbb\xbf[log]\r\nlevel = 1\r\n", []string{"config.toml:2:9: log.level: want a string"}},
		"a secret that is not quoted": {"admin = { token = hunter2 }", []string{"config.toml:1:19: the value is malformed (it is not shown)"}},
		"a secret of another type":    {"[admin]\ntoken = 4711", []string{"config.toml:2:9: admin.token: want a string in quotes, got an integer"}},
		"a secret with a space":       {"[admin]\ntoken = \"hunter 2\"", []string{"config.toml:2:9: admin.token: the token is malformed"}},
		"a section as a key":          {"bus = \"gochannel\"", []string{`config.toml:1:1: "bus" is a section`}},
		"deeper than a section":       {"[bus.kafka]\nx = 1\n[log]\nlevel.x = 1", []string{"config.toml:1:2: unknown section [bus.kafka]", `config.toml:4:1: unknown key "level.x" in [log]: did you mean "level"?`}},
		"twice":                       {"bus.prefix = \"a\"\n[bus]\nprefix = \"b\"\n[bus]", []string{"config.toml:3:1: bus.prefix is there twice, first in line 1", "config.toml:4:2: bus is there twice, first in line 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, c.text)
			var e *config.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want a *config.Error", err)
			}
			if len(e.Problems) != len(c.want) {
				t.Fatalf("got %d problems, want %d:\n%s", len(e.Problems), len(c.want), err)
			}
			for i, p := range e.Problems {
				if line := p.Place + ": " + p.Text; !strings.HasPrefix(line, c.want[i]) {
					t.Errorf("problem %d is\n%s\nwant\n%s…", i, line, c.want[i])
				}
				if strings.Contains(p.Text, "hunter") || strings.Contains(p.Text, "4711") || strings.Contains(p.Text, "'h'") {
					t.Errorf("a secret is shown: %s", p.Text)
				}
			}
		})
	}
}

func TestPrecedence(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "mine.toml", "[http]\nlisten = \":1\"\n[admin]\nlisten = \"localhost:2\"\n[bus]\nprefix = \"file\"\n[pipeline]\nstages = [\"crust\", \"sauce\"]\n")
	got, err := config.Load(config.Source{
		File:  "mine.toml",
		Env:   []string{"PIZZAMILL_HTTP_LISTEN=:10", "PIZZAMILL_ADMIN_LISTEN=[::1]:20", "PIZZAMILL_FAULTS_DELAY= sauce = 50ms , crust=1h "},
		Flags: map[string]string{"listen": ":100"},
		Known: known,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(testDir)
	golden(t, "precedence.toml", printed(t, got))
	if want := (map[string]time.Duration{"sauce": 50 * time.Millisecond, "crust": time.Hour}); !cmp.Equal(want, got.Faults.Delay) {
		t.Errorf("faults.delay is %v, want %v", got.Faults.Delay, want)
	}
}

func TestSecretFromFile(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"unix": "s3cret\n", "windows": "s3cret\r\n\r\n", "none": "s3cret"} {
		t.Run(name, func(t *testing.T) {
			write(t, "token", text)
			got, err := config.Load(config.Source{Env: []string{"PIZZAMILL_ADMIN_TOKEN_FILE=token", "PIZZAMILL_ADMIN_LISTEN=:8081"}, Known: known})
			if err != nil {
				t.Fatal(err)
			}
			if got.Admin.Token != "s3cret" {
				t.Errorf("the token has %d bytes, want 6", len(got.Admin.Token))
			}
			shown := printed(t, got)
			if strings.Contains(shown, "s3cret") {
				t.Errorf("the token is printed:\n%s", shown)
			}
			write(t, "printed.toml", shown)
			if _, err := config.Load(config.Source{File: "printed.toml", Known: known}); err == nil {
				t.Error("the printed stand-in passes for a token")
			}
		})
	}
}

func TestBadSecretFile(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "empty", "\n")
	write(t, "spaced", "hunter 2")
	write(t, "large", strings.Repeat("x", 64<<10+1))
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"empty":        {[]string{"PIZZAMILL_ADMIN_TOKEN_FILE=empty"}, "PIZZAMILL_ADMIN_TOKEN_FILE: the file it names is empty"},
		"both":         {[]string{"PIZZAMILL_ADMIN_TOKEN_FILE=empty", "PIZZAMILL_ADMIN_TOKEN=hunter2"}, "PIZZAMILL_ADMIN_TOKEN_FILE: PIZZAMILL_ADMIN_TOKEN is set as well: set one of them"},
		"no file":      {[]string{"PIZZAMILL_ADMIN_TOKEN_FILE=hunter2"}, "PIZZAMILL_ADMIN_TOKEN_FILE: cannot open the file it names: no such file or directory"},
		"no name":      {[]string{"PIZZAMILL_ADMIN_TOKEN_FILE="}, "PIZZAMILL_ADMIN_TOKEN_FILE: cannot open the file it names: no such file or directory"},
		"folder":       {[]string{"PIZZAMILL_ADMIN_TOKEN_FILE=."}, "PIZZAMILL_ADMIN_TOKEN_FILE: cannot read the file it names: is a directory"},
		"large":        {[]string{"PIZZAMILL_ADMIN_TOKEN_FILE=large"}, "PIZZAMILL_ADMIN_TOKEN_FILE: the file it names has more than 65536 bytes"},
		"malformed":    {[]string{"PIZZAMILL_ADMIN_TOKEN_FILE=spaced"}, "PIZZAMILL_ADMIN_TOKEN_FILE: the token is malformed: want visible ASCII characters without spaces (its value is not shown)"},
		"not a secret": {[]string{"PIZZAMILL_STORE_PATH_FILE=empty"}, `PIZZAMILL_STORE_PATH_FILE: unknown variable: "pizzamill config default" has every key, [section] key is PIZZAMILL_SECTION_KEY`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(config.Source{Env: c.env, Known: known})
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestServiceVariablesOfKubernetesArePassedOver(t *testing.T) {
	t.Chdir(t.TempDir())
	env := []string{
		"PIZZAMILL_SERVICE_HOST=10.0.0.1", "PIZZAMILL_SERVICE_PORT=80", "PIZZAMILL_SERVICE_PORT_HTTP=80",
		"PIZZAMILL_PORT=tcp://10.0.0.1:80", "PIZZAMILL_PORT_80_TCP=tcp://10.0.0.1:80", "PIZZAMILL_PORT_80_TCP_PROTO=tcp",
		"PIZZAMILL_PORT_80_TCP_PORT=80", "PIZZAMILL_PORT_80_TCP_ADDR=10.0.0.1",
		"PIZZAMILL_KAFKA_PORT_9092_TCP=tcp://10.0.0.1:9092", "PIZZAMILL_KAFKA_SERVICE_HOST=10.0.0.1", "PIZZAMILL_KAFKA_SERVICE_PORT_TCP_KAFKA=9092",
		"PIZZAMILL_AMQP_PORT=tcp://10.0.0.1:5672", "PIZZAMILL_STORE_SERVICE_PORT=5432",
		"PIZZAMILL_ADMIN_SERVICE_HOST=10.0.0.1", "PIZZAMILL_STAGE_2_SERVICE_PORT_METRICS=1", "PIZZAMILL_STAGES_PORT_8081_TCP_ADDR=10.0.0.1",
	}
	if _, err := config.Load(config.Source{Env: env, Known: known}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"PIZZAMILL_SERVICE", "PIZZAMILL_HOST", "PIZZAMILL_PORT_80", "PIZZAMILL_X_PORT_80_TCP_NAME", "PIZZAMILL_SERVICE_HOST_2"} {
		if _, err := config.Load(config.Source{Env: []string{name + "=1"}, Known: known}); err == nil {
			t.Errorf("%s is passed over", name)
		}
	}
}

func TestRules(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want string // "" for no error
	}{
		"open admin":               {"[admin]\nlisten = \":8081\"", "config.toml:2:1: admin.listen = \":8081\" is no loopback address"},
		"open admin by name":       {"[admin]\nlisten = \"host:8081\"", "config.toml:2:1: admin.listen = \"host:8081\" is no loopback address"},
		"open admin with token":    {"[admin]\nlisten = \":8081\"\ntoken = \"x\"", ""},
		"loopback":                 {"[admin]\nlisten = \"127.8.0.1:8081\"", ""},
		"loopback, IPv6":           {"[admin]\nlisten = \"[::1]:8081\"", ""},
		"loopback, mapped":         {"[admin]\nlisten = \"[::ffff:127.0.0.1]:8081\"", ""},
		"intervals":                {"[retry]\nmax_interval = \"10ms\"", "config.toml:2:1: retry.initial_interval (100ms) is above retry.max_interval (10ms)"},
		"fault outside":            {"[faults]\ndelay = [\"crust=1s\"]", "config.toml:2:1: faults.delay: stage \"crust\" is not in the pipeline: its stages are: sauce, cheese, meat, veggies"},
		"fault inside":             {"[pipeline]\nstages=[\"crust\"]\n[faults]\ndelay = [\"crust=1s\"]\npanic=[\"crust=1\"]", ""},
		"fault of a bad pipeline":  {"[pipeline]\nstages=[\"crst\"]\n[faults]\ndelay = [\"crust=1s\"]", "config.toml:2:9: pipeline.stages: unknown stage \"crst\": did you mean \"crust\"?"},
		"a part of the modules":    {"[app]\nmodules = [\"pizza\", \"ui\"]", "config.toml:2:1: pizza,ui is a part of the modules"},
		"all modules by name":      {"[app]\nmodules = [\"ui\", \"pizza\", \"sauce\", \"cheese\", \"meat\", \"veggies\", \"journal\", \"deadletter\"]", ""},
		"a stage that is not used": {"[app]\nmodules = [\"all\", \"crust\"]", "config.toml:2:19: app.modules: stage \"crust\" is not in the pipeline"},
		"no modules":               {"[app]\nmodules = []", "config.toml:2:11: app.modules: the list is empty"},
		"a module twice":           {"[app]\nmodules = [\"pizza\", \"all\", \"pizza\"]", "config.toml:2:28: app.modules: module \"pizza\" is listed twice"},
		"no stages":                {"[pipeline]\nstages = []", "config.toml:2:10: pipeline.stages: the list is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, c.text)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want none", err)
			case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)):
				t.Errorf("got  %v\nwant %s…", err, c.want)
			}
		})
	}
}

func TestFlagErrorsAreOfUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, c := range map[string]struct {
		flags map[string]string
		want  int
	}{
		"unknown module": {map[string]string{"modules": "souce"}, 2},
		"no module":      {map[string]string{"modules": ""}, 2},
		"part":           {map[string]string{"modules": "sauce"}, 2},
		"unused stage":   {map[string]string{"modules": "all,crust"}, 2},
		"no address":     {map[string]string{"listen": "8080"}, 2},
		"unknown bus":    {map[string]string{"bus": "kafak"}, 2},
		"both":           {map[string]string{"admin-listen": ":8081", "modules": "souce"}, 3},
		"part of ledger": {map[string]string{"bus": "kafka", "modules": "pizza"}, 2},
		"open admin":     {map[string]string{"admin-listen": ":8081"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(config.Source{Flags: c.flags, Known: known})
			var e *config.Error
			if !errors.As(err, &e) || e.ExitCode() != c.want {
				t.Errorf("got %v, want a *config.Error with exit code %d", err, c.want)
			}
		})
	}
}

func TestFileThatIsNamedMustExist(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := config.Load(config.Source{File: "none.toml"}); err == nil || err.Error() != "none.toml: cannot read the configuration: no such file or directory" {
		t.Errorf("got %v", err)
	}
	if err := os.Mkdir(config.DefaultFile, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(config.Source{}); err == nil {
		t.Error("a folder passes for a file")
	}
}

func hasSecret(c config.Config) bool {
	d := config.Default()
	return c.Admin.Token != "" || c.Kafka.SASLPassword != "" || c.AMQP.URL != d.AMQP.URL || c.AMQP.ManagementURL != "" ||
		c.Store.DSN != "" || c.Idempotency.DSN != ""
}

// FuzzLoad holds that no file makes the reader panic, that every problem has a
// place in the file, and that what passes prints as a file that passes.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		config.Example(), "", "[", "[]", "a", "a=", "=", "[a", "[bus]\nprefix", "bus={", "bus={prefix=[[1]]}",
		"[[bus]]\n[[bus]]", "\"\"=1", "[\"\"]", "x=\"\"\"\n[log]", "[log]\nlevel=\"\\u00e9\"", "a=[\n[log]\n", "[bus]\nprefix='a'\r", "[pipeline]\nmax_pizzas_per_order=0x_1",
		"#", "[log] x", "log.level='debug'", "[retry]\nmax_attempts = 99999999999999999999",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := load(t, text)
		var e *config.Error
		switch {
		case err == nil:
			write(t, "printed.toml", printed(t, got))
			if _, err := config.Load(config.Source{File: "printed.toml", Known: known}); err != nil && !hasSecret(got.Config) {
				t.Errorf("printed configuration does not load: %v", err)
			}
		case !errors.As(err, &e):
			t.Errorf("got %v, want a *config.Error", err)
		default:
			for _, p := range e.Problems {
				if !strings.HasPrefix(p.Place, "config.toml:") || p.Text == "" {
					t.Errorf("problem without a place: %+v", p)
				}
			}
		}
	})
}
