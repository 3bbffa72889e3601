package gateway_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/backoff"
	"gatewright.dev/policy-engine/internal/certificates/certificatestest"
	"gatewright.dev/policy-engine/internal/node/gateway"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/node/transient"
	"gatewright.dev/policy-engine/internal/xds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scriptedEnvoy refuses the listener "bad", and does not answer while it is away.
type scriptedEnvoy struct {
	away bool
	sent []string // the names of the listeners of each update
}

func (e *scriptedEnvoy) SetSecrets(context.Context, xds.Resources) error {
	if e.away {
		return xds.ErrNoEnvoy
	}
	return nil
}

func (e *scriptedEnvoy) SetListeners(_ context.Context, listeners xds.Resources) error {
	names := slices.Sorted(maps.Keys(listeners))
	e.sent = append(e.sent, strings.Join(names, " "))
	switch {
	case e.away:
		return xds.ErrNoEnvoy
	case slices.Contains(names, "bad"):
		return &xds.RefusedError{TypeURL: xds.ListenerType, Reason: "a bad listener"}
	}
	return nil
}

// message is a Gateway with one listener.
func message(t *testing.T, digest, listener string) *nodev1.Gateway {
	t.Helper()
	text, err := proto.Marshal(&listenerv3.Listener{Name: listener, FilterChains: []*listenerv3.FilterChain{{}},
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 8000}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return &nodev1.Gateway{Digest: digest, Listeners: [][]byte{text}}
}

func newState(t *testing.T, envoy *scriptedEnvoy, directory string, file *nodev1.Gateway) *gateway.State {
	t.Helper()
	state, err := statedir.Open(directory)
	if err != nil {
		t.Fatal(err)
	}
	s := gateway.New(gateway.Options{File: file, Directory: state, Envoy: envoy, Acknowledge: time.Second, Watch: time.Second,
		Retry: backoff.Doubling{First: time.Second, Longest: time.Second}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	t.Cleanup(s.Close)
	return s
}

// expect compares an outcome with "committed DIGEST" and "REVISION DIGEST STATE REASON" for each report.
func expect(t *testing.T, outcome gateway.Outcome, want ...string) {
	t.Helper()
	var got []string
	if outcome.Committed != nil {
		got = append(got, "committed "+outcome.Committed.GetDigest())
	}
	for _, report := range outcome.Reports {
		status := report.GetGateway()
		line := fmt.Sprintf("%d %s %s %s", report.GetRevision(), status.GetDigest(), strings.TrimPrefix(status.GetState().String(), "STATE_"), status.GetReason())
		got = append(got, strings.TrimSpace(line))
	}
	if !slices.Equal(got, want) {
		t.Errorf("expected %q, got %q", want, got)
	}
}

func expectServed(t *testing.T, s *gateway.State, digest, state string) {
	t.Helper()
	if stats := s.View().Stats; stats.Digest != digest || stats.State != state {
		t.Errorf("expected %q, %q, got %+v", digest, state, stats)
	}
}

func TestAnAcceptedGatewayIsCommittedThenReported(t *testing.T) {
	s := newState(t, &scriptedEnvoy{}, t.TempDir(), nil)
	expectServed(t, s, "", "")
	expect(t, s.Apply(t.Context(), message(t, "one", "http"), 1, nil), "committed one", "1 one APPLIED")
	expect(t, s.Apply(t.Context(), message(t, "one", "http"), 2, nil), "2 one APPLIED")
	expectServed(t, s, "one", "applied")
}

func TestARefusedGatewayLeavesThePreviousOne(t *testing.T) {
	envoy := &scriptedEnvoy{}
	s := newState(t, envoy, t.TempDir(), nil)
	s.Apply(t.Context(), message(t, "one", "http"), 1, nil)
	expect(t, s.Apply(t.Context(), message(t, "two", "bad"), 2, nil), "2 two REJECTED refused by Envoy: a bad listener")
	expectServed(t, s, "one", "rejected")
	if want := []string{"http", "bad", "http"}; !slices.Equal(envoy.sent, want) || s.NextRetry(time.Now()) != time.Hour {
		t.Errorf("expected %q without a retry, got %q", want, envoy.sent)
	}
}

func TestWithoutAnEnvoyTheNextOneDecides(t *testing.T) {
	envoy := &scriptedEnvoy{}
	s := newState(t, envoy, t.TempDir(), nil)
	s.Apply(t.Context(), message(t, "one", "http"), 1, nil)
	envoy.away = true
	expect(t, s.Apply(t.Context(), message(t, "two", "other"), 2, nil), "committed two")
	expectServed(t, s, "one", "applied")
	envoy.away = false
	expect(t, s.Confirm(t.Context()), "2 two APPLIED")
	expectServed(t, s, "two", "applied")

	envoy.away = true
	expect(t, s.Apply(t.Context(), message(t, "three", "bad"), 3, nil), "committed three")
	envoy.away = false
	expect(t, s.Confirm(t.Context()), "committed two", "3 three REJECTED refused by Envoy: a bad listener")
	expectServed(t, s, "two", "rejected")
	expect(t, s.Confirm(t.Context()))
}

func TestAGatewayWithoutASecretInUseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newState(t, &scriptedEnvoy{}, t.TempDir(), nil)
		uses := []gateway.Use{{API: "orders", Secret: "certificate/web"}}
		expect(t, s.Apply(t.Context(), message(t, "one", "http"), 1, uses),
			`1 one PENDING expected "certificate/web", which the upstream of API orders names, got a Gateway without it`)
		if wait := s.NextRetry(time.Now()); wait != time.Second {
			t.Errorf("expected a retry after a second, got %s", wait)
		}
		expect(t, s.Retry(t.Context(), nil)) // it is not due yet
		time.Sleep(time.Second)
		expect(t, s.Retry(t.Context(), uses)) // the reason is the same
		time.Sleep(time.Second)
		expect(t, s.Retry(t.Context(), nil), "committed one", "1 one APPLIED")
	})
}

