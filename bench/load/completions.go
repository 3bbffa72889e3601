package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// completionsPlan is one measurement of chat completions that a model streams. Requests are due at even distances (an open
// loop), whatever time their answers take.
type completionsPlan struct {
	dial     dialer
	address  string
	request  []byte
	count    int
	open     time.Duration // the time over which they are sent
	begin    time.Duration // the time from the start until the measurement begins
	duration time.Duration
	grace    time.Duration // how long answers may take after the end
	hold     bool          // answers last until the end of the measurement, and are cut there
	tokens   int           // of each answer that is not cut
	mark     string        // what follows the tokens; "": any text

	mu   sync.Mutex
	idle []*keptSocket // connections for the next requests
}

type keptSocket struct {
	net.Conn
	reader *bufio.Reader
}

// completionTally has the times of one answer.
type completionTally struct {
	event, token, whole, late tally
}

// completionsResult is the command's output. Event and token are the times from a request to the first event of its answer
// and to the first text, whole that to its end, and late the time of each token from provider to client. A count of failures
// is in whole.
type completionsResult struct {
	Event result `json:"event"`
	Token result `json:"token"`
	Whole result `json:"whole"`
	Late  result `json:"late"`
}

// completionsCommand prints "begin" and "end" when the measurement begins and ends, and then a completionsResult.
func completionsCommand(ctx context.Context, arguments []string, out io.Writer) error {
	p, err := parseCompletionsPlan(arguments)
	if err != nil {
		return err
	}
	return p.measure(ctx, out)
}

func parseCompletionsPlan(arguments []string) (*completionsPlan, error) {
	p := &completionsPlan{dial: overTheNetwork}
	headers := headerFlag{{"Content-Type", "application/json"}, {"Accept", "text/event-stream"}}
	flags := flag.NewFlagSet("completions", flag.ContinueOnError)
	target := flags.String("url", "", "http://HOST:PORT/PATH")
	text := flags.String("text", "", "each request's body")
	flags.Var(&headers, "header", "header to send, \"Name: value\"; may be repeated")
	flags.IntVar(&p.count, "streams", 1, "requests")
	flags.DurationVar(&p.open, "open", time.Second, "time over which they are sent")
	flags.DurationVar(&p.begin, "begin", time.Second, "time until the measurement begins")
	flags.DurationVar(&p.duration, "duration", 4*time.Second, "length of the measurement")
	flags.DurationVar(&p.grace, "grace", 5*time.Second, "how long answers may take after the end")
	flags.BoolVar(&p.hold, "hold", false, "answers last until the end of the measurement, and are cut there")
	flags.IntVar(&p.tokens, "tokens", 0, "tokens of each answer, unless it is cut")
	flags.StringVar(&p.mark, "mark", "", "text behind the tokens; none: any")
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	where, err := url.Parse(*target)
	if err != nil || where.Scheme != "http" || where.Port() == "" || p.count < 1 || *text == "" {
		return nil, fmt.Errorf("expected -url http://HOST:PORT/PATH, -streams ≥ 1 and -text, got %q, %d and %d bytes",
			*target, p.count, len(*text))
	}
	p.address = where.Host
	p.request = encode(where, headers, []byte(*text))
	return p, nil
}

func (p *completionsPlan) measure(ctx context.Context, out io.Writer) error {
	start := time.Now()
	measured := span{begin: start.Add(p.begin), end: start.Add(p.begin + p.duration)}
	last := measured.end.Add(p.grace)
	if p.hold {
		last = measured.end
	}
	ctx, cancel := context.WithDeadline(ctx, last)
	defer cancel()
	tallies := make([]completionTally, p.count)
	var running sync.WaitGroup
	for i := range p.count {
		running.Go(func() {
			sleep(ctx, time.Until(start.Add(p.open*time.Duration(i)/time.Duration(p.count))))
			err := p.complete(ctx, measured, &tallies[i])
			if err != nil && (!p.hold || ctx.Err() == nil) {
				tallies[i].whole.fail(err)
			}
		})
	}
	err := errors.Join(announce(ctx, out, "begin", measured.begin), announce(ctx, out, "end", measured.end))
	running.Wait()
	p.disconnect()
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(p.summarize(tallies))
}

