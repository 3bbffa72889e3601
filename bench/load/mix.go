package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// mix is several flows at once to one gateway.
type mix struct {
	Address string            `json:"address"` // host:port
	Flows   []flow            `json:"flows"`
	dial    fasthttp.DialFunc // nil: over the network
}

// flow is an open loop of equal requests.
type flow struct {
	Name        string      `json:"name"`
	Method      string      `json:"method"` // GET
	Path        string      `json:"path"`
	Headers     [][2]string `json:"headers"`     // a rune is a byte, so that any byte can be sent
	Rate        float64     `json:"rate"`        // requests per second
	Connections int         `json:"connections"` // and so many requests under way at most; one due beyond that is not sent
	Seconds     float64     `json:"seconds"`     // until an answer is given up
	Count       int         `json:"count"`       // requests in all; 0: as many as there is time for
}

// mixCommand sends the flows until the context or -duration ends, and writes what became of each request that was due.
func mixCommand(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("mix", flag.ContinueOnError)
	path := flags.String("plan", "", "JSON file: the address and its flows")
	duration := flags.Duration("duration", time.Minute, "when to stop, if nobody says so before")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	planned, err := readMix(*path)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()
	return planned.send(ctx, os.Stdout)
}

func readMix(path string) (mix, error) {
	var planned mix
	content, err := os.ReadFile(path)
	if err != nil {
		return mix{}, fmt.Errorf("-plan: %w", err)
	}
	if err := json.Unmarshal(content, &planned); err != nil {
		return mix{}, fmt.Errorf("-plan %s: %w", path, err)
	}
	for _, f := range planned.Flows {
		if f.Rate <= 0 || f.Connections < 1 || f.Seconds <= 0 {
			return mix{}, fmt.Errorf("-plan %s: flow %q: expected rate > 0, connections ≥ 1, seconds > 0; got %g, %d, %g",
				path, f.Name, f.Rate, f.Connections, f.Seconds)
		}
	}
	return planned, nil
}

// send returns when every request that was sent has its line.
func (m mix) send(ctx context.Context, out io.Writer) error {
	outcomes := newOutcomeLog(out)
	var running sync.WaitGroup
	for _, f := range m.Flows {
		one := &source{flow: f, client: clientOf(m, f), outcomes: outcomes, slots: make(chan struct{}, f.Connections)}
		running.Go(func() { one.run(ctx) })
	}
	running.Wait()
	return outcomes.close()
}

// clientOf tries nothing twice: what a fault costs must be seen.
func clientOf(m mix, f flow) *fasthttp.HostClient {
	limit := time.Duration(f.Seconds * float64(time.Second))
	return &fasthttp.HostClient{
		Addr: m.Address, MaxConns: f.Connections, ReadTimeout: limit, WriteTimeout: limit,
		Dial:                      m.dial,
		MaxIdemponentCallAttempts: 1,
		RetryIfErr:                func(*fasthttp.Request, int, error) (bool, bool) { return false, false },
	}
}

// source is a flow under way.
type source struct {
	flow     flow
	client   *fasthttp.HostClient
	outcomes *outcomeLog
	slots    chan struct{}
	sent     sync.WaitGroup
}

func (s *source) run(ctx context.Context) {
	defer s.client.CloseIdleConnections()
	defer s.sent.Wait()
	times := schedule{due: time.Now(), step: time.Duration(float64(time.Second) / s.flow.Rate)}
	for n := 0; s.flow.Count == 0 || n < s.flow.Count; n++ {
		due, ok := times.next(ctx)
		if !ok {
			return
		}
		select {
		case s.slots <- struct{}{}:
			s.sent.Go(func() { s.exchange(due) })
		default:
			s.outcomes.add(outcome{flow: s.flow.Name, due: due, problem: "unsent"})
		}
	}
}

func (s *source) exchange(due time.Time) {
	defer func() { <-s.slots }()
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	s.fill(request)
	err := s.client.DoTimeout(request, response, time.Duration(s.flow.Seconds*float64(time.Second)))
	s.outcomes.add(outcomeOf(s.flow.Name, due, time.Now(), response, err))
}

func (s *source) fill(request *fasthttp.Request) {
	request.Header.SetMethod(s.flow.Method)
	request.SetRequestURI("http://" + s.client.Addr + s.flow.Path)
	for _, each := range s.flow.Headers {
		request.Header.SetBytesKV(bytesOf(each[0]), bytesOf(each[1]))
	}
}

// bytesOf makes each rune below 256 one byte.
func bytesOf(text string) []byte {
	var content []byte
	for _, each := range text {
		content = append(content, byte(each))
	}
	return content
}

// failureOf says in one word why there was no answer.
func failureOf(err error) string {
	switch {
	case errors.Is(err, fasthttp.ErrTimeout), errors.Is(err, fasthttp.ErrDialTimeout), os.IsTimeout(err):
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	}
	return "broken"
}
