package main

import (
	"bytes"
	"flag"
	"fmt"
	"net/url"
	"time"
)

// plan is one measurement: what is sent where, for how long, and what must come back.
type plan struct {
	address     string // host:port
	request     []byte // as it goes over the wire
	expect      []header
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
	flags.Float64Var(&p.rate, "rate", 0, "requests per second (an open loop, bounded by the connections); 0: a closed loop")
	flags.DurationVar(&p.warmup, "warmup", time.Second, "load before the measurement begins")
	flags.DurationVar(&p.duration, "duration", 4*time.Second, "length of the measurement")
	flags.DurationVar(&p.grace, "grace", 5*time.Second, "how long an answer may be out after the end")
	flags.Var(&headers, "header", "header to send, \"Name: value\"; may be given many times")
	flags.Var(&expect, "expect", "header that each answer must carry, \"Name: value\"; may be given many times")
	if err := flags.Parse(arguments); err != nil {
		return plan{}, err
	}
	p.expect = expect
	return p.complete(*target, headers)
}

func (p plan) complete(target string, headers []header) (plan, error) {
	where, err := url.Parse(target)
	if err != nil || where.Scheme != "http" || where.Port() == "" {
		return plan{}, fmt.Errorf("-url: expected http://HOST:PORT/PATH, got %q", target)
	}
	if p.connections < 1 || p.duration <= 0 || p.rate < 0 {
		return plan{}, fmt.Errorf("expected -connections ≥ 1, -duration > 0, -rate ≥ 0; got %d, %s, %g", p.connections, p.duration, p.rate)
	}
	p.address = where.Host
	p.request = encode(where, headers)
	return p, nil
}

// encode writes the request once: each connection sends the same bytes.
func encode(where *url.URL, headers []header) []byte {
	var request bytes.Buffer
	fmt.Fprintf(&request, "GET %s HTTP/1.1\r\nHost: %s\r\n", where.RequestURI(), where.Host)
	for _, each := range headers {
		fmt.Fprintf(&request, "%s: %s\r\n", each.name, each.value)
	}
	request.WriteString("\r\n")
	return request.Bytes()
}
