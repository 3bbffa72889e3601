package xds_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3" // the listener names it in an Any
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/certificates"
	"gatewright.dev/policy-engine/internal/certificates/certificatestest"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/policy-engine/internal/xds/bundletest"
	"gatewright.dev/policy-engine/internal/xds/envoytest"
)

const ads = `{"ads":{},"resourceApiVersion":"V3","initialFetchTimeout":"0s"}`

// listener is one with the routes of all APIs. tls: its transport socket; "": none.
func listener(t fails, name string, port int, tls string) []byte {
	return listenerWith(t, name, port, tls, `"rds":{"routeConfigName":"gatewright","configSource":`+ads+`}`)
}

func listenerWith(t fails, name string, port int, tls, routes string) []byte {
	return serialized(t, &listenerv3.Listener{}, fmt.Sprintf(`{"name":%q,"address":{"socketAddress":{"address":"127.0.0.1","portValue":%d}},
		"filterChains":[{%s"filters":[{"name":"envoy.filters.network.http_connection_manager","typedConfig":{
			"@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
			"statPrefix":"gatewright",%s,"httpFilters":[%s{"name":"envoy.filters.http.router","typedConfig":{
				"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}]}]}`, name, port, tls, routes, engineAsked))
}

// engineAsked is the filter that asks the engine, on routes with policies.
const engineAsked = `{"name":"envoy.filters.http.ext_proc","disabled":true,"typedConfig":{
	"@type":"type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
	"grpcService":{"googleGrpc":{"targetUri":"127.0.0.1:1","statPrefix":"engine"}}}},`

// withTLS is a transport socket with these certificates, and an authority for clients where it is named.
func withTLS(authority string, certificates ...string) string {
	var secrets []string
	for _, name := range certificates {
		secrets = append(secrets, fmt.Sprintf(`{"name":%q,"sdsConfig":%s}`, name, ads))
	}
	clients := ""
	if authority != "" {
		clients = fmt.Sprintf(`,"validationContextSdsSecretConfig":{"name":%q,"sdsConfig":%s}`, authority, ads)
	}
	return fmt.Sprintf(`"transportSocket":{"name":"envoy.transport_sockets.tls","typedConfig":{
		"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext","requireClientCertificate":%t,
		"commonTlsContext":{"tlsCertificateSdsSecretConfigs":[%s]%s}}},`, authority != "", strings.Join(secrets, ","), clients)
}

func listenersOf(t *testing.T, texts ...[]byte) xds.Resources {
	t.Helper()
	parsed, err := xds.ParseGateway(&nodev1.Gateway{Listeners: texts,
		Certificates: []*nodev1.Certificate{{Name: "web", CertificateFile: "/c", KeyFile: "/k"}},
		Authorities:  []*nodev1.CertificateAuthority{{Name: "clients", File: "/a"}}}, xds.ExtProc)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Listeners
}

func secretsOf(t *testing.T, contents certificates.Contents) xds.Resources {
	t.Helper()
	secrets, err := xds.Secrets(contents)
	if err != nil {
		t.Fatal(err)
	}
	return secrets
}

func web(issued certificatestest.Issued) certificates.Contents {
	return certificates.Contents{Certificates: map[string]certificates.Pair{"web": {Chain: issued.Chain, Key: issued.Key}}}
}

