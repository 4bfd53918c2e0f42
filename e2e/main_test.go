package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	// These tests run a binary that the go command builds from the module, so
	// the test cache must see the product's packages to know when to run them again.
	_ "github.com/pizzamill/pizzamill/modules"
	_ "github.com/pizzamill/pizzamill/platform/cli"
	_ "github.com/pizzamill/pizzamill/ui"
)

// full says whether to run everything at its full length.
var full = os.Getenv("PIZZAMILL_E2E") == "full"

// leftOut is what a run that is not full does not show.
const leftOut = "pizzamill: short end-to-end run: few rounds of kill -9, small orders, few cells of the acceptance table; left out: " +
	"broken builds that must fail the audit, 100,000 waiting pizzas, real browsers. `make test` runs all of it."

var binaries struct {
	dir string
	sync.Mutex
	paths map[string]string
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if !full {
		announce(leftOut)
	}
	dir, err := os.MkdirTemp("", "pizzamill-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a folder for the binaries:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries.dir, binaries.paths = dir, map[string]string{}
	return m.Run()
}

// announce tells a person something even if all tests pass. The go command
// shows nothing of a package that passes, so where the system lets one, the
// line goes to the standard error of the go command itself.
func announce(line string) {
	parent := fmt.Sprintf("/proc/%d/fd/2", os.Getppid())
	if f, err := os.OpenFile(parent, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		defer f.Close()
		fmt.Fprintln(f, line)
		return
	}
	fmt.Fprintln(os.Stderr, line)
}

func TestLeftOut(t *testing.T) {
	if full {
		t.Log("full run: nothing is left out")
		return
	}
	t.Log(leftOut)
}

// binary returns the path of pizzamill, built once per run for each set of build tags.
func binary(t testing.TB, tags ...string) string {
	t.Helper()
	binaries.Lock()
	defer binaries.Unlock()
	name := strings.Join(append([]string{"pizzamill"}, tags...), "-")
	if path, ok := binaries.paths[name]; ok {
		return path
	}
	path := filepath.Join(binaries.dir, name)
	args := []string{"build", "-o", path, "-tags", strings.Join(tags, ",")}
	if raceBuild {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	binaries.paths[name] = path
	return path
}
