package v1alpha

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"sync"
)

// ExchangeMetadata is one JSON object per HTTP exchange, shared by all its policies, Go and Python, from request to
// response. Values are nil, bool, int64, *big.Int (integers beyond int64), float64, string, []any and map[string]any.
// The zero value is an empty object, ready for use by several goroutines.
type ExchangeMetadata struct {
	mutex  sync.Mutex
	values map[string]any
	leases []heldLease
	ended  bool
}

// Lease is a resource that an exchange holds from its first use until it has ended.
type Lease interface{ Release() }

type heldLease struct {
	key   any
	lease Lease
}

// Lease returns the resource that the exchange holds under key. The first call takes it; Release is called once, when the exchange
// has ended (at once, if it has already).
func (m *ExchangeMetadata) Lease(key any, take func() Lease) Lease {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, h := range m.leases {
		if h.key == key {
			return h.lease
		}
	}
	lease := take()
	if m.ended {
		lease.Release()
	} else {
		m.leases = append(m.leases, heldLease{key, lease})
	}
	return lease
}

// End releases the exchange's resources. The chain calls it when no policy of the exchange will be called again.
func (m *ExchangeMetadata) End() {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.ended = true
	for _, h := range m.leases {
		h.lease.Release()
	}
	m.leases = nil
}

// Get returns the value of key, and whether there is one. Do not change the value: Set a new one.
func (m *ExchangeMetadata) Get(key string) (any, bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	value, ok := m.values[key]
	return value, ok
}

// Set writes value, which must be representable as JSON; integers of any Go type stay integers.
func (m *ExchangeMetadata) Set(key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("metadata %q: %w", key, err)
	}
	plain, err := decodePlain(text)
	if err != nil {
		return fmt.Errorf("metadata %q: %w", key, err)
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.set(key, plain)
	return nil
}

// Delete removes key.
func (m *ExchangeMetadata) Delete(key string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	delete(m.values, key)
}

// JSON returns the whole object as JSON text, or nil when it is empty.
func (m *ExchangeMetadata) JSON() ([]byte, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if len(m.values) == 0 {
		return nil, nil
	}
	return json.Marshal(m.values)
}

// Merge deletes the keys in removed, then writes the members of set, a JSON object or nothing.
func (m *ExchangeMetadata) Merge(set []byte, removed []string) error {
	values, err := decodeObject(set)
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, key := range removed {
		delete(m.values, key)
	}
	for key, value := range values {
		m.set(key, value)
	}
	return nil
}

func (m *ExchangeMetadata) set(key string, value any) {
	if m.values == nil {
		m.values = map[string]any{}
	}
	m.values[key] = value
}

func decodeObject(text []byte) (map[string]any, error) {
	if len(text) == 0 {
		return nil, nil
	}
	plain, err := decodePlain(text)
	if err != nil {
		return nil, err
	}
	object, ok := plain.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("expected a JSON object, got %.40s", text)
	}
	return object, nil
}

func decodePlain(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	return plain(value), nil
}

// plain converts json.Number, at any depth, to int64, *big.Int or float64.
func plain(value any) any {
	switch v := value.(type) {
	case json.Number:
		return plainNumber(v)
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = plain(v[key])
		}
	}
	return value
}

func plainNumber(number json.Number) any {
	if integer, err := number.Int64(); err == nil {
		return integer
	}
	if integer, ok := new(big.Int).SetString(number.String(), 10); ok {
		return integer
	}
	float, _ := number.Float64() // a literal beyond float64 becomes ±Inf, which a later Marshal refuses
	return float
}
