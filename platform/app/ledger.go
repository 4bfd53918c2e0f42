package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/pizzamill/pizzamill/platform/store"
)

// identityPatience is how long a renewal waits for the broker's name.
const identityPatience = 2 * time.Second

// self is what the ledger knows of this process.
func (p *process) self(identity string) store.Process {
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown host"
	}
	return store.Process{
		ID:     p.id,
		Name:   fmt.Sprintf("process %d on %s (%s)", os.Getpid(), host, strings.Join(p.config.App.Modules, ", ")),
		Bus:    identity,
		Driver: p.config.Bus.Driver,
		Prefix: p.config.Bus.Prefix,
		Alone:  p.alone,
	}
}

// adopt makes the ledger that of this bus, once no process on the one it was on
// lives any more; open orders then start again here. From then on the process
// renews its row.
func (p *process) adopt(ctx context.Context) error {
	if err := p.await(ctx, theBroker, p.learnIdentity); err != nil || p.ledger == nil {
		return err
	}
	// The broker may know of another pipeline what the ledger does not. A ledger
	// that had come to its bus would hold on to the wrong one.
	if err := p.await(ctx, theBroker, p.bus.Compare); err != nil {
		return err
	}
	p.id = watermill.NewUUID()
	p.onStop("row in the ledger", func(ctx context.Context) error {
		// One that cannot be removed runs out by itself.
		if err := p.ledger.Leave(ctx); err != nil {
			p.log.Debug("the process's row stays", "error", err)
		}
		return nil
	})
	if err := p.await(ctx, "the ledger", p.come); err != nil {
		return err
	}
	var rows tasks
	rows.add("renew", p.renew)
	rows.start(p.fail)
	p.onStop("renewal", rows.stop)
	return nil
}

// learnIdentity asks for the name of the bus, which is part of every record of a
// processed event too.
func (p *process) learnIdentity(ctx context.Context) error {
	identity, err := p.bus.Identity(ctx)
	if err == nil {
		p.identity.Store(&identity)
	}
	return err
}

// come comes to the ledger with the bus as it is now.
func (p *process) come(ctx context.Context) error {
	identity, err := p.bus.Identity(ctx)
	if err != nil {
		return fmt.Errorf("ask for the bus's name: %w", err)
	}
	if err := p.ledger.Start(ctx, p.self(identity)); err != nil {
		return err
	}
	p.identity.Store(&identity)
	return nil
}

// follow comes to the ledger with a bus that has become another one.
func (p *process) follow(ctx context.Context) error {
	if err := p.bus.Compare(ctx); err != nil {
		return errors.New(err.Error()) // not final: whoever took the broker may leave again
	}
	return p.come(ctx)
}

// renew keeps the process's row alive, and moves it along when the broker behind
// the same address has become another one.
func (p *process) renew(ctx context.Context) error {
	tick := time.NewTicker(store.RenewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		renewed := p.ledger.Renew
		if identity := p.busNow(ctx); identity != *p.identity.Load() {
			p.log.Warn("the bus is another one", "was", *p.identity.Load(), "is", identity)
			renewed = p.follow
		}
		err := renewed(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			p.lost.Store(nil)
		case isFinal(err):
			return err
		default:
			err = fmt.Errorf("the ledger: %w", err)
			if was := p.lost.Swap(&err); was == nil || !sameCause(*was, err) {
				p.log.Warn("not on the ledger's bus", "error", err)
			}
		}
	}
}

// busNow returns the identity of the bus as it is now, or as it was where the
// broker does not say so at once: a broker that hangs must not keep the row from
// being renewed.
func (p *process) busNow(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, identityPatience)
	defer cancel()
	identity, err := p.bus.Identity(ctx)
	if err != nil {
		return *p.identity.Load()
	}
	return identity
}

func sameCause(a, b error) bool {
	return errors.Is(a, store.ErrLeftBehind) && errors.Is(b, store.ErrLeftBehind) || a.Error() == b.Error()
}
