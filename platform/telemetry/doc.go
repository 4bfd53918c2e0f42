// Package telemetry is how a process is watched: structured logs, the same
// for Watermill's own, and Prometheus metrics.
package telemetry
