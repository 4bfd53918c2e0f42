// Command pizzamill makes random pizzas, one event at a time. Without an
// argument it runs everything in one process: see platform/doc.go for the path
// of a pizza, and `pizzamill --help` for what else it does.
package main

import (
	"context"
	"os"

	"github.com/pizzamill/pizzamill/modules"
	"github.com/pizzamill/pizzamill/platform/cli"
	"github.com/pizzamill/pizzamill/ui"
)

//go:generate go tool templ generate -include-version=false -path ui

func main() {
	all := append(modules.All(), ui.Module)
	os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, all))
}
