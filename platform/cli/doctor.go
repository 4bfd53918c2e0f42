package cli

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// verdict on one thing that a line stands on.
type verdict string

const (
	fine   verdict = "ok"
	warn   verdict = "warn"
	failed verdict = "fail"
)

// finding is what doctor found out about one thing.
type finding struct {
	Check   string  `json:"check"`
	Verdict verdict `json:"verdict"`
	Detail  string  `json:"detail"`
	// Remedy says what to do, "" if there is nothing to do.
	Remedy string `json:"remedy,omitempty"`

	unreachable bool
}

// doctor examines a line from outside. It writes nothing anywhere.
type doctor struct {
	*program
	line
	findings []finding

	identity string // of the bus, "" if it cannot be asked
}

func (d *doctor) add(check string, v verdict, remedy, detail string, args ...any) {
	d.findings = append(d.findings, finding{Check: check, Verdict: v, Detail: fmt.Sprintf(detail, args...), Remedy: remedy})
}

// unreachable adds a failure of something that gave no answer.
func (d *doctor) unreachable(check, remedy string, err error) {
	d.findings = append(d.findings, finding{Check: check, Verdict: failed, Detail: "cannot be reached: " + patient(err).Error(), Remedy: remedy, unreachable: true})
}

func (p *program) doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check everything that a line stands on",
		Long: `Checks, one by one: the configuration, the broker with its topics, queues,
groups and consumers and RabbitMQ's management API, the store with its tables,
the ledger's bus and pipeline, the processes that live, the counters against the
rows, the table of processed events, and the clock. It changes nothing, and says
what to do.

Exit codes: 0 if nothing failed, 1 if something did, 3 if the configuration is
bad, 4 if something cannot be reached.`,
		Example: `  pizzamill doctor
  pizzamill doctor --bus kafka
  pizzamill doctor -o json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	busFlag(c)
	output := outputFlag(c, "text", "json")
	c.RunE = interruptible(func(cmd *cobra.Command, _ []string) error {
		l, err := p.loadLine(cmd)
		if err != nil {
			return err
		}
		d := &doctor{program: p, line: l}
		d.examine(cmd.Context())
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		if output.value == "json" {
			err = p.writeValue(struct {
				Verdict verdict   `json:"verdict"`
				Checks  []finding `json:"checks"`
			}{d.verdict(), d.findings})
		} else {
			err = d.write()
		}
		if code := d.exitCode(); err == nil && code != 0 {
			return &exitError{code: code} // what is wrong is on stdout
		}
		return err
	})
	return c
}

func (d *doctor) examine(ctx context.Context) {
	from := "environment and defaults"
	if d.File != "" {
		from = d.File + ", environment and defaults"
	}
	d.add("configuration", fine, "", "%s", from)
	d.examineBus(ctx)
	d.examineStore(ctx)
	d.examineRecords(ctx)
}

// verdict is the worst of all findings.
func (d *doctor) verdict() verdict {
	worst := fine
	for _, f := range d.findings {
		if f.Verdict == failed || worst == fine {
			worst = f.Verdict
		}
		if worst == failed {
			break
		}
	}
	return worst
}

func (d *doctor) exitCode() int {
	code := 0
	for _, f := range d.findings {
		switch {
		case f.unreachable:
			return exitUnreachable
		case f.Verdict == failed:
			code = exitFailure
		}
	}
	return code
}

// write writes a line for each finding, and what to do below it.
func (d *doctor) write() error {
	var b bytes.Buffer
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range d.findings {
		for i, part := range strings.Split(f.Detail, "\n") {
			if i == 0 {
				fmt.Fprintf(table, "%s\t%s\t%s\n", f.Verdict, f.Check, printable(part))
			} else {
				fmt.Fprintf(table, "\t\t  %s\n", printable(part))
			}
		}
		if f.Remedy != "" {
			fmt.Fprintf(table, "\t\t→ %s\n", printable(f.Remedy))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := b.WriteTo(d.out)
	return err
}
