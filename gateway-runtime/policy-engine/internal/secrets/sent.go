package secrets

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
)

// Sent is a Secret of the controller, as the controller has sent it.
type Sent struct {
	Version     string            // names the values; "": there are none
	Values      map[string]string // by key
	Unavailable string            // why the controller has none, or no newer ones; "": these are its values
}

var goodReference = regexp.MustCompile(`^([a-z0-9-]{1,63})/([a-z0-9][a-z0-9._-]{0,252})$`)

// splitReference returns the Secret and the key of "NAME/KEY"; ok is false for the name of a file, which has no slash.
func splitReference(name string) (secret, key string, ok bool) {
	if !strings.Contains(name, "/") {
		return "", "", false
	}
	parts := goodReference.FindStringSubmatch(name)
	if parts == nil {
		return "", "", false
	}
	return parts[1], parts[2], true
}

// SetSent replaces Secrets of the controller by name, and reports whether values have changed. One that is unavailable keeps the
// values that it had.
func (s *Store) SetSent(received map[string]Sent) (changed bool) {
	s.mutex.Lock()
	news := false
	for name, sent := range received {
		old := s.sent[name]
		if sent.Unavailable != "" {
			sent.Version, sent.Values = old.Version, old.Values
		}
		s.sent[name] = sent
		changed = changed || sent.Version != old.Version || !maps.Equal(sent.Values, old.Values)
		news = news || changed || sent.Unavailable != old.Unavailable
	}
	s.mutex.Unlock()
	if news {
		s.notify()
	}
	return changed
}

// Sent returns the Secrets that have values, by name.
func (s *Store) Sent() map[string]Sent {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	held := map[string]Sent{}
	for name, sent := range s.sent {
		if sent.Version != "" {
			held[name] = sent
		}
	}
	return held
}

// keepSent drops the Secrets of the controller that none of these refers to, and reports whether one of them had values.
func (s *Store) keepSent(refs map[Ref]bool) (dropped bool) {
	used := map[string]bool{}
	for ref := range refs {
		if secret, _, ok := splitReference(ref.Name); ok {
			used[secret] = true
		}
	}
	for name, sent := range s.sent {
		if !used[name] {
			delete(s.sent, name)
			dropped = dropped || sent.Version != ""
		}
	}
	return dropped
}

// getSent returns the value of a key of a Secret of the controller. The caller holds the mutex.
func (s *Store) getSent(reference, secret, key string) (string, error) {
	sent, known := s.sent[secret]
	if value, ok := sent.Values[key]; ok {
		return value, nil
	}
	switch {
	case !known:
		return "", fmt.Errorf("secret %s: expected the Secret %s of the controller, got none: the controller sends it as soon as it answers, if there is one; else create it by `gatewright secret set %s %s=@FILE`, and the API goes on by itself",
			reference, secret, secret, key)
	case sent.Unavailable != "":
		return "", fmt.Errorf("secret %s: %s", reference, sent.Unavailable)
	default:
		return "", fmt.Errorf("secret %s: expected the key %s in the Secret %s of the controller, got none: add it by `gatewright secret set %s %s=@FILE`, and the API goes on by itself",
			reference, key, secret, secret, key)
	}
}
