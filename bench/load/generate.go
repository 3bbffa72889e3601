package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// pauseAfterBreak is the pause before the next attempt to connect, so that a gateway that refuses gets no storm of them.
const pauseAfterBreak = 10 * time.Millisecond

// generate drives the plan's load. Requests that are due between begin and end are measured; failures count at any time.
func generate(ctx context.Context, p plan, out io.Writer) error {
	start := time.Now()
	span := span{begin: start.Add(p.warmup), end: start.Add(p.warmup + p.duration)}
	ctx, cancel := context.WithDeadline(ctx, span.end)
	defer cancel()
	tallies := make([]tally, p.connections)
	var running sync.WaitGroup
	for i := range p.connections {
		c := &connection{plan: p, span: span, schedule: newSchedule(p, start, i), tally: &tallies[i]}
		running.Go(func() { c.run(ctx) })
	}
	err := errors.Join(announce(ctx, out, "begin", span.begin), announce(ctx, out, "end", span.end))
	running.Wait()
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(merge(tallies).result(p.duration))
}

// announce writes the word at the moment, or when the context ends.
func announce(ctx context.Context, out io.Writer, word string, moment time.Time) error {
	sleep(ctx, time.Until(moment))
	if _, err := fmt.Fprintln(out, word); err != nil {
		return fmt.Errorf("announce the %s: %w", word, err)
	}
	return nil
}

func sleep(ctx context.Context, duration time.Duration) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// connection sends requests, each after the answer to the last, over one keep-alive connection or each over a new one.
type connection struct {
	plan     plan
	span     span
	schedule schedule
	tally    *tally
	socket   net.Conn
	reader   *bufio.Reader
	response fasthttp.Response
}

func (c *connection) run(ctx context.Context) {
	defer c.disconnect()
	for {
		due, ok := c.schedule.next(ctx)
		if !ok || !time.Now().Before(c.span.end) {
			c.tally.unsent += c.schedule.unsent(c.span.end, due)
			return
		}
		c.step(ctx, due)
	}
}

// step does one exchange. Its latency counts from the time at which it was due.
func (c *connection) step(ctx context.Context, due time.Time) {
	if err := c.exchange(ctx); err != nil {
		c.tally.fail(err)
		return
	}
	c.tally.add(c.span, due, time.Now())
}

func (c *connection) exchange(ctx context.Context) error {
	if c.socket == nil {
		if err := c.dial(ctx); err != nil {
			sleep(ctx, pauseAfterBreak)
			return err
		}
	}
	if err := c.roundTrip(); err != nil {
		c.disconnect()
		return err
	}
	if c.plan.anew || c.response.ConnectionClose() {
		c.disconnect()
	}
	return c.check()
}

// dial opens a connection with a deadline at the end of the grace, so that requests that began before the end of the
// measurement may still be answered.
func (c *connection) dial(ctx context.Context) error {
	deadline := c.span.end.Add(c.plan.grace)
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	socket, err := c.plan.dial(ctx, "tcp", c.plan.address)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if c.plan.tls != nil {
		socket = tls.Client(socket, c.plan.tls) // the handshake comes with the first bytes that are sent
	}
	c.socket, c.reader = socket, bufio.NewReader(socket)
	return socket.SetDeadline(deadline)
}

func (c *connection) disconnect() {
	if c.socket != nil {
		_ = c.socket.Close()
		c.socket = nil
	}
}

func (c *connection) roundTrip() error {
	if _, err := c.socket.Write(c.plan.request); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if err := c.response.Read(c.reader); err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	return nil
}

func (c *connection) check() error {
	if status := c.response.StatusCode(); status != fasthttp.StatusOK {
		return fmt.Errorf("expected status 200, got %d: %.200s", status, c.response.Body())
	}
	if err := checkHeaders(c.plan.expect, &c.response.Header); err != nil {
		return err
	}
	if c.plan.mark == "" {
		return nil
	}
	if got := bytes.Count(c.response.Body(), []byte(c.plan.mark)); got != c.plan.marks {
		return fmt.Errorf("expected %q %d times in the body, got it %d times", c.plan.mark, c.plan.marks, got)
	}
	return nil
}
