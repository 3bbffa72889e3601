package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// plan is one measurement: its address and request, how long and how often it is sent, and the answer that must come back.
type plan struct {
	dial        dialer
	address     string // host:port
	request     []byte // as it goes over the wire
	expect      []header
	mark        string // a text that each answer's body must contain marks times; "": the body is not checked
	marks       int
	anew        bool        // each request has a connection, and with TLS a whole handshake, of its own
	tls         *tls.Config // nil: in clear
	connections int
	rate        float64 // requests per second over all connections; 0: a closed loop
	warmup      time.Duration
	duration    time.Duration
	grace       time.Duration // how long answers may take after the end
}

func parsePlan(arguments []string) (plan, error) {
	p := plan{dial: overTheNetwork}
	var headers, expect headerFlag
	flags := flag.NewFlagSet("generate", flag.ContinueOnError)
	target := flags.String("url", "", "http://HOST:PORT/PATH, or https")
	authority := flags.String("authority", "", "for https: a PEM file with the certificate authority")
	flags.BoolVar(&p.anew, "anew", false, "a new connection for each request")
	flags.IntVar(&p.connections, "connections", 1, "connections, each with one request under way")
	body := flags.Int("body", 0, "bytes of each request's body; 0: a GET, without one")
	text := flags.String("text", "", "each request's body, in the place of one of -body bytes")
	flags.Float64Var(&p.rate, "rate", 0, "requests per second (an open loop, bounded by the connections); 0: a closed loop")
	flags.DurationVar(&p.warmup, "warmup", time.Second, "load before the measurement begins")
	flags.DurationVar(&p.duration, "duration", 4*time.Second, "length of the measurement")
	flags.DurationVar(&p.grace, "grace", 5*time.Second, "how long answers may take after the end")
	flags.Var(&headers, "header", "header to send, \"Name: value\"; may be repeated")
	flags.Var(&expect, "expect", "header that each answer must carry, \"Name: value\"; may be repeated")
	flags.StringVar(&p.mark, "mark", "", "a text that each answer's body must contain -marks times; none: the body is not checked")
	flags.IntVar(&p.marks, "marks", 0, "how many times the body must contain -mark")
	if err := flags.Parse(arguments); err != nil {
		return plan{}, err
	}
	p.expect = expect
	p, err := p.complete(*target, headers, *body, *text)
	if err != nil {
		return plan{}, err
	}
	return p.withTLS(*target, *authority)
}

// withTLS returns the plan with TLS if the URL is one of https. Sessions are not resumed.
func (p plan) withTLS(target, authority string) (plan, error) {
	if !strings.HasPrefix(target, "https:") {
		return p, nil
	}
	file, err := os.ReadFile(authority)
	if err != nil {
		return plan{}, fmt.Errorf("-authority: expected a PEM file for https: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(file) {
		return plan{}, fmt.Errorf("-authority: expected certificates in PEM, got none in %s", authority)
	}
	host, _, err := net.SplitHostPort(p.address)
	if err != nil {
		return plan{}, fmt.Errorf("-url: %w", err)
	}
	p.tls = &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	return p, nil
}

func (p plan) complete(target string, headers []header, body int, text string) (plan, error) {
	where, err := url.Parse(target)
	if err != nil || where.Scheme != "http" && where.Scheme != "https" || where.Port() == "" {
		return plan{}, fmt.Errorf("-url: expected http://HOST:PORT/PATH or https, got %q", target)
	}
	if p.connections < 1 || p.duration <= 0 || p.rate < 0 || body < 0 {
		return plan{}, fmt.Errorf("expected -connections ≥ 1, -duration > 0, -rate ≥ 0, -body ≥ 0; got %d, %s, %g, %d",
			p.connections, p.duration, p.rate, body)
	}
	p.address = where.Host
	content := []byte(text)
	if text == "" {
		content = jsonString(body)
	}
	p.request = encode(where, headers, content)
	return p, nil
}

// encode returns the request as each connection sends it.
func encode(where *url.URL, headers []header, body []byte) []byte {
	var request bytes.Buffer
	fmt.Fprintf(&request, "%s %s HTTP/1.1\r\nHost: %s\r\n", methodFor(len(body)), where.RequestURI(), where.Host)
	for _, h := range headers {
		fmt.Fprintf(&request, "%s: %s\r\n", h.name, h.value)
	}
	if len(body) > 0 {
		fmt.Fprintf(&request, "Content-Length: %d\r\n", len(body))
	}
	request.WriteString("\r\n")
	request.Write(body)
	return request.Bytes()
}

// jsonString returns a JSON string of size bytes with its quotes, for policies that parse JSON.
func jsonString(size int) []byte {
	body := bytes.Repeat([]byte{'x'}, size)
	if size > 1 {
		body[0], body[size-1] = '"', '"'
	}
	return body
}

func methodFor(body int) string {
	if body > 0 {
		return http.MethodPost
	}
	return http.MethodGet
}
