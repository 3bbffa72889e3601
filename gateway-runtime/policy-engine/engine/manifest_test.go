package engine

import (
	"reflect"
	"testing"

	"gatewright.dev/sdk/policy/v1alpha"
)

// TestTheGoldenManifestIsRead reads what the builder's tests have written.
func TestTheGoldenManifestIsRead(t *testing.T) {
	read, err := readManifest("../../../conformance/messages/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	runtimes := map[v1alpha.Runtime]int{}
	for _, entry := range read.Policies {
		runtimes[entry.Runtime]++
		for i := range reflect.TypeFor[manifestEntry]().NumField() {
			field := reflect.TypeFor[manifestEntry]().Field(i)
			if reflect.ValueOf(entry).Field(i).IsZero() && (field.Name != "Group" || entry.Runtime == v1alpha.RuntimePython) {
				t.Errorf("%s: expected %s in the manifest, got none", entry.id(), field.Name)
			}
		}
	}
	if runtimes[v1alpha.RuntimeGo] == 0 || runtimes[v1alpha.RuntimePython] == 0 || !read.hasPython() {
		t.Errorf("expected policies of both runtimes, got %v", runtimes)
	}
}
