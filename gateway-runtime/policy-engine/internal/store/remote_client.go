package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/valkey-io/valkey-go"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

func clientOption(settings *nodev1.ValkeyStore) valkey.ClientOption {
	return valkey.ClientOption{
		InitAddress: []string{settings.GetAddress()}, ForceSingleClient: true, ClientName: "gatewright",
		Dialer: net.Dialer{Timeout: connectTimeout}, ConnWriteTimeout: 2 * connectTimeout,
		DisableRetry: true, // a policy decides about another try: an increment may have been made
		DisableCache: true,
		DialCtxFn: func(ctx context.Context, address string, dialer *net.Dialer, _ *tls.Config) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, "tcp", address)
			if err != nil || !settings.GetTls() {
				return conn, err
			}
			return startTLS(ctx, conn, settings)
		},
		AuthCredentialsFn: func(valkey.AuthCredentialsContext) (valkey.AuthCredentials, error) {
			return credentials(settings)
		},
	}
}

// refusedInClear explains a connection that the server closed before it answered anything.
func refusedInClear(settings *nodev1.ValkeyStore, err error) error {
	if settings.GetTls() || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	return fmt.Errorf("%w: the connection was closed at once; if the port expects TLS, set spec.store.valkey.tls", err)
}

// startTLS adds TLS to a connection, with the present content of the authorities' file. It closes the connection on failure.
func startTLS(ctx context.Context, conn net.Conn, settings *nodev1.ValkeyStore) (net.Conn, error) {
	config, err := tlsConfig(settings)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	client := tls.Client(conn, config)
	if err := client.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, tlsFailure(settings, config.ServerName, err)
	}
	return client, nil
}

func tlsFailure(settings *nodev1.ValkeyStore, name string, err error) error {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		return fmt.Errorf("TLS: %w; if the port does not expect TLS, leave out spec.store.valkey.tls", err)
	}
	signers := "authorities of the system"
	if file := settings.GetAuthorityFile(); file != "" {
		signers = "spec.store.valkey.tls.authorityFile, " + file
	}
	return fmt.Errorf("%w; expected a certificate for %s, signed by one of the %s", err, name, signers)
}

// credentials reads the password from the present content of its file.
func credentials(settings *nodev1.ValkeyStore) (valkey.AuthCredentials, error) {
	auth := valkey.AuthCredentials{Username: settings.GetUser()}
	if settings.GetPasswordFile() == "" {
		return auth, nil
	}
	text, err := os.ReadFile(settings.GetPasswordFile())
	if err != nil {
		return auth, fmt.Errorf("spec.store.valkey.passwordFile: %w", err)
	}
	auth.Password = strings.TrimRight(string(text), "\r\n")
	return auth, nil
}

func tlsConfig(settings *nodev1.ValkeyStore) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: settings.GetServerName()}
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(settings.GetAddress())
		if err != nil {
			return nil, fmt.Errorf("spec.store.valkey.address: %w", err)
		}
		config.ServerName = host
	}
	if file := settings.GetAuthorityFile(); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("spec.store.valkey.tls.authorityFile: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("spec.store.valkey.tls.authorityFile: %s: expected certificates in PEM, found none", file)
		}
	}
	return config, nil
}
