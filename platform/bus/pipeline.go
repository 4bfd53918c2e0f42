package bus

import "fmt"

// PipelineError says that the bus carries another pipeline, whose topics,
// groups and records would mix with those of this one. Waiting does not help.
type PipelineError struct {
	Bus        string // identity
	Have, Want string // stages, comma-separated
	// Marker is what says so on the broker, as the broker names it; "" if it is
	// the ledger that does.
	Marker string
}

func (e *PipelineError) Error() string {
	text := fmt.Sprintf("bus %s belongs to the pipeline %s, and [pipeline] stages is %s; another pipeline needs another [bus] prefix",
		e.Bus, e.Have, e.Want)
	if e.Marker != "" {
		text += fmt.Sprintf(" (the broker has it from the %s; remove that only if the other line is gone for good, with what it left)", e.Marker)
	}
	return text
}

// Unwrap makes what the broker says a *ConflictError too: the marker is one more
// thing there that differs beyond repair.
func (e *PipelineError) Unwrap() error {
	if e.Marker == "" {
		return nil
	}
	return &ConflictError{What: "the " + e.Marker, Have: "the pipeline " + e.Have, Want: e.Want}
}
