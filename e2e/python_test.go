package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// tellPython tells a person, once.
var tellPython = sync.OnceFunc(func() {
	announce("pizzamill: NO Python with the packages of examples/python-stage, its tests are left out: make test makes one, or PIZZAMILL_TEST_PYTHON names one")
})

// python returns an interpreter that has what examples/python-stage needs.
// Without one the test is skipped, or fails where nothing must be left out.
func python(t testing.TB) string {
	t.Helper()
	const variable = "PIZZAMILL_TEST_PYTHON"
	path := os.Getenv(variable)
	switch {
	case path != "":
	case os.Getenv("CI") == "true" || os.Getenv("PIZZAMILL_TEST_SERVICES") == "required":
		t.Fatalf("NOT RUN: it needs Python with the packages of examples/python-stage, and %s does not name it", variable)
	default:
		tellPython()
		t.Skipf("NOT RUN: it needs Python with the packages of examples/python-stage, and %s does not name it", variable)
	}
	return path
}

// addPythonCheese adds the example's stage, told where everything is as the
// product is: by the environment.
func (c *cell) addPythonCheese() {
	c.t.Helper()
	script, err := filepath.Abs("../examples/python-stage/" + map[string]string{"kafka": "kafka_stage.py", "amqp": "rabbitmq_stage.py"}[c.bus])
	if err != nil {
		c.t.Fatal(err)
	}
	c.cheese = newServer(c.t, python(c.t), slices.Clone(c.settings)...)
	c.cheese.args = []string{script}
}
