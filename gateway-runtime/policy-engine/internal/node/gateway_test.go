package node

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/certificates"
	"gatewright.dev/policy-engine/internal/certificates/certificatestest"
	"gatewright.dev/policy-engine/internal/node/controller"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/xds"
)

var ads = &corev3.ConfigSource{ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}}}

// gatewayWith has a listener of each name; those that end in "-tls" name the certificate "web".
func gatewayWith(digest string, names ...string) *nodev1.Gateway {
	gateway := &nodev1.Gateway{Digest: digest}
	for i, name := range names {
		chain := &listenerv3.FilterChain{}
		if strings.HasSuffix(name, "-tls") {
			chain.TransportSocket = socket(&tlsv3.DownstreamTlsContext{CommonTlsContext: namingCertificate("web")})
		}
		gateway.Listeners = append(gateway.Listeners, wire(&listenerv3.Listener{Name: name, FilterChains: []*listenerv3.FilterChain{chain},
			Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(8000 + i)}}}}}))
	}
	return gateway
}

func namingCertificate(name string) *tlsv3.CommonTlsContext {
	return &tlsv3.CommonTlsContext{TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: "certificate/" + name, SdsConfig: ads}}}
}

func socket(context proto.Message) *corev3.TransportSocket {
	packed, err := anypb.New(context)
	if err != nil {
		panic(err)
	}
	return &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: packed}}
}

func withCertificate(gateway *nodev1.Gateway, paths map[string]string) *nodev1.Gateway {
	gateway.Certificates = append(gateway.Certificates, &nodev1.Certificate{Name: "web", CertificateFile: paths["chain"], KeyFile: paths["key"]})
	return gateway
}

func issue(t *testing.T, folder string) map[string]string {
	t.Helper()
	issued := certificatestest.NewAuthority(t, "ca").Issue("web.example")
	return certificatestest.Write(t, folder, map[string][]byte{"chain": issued.Chain, "key": issued.Key})
}

func (b *bench) gateway(revision uint64, gateway *nodev1.Gateway, bundles ...*nodev1.ApiBundle) {
	b.t.Helper()
	b.node.apply(b.t.Context(), controller.Pack(&nodev1.Update{Revision: revision, Gateway: gateway, Bundles: bundles}), b.node.timing.Acknowledge)
}

// gatewayReports returns the reports about Gateways, and the listeners that are served.
func (b *bench) gatewayReports() []string {
	var lines []string
	for _, message := range b.node.outbox.Drain() {
		if status := message.GetReport().GetGateway(); status != nil {
			line := fmt.Sprintf("%d %s %s", message.GetReport().GetRevision(), status.GetDigest(), strings.TrimPrefix(status.GetState().String(), "STATE_"))
			lines = append(lines, strings.TrimSpace(line+" "+status.GetReason()))
		}
	}
	return lines
}

func (b *bench) listens() string {
	b.envoy.mutex.Lock()
	defer b.envoy.mutex.Unlock()
	return strings.Join(b.envoy.listeners, " ")
}

func TestAGatewayReplacesThePreviousOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.gateway(1, gatewayWith("one", "http"))
		equal(t, "first", b.gatewayReports(), "1 one APPLIED")
		b.gateway(2, gatewayWith("two", "http", "other"))
		equal(t, "second", b.gatewayReports(), "2 two APPLIED")
		b.gateway(3, gatewayWith("two", "http", "other"))
		equal(t, "the same again", b.gatewayReports(), "3 two APPLIED")
		if got := b.node.hello().GetGatewayDigest(); got != "two" || b.listens() != "http other" {
			t.Errorf("hello: %q, listeners: %q", got, b.listens())
		}
		b.node.Close()
	})
}

func TestChallengesAreAnsweredWhileTheGatewaySaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		answered := func() bool { return strings.Contains(b.envoy.routed, "|challenges|") }
		b.gateway(1, gatewayWith("one", "http"), bundle("a", "1"))
		if answered() {
			t.Error("expected no challenges without a Gateway that says so")
		}
		asking := gatewayWith("two", "http")
		asking.AnswersChallenges = true
		b.gateway(2, asking)
		if !answered() {
			t.Error("expected challenges to be answered, although no API has changed")
		}
		b.gateway(3, asking, bundle("b", "1"))
		if !answered() {
			t.Error("expected challenges to be answered still, with another API")
		}
		b.gateway(4, gatewayWith("three", "http"))
		if answered() {
			t.Error("expected no challenges any more")
		}
		b.node.Close()
	})
}

