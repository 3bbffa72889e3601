package apikeyauth

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"

	"gatewright.dev/sdk/policy/v1alpha"
)

// consumers are the controller's consumers whose keys pass: all, or those with all of these labels.
type consumers struct {
	Labels map[string]string `json:"labels"`

	isOff bool
	known v1alpha.Consumers
}

// UnmarshalJSON accepts true, false and an object.
func (c *consumers) UnmarshalJSON(text []byte) error {
	var isOn bool
	if json.Unmarshal(text, &isOn) == nil {
		c.isOff = !isOn
		return nil
	}
	type plain consumers
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode((*plain)(c))
}

// of returns the consumers of a node; nil: none pass.
func (c *consumers) of(known v1alpha.Consumers) *consumers {
	if c == nil || c.isOff || known == nil {
		return nil
	}
	return &consumers{Labels: c.Labels, known: known}
}

// find returns the consumer that has the key as its owner; nil: none, or none that passes.
func (c *consumers) find(digest [sha256.Size]byte) *owner {
	if c == nil {
		return nil
	}
	consumer := c.known.ByKey(digest)
	if consumer == nil {
		return nil
	}
	for name, value := range c.Labels {
		if consumer.Labels[name] != value {
			return nil
		}
	}
	return &owner{name: consumer.Name, identity: consumer.Identity("api-key")}
}
