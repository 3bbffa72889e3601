package xds_test

import (
	"slices"
	"strings"
	"testing"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/xds"
)

const (
	bySDS       = `"sdsConfig":{"ads":{},"resourceApiVersion":"V3"}`
	upstreamTLS = `{"name":"tls","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
		"commonTlsContext":{"tlsCertificateSdsSecretConfigs":[{"name":"certificate/gateway",SDS}],
			"combinedValidationContext":{"defaultValidationContext":{},"validationContextSdsSecretConfig":{"name":"authority/internal",SDS}}}}}`
	proxied = `{"name":"proxy","typedConfig":{
		"@type":"type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
		"transportSocket":TLS}}`
)

func withSocket(socket, sds string) string { return strings.ReplaceAll(socket, "SDS", sds) }

func TestSecretsOfClustersAreFoundAtAnyDepth(t *testing.T) {
	for place, text := range map[string]string{
		"alone":                     `{"name":"a","type":"STATIC","transportSocket":` + upstreamTLS + `}`,
		"for some endpoints":        `{"name":"a","type":"STATIC","transportSocketMatches":[{"name":"m","transportSocket":` + upstreamTLS + `}]}`,
		"behind the PROXY protocol": `{"name":"a","type":"STATIC","transportSocket":` + strings.ReplaceAll(proxied, "TLS", upstreamTLS) + `}`,
	} {
		message := answeringMessage(t, "a", "/a")
		message.Clusters = [][]byte{cluster(t, withSocket(text, bySDS))}
		if names := bundle(t, message).Secrets; !slices.Equal(names, []string{"authority/internal", "certificate/gateway"}) {
			t.Errorf("%s: expected both names, got %q", place, names)
		}
	}
}

func TestASecretFromAnywhereElseIsRefused(t *testing.T) {
	file := `"sdsConfig":{"pathConfigSource":{"path":"/etc/secret"}}`
	text := withSocket(`{"name":"a","type":"STATIC","transportSocket":`+strings.ReplaceAll(proxied, "TLS", upstreamTLS)+`}`, file)
	message := answeringMessage(t, "a", "/a")
	message.Clusters = [][]byte{cluster(t, text)}
	if _, err := xds.ParseBundle(message, xds.ExtProc); err == nil {
		t.Error("expected a secret from a file to be refused")
	}
}

func TestEnvoyReadsNoFileButTheNodesAuthorities(t *testing.T) {
	const context = `{"name":"a","type":"STATIC","transportSocket":{"name":"tls","typedConfig":{
		"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext","commonTlsContext":{%s}}}}`
	for want, field := range map[string]string{
		"":            `"validationContext":{"trustedCa":{"filename":"/etc/ssl/certs/ca-certificates.crt"}}`,
		"/etc/shadow": `"tlsCertificates":[{"certificateChain":{"inlineString":"x"},"privateKey":{"filename":"/etc/shadow"}}]`,
		"TOKEN":       `"tlsCertificates":[{"certificateChain":{"inlineString":"x"},"privateKey":{"environmentVariable":"TOKEN"}}]`,
		"/etc/crl":    `"validationContext":{"trustedCa":{"filename":"/etc/ca"},"crl":{"filename":"/etc/crl"}}`,
	} {
		message := answeringMessage(t, "a", "/a")
		message.Clusters = [][]byte{cluster(t, strings.Replace(context, "%s", field, 1))}
		expectMistake(t, message, want)
	}
	message := answeringMessage(t, "a", "/a")
	message.Routes = [][]byte{route(t, `{"name":"a|GET /|","match":{"prefix":"/"},"directResponse":{"status":200,"body":{"filename":"/etc/passwd"}}}`)}
	expectMistake(t, message, "/etc/passwd")
}

func TestNoHeaderOfAClientChoosesACluster(t *testing.T) {
	for want, action := range map[string]string{
		"":                           `"cluster":"c","requestMirrorPolicies":[{"cluster":"c"}]`,
		"route: expected cluster or": `"clusterHeader":"x-cluster"`,
		"weighted_clusters.clusters[0].cluster_header: expected none": `"weightedClusters":{"clusters":[{"clusterHeader":"x-cluster","weight":1}]}`,
		"request_mirror_policies[0].cluster_header: expected none":    `"cluster":"c","requestMirrorPolicies":[{"clusterHeader":"x-cluster"}]`,
	} {
		message := answeringMessage(t, "a", "/a")
		message.Routes = [][]byte{route(t, `{"name":"a|GET /|","match":{"prefix":"/"},"route":{`+action+`}}`)}
		expectMistake(t, message, want)
	}
}

// expectMistake expects an error with this text; "": none.
func expectMistake(t *testing.T, message *nodev1.ApiBundle, want string) {
	t.Helper()
	if _, err := xds.ParseBundle(message, xds.ExtProc); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("expected a mistake with %q, got %v", want, err)
	}
}
