// Package logtest collects the log of a component in a test.
package logtest

import (
	"bytes"
	"strings"
	"sync"
)

// Log is a log that a test may read while it is written. The zero value is empty and ready.
type Log struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (l *Log) Write(line []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(line)
}

// String returns all that has been written.
func (l *Log) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

// Count returns how often text has been written.
func (l *Log) Count(text string) int { return strings.Count(l.String(), text) }
