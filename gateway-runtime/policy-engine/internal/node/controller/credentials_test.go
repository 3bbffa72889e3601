package controller_test

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/certificates/certificatestest"
	"gatewright.dev/policy-engine/internal/logtest"
	"gatewright.dev/policy-engine/internal/node/controller"
)

// host is what the controllers' certificates are for.
const host = "localhost"

// issued writes a certificate and its key, and the certificate of an authority of its own, and returns their files.
func issued(t *testing.T, name string) (authority, certificate, key string) {
	t.Helper()
	signer := certificatestest.NewAuthority(t, name)
	pair, directory := signer.Issue(name), t.TempDir()
	return write(t, directory, "authority.pem", string(signer.PEM)), write(t, directory, "certificate.pem", string(pair.Chain)),
		write(t, directory, "key.pem", string(pair.Key))
}

func write(t *testing.T, directory, name, content string) string {
	t.Helper()
	path := filepath.Join(directory, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// secured is a controller over the network that says of each stream with which token and which certificate it came.
type secured struct {
	nodev1.UnimplementedNodeServiceServer
	came    chan string
	refuses codes.Code
}

func (s *secured) Sync(stream nodev1.NodeService_SyncServer) error {
	headers, _ := metadata.FromIncomingContext(stream.Context())
	select {
	case s.came <- strings.Join(headers.Get("authorization"), ","):
	case <-stream.Context().Done():
	}
	if s.refuses != codes.OK {
		return status.Error(s.refuses, "expected a token with the role node")
	}
	<-stream.Context().Done()
	return nil
}

// serve serves with the certificate until the test ends, and returns the address. clients: who signs those of nodes; empty: no
// certificate is asked for.
func serve(t *testing.T, service *secured, certificate, key, clients string) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if clients != "" {
		content, err := os.ReadFile(clients)
		if err != nil {
			t.Fatal(err)
		}
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		config.ClientCAs.AppendCertsFromPEM(content)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	nodev1.RegisterNodeServiceServer(server, service)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(host, port)
}

func join(t *testing.T, address string, files controller.Credentials) *logtest.Log {
	t.Helper()
	log := &logtest.Log{}
	run(t, "", func(client *controller.Client) {
		client.Address, client.Credentials, client.Log = address, files, slog.New(slog.NewTextHandler(log, nil))
	})
	return log
}

func TestATokenIsReadAgainForEachStream(t *testing.T) {
	authority, certificate, key := issued(t, host)
	service := &secured{came: make(chan string), refuses: codes.Unavailable}
	token := write(t, t.TempDir(), "token", "first\n")
	join(t, serve(t, service, certificate, key, ""), controller.Credentials{Authority: authority, Token: token})
	if came := await.Receive(t, service.came, "a stream"); came != "Bearer first" {
		t.Errorf("expected the token, got %q", came)
	}
	write(t, filepath.Dir(token), "token", "second\nfirst\n")
	await.Until(t, "the other token comes", func() bool { return <-service.came == "Bearer second" })
}

func TestANodeShowsItsCertificate(t *testing.T) {
	authority, certificate, key := issued(t, host)
	nodes, own, ownKey := issued(t, "node-1")
	service := &secured{came: make(chan string)}
	address := serve(t, service, certificate, key, nodes)
	join(t, address, controller.Credentials{Authority: authority, Certificate: own, Key: ownKey})
	await.Receive(t, service.came, "a stream")
}

func TestWhyAControllerAndANodeDoNotAcceptEachOtherIsLoggedOnce(t *testing.T) {
	authority, certificate, key := issued(t, host)
	other, _, _ := issued(t, "other")
	for name, c := range map[string]struct {
		files    controller.Credentials
		refuses  codes.Code
		expected string
	}{
		"another authority": {controller.Credentials{Authority: other}, codes.OK, "certificate signed by unknown authority"},
		"the token":         {controller.Credentials{Authority: authority}, codes.Unauthenticated, "expected a token with the role node"},
		"the hello":         {controller.Credentials{Authority: authority}, codes.InvalidArgument, "expected a token with the role node"},
	} {
		t.Run(name, func(t *testing.T) {
			service := &secured{came: make(chan string, 100), refuses: c.refuses}
			log := join(t, serve(t, service, certificate, key, ""), c.files)
			await.Until(t, "the reason is logged", func() bool { return log.Count(c.expected) > 0 })
			if c.refuses != codes.OK {
				for range 3 {
					await.Receive(t, service.came, "a further stream")
				}
			}
			if count := log.Count("do not accept each other"); count != 1 {
				t.Errorf("expected one line, got %d:\n%s", count, log.String())
			}
		})
	}
}

func TestARefusalIsKnownUntilTheControllerAnswers(t *testing.T) {
	authority, certificate, key := issued(t, host)
	nodes, own, ownKey := issued(t, "node-1")
	foreign, _, _ := issued(t, "other")
	for name, c := range map[string]struct {
		files    controller.Credentials
		clients  string
		refuses  codes.Code
		expected string
	}{
		"by its token":                   {controller.Credentials{Authority: authority}, "", codes.Unauthenticated, "expected a token with the role node"},
		"without a certificate":          {controller.Credentials{Authority: authority}, nodes, codes.OK, "certificate required"},
		"with another certificate":       {controller.Credentials{Authority: authority, Certificate: own, Key: ownKey}, foreign, codes.OK, "unknown certificate authority"},
		"by the controller's authority":  {controller.Credentials{Authority: foreign}, "", codes.OK, "certificate signed by unknown authority"},
		"not, where it is not there now": {controller.Credentials{Authority: authority}, "", codes.Unavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			service := &secured{came: make(chan string, 100), refuses: c.refuses}
			address := serve(t, service, certificate, key, c.clients)
			client := run(t, "", func(client *controller.Client) { client.Address, client.Credentials = address, c.files })
			if c.expected == "" {
				for range 3 {
					await.Receive(t, service.came, "a stream")
				}
				if refusal := client.Refusal(); refusal != "" {
					t.Errorf("expected no refusal, got %q", refusal)
				}
				return
			}
			await.Until(t, "the refusal is known", func() bool { return strings.Contains(client.Refusal(), c.expected) })
		})
	}
}

func TestFilesThatCannotBeUsedAreReported(t *testing.T) {
	authority, certificate, key := issued(t, "node")
	directory := t.TempDir()
	empty := write(t, directory, "empty", "")
	absent := filepath.Join(directory, "absent")
	for expected, files := range map[string]controller.Credentials{
		"expected a file of certificate authorities, got none": {Token: empty},
		"expected certificates (PEM), got none":                {Authority: empty},
		"no such file or directory":                            {Authority: absent},
		"expected a certificate with its key, got one of them": {Authority: authority, Certificate: certificate},
		"expected a line with a token, got none":               {Authority: authority, Token: empty},
		"failed to find any PEM data":                          {Authority: authority, Certificate: empty, Key: key},
	} {
		if err := files.Check(); err == nil || !strings.Contains(err.Error(), expected) {
			t.Errorf("expected %q, got %v", expected, err)
		}
	}
	for _, files := range []controller.Credentials{{}, {Authority: authority}, {Authority: authority, Certificate: certificate, Key: key}} {
		if err := files.Check(); err != nil {
			t.Errorf("expected %v to be fine, got %v", files, err)
		}
	}
}
