package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pizzamill/pizzamill/platform/config"
)

const (
	// placeAttempts and placeBudget bound how long an order is tried for.
	placeAttempts = 5
	placeBudget   = 30 * time.Second
	// pagePatience is how long it may take to find out whether an order has a page.
	pagePatience = 2 * time.Second
)

// order is what the command line reads of an order; raw is all of it.
type order struct {
	ID           string     `json:"id"`
	Count        int        `json:"count"`
	Status       string     `json:"status"`
	Completed    int        `json:"completed"`
	DeadLettered int        `json:"dead_lettered"`
	CreatedAt    time.Time  `json:"created_at"`
	CompletedAt  *time.Time `json:"completed_at"`

	raw []byte
}

// ended reports whether nothing of the order is in flight any more.
func (o order) ended() bool { return o.Status == "complete" || o.Status == "partial" }

func parseOrder(body []byte) (order, error) {
	o := order{raw: body}
	if err := json.Unmarshal(body, &o); err != nil {
		return order{}, fmt.Errorf("the server's answer is no order: %w", err)
	}
	if o.ID == "" || o.Status == "" {
		return order{}, errors.New("the server's answer is no order: it has no id or no status")
	}
	return o, nil
}

// countForm is a count in plain digits that fits into 64 bits; how many are
// too many is the server's to say.
var countForm = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)

func (p *program) orderCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "order N",
		Short: "Order N random pizzas from a running pizzamill",
		Long: `Orders N pizzas and prints the order's ID and page, or where the server has no
pages its address in the API. With --watch it follows the order until it is
complete (exit 0) or, with pizzas among the dead letters, partial (exit 5);
Ctrl-C stops watching (exit 130), not the order.

A connection that fails is tried again; the order is still placed once.`,
		Example: `  pizzamill order 12
  pizzamill order 10000 --watch
  pizzamill order 3 --watch -o json --server http://127.0.0.1:8080`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("order takes one argument, the number of pizzas, not %d", len(args))
			}
			if !countForm.MatchString(args[0]) {
				return usagef("%q is no number of pizzas: want plain digits, 1 or more", args[0])
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	server := serverFlag(c)
	watch := c.Flags().Bool("watch", false, "follow the order until it ends")
	output := outputFlag(c, "text", "json")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		var unknown *pflag.NotExistError
		if errors.As(err, &unknown) && countForm.MatchString(unknown.GetSpecifiedName()) { // -1 is no flag
			return usagef("%q is no number of pizzas: want plain digits, 1 or more", "-"+unknown.GetSpecifiedName())
		}
		return flagError(c, err)
	})
	c.RunE = interruptible(func(cmd *cobra.Command, args []string) error {
		client, err := p.client(*server, "--server", mainListener)
		if err != nil {
			return err
		}
		placed, err := p.place(cmd.Context(), client, args[0])
		if err != nil {
			return err
		}
		if output.value == "json" && !*watch {
			return writeJSON(p.out, placed.raw)
		}
		if output.value == "text" { // at once: the order is placed, whatever comes
			if _, err := fmt.Fprintf(p.out, "order  %s\n", placed.ID); err != nil {
				return err
			}
		}
		what, address := client.whereabouts(cmd.Context(), placed)
		if output.value == "text" {
			if _, err := fmt.Fprintf(p.out, "%-6s %s\n", what, address); err != nil {
				return err
			}
		}
		if !*watch {
			return nil
		}
		return p.watch(cmd.Context(), client, placed, address, output.value == "json")
	})
	return c
}

// whereabouts returns where an order can be seen and what that is: its page, if the
// server answers that it has one, else its address in the API. A process without
// the pages takes orders too.
func (c *client) whereabouts(ctx context.Context, o order) (what, address string) {
	ctx, cancel := context.WithTimeout(ctx, pagePatience)
	defer cancel()
	page := c.url("orders", o.ID)
	if res, err := c.send(ctx, http.MethodHead, page, nil, nil); err == nil {
		_ = res.Body.Close() // it has none
		if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind == "text/html" {
			return "page", page
		}
	}
	return "api", c.url("api", "orders", o.ID)
}

func serverFlag(c *cobra.Command) *string {
	return c.Flags().String("server", "", "`URL` of a running pizzamill (default the main listener of the configuration)")
}

func mainListener(l config.Loaded) string { return l.HTTP.Listen }

// place orders the pizzas. One key for all attempts makes them one order, so
// it may be tried again whatever became of the one before.
func (p *program) place(ctx context.Context, c *client, count string) (order, error) {
	ctx, cancel := context.WithTimeout(ctx, placeBudget)
	defer cancel()
	header := http.Header{
		"Content-Type":    {"application/json"},
		"Idempotency-Key": {rand.Text()},
	}
	wait := 100 * time.Millisecond
	for attempt := 1; ; attempt++ {
		body, err := c.do(ctx, http.MethodPost, c.url("api", "orders"), header, []byte(`{"count":`+count+`}`))
		if err == nil {
			return parseOrder(body)
		}
		after, again := retryAfter(err, wait)
		deadline, _ := ctx.Deadline()
		if !again || attempt == placeAttempts || time.Until(deadline) < after {
			return order{}, notPlaced(err)
		}
		if attempt == 1 {
			fmt.Fprintf(p.err, "%v (more attempts follow)\n", err)
		}
		if pause(ctx, after) != nil {
			return order{}, notPlaced(err)
		}
		wait *= 2
	}
}

// notPlaced says why no order was placed.
func notPlaced(err error) error {
	var refused *statusError
	if errors.As(err, &refused) && refused.status == http.StatusNotFound {
		return fmt.Errorf("place the order: %w (it takes the main listener of a pizzamill with pizza or ui: give its address to --server)", err)
	}
	return fmt.Errorf("place the order: %w", err)
}

// retryAfter says whether to try again what failed, and after how long.
func retryAfter(err error, wait time.Duration) (time.Duration, bool) {
	var refused *statusError
	if errors.As(err, &refused) {
		return max(wait, refused.after), refused.ExitCode() == exitUnreachable
	}
	var coded *exitError
	return wait, errors.As(err, &coded) && coded.code == exitUnreachable
}

// writeJSON writes one JSON value on one line.
func writeJSON(w io.Writer, body []byte) error {
	var line bytes.Buffer
	if err := json.Compact(&line, body); err != nil {
		return fmt.Errorf("the server's answer is no JSON: %w", err)
	}
	line.WriteByte('\n')
	_, err := w.Write(line.Bytes())
	return err
}
