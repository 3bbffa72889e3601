package metrics

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// merge makes one list of families of what several processes tell.
//
// Families of one name are one, where their types agree: those of this project say by labels whose they are. Names that
// any process may have (process_…, python_…) get a label component.
type merge struct {
	byName    map[string]*dto.MetricFamily
	known     map[string]map[string]bool // label sets by name
	conflicts []conflict
}

// conflict is what cannot be told, for another process tells it in another way.
type conflict struct{ name, source, reason string }

func newMerge() *merge {
	return &merge{byName: map[string]*dto.MetricFamily{}, known: map[string]map[string]bool{}}
}

// add adds what a source tells; "": the engine itself. The families become the merge's.
func (m *merge) add(source string, families []*dto.MetricFamily) {
	for _, family := range families {
		name := family.GetName()
		if source != "" && strings.HasSuffix(name, "_created") { // when a series began, as Python's client says in text
			continue
		}
		if source != "" && !strings.HasPrefix(name, namespace+"_") && !strings.HasPrefix(name, Envoy+"_") {
			label(family, "component", source)
		}
		into := m.byName[name]
		if into == nil {
			into = &dto.MetricFamily{Name: family.Name, Help: family.Help, Type: family.Type, Unit: family.Unit}
			m.byName[name], m.known[name] = into, map[string]bool{}
		}
		if into.GetType() != family.GetType() {
			m.conflicts = append(m.conflicts, conflict{name, source, "expected type " + into.GetType().String() + ", got " + family.GetType().String()})
			continue
		}
		m.addMetrics(into, family, source)
	}
}

func (m *merge) addMetrics(into, family *dto.MetricFamily, source string) {
	known := m.known[into.GetName()]
	double := 0
	for _, metric := range family.GetMetric() {
		labels := signature(metric)
		if known[labels] {
			double++
			continue
		}
		known[labels] = true
		into.Metric = append(into.Metric, metric)
	}
	if double > 0 {
		m.conflicts = append(m.conflicts, conflict{into.GetName(), source, "another process tells the same labels"})
	}
}

// label adds a label to all metrics of a family that have none of this name.
func label(family *dto.MetricFamily, name, value string) {
	for _, metric := range family.GetMetric() {
		if !slices.ContainsFunc(metric.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == name }) {
			metric.Label = append(metric.Label, pair(name, value))
			slices.SortFunc(metric.Label, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
		}
	}
}

func signature(metric *dto.Metric) string {
	pairs := slices.Clone(metric.GetLabel())
	slices.SortFunc(pairs, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
	var text strings.Builder
	for _, each := range pairs {
		text.WriteString(each.GetName())
		text.WriteByte(0)
		text.WriteString(each.GetValue())
		text.WriteByte(0)
	}
	return text.String()
}

// families are all, by name; those of which nothing is left are not among them.
func (m *merge) families() []*dto.MetricFamily {
	all := make([]*dto.MetricFamily, 0, len(m.byName))
	for _, name := range slices.Sorted(maps.Keys(m.byName)) {
		if family := m.byName[name]; len(family.GetMetric()) > 0 {
			all = append(all, family)
		}
	}
	return all
}
