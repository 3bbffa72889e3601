package xds_test

import (
	"crypto/tls"
	"slices"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/certificates"
	"gatewright.dev/policy-engine/internal/certificates/certificatestest"
	"gatewright.dev/policy-engine/internal/xds/envoytest"
)

// TestAnAuthorityWithoutAListAboveOneThatHasOne: clients of the lower one are admitted, except for those of its list.
func TestAnAuthorityWithoutAListAboveOneThatHasOne(t *testing.T) {
	server, directory := startServer(t)
	port := envoytest.FreePort(t)
	root := certificatestest.NewAuthority(t, "root")
	ca := root.NewAuthority("ca")
	good, revoked := ca.Issue("good.example"), ca.Issue("revoked.example")
	contents := web(ca.Issue("web.example"))
	contents.Authorities = map[string]certificates.Trust{"clients": {Certificates: slices.Concat(root.PEM, ca.PEM), RevocationLists: ca.Revoke(revoked)}}
	listeners := listenersOf(t, listener(t, "https", port, withTLS("authority/clients", "certificate/web")))
	_ = server.SetSecrets(t.Context(), secretsOf(t, contents))
	_ = server.SetListeners(t.Context(), listeners)
	envoytest.StartWithoutListener(t, directory, port)
	waitConnected(t, server)
	must(t, server.SetListeners(within(t, 20*time.Second), listeners))
	connects := func(issued certificatestest.Issued) error {
		pair, err := tls.X509KeyPair(issued.Chain, issued.Key)
		must(t, err)
		// With TLS 1.3 a refusal comes after the handshake.
		_, err = shown(t, port, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}})
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); connects(good) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a good certificate is refused")
		}
	}
	if connects(revoked) == nil {
		t.Error("expected a revoked certificate to be refused")
	}
}
