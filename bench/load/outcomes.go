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

// flushEvery is how old a line may be before a reader sees it.
const flushEvery = 50 * time.Millisecond

// outcome is what became of one request.
type outcome struct {
	flow       string
	due        time.Time
	took       time.Duration // from when it was due
	status     int           // 0: no answer
	problem    string        // the problem's detail; "bare" for an error without one; without an answer: why
	retryAfter string
}

// problem is what the gateway's own answers hold (RFC 9457).
type problem struct {
	Title     string `json:"title"`
	Detail    string `json:"detail"`
	RequestID string `json:"requestId"`
}

func outcomeOf(flow string, due, now time.Time, response *fasthttp.Response, err error) outcome {
	made := outcome{flow: flow, due: due, took: now.Sub(due)}
	if err != nil {
		made.problem = failureOf(err)
		return made
	}
	made.status = response.StatusCode()
	made.retryAfter = string(response.Header.Peek("Retry-After"))
	if made.status >= fasthttp.StatusBadRequest {
		made.problem = problemOf(response)
	}
	return made
}

// problemOf is "bare" unless the answer has all that the gateway promises of its errors.
func problemOf(response *fasthttp.Response) string {
	var found problem
	if string(response.Header.ContentType()) != "application/problem+json" || json.Unmarshal(response.Body(), &found) != nil {
		return fmt.Sprintf("bare: %.80q", response.Body())
	}
	if found.RequestID == "" || found.Title == "" {
		return fmt.Sprintf("bare: %.80q", response.Body())
	}
	if found.Detail == "" {
		return found.Title
	}
	return found.Detail
}

// outcomeLog writes a line for each outcome as it comes, whole, from one goroutine at a time.
type outcomeLog struct {
	mu     sync.Mutex
	out    *bufio.Writer
	err    error
	ended  chan struct{}
	closed sync.WaitGroup
}

func newOutcomeLog(out io.Writer) *outcomeLog {
	l := &outcomeLog{out: bufio.NewWriter(out), ended: make(chan struct{})}
	l.closed.Go(l.flushNowAndThen)
	return l
}

func (l *outcomeLog) flushNowAndThen() {
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
func (l *outcomeLog) add(one outcome) {
	detail := strings.NewReplacer("\t", " ", "\n", " ").Replace(one.problem)
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := fmt.Fprintf(l.out, "%s\t%.6f\t%.6f\t%d\t%s\t%s\n",
		one.flow, float64(one.due.UnixMicro())/1e6, one.took.Seconds(), one.status, one.retryAfter, detail)
	l.err = errors.Join(l.err, err)
}

// close returns the first thing that went wrong in writing.
func (l *outcomeLog) close() error {
	close(l.ended)
	l.closed.Wait()
	l.flush()
	if l.err != nil {
		return fmt.Errorf("write what became of the requests: %w", l.err)
	}
	return nil
}
