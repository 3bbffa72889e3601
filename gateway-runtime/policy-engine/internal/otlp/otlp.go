// Package otlp has the parts that exporters of traces and of log lines share: the URL and the connection of a collector.
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

// Timeout limits the sending of one message.
const Timeout = 10 * time.Second

// reconnect limits the wait before a lost collector is tried again: gRPC's default grows to two minutes.
var reconnect = backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 10 * time.Second}

// Reconnect returns the option that reconnects soon after a collector was down.
func Reconnect() grpc.DialOption {
	return grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: Timeout})
}

// Credentials returns the credentials of a connection over gRPC: TLS by the system's authorities, or plain text.
func Credentials(tls bool) credentials.TransportCredentials {
	if tls {
		return credentials.NewTLS(nil)
	}
	return insecure.NewCredentials()
}

// URL returns where a collector receives a signal, "traces" or "logs", over HTTP: OTLP's default path, unless the
// collector's URL has one. https://opentelemetry.io/docs/specs/otlp/#otlphttp-request
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
