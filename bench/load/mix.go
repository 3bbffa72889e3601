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
	Headers     [][2]string `json:"headers"`     // each rune stands for one byte, so that any byte can be sent
	Rate        float64     `json:"rate"`        // requests per second
	Connections int         `json:"connections"` // the most requests under way; one that is due beyond that is not sent
	Seconds     float64     `json:"seconds"`     // the timeout of each request
	Count       int         `json:"count"`       // the number of requests; 0: as many as fit into the time
	Retries     int         `json:"retries"`     // how often a request is sent again whose connection broke
}

// retryPause is the wait before the first retry of a request; each further one waits longer by as much.
const retryPause = 50 * time.Millisecond

// mixCommand sends the flows until the context or -duration ends, and writes the outcome of each request that was due.
func mixCommand(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("mix", flag.ContinueOnError)
	path := flags.String("plan", "", "JSON file: the address and its flows")
	duration := flags.Duration("duration", time.Minute, "when to stop, unless a signal comes before")
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

// send runs all flows, and returns when each request that was sent has its line.
func (m mix) send(ctx context.Context, out io.Writer) error {
	outcomes := newOutcomeLog(out)
	var running sync.WaitGroup
	for _, f := range m.Flows {
		runner := &flowRunner{flow: f, client: newClient(m, f), outcomes: outcomes, slots: make(chan struct{}, f.Connections)}
		running.Go(func() { runner.run(ctx) })
	}
	running.Wait()
	return outcomes.close()
}

// newClient returns a client that retries no more than the flow says, so that each failure is counted.
func newClient(m mix, f flow) *fasthttp.HostClient {
	limit := time.Duration(f.Seconds * float64(time.Second))
	return &fasthttp.HostClient{
		Addr: m.Address, MaxConns: f.Connections, ReadTimeout: limit, WriteTimeout: limit,
		Dial:                      m.dial,
		MaxIdemponentCallAttempts: 1 + f.Retries,
		RetryIfErr: func(_ *fasthttp.Request, attempts int, _ error) (bool, bool) {
			time.Sleep(time.Duration(attempts) * retryPause)
			return false, true
		},
	}
}

// flowRunner sends the requests of a flow.
type flowRunner struct {
	flow     flow
	client   *fasthttp.HostClient
	outcomes *outcomeLog
	slots    chan struct{}
	sent     sync.WaitGroup
}

func (r *flowRunner) run(ctx context.Context) {
	defer r.client.CloseIdleConnections()
	defer r.sent.Wait()
	times := schedule{due: time.Now(), step: time.Duration(float64(time.Second) / r.flow.Rate)}
	for n := 0; r.flow.Count == 0 || n < r.flow.Count; n++ {
		due, ok := times.next(ctx)
		if !ok {
			return
		}
		select {
		case r.slots <- struct{}{}:
			r.sent.Go(func() { r.exchange(due) })
		default:
			r.outcomes.add(outcome{flow: r.flow.Name, due: due, problem: "unsent"})
		}
	}
}

func (r *flowRunner) exchange(due time.Time) {
	defer func() { <-r.slots }()
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	r.fill(request)
	err := r.client.DoTimeout(request, response, time.Duration(r.flow.Seconds*float64(time.Second)))
	r.outcomes.add(newOutcome(r.flow.Name, due, time.Now(), response, err))
}

func (r *flowRunner) fill(request *fasthttp.Request) {
	request.Header.SetMethod(r.flow.Method)
	request.SetRequestURI("http://" + r.client.Addr + r.flow.Path)
	for _, header := range r.flow.Headers {
		request.Header.SetBytesKV(bytesOf(header[0]), bytesOf(header[1]))
	}
}

// bytesOf returns one byte for each rune, which must be below 256.
func bytesOf(text string) []byte {
	var content []byte
	for _, char := range text {
		content = append(content, byte(char))
	}
	return content
}

// failureOf returns one word for why there was no answer.
func failureOf(err error) string {
	switch {
	case errors.Is(err, fasthttp.ErrTimeout), errors.Is(err, fasthttp.ErrDialTimeout), os.IsTimeout(err):
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	}
	return "broken"
}
