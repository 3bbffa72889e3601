// Package otlp is what exporters of traces and of log lines have in common: how a collector is found and reached.
package otlp

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Timeout is how long one message may take.
const Timeout = 10 * time.Second

// reconnect is how soon a collector is looked for again that was away: gRPC's own goes up to two minutes.
var reconnect = backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 10 * time.Second}

// Reconnect has a connection be made anew soon after a collector was away.
func Reconnect() grpc.DialOption {
	return grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: Timeout})
}

// Credentials are those of a connection over gRPC: TLS by the authorities of the system, or in clear.
func Credentials(tls bool) credentials.TransportCredentials {
	if tls {
		return credentials.NewTLS(nil)
	}
	return insecure.NewCredentials()
}

// URL is where a collector takes a signal, "traces" or "logs", over HTTP: at the path that OTLP has for it, unless the
// collector's URL has one of its own. https://opentelemetry.io/docs/specs/otlp/#otlphttp-request
func URL(collector, signal string) (string, error) {
	to, err := url.Parse(collector)
	if err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		return "", fmt.Errorf("collector: expected http://HOST:PORT or https://HOST:PORT, got %q", collector)
	}
	if strings.Trim(to.Path, "/") == "" {
		to.Path = "/v1/" + signal
	}
	return to.String(), nil
}
