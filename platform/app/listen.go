package app

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/pizzamill/pizzamill/platform/api"
	"github.com/pizzamill/pizzamill/platform/httpserver"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/telemetry"
	"github.com/pizzamill/pizzamill/platform/topology"
)

// listeners are what the process answers on: bound early, served late.
type listeners struct {
	mainMux  *http.ServeMux // nil if no module needs it
	adminMux *http.ServeMux
	registry *prometheus.Registry
}

// listen binds the listeners. Requests queue until serve.
func (p *process) listen(ctx context.Context) (*listeners, error) {
	// For a start that fails; one that succeeds closes them before all else.
	p.onStop("listeners", p.closeServers)
	l := &listeners{adminMux: http.NewServeMux(), registry: telemetry.NewRegistry()}
	log := p.log.With("module", "http")
	admin, err := httpserver.Listen(ctx, p.config.Admin.Listen, "--admin-listen, [admin] listen")
	if err != nil {
		return nil, err
	}
	p.admin = httpserver.NewServer(admin, httpserver.Admin(l.adminMux, p.config.Admin.Token, log), log)
	p.servers = append(p.servers, p.admin)
	if !p.needs(func(m module.Module) bool { return m.Main }) {
		return l, nil
	}
	l.mainMux = http.NewServeMux()
	main, err := httpserver.Listen(ctx, p.config.HTTP.Listen, "--listen, [http] listen")
	if err != nil {
		return nil, err
	}
	p.main = httpserver.NewServer(main, httpserver.Main(l.mainMux, log), log)
	p.servers = append(p.servers, p.main)
	return l, nil
}

// mount adds the API to what the modules have mounted.
func (p *process) mount(l *listeners) {
	bus := p.config.Bus.Driver
	running := map[string]bool{}
	for _, m := range p.selected {
		running[m.Name] = true
	}
	deps := api.Deps{
		Ledger:    p.ledger,
		Bus:       p.bus,
		MaxPizzas: p.config.Pipeline.MaxPizzasPerOrder,
		Taking:    p.taking,
		Ready:     p.ready,
		Topology:  topology.Build(p.pipeline, bus, p.all, func(name string) bool { return running[name] }, p.config.Pipeline.External...),
		Metrics:   telemetry.Handler(l.registry, p.log),
		Log:       p.log.With("module", "api"),
	}
	if p.records != nil {
		deps.Records = p.records
	}
	if l.mainMux != nil {
		api.Main(l.mainMux, deps)
	}
	api.Admin(l.adminMux, deps)
}

// serve answers requests from here on.
func (p *process) serve() {
	for _, s := range p.servers {
		go func() { p.fail(s.Serve()) }()
	}
}

// closeServers ends the listeners: no more orders are taken, event streams end,
// requests in hand are answered. The second call does nothing.
func (p *process) closeServers(ctx context.Context) error {
	servers := p.servers
	p.servers = nil
	var g errgroup.Group
	for _, s := range servers {
		g.Go(func() error { return s.Shutdown(ctx) })
	}
	return g.Wait()
}
