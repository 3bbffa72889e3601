package apikeyauth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// minKeyLength is the least length of a key in characters, that of 128 bits in base64.
const minKeyLength = 22

// key is a key in the parameters.
type key struct {
	Hash    string          `json:"hash"`
	Key     *v1alpha.Secret `json:"key"`
	Owner   string          `json:"owner"`
	Scopes  []string        `json:"scopes"`
	Expires string          `json:"expires"`
}

// listedKey is a key in one of keyLists, whose text is not a secret of its own.
type listedKey struct {
	key
	Key string `json:"key"`
}

// owner is the owner of a key, with the key's rights.
type owner struct {
	name     string
	scopes   []string
	expires  time.Time // zero: never
	identity map[string]any
}

func (o *owner) isExpired(now time.Time) bool { return !o.expires.IsZero() && !now.Before(o.expires) }

// addAll adds all keys, and returns all mistakes.
func (p *policy) addAll(params parameters) error {
	var errs []error
	for i, k := range params.Keys {
		text := ""
		if k.Key != nil {
			text = k.Key.Reveal()
		}
		if err := p.add(k, text); err != nil {
			errs = append(errs, fmt.Errorf("keys[%d]: %w", i, err))
		}
	}
	for i, list := range params.KeyLists {
		if err := p.addList(list.Reveal()); err != nil {
			errs = append(errs, fmt.Errorf("keyLists[%d]: %w", i, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if len(p.owners) == 0 && p.consumers == nil {
		return errors.New("expected a key, got none: the lists contain none")
	}
	return nil
}

// addList adds the keys of a list: a JSON list, or one object on each line.
func (p *policy) addList(text string) error {
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		var entries []listedKey
		if err := decode([]byte(text), &entries); err != nil {
			return err
		}
		for i, entry := range entries {
			if err := p.add(entry.key, entry.Key); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return nil
	}
	var errs []error
	number := 0
	for line := range strings.Lines(text) {
		number++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var entry listedKey
		err := decode([]byte(line), &entry)
		if err == nil {
			err = p.add(entry.key, entry.Key)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", number, err))
		}
	}
	return errors.Join(errs...)
}

// decode returns an error that quotes nothing of the text, which may contain keys.
func decode(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil || decoder.More() {
		return errors.New(`expected JSON like {"hash": "sha256:…", "owner": "…"} with hash or key, owner, scopes and expires, got something else`)
	}
	return nil
}

func (p *policy) add(k key, text string) error {
	digest, err := digestOf(k.Hash, text)
	if err != nil {
		return err
	}
	if k.Owner == "" || len(k.Owner) > 256 || strings.ContainsFunc(k.Owner, func(r rune) bool { return r < ' ' || r > '~' }) {
		return errors.New("owner: expected 1 to 256 printable ASCII characters")
	}
	holder := &owner{name: k.Owner, scopes: k.Scopes, identity: map[string]any{"subject": k.Owner, "method": "api-key"}}
	if len(k.Scopes) > 0 {
		holder.identity["scopes"] = k.Scopes
	}
	if k.Expires != "" {
		if holder.expires, err = time.Parse(time.RFC3339, k.Expires); err != nil {
			return fmt.Errorf("expires: expected a time like 2027-01-01T00:00:00Z, got %q", k.Expires)
		}
	}
	if existing := p.owners[digest]; existing != nil {
		return fmt.Errorf("expected another key for %s than that of %s, got the same", k.Owner, existing.name)
	}
	p.owners[digest] = holder
	return nil
}

func digestOf(hash, text string) (digest [sha256.Size]byte, err error) {
	switch {
	case hash != "" && text != "" || hash == "" && text == "":
		return digest, errors.New("expected hash or key, and not both")
	case text != "" && len(text) < minKeyLength:
		return digest, fmt.Errorf("key: expected at least %d characters, as 128 random bits have in base64, got %d; create a key with `openssl rand -base64 24`", minKeyLength, len(text))
	case text != "":
		return sha256.Sum256([]byte(text)), nil
	}
	digits, found := strings.CutPrefix(hash, "sha256:")
	if n, err := hex.Decode(digest[:], []byte(digits)); !found || len(digits) != 2*sha256.Size || err != nil || n != sha256.Size {
		return digest, errors.New("hash: expected sha256: and 64 hex digits, as `printf %s KEY | sha256sum` prints them")
	}
	return digest, nil
}
