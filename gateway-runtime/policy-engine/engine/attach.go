package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
)

// AttachListen configures where Envoys that are not the node's own send requests, by ext_proc.
type AttachListen struct {
	Address     string // HOST:PORT; "": nowhere
	Certificate string // PEM file, with those of its authorities; "": connections are not encrypted
	Key         string // PEM file
	Authority   string // PEM file, of who signs the certificates of those Envoys; "": they show none
	Clear       bool   // connections of other machines need no encryption
}

// Check returns what is wrong with the options and their files as they are now.
func (l AttachListen) Check() error {
	if l.Address == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(l.Address)
	switch {
	case err != nil:
		err = fmt.Errorf("--attach-listen: expected HOST:PORT, got %q", l.Address)
	case l.Certificate == "" && !l.Clear && !isLoopback(host):
		err = fmt.Errorf("--attach-listen: expected an address of this machine alone, such as 127.0.0.1:9002, without a certificate, got %q; name --attach-certificate and --attach-key, or say --attach-clear", l.Address)
	}
	if l.Certificate != "" || l.Key != "" || l.Authority != "" {
		_, tlsErr := l.read()
		err = errors.Join(err, tlsErr)
	}
	return err
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// listen opens the port. The files are read for each connection: they may be renewed.
func (l AttachListen) listen(ctx context.Context) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", l.Address)
	if err != nil {
		return nil, fmt.Errorf("--attach-listen: %w", err)
	}
	if l.Certificate == "" {
		return listener, nil
	}
	return tls.NewListener(listener, &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return l.read() }}), nil
}

// read returns the configuration of connections.
func (l AttachListen) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(l.Certificate, l.Key)
	if err != nil {
		err = fmt.Errorf("--attach-certificate and --attach-key: expected a certificate with its key, got: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{pair}}
	if l.Authority == "" {
		return config, err
	}
	text, authorityErr := os.ReadFile(l.Authority)
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if authorityErr == nil && !config.ClientCAs.AppendCertsFromPEM(text) {
		authorityErr = errors.New("no certificate is in it")
	}
	if authorityErr != nil {
		err = errors.Join(err, fmt.Errorf("--attach-authority: expected a file with certificates, got: %w", authorityErr))
	}
	return config, err
}