// shown is the first certificate that a TLS listener shows, by its name; "" where it cannot be reached.
func shown(t *testing.T, port int, config *tls.Config) (string, error) {
	t.Helper()
	config.InsecureSkipVerify = true
	connection, err := (&tls.Dialer{Config: config, NetDialer: &net.Dialer{Timeout: time.Second}}).DialContext(t.Context(), "tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		return "", err
	}
	defer func() { _ = connection.Close() }()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func showsUntil(t *testing.T, port int, name string) {
	t.Helper()
	await.Until(t, "the certificate of "+name, func() bool {
		got, _ := shown(t, port, &tls.Config{})
		return got == name
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEnvoyServesListenersAndTheirCertificatesAndNewOnesWithoutANewListener(t *testing.T) {
	server, directory := startServer(t)
	plain, port := envoytest.FreePort(t), envoytest.FreePort(t)
	ca := certificatestest.NewAuthority(t, "ca")
	config := compose(t, answering(t, "a", "/a"))
	_ = server.SetSecrets(t.Context(), secretsOf(t, web(ca.Issue("first.example"))))
	_ = server.SetListeners(t.Context(), listenersOf(t, listener(t, "http", plain, ""), listener(t, "https", port, withTLS("", "certificate/web"))))
	_ = server.SetRoutes(t.Context(), config)
	envoy := envoytest.StartWithoutListener(t, directory, plain)
	waitConnected(t, server)
	must(t, server.SetRoutes(within(t, await.Limit), config))
	envoy.Until("h", "/a", "a")
	showsUntil(t, port, "first.example")
	must(t, server.SetSecrets(within(t, await.Limit), secretsOf(t, web(ca.Issue("second.example")))))
	if got, err := shown(t, port, &tls.Config{}); got != "second.example" {
		t.Errorf("what is acknowledged is not served: %q, %v", got, err)
	}
	if stats := server.Stats(); stats.Listeners != 2 || stats.Secrets != 1 || stats.ListenersConfirmed != stats.ListenerGeneration {
		t.Errorf("%+v", stats)
	}
}

// A running Envoy accepts a listener whose secret is missing, and opens it once the secret exists; meanwhile all others serve.
func TestEnvoyOpensAListenerOnceItsSecretIsThere(t *testing.T) {
	server, directory := startServer(t)
	plain, port := envoytest.FreePort(t), envoytest.FreePort(t)
	config := compose(t, answering(t, "a", "/a"))
	must(t, ignoreNobody(server.SetRoutes(t.Context(), config)))
	must(t, ignoreNobody(server.SetListeners(t.Context(), listenersOf(t, listener(t, "http", plain, "")))))
	envoy := envoytest.StartWithoutListener(t, directory, plain)
	waitConnected(t, server)
	must(t, server.SetRoutes(within(t, await.Limit), config))
	both := listenersOf(t, listener(t, "http", plain, ""), listener(t, "https", port, withTLS("", "certificate/web")))
	must(t, server.SetListeners(within(t, await.Limit), both))
	envoy.Until("h", "/a", "a")
	if got, err := shown(t, port, &tls.Config{}); err == nil {
		t.Fatalf("a listener without its certificate is open, and shows %q", got)
	}
	must(t, server.SetSecrets(within(t, await.Limit), secretsOf(t, web(certificatestest.NewAuthority(t, "ca").Issue("late.example")))))
	showsUntil(t, port, "late.example")
}

func ignoreNobody(err error) error {
	if errors.Is(err, xds.ErrNoEnvoy) {
		return nil
	}
	return err
}

// Of several listeners Envoy accepts the valid ones, and names the invalid one in its refusal. Set again, the ones before
// are back.
func TestEnvoyRefusesOneListenerAndAcceptsTheOthers(t *testing.T) {
	server, directory := startServer(t)
	first, second := envoytest.FreePort(t), envoytest.FreePort(t)
	config := compose(t, answering(t, "a", "/a"))
	before := listenersOf(t, listener(t, "http", first, ""))
	_ = server.SetRoutes(t.Context(), config)
	_ = server.SetListeners(t.Context(), before)
	envoy := envoytest.StartWithoutListener(t, directory, first)
	waitConnected(t, server)
	must(t, server.SetRoutes(within(t, await.Limit), config))
	envoy.Until("h", "/a", "a")
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = taken.Close() }()
	err = server.SetListeners(within(t, await.Limit), listenersOf(t, listener(t, "http", second, ""),
		listener(t, "taken", taken.Addr().(*net.TCPAddr).Port, "")))
	var refused *xds.RefusedError
	if !errors.As(err, &refused) || refused.TypeURL != xds.ListenerType || !strings.Contains(refused.Reason, "taken") {
		t.Fatalf("expected a refusal that names the listener, got %v", err)
	}
	must(t, server.SetListeners(within(t, await.Limit), before))
	envoy.Until("h", "/a", "a")
	// Envoy acknowledges before its workers have closed it.
	await.Until(t, "the port of the Gateway that was refused is closed", func() bool { return !isOpen(t, second) })
}

func isOpen(t *testing.T, port int) bool {
	connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", fmt.Sprint("127.0.0.1:", port))
	if err == nil {
		_ = connection.Close()
	}
	return err == nil
}

func TestRoutesAndSecretsAreNotWaitedForWithoutAListener(t *testing.T) {
	server, directory := startServer(t)
	envoytest.StartWithoutListener(t, directory, 0)
	waitConnected(t, server)
	must(t, server.SetClusters(within(t, await.Limit), xds.Resources{}))
	must(t, server.SetSecrets(within(t, await.Limit), secretsOf(t, web(certificatestest.NewAuthority(t, "ca").Issue("web.example")))))
	must(t, server.SetRoutes(within(t, await.Limit), compose(t, answering(t, "a", "/a"))))
}

// A request that is under way when its listener changes ends well, and the connection with it.
func TestAChangedListenerCutsNoRequest(t *testing.T) {
	server, directory := startServer(t)
	port := envoytest.FreePort(t)
	arrived, goOn := make(chan struct{}), make(chan struct{})
	upstream := envoytest.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-goOn
		_, _ = io.WriteString(w, "whole")
	})
	api := bundle(t, &nodev1.ApiBundle{Api: "a", Context: "/a", FirstRoute: bundletest.FirstRoute("a"),
		Routes:   [][]byte{route(t, `{"name":"a|GET /|","match":{"prefix":"/a"},"route":{"cluster":"a|1"}}`)},
		Clusters: [][]byte{staticCluster(t, "a|1", upstream)}})
	_ = server.SetClusters(t.Context(), xds.Clusters([]*xds.Bundle{api}))
	_ = server.SetRoutes(t.Context(), compose(t, api))
	_ = server.SetListeners(t.Context(), listenersOf(t, listener(t, "http", port, "")))
	envoy := envoytest.StartWithoutListener(t, directory, port)
	waitConnected(t, server)
	must(t, server.SetRoutes(within(t, await.Limit), compose(t, api)))
	envoy.Get("h", "/nothing")
	answer := make(chan string, 1)
	go func() {
		_, body, err := envoy.Try("h", "/a")
		answer <- fmt.Sprint(body, err)
	}()
	<-arrived
	changed := listenerWith(t, "http", port, "", `"streamIdleTimeout":"77s","rds":{"routeConfigName":"gatewright","configSource":`+ads+`}`)
	must(t, server.SetListeners(within(t, await.Limit), listenersOf(t, changed)))
	if status, _ := envoy.Get("h", "/nothing"); status != http.StatusNotFound {
		t.Errorf("beside it: %d", status)
	}
	close(goOn)
	if got := <-answer; got != "whole<nil>" {
		t.Errorf("expected the whole answer, got %q", got)
	}
}

func TestRoutesThatNoListenerRequestsAreNotWaitedFor(t *testing.T) {
	server, directory := startServer(t)
	port := envoytest.FreePort(t)
	redirecting := `"routeConfig":{"virtualHosts":[{"name":"all","domains":["*"],"routes":[{"match":{"prefix":"/"},"redirect":{"httpsRedirect":true}}]}]}`
	listeners := listenersOf(t, listenerWith(t, "http", port, "", redirecting))
	_ = server.SetListeners(t.Context(), listeners)
	envoytest.StartWithoutListener(t, directory, port)
	waitConnected(t, server)
	must(t, server.SetListeners(within(t, await.Limit), listeners))
	must(t, server.SetRoutes(within(t, await.Limit), compose(t, answering(t, "a", "/a"))))
	if stats := server.Stats(); stats.RoutesConfirmed != stats.RouteGeneration {
		t.Errorf("expected nothing to be open, got %+v", stats)
	}
}

func TestClientsAreVerifiedByTheAuthorityAndItsRevocationList(t *testing.T) {
	server, directory := startServer(t)
	port := envoytest.FreePort(t)
	ca, other := certificatestest.NewAuthority(t, "ca"), certificatestest.NewAuthority(t, "other")
	good, revoked := ca.Issue("good.example"), ca.Issue("revoked.example")
	contents := web(ca.Issue("web.example"))
	contents.Authorities = map[string]certificates.Trust{"clients": {Certificates: ca.PEM, RevocationLists: ca.Revoke(revoked), EachHasList: true}}
	_ = server.SetSecrets(t.Context(), secretsOf(t, contents))
	_ = server.SetListeners(t.Context(), listenersOf(t, listener(t, "https", port, withTLS("authority/clients", "certificate/web"))))
	envoytest.StartWithoutListener(t, directory, port)
	waitConnected(t, server)
	must(t, server.SetListeners(within(t, await.Limit), listenersOf(t, listener(t, "https", port, withTLS("authority/clients", "certificate/web")))))
	asks := func(issued ...certificatestest.Issued) bool {
		config := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12} // with 1.3 a refusal comes after the handshake
		for _, certificate := range issued {
			pair, err := tls.X509KeyPair(certificate.Chain, certificate.Key)
			must(t, err)
			config.Certificates = append(config.Certificates, pair)
		}
		_, err := shown(t, port, config)
		return err == nil
	}
	await.Until(t, "a good certificate is taken", func() bool { return asks(good) })
	if asks() || asks(revoked) || asks(other.Issue("stranger.example")) {
		t.Error("expected no other client to be connected")
	}
}

