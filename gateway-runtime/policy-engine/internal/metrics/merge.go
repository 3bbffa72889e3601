package metrics

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// merge combines the families of several processes.
//
// Families of one name become one if their types agree: those of this project distinguish processes by labels. Names that
// any process may have (process_…, python_…) get a label component.
type merge struct {
	byName    map[string]*dto.MetricFamily
	seen      map[string]map[string]bool // sets of labels, by name
	conflicts []conflict
}

// conflict is a family, or a part of one, that is left out since it contradicts another process's.
type conflict struct{ name, source, reason string }

func newMerge() *merge {
	return &merge{byName: map[string]*dto.MetricFamily{}, seen: map[string]map[string]bool{}}
}

// add adds the families of a source; "": the engine itself. The merge then owns the families.
func (m *merge) add(source string, families []*dto.MetricFamily) {
	for _, family := range families {
		name := family.GetName()
		if source != "" && strings.HasSuffix(name, "_created") { // the time when a series began, which Python's client exports
			continue
		}
		if source != "" && !strings.HasPrefix(name, namespace+"_") && !strings.HasPrefix(name, Envoy+"_") {
			label(family, "component", source)
		}
		into := m.byName[name]
		if into == nil {
			into = &dto.MetricFamily{Name: family.Name, Help: family.Help, Type: family.Type, Unit: family.Unit}
			m.byName[name], m.seen[name] = into, map[string]bool{}
		}
		if into.GetType() != family.GetType() {
			m.conflicts = append(m.conflicts, conflict{name, source, "expected type " + into.GetType().String() + ", got " + family.GetType().String()})
			continue
		}
		m.addMetrics(into, family, source)
	}
}

func (m *merge) addMetrics(into, family *dto.MetricFamily, source string) {
	seen := m.seen[into.GetName()]
	duplicates := 0
	for _, metric := range family.GetMetric() {
		labels := signature(metric)
		if seen[labels] {
			duplicates++
			continue
		}
		seen[labels] = true
		into.Metric = append(into.Metric, metric)
	}
	if duplicates > 0 {
		m.conflicts = append(m.conflicts, conflict{into.GetName(), source, "another process exports the same labels"})
	}
}

// label adds a label to the metrics of a family that have none of this name.
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
	for _, label := range pairs {
		text.WriteString(label.GetName())
		text.WriteByte(0)
		text.WriteString(label.GetValue())
		text.WriteByte(0)
	}
	return text.String()
}

// families returns all families by name, without empty ones.
func (m *merge) families() []*dto.MetricFamily {
	families := make([]*dto.MetricFamily, 0, len(m.byName))
	for _, name := range slices.Sorted(maps.Keys(m.byName)) {
		if family := m.byName[name]; len(family.GetMetric()) > 0 {
			families = append(families, family)
		}
	}
	return families
}
