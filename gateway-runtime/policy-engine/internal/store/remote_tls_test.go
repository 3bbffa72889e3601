package store

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/logtest"
)

// authority signs the certificates of a test's servers.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.certificate, a.key = signed(t, template, a)
	return a
}

// signed is a certificate with its key, signed by the authority, or by itself where that has none yet.
func signed(t *testing.T, template *x509.Certificate, by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if by.key != nil {
		parent, signer = by.certificate, by.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// trustedIn has a file hold the certificate of this authority, and no other. It returns the file.
func (a *authority) trustedIn(t *testing.T, file string) string {
	t.Helper()
	writePEM(t, file, "CERTIFICATE", a.certificate.Raw)
	return file
}

func writePEM(t *testing.T, file, kind string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// secure has the server speak TLS alone, with a certificate of this authority, from its next start on.
func (s *server) secure(t *testing.T, by *authority, names ...string) {
	t.Helper()
	certificate, key := signed(t, &x509.Certificate{DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, by)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	chain, keyFile := filepath.Join(t.TempDir(), "chain.pem"), filepath.Join(t.TempDir(), "key.pem")
	writePEM(t, chain, "CERTIFICATE", certificate.Raw)
	writePEM(t, keyFile, "PRIVATE KEY", raw)
	s.options = []string{
		"--port", "0", "--tls-port", s.port, "--tls-auth-clients", "no", "--tls-cert-file", chain, "--tls-key-file", keyFile,
	}
}

// logged is a store with these settings, and its log.
func logged(t *testing.T, settings *nodev1.ValkeyStore) (*Store, *logtest.Log) {
	t.Helper()
	log := &logtest.Log{}
	s := New(slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(s.Close)
	s.Apply(&nodev1.Store{Valkey: settings})
	return s, log
}

// tlsSettings trust the authorities of the file; "": those of the system.
func (s *server) tlsSettings(authorityFile, serverName string) *nodev1.ValkeyStore {
	settings := s.settings()
	settings.Tls, settings.AuthorityFile, settings.ServerName = true, authorityFile, serverName
	return settings
}

func says(s *Store, text string) func() bool {
	return func() bool {
		err := s.Standing()
		return err != nil && strings.Contains(err.Error(), text)
	}
}

func TestTLS(t *testing.T) {
	right, folder := newAuthority(t), t.TempDir()
	server, inClear := newServer(t), startServer(t)
	server.secure(t, right, "valkey.test")
	server.start(t)
	trusted := right.trustedIn(t, filepath.Join(folder, "right.pem"))
	other := newAuthority(t).trustedIn(t, filepath.Join(folder, "other.pem"))
	empty := filepath.Join(folder, "empty.pem")
	writePEM(t, empty, "PRIVATE KEY", nil)
	remoteStore(t, inClear.settings()) // it is there
	for name, test := range map[string]struct {
		settings *nodev1.ValkeyStore
		says     string // "": it works
	}{
		"by its address":         {server.tlsSettings(trusted, ""), ""},
		"by its name":            {server.tlsSettings(trusted, "valkey.test"), ""},
		"another name":           {server.tlsSettings(trusted, "other.test"), "expected a certificate for other.test, signed by"},
		"another authority":      {server.tlsSettings(other, ""), "signed by unknown authority"},
		"which is named":         {server.tlsSettings(other, ""), "authorityFile, " + other},
		"of the system":          {server.tlsSettings("", ""), "signed by one of the authorities of the system"},
		"no file":                {server.tlsSettings(filepath.Join(folder, "none"), ""), "spec.store.valkey.tls.authorityFile: open"},
		"no certificate":         {server.tlsSettings(empty, ""), "expected certificates in PEM, found none"},
		"in clear to TLS":        {server.settings(), "if the port expects TLS, set spec.store.valkey.tls"},
		"TLS to one that is not": {inClear.tlsSettings(trusted, ""), "if the port does not expect TLS, leave out spec.store.valkey.tls"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, log := logged(t, test.settings)
			if test.says == "" {
				await.Until(t, "it is connected", func() bool { return s.Standing() == nil })
				fill(t, s.Of("p", name), "k", 1)
				return
			}
			await.Until(t, "it says "+test.says, says(s, test.says))
			if _, _, err := s.Of("p", "a").Get(t.Context(), "k"); !unavailable(err) {
				t.Errorf("expected a failure of class unavailable, got %v", err)
			}
			await.Until(t, "the log says so", func() bool { return strings.Contains(log.String(), "cause=") })
			if text := log.String(); strings.Count(text, "calls fail until it does") != 1 {
				t.Errorf("expected one line that says that it does not answer, got %s", text)
			}
		})
	}
}

func TestAReplacedAuthorityIsReadOnReconnection(t *testing.T) {
	before, after, server := newAuthority(t), newAuthority(t), newServer(t)
	server.secure(t, before)
	server.start(t)
	file := before.trustedIn(t, filepath.Join(t.TempDir(), "authority.pem"))
	s := remoteStore(t, server.tlsSettings(file, ""))
	server.kill()
	server.secure(t, after)
	server.start(t)
	await.Until(t, "it is not trusted", says(s, "signed by unknown authority"))
	after.trustedIn(t, file)
	await.Until(t, "it is trusted", func() bool { return s.Standing() == nil })
	fill(t, s.Of("p", "a"), "k", 1)
}