// The check before Envoy refuses exactly what Envoy refuses, so that nothing is sent in vain, and accepted keys are served.
func TestKindsOfKeysThatEnvoyAccepts(t *testing.T) {
	server, directory := startServer(t)
	ca := certificatestest.NewAuthority(t, "ca")
	port := envoytest.FreePort(t)
	_ = server.SetSecrets(t.Context(), secretsOf(t, web(ca.Issue("start.example"))))
	_ = server.SetListeners(t.Context(), listenersOf(t, listener(t, "https", port, withTLS("", "certificate/web"))))
	envoytest.StartWithoutListener(t, directory, port)
	waitConnected(t, server)
	showsUntil(t, port, "start.example")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	must(t, err)
	usual, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	for name, key := range map[string]crypto.Signer{"rsa1024": small, "rsa2048": usual, "ed25519": edwards, "p224": certificatestest.Key(t, elliptic.P224()),
		"p256": certificatestest.Key(t, elliptic.P256()), "p384": certificatestest.Key(t, elliptic.P384()), "p521": certificatestest.Key(t, elliptic.P521())} {
		issued := ca.IssueFor(name+".example", key, time.Now().Add(time.Hour))
		err := server.SetSecrets(within(t, await.Limit), secretsOf(t, web(issued)))
		if err == nil {
			var got string
			if got, err = shown(t, port, &tls.Config{}); err == nil && got != name+".example" {
				t.Errorf("%s is acknowledged, and %q is served", name, got)
			}
		}
		paths := certificatestest.Write(t, t.TempDir(), map[string][]byte{"chain": issued.Chain, "key": issued.Key})
		_, failures := certificates.Load(certificates.Sources{Certificates: map[string]certificates.Certificate{"web": {File: paths["chain"], KeyFile: paths["key"]}}})
		if ours := failures.Err(); (err == nil) != (ours == nil) {
			t.Errorf("%s: Envoy: %v, we: %v", name, err, ours)
		}
	}
}

