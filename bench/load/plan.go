package main

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// plan is one measurement: what is sent where, for how long, and what must come back.
type plan struct {
	address     string // host:port
	request     []byte // as it goes over the wire
	expect      []header
	mark        string // that each answer's body has so many times; "": whatever it has
	marks       int
	connections int
	rate        float64 // requests per second over all connections; 0: a closed loop
	warmup      time.Duration
	duration    time.Duration
	grace       time.Duration // how long answers may be out after the end
}

func parsePlan(arguments []string) (plan, error) {
	var p plan
	var headers, expect headerFlag
	flags := flag.NewFlagSet("generate", flag.ContinueOnError)
	target := flags.String("url", "", "http://HOST:PORT/PATH")
	flags.IntVar(&p.connections, "connections", 1, "connections, each with one request under way")
	body := flags.Int("body", 0, "bytes of each request's body; 0: a GET, without one")
	flags.Float64Var(&p.rate, "rate", 0, "requests per second (an open loop, bounded by the connections); 0: a closed loop")
	flags.DurationVar(&p.warmup, "warmup", time.Second, "load before the measurement begins")
	flags.DurationVar(&p.duration, "duration", 4*time.Second, "length of the measurement")
	flags.DurationVar(&p.grace, "grace", 5*time.Second, "how long an answer may be out after the end")
	flags.Var(&headers, "header", "header to send, \"Name: value\"; may be given many times")
	flags.Var(&expect, "expect", "header that each answer must carry, \"Name: value\"; may be given many times")
	flags.StringVar(&p.mark, "mark", "", "what each answer's body has -marks times; none: whatever it has")
	flags.IntVar(&p.marks, "marks", 0, "how many times")
	if err := flags.Parse(arguments); err != nil {
		return plan{}, err
	}
	p.expect = expect
	return p.complete(*target, headers, *body)
}

func (p plan) complete(target string, headers []header, body int) (plan, error) {
	where, err := url.Parse(target)
	if err != nil || where.Scheme != "http" || where.Port() == "" {
		return plan{}, fmt.Errorf("-url: expected http://HOST:PORT/PATH, got %q", target)
	}
	if p.connections < 1 || p.duration <= 0 || p.rate < 0 || body < 0 {
		return plan{}, fmt.Errorf("expected -connections ≥ 1, -duration > 0, -rate ≥ 0, -body ≥ 0; got %d, %s, %g, %d",
			p.connections, p.duration, p.rate, body)
	}
	p.address = where.Host
	p.request = encode(where, headers, body)
	return p, nil
}

// encode writes the request once: each connection sends the same bytes.
func encode(where *url.URL, headers []header, body int) []byte {
	var request bytes.Buffer
	fmt.Fprintf(&request, "%s %s HTTP/1.1\r\nHost: %s\r\n", methodFor(body), where.RequestURI(), where.Host)
	for _, each := range headers {
		fmt.Fprintf(&request, "%s: %s\r\n", each.name, each.value)
	}
	if body > 0 {
		fmt.Fprintf(&request, "Content-Length: %d\r\n", body)
	}
	request.WriteString("\r\n")
	request.Write(bytes.Repeat([]byte{'x'}, body))
	return request.Bytes()
}

func methodFor(body int) string {
	if body > 0 {
		return http.MethodPost
	}
	return http.MethodGet
}
