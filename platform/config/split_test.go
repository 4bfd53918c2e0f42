package config_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/pizzamill/pizzamill/platform/config"
)

// Rules on brokers, databases and who runs what; "" is no error.
func TestRulesOfTheSplit(t *testing.T) {
	const kafka, pg = "[bus]\ndriver = \"kafka\"\n", "[store]\ndriver = \"postgres\"\ndsn = \"postgres://h/d\"\n"
	for name, c := range map[string]struct {
		text string
		want string
	}{
		"external":                  {kafka + "[pipeline]\nexternal = [\"cheese\"]", ""},
		"external, not built in":    {kafka + "[pipeline]\nstages = [\"sauce\", \"basil\"]\nexternal = [\"basil\"]", ""},
		"not built in":              {kafka + "[pipeline]\nstages = [\"sauce\", \"basil\"]", "config.toml:4:20: pipeline.stages: unknown stage \"basil\": this build has: sauce, cheese, meat, veggies, crust; one that someone else runs"},
		"external outside":          {kafka + "[pipeline]\nexternal = [\"chese\"]", "config.toml:4:13: pipeline.external: stage \"chese\" is not in the pipeline: did you mean \"cheese\"?"},
		"external reserved":         {kafka + "[pipeline]\nexternal = [\"journal\"]", "config.toml:4:13: pipeline.external: stage name \"journal\" is reserved"},
		"external twice":            {kafka + "[pipeline]\nexternal = [\"meat\", \"meat\"]", "config.toml:4:21: pipeline.external: stage \"meat\" is listed twice"},
		"external on gochannel":     {"[pipeline]\nexternal = [\"cheese\"]", "config.toml:2:1: pipeline.external: cheese cannot be run by someone else on gochannel"},
		"external selected":         {kafka + "[pipeline]\nexternal = [\"cheese\"]\n[app]\nmodules = [\"sauce\", \"cheese\"]", "config.toml:6:21: app.modules: stage \"cheese\" is external: someone else runs it"},
		"external is not missing":   {kafka + "[pipeline]\nexternal = [\"cheese\"]\n[app]\nmodules = [\"all\"]", ""},
		"fault of external":         {kafka + "[pipeline]\nexternal = [\"cheese\"]\n[faults]\nfail = [\"cheese=1\"]", "config.toml:6:1: faults.fail: stage \"cheese\" is external"},
		"no brokers":                {"[kafka]\nbrokers = []", "config.toml:2:11: kafka.brokers: the list is empty"},
		"broker without port":       {"[kafka]\nbrokers = [\"a:1\", \"kafka\"]", "config.toml:2:19: kafka.brokers: \"kafka\" is no broker"},
		"broker with port 0":        {"[kafka]\nbrokers = [\"a:0\"]", "config.toml:2:12: kafka.brokers: \"a:0\" is no broker"},
		"broker as URL":             {"[kafka]\nbrokers = [\"kafka://a:1\"]", "config.toml:2:12: kafka.brokers: \"kafka://a:1\" is no broker"},
		"broker, IPv6":              {"[kafka]\nbrokers = [\"[::1]:9092\"]", ""},
		"partitions":                {"[kafka]\npartitions = 0", "config.toml:2:14: kafka.partitions: 0 is out of range: want 1 to 10000"},
		"TLS of another type":       {"[kafka]\ntls = \"yes\"", "config.toml:2:7: kafka.tls: want true or false, got a string"},
		"TLS":                       {"[kafka]\ntls = true", ""},
		"SASL":                      {"[kafka]\nsasl_mechanism = \"SCRAM-SHA-512\"\nsasl_username = \"u\"\nsasl_password = \"p\"", ""},
		"SASL mechanism":            {"[kafka]\nsasl_mechanism = \"SCRAM-SHA-51\"", "config.toml:2:18: kafka.sasl_mechanism: unknown SASL mechanism \"SCRAM-SHA-51\": did you mean \"SCRAM-SHA-512\"? want one of: PLAIN,"},
		"SASL without password":     {"[kafka]\nsasl_mechanism = \"PLAIN\"\nsasl_username = \"u\"", "config.toml:2:1: kafka.sasl_mechanism = \"PLAIN\" wants kafka.sasl_username and kafka.sasl_password (PIZZAMILL_KAFKA_SASL_PASSWORD or …_FILE): sasl_password is empty"},
		"SASL without mechanism":    {"[kafka]\nsasl_password = \"p\"", "config.toml:2:1: kafka.sasl_username and kafka.sasl_password want kafka.sasl_mechanism"},
		"CA without TLS":            {"[kafka]\nca_file = \"ca.pem\"", "config.toml:2:1: kafka.ca_file is set and kafka.tls is false"},
		"CA missing":                {kafka + "[kafka]\ntls = true\nca_file = \"none.pem\"", "config.toml:5:1: kafka.ca_file = \"none.pem\": cannot be read: no such file or directory"},
		"CA that is none":           {kafka + "[kafka]\ntls = true\nca_file = \"config.toml\"", "config.toml:5:1: kafka.ca_file = \"config.toml\": has no certificate in PEM form"},
		"CA on another bus":         {"[kafka]\ntls = true\nca_file = \"none.pem\"", ""},
		"queue type":                {"[amqp]\nqueue_type = \"stream\"", "config.toml:2:14: amqp.queue_type: unknown queue type \"stream\": want one of: quorum, classic"},
		"prefix of RabbitMQ's own":  {"[bus]\ndriver = \"amqp\"\nprefix = \"amq.x\"", "config.toml:3:1: bus.prefix = \"amq.x\": RabbitMQ keeps"},
		"concurrency":               {"[amqp]\nconcurrency = 10001", "config.toml:2:15: amqp.concurrency: 10001 is out of range: want 1 to 10000"},
		"attempts on Kafka":         {kafka + "[retry]\nmax_attempts = 9", "config.toml:4:1: on Kafka all attempts at an event may take 45s together, and these take up to 1m1.3s: 9 attempts of 5s and pauses of 16.3s between them; lower retry.max_attempts"},
		"attempts on AMQP":          {"[bus]\ndriver = \"amqp\"\n[retry]\nmax_attempts = 9", ""},
		"attempts on Kafka, short":  {kafka + "[retry]\nmax_attempts = 100\nmax_interval = \"200ms\"\nattempt_timeout = \"100ms\"", ""},
		"PostgreSQL":                {pg, ""},
		"sslmode":                   {"[store]\ndsn = \"postgres://h/d?x=1&sslmode=no\"", "config.toml:2:7: store.dsn: the connection string has an unknown sslmode: want one of disable,"},
		"sslmode, key and value":    {"[store]\ndsn = \"sslmode=never host=h\"", "config.toml:2:7: store.dsn: the connection string has an unknown sslmode"},
		"sslmode that is one":       {"[store]\ndsn = \"host=h sslmode=verify-full\"", ""},
		"DSN, port, key and value":  {"[store]\ndsn = \"host=h password=hunter2 port=hunter2\"", "config.toml:2:7: store.dsn: the connection string is malformed: want postgres://"},
		"DSN, unclosed quote":       {"[store]\ndsn = \"host=h password='hunter2\"", "config.toml:2:7: store.dsn: the connection string is malformed"},
		"DSN, pool":                 {"[store]\ndsn = \"postgres://h/d?pool_max_conns=hunter2\"", "config.toml:2:7: store.dsn: the connection string is malformed"},
		"DSN of records":            {"[idempotency]\ndsn = \"postgres://h/d?pool_max_conns=hunter2\"", "config.toml:2:7: idempotency.dsn: the connection string is malformed"},
		"DSN, pool that is one":     {"[store]\ndsn = \"postgres://h/d?pool_max_conns=8\"", ""},
		"DSN, file missing":         {"[store]\ndriver = \"postgres\"\ndsn = \"host=h sslmode=verify-full sslrootcert=none.pem\"", "config.toml:3:1: store.dsn: the connection string is malformed, or a file that it names cannot be read: sslrootcert,"},
		"DSN, file, stages":         {kafka + "[app]\nmodules = [\"meat\"]\n[store]\ndriver = \"postgres\"\ndsn = \"host=h sslrootcert=none.pem\"", "config.toml:7:1: store.dsn: the connection string is malformed, or a file"},
		"DSN, file of records":      {kafka + "[idempotency]\ndriver = \"postgres\"\ndsn = \"postgres://h/d?sslmode=require&sslrootcert=none.pem\"", "config.toml:5:1: idempotency.dsn: the connection string is malformed, or a file"},
		"DSN, file nobody opens":    {kafka + "[app]\nmodules = [\"meat\"]\n[store]\ndriver = \"postgres\"\ndsn = \"host=h sslrootcert=none.pem\"\n[idempotency]\ndriver = \"memory\"", ""},
		"RabbitMQ, heartbeat":       {"[amqp]\nurl = \"amqp://u:hunter2@h/?heartbeat=hunter2\"", "config.toml:2:7: amqp.url: the URL is malformed"},
		"RabbitMQ, parameters":      {"[amqp]\nurl = \"amqps://u:p@h/?heartbeat=5&channel_max=99&cacertfile=x\"", ""},
		"PostgreSQL without DSN":    {"[store]\ndriver = \"postgres\"", "config.toml:2:1: store.driver = \"postgres\" wants store.dsn"},
		"stages without a database": {kafka + "[store]\ndriver = \"postgres\"\n[app]\nmodules = [\"meat\"]\n[idempotency]\ndriver = \"memory\"", ""},
		"stages without DSN":        {kafka + "[store]\ndriver = \"postgres\"\n[app]\nmodules = [\"meat\"]", "config.toml:4:1: store.driver = \"postgres\" makes idempotency.driver \"postgres\", which wants store.dsn or idempotency.dsn"},
		"records without DSN":       {kafka + "[idempotency]\ndriver = \"postgres\"", "config.toml:4:1: idempotency.driver = \"postgres\" wants idempotency.dsn or store.dsn"},
		"records beside SQLite":     {kafka + "[idempotency]\ndriver = \"postgres\"\ndsn = \"host=h\"", ""},
		"retention":                 {"[idempotency]\nretention = \"1s\"", "config.toml:2:13: idempotency.retention: 1s is out of range: want 1m to 87600h"},
		"a whole line on SQLite":    {kafka, ""},
		"ledger on SQLite":          {kafka + "[app]\nmodules = [\"pizza\", \"journal\", \"deadletter\"]", ""},
		"stages on SQLite":          {kafka + "[app]\nmodules = [\"sauce\"]", ""},
		"pages alone on SQLite":     {kafka + "[app]\nmodules = [\"ui\"]", "config.toml:4:1: ui without pizza and journal and deadletter: the ledger is in SQLite"},
		"pages alone":               {kafka + pg + "[app]\nmodules = [\"ui\"]", ""},
		"one module":                {kafka + pg + "[app]\nmodules = [\"journal\"]", ""},
		"part on gochannel":         {pg + "[app]\nmodules = [\"journal\"]", "config.toml:5:1: journal is a part of the modules"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, c.text)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want none", err)
			case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)):
				t.Errorf("got  %v\nwant %s…", err, c.want)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("a secret is shown: %v", err)
			}
		})
	}
}

