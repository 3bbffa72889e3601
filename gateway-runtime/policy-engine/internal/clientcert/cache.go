package clientcert

import (
	"log/slog"
	"strings"
	"sync"

	"gatewright.dev/sdk/policy/v1alpha"
)

// The bounds of a cache: it has up to twice as many certificates, and none with a longer encoding.
const (
	remembered  = 1024
	maxEncoded  = 16 << 10
	unreadNames = "a client certificate cannot be read: policies are given its fingerprint, and no names"
)

// Cache reads certificates, and keeps the last ones: a client shows the same one with each request.
type Cache struct {
	log *slog.Logger

	mu            sync.RWMutex
	recent, older map[string]*v1alpha.Peer
}

// NewCache makes an empty cache, which logs the certificates whose names it cannot read.
func NewCache(log *slog.Logger) *Cache { return &Cache{log: log, recent: map[string]*v1alpha.Peer{}} }

// Read is Read, except that a peer without names is no error.
func (c *Cache) Read(encoded string) (*v1alpha.Peer, error) {
	c.mu.RLock()
	peer := c.recent[encoded]
	c.mu.RUnlock()
	if peer != nil {
		return peer, nil
	}
	c.mu.Lock()
	peer = c.older[encoded]
	c.mu.Unlock()
	if peer == nil {
		var err error
		if peer, err = Read(encoded); peer == nil {
			return nil, err
		}
		if err != nil {
			c.log.Warn(unreadNames, "fingerprint", peer.Fingerprint, "error", err.Error())
		}
	}
	if len(encoded) <= maxEncoded {
		c.put(strings.Clone(encoded), peer) // a copy, since the text may be part of a larger message
	}
	return peer, nil
}

func (c *Cache) put(encoded string, peer *v1alpha.Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.recent) == remembered {
		c.recent, c.older = make(map[string]*v1alpha.Peer, remembered), c.recent
	}
	c.recent[encoded] = peer
}