// withoutEngine is a listener without its first HTTP filter.
func withoutEngine(t *testing.T, text []byte) []byte {
	t.Helper()
	read := &listenerv3.Listener{}
	must(t, proto.Unmarshal(text, read))
	manager := &hcmv3.HttpConnectionManager{}
	packed := read.GetFilterChains()[0].GetFilters()[0].GetTypedConfig()
	must(t, packed.UnmarshalTo(manager))
	manager.HttpFilters = manager.GetHttpFilters()[1:]
	must(t, packed.MarshalFrom(manager))
	changed, err := proto.Marshal(read)
	must(t, err)
	return changed
}

func TestAGatewayIsCheckedBeforeEnvoySeesIt(t *testing.T) {
	good := listener(t, "https", 1, withTLS("authority/clients", "certificate/web"))
	for _, c := range []struct {
		message  *nodev1.Gateway
		expected []string
	}{
		{&nodev1.Gateway{Listeners: [][]byte{good}}, []string{`listeners[0] "https": expected one of the Gateway's certificates and authorities ([]), got "authority/clients"`, `got "certificate/web"`}},
		{&nodev1.Gateway{Listeners: [][]byte{listener(t, "a", 1, ""), listener(t, "a", 2, "")}}, []string{`listeners[1] "a": name: stands twice`}},
		{&nodev1.Gateway{Listeners: [][]byte{listener(t, "", 1, "")}}, []string{`listeners[0] "": name: expected one`}},
		{&nodev1.Gateway{Listeners: [][]byte{[]byte("\xff")}}, []string{"listeners[0]", "decode"}},
		{&nodev1.Gateway{Listeners: [][]byte{listenerWith(t, "a", 1, "", `"rds":{"routeConfigName":"other","configSource":`+ads+`}`)}}, []string{`expected route_config_name "gatewright" by ads, got "other"`}},
		{&nodev1.Gateway{Listeners: [][]byte{listenerWith(t, "a", 1, "", `"upgradeConfigs":[{"upgradeType":"websocket"}],"rds":{"routeConfigName":"gatewright","configSource":`+ads+`}`)}},
			[]string{"upgrade_configs: expected none, since routes have them"}},
		{&nodev1.Gateway{Listeners: [][]byte{withoutEngine(t, listener(t, "a", 1, ""))}},
			[]string{"http_filters: expected envoy.filters.http.ext_proc, got none: no policy would run"}},
		{&nodev1.Gateway{Listeners: [][]byte{listener(t, "a", 1, strings.Replace(withTLS("", "certificate/web"), ads, `{"pathConfigSource":{"path":"/etc/shadow"}}`, 1))},
			Certificates: []*nodev1.Certificate{{Name: "web", CertificateFile: "/c", KeyFile: "/k"}}}, []string{`secret "certificate/web": expected sds_config by ads`}},
		{&nodev1.Gateway{Certificates: []*nodev1.Certificate{{Name: "web", CertificateFile: "c", KeyFile: "/k"}, {Name: "web", CertificateFile: "/c", KeyFile: ""}}},
			[]string{`certificates[0] "web": expected the absolute path of a file, got "c"`, `certificates[1] "web": name: stands twice`, `got ""`}},
		{&nodev1.Gateway{Authorities: []*nodev1.CertificateAuthority{{Name: "", File: "/c", RevocationFile: "x"}}},
			[]string{`authorities[0] "": name: expected one`, `got "x"`}},
	} {
		_, err := xds.ParseGateway(c.message, xds.ExtProc)
		for _, expected := range c.expected {
			if err == nil || !strings.Contains(err.Error(), expected) {
				t.Errorf("expected %q, got %v", expected, err)
			}
		}
	}
}