func TestAGatewayThatEnvoyRefusesLeavesThePreviousOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.gateway(1, gatewayWith("one", "http"))
		b.envoy.bad["bad"] = true
		b.envoy.drainTranscript()
		b.gatewayReports()
		b.gateway(2, gatewayWith("two", "http", "bad"))
		equal(t, "reports", b.gatewayReports(), "2 two REJECTED refused by Envoy: a bad route")
		equal(t, "Envoy", b.envoy.drainTranscript(), "listeners bad http: no", "listeners http: yes")
		if got := b.node.hello().GetGatewayDigest(); got != "one" || b.listens() != "http" {
			t.Errorf("hello: %q, listeners: %q", got, b.listens())
		}
		if stats := b.node.Stats().Gateway; stats.Digest != "one" || stats.State != "rejected" || stats.Reason == "" {
			t.Errorf("%+v", stats)
		}
		b.node.Close()
	})
}

func TestAGatewayThatCannotBeReadIsRejectedWithItsMistakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.gateway(1, gatewayWith("one", "a-tls", "a-tls"))
		reports := b.gatewayReports()
		if len(reports) != 1 || !strings.HasPrefix(reports[0], "1 one REJECTED") || !strings.Contains(reports[0], `"certificate/web"`) {
			t.Errorf("got %q", reports)
		}
		b.node.Close()
	})
}

func TestSecretsGoBeforeListenersAndAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		folder := t.TempDir()
		b.envoy.drainTranscript()
		b.gateway(1, withCertificate(gatewayWith("one", "a-tls"), issue(t, folder)))
		equal(t, "Envoy", b.envoy.drainTranscript(), "secrets certificate/web: yes", "listeners a-tls: yes")
		b.run()
		issue(t, folder)
		b.eventually("new secrets", func() bool {
			return strings.Contains(fmt.Sprint(b.envoy.drainTranscript()), "secrets certificate/web: yes")
		})
	})
}

func TestAGatewayWaitsForMissingFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		folder := t.TempDir()
		paths := map[string]string{"chain": filepath.Join(folder, "chain"), "key": filepath.Join(folder, "key")}
		b.gateway(1, gatewayWith("one", "http"))
		b.gatewayReports()
		b.gateway(2, withCertificate(gatewayWith("two", "a-tls"), paths))
		reports := b.gatewayReports()
		if len(reports) != 1 || !strings.HasPrefix(reports[0], "2 two PENDING certificate web: "+paths["chain"]+": expected a PEM file, got none") {
			t.Fatalf("got %q", reports)
		}
		b.run()
		if b.listens() != "http" {
			t.Errorf("listeners: %q", b.listens())
		}
		issue(t, folder)
		b.eventually("applied", func() bool { return b.listens() == "a-tls" })
		b.eventually("reported", func() bool { return strings.Contains(fmt.Sprint(b.gatewayReports()), "2 two APPLIED") })
	})
}

// TestAnUnusableFileBlocksNoOtherChange, where the Gateway before named it already: what it held before goes on,
// and where it has held nothing its listener stays closed. A change that names it is not made.
func TestAnUnusableFileBlocksNoOtherChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		folder, other := t.TempDir(), t.TempDir()
		paths := issue(t, folder)
		certificatestest.Write(t, other, map[string][]byte{"chain": []byte("hello"), "key": []byte("hello")})
		b.gateway(1, withCertificate(gatewayWith("one", "a-tls"), paths))
		certificatestest.Write(t, folder, map[string][]byte{"chain": []byte("hello")})
		b.gateway(2, withCertificate(gatewayWith("two", "a-tls", "http"), paths))
		equal(t, "with what it held", b.gatewayReports(), "1 one APPLIED", "2 two APPLIED")
		if stats := b.node.Stats().Gateway; b.listens() != "a-tls http" || len(stats.FailingFiles) != 1 || len(stats.Closed) != 0 {
			t.Errorf("listeners: %q, got %+v", b.listens(), stats)
		}
		b.gateway(3, withCertificate(gatewayWith("three", "a-tls"), map[string]string{"chain": other + "/chain", "key": other + "/key"}))
		if reports := b.gatewayReports(); len(reports) != 1 || !strings.HasPrefix(reports[0], "3 three PENDING certificate web: "+other) {
			t.Errorf("got %q", reports)
		}
		b.node.Close()

		file := withCertificate(gatewayWith("file", "a-tls"), paths)
		b = newBenchWith(t, &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, gatewayFile: file}, t.TempDir())
		b.gateway(1, withCertificate(gatewayWith("next", "a-tls", "http"), paths))
		if stats := b.node.Stats().Gateway; b.listens() != "http" || fmt.Sprint(stats.Closed) != "[a-tls]" || len(stats.FailingFiles) != 1 {
			t.Errorf("listeners: %q, got %+v", b.listens(), stats)
		}
		b.run()
		issue(t, folder)
		b.eventually("it is open", func() bool { return b.listens() == "a-tls http" })
	})
}

func TestAfterARestartAnUnusableFileIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		file := withCertificate(gatewayWith("one", "a-tls", "http"), issue(t, folder))
		certificatestest.Write(t, folder, map[string][]byte{"chain": []byte("hello")})
		b := newBenchWith(t, &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, gatewayFile: file}, t.TempDir())
		b.run()
		stats := b.node.Stats().Gateway
		if fmt.Sprint(stats.Closed) != "[a-tls]" || len(stats.FailingFiles) != 1 {
			t.Fatalf("got %+v", stats)
		}
		if failing := stats.FailingFiles[0]; failing.Kind != "certificate" || failing.Name != "web" || !strings.Contains(failing.Reason, "expected a PEM block CERTIFICATE") {
			t.Errorf("got %+v", failing)
		}
		issue(t, folder)
		b.eventually("all is well", func() bool {
			now := b.node.Stats().Gateway
			return len(now.Closed)+len(now.FailingFiles) == 0 && b.listens() == "a-tls http"
		})
		certificatestest.Write(t, folder, map[string][]byte{"key": []byte("hello")})
		b.eventually("the earlier content is served, and the failure reported", func() bool {
			now := b.node.Stats().Gateway
			return len(now.Closed) == 0 && len(now.FailingFiles) == 1
		})
	})
}

func TestTheFilesGatewayIsServedFirstAndTheControllersOnlyWhileTheFileIsUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := t.TempDir()
		begin := func(file string) *bench {
			b := &bench{t: t, envoy: newScriptedEnvoy(false), shelf: &shelf{}, gatewayFile: gatewayWith(file, file)}
			return newBenchWith(t, b, directory)
		}
		first := begin("file-one")
		if first.listens() != "file-one" {
			t.Fatalf("listeners: %q", first.listens())
		}
		first.run()
		first.envoy.connect()
		first.eventually("the file's is served", func() bool { return first.node.hello().GetGatewayDigest() == "file-one" })
		first.node.inbox.Add(&nodev1.Update{Revision: 1, Gateway: gatewayWith("controllers", "controllers")})
		first.eventually("the controller's is served", func() bool { return first.node.hello().GetGatewayDigest() == "controllers" })
		if again := begin("file-one"); again.listens() != "controllers" {
			t.Errorf("the same file: %q", again.listens())
		}
		if other := begin("file-two"); other.listens() != "file-two" {
			t.Errorf("another file: %q", other.listens())
		}
	})
}

func TestANodeThatKeepsItsGatewayIgnoresTheControllersAndFollowsItsFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, gatewayFile: gatewayWith("own", "own"), keeps: true}
		newBenchWith(t, b, t.TempDir()).run()
		if !b.node.hello().GetKeepsGateway() {
			t.Error("the hello does not say so")
		}
		if !b.node.client.KeepsGateway {
			t.Error("the client does not leave out the controller's Gateways")
		}
		if err := b.node.ReplaceGateway(t.Context(), gatewayWith("changed", "changed")); err != nil {
			t.Fatal(err)
		}
		if b.listens() != "changed" {
			t.Errorf("listeners: %q", b.listens())
		}
	})
}

func TestAReloadedFileThatIsRevertedWhileTheNodeIsDownCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory, file := t.TempDir(), "file-one"
		begin := func() *bench {
			b := &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, gatewayFile: gatewayWith(file, file), fileNow: func() string { return file }}
			return newBenchWith(t, b, directory)
		}
		first := begin()
		file = "file-two"
		first.gateway(1, gatewayWith("file-two", "file-two"))
		first.node.Close()
		file = "file-one"
		if again := begin(); again.listens() != "file-one" {
			t.Errorf("expected what the file says, got %q", again.listens())
		}
	})
}

func TestTheSameGatewayAgainDoesNotEndItsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, gatewayFile: gatewayWith("one", "http")}
		b.envoy.bad["http"] = true // its port is another's for a while
		newBenchWith(t, b, t.TempDir())
		b.node.followGateway(b.node.gateway.Confirm(t.Context()))
		equal(t, "reports", b.gatewayReports(), "0 one PENDING refused by Envoy: a bad route")
		b.gateway(7, gatewayWith("one", "http"))
		b.node.followGateway(b.node.gateway.Retry(t.Context(), nil))
		equal(t, "reported again", b.gatewayReports(), "7 one PENDING refused by Envoy: a bad route")
		b.envoy.bad["http"] = false
		b.run()
		b.eventually("applied", func() bool { return strings.Contains(fmt.Sprint(b.gatewayReports()), "7 one APPLIED") })
	})
}

func TestAGatewayIsNotAcknowledgedWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, gatewayFile: gatewayWith("one", "http")}
		b.envoy.bad["http"] = true
		newBenchWith(t, b, t.TempDir())
		b.node.followGateway(b.node.gateway.Confirm(t.Context()))
		b.gatewayReports()
		b.envoy.present = false
		time.Sleep(time.Minute) // its retry is due
		b.node.followGateway(b.node.gateway.Retry(t.Context(), nil))
		equal(t, "reports", b.gatewayReports())
		if digest := b.node.hello().GetGatewayDigest(); digest != "" {
			t.Errorf("expected none that an Envoy has taken, got %q", digest)
		}
		b.node.Close()
	})
}

func TestAGatewayThatAnEnvoyLeavesUnansweredAsItConnectsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.gateway(1, gatewayWith("one", "http"))
		b.envoy.present = false
		b.gateway(2, gatewayWith("two", "slow"))
		b.gatewayReports()
		b.envoy.present, b.envoy.held["slow"] = true, true
		b.node.followGateway(b.node.gateway.Confirm(t.Context()))
		reports := b.gatewayReports()
		if len(reports) != 1 || !strings.HasPrefix(reports[0], "2 two PENDING") || b.listens() != "http" {
			t.Fatalf("reports: %q, listeners: %q", reports, b.listens())
		}
		b.envoy.held["slow"] = false
		b.run()
		b.eventually("applied", func() bool { return strings.Contains(fmt.Sprint(b.gatewayReports()), "2 two APPLIED") })
	})
}

func TestCertificatesThatEnvoyRefusesAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		folder := t.TempDir()
		message := withCertificate(gatewayWith("one", "a-tls"), issue(t, folder))
		b.gateway(1, message)
		good := b.envoy.secretsNow["certificate/web"].Version
		issue(t, folder)
		parsed, err := xds.ParseGateway(message, xds.ExtProc)
		if err != nil {
			t.Fatal(err)
		}
		contents, failures := certificates.Load(parsed.Sources)
		if err := failures.Err(); err != nil {
			t.Fatal(err)
		}
		b.envoy.bad["secrets"] = true
		b.node.followGateway(b.node.gateway.ReplaceCertificates(t.Context(), certificates.Change{Contents: contents}))
		b.envoy.bad["secrets"] = false
		b.node.followGateway(b.node.gateway.Confirm(t.Context())) // of an Envoy that has nothing from before
		if got := b.envoy.secretsNow["certificate/web"].Version; got != good {
			t.Errorf("expected the one that Envoy took, got another one")
		}
		b.node.Close()
	})
}

func TestACertificateIsRemovedWhileAnAPIThatUsesItIsBuilt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.shelf.slow = make(chan struct{})
		b.gateway(1, withCertificate(gatewayWith("one", "http"), issue(t, t.TempDir())))
		slow := namingWeb()
		slow.Chains[0].Attachments[0].Parameters = []byte(`{"slow":true}`)
		b.gateway(2, nil, slow)
		b.gateway(3, gatewayWith("two", "http"))
		b.gatewayReports()
		b.run()
		close(b.shelf.slow)
		b.eventually("it is rejected", func() bool { return slices.Contains(b.reported(), "2 orders 1 REJECTED") })
		if clusters, _ := b.envoy.serves(); len(clusters) > 0 {
			t.Errorf("expected no cluster that would wait for a missing secret, got %q", clusters)
		}
		b.eventually("what was built is closed", func() bool { open, _ := b.shelf.counts(); return open == 0 })
	})
}

func TestAGatewayWaitsForSecretsOfAVersionThatMayBeRolledBackTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.gateway(1, withCertificate(gatewayWith("one", "http"), issue(t, t.TempDir())), namingWeb())
		b.envoy.present = false
		b.gateway(2, nil, bundle("orders", "2"))
		b.gatewayReports()
		b.gateway(3, gatewayWith("two", "other"))
		if reports := b.gatewayReports(); len(reports) != 1 || !strings.Contains(reports[0], `3 two PENDING expected "certificate/web"`) {
			t.Errorf("got %q", reports)
		}
		b.node.Close()
	})
}

func TestADamagedGatewayIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := t.TempDir()
		b := newBench(t, newScriptedEnvoy(true), directory)
		b.gateway(1, gatewayWith("one", "http"))
		b.node.Close()
		path := filepath.Join(directory, statedir.Gateway)
		content, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, content[:len(content)-1], 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		again := newBenchWith(t, &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, gatewayFile: nil}, directory)
		if again.listens() != "" {
			t.Errorf("listeners: %q", again.listens())
		}
		again.node.Close()
	})
}

func TestAListenerWithoutItsCertificateDelaysNoOtherAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		paths := map[string]string{"chain": filepath.Join(folder, "chain"), "key": filepath.Join(folder, "key")}
		b := newBenchWith(t, &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{},
			gatewayFile: withCertificate(gatewayWith("file", "a-tls", "http"), paths)}, t.TempDir())
		if b.listens() != "http" {
			t.Fatalf("listeners: %q", b.listens())
		}
		b.run()
		issue(t, folder)
		b.eventually("the other is open", func() bool { return b.listens() == "a-tls http" })
	})
}

func TestAGatewayThatAConnectingEnvoyRefusesIsRolledBackOrRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.gateway(1, gatewayWith("one", "http"))
		b.envoy.present = false
		b.gateway(2, gatewayWith("two", "bad"))
		equal(t, "no answer yet", b.gatewayReports()[1:])
		b.envoy.bad["bad"] = true
		b.run()
		b.envoy.connect()
		b.eventually("the one before is back", func() bool { return b.listens() == "http" })
		b.eventually("reported", func() bool { return strings.Contains(fmt.Sprint(b.gatewayReports()), "2 two REJECTED") })

		b.envoy.mutex.Lock()
		b.envoy.bad["http"] = true // its port, say, is another's for a while
		b.envoy.mutex.Unlock()
		b.envoy.connect()
		b.eventually("pending", func() bool { return strings.Contains(fmt.Sprint(b.gatewayReports()), "1 one PENDING") })
		b.envoy.mutex.Lock()
		b.envoy.bad["http"] = false
		b.envoy.mutex.Unlock()
		b.eventually("applied again", func() bool { return strings.Contains(fmt.Sprint(b.gatewayReports()), "1 one APPLIED") })
	})
}

// namingWeb is the first bundle of the API orders, whose upstream names the certificate "web".
func namingWeb() *nodev1.ApiBundle {
	message := bundle("orders", "1")
	message.Clusters = [][]byte{wire(&clusterv3.Cluster{Name: "orders|1",
		TransportSocket: socket(&tlsv3.UpstreamTlsContext{CommonTlsContext: namingCertificate("web")})})}
	return message
}

func TestABundleThatNamesACertificateNeedsAGatewayThatHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.gateway(1, gatewayWith("one", "http"))
		b.gatewayReports()
		b.gateway(2, nil, namingWeb())
		equal(t, "refused", b.reported(), "2 orders 1 REJECTED")
		if reason := b.node.queue.Get("orders").Reason(); !strings.Contains(reason, `expected a certificate or an authority that the Gateway has, got "certificate/web"`) {
			t.Errorf("got %q", reason)
		}
		b.run()
		b.node.inbox.Add(&nodev1.Update{Revision: 3, Gateway: withCertificate(gatewayWith("two", "http"), issue(t, t.TempDir()))})
		b.eventually("it is served", func() bool {
			return len(b.node.hello().GetBundles()) == 1 && b.node.hello().GetBundles()[0].GetDigest() == "1"
		})
	})
}

func TestAGatewayWithoutAnUpstreamsSecretWaitsUntilItIsUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.gateway(1, withCertificate(gatewayWith("one", "http"), issue(t, t.TempDir())), namingWeb())
		b.gatewayReports()
		b.gateway(2, gatewayWith("two", "other"), bundle("orders", "2"))
		reports := b.gatewayReports()
		if len(reports) != 1 || !strings.Contains(reports[0], `2 two PENDING expected "certificate/web", which the upstream of API orders names`) {
			t.Fatalf("got %q", reports)
		}
		b.run()
		b.eventually("it is served", func() bool { return b.listens() == "other" })
	})
}

func TestAGatewayIsReplacedWithoutAController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.run()
		b.envoy.mutex.Lock()
		b.envoy.bad["bad"] = true
		b.envoy.mutex.Unlock()
		for range 2 {
			if err := b.node.ReplaceGateway(t.Context(), gatewayWith("one", "http")); err != nil || b.listens() != "http" {
				t.Errorf("%v, listeners: %q", err, b.listens())
			}
			if err := b.node.ReplaceGateway(t.Context(), gatewayWith("two", "bad")); err == nil || err.Error() != "refused by Envoy: a bad route" {
				t.Errorf("expected Envoy's reason, got %v", err)
			}
		}
	})
}
