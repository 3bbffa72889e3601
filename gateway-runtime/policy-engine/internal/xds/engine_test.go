package xds_test

import (
	"fmt"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/gen/envoynames"
	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/xds"
)

// TestRoutesGoToTheEngineWhereItRuns: only inside Envoy, and only where no body is wanted, by the engine's own filter.
func TestRoutesGoToTheEngineWhereItRuns(t *testing.T) {
	headers := bound(t, aChain, wants("R", "r"), sends("SEND NONE SKIP SEND NONE SKIP", ""))
	body := bound(t, aChain, wants("R", "b"), sends("SEND NONE SKIP SEND FULL_DUPLEX_STREAMED SEND", ""))
	for _, c := range []struct {
		message *nodev1.ApiBundle
		engine  xds.Engine
		filter  string
	}{
		{headers, xds.ExtProc, envoynames.ExtProcFilter}, {body, xds.ExtProc, envoynames.ExtProcFilter},
		{headers, xds.InEnvoy, envoynames.EngineFilter}, {body, xds.InEnvoy, envoynames.ExtProcFilter},
	} {
		parsed, err := xds.ParseBundle(c.message, c.engine)
		must(t, err)
		text := string(compose(t, parsed).Text())
		for _, name := range []string{envoynames.ExtProcFilter, envoynames.EngineFilter} {
			if strings.Contains(text, name) != (name == c.filter) {
				t.Errorf("expected %s alone, got %q", c.filter, text)
			}
		}
	}
}

// TestListenersHaveTheEnginesFilterWhereItRunsInEnvoy, and are a version of their own.
func TestListenersHaveTheEnginesFilterWhereItRunsInEnvoy(t *testing.T) {
	text := listener(t, "http", 1, "")
	versions := map[string]bool{}
	for _, engine := range []xds.Engine{xds.ExtProc, xds.InEnvoy} {
		gateway, err := xds.ParseGateway(&nodev1.Gateway{Listeners: [][]byte{text}}, engine)
		must(t, err)
		resource := gateway.ListenersWith(xds.Resources{})["http"]
		if has := strings.Contains(string(resource.Text()), envoynames.EngineFilter); has != (engine == xds.InEnvoy) {
			t.Errorf("expected the filter only for an engine inside Envoy, got it for %v: %t", engine, has)
		}
		versions[resource.Version] = true
	}
	if len(versions) != 2 {
		t.Errorf("expected two versions, got %s", fmt.Sprint(versions))
	}
}
