package condition

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"gatewright.dev/sdk/policy/v1alpha"
)

// The maps of a request. A missing key has the empty value of the map's type, where CEL's own maps return an error: a
// header that the client leaves out is not a mistake. Therefore they are no traits.Mapper: its Find answers both "what
// is the value?" and "is the key set?", and here only IsSet answers the second question.
//
// Conditions use them only by their keys: wholeMaps refuses to compare them, or to use them in any other way.

var mapType = types.MapType.WithTraits(traits.ContainerType | traits.FieldTesterType | traits.IndexerType | traits.IterableType | traits.SizerType)

// keyed is the common part of the maps.
type keyed struct{}

func (keyed) Type() ref.Type { return mapType }
func (keyed) Value() any     { return nil }

func (keyed) Equal(other ref.Val) ref.Val { return types.MaybeNoSuchOverloadErr(other) }
func (keyed) ConvertToType(to ref.Type) ref.Val {
	return types.NewErr("expected the value of a key, not a map, as %v", to)
}
func (keyed) ConvertToNative(to reflect.Type) (any, error) {
	return nil, fmt.Errorf("expected the value of a key, not a map, as %v", to)
}

// keyOf returns the key as text, or an error value if it is no text.
func keyOf(index ref.Val) (string, ref.Val) {
	if text, ok := index.(types.String); ok {
		return string(text), nil
	}
	return "", types.NewErr("expected a text as the key, got %v", index.Type())
}

// listOf returns a list of texts.
func listOf(texts []string) ref.Val { return types.NewStringList(types.DefaultTypeAdapter, texts) }

// ---------------------------------------------------------------- headers

// headerMap maps a header's name, in any case, to its values joined by a comma (RFC 9110, 5.3); "" if there is none.
type headerMap struct {
	keyed
	view     v1alpha.Headers
	expanded traits.Mapper // all headers; nil until they are needed
}

// joinedValue is the header's value; "" if there is none.
func (m *headerMap) joinedValue(name string) string {
	first, more := "", []string(nil)
	present := false
	for value := range m.view.Values(name) {
		if !present {
			first, present = value, true
			continue
		}
		more = append(more, value)
	}
	if more == nil {
		return first
	}
	return first + "," + strings.Join(more, ",")
}

func (m *headerMap) Get(index ref.Val) ref.Val {
	name, badKey := keyOf(index)
	if badKey != nil {
		return badKey
	}
	return types.String(m.joinedValue(name))
}

func (m *headerMap) Contains(index ref.Val) ref.Val {
	name, badKey := keyOf(index)
	if badKey != nil {
		return badKey
	}
	return types.Bool(m.view.Has(name))
}

func (m *headerMap) IsSet(index ref.Val) ref.Val { return m.Contains(index) }

func (m *headerMap) all() traits.Mapper {
	if m.expanded == nil {
		values := map[string][]string{}
		for _, header := range m.view {
			values[header.Name] = append(values[header.Name], header.Value)
		}
		plain := make(map[string]string, len(values))
		for name, all := range values {
			plain[name] = strings.Join(all, ",")
		}
		m.expanded = types.NewStringStringMap(types.DefaultTypeAdapter, plain)
	}
	return m.expanded
}

func (m *headerMap) Iterator() traits.Iterator { return m.all().Iterator() }
func (m *headerMap) Size() ref.Val             { return m.all().Size() }

// ---------------------------------------------------------------- query

// queryMap maps a parameter to all its values; an empty list if there is none.
type queryMap struct {
	keyed
	text   string
	values map[string][]string // nil until they are needed
}

// parsed returns the parameters, which are parsed once: a request may have thousands.
func (m *queryMap) parsed() map[string][]string {
	if m.values == nil {
		m.values = map[string][]string{}
		for name, value := range parameters(m.text) {
			m.values[name] = append(m.values[name], value)
		}
	}
	return m.values
}

func (m *queryMap) Get(index ref.Val) ref.Val {
	name, badKey := keyOf(index)
	if badKey != nil {
		return badKey
	}
	return listOf(m.parsed()[name])
}

func (m *queryMap) Contains(index ref.Val) ref.Val {
	name, badKey := keyOf(index)
	if badKey != nil {
		return badKey
	}
	_, present := m.parsed()[name]
	return types.Bool(present)
}

func (m *queryMap) IsSet(index ref.Val) ref.Val { return m.Contains(index) }

func (m *queryMap) Iterator() traits.Iterator {
	return types.NewDynamicMap(types.DefaultTypeAdapter, m.parsed()).Iterator()
}

func (m *queryMap) Size() ref.Val { return types.Int(len(m.parsed())) }

// ---------------------------------------------------------------- path parameters

// paramsMap has the parameters of the operation's path, decoded; "" if there is none.
type paramsMap struct {
	keyed
	params v1alpha.PathParams
}

func (m *paramsMap) Get(index ref.Val) ref.Val {
	name, badKey := keyOf(index)
	if badKey != nil {
		return badKey
	}
	return types.String(m.params.Get(name))
}

func (m *paramsMap) Contains(index ref.Val) ref.Val {
	name, badKey := keyOf(index)
	if badKey != nil {
		return badKey
	}
	return types.Bool(m.params.Has(name))
}

func (m *paramsMap) IsSet(index ref.Val) ref.Val { return m.Contains(index) }

func (m *paramsMap) Iterator() traits.Iterator {
	names := make([]string, 0, len(m.params))
	for _, param := range m.params {
		names = append(names, param.Name)
	}
	return types.NewStringList(types.DefaultTypeAdapter, names).Iterator()
}

func (m *paramsMap) Size() ref.Val { return types.Int(len(m.params)) }

// ---------------------------------------------------------------- metadata

// metadataMap is the exchange's metadata, after the changes of earlier policies; null if there is none.
type metadataMap struct {
	keyed
	metadata *v1alpha.ExchangeMetadata
	expanded traits.Mapper // all metadata; nil until it is needed
}

func (m *metadataMap) Get(index ref.Val) ref.Val {
	key, badKey := keyOf(index)
	if badKey != nil {
		return badKey
	}
	value, _ := m.metadata.Get(key)
	return types.DefaultTypeAdapter.NativeToValue(value)
}

func (m *metadataMap) Contains(index ref.Val) ref.Val {
	key, badKey := keyOf(index)
	if badKey != nil {
		return badKey
	}
	_, present := m.metadata.Get(key)
	return types.Bool(present)
}

func (m *metadataMap) IsSet(index ref.Val) ref.Val { return m.Contains(index) }

func (m *metadataMap) all() traits.Mapper {
	if m.expanded != nil {
		return m.expanded
	}
	plain := map[string]any{}
	text, err := m.metadata.JSON()
	if err == nil && text != nil {
		err = json.Unmarshal(text, &plain)
	}
	if err != nil {
		panic(fmt.Errorf("the exchange's metadata: %w", err)) // the evaluation recovers it as an error
	}
	m.expanded = types.NewStringInterfaceMap(types.DefaultTypeAdapter, plain)
	return m.expanded
}

func (m *metadataMap) Iterator() traits.Iterator { return m.all().Iterator() }
func (m *metadataMap) Size() ref.Val             { return m.all().Size() }
