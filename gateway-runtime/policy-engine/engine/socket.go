package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"gatewright.dev/policy-engine/internal/peers"
)

func socketPath(address string) (string, error) {
	path, ok := strings.CutPrefix(address, "unix:")
	if !ok || path == "" {
		return "", fmt.Errorf("expected unix:PATH, got %q", address)
	}
	return path, nil
}

// listen opens a Unix socket with mode 0600, in place of one that a dead process left behind. If the rule has a file,
// only the peers that the rule allows can connect.
func listen(ctx context.Context, address string, rule peers.Rule, log *slog.Logger) (net.Listener, error) {
	path, err := socketPath(address)
	if err != nil {
		return nil, err
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	if rule.File == "" {
		return listener, nil
	}
	return peers.Listen(listener, rule, log), nil
}

func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s: expected a socket or nothing, got a file of mode %s; remove it, or name another path", path, info.Mode())
	}
	if alive, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path); err == nil {
		return errors.Join(fmt.Errorf("%s: another process listens there; stop it, or name another path", path), alive.Close())
	}
	if ctx.Err() != nil { // the dial was cancelled, so it shows nothing
		return ErrStopped
	}
	return os.Remove(path)
}
