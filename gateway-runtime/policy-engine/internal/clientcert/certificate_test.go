package clientcert_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/clientcert"
	"gatewright.dev/sdk/policy/v1alpha"
)

// general is one GeneralName: its tag and bytes.
type general struct {
	tag   int
	bytes string
}

// certificate makes one, and returns it as Envoy writes it, and its fingerprint. Its names are not checked.
func certificate(t *testing.T, subject []byte, names ...general) (encoded, fingerprint string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: subject, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	if len(names) > 0 {
		var values []asn1.RawValue
		for _, name := range names {
			values = append(values, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: name.tag, Bytes: []byte(name.bytes)})
		}
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: must(asn1.Marshal(values))}}
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	digest := sha256.Sum256(der)
	return encode(der), hex.EncodeToString(digest[:])
}

func encode(der []byte) string {
	return url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// subject is a name of attributes: type and value in turn, one in each part.
func subject(pairs ...any) []byte {
	var name pkix.RDNSequence
	for n := 0; n < len(pairs); n += 2 {
		name = append(name, []pkix.AttributeTypeAndValue{{Type: pairs[n].(asn1.ObjectIdentifier), Value: pairs[n+1]}})
	}
	return must(asn1.Marshal(name))
}

var (
	commonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	organization = asn1.ObjectIdentifier{2, 5, 4, 10}
	email        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
	ours         = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}
)

func TestAPeerHasAllNamesAsWrittenInTheCertificate(t *testing.T) {
	encoded, fingerprint := certificate(t, subject(organization, "Example", commonName, "alice"),
		general{2, "a.example"}, general{2, `b,DNS:c.example`}, general{6, "spiffe://example.org/a,b"}, general{6, `urn:"quoted"`},
		general{1, "alice@example.org"}, general{7, "\x0a\x00\x00\x01"}, general{7, strings.Repeat("\x00", 15) + "\x01"},
		general{8, "\x2a\x03"}, general{2, "*.example"})
	peer, err := clientcert.Read(encoded)
	if err != nil {
		t.Fatal(err)
	}
	for kind, pair := range map[string][2][]string{
		"subject":         {{peer.Subject, peer.Issuer, peer.Fingerprint}, {"CN=alice,O=Example", "CN=alice,O=Example", fingerprint}},
		"DNS names":       {peer.DNSNames, {"a.example", "b,DNS:c.example", "*.example"}},
		"URIs":            {peer.URIs, {"spiffe://example.org/a,b", `urn:"quoted"`}},
		"email addresses": {peer.EmailAddresses, {"alice@example.org"}},
		"IP addresses":    {peer.IPAddresses, {"10.0.0.1", "::1"}},
	} {
		if !slices.Equal(pair[0], pair[1]) {
			t.Errorf("%s: expected %q, got %q", kind, pair[1], pair[0])
		}
	}
}

func TestNamesAreWrittenAsRFC4514Says(t *testing.T) {
	several := must(asn1.Marshal(pkix.RDNSequence{{{Type: commonName, Value: "a"}, {Type: organization, Value: "b"}}}))
	for want, name := range map[string][]byte{
		"":                             subject(),
		"CN=":                          subject(commonName, ""),
		`CN=\#a\ `:                     subject(commonName, "#a "),
		`CN=\ `:                        subject(commonName, " "),
		`CN=a\, b\+c\"d\\e\;f\<g\>h`:   subject(commonName, `a, b+c"d\e;f<g>h`),
		"CN=café,O=Ünïted":             subject(organization, "Ünïted", commonName, "café"),
		`CN=a\00b\0ac`:                 subject(commonName, "a\x00b\nc"),
		"emailAddress=a@b.example":     subject(email, "a@b.example"),
		"1.3.6.1.4.1.99999.1=#130161":  subject(ours, "a"),
		`CN=a\,O=admin`:                subject(commonName, "a,O=admin"),
		"CN=a+O=b":                     several,
		"CN=last,O=first":              subject(organization, "first", commonName, "last"),
		"CN=two,CN=one":                subject(commonName, "one", commonName, "two"),
		`CN==,O=a b`:                   subject(organization, "a b", commonName, "="),
		"emailAddress=a\\,CN=root@b.c": subject(email, "a,CN=root@b.c"),
	} {
		encoded, _ := certificate(t, name)
		if peer, err := clientcert.Read(encoded); err != nil || peer.Subject != want {
			t.Errorf("expected %q, got %+v, %v", want, peer, err)
		}
	}
}

func TestInvalidCertificatesAreErrors(t *testing.T) {
	for _, encoded := range []string{"", "-", "%", "%zz", "CN=alice", encode([]byte("x"))[:40], strings.ReplaceAll(encode([]byte("x")), "CERTIFICATE", "PRIVATE%20KEY")} {
		if peer, err := clientcert.Read(encoded); peer != nil || err == nil {
			t.Errorf("%q: expected an error and no peer, got %v, %v", encoded, peer, err)
		}
	}
}

