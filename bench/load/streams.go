package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// streamsPlan is one measurement of event streams that are open at the same time.
type streamsPlan struct {
	dial     dialer
	address  string
	request  []byte
	count    int
	open     time.Duration // the time over which they are opened, evenly
	settle   time.Duration // the time from then until the measurement begins
	duration time.Duration
	end      string // each event's data must end with it
}

// streamsCommand opens streams, reads their events, and prints "begin" and "end" when the measurement begins and ends, and
// then the time between sending and receiving an event, in the form of generate's latencies.
func streamsCommand(ctx context.Context, arguments []string, out io.Writer) error {
	p, err := parseStreamsPlan(arguments)
	if err != nil {
		return err
	}
	return p.measure(ctx, out)
}

func parseStreamsPlan(arguments []string) (streamsPlan, error) {
	p := streamsPlan{dial: overTheNetwork}
	flags := flag.NewFlagSet("streams", flag.ContinueOnError)
	target := flags.String("url", "", "http://HOST:PORT/PATH?events=N&every=D of an upstream")
	flags.IntVar(&p.count, "streams", 1, "streams that are open at once, each on a connection of its own")
	flags.DurationVar(&p.open, "open", time.Second, "time over which they are opened")
	flags.DurationVar(&p.settle, "settle", time.Second, "time from then until the measurement begins")
	flags.DurationVar(&p.duration, "duration", 4*time.Second, "length of the measurement")
	flags.StringVar(&p.end, "end", eventEnd, "text at the end of each event's data")
	if err := flags.Parse(arguments); err != nil {
		return streamsPlan{}, err
	}
	where, err := url.Parse(*target)
	if err != nil || where.Scheme != "http" || where.Port() == "" || p.count < 1 {
		return streamsPlan{}, fmt.Errorf("expected -url http://HOST:PORT/PATH and -streams ≥ 1, got %q and %d", *target, p.count)
	}
	p.address = where.Host
	p.request = encode(where, []header{{"Accept", "text/event-stream"}}, nil)
	return p, nil
}

func (p streamsPlan) measure(ctx context.Context, out io.Writer) error {
	start := time.Now()
	measured := span{begin: start.Add(p.open + p.settle), end: start.Add(p.open + p.settle + p.duration)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tallies := make([]tally, p.count)
	var running sync.WaitGroup
	for i := range p.count {
		running.Go(func() {
			sleep(ctx, p.open*time.Duration(i)/time.Duration(p.count))
			if err := p.readStream(ctx, measured, &tallies[i]); err != nil && ctx.Err() == nil {
				tallies[i].fail(err)
			}
		})
	}
	err := errors.Join(announce(ctx, out, "begin", measured.begin), announce(ctx, out, "end", measured.end))
	cancel()
	running.Wait()
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(merge(tallies).result(p.duration))
}

// readStream reads one stream until the context ends. A stream that ends earlier is an error.
func (p streamsPlan) readStream(ctx context.Context, measured span, t *tally) error {
	socket, err := p.dial(ctx, "tcp", p.address)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = socket.Close() }()
	defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
	if _, err := socket.Write(p.request); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	response, err := http.ReadResponse(bufio.NewReader(socket), nil)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("expected status 200, got %d", response.StatusCode)
	}
	return p.readEvents(response.Body, measured, t)
}

func (p streamsPlan) readEvents(body io.Reader, measured span, t *tally) error {
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("expected more events: %w", err)
		}
		sent, isEvent, err := eventTime(line, p.end)
		if err != nil {
			return err
		}
		if isEvent {
			t.add(measured, sent, time.Now())
		}
	}
}
