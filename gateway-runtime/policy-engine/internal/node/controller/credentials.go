package controller

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Credentials are files by which a node and a controller over the network know each other. Without Authority the stream is not
// encrypted. The node's certificate and its token are read again for each connection and stream: they may be renewed.
type Credentials struct {
	Authority   string // PEM: who signs the controller's certificate
	Certificate string // PEM: the node's own certificate; empty: it has none
	Key         string // PEM: its key
	Token       string // a token of the controller's with the role node; empty: none
}

// Check returns what is wrong with the files as they are now.
func (c Credentials) Check() error {
	if c.Authority == "" {
		if c.Certificate+c.Key+c.Token != "" {
			return errors.New("expected a file of certificate authorities, got none: without one the stream is not encrypted")
		}
		return nil
	}
	if (c.Certificate == "") != (c.Key == "") {
		return errors.New("expected a certificate with its key, got one of them")
	}
	if _, err := c.authorities(); err != nil {
		return err
	}
	if _, err := c.certificate(nil); err != nil {
		return err
	}
	if _, err := c.GetRequestMetadata(context.Background()); err != nil {
		return err
	}
	return nil
}

// options are those of a connection. failed is called with the error of each handshake that fails.
func (c Credentials) options(failed func(error)) ([]grpc.DialOption, error) {
	if c.Authority == "" {
		return []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, nil
	}
	authorities, err := c.authorities()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities, GetClientCertificate: c.certificate}
	options := []grpc.DialOption{grpc.WithTransportCredentials(&reported{credentials.NewTLS(config), failed})}
	if c.Token != "" {
		options = append(options, grpc.WithPerRPCCredentials(c))
	}
	return options, nil
}

func (c Credentials) authorities() (*x509.CertPool, error) {
	content, err := os.ReadFile(c.Authority)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s: expected certificates (PEM), got none", c.Authority)
	}
	return pool, nil
}

func (c Credentials) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if c.Certificate == "" {
		return &tls.Certificate{}, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	return &pair, err
}

// GetRequestMetadata returns the header with the token.
func (c Credentials) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if c.Token == "" {
		return nil, nil
	}
	content, err := os.ReadFile(c.Token)
	if err != nil {
		return nil, err
	}
	tokens := strings.Fields(string(content)) // the first one: a controller whose file it is too accepts all of them
	if len(tokens) == 0 {
		return nil, fmt.Errorf("%s: expected a line with a token, got none", c.Token)
	}
	return map[string]string{"authorization": "Bearer " + tokens[0]}, nil
}

// RequireTransportSecurity keeps the token from a stream that is not encrypted.
func (c Credentials) RequireTransportSecurity() bool { return true }

// reported passes the errors of handshakes on: gRPC tries again, and its streams wait.
type reported struct {
	credentials.TransportCredentials
	failed func(error)
}

func (r *reported) ClientHandshake(ctx context.Context, authority string, connection net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := r.TransportCredentials.ClientHandshake(ctx, authority, connection)
	if err != nil {
		if ctx.Err() == nil {
			r.failed(err)
		}
		return nil, nil, err
	}
	return &alerted{secured, r.failed}, info, nil
}

func (r *reported) Clone() credentials.TransportCredentials {
	return &reported{r.TransportCredentials.Clone(), r.failed}
}

// alerted passes TLS alerts on: of TLS 1.3, a controller refuses the node's certificate after the node's side of the handshake.
type alerted struct {
	net.Conn
	failed func(error)
}

func (a *alerted) Read(into []byte) (int, error) {
	read, err := a.Conn.Read(into)
	if isAlert(err) {
		a.failed(err)
	}
	return read, err
}

// isRefusal reports whether a handshake has failed because of the certificates, and not with its connection.
func isRefusal(err error) bool {
	_, isUnverified := errors.AsType[*tls.CertificateVerificationError](err)
	return isUnverified || isAlert(err)
}

// isAlert reports whether the other side has sent a TLS alert: crypto/tls has no exported type for it.
func isAlert(err error) bool {
	failed, ok := errors.AsType[*net.OpError](err)
	return ok && failed.Op == "remote error"
}

// changes calls say with an error, unless the one before it had the same text.
type changes struct {
	mutex sync.Mutex
	last  string
	say   func(error)
}

func (c *changes) note(err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if err.Error() != c.last {
		c.last = err.Error()
		c.say(err)
	}
}

func (c *changes) forget() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.last = ""
}
