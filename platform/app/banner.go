package app

import (
	"fmt"
	"io"
	"net"
	"text/tabwriter"

	"github.com/pizzamill/pizzamill/platform/version"
)

// reachable returns an address to call a listener at: one that is bound to all
// addresses is called on this machine.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// banner prints where everything is, aligned.
func (p *process) banner(w io.Writer) {
	fmt.Fprintf(w, "pizzamill %s\n\n", version.String())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if p.main != nil {
		fmt.Fprintf(t, "  order page\thttp://%s/\n", reachable(p.main.Addr()))
	}
	fmt.Fprintf(t, "  kitchen (admin)\thttp://%s/\n", reachable(p.admin.Addr()))
	if p.main != nil {
		fmt.Fprintf(t, "  API\thttp://%s/api/orders\n", reachable(p.main.Addr()))
	}
	if p.ledger != nil {
		fmt.Fprintf(t, "  store\t%s, %s\n", p.config.Store.Driver, p.config.Store.Path)
	}
	fmt.Fprintf(t, "  bus\t%s\n", p.config.Bus.Driver)
	_ = t.Flush()
	fmt.Fprintln(w)
}