func TestTheStoredGatewayIsRestoredWhileItsFileIsTheSame(t *testing.T) {
	directory := t.TempDir()
	first := newState(t, &scriptedEnvoy{}, directory, message(t, "file", "own"))
	expect(t, first.Restore(t.Context()), "committed file")
	expectServed(t, first, "", "")
	first.Apply(t.Context(), message(t, "controllers", "http"), 1, nil)
	expect(t, newState(t, &scriptedEnvoy{away: true}, directory, message(t, "file", "own")).Restore(t.Context()), "committed controllers")
	expect(t, newState(t, &scriptedEnvoy{away: true}, directory, message(t, "other", "own")).Restore(t.Context()), "committed other")
	expect(t, newState(t, &scriptedEnvoy{}, t.TempDir(), nil).Restore(t.Context()))
}

func TestABundlesSecretsMustBeThereAndReadable(t *testing.T) {
	folder := t.TempDir()
	s := newState(t, &scriptedEnvoy{}, t.TempDir(), nil)
	bundle := &xds.Bundle{Secrets: []string{"certificate/web"}}
	if err := s.MissingSecrets(bundle); err == nil || transient.Is(err) {
		t.Errorf("expected a permanent error without a Gateway, got %v", err)
	}
	issued := certificatestest.NewAuthority(t, "ca").Issue("web.example")
	paths := certificatestest.Write(t, folder, map[string][]byte{"chain": issued.Chain, "key": issued.Key})
	named := message(t, "one", "http")
	named.Certificates = []*nodev1.Certificate{{Name: "web", CertificateFile: paths["chain"], KeyFile: filepath.Join(folder, "none")}}
	reports := s.Apply(t.Context(), named, 1, nil).Reports
	if len(reports) != 1 || reports[0].GetGateway().GetState() != nodev1.ApiStatus_STATE_PENDING {
		t.Errorf("expected a Gateway without its key to wait, got %v", reports)
	}
	named.Certificates[0].KeyFile = paths["key"]
	expect(t, s.Apply(t.Context(), named, 2, nil), "committed one", "2 one APPLIED")
	if err := s.MissingSecrets(bundle); err != nil {
		t.Errorf("expected the certificate to be there, got %v", err)
	}
	if view := s.View(); len(view.Expiries) != 1 || view.Stats.Obstacle() != "" {
		t.Errorf("got %+v", view)
	}
}
