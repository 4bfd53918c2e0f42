package app

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/pizzamill/pizzamill/platform/bus/amqp"
	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/httpserver"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/store/postgres"
	"github.com/pizzamill/pizzamill/platform/version"
)

// callAt is where to call a listener: the port that it got, at the host that it
// was told to bind.
func callAt(listen, got string) string {
	host, _, _ := net.SplitHostPort(listen) // checked with the configuration
	_, port, _ := net.SplitHostPort(got)
	return net.JoinHostPort(httpserver.Reachable(host), port)
}

// banner prints where everything is, aligned.
func (p *process) banner(w io.Writer) {
	fmt.Fprintf(w, "pizzamill %s\n\n", version.String())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if p.hasPages() {
		fmt.Fprintf(t, "  order page\thttp://%s/\n", callAt(p.config.HTTP.Listen, p.main.Addr()))
	}
	fmt.Fprintf(t, "  kitchen (admin)\thttp://%s/\n", callAt(p.config.Admin.Listen, p.admin.Addr()))
	if p.main != nil {
		fmt.Fprintf(t, "  API\thttp://%s/api/orders\n", callAt(p.config.HTTP.Listen, p.main.Addr()))
	}
	if p.ledger != nil {
		fmt.Fprintf(t, "  store\t%s\n", storeLine(p.config))
	}
	fmt.Fprintf(t, "  bus\t%s\n", busLine(p.config))
	if !slices.Contains(p.config.App.Modules, "all") {
		fmt.Fprintf(t, "  modules\t%s\n", strings.Join(p.config.App.Modules, ", "))
	}
	_ = t.Flush()
	fmt.Fprintln(w)
}

// hasPages reports whether this process serves the pages.
func (p *process) hasPages() bool {
	return p.needs(func(m module.Module) bool { return m.Name == "ui" })
}

// storeLine says where the ledger is, without what is secret of it.
func storeLine(c config.Config) string {
	if c.Store.Driver == "postgres" {
		return "postgres, " + postgres.Place(c.Store.DSN)
	}
	return c.Store.Driver + ", " + c.Store.Path
}

// busLine says what carries the messages, without what is secret of it.
func busLine(c config.Config) string {
	line := c.Bus.Driver
	switch c.Bus.Driver {
	case "kafka":
		line += ", " + strings.Join(c.Kafka.Brokers, ", ")
	case "amqp":
		line += ", " + amqp.Place(c.AMQP.URL)
	}
	if c.Bus.Prefix != "" {
		line += ", prefix " + c.Bus.Prefix
	}
	return line
}
