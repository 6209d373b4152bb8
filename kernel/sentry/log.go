package sentry

import (
	"time"

	"gvisor.dev/gvisor/pkg/log"
)

// discardLog is the target of the Sentry's log unless --verbose is given: the
// console then carries the program's output alone.
type discardLog struct{}

// Emit implements log.Emitter.
func (discardLog) Emit(int, log.Level, time.Time, string, ...any) {}
