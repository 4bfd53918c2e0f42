package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/httpserver"
	"github.com/pizzamill/pizzamill/platform/version"
)

const (
	// requestTimeout bounds one request that is not a stream.
	requestTimeout = 10 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 4 << 20
)

// client calls a running pizzamill.
type client struct {
	base  *url.URL
	token string // of the admin listener, "" for none
	http  *http.Client
}

// client returns the client of the listener at server or, if that is "", of
// the one that the configuration names. flag is what sets server.
func (p *program) client(server, flag string, listen func(config.Loaded) string) (*client, error) {
	if server == "" {
		loaded, err := p.load(nil)
		if err != nil {
			return nil, err
		}
		return p.clientOf(listen(loaded), flag)
	}
	base, err := url.Parse(server)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.RawQuery != "" || base.Fragment != "" {
		return nil, usagef("%s %q: want a URL such as http://127.0.0.1:8080", flag, server)
	}
	return &client{base: base, http: &http.Client{Transport: p.transport}}, nil
}

// clientOf returns the client of the listener at a configured address.
func (p *program) clientOf(listen, flag string) (*client, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("address of the listener: %w", err)
	}
	if port == "0" {
		return nil, usagef("the configured listener %s takes a free port: say which with %s URL", listen, flag)
	}
	return p.client("http://"+net.JoinHostPort(httpserver.Reachable(host), port), flag, nil)
}

// adminClient returns the client of an admin listener, with the configured
// token. Any process of a line answers for all of it: unless somebody said where
// the listener is, it is looked for at the default.
func (p *program) adminClient(server string) (*client, error) {
	loaded, err := p.load(nil)
	if err != nil {
		return nil, err
	}
	listen := loaded.Admin.Listen
	if !loaded.IsSet("admin.listen") {
		listen = config.Default().Admin.Listen
	}
	var c *client
	if server != "" {
		c, err = p.client(server, "--admin", nil)
	} else {
		c, err = p.clientOf(listen, "--admin")
	}
	if err == nil {
		c.token = loaded.Admin.Token
	}
	return c, err
}

// url returns the address of a path, whether the base ends in a slash or not.
func (c *client) url(path ...string) string { return c.base.JoinPath(path...).String() }

// statusError is an answer other than the one that was hoped for.
type statusError struct {
	status int
	detail string
	after  time.Duration // Retry-After, 0 if there was none
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %d: %s", e.status, e.detail)
}

// ExitCode tells a server that lacks something from one that refuses.
func (e *statusError) ExitCode() int {
	switch e.status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return exitUnreachable
	default:
		return exitFailure
	}
}

// unreachable says that no answer came, or none to its end.
func (c *client) unreachable(err error) error {
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err // without the method and the whole URL
	}
	return &exitError{code: exitUnreachable, err: fmt.Errorf("cannot reach %s: %w (is pizzamill running there?)", c.base.Redacted(), err)}
}

// do sends a request and returns the body of a 2xx answer. The error is a
// *statusError, or an *exitError if there was no answer.
func (c *client) do(ctx context.Context, method, address string, header http.Header, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := c.send(ctx, method, address, header, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(err)
	}
	return answer, nil
}

// send is do for an answer of any length; the caller closes its body.
func (c *client) send(ctx context.Context, method, address string, header http.Header, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", address, err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	req.Header.Set("User-Agent", "pizzamill/"+version.String())
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if res.StatusCode/100 != 2 {
		defer res.Body.Close()
		return nil, problemOf(res)
	}
	return res, nil
}

// problemOf reads why a server refused.
func problemOf(res *http.Response) error {
	e := &statusError{status: res.StatusCode, detail: http.StatusText(res.StatusCode)}
	if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && n > 0 {
		e.after = time.Duration(n) * time.Second
	}
	var problem struct{ Title, Detail string }
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err == nil && kind == "application/problem+json" && json.Unmarshal(body, &problem) == nil {
		switch {
		case problem.Detail != "":
			e.detail = printable(problem.Detail)
		case problem.Title != "":
			e.detail = printable(problem.Title)
		}
	}
	return e
}

// interruptible turns whatever a command returns after a signal into exit code 130.
func interruptible(run func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		var coded *exitError
		if err == nil || cmd.Context().Err() == nil || errors.As(err, &coded) && coded.code == exitInterrupted {
			return err
		}
		return &exitError{code: exitInterrupted, err: errors.New("interrupted")}
	}
}

// pause waits, or returns why it was not to wait any longer.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func adminFlag(c *cobra.Command) *string {
	return c.Flags().String("admin", "", "`URL` of the admin listener (default that of the configuration)")
}

func (p *program) healthcheckCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running pizzamill whether it is ready",
		Long: `Asks the admin listener whether everything that process needs is there. Prints
one line and exits with 0 if so, with 1 if not, with 4 if nobody answers.`,
		Example: `  pizzamill healthcheck
  pizzamill healthcheck --admin http://127.0.0.1:8081`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	admin := adminFlag(c)
	c.RunE = interruptible(func(cmd *cobra.Command, _ []string) error {
		client, err := p.client(*admin, "--admin", func(l config.Loaded) string { return l.Admin.Listen })
		if err != nil {
			return err
		}
		_, err = client.do(cmd.Context(), http.MethodGet, client.url("readyz"), nil, nil)
		var refused *statusError
		if errors.As(err, &refused) {
			return &exitError{code: exitFailure, err: fmt.Errorf("not ready: %s", refused.detail)}
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(p.out, "ready")
		return err
	})
	return c
}
