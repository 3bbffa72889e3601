package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// flushEvery is the longest time that a line waits before a reader sees it.
const flushEvery = 50 * time.Millisecond

// outcome is the result of one request.
type outcome struct {
	flow       string
	due        time.Time
	took       time.Duration // since it was due
	status     int           // 0: no answer
	problem    string        // the problem's detail; "bare" and the body for an error without one; without an answer, the reason
	retryAfter string
}

// problem is the body of the gateway's own answers (RFC 9457).
type problem struct {
	Title     string `json:"title"`
	Detail    string `json:"detail"`
	RequestID string `json:"requestId"`
}

func newOutcome(flow string, due, now time.Time, response *fasthttp.Response, err error) outcome {
	o := outcome{flow: flow, due: due, took: now.Sub(due)}
	if err != nil {
		o.problem = failureOf(err)
		return o
	}
	o.status = response.StatusCode()
	o.retryAfter = string(response.Header.Peek("Retry-After"))
	if o.status >= fasthttp.StatusBadRequest {
		o.problem = problemOf(response)
	}
	return o
}

// problemOf returns the problem's detail or title, or "bare" and the body if the answer lacks a member of the gateway's errors.
func problemOf(response *fasthttp.Response) string {
	var body problem
	if string(response.Header.ContentType()) != "application/problem+json" || json.Unmarshal(response.Body(), &body) != nil {
		return fmt.Sprintf("bare: %.80q", response.Body())
	}
	if body.RequestID == "" || body.Title == "" {
		return fmt.Sprintf("bare: %.80q", response.Body())
	}
	if body.Detail == "" {
		return body.Title
	}
	return body.Detail
}

// outcomeLog writes one line for each outcome. It may be used by several goroutines.
type outcomeLog struct {
	mu     sync.Mutex
	out    *bufio.Writer
	err    error
	ended  chan struct{}
	closed sync.WaitGroup
}

func newOutcomeLog(out io.Writer) *outcomeLog {
	l := &outcomeLog{out: bufio.NewWriter(out), ended: make(chan struct{})}
	l.closed.Go(l.flushRegularly)
	return l
}

func (l *outcomeLog) flushRegularly() {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-l.ended:
			return
		case <-ticker.C:
			l.flush()
		}
	}
}

func (l *outcomeLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, l.out.Flush())
}

// add writes: flow, due (Unix seconds), took (seconds), status, Retry-After, problem; between tabs.
func (l *outcomeLog) add(o outcome) {
	detail := strings.NewReplacer("\t", " ", "\n", " ").Replace(o.problem)
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := fmt.Fprintf(l.out, "%s\t%.6f\t%.6f\t%d\t%s\t%s\n",
		o.flow, float64(o.due.UnixMicro())/1e6, o.took.Seconds(), o.status, o.retryAfter, detail)
	l.err = errors.Join(l.err, err)
}

// close flushes the last lines, and returns all errors of writing.
func (l *outcomeLog) close() error {
	close(l.ended)
	l.closed.Wait()
	l.flush()
	if l.err != nil {
		return fmt.Errorf("write the outcomes: %w", l.err)
	}
	return nil
}
