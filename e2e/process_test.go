package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds how long a process may take until it is ready. The race
// detector and a busy machine are slow.
const startTimeout = 60 * time.Second

// server is one pizzamill with its own ports and data. It can be killed and
// started again; addresses and data stay.
type server struct {
	t     testing.TB
	bin   string
	dir   string
	main  string // host:port, "" if no module of it opens the main listener
	admin string
	args  []string // serve and its flags
	env   []string // PIZZAMILL_… variables without the prefix; the last of a name counts

	proc *process // the running one, or the last; nil before the first
}

// process is one run of the binary.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it is over; code is set then
	code   int           // exit status, -1 if a signal ended it
	stdout string        // paths of files
	stderr string
}

// newServer returns a server that is not started yet. Settings are
// PIZZAMILL_… variables, as NAME=value without the prefix.
func newServer(t testing.TB, bin string, settings ...string) *server {
	t.Helper()
	s := &server{t: t, bin: bin, dir: t.TempDir(), main: freeAddr(t), admin: freeAddr(t), args: []string{"serve"}}
	s.env = append([]string{"HTTP_LISTEN=" + s.main, "ADMIN_LISTEN=" + s.admin}, settings...)
	t.Cleanup(func() {
		if s.proc != nil {
			s.kill()
		}
		s.checkLogs()
	})
	return s
}

// start returns a server that runs and is ready.
func start(t testing.TB, settings ...string) *server {
	t.Helper()
	s := newServer(t, binary(t), settings...)
	s.boot()
	s.awaitReady()
	return s
}

// boot starts the process and returns at once.
func (s *server) boot() {
	s.t.Helper()
	s.proc = s.spawn(s.args...)
}

// running reports whether the process is there, paused or not.
func (s *server) running() bool {
	if s.proc == nil {
		return false
	}
	_, over := s.proc.wait(0)
	return !over
}

// spawn starts the binary with arguments, in the server's folder and environment.
func (s *server) spawn(args ...string) *process {
	s.t.Helper()
	n := fmt.Sprintf("%d", time.Now().UnixNano())
	p := &process{
		exited: make(chan struct{}),
		stdout: filepath.Join(s.dir, n+".stdout"),
		stderr: filepath.Join(s.dir, n+".stderr"),
	}
	out, err := os.Create(p.stdout)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	errs, err := os.Create(p.stderr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer errs.Close()
	p.cmd = exec.Command(s.bin, args...)
	p.cmd.Dir = s.dir
	p.cmd.Stdout, p.cmd.Stderr = out, errs
	p.cmd.Env = s.environ()
	if err := p.cmd.Start(); err != nil {
		s.t.Fatalf("start %s: %v", s.bin, err)
	}
	go func() {
		var exit *exec.ExitError
		if err := p.cmd.Wait(); errors.As(err, &exit) {
			p.code = exit.ExitCode()
		}
		close(p.exited)
	}()
	return p
}

// environ is the environment of whatever the server runs. The product finds its
// configuration there too, so that only what a test sets may reach it.
func (s *server) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "PIZZAMILL_") })
	for _, kv := range s.env {
		env = append(env, "PIZZAMILL_"+kv)
	}
	return env
}

// signal sends one signal to the process and to nobody else.
func (p *process) signal(sig os.Signal) { _ = p.cmd.Process.Signal(sig) }

// wait returns the exit status, or false if the process is not over in time.
func (p *process) wait(limit time.Duration) (int, bool) {
	select {
	case <-p.exited:
		return p.code, true
	default:
	}
	select {
	case <-p.exited:
		return p.code, true
	case <-time.After(limit):
		return 0, false
	}
}

func (p *process) output() string { return readFile(p.stdout) }
func (p *process) errors() string { return readFile(p.stderr) }

