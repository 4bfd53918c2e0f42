package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/pizzamill/pizzamill/platform/app"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/module"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// asProcess makes the test binary a pizzamill: see signal_test.go.
const asProcess = "CLI_TEST_AS_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(asProcess) != "" {
		os.Exit(process())
	}
	goleak.VerifyTestMain(m)
}

func stageModule(name string) module.Module {
	return module.Module{
		Name: name, Stage: true,
		Consumes: func(p event.Pipeline) []string {
			topic, _ := p.Input(name)
			return []string{topic}
		},
		Produces: func(event.Pipeline) []string { return []string{event.Topic(name)} },
	}
}

var testModules = []module.Module{
	{
		Name:     "pizza",
		Ledger:   true,
		Consumes: func(p event.Pipeline) []string { return []string{p.Last()} },
		Produces: func(p event.Pipeline) []string { return []string{p.First()} },
	},
	stageModule("sauce"), stageModule("cheese"), stageModule("meat"), stageModule("veggies"), stageModule("crust"),
	{Name: "journal", Ledger: true, Consumes: func(p event.Pipeline) []string { return p.Topics() }},
	{Name: "deadletter", Ledger: true, Consumes: func(event.Pipeline) []string { return []string{event.TopicDeadLetters} }},
	{Name: "ui", Ledger: true},
}

// run is one run of the command line in a test.
type run struct {
	*program
	stdout, stderr bytes.Buffer
	served         []app.Options
}

// newRun returns a command line in an empty folder with an empty environment,
// whose requests go to handler; nil is a server that is not there.
func newRun(t *testing.T, handler http.Handler) *run {
	t.Helper()
	r := &run{}
	r.program = &program{
		modules: testModules,
		in:      strings.NewReader(""),
		out:     &r.stdout,
		err:     &r.stderr,
		serve: func(_ context.Context, o app.Options) error {
			r.served = append(r.served, o)
			return nil
		},
		width:     func() int { return 0 },
		transport: transportTo(t, handler),
	}
	return r
}

// transcript is what a user sees of a run.
func (r *run) transcript(args []string, code int) string {
	return fmt.Sprintf("$ pizzamill %s\nexit %d\n--- stdout\n%s--- stderr\n%s", strings.Join(args, " "), code, r.stdout.String(), r.stderr.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join(packageDir, "testdata", strings.ReplaceAll(name, " ", "_")+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

var packageDir, _ = os.Getwd()

// transportTo returns a transport to a server in memory, so that tests with a
// fake clock wait for nothing but it.
func transportTo(t *testing.T, handler http.Handler) http.RoundTripper {
	t.Helper()
	if handler == nil {
		return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("connection refused")}
		}}
	}
	l := &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(l) })
	transport := &http.Transport{DialContext: l.dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		serving.Wait()
	})
	return transport
}

type memoryListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *memoryListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, fmt.Errorf("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, io.EOF
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return &net.TCPAddr{} }
