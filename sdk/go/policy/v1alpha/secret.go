package v1alpha

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
)

// Secret is a text that is not shown: the value of a parameter with format: secret in the policy's definition. Reveal returns the
// text; printed, logged or encoded, a secret is only its name. When the operator changes it, the policy's instance is built
// again with the new text.
type Secret struct{ name, text string }

// NewSecret makes a secret, for tests; name is "" if the API contains the text itself.
func NewSecret(text, name string) Secret { return Secret{name: name, text: text} }

// Reveal returns the text. Keep it out of logs and errors.
func (s Secret) Reveal() string { return s.text }

// Name returns the name that the API uses; "" if the API contains the text itself.
func (s Secret) Name() string { return s.name }

// Matches compares the secret with a text, in constant time.
func (s Secret) Matches(text string) bool {
	own, other := sha256.Sum256([]byte(s.text)), sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(own[:], other[:]) == 1
}

// String returns the name alone.
func (s Secret) String() string { return fmt.Sprintf("Secret(name=%q)", s.name) }

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format prints String for every other verb.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = fmt.Fprint(state, s.String()) }

// LogValue is String, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON writes the name alone: reading it back gives a secret without text.
func (s Secret) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"secretRef": s.name})
}

// UnmarshalJSON reads {"secretRef": NAME, "value": TEXT}, the form in parameters.
func (s *Secret) UnmarshalJSON(text []byte) error {
	var reference struct {
		SecretRef *string `json:"secretRef"`
		Value     *string `json:"value"`
	}
	if err := json.Unmarshal(text, &reference); err != nil || reference.SecretRef == nil || reference.Value == nil {
		return errors.New("expected a secret: set format: secret for it in the policy's definition")
	}
	s.name, s.text = *reference.SecretRef, *reference.Value
	return nil
}
