package cli

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/pizzamill/pizzamill/platform/app"
)

// process is the test binary as a pizzamill whose serve says how far it is. As
// "stubborn" it never comes to an end by itself.
func process() int {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	p := &program{
		modules: testModules,
		out:     os.Stdout,
		err:     os.Stderr,
		serve: func(ctx context.Context, o app.Options) error {
			fmt.Fprintln(o.Banner, "serving")
			<-ctx.Done()
			fmt.Fprintln(o.Banner, "stopping")
			if os.Getenv(asProcess) == "stubborn" {
				select {}
			}
			return nil
		},
		width:     func() int { return 0 },
		transport: http.DefaultTransport,
	}
	return p.run(ctx, os.Args[1:])
}

func TestSignals(t *testing.T) {
	for _, c := range []struct {
		name, kind string
		signals    []os.Signal
		code       int
	}{
		{"SIGTERM", "mild", []os.Signal{syscall.SIGTERM}, 0},
		{"SIGINT", "mild", []os.Signal{os.Interrupt}, 0},
		{"two", "stubborn", []os.Signal{syscall.SIGTERM, syscall.SIGTERM}, 130},
		{"two of a kind each", "stubborn", []os.Signal{syscall.SIGTERM, os.Interrupt}, 130},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "serve")
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), asProcess+"="+c.kind)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for i, want := range []string{"serving", "stopping"} {
				if !lines.Scan() || lines.Text() != want {
					t.Fatalf("the process printed %q, want %q", lines.Text(), want)
				}
				if i < len(c.signals) {
					if err := cmd.Process.Signal(c.signals[i]); err != nil {
						t.Fatal(err)
					}
				}
			}
			cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != c.code {
				t.Errorf("exit code %d, want %d", got, c.code)
			}
		})
	}
}

// TestMainReadsTheProcess runs the real entry once: what it does for tests it
// does for users.
func TestMainReadsTheProcess(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("PIZZAMILL_LOG_LEVEL", "loud")
	var out, errs strings.Builder
	if code := Main(t.Context(), []string{"config", "check"}, strings.NewReader(""), &out, &errs, testModules); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	// The variables that name servers for tests are none of pizzamill's.
	if !strings.Contains(errs.String(), `PIZZAMILL_LOG_LEVEL: unknown log level "loud"`) {
		t.Errorf("stderr is %q", errs.String())
	}
}
