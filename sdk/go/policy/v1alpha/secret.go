package v1alpha

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
)

// Secret is text that is not shown: what a policy is given where its definition says format: secret. The text is what
// Reveal returns; printed, logged or encoded, it is its name. When its operator changes it, the policy's instance is made
// anew with the new one.
type Secret struct{ name, text string }

// NewSecret makes a secret, as tests need one; name is "" where the API has the text itself.
func NewSecret(text, name string) Secret { return Secret{name: name, text: text} }

// Reveal is the text. Keep it out of logs and errors.
func (s Secret) Reveal() string { return s.text }

// Name is by which the API names it; "" where it has the text itself.
func (s Secret) Name() string { return s.name }

// Matches reports whether it is this text; how long that takes says nothing of it.
func (s Secret) Matches(text string) bool {
	own, other := sha256.Sum256([]byte(s.text)), sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(own[:], other[:]) == 1
}

// String shows the name alone.
func (s Secret) String() string { return fmt.Sprintf("Secret(name=%q)", s.name) }

// GoString does as well, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format does as well, for every other verb.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = fmt.Fprint(state, s.String()) }

// LogValue does as well, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON writes the name alone: what is read of it has no text.
func (s Secret) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"secretRef": s.name})
}

// UnmarshalJSON reads {"secretRef": NAME, "value": TEXT}, as parameters have it.
func (s *Secret) UnmarshalJSON(text []byte) error {
	var given struct {
		SecretRef *string `json:"secretRef"`
		Value     *string `json:"value"`
	}
	if err := json.Unmarshal(text, &given); err != nil || given.SecretRef == nil || given.Value == nil {
		return errors.New("expected a secret: say format: secret of it in the policy's definition")
	}
	s.name, s.text = *given.SecretRef, *given.Value
	return nil
}