func TestAListenerIsHeldBackUntilItsSecretsAreThere(t *testing.T) {
	gateway, err := xds.ParseGateway(&nodev1.Gateway{Listeners: [][]byte{listener(t, "http", 1, ""), listener(t, "https", 2, withTLS("", "certificate/web"))},
		Certificates: []*nodev1.Certificate{{Name: "web", CertificateFile: "/c", KeyFile: "/k"}}}, xds.ExtProc)
	must(t, err)
	secrets := secretsOf(t, web(certificatestest.NewAuthority(t, "ca").Issue("web.example")))
	if without, with := gateway.ListenersWith(xds.Resources{}), gateway.ListenersWith(secrets); len(without) != 1 || len(with) != 2 {
		t.Errorf("expected one listener without the certificate and two with it, got %d and %d", len(without), len(with))
	}
}

func TestAListenerOpensWithTheCertificatesThatExist(t *testing.T) {
	gateway, err := xds.ParseGateway(&nodev1.Gateway{
		Listeners: [][]byte{listener(t, "two", 1, withTLS("", "certificate/web", "certificate/gone")),
			listener(t, "clients", 2, withTLS("authority/clients", "certificate/web", "certificate/gone")),
			listener(t, "none", 3, withTLS("", "certificate/gone"))},
		Certificates: []*nodev1.Certificate{{Name: "web", CertificateFile: "/c", KeyFile: "/k"}, {Name: "gone", CertificateFile: "/g", KeyFile: "/l"}},
		Authorities:  []*nodev1.CertificateAuthority{{Name: "clients", File: "/a"}}}, xds.ExtProc)
	must(t, err)
	ca := certificatestest.NewAuthority(t, "ca")
	secrets := secretsOf(t, web(ca.Issue("web.example")))
	if closed := fmt.Sprint(gateway.ClosedWith(secrets)); closed != "[clients none]" {
		t.Errorf("expected those closed that have no certificate, or not the authority of their clients, got %s", closed)
	}
	opened := gateway.ListenersWith(secrets)["two"]
	if text := string(opened.Text()); !strings.Contains(text, "certificate/web") || strings.Contains(text, "certificate/gone") {
		t.Errorf("expected the certificate that is there alone, got %q", text)
	}
	if opened.Version == gateway.Listeners["two"].Version {
		t.Error("expected another version")
	}
}