// Records that outlive the transport lose work: after a crash of an in-memory
// bus the pizza is dispatched again and a stage says "already done".
func TestRecordsDoNotOutliveTheTransport(t *testing.T) {
	const text = "[idempotency]\ndriver = \"postgres\"\ndsn = \"postgres://h/d\""
	_, err := load(t, text)
	if err == nil || !strings.HasPrefix(err.Error(), `config.toml:2:1: idempotency.driver = "postgres" on gochannel would lose pizzas`) {
		t.Errorf("got %v", err)
	}
	for bus, want := range map[string]string{"gochannel": "memory", "kafka": "postgres", "amqp": "postgres"} {
		got, err := load(t, "[store]\ndriver = \"postgres\"\ndsn = \"postgres://h/d\"", "PIZZAMILL_BUS_DRIVER="+bus)
		if err != nil || got.Idempotency.Driver != want {
			t.Errorf("on %s auto is %q (%v), want %q", bus, got.Idempotency.Driver, err, want)
		}
	}
}

// A secret is shown nowhere: not when it is printed, not when it is malformed.
func TestSecretsAreShownNowhere(t *testing.T) {
	const secret = "s3cret"
	for key, c := range map[string]struct{ good, bad string }{
		"KAFKA_SASL_PASSWORD": {"s3cret", ""},
		"AMQP_URL":            {"amqps://u:s3cret@h:5671/v%2Fh", "amqp://u:s3cret%@h"},
		"AMQP_MANAGEMENT_URL": {"https://u:s3cret@h", "h:15672/s3cret"},
		"STORE_DSN":           {"postgres://u:s3cret@h/d?sslmode=disable", "mysql://u:s3cret@h"},
		"IDEMPOTENCY_DSN":     {"host=h password='s3cret'", "postgres://u:s3cret%@h"},
		"ADMIN_TOKEN":         {"s3cret", "s3cret s3cret"},
	} {
		t.Run(key, func(t *testing.T) {
			sasl := []string{"PIZZAMILL_KAFKA_SASL_MECHANISM=PLAIN", "PIZZAMILL_KAFKA_SASL_USERNAME=u"}
			if key != "KAFKA_SASL_PASSWORD" {
				sasl = nil
			}
			got, err := load(t, "", append(sasl, "PIZZAMILL_"+key+"="+c.good)...)
			if err != nil {
				t.Fatal(err)
			}
			shown := printed(t, got)
			if strings.Contains(shown, secret) || !strings.Contains(shown, "* not shown *") {
				t.Errorf("printed:\n%s", shown)
			}
			write(t, "printed.toml", shown)
			if _, err := config.Load(config.Source{File: "printed.toml", Known: known}); err == nil {
				t.Error("what stands for the secret passes for one")
			}
			fromFile, err := load(t, "", append(sasl, "PIZZAMILL_"+key+"_FILE="+secretFile(t, c.good))...)
			if err != nil || fromFile.AMQP.URL != got.AMQP.URL || fromFile.Store.DSN != got.Store.DSN {
				t.Errorf("from a file: %v", err)
			}
			if c.bad == "" {
				return
			}
			for how, env := range map[string]string{"variable": "PIZZAMILL_" + key + "=" + c.bad, "file": "PIZZAMILL_" + key + "_FILE=" + secretFile(t, c.bad)} {
				if _, err := load(t, "", env); err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "(its value is not shown)") {
					t.Errorf("malformed, from a %s: %v", how, err)
				}
			}
			section, name, _ := strings.Cut(strings.ToLower(key), "_")
			if _, err := load(t, "["+section+"]\n"+name+" = \""+c.bad+"\""); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("malformed, in the configuration file: %v", err)
			}
			if _, err := load(t, "["+section+"]\n"+name+" = "+c.bad); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("not quoted: %v", err)
			}
		})
	}
}

