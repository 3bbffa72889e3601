package otlp_test

import (
	"testing"

	"gatewright.dev/policy-engine/internal/otlp"
)

func TestURLs(t *testing.T) {
	for collector, want := range map[string]string{
		"http://c:4318": "http://c:4318/v1/logs", "https://c/": "https://c/v1/logs", "http://c/own/logs?a=b": "http://c/own/logs?a=b",
		"http://c?a=b": "http://c/v1/logs?a=b", "c:4318": "", "ftp://c": "", "http://": "", "": "", "http://\x7f": "",
	} {
		got, err := otlp.URL(collector, "logs")
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: expected %q, got %q, %v", collector, want, got, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	for tls, want := range map[bool]string{true: "tls", false: "insecure"} {
		if got := otlp.Credentials(tls).Info().SecurityProtocol; got != want {
			t.Errorf("expected %s, got %s", want, got)
		}
	}
}
