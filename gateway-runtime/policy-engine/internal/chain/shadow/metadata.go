package shadow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Metadata is what a policy has changed of the metadata in its request phase. The exchange does not see it, and the
// policy's response phase does.
type Metadata struct {
	set     map[string]json.RawMessage
	removed []string
}

// Record records the difference between two states of the metadata, as JSON.
func (m *Metadata) Record(before, after []byte) {
	if bytes.Equal(before, after) {
		return
	}
	was, is := fieldsOf(before), fieldsOf(after)
	for name := range was {
		if _, kept := is[name]; !kept {
			m.removed = append(m.removed, name)
		}
	}
	m.set = is
	maps.DeleteFunc(m.set, func(name string, value json.RawMessage) bool { return bytes.Equal(value, was[name]) })
}

// Restore makes metadata the exchange's, with what the policy has changed.
func (m *Metadata) Restore(metadata *v1alpha.ExchangeMetadata, exchange []byte) {
	now, _ := metadata.JSON()
	_ = metadata.Merge(exchange, slices.Collect(maps.Keys(fieldsOf(now)))) // ExchangeMetadata.JSON wrote it
	own, err := json.Marshal(m.set)
	if err == nil && len(m.set)+len(m.removed) > 0 {
		_ = metadata.Merge(own, m.removed)
	}
}

func fieldsOf(object []byte) map[string]json.RawMessage {
	fields := map[string]json.RawMessage{}
	if len(object) > 0 {
		if err := json.Unmarshal(object, &fields); err != nil {
			panic(fmt.Sprintf("metadata is an object: %v", err))
		}
	}
	return fields
}
