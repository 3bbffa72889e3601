package engine

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/logtest"
)

// newGuest is an engine as Envoy starts it, without what it changes of the process.
func newGuest() (g *guest, exited chan struct{}, log *logtest.Log) {
	exited, log = make(chan struct{}), &logtest.Log{}
	return &guest{register: func(*Registry) {}, stderr: log, set: func(*slog.Logger, *commandLine, int) {},
		exit: func() { close(exited) }}, exited, log
}

func guestArguments(t *testing.T, directory string) []byte {
	t.Helper()
	options := optionsIn(t, directory, `{"version":1,"policies":[]}`)
	arguments, err := json.Marshal([]string{"--manifest", options.Manifest, "--node-id", options.NodeID, "--state-dir", options.StateDir,
		"--ext-proc", options.ExtProc, "--xds", options.XDS, "--admin", options.Admin})
	if err != nil {
		t.Fatal(err)
	}
	return arguments
}

// TestAGuestServesFromItsStartToItsStop: Envoy asks for its configuration as soon as Start has returned.
func TestAGuestServesFromItsStartToItsStop(t *testing.T) {
	g, exited, log := newGuest()
	directory := t.TempDir()
	module, err := g.Start(guestArguments(t, directory), 2)
	if err != nil || module == nil {
		t.Fatalf("expected a module, got %v, %v", module, err)
	}
	connection, err := (&net.Dialer{}).DialContext(t.Context(), "unix", directory+"/xds")
	if err != nil {
		t.Fatal(err)
	}
	_ = connection.Close()
	g.Stop()
	select {
	case <-exited:
		t.Errorf("expected that Envoy ends the process, but the engine does:\n%s", log)
	default:
	}
	if _, err := (&net.Dialer{}).DialContext(t.Context(), "unix", directory+"/xds"); err == nil {
		t.Error("expected no server behind Stop")
	}
}

// TestAGuestThatEndsByItselfEndsTheProcess, and says so.
func TestAGuestThatEndsByItselfEndsTheProcess(t *testing.T) {
	g, exited, log := newGuest()
	if _, err := g.Start(guestArguments(t, t.TempDir()), 2); err != nil {
		t.Fatal(err)
	}
	g.stop()
	await.Receive(t, exited, "the end of the process")
	if !strings.Contains(log.String(), "the engine stops, and Envoy with it") {
		t.Errorf("expected the reason in the log, got %s", log)
	}
}

// TestAGuestThatCannotStartSaysWhy: Envoy logs the error, and does not start.
func TestAGuestThatCannotStartSaysWhy(t *testing.T) {
	for arguments, want := range map[string]string{
		"--help":     `extension_config of the bootstrap: expected a JSON list of the engine's arguments, got "--help"`,
		`["--help"]`: "extension_config of the bootstrap: expected no --help",
		`["--nope"]`: "flag provided but not defined: -nope",
		`[]`:         "--manifest: expected a value, got none",
	} {
		g, _, _ := newGuest()
		if module, err := g.Start([]byte(arguments), 2); module != nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: expected %q, got %v", arguments, want, err)
		}
	}
}
