package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits of a listener.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second // bodies are 64 KiB at most
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
	// writeTimeout is a deadline that each request begins with, and no
	// http.Server.WriteTimeout: an event stream moves it with each write
	// (http.ResponseController.SetWriteDeadline).
	writeTimeout = time.Minute
)

// Server serves one listener.
type Server struct {
	http     *http.Server
	listener net.Listener
}

type stoppingKey struct{}

// NewServer returns a server for a bound listener, which it owns from now on.
func NewServer(ln net.Listener, h http.Handler, log *slog.Logger) *Server {
	stopping := make(chan struct{})
	base := context.WithValue(context.Background(), stoppingKey{}, (<-chan struct{})(stopping))
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return base },
	}
	srv.RegisterOnShutdown(func() { close(stopping) })
	return &Server{http: srv, listener: ln}
}

// Stopping returns a channel that is closed when the server of a request
// begins to shut down. Shutdown waits for requests in hand and an event stream
// never ends by itself, so that streams must end then; all other requests go
// on. Outside a Server it is nil.
func Stopping(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(stoppingKey{}).(<-chan struct{})
	return c
}

// Addr returns the address that the listener got.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve serves until Shutdown is called, and returns nil then.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.Addr(), err)
	}
	return nil
}

// Shutdown closes the listener, ends event streams, and waits for the requests
// in hand until ctx ends; then it cuts what is left and returns an error. It
// is called once.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	_ = s.listener.Close() // already closed, unless Serve was never called
	if err != nil {
		_ = s.http.Close()
		return fmt.Errorf("shut down %s: requests still in hand: %w", s.Addr(), err)
	}
	return nil
}
