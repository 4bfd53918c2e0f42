package app

import (
	"fmt"
	"io"
	"net"
	"text/tabwriter"

	"github.com/pizzamill/pizzamill/platform/httpserver"
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
	if p.main != nil {
		fmt.Fprintf(t, "  order page\thttp://%s/\n", callAt(p.config.HTTP.Listen, p.main.Addr()))
	}
	fmt.Fprintf(t, "  kitchen (admin)\thttp://%s/\n", callAt(p.config.Admin.Listen, p.admin.Addr()))
	if p.main != nil {
		fmt.Fprintf(t, "  API\thttp://%s/api/orders\n", callAt(p.config.HTTP.Listen, p.main.Addr()))
	}
	if p.ledger != nil {
		fmt.Fprintf(t, "  store\t%s, %s\n", p.config.Store.Driver, p.config.Store.Path)
	}
	fmt.Fprintf(t, "  bus\t%s\n", p.config.Bus.Driver)
	_ = t.Flush()
	fmt.Fprintln(w)
}