func (p *completionsPlan) summarize(tallies []completionTally) completionsResult {
	part := func(of func(completionTally) tally) result {
		parts := make([]tally, len(tallies))
		for i, t := range tallies {
			parts[i] = of(t)
		}
		return merge(parts).result(p.duration)
	}
	return completionsResult{
		Event: part(func(t completionTally) tally { return t.event }),
		Token: part(func(t completionTally) tally { return t.token }),
		Whole: part(func(t completionTally) tally { return t.whole }),
		Late:  part(func(t completionTally) tally { return t.late }),
	}
}

// complete sends a request now and reads its answer. Those of held answers count whenever they begin.
func (p *completionsPlan) complete(ctx context.Context, measured span, t *completionTally) error {
	due := time.Now()
	socket, err := p.connect(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = socket.Close() })
	defer stop()
	answer := completionAnswer{plan: p, measured: measured, due: due, tally: t}
	if err := answer.read(socket); err != nil {
		_ = socket.Close()
		return err
	}
	t.whole.add(measured, due, time.Now())
	p.keep(socket)
	return nil
}

func (p *completionsPlan) connect(ctx context.Context) (*keptSocket, error) {
	p.mu.Lock()
	if last := len(p.idle) - 1; last >= 0 {
		socket := p.idle[last]
		p.idle = p.idle[:last]
		p.mu.Unlock()
		return socket, nil
	}
	p.mu.Unlock()
	socket, err := p.dial(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	return &keptSocket{socket, bufio.NewReader(socket)}, nil
}

func (p *completionsPlan) keep(socket *keptSocket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, socket)
}

func (p *completionsPlan) disconnect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, socket := range p.idle {
		_ = socket.Close()
	}
}

// completionAnswer is an answer while it is read.
type completionAnswer struct {
	plan     *completionsPlan
	measured span
	due      time.Time
	tally    *completionTally
	text     []byte // without the tokens that were read
	tokens   int
	events   int
	ended    bool // with [DONE]
}

func (a *completionAnswer) read(socket *keptSocket) error {
	if _, err := socket.Write(a.plan.request); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	response, err := http.ReadResponse(socket.reader, nil)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		return fmt.Errorf("expected status 200, got %d: %s", response.StatusCode, text)
	}
	lines := bufio.NewReader(response.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return a.check()
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if err := a.addLine(line); err != nil {
			return err
		}
	}
}

// addLine reads a line of the answer. An event is one line of data.
func (a *completionAnswer) addLine(line []byte) error {
	data, isEvent := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data: "))
	if !isEvent {
		return nil
	}
	now := time.Now()
	if a.events++; a.events == 1 {
		a.tally.event.add(a.counted(), a.due, now)
	}
	if string(data) == "[DONE]" {
		a.ended = true
		return nil
	}
	var event struct {
		Choices []struct {
			Delta struct {
				Content string `json:"content"`
			} `json:"delta"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(data, &event); err != nil {
		return fmt.Errorf("expected an event of JSON, got %.200q: %w", data, err)
	}
	for _, choice := range event.Choices {
		if err := a.addText(choice.Delta.Content, now); err != nil {
			return err
		}
	}
	return nil
}

// addText reads a piece of the text, which policies may have cut elsewhere than the provider has.
func (a *completionAnswer) addText(piece string, now time.Time) error {
	if piece == "" {
		return nil
	}
	if len(a.text) == 0 && a.tokens == 0 {
		a.tally.token.add(a.counted(), a.due, now)
	}
	a.text = append(a.text, piece...)
	for a.plan.hold || a.tokens < a.plan.tokens {
		a.text = bytes.TrimLeft(a.text, " ")
		if len(a.text) < timeWordLength {
			return nil
		}
		sent, err := timeOfWord(a.text[:timeWordLength])
		if err != nil {
			return err
		}
		a.tally.late.add(a.measured, sent, now)
		a.text = a.text[timeWordLength:]
		a.tokens++
	}
	return nil
}

// counted returns the span in which a request must have been due for its first event to count.
func (a *completionAnswer) counted() span {
	if a.plan.hold {
		return span{end: a.measured.end}
	}
	return a.measured
}

// check returns an error unless the answer has ended as the provider has written it.
func (a *completionAnswer) check() error {
	if a.plan.hold || !a.ended || a.tokens != a.plan.tokens {
		return fmt.Errorf("expected %d tokens and an end, got %d and %t", a.plan.tokens, a.tokens, a.ended)
	}
	if text := string(bytes.TrimSpace(a.text)); a.plan.mark != "" && text != a.plan.mark {
		return fmt.Errorf("expected a text that ends with %q, got %.200q", a.plan.mark, text)
	}
	return nil
}