func secretFile(t *testing.T, secret string) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(secret + "\n"); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// Several processes on one machine work with the defaults.
func TestAdminPortOfAProcessOfStages(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, c := range map[string]struct {
		env   []string
		flags map[string]string
		want  string
	}{
		"all":                  {nil, map[string]string{"bus": "kafka"}, "127.0.0.1:8081"},
		"with the ledger":      {nil, map[string]string{"bus": "kafka", "modules": "pizza,journal,deadletter,sauce"}, "127.0.0.1:8081"},
		"stages":               {nil, map[string]string{"bus": "kafka", "modules": "sauce,cheese"}, "127.0.0.1:0"},
		"stages, told by flag": {nil, map[string]string{"bus": "kafka", "modules": "sauce", "admin-listen": "127.0.0.1:8081"}, "127.0.0.1:8081"},
		"stages, told by environment": {
			[]string{"PIZZAMILL_ADMIN_LISTEN=127.0.0.1:9001", "PIZZAMILL_APP_MODULES=meat"},
			map[string]string{"bus": "kafka"}, "127.0.0.1:9001",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := config.Load(config.Source{Env: c.env, Flags: c.flags, Known: known})
			if err != nil || got.Admin.Listen != c.want {
				t.Errorf("admin.listen is %q (%v), want %q", got.Admin.Listen, err, c.want)
			}
			if told := strings.Contains(name, "told"); got.IsSet("admin.listen") != told {
				t.Errorf("somebody set it: %v, want %v", got.IsSet("admin.listen"), told)
			}
		})
	}
}

