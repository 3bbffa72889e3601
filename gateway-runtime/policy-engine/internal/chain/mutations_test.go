package chain

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/sdk/policy/v1alpha"
)

// naive applies a HeaderModifications to a header list, line by line.
func naive(headers v1alpha.Headers, m v1alpha.HeaderModifications) v1alpha.Headers {
	without := func(list v1alpha.Headers, name string) v1alpha.Headers {
		return slices.DeleteFunc(slices.Clone(list), func(h v1alpha.Header) bool { return strings.EqualFold(h.Name, name) })
	}
	for _, name := range m.Remove {
		headers = without(headers, name)
	}
	for _, header := range m.Set {
		headers = without(headers, header.Name)
	}
	for _, header := range slices.Concat(m.Set, m.Append) {
		headers = append(headers, v1alpha.Header{Name: strings.ToLower(header.Name), Value: header.Value})
	}
	return headers
}

// envoy applies the front end's answer as Envoy's ext_proc does: removals first, then each line overwrites or appends.
// It keeps the order of values within a name, not that of names.
func envoy(headers v1alpha.Headers, m v1alpha.HeaderModifications) v1alpha.Headers {
	headers = naive(headers, v1alpha.HeaderModifications{Remove: m.Remove})
	for n, header := range m.Set {
		if v1alpha.Headers(m.Set[:n]).Has(header.Name) {
			headers = append(headers, header)
		} else {
			headers = naive(headers, v1alpha.HeaderModifications{Set: []v1alpha.Header{header}})
		}
	}
	return append(headers, m.Append...)
}

func byName(headers v1alpha.Headers) map[string][]string {
	values := map[string][]string{}
	for _, header := range headers {
		values[header.Name] = append(values[header.Name], header.Value)
	}
	return values
}

var (
	names = rapid.SampledFrom([]string{"x-a", "x-b", "set-cookie", "X-A", "Set-Cookie", "x-c"})
	line  = rapid.Custom(func(t *rapid.T) v1alpha.Header {
		return v1alpha.Header{Name: names.Draw(t, "name"), Value: rapid.SampledFrom([]string{"", "1", "2", "a, b", "\xff"}).Draw(t, "value")}
	})
	lines         = rapid.SliceOfN(line, 0, 4)
	modifications = rapid.Custom(func(t *rapid.T) v1alpha.HeaderModifications {
		return v1alpha.HeaderModifications{
			Remove: rapid.SliceOfN(names, 0, 2).Draw(t, "remove"), Set: lines.Draw(t, "set"), Append: lines.Draw(t, "append"),
		}
	})
)

func drawList(t *rapid.T) v1alpha.Headers {
	original := v1alpha.Headers(lines.Draw(t, "original"))
	for n := range original {
		original[n].Name = strings.ToLower(original[n].Name)
	}
	return original
}

func TestFinalMutationEqualsTheActionsOneByOne(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		original := drawList(t)
		before := slices.Clone(original)
		list, want, reader := newHeaderList(original), slices.Clone(original), v1alpha.Header{Name: "reader", Value: "its own"}
		for _, m := range rapid.SliceOfN(modifications, 0, 5).Draw(t, "actions") {
			previous, copied := list.view, slices.Clone(list.view)
			extended := previous
			extended = append(extended, reader) // by a policy, for itself
			list.apply(m)
			want = naive(want, m)
			if !slices.Equal(previous, copied) || extended[len(extended)-1] != reader {
				t.Fatalf("the view of an earlier policy changed: %v", extended)
			}
		}
		if !slices.Equal(list.view, want) {
			t.Fatalf("view: expected %v, got %v", want, list.view)
		}
		if got := byName(envoy(original, list.minimalChanges())); !equal(got, byName(want)) {
			t.Fatalf("final %+v: expected %v, got %v", list.minimalChanges(), byName(want), got)
		}
		if !slices.Equal(original, before) {
			t.Fatalf("the original changed: %v", original)
		}
	})
}

func TestFinalMutationIsLeast(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		list := newHeaderList(drawList(t))
		for _, m := range rapid.SliceOfN(modifications, 0, 5).Draw(t, "actions") {
			list.apply(m)
		}
		final := list.minimalChanges()
		before, now := byName(list.original), byName(list.view)
		for _, name := range final.Remove {
			if len(now[name]) > 0 || len(before[name]) == 0 {
				t.Fatalf("%s is removed for nothing", name)
			}
		}
		for _, header := range slices.Concat(final.Set, final.Append) {
			if slices.Equal(before[header.Name], now[header.Name]) {
				t.Fatalf("%s is unchanged and sent", header.Name)
			}
		}
	})
}

func equal(a, b map[string][]string) bool {
	if len(a) != len(b) {
		return false
	}
	for name, values := range a {
		if !slices.Equal(values, b[name]) {
			return false
		}
	}
	return true
}

func TestAppendedValuesAreSentAlone(t *testing.T) {
	list := newHeaderList(v1alpha.Headers{{Name: "set-cookie", Value: "a=1"}, {Name: "x-old", Value: "1"}})
	list.apply(v1alpha.HeaderModifications{Append: []v1alpha.Header{{Name: "Set-Cookie", Value: "b=2"}, {Name: "Set-Cookie", Value: "c=3"}}})
	list.apply(v1alpha.HeaderModifications{Remove: []string{"X-Old", "x-absent"}})
	final := list.minimalChanges()
	want := []v1alpha.Header{{Name: "set-cookie", Value: "b=2"}, {Name: "set-cookie", Value: "c=3"}}
	if !slices.Equal(final.Append, want) || len(final.Set) > 0 || !slices.Equal(final.Remove, []string{"x-old"}) {
		t.Errorf("got %+v", final)
	}
}