func readFile(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// kill ends the process as a power cut would, and waits until it is gone.
func (s *server) kill() {
	s.proc.signal(syscall.SIGKILL)
	<-s.proc.exited
}

// terminate asks the process to end and returns its exit status and how long it took.
func (s *server) terminate(limit time.Duration) (int, time.Duration) {
	s.t.Helper()
	began := time.Now()
	s.proc.signal(syscall.SIGTERM)
	code, ok := s.proc.wait(limit)
	if !ok {
		s.t.Fatalf("%s: still running %s after SIGTERM\n%s", s.name(), limit, tail(s.proc.errors()))
	}
	return code, time.Since(began)
}

// pause stops the process as a debugger or a suspended machine does; resume lets it go on.
func (s *server) pause()  { s.proc.signal(syscall.SIGSTOP) }
func (s *server) resume() { s.proc.signal(syscall.SIGCONT) }

// awaitReady waits until its listeners say that they are ready: the process
// takes orders, and has everything else it needs.
func (s *server) awaitReady() {
	s.t.Helper()
	if s.main != "" {
		s.awaitTaking()
	}
	s.awaitProbe(s.admin)
}

// awaitTaking waits until orders are taken. That may be before the process is ready.
func (s *server) awaitTaking() {
	s.t.Helper()
	s.awaitProbe(s.main)
}

func (s *server) awaitProbe(addr string) {
	s.t.Helper()
	deadline := time.Now().Add(startTimeout)
	for !s.isReady(addr) {
		select {
		case <-s.proc.exited:
			s.t.Fatalf("%s: the process ended with %d before it was ready\n%s", s.name(), s.proc.code, tail(s.proc.errors()))
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: %s not ready within %s\n%s", s.name(), addr, startTimeout, tail(s.proc.errors()))
		}
	}
}

// name says which process it is, for people.
func (s *server) name() string { return filepath.Base(s.bin) + " " + strings.Join(s.args, " ") }

// isReady asks the probe of a listener. A process with much to ask (the broker,
// the database) may take almost a second to say so.
func (s *server) isReady(addr string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// stackTrace is what a crash of the Go runtime leaves on standard error.
var stackTrace = regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: )`)

// checkLogs fails the test if any run of the server crashed or raced, and shows
// the end of the log of a test that failed.
func (s *server) checkLogs() {
	files, err := filepath.Glob(filepath.Join(s.dir, "*.stderr"))
	if err != nil {
		s.t.Error(err)
	}
	for _, f := range files {
		text := readFile(f)
		if at := stackTrace.FindStringIndex(text); at != nil {
			s.t.Errorf("%s: on standard error:\n%.4000s", s.name(), text[at[0]:])
		} else if s.t.Failed() && f == s.proc.stderr {
			s.t.Logf("%s: end of the log:\n%s", s.name(), tail(text))
		}
	}
}

// result is how a command of the binary ended.
type result struct {
	code           int
	stdout, stderr string
}

// command runs the binary to its end, in the server's folder and environment.
func (s *server) command(args ...string) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	return s.commandContext(ctx, args...)
}

func (s *server) commandContext(ctx context.Context, args ...string) result {
	s.t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, s.bin, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, &out, &errs
	cmd.Env = s.environ()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("run pizzamill %s: %v", strings.Join(args, " "), err)
	}
	if ctx.Err() != nil {
		s.t.Fatalf("pizzamill %s did not end in time\n%s", strings.Join(args, " "), tail(errs.String()))
	}
	return result{code: cmd.ProcessState.ExitCode(), stdout: out.String(), stderr: errs.String()}
}

// givenAddrs are those that freeAddr has returned: each belongs to one server,
// also while that is down.
var givenAddrs sync.Map

// freeAddr returns a loopback address that nobody listens on. It is below the
// range from which systems take the ports of outgoing connections, so that none
// of those takes it while the server is down, and above that of the brokers and
// databases (scripts/services/ports.sh), which take seconds to listen.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 26000+rand.IntN(6000))
		if _, given := givenAddrs.LoadOrStore(addr, true); given {
			continue
		}
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("found no free port")
	return ""
}

// tail returns the last lines of a text.
func tail(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}