func TestACertificateWhoseNamesAreNotCertainHasAFingerprintAlone(t *testing.T) {
	for kind, names := range map[string][]general{
		"a name beyond ASCII":      {{2, "caf\xe9.example"}},
		"an address of five bytes": {{7, "12345"}},
		"a URI of nothing":         {{6, "http://[::1"}},
	} {
		encoded, fingerprint := certificate(t, subject(commonName, "alice"), names...)
		peer, err := clientcert.Read(encoded)
		if err == nil || peer.Fingerprint != fingerprint || peer.Subject != "" || len(peer.DNSNames)+len(peer.URIs)+len(peer.IPAddresses) > 0 {
			t.Errorf("%s: expected the fingerprint alone, got %+v, %v", kind, peer, err)
		}
	}
}

func TestJSONOfAPeer(t *testing.T) {
	encoded, fingerprint := certificate(t, subject(), general{2, "a.example"}, general{6, `urn:"<é>`[:6]})
	peer, _ := clientcert.Read(encoded)
	text, err := peer.JSON()
	want := fmt.Sprintf(`{"subject":"","issuer":"","dnsNames":["a.example"],"uris":["urn:\"\u003c"],"emailAddresses":[],"ipAddresses":[],"fingerprint":"%s"}`, fingerprint)
	if err != nil || string(text) != want {
		t.Errorf("expected %s, got %s, %v", want, text, err)
	}
}

func TestTheCacheReadsACertificateOnce(t *testing.T) {
	var log bytes.Buffer
	cache := clientcert.NewCache(slog.New(slog.NewTextHandler(&log, nil)))
	good, _ := certificate(t, subject(commonName, "alice"))
	bad, fingerprint := certificate(t, subject(commonName, "alice"), general{7, "12345"})
	first, again := must(cache.Read(good)), must(cache.Read(good))
	if first != again {
		t.Error("expected the same peer again, got another one")
	}
	for range 3 {
		if peer := must(cache.Read(bad)); peer.Fingerprint != fingerprint {
			t.Errorf("expected %s, got %+v", fingerprint, peer)
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), fingerprint) {
		t.Errorf("expected one line with the fingerprint, got %s", log.String())
	}
	if _, err := cache.Read("x"); err == nil {
		t.Error("expected an error, got none")
	}
}

func TestTheCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	cache := clientcert.NewCache(slog.New(slog.DiscardHandler))
	used := must(cache.Read(encode([]byte("used"))))
	for n := range 5000 {
		must(cache.Read(encode(fmt.Appendf(nil, "%d", n))))
		if n%500 == 0 && must(cache.Read(encode([]byte("used")))) != used {
			t.Fatal("expected what is used to be kept")
		}
	}
	if size := cache.Size(); size > 2048 {
		t.Errorf("expected at most 2048 certificates, got %d", size)
	}
	large := encode(bytes.Repeat([]byte("x"), 20<<10))
	if first := must(cache.Read(large)); must(cache.Read(large)) == first {
		t.Error("expected a large certificate not to be remembered")
	}
}

func TestTheCacheIsSafeForConcurrentUse(t *testing.T) {
	cache := clientcert.NewCache(slog.New(slog.DiscardHandler))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for n := range 3000 {
				peer, err := cache.Read(encode(fmt.Appendf(nil, "%d", n%1500)))
				if err != nil || len(peer.Fingerprint) != 64 {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func FuzzRead(f *testing.F) {
	f.Add("")
	f.Add("-----BEGIN%20CERTIFICATE-----%0AMA%3D%3D%0A-----END%20CERTIFICATE-----%0A")
	f.Fuzz(func(t *testing.T, encoded string) {
		peer, err := clientcert.Read(encoded)
		if (peer == nil) != (err != nil) && (err == nil || peer.Subject != "" || len(peer.Fingerprint) != 64) {
			t.Errorf("expected a peer, or an error with a fingerprint at most, got %+v, %v", peer, err)
		}
		if peer != nil {
			if _, err := peer.JSON(); err != nil {
				t.Error(err)
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	encoded, _ := certificate(&testing.T{}, subject(commonName, "alice"), general{2, "a.example"})
	cache := clientcert.NewCache(slog.New(slog.DiscardHandler))
	var last *v1alpha.Peer
	b.Run("remembered", func(b *testing.B) {
		for b.Loop() {
			last = must(cache.Read(encoded))
		}
	})
	b.Run("anew", func(b *testing.B) {
		for b.Loop() {
			last = must(clientcert.Read(encoded))
		}
	})
	_ = last
}