// TestAListenerOpensWithTheHostsWhoseAuthorityExists: a host that requests client certificates has a filter chain of its
// own, and one whose authority's file cannot be used closes no other.
func TestAListenerOpensWithTheHostsWhoseAuthorityExists(t *testing.T) {
	// Concatenated messages are one, with the filter chains of both.
	text := append(listener(t, "both", 1, withTLS("", "certificate/web", "certificate/gone")),
		listener(t, "both", 1, withTLS("authority/clients", "certificate/web"))...)
	gateway, err := xds.ParseGateway(&nodev1.Gateway{Listeners: [][]byte{text},
		Certificates: []*nodev1.Certificate{{Name: "web", CertificateFile: "/c", KeyFile: "/k"}, {Name: "gone", CertificateFile: "/g", KeyFile: "/l"}},
		Authorities:  []*nodev1.CertificateAuthority{{Name: "clients", File: "/a"}}}, xds.ExtProc)
	must(t, err)
	chains := func(secrets xds.Resources) string {
		opened := &listenerv3.Listener{}
		must(t, proto.Unmarshal(gateway.ListenersWith(secrets)["both"].Text(), opened))
		hosts := make([]string, 0, len(opened.GetFilterChains()))
		for _, chain := range opened.GetFilterChains() {
			for _, name := range []string{"certificate/web", "certificate/gone", "authority/clients"} {
				if strings.Contains(string(chain.GetTransportSocket().GetTypedConfig().GetValue()), name) {
					hosts = append(hosts, name)
				}
			}
		}
		return fmt.Sprint(hosts)
	}
	ca := certificatestest.NewAuthority(t, "ca")
	contents := web(ca.Issue("web.example"))
	if got := chains(secretsOf(t, contents)); got != "[certificate/web]" {
		t.Errorf("expected the host that asks for no certificate alone, with the certificate that is there, got %s", got)
	}
	if closed := gateway.ClosedWith(secretsOf(t, contents)); len(closed) != 0 {
		t.Errorf("expected no listener to be closed, got %s", closed)
	}
	contents.Authorities = map[string]certificates.Trust{"clients": {Certificates: ca.PEM}}
	if got := chains(secretsOf(t, contents)); got != "[certificate/web certificate/web authority/clients]" {
		t.Errorf("expected both, got %s", got)
	}
	if closed := fmt.Sprint(gateway.ClosedWith(xds.Resources{})); closed != "[both]" {
		t.Errorf("expected it to be closed without any certificate, got %s", closed)
	}
}

func TestClustersNameTheirSecrets(t *testing.T) {
	parsed := bundle(t, &nodev1.ApiBundle{Api: "a", Context: "/a", FirstRoute: bundletest.FirstRoute("a"), Clusters: [][]byte{cluster(t, `{"name":"a|1","transportSocket":{"name":"tls","typedConfig":{
		"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext","commonTlsContext":{
		"tlsCertificateSdsSecretConfigs":[{"name":"certificate/own","sdsConfig":`+ads+`}],"combinedValidationContext":{"defaultValidationContext":{},
		"validationContextSdsSecretConfig":{"name":"authority/theirs","sdsConfig":`+ads+`}}}}}}`)}})
	if got := fmt.Sprint(parsed.Secrets); got != "[authority/theirs certificate/own]" {
		t.Errorf("got %s", got)
	}
}