// What is resolved from other keys is printed with what it follows from.
func TestPrintResolved(t *testing.T) {
	t.Chdir(t.TempDir())
	got, err := config.Load(config.Source{
		Env: []string{
			"PIZZAMILL_STORE_DRIVER=postgres", "PIZZAMILL_STORE_DSN=postgres://u:s3cret@h/d", "PIZZAMILL_KAFKA_BROKERS= a:1, b:2 ",
			"PIZZAMILL_KAFKA_TLS=true", "PIZZAMILL_PIPELINE_STAGES=sauce,basil", "PIZZAMILL_PIPELINE_EXTERNAL=basil",
		},
		Flags: map[string]string{"bus": "kafka", "modules": "sauce"},
		Known: known,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(testDir)
	golden(t, "resolved.toml", printed(t, got))
}

// The commands that an error proposes work.
func TestProposedCommandsWork(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "my pizza.toml", "[log]\nlevel = \"debug\"\n")
	for name, flags := range map[string]map[string]string{
		"stages":          {"modules": "sauce,cheese", "listen": ":9000"},
		"part of ledger":  {"modules": "pizza,meat"},
		"all but one":     {"modules": "pizza,journal,deadletter,sauce,cheese,meat,veggies"},
		"pages on broker": {"modules": "ui,sauce", "bus": "amqp"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(config.Source{File: "my pizza.toml", Flags: flags, Known: known})
			var e *config.Error
			if !errors.As(err, &e) || e.ExitCode() != 2 {
				t.Fatalf("got %v, want an error of usage", err)
			}
			commands := 0
			for line := range strings.Lines(err.Error()) {
				_, command, ok := strings.Cut(line, "pizzamill serve ")
				if !ok {
					continue
				}
				commands++
				if !strings.Contains(command, "--config 'my pizza.toml'") {
					t.Errorf("%s is without the configuration", strings.TrimSpace(line))
				}
				args := strings.Fields(strings.ReplaceAll(command, "'my pizza.toml'", "file"))
				given := map[string]string{}
				for i := 0; i+1 < len(args); i += 2 {
					if args[i] != "--config" {
						given[strings.TrimPrefix(args[i], "--")] = args[i+1]
					}
				}
				env := []string{}
				if strings.Contains(line, "PIZZAMILL_STORE_DRIVER=postgres") {
					env = append(env, "PIZZAMILL_STORE_DRIVER=postgres", "PIZZAMILL_STORE_DSN=postgres://h/d")
				}
				if _, err := config.Load(config.Source{File: "my pizza.toml", Env: env, Flags: given, Known: known}); err != nil {
					t.Errorf("%s: %v", strings.TrimSpace(line), err)
				}
			}
			if commands < 2 {
				t.Errorf("%d commands in:\n%v", commands, err)
			}
		})
	}
}
